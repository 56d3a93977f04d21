"""The faces of a clip, shot by shot."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...format.errors import MediaError
from ..face.faces import SEEN, ShotFaces
from ..face.people import People
from ..face.shots import Shots
from ..face.survey import Survey
from ..media.frame import Frame
from ..media.notices import Notices

# What follows the faces of a shot: its frames, who was in the shots before, whether the clip is the
# aligned square (None = not known yet).
MakeFaces = Callable[[Iterator[Frame], People, "bool | None"], ShotFaces]


class Surveys:
    """Iterate for the faces of each shot; use them up before the next ones are asked for.

    Args:
        shots: of the clip.
        make: follows the faces of one.
        notices: where cuts are counted.

    Attributes:
        people: everybody whom the clip has shown so far.
    """

    def __init__(self, shots: Shots, make: MakeFaces, notices: Notices):
        self.shots, self.make, self.notices = shots, make, notices
        self.people = People()
        self._aligned: bool | None = None  # as the shots before tell
        self._frames = 0
        self._keys: list[int] = []
        self._last: Survey | None = None  # that is being used up
        self._nobody = ""
        self._met: dict[int, int] = {}  # persons by face of the shot at hand

    def __iter__(self) -> Iterator[ShotFaces]:
        for frames in self.shots:
            faces = self.make(frames, self.people, self.aligned)
            self._last = faces.first
            self._met = {}
            yield faces
            self._last = None
            for face, person in self._met.items():
                self.people.seen(person, faces.counts[face])
            survey = faces.first
            self._keys += [self._frames + key for key in survey.key_frames]
            self._frames += survey.out
            self._nobody = survey.nobody(self._frames)
            if self._aligned is None:
                self._aligned = survey.aligned
        self.notices.add("cuts", self.shots.cuts)
        if not self._frames:
            raise MediaError("the video has no frames")

    def met(self, faces: ShotFaces) -> dict[int, int]:
        """Who the faces of the shot at hand are, by their numbers in it: of those that have been
        seen long enough.  Whoever was met stays who it is; the first face is met at once."""
        for face, count in faces.counts.items():
            person = faces.survey(face).person
            if face not in self._met and count >= (SEEN if face else 1) and person is not None:
                self._met[face] = self.people.meet(person, self._met.values())
        return dict(self._met)

    @property
    def aligned(self) -> bool | None:
        """Whether the clip is the aligned square; None until a face was seen."""
        return self._last.aligned if self._aligned is None and self._last is not None else self._aligned

    @property
    def key_frames(self) -> list[int]:
        """Numbers of the frames that others are registered to, so far."""
        now = [] if self._last is None else self._last.key_frames
        return self._keys + [self._frames + key for key in now]

    @property
    def held(self) -> int:
        """Frames without the face, so far."""
        return sum(self.notices[key] for key in ("held", "other", "absent"))

    def nobody(self) -> MediaError:
        """The error that says that the clip shows no face."""
        return MediaError(self._nobody)
