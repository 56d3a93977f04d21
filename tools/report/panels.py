"""Published side-by-side videos: equal panels in a row, the first of them the real clip, the others what methods made.

Each panel becomes a square (`square`) of the same frames.  The real one is coded like any clip; the others have no
bitstream and are measured as they are, as points without a rate.

The panels are taken as the aligned squares that they were published as: nothing is followed or cut out.  The label in
the top left corner (224 x 56 of 1024 pixels in the videos this was written for) is made grey in all panels alike, in
the real one too, so no method is paid or punished for it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ...codec.face.align import extract
from ...codec.media.video import open_video
from ...codec.model.pictures import to_numpy
from ...format.errors import MediaError
from .square import Square, SquareWriter

NAMES = ("seed paper", "FS-Vid2Vid", "FOMM")  # of the panels after the first
LABEL = (224 / 1024, 56 / 1024)  # width and height, in sides of a panel
GREY = 128


def panels_of(frame: np.ndarray, count: int, size: int) -> list[np.ndarray]:
    """(H, count * H, 3) -> `count` squares (size, size, 3) without their labels; shrunk by area."""
    side = frame.shape[0]
    half = side / 2
    out = []
    for k in range(count):
        panel = frame[:, k * side : (k + 1) * side].copy()
        panel[: round(LABEL[1] * side), : round(LABEL[0] * side)] = GREY
        out.append(to_numpy(extract(panel, np.array([half, half, half, 0.0]), size))[0])
    return out


def cut_panels(
    source: str, paths: list[Path], names: tuple[str, ...], size: int, seconds: float | None = None
) -> list[Square]:
    """Write the real panel and those of `names` to `paths`.  Raises MediaError where the video has not so many."""
    count, name = 1 + len(names), Path(source).stem
    with open_video(source, None, seconds) as video, ExitStack() as stack:
        info = video.info
        if info.width != count * info.height:
            raise MediaError(f"{name}: {info.width}x{info.height} is not {count} squares in a row")
        writers = [stack.enter_context(SquareWriter(path, size, info)) for path in paths]
        for frame in video:
            for writer, panel in zip(writers, panels_of(frame.rgb, count, size), strict=True):
                writer.write(panel, frame.pts)
    about = os.path.basename(source)
    real = writers[0].square(name, about=f"panel 1 of {about}")
    return [real, *(w.square(n, about=f"panel {k} of {about}") for k, (w, n) in enumerate(zip(writers[1:], names), 2))]
