"""Training data: the aligned faces and the aligned frames of the clips as flat uint8 arrays.

Writes `faces.npy` (N, 256, 256, 3), `frames.npy` (M, 256, 256, 3) and `data.json` with the origin
of every row and whether it is held out.  Everything is third-party material and stays outside the
repository; the trained networks are what leaves.

    python -m fev.tools.lab.train.data faces  --shared DIR --out DIR
    python -m fev.tools.lab.train.data clips  --shared DIR --out DIR --aligner aligner.pt
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

from ....codec.model.pictures import to_levels

SIZE = 256
HELD_OUT_EVERY = 20  # every 20th face of each set is never trained on


def clip_rows(shared: Path) -> list[dict[str, str]]:
    """The manifest's rows, but for clips whose people or pictures are doubtful."""
    with open(shared / "clips" / "manifest.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if "doubtful" not in row["tags"].split()]


def clip_is_held_out(row: Mapping[str, str]) -> bool:
    """Whether a clip of the manifest is never trained on: all that are tagged `test`, and `eis_*` above all."""
    return "test" in row["tags"].split() or row["file"].startswith("eis_")


def prepare_faces(shared: Path, out: Path) -> None:
    """Unpack the aligned faces; keep their order in the archive, which is sorted by set and name."""
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(shared / "faces" / "faces256.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".webp"))
        array = open_memmap(out / "faces.npy", "w+", np.uint8, (len(names), SIZE, SIZE, 3))
        counts: dict[str, int] = {}
        for i, name in enumerate(names):
            group = name.split("/")[0]
            k = counts[group] = counts.get(group, -1) + 1
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            if image.size != (SIZE, SIZE):
                image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            array[i] = np.asarray(image)
            rows.append({"name": name, "set": group, "held_out": k % HELD_OUT_EVERY == 0})
    array.flush()
    (out / "faces.json").write_text(json.dumps(rows))
    print(f"{len(rows)} faces, {sum(r['held_out'] for r in rows)} held out")


def prepare_clips(shared: Path, out: Path, aligner: Path, step: int) -> None:
    """Align every clip with our own aligner; the clips of the seed paper give their first panel."""
    import torch

    from ....codec.face.align import FaceTracker, extract, smooth
    from ....codec.media.video import open_video
    from ....codec.model.aligner import Aligner

    net = Aligner()
    net.load_state_dict(torch.load(aligner, weights_only=True))
    rows, blocks, first = [], [], 0
    for clip in sorted(clip_rows(shared), key=lambda row: row["file"]):
        path = shared / "clips" / clip["file"]
        tracker, placements, found = FaceTracker(net), [], []
        panel = path.name.startswith("eis_")

        def frames(path: Path = path, panel: bool = panel) -> Iterator[np.ndarray]:
            with open_video(path) as video:
                for frame in video:
                    yield frame.rgb[:, : frame.rgb.shape[0]] if panel else frame.rgb

        for frame in frames():
            placement, ok = tracker.step(frame)
            placements.append(placement)
            found.append(ok)
        if not any(found):
            print(f"{path.name}: no face")
            continue
        start = found.index(True)
        seen = np.array(found[start:])
        smoothed = smooth(np.array(placements[start:]), seen)
        crops = []
        for i, frame in enumerate(frames()):
            k = i - start
            if k < 0 or k % step or not seen[k]:
                continue
            crop = extract(frame, smoothed[k], SIZE)[0]
            crops.append((to_levels(crop) + 0.5).byte().permute(1, 2, 0).numpy())
        blocks.append(np.stack(crops))
        rows.append({"name": path.name, "first": first, "count": len(crops), "held_out": clip_is_held_out(clip)})
        first += len(crops)
        print(f"{path.name}: {len(crops)} of {len(found)} frames, face found in {np.mean(found):.0%}", flush=True)
    np.save(out / "frames.npy", np.concatenate(blocks))
    (out / "frames.json").write_text(json.dumps(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("faces", "clips"))
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--aligner", type=Path)
    parser.add_argument("--step", type=int, default=1, help="keep every n-th frame of a clip")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.what == "faces":
        prepare_faces(args.shared, args.out)
    else:
        prepare_clips(args.shared, args.out, args.aligner, args.step)


if __name__ == "__main__":
    main()
