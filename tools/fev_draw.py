#!/usr/bin/env python3
"""A second decoder, written from `spec/codec-1.md` with numpy only: draws the pictures of a .fev stream.

`fev_read.py` gives the integers, `fev_square.py` an actor's square, `fev_model.py` holds the generator; here they come
together in a frame. It shares no code with `codec/`, and a test compares the two. Everything is in double precision.
AV1 is left to whoever calls `Drawing` with decoded stills.
Usage: fev_draw.py FILE MODEL FRAME PICTURE.ppm, for streams without stills.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from . import fev_model, fev_read, fev_square
    from .fev_square import Array, Planes
else:  # in a package, or in a folder
    fev_read, fev_model, fev_square = (
        importlib.import_module(f".{name}" if __package__ else name, __package__)
        for name in ("fev_read", "fev_model", "fev_square")
    )
need, resampled, fetched = fev_read.need, fev_square.resampled, fev_square.fetched
bilinear, bicubic, still_to_rgb = fev_square.bilinear, fev_square.bicubic, fev_square.still_to_rgb

Stream = dict[str, Any]  # as `fev_read.read` returns it
Segment = dict[str, Any]
EDGE = 0.12


class Drawing:
    """Draws a stream that `fev_read.read` has read.

    stills: the planes Y, U, V of decoded AV1 pictures; of a pivot by ("PIVT", actor, revision), of a set by
    ("SETT", set), of a patch by ("patch", segment, its place in the segment's list), of the video by ("video", segment,
    its place in the segment).
    tags: matrix, and whether the range is full, as AV1 says of the video.
    """

    def __init__(
        self, stream: Stream, model: fev_model.Model, stills: Mapping[tuple[Any, ...], Planes],
        tags: tuple[int, bool] = (1, False),
    ):  # fmt: skip
        head = self.head = stream["head"]
        need(head["model"] == model.sha256 and head["params"] == model.params, "another model")
        need(head["flags"] & 3, "neither the square nor a placement")
        self.stills, self.sets, self.tags = stills, stream["sets"], tags
        self.actors = {
            key: fev_square.Actor(actor, model, stills.get(("PIVT", *key))) for key, actor in stream["actors"].items()
        }

    def frame(self, segment: Segment, i: int) -> NDArray[np.uint8]:
        """spec 11: frame i of a segment -> (height, width, 3), uint8."""
        tracks = segment["actors"]
        if self.head["flags"] & 1 and tracks:
            values = self.whole(self.square(segment, 0, i))
        else:
            if segment["video"]:
                values = self.filmed(segment, i)
            else:
                values = self.beneath(segment["set"], (segment["camera"] or {i: (0, 0, 0, 0)})[i])
            for place, track in enumerate(tracks):
                placement = track["placement"][i]
                if placement[2] > 0:
                    values = np.rint(self.pasted(self.square(segment, place, i), values, placement))
        picture: NDArray[np.uint8] = np.rint(values).astype(np.uint8).transpose(1, 2, 0)
        return picture

    def whole(self, square: Array) -> Array:
        """spec 11: The square itself."""
        height, width = self.head["height"], self.head["width"]
        if square.shape[1:] != (height, width):
            square = resampled(square, height, width, None if height < square.shape[1] else bicubic)
        values: Array = (np.clip(square, -1, 1) + 1) * 127.5
        return values

    def square(self, segment: Segment, place: int, i: int) -> Array:
        """spec 10, or 11: Patches. An actor's square in a frame."""
        for number, patch in enumerate(segment["patches"]):
            if patch["track"] == place and patch["first"] <= i < patch["first"] + patch["frames"]:
                rgb = still_to_rgb(patch["still"], self.stills["patch", segment["index"], number])
                side = max(rgb.shape[1:])
                if rgb.shape[1:] != (side, side):
                    rgb = np.rint(np.clip(resampled(rgb, side, side, bicubic), 0, 255))
                return rgb / 127.5 - 1
        track = segment["actors"][place]
        actor = self.actors[track["actor"], track["revision"]]
        return actor.square(track["motion"][i])

    def beneath(self, number: int | None, camera: tuple[int, int, int, int]) -> Array:
        """spec 11: Beneath the actors, bytes."""
        height, width = self.head["height"], self.head["width"]
        if number is None or number not in self.sets:
            return np.zeros((3, height, width))
        given = self.sets[number]
        plate = still_to_rgb(given["still"], self.stills["SETT", number])
        scale, left, top = given["place"] or (256, 0, 0)
        if given["place"] is None:
            plate = self.covering(plate)
            if not any(camera):
                return plate
        edges = width + height
        shift_x, shift_y, zoom, angle = camera[0] / 4, camera[1] / 4, 1 + camera[2] / edges, camera[3] / edges
        y, x = np.mgrid[0:height, 0:width] + 0.5
        dx, dy = x - width / 2 - shift_x, y - height / 2 - shift_y
        px = width / 2 + (math.cos(angle) * dx + math.sin(angle) * dy) / zoom
        py = height / 2 + (math.cos(angle) * dy - math.sin(angle) * dx) / zoom
        qx, qy = (px - left / 8) * scale / 256, (py - top / 8) * scale / 256
        h, w = plate.shape[1:]
        z, halvings = scale / 256 / zoom, 0
        while z > 1.5 * 2**halvings:
            halvings += 1
        n, m = max(1, math.ceil(w / 2**halvings)), max(1, math.ceil(h / 2**halvings))
        if halvings:
            plate = np.rint(resampled(plate, m, n, None))
        found = fetched(plate, qy * m / h - 0.5, qx * n / w - 0.5, bicubic)
        return np.rint(np.clip(found, 0, 255))

    def covering(self, plate: Array) -> Array:
        """spec 11: Beneath the actors, a plate of the size of the picture."""
        height, width = self.head["height"], self.head["width"]
        if plate.shape[1:] == (height, width):
            return plate
        return np.rint(np.clip(resampled(plate, height, width, None if height < plate.shape[1] else bicubic), 0, 255))

    def filmed(self, segment: Segment, i: int) -> Array:
        """spec 11: Video, bytes."""
        step, packets = segment["video"]
        k, pts = i // step, segment["pts"]
        there = self.film(segment, k)
        if i % step and k + 1 < len(packets):
            before, after = pts[k * step], pts[(k + 1) * step]
            way = ((pts[i] - before) * 256 + (after - before) // 2) // (after - before)
            there = (there * (256 - way) + self.film(segment, k + 1) * way + 128) // 256
        return self.covering(there)

    def film(self, segment: Segment, k: int) -> Array:
        """spec 11: Video. Picture k of a segment, bytes."""
        planes = self.stills["video", segment["index"], k]
        height, width = planes[0].shape
        return still_to_rgb(dict(matrix=self.tags[0], full=self.tags[1], height=height, width=width), planes)

    def pasted(self, square: Array, there: Array, placement: list[int]) -> Array:
        """spec 11: Pasted."""
        centre_x, centre_y, half = (value / 8 for value in placement[:3])
        angle = placement[3] * 2 * math.pi / 16384
        y, x = np.mgrid[0 : self.head["height"], 0 : self.head["width"]] + 0.5
        dx, dy = (x - centre_x) / half, (y - centre_y) / half
        u, v = math.cos(angle) * dx + math.sin(angle) * dy, -math.sin(angle) * dx + math.cos(angle) * dy
        d = np.clip((1 - np.maximum(abs(u), abs(v))) / EDGE, 0, 1)
        weight = d * d * (3 - 2 * d)
        z = square.shape[-1] / (2 * half)
        if z > 1.5:
            n = max(1, math.floor(square.shape[-1] * (1 / z)))
            square = resampled(square, n, n, None)
        n = square.shape[-1]
        seen = weight > 0
        row, column = (v[seen] + 1) * n / 2 - 0.5, (u[seen] + 1) * n / 2 - 0.5
        face = (np.clip(fetched(square, row, column, bicubic if z < 0.9 else bilinear), -1, 1) + 1) * 127.5
        out: Array = there.copy()
        out[:, seen] += (face - there[:, seen]) * weight[seen]
        return out


def frames(stream: Stream) -> list[tuple[Segment, int]]:
    """All frames in order: their segments, and their places in them."""
    return [(segment, i) for segment in stream["segments"] for i in range(len(segment["pts"]))]


def main() -> int:
    if len(sys.argv) != 5:
        print("usage: fev_draw.py FILE MODEL FRAME PICTURE.ppm", file=sys.stderr)
        return 2
    try:
        stream = fev_read.read(Path(sys.argv[1]).read_bytes())
        stills = stream["sets"] or any("pivot" in actor for actor in stream["actors"].values())
        stills = stills or any(segment["patches"] or segment["video"] for segment in stream["segments"])
        need(not stills, "a still needs an AV1 decoder: call Drawing from Python")
        all_frames, number = frames(stream), int(sys.argv[3])
        need(0 <= number < len(all_frames), f"there are {len(all_frames)} frames")
        picture = Drawing(stream, fev_model.Model(Path(sys.argv[2]).read_bytes()), {}).frame(*all_frames[number])
        head = f"P6\n{picture.shape[1]} {picture.shape[0]}\n255\n"
        Path(sys.argv[4]).write_bytes(head.encode() + picture.tobytes())
    except (fev_read.Fault, OSError, ValueError) as fault:
        print(f"fev_draw: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
