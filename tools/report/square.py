"""The common ground of a comparison: a clip's aligned square, cut once, kept without loss, given to every codec.

`panels` makes the same of published side-by-side videos; `jobs` codes and scores what is cut here.

The square is the one that `fev-encode --crop` cuts (`codec.survey`); a clip that already is that square stays as it is.
It is kept as FFV1, RGB, in MP4: lossless, with the source's time stamps, counted from the first frame.  Frames before
the first face are left out; later ones without a face are cut where it was last, and every codec has to code them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...codec.face.align import extract
from ...codec.face.survey import Survey
from ...codec.media.frame import Frame
from ...codec.media.source import MediaSource
from ...codec.media.video import open_video
from ...codec.media.videoinfo import VideoInfo
from ...codec.model.aligner import Aligner
from ...codec.model.pictures import to_numpy
from ...format.errors import FevError, MediaError

LEAST = 2  # frames: one has no rate
BLOCK = 1 << 20


@dataclass(frozen=True)
class Square:
    """A cut clip.

    Attributes:
        path: the lossless file.
        digest: of its frames and times, whatever file they lie in.
        duration_s: to the end of the last frame.
        dropped: frames before the first face.
        faceless: later frames without one.
        aligned: the source was the square already.
        about: where it comes from, in words.
    """

    name: str
    path: str
    digest: str
    size: int
    frames: int
    fps: tuple[int, int]
    duration_s: float
    dropped: int = 0
    faceless: int = 0
    aligned: bool = True
    about: str = ""


class SquareWriter:
    """Write frames as FFV1 in RGB and keep count.  Use as a context manager; then ask for `square`."""

    def __init__(self, path: Path, size: int, info: VideoInfo):
        self.path, self.size, self.info = path, size, info
        self.count, self.last = 0, 0
        self._hash = hashlib.sha256(f"{size} {info.time_base}".encode())
        self._first = 0
        # A tick of n/d seconds is n ticks of 1/d: MP4 counts in 1/timescale.
        self._ticks, base = info.time_base.numerator, Fraction(1, info.time_base.denominator)
        scale = {"video_track_timescale": str(base.denominator)}
        self._container = av.open(str(path), "w", format="mp4", options=scale)
        self._stream = self._container.add_stream("ffv1", rate=info.fps, options={"level": "3"})
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = "bgr0"
        self._stream.time_base = self._stream.codec_context.time_base = self._base = base

    def __enter__(self) -> SquareWriter:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None and self.count:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def write(self, rgb: np.ndarray, pts: int) -> None:
        """One frame, uint8 (size, size, 3)."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="bgr0")
        self._first = pts if not self.count else self._first
        pts -= self._first
        frame.pts, frame.time_base = pts * self._ticks, self._base
        self._container.mux(self._stream.encode(frame))
        self._hash.update(pts.to_bytes(8, "little", signed=True))
        self._hash.update(rgb.tobytes())
        self.count, self.last = self.count + 1, pts

    def square(self, name: str, **facts: Any) -> Square:
        if self.count < LEAST:
            raise MediaError(f"{name}: {self.count} frames can be measured, {LEAST} are needed")
        fps = self.info.fps
        seconds = float(self.last * self.info.time_base + 1 / fps)
        return Square(
            name, str(self.path), self._hash.hexdigest(), self.size, self.count, (fps.numerator, fps.denominator),
            seconds, **facts,
        )  # fmt: skip


def frames_of(square: MediaSource) -> Iterator[np.ndarray]:
    """The frames of a square's file, uint8 (S, S, 3) each, one at a time."""
    with open_video(square, threads=1) as video:
        for frame in video:
            yield frame.rgb


def cut(source: str, path: Path, net: Aligner, size: int, seconds: float | None = None) -> Square:
    """Follow the face of `source` and write its square to `path`.  Raises FevError."""
    name = Path(source).stem
    with open_video(source, None, seconds) as video, SquareWriter(path, size, video.info) as writer:
        waiting: deque[np.ndarray | None] = deque()

        def tapped() -> Iterator[Frame]:
            for frame in video:
                if waiting and survey.tracker.last is None:
                    waiting[-1] = None  # before the first face nothing is cut, and the wait may be long
                waiting.append(frame.rgb)
                yield frame

        survey = Survey(tapped(), net, size)
        dropped = faceless = 0
        for seen in survey:
            frame = waiting.popleft()
            if seen.crop is not None:
                writer.write(seen.crop, seen.pts)
            elif frame is None:
                dropped += 1
            else:
                faceless += 1
                writer.write(to_numpy(extract(frame, seen.placement, size))[0], seen.pts)
        aligned = bool(survey.aligned)
    return writer.square(name, dropped=dropped, faceless=faceless, aligned=aligned, about=os.path.basename(source))


def digest_of(path: str | os.PathLike[str]) -> str:
    """sha256 of a file.  Raises FevError where it cannot be read."""
    out = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                out.update(block)
    except OSError as error:
        raise FevError(f"{os.fspath(path)}: cannot be opened: {error.strerror}") from error
    return out.hexdigest()


def remember(path: Path, squares: list[Square]) -> None:
    """Write down what was cut, after all of it is there."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps([asdict(s) for s in squares], indent=1))
    temporary.replace(path)


def recall(path: Path) -> list[Square] | None:
    """What was cut by an earlier run, if all of it is still there."""
    try:
        rows = json.loads(path.read_text())
        here = [str(path.parent / Path(row["path"]).name) for row in rows]  # the folder may have moved
        squares = [Square(**{**row, "path": p, "fps": tuple(row["fps"])}) for row, p in zip(rows, here, strict=True)]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return squares if all(Path(s.path).is_file() for s in squares) else None
