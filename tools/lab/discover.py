"""Find the channels of a generator that move a face's attributes, as the paper does: by index sensitivity.

    python -m fev.tools.lab.discover [--model NAME|FILE] [--out basis.json] [--sheet sheet.png] [--faces 4] [--size 128]
                                 [--data DIR]

Masks come from face parsing where `fev-models import` has it for the model, else from the geometry of the alignment.
A channel belongs to the attribute on whose mask it has the highest score: response per standard deviation, times the
square of the share of its whole change that falls inside.  The strongest channels of each attribute make the basis, as
many as the supplement's Tab. 1 has.  With --data, the folder of `train.data`, directions of yaw and pitch are
found too (`fev.codec.paper.posebasis`).  The JSON goes to `fev-models import --basis`; the sheet shows every channel
moved alone, minus and plus, as the supplement's Fig. 8 does, and below them where that changes the picture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...codec.model.modelfile import Model, load_model
from ...codec.model.pictures import from_numpy, to_numpy
from ...codec.paper.attributes import COUNTS, changes, geometric_masks, parsed_masks
from ...codec.paper.posebasis import pose_directions
from ...format.errors import FevError
from ..common import progress, run

FACES = 1500  # training faces from which the directions of pose are found
SPREAD = 64  # faces from which the standard deviation of a channel is taken
POSE_ROWS = 4  # W+ vectors that turn the head, as StyleFlow's do
REACH = 3.0  # standard deviations that the sheet moves a channel by
GAIN = 3.0  # of the sheet's maps of change
DETAIL = 256  # style layers of finer pictures move no attribute
TURN = 15.0  # degrees, on the sheet


def faces(model: Model, count: int) -> Tensor:
    """W+ (count, num_ws, w_dim) of faces that the model makes up."""
    random = torch.Generator().manual_seed(7)
    generator = model.generator
    with torch.no_grad():
        if generator.mapping is not None:
            return generator.truncated(generator.mapping(torch.randn(count, generator.config.z_dim, generator=random)))
        identity = torch.randn(count, model.latents.rank, generator=random) * model.identity_scale * 0.7
        return torch.stack([model.latents.base(row) for row in identity])


def masks_of(model: Model, pictures: Tensor) -> dict[str, Tensor]:
    from ...codec.paper.networks import Networks, files_of

    if files_of(model.name) and "bisenet" in Networks(model.name).names:
        return parsed_masks(Networks(model.name).bisenet, pictures)
    return {k: v.expand(len(pictures), -1, -1, -1) for k, v in geometric_masks(pictures.shape[-1]).items()}


def measure(model: Model, count: int, size: int) -> dict[str, Any]:
    """Response, locality and score of every channel for every attribute.

    Returns `channels` (N, 2), `deviation` (N,), `gamma` and `score` (N, attributes).
    """
    generator = model.generator
    ws = faces(model, SPREAD)
    with torch.no_grad():
        deviation = [s.std(0) for s in generator.styles(ws)]
        shown = [generator.styles(w[None]) for w in ws[:count]]
        masks = masks_of(model, torch.cat([generator.synthesis(s, size=size) for s in shown]))
    layers = [i for i, spec in enumerate(generator.table) if spec.kind != "rgb" and spec.size <= min(DETAIL, size)]
    total = sum(len(deviation[i]) for i in layers)
    rows = {(i, c): np.zeros((2, len(COUNTS))) for i in layers for c in range(len(deviation[i]))}
    with progress(total * count, "channels", "channel") as bar:
        for face, styles in enumerate(shown):
            for layer in layers:
                for channels, change in changes(generator, styles, layer, deviation[layer], size):
                    whole = change.sum((1, 2, 3)).clamp_min(1e-9)
                    for k, name in enumerate(COUNTS):
                        mask = masks[name][face]
                        inside = (change * mask).sum((1, 2, 3))
                        for channel, i, w in zip(channels.tolist(), inside.tolist(), whole.tolist(), strict=True):
                            rows[layer, channel][:, k] += (i / max(1.0, float(mask.sum())) / 2, i / w)
                    bar.update(len(channels))
    table = np.array(list(rows.values())) / count
    spread = np.array([float(deviation[i][c]) for i, c in rows])
    response, share = table[:, 0], table[:, 1]
    return {
        "channels": np.array(list(rows)), "deviation": spread, "share": share,
        "gamma": response / np.maximum(spread, 1e-9)[:, None], "score": response * share**2,
    }  # fmt: skip


def pose_of(model: Model, data: Path) -> Tensor:
    """Directions of yaw and pitch from the training faces and clips in a folder: (2, POSE_ROWS, w_dim)."""
    inverter = model.inverter
    if inverter is None:
        raise FevError("directions of pose are found by a model's own inverter, and this one has none")

    def codes(pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        out = []
        for flip in (False, True):
            parts = []
            for part in np.array_split(pictures, max(1, len(pictures) // 32)):
                x = from_numpy(part[:, :, ::-1] if flip else part)
                with torch.no_grad():
                    parts.append(model.latents(*inverter(x)))
            out.append(torch.cat(parts))
        return out[0], out[1]

    faces = np.load(data / "faces.npy", mmap_mode="r")
    known = [i for i, r in enumerate(json.loads((data / "faces.json").read_text())) if not r["held_out"]]
    frames = np.load(data / "frames.npy", mmap_mode="r")
    clips = [r for r in json.loads((data / "frames.json").read_text()) if not r["held_out"]]
    chosen = np.array(known)[np.unique(np.linspace(0, len(known) - 1, FACES).astype(int))]
    moving = [codes(frames[r["first"] + np.unique(np.linspace(0, r["count"] - 1, 40).astype(int))]) for r in clips]
    return pose_directions(*codes(faces[chosen]), moving, POSE_ROWS)


def choose(found: dict[str, Any]) -> dict[str, list[int]]:
    """Rows of the chosen channels for each attribute, the strongest first; no channel twice."""
    score = found["score"]
    relative = score / np.maximum(score.max(0), 1e-12)  # attributes are not equally bright
    best, names = relative.argmax(1), list(COUNTS)
    out = {}
    for k, name in enumerate(names):
        mine = np.flatnonzero(best == k)
        out[name] = [int(i) for i in mine[np.argsort(-score[mine, k])][: COUNTS[name]]]
    return out


def basis(model: Model, found: dict[str, Any], chosen: dict[str, list[int]]) -> dict[str, Any]:
    """What the JSON file holds."""
    rows = [(name, i) for name, members in chosen.items() for i in members]
    names = list(COUNTS)
    return {
        "model": model.sha256,
        "channels": [[int(v) for v in found["channels"][i]] for _, i in rows],
        "attributes": [name for name, _ in rows],
        "deviation": [round(float(found["deviation"][i]), 5) for _, i in rows],
        "gamma": [round(float(found["gamma"][i, names.index(name)]), 6) for name, i in rows],
        "share": [round(float(found["share"][i, names.index(name)]), 4) for name, i in rows],
    }


def table(described: dict[str, Any]) -> str:
    lines = ["| attribute | layer: channel (Gamma x 1000, share of the change inside) |", "| --- | --- |"]
    for name in COUNTS:
        cells = [
            f"{layer}: {channel} ({1000 * gamma:.1f}, {share:.0%})"
            for attribute, (layer, channel), gamma, share in zip(
                described["attributes"], described["channels"], described["gamma"], described["share"], strict=True
            )
            if attribute == name
        ]
        lines.append(f"| {name} | {', '.join(cells)} |")
    return "\n".join(lines)


@torch.no_grad()
def sheet(model: Model, described: dict[str, Any], size: int) -> np.ndarray:
    """Every channel moved alone, eight a row: minus, plus, and how much they differ, GAIN times; the face at rest
    first, yaw and pitch last."""
    ws = faces(model, 1)
    rest = to_numpy(model.generator(ws, size=size))[0]
    columns = [_column(rest, rest)]
    for (layer, channel), deviation in zip(described["channels"], described["deviation"], strict=True):
        ends = []
        for sign in (-REACH, REACH):
            styles = model.generator.styles(ws)
            styles[layer] = styles[layer].clone()
            styles[layer][:, channel] += sign * deviation
            ends.append(to_numpy(model.generator.synthesis(styles, size=size))[0])
        columns.append(_column(*ends))
    for direction in torch.tensor(described["pose"] or []):
        ends = []
        for angle in (-TURN, TURN):
            turned = ws.clone()
            turned[:, : len(direction)] += angle * direction
            ends.append(to_numpy(model.generator(turned, size=size))[0])
        columns.append(_column(*ends))
    columns += [np.zeros_like(columns[0])] * (-len(columns) % 8)
    return np.concatenate([np.concatenate(columns[i : i + 8], 1) for i in range(0, len(columns), 8)])


def _column(minus: np.ndarray, plus: np.ndarray) -> np.ndarray:
    change = np.abs(plus.astype(np.float32) - minus).mean(2, keepdims=True) * GAIN
    return np.concatenate([minus, plus, np.broadcast_to(change.clip(0, 255).astype(np.uint8), plus.shape)])


def work(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--out", type=Path, default=Path("basis.json"))
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--faces", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--data", type=Path)
    args = parser.parse_args(arguments)
    model = load_model(args.model)
    size = min(args.size, model.size)
    found = measure(model, args.faces, size)
    described = basis(model, found, choose(found))
    described["pose"] = None if args.data is None else pose_of(model, args.data).tolist()
    args.out.write_text(json.dumps(described, indent=1))
    print(table(described))
    if args.sheet:
        from PIL import Image

        Image.fromarray(sheet(model, described, size)).save(args.sheet)
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
