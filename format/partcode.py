"""The entropy code of a segment that is sent in parts: one code a part, and contexts that go on from
part to part. `part.py` has what stands around it.

A code holds the part's frames of each actor, placement before motion, then those of the camera. Before
it stand the two levels of each track that begins in this part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .entropy import RangeDecoder, RangeEncoder
from .errors import UsageError
from .motion import PLACEMENT_VALUES, TrackCoder, begin_track, checked_track, take_levels
from .motioncontexts import Contexts, MotionContexts, PathContexts
from .wire import Take

Values = NDArray[np.int32]
Held = NDArray[np.bool_]


class Line(NamedTuple):
    """A track's frames in a part.

    Args:
        key: place of the actor and what it is; the camera's is the last.
        held: (n,)
        params: values a frame.
    """

    key: tuple[int, str]
    held: Held
    params: int

    @property
    def kind(self) -> type[Contexts]:
        return MotionContexts if self.key[1] == "motion" else PathContexts


class PartCoders:
    """The tracks of one segment in parts, as far as they have come.

    Args:
        params: motion parameters a frame.
        placement: whether there is one.
    """

    def __init__(self, params: int, placement: bool) -> None:
        self._params, self._placement = params, placement
        self._tracks: dict[tuple[int, str], TrackCoder] = {}

    def _lines(self, helds: Sequence[Held], count: int, camera: bool) -> list[Line]:
        lines = []
        for place, held in enumerate(helds):
            if self._placement:
                lines.append(Line((place, "placement"), held, PLACEMENT_VALUES))
            lines.append(Line((place, "motion"), held, self._params))
        if camera:
            lines.append(Line((len(helds), "camera"), np.zeros(count, bool), PLACEMENT_VALUES))
        return lines

    def encode(
        self, tracks: Sequence[tuple[Values, Values | None]], helds: Sequence[Held], camera: Values | None
    ) -> bytes:
        """The next frames.

        Args:
            tracks: motion and placement of each actor.
            camera: None where it rests in all of them.
        """
        given = {(place, name): v for place, t in enumerate(tracks) for name, v in zip(("motion", "placement"), t)}
        given[len(tracks), "camera"] = camera
        levels, encoder, rest = b"", RangeEncoder(), []
        count = len(helds[0]) if helds else len(camera) if camera is not None else 0
        for line in self._lines(helds, count, camera is not None):
            values = given[line.key]
            if values is None or values.shape != (len(line.held), line.params):
                raise UsageError(f"a part of {count} frames has no {line.key[1]} for them")
            wide = checked_track(values, line.held)
            if line.key not in self._tracks:
                begin = begin_track(wide, line.held, line.kind)
                levels += begin
                self._tracks[line.key] = TrackCoder(line.kind, line.params, begin)
            rest.append((line, wide))
        for line, wide in rest:
            self._tracks[line.key].encode(encoder, wide, line.held)
        self._rest(camera is not None)
        return levels + encoder.finish()

    def decode(
        self, code: bytes, helds: Sequence[Held], count: int, camera: bool
    ) -> tuple[list[tuple[Values, Values | None]], Values | None]:
        """Motion and placement of each actor in the next frames, and the camera. Raises DamagedError."""
        take, got = Take(code, "code of a part"), dict[tuple[int, str], Values]()
        lines = self._lines(helds, count, camera)
        for line in lines:
            if line.key not in self._tracks:
                self._tracks[line.key] = TrackCoder(line.kind, line.params, take_levels(take, line.key[1]))
        decoder = RangeDecoder(take.rest())
        for line in lines:
            got[line.key] = self._tracks[line.key].decode(decoder, line.held, line.key[1])
        decoder.finish()
        self._rest(camera)
        actors = range(len(helds))
        return [(got[k, "motion"], got.get((k, "placement"))) for k in actors], got.get((len(helds), "camera"))

    def _rest(self, camera: bool) -> None:
        """A camera that is not coded rests: the next difference is one to 0."""
        for (_, name), coder in self._tracks.items():
            if name == "camera" and not camera:
                coder.at = np.zeros_like(coder.at)
