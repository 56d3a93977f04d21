"""Checkpoints of a training run: whole ones to go on from, and slim ones that travel.

A whole one (`state.pt`) holds networks, averages and optimisers.  A slim one is the averaged
animator and the judge in half precision, or with 8 bits a weight and one scale a row, in parts of
at most 15 MiB (`slim.0.safetensors`, ...).

    python -m fev.tools.lab.animator.checkpoint FROM TO      (the slim one with 8 bits a weight)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

PART = 15 << 20


def shrink(name: str, value: Tensor, rows: bool) -> dict[str, Tensor]:
    """A tensor in 16 bits, or in 8 with one scale a row."""
    value = value.detach().float().cpu()
    if not rows or value.ndim < 2 or value.numel() < 4096:
        return {name: value.half()}
    scale = (value.flatten(1).abs().amax(1) / 127).clamp_min(1e-8)
    whole = (value / scale.view(-1, *[1] * (value.ndim - 1))).round().to(torch.int8)
    return {name + "/8": whole, name + "/scale": scale.half()}


def widen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    for name, value in tensors.items():
        if name.endswith("/8"):
            scale = tensors[name[:-2] + "/scale"].float()
            out[name[:-2]] = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
        elif not name.endswith("/scale"):
            out[name] = value.float()
    return out


def parts(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    size = 0
    for name, value in tensors.items():
        room = value.numel() * value.element_size()
        if part and size + room > PART:
            yield part
            part, size = {}, 0
        part[name] = value
        size += room
    yield part


def write_slim(
    folder: Path, average: torch.nn.Module, judge: torch.nn.Module, notes: dict[str, Any], rows: bool = False
) -> None:
    tensors: dict[str, Tensor] = {}
    for prefix, module in (("average", average), ("judge", judge)):
        for name, value in module.state_dict().items():
            tensors |= shrink(f"{prefix}.{name}", value, rows)
    write_parts(folder, tensors, notes)


def write_parts(folder: Path, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, part in enumerate(parts(tensors)):
        whole = {name: value.contiguous() for name, value in part.items()}
        save_file(whole, folder / f"slim.{i}.safetensors", {"notes": json.dumps(notes)})


def read_slim(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Weights of the animator, of the judge, and the notes."""
    tensors: dict[str, Tensor] = {}
    notes: dict[str, Any] = {}
    for path in sorted(folder.glob("slim.*.safetensors")):
        with safe_open(path, "pt") as part:
            tensors |= {name: part.get_tensor(name) for name in part.keys()}  # noqa: SIM118 - not a dict
            notes = json.loads(part.metadata()["notes"])
    wide = widen(tensors)
    of = {
        prefix: {k[len(prefix) + 1 :]: v for k, v in wide.items() if k.startswith(prefix + ".")}
        for prefix in ("average", "judge")
    }
    return of["average"], of["judge"], notes


def write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    torch.save(content, temporary)
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    average, judge, notes = read_slim(args.source)
    tensors: dict[str, Tensor] = {}
    for prefix, weights in (("average", average), ("judge", judge)):
        for name, value in weights.items():
            tensors |= shrink(f"{prefix}.{name}", value, rows=True)
    write_parts(args.target, tensors, notes)


if __name__ == "__main__":
    main()
