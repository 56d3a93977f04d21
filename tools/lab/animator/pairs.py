"""Training pairs out of the pack: a pivot as a file carries it, and a frame that it has to become.

Everything lies on the device as bytes; drawing and warping a batch costs no copy from the host and
waits for nothing, so that a whole step can be recorded (`train`).  Randomness is torch's own.
"""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ....codec.model.pictures import from_levels


def read_video(path: Path) -> np.ndarray:
    """All frames, (N, 256, 256, 3) uint8."""
    import cv2  # here alone, and on machines without PyAV

    video = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    while True:
        ok, frame = video.read()
        if not ok:
            return np.stack(frames)
        frames.append(frame[..., ::-1])


def read_stills(path: Path, ends: list[int]) -> np.ndarray:
    data, starts = path.read_bytes(), [0, *ends[:-1]]
    pieces = [data[a:b] for a, b in zip(starts, ends, strict=True)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(decode, pieces, chunksize=32)))


def decode(still: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(still)).convert("RGB"))


@dataclass
class Batch:
    """pivot: as it is sent.  clean: the frame that it was coded from.  target: (n, 3, 256, 256), -1 to 1.
    whole: (n,) 1 where the target is a frame of a camera, 0 where it was warped out of a still."""

    pivot: Tensor
    clean: Tensor
    target: Tensor
    whole: Tensor


class Pairs:
    """Draws batches.  A share of `stills` of them are faces under random warps, the rest frames of clips."""

    def __init__(self, pack: Path, device: torch.device, cache: Path | None = None, stills: float = 0.25):
        index = json.loads((pack / "index.json").read_text())
        pictures, pivots = self._read(pack, index, cache)
        frames = len(pictures) - len(index["faces_ends"])
        self.pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device).contiguous()
        self.pivots = torch.from_numpy(pivots).permute(0, 3, 1, 2).to(device).contiguous()
        self.device, self.stills = device, stills
        # Row of the clean picture of every pivot, and the rows of the clip it may become (a face: itself).
        rows = [p["frame"] if "frame" in p else frames + p["face"] for p in index["pivots"]]
        spans = {}
        for clip in index["clips"]:
            for row in range(clip["first"], clip["first"] + clip["count"]):
                spans[row] = (clip["first"], clip["count"])
        self.clean = torch.tensor(rows, device=device)
        self.first = torch.tensor([spans.get(r, (r, 1))[0] for r in rows], device=device)
        self.count = torch.tensor([spans.get(r, (r, 1))[1] for r in rows], device=device)
        of_clips = [i for i, p in enumerate(index["pivots"]) if "frame" in p]
        self.clip_pivots = torch.tensor(of_clips, device=device)
        self.face_pivots = torch.tensor(sorted(set(range(len(rows))) - set(of_clips)), device=device)
        self.faces = torch.arange(frames, len(self.pictures), device=device)

    @staticmethod
    def _read(pack: Path, index: dict[str, Any], cache: Path | None) -> tuple[np.ndarray, np.ndarray]:
        """Frames of the clips and then faces, (N, 256, 256, 3) uint8; pivots.

        Args:
            cache: where they are kept decoded.
        """
        kept = [cache / f"{name}.npy" for name in ("pictures", "pivots")] if cache else []
        if kept and all(path.exists() for path in kept):
            return np.load(kept[0]), np.load(kept[1])
        frames = read_video(pack / "clips.mp4")
        count = index["clips"][-1]["first"] + index["clips"][-1]["count"]
        if len(frames) != count:
            raise SystemExit(f"{len(frames)} frames in the pack's video, {count} expected")
        pictures = np.concatenate([frames, read_stills(pack / "faces.bin", index["faces_ends"])])
        pivots = read_stills(pack / "pivots.bin", index["pivots_ends"])
        for path, array in zip(kept, (pictures, pivots), strict=False):
            np.save(path, array)
        return pictures, pivots

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self.device)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self.device)

    def _pick(self, rows: Tensor, n: int) -> Tensor:
        return rows[(self._uniform(n) * len(rows)).long()]

    def draw(self, n: int) -> Batch:
        stills = round(n * self.stills)
        coded = stills // 2  # of them as coded pivots, the others as they are
        which = torch.cat([self._pick(self.clip_pivots, n - stills), self._pick(self.face_pivots, coded)])
        target = self.first[which] + (self._uniform(len(which)) * self.count[which]).long()
        plain = self._pick(self.faces, stills - coded)
        clean = torch.cat([self.clean[which], plain])
        # One pivot in ten is as sharp as its frame: larger pictures have better pivots.
        pivot = torch.cat([self.pivots[which], self.pictures[plain]])
        sharp = (self._uniform(n) < 0.1).view(-1, 1, 1, 1)
        clean = self.pictures[clean]
        pivot = torch.where(sharp, clean, pivot)
        target = torch.cat([self.pictures[target], self.pictures[plain]])
        pictures = from_levels(torch.stack([pivot, clean, target], 1))  # (n, 3, 3, S, S)
        flip = (self._uniform(n) < 0.5).view(-1, 1, 1, 1, 1)
        pictures = torch.where(flip, pictures.flip(-1), pictures)
        gain = (0.8 + 0.35 * self._uniform(n, 1, 1, 1, 1)) * (0.92 + 0.16 * self._uniform(n, 1, 3, 1, 1))
        bias = 0.2 * self._uniform(n, 1, 1, 1, 1) - 0.1
        pictures = ((pictures + 1) * gain - 1 + bias).clamp(-1, 1)
        whole = (torch.arange(n, device=self.device) < n - stills).float()
        # Placement leaves small similarities; faces need larger, bent ones to learn anything from.
        grid = self._grids(n, 1.0 - whole)
        moved = F.grid_sample(pictures[:, 2], grid, padding_mode="reflection", align_corners=False)
        return Batch(pictures[:, 0], pictures[:, 1], moved, whole)

    def _grids(self, n: int, bent: Tensor) -> Tensor:
        """Random similarities, half of them none for clips, and smooth bends where `bent` is 1."""
        on = torch.maximum((self._uniform(n) < 0.5).float(), bent)
        angle = self._normal(n) * (0.03 + 0.07 * bent) * on
        scale = torch.exp(self._normal(n) * (0.02 + 0.05 * bent) * on)
        shift = self._normal(n, 2) * (0.02 + 0.05 * bent)[:, None] * on[:, None]
        c, s = scale * torch.cos(angle), scale * torch.sin(angle)
        theta = torch.stack([torch.stack([c, -s, shift[:, 0]], 1), torch.stack([s, c, shift[:, 1]], 1)], 1)
        grid = F.affine_grid(theta, [n, 3, 256, 256], align_corners=False)
        bend = F.interpolate(self._normal(n, 2, 5, 5), size=256, mode="bicubic", align_corners=True)
        return grid + (bend * (0.035 * bent).view(-1, 1, 1, 1)).permute(0, 2, 3, 1)
