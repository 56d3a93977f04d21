"""The data pack: training frames, faces and coded pivots in few enough bytes to travel.

    python -m fev.tools.lab.animator.pack --shared DIR --data DIR --out PACK

Frames of the clips are one HEVC video (intra at every clip's start), faces and pivots are AVIF
stills in one file each; `index.json` says what lies where.  A pivot is a frame or a face as a
`.fev` carries it: an AV1 still of 1 to 4 KB.  Reading needs OpenCV and Pillow, nothing of fev.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 256
CRF = 19
PIVOTS = 14  # of a clip
FACES = 1800
FACE_PIVOTS = 700
PIVOT_BYTES = (1000, 4000)
FACE_BYTES = 5000
HELD_OUT_EVERY = 20  # every 20th face of each set is never trained on


def still(picture: np.ndarray, most: int, speed: int = 8) -> bytes:
    """The best AVIF of at most about `most` bytes."""
    low, high, best = 1, 95, b""
    while low <= high:
        quality = (low + high) // 2
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "AVIF", quality=quality, speed=speed)
        if len(out.getvalue()) <= most + 300:  # a container that .fev does not have
            best, low = out.getvalue(), quality + 1
        else:
            high = quality - 1
    if not best:
        Image.fromarray(picture).save(out := io.BytesIO(), "AVIF", quality=1, speed=8)
        best = out.getvalue()
    return best


def write_video(path: Path, clips: list[np.ndarray]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(CRF), "preset": "medium", "x265-params": "log-level=error:keyint=250:scenecut=40"}
        number = 0
        for clip in clips:
            for i, picture in enumerate(clip):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                if i == 0:
                    frame.pict_type = av.video.frame.PictureType.I
                container.mux(stream.encode(frame))
                number += 1
        container.mux(stream.encode(None))


def face_names(shared: Path) -> dict[str, list[str]]:
    """Names by set of the faces that may be trained on."""
    sets: dict[str, list[str]] = {}
    with zipfile.ZipFile(shared / "faces" / "faces256.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".webp")):
            sets.setdefault(name.split("/")[0], []).append(name)
    return {key: [n for i, n in enumerate(names) if i % HELD_OUT_EVERY] for key, names in sets.items()}


def faces(shared: Path, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Photographs first, drawn faces for the rest."""
    sets = face_names(shared)
    real = sets.pop("ffhq256_real", [])
    drawn = [n for names in sets.values() for n in names]
    chosen = list(rng.permutation(real))[:count]
    chosen += list(rng.permutation(drawn))[: count - len(chosen)]
    out = []
    with zipfile.ZipFile(shared / "faces" / "faces256.zip") as archive:
        for name in chosen:
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            out.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="where `crops` has written")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=FACES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    paths = sorted((args.data / "clips").glob("*.npy"))
    clips = [np.load(path) for path in paths]
    write_video(args.out / "clips.mp4", clips)
    stills: dict[str, list[bytes]] = {"faces": [], "pivots": []}
    index: dict[str, list[dict[str, Any]]] = {"clips": [], "pivots": []}
    first = 0
    for path, clip in zip(paths, clips, strict=True):
        index["clips"].append({"name": path.stem, "first": first, "count": len(clip)})
        for i in np.unique(np.linspace(0, len(clip) - 1, PIVOTS).round().astype(int)):
            most = int(np.exp(rng.uniform(*np.log(PIVOT_BYTES))))
            stills["pivots"].append(still(clip[i], most))
            index["pivots"].append({"frame": int(first + i)})
        first += len(clip)
    for i, face in enumerate(faces(args.shared, args.faces, rng)):
        stills["faces"].append(still(face, FACE_BYTES, 10))
        if i % max(1, args.faces // FACE_PIVOTS) == 0:
            stills["pivots"].append(still(face, int(np.exp(rng.uniform(*np.log(PIVOT_BYTES))))))
            index["pivots"].append({"face": i})
    for name, items in stills.items():
        ends = np.cumsum([len(item) for item in items]).tolist()
        index[name + "_ends"] = ends
        (args.out / f"{name}.bin").write_bytes(b"".join(items))
    (args.out / "index.json").write_text(json.dumps(index))
    total = sum(path.stat().st_size for path in args.out.iterdir())
    counts = f"{len(clips)} clips, {first} frames, {args.faces} faces, {len(index['pivots'])} pivots"
    print(f"{counts}: {total / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
