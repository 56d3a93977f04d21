"""What a trained direction matrix does: a contact sheet, and a table by the shape model it was trained with.

    python -m fev.tools.lab.train.direction_sheet --model NAME --matrix matrix.safetensors --out sheet.png
                                              [--shape SHAPE] [--data DIR] [--faces 3] [--reach 3]

Every direction alone, minus and plus `reach` of the 6 that its parameter goes; the first picture of a row is the face
itself.  The table says, as a line of JSON for each direction, how far its own parameter went of what was asked
(1 is right), and which other one went furthest.  A shape model agrees with what was trained against it more than
another would.  Look at the sheet before you believe the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ....codec.model.pictures import to_numpy
from ....codec.paper.directions import DirectionMatrix, directions_extra
from ....codec.paper.networks import NetworkFile, matrix_of
from ....format.errors import ModelMismatchError, UsageError
from ...common import parser, run
from ...measure.shape import ShapeModel
from ...measure.shapemodels import shape_of
from .codes import CHUNK, Codes, Pictures, codes_of
from .directions import networks_of
from .matrixtraining import TRUNCATION, Scaling

SIDE = 112  # of a picture on the sheet
MEASURED = 16  # faces that the table is a mean over


@torch.no_grad()
def moved(codes: Codes, matrix: DirectionMatrix, ws: Tensor, change: Tensor, size: int) -> Tensor:
    """Pictures (N, 3, size, size) of W+ (N, num_ws, w_dim) changed by (N, K)."""
    parts = zip(ws.split(CHUNK), change.split(CHUNK), strict=True)
    return torch.cat([codes.generator(matrix.shifted(w, c), size=size).clamp(-1, 1) for w, c in parts])


@torch.no_grad()
def responses(
    codes: Codes, matrix: DirectionMatrix, shape: ShapeModel, scaling: Scaling, ws: Tensor, reach: float, size: int
) -> Tensor:
    """(K, K): row k is how far the scaled parameters go when k is asked to go from -reach to reach, over 2 reach."""
    rows = []
    for ask in reach * torch.eye(len(scaling.names)):
        ends = [
            torch.cat([
                scaling.scaled(shape.measure(part).parameters)
                for part in moved(codes, matrix, ws, sign * ask.expand(len(ws), -1), size).split(CHUNK)
            ])
            for sign in (-1, 1)
        ]  # fmt: skip
        rows.append((ends[1] - ends[0]).mean(0) / (2 * reach))
    return torch.stack(rows)


def sheet(codes: Codes, matrix: DirectionMatrix, names: list[str], ws: Tensor, reach: float, size: int) -> Image.Image:
    """A row for each direction: for each face itself, minus and plus."""
    out = Image.new("RGB", (len(ws) * (3 * SIDE + 8) + 100, len(names) * (SIDE + 4)), "white")
    pen = ImageDraw.Draw(out)
    with torch.no_grad():
        still = codes.generator(ws, size=size).clamp(-1, 1)
    for row, (name, ask) in enumerate(zip(names, reach * torch.eye(len(names)), strict=True)):
        top = row * (SIDE + 4)
        pen.text((4, top + SIDE // 2), name, fill="black")
        ends = [moved(codes, matrix, ws, sign * ask.expand(len(ws), -1), size) for sign in (-1, 1)]
        for column, pictures in enumerate((still, *ends)):
            small = to_numpy(F.interpolate(pictures, size=SIDE, mode="area"))
            for k, picture in enumerate(small):
                out.paste(Image.fromarray(picture), (100 + k * (3 * SIDE + 8) + column * SIDE, top))
    return out


def work(arguments: list[str] | None = None) -> int:
    options = parser("fev.tools.lab.train.direction_sheet", __doc__ or "")
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--model", required=True)
    options.add_argument("--matrix", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--shape", help="as for fev.tools.lab.train.directions; without it there is no table")
    options.add_argument("--networks")
    options.add_argument("--data", type=Path, help="folder of training data: real faces instead of drawn ones")
    options.add_argument("--faces", type=int, default=3)
    options.add_argument("--reach", type=float, default=3.0)
    options.add_argument("--seed", type=int, default=5)
    given = options.parse_args(arguments)
    codes, file = codes_of(given.model), NetworkFile(given.matrix)
    matrix, extra = matrix_of(file), directions_extra(file.config)
    try:
        scaling = Scaling(**extra["scaling"])
    except (KeyError, TypeError) as error:
        raise ModelMismatchError(f"{given.matrix.name} does not say what its directions are") from error
    config = codes.generator.config
    if matrix.w_dim != config.w_dim or matrix.rows > config.num_ws:
        raise UsageError(f"{given.matrix.name} is for another generator")
    size, rng = min(256, config.resolution), torch.Generator().manual_seed(given.seed)
    count = max(given.faces, MEASURED if given.shape else 0)
    with torch.no_grad():
        if given.data:
            ws = codes.inverted(Pictures(given.data).single(count, rng))
        else:
            ws = codes.synthetic(count, TRUNCATION, rng)
    sheet(codes, matrix, scaling.names, ws[: given.faces], given.reach, size).save(given.out)
    if given.shape:
        shape = shape_of(given.shape, networks_of(given.networks or given.model))
        if shape.name != extra.get("shape_model"):
            print(json.dumps({"note": f"trained against another shape model: {extra.get('shape_model')}"}))
        for k, row in enumerate(responses(codes, matrix, shape, scaling, ws, given.reach, size)):
            others = row.abs().clone()
            others[k] = 0
            most = int(others.argmax())
            line = {"direction": scaling.names[k], "own": round(float(row[k]), 2), "other": scaling.names[most]}
            print(json.dumps(line | {"others": round(float(row[most]), 2)}))
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
