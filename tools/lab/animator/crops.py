"""Aligned squares of every clip, one array a clip: what `pack` takes its training frames from.

    python -m fev.tools.lab.animator.crops --shared DIR --out DIR [--held-out]

Clips tagged `test` and the `eis_*` clips are never trained on: they are only written with
`--held-out`, into a folder of their own.  Rows tagged `doubtful` are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....codec.face.align import FaceTracker, extract, smooth
from ....codec.media.video import open_video
from ....codec.model.modelfile import load_model
from ....codec.model.pictures import to_numpy
from ....format.errors import FevError
from ..parts import parts_of
from ..train.data import clip_is_held_out, clip_rows

SIZE = 256
FRAMES = 160  # at most of a clip: more of the same face teach little


def rows_of(shared: Path, held_out: bool) -> list[dict[str, str]]:
    """Rows of the manifest that are to be trained on, or those that never are."""
    return [row for row in clip_rows(shared) if clip_is_held_out(row) == held_out]


def frames_of(path: Path, step: int) -> Iterator[np.ndarray]:
    """Every `step`-th frame, at most 4 * FRAMES of them."""
    panel = path.name.startswith("eis_")  # four panels side by side, the first is the source
    with open_video(path) as video:
        for number, frame in enumerate(video):
            if number % step == 0:
                yield frame.rgb[:, : frame.rgb.shape[0]] if panel else frame.rgb
            if number >= 4 * FRAMES * step:
                return


def squares(path: Path, tracker: FaceTracker, step: int) -> np.ndarray | None:
    """Every `step`-th frame's aligned square: (N, 256, 256, 3) uint8, or None without a face."""
    placements: list[np.ndarray | None] = []
    found = []
    for frame in frames_of(path, step):
        placement, seen = tracker.step(frame)
        placements.append(placement)
        found.append(seen)
    if not any(found):
        return None
    start = found.index(True)
    smoothed = smooth(np.array(placements[start:]), np.array(found[start:]))
    rows = []
    for i, frame in enumerate(frames_of(path, step)):
        if i < len(found) and found[i]:
            rows.append(to_numpy(extract(frame, smoothed[i - start], SIZE))[0])
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held-out", action="store_true", help="the clips that are never trained on instead")
    args = parser.parse_args()
    folder = args.out / ("held_out" if args.held_out else "clips")
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model()
    for row in rows_of(args.shared, args.held_out):
        target = folder / (Path(row["file"]).stem + ".npy")
        if target.exists():
            continue
        count = int(row["frames"] or 300)
        step = 1 if args.held_out else max(2, round(count / FRAMES))
        try:
            crops = squares(args.shared / "clips" / row["file"], FaceTracker(parts_of(model).aligner), step)
        except FevError as error:
            print(error, flush=True)
            continue
        if crops is None or len(crops) < 8:
            print(f"{row['file']}: too few faces")
            continue
        np.save(target, crops)
        print(f"{row['file']}: {len(crops)} squares of every {step}. frame", flush=True)


if __name__ == "__main__":
    main()
