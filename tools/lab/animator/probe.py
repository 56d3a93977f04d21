"""What a training step costs on this machine, size by size: pictures a second, memory, the dearest operations.

python -m fev.tools.lab.animator.probe --pack PACK --sizes 64:64,128:64,256:32
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from .pairs import Pairs
from .train import Training


def wait(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--sizes", default="64:64,128:64,256:32", help="size:batch,...")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--recorded", action="store_true", help="on a GPU: record steps and replay them")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cache", type=Path, help="folder that keeps the decoded pack for the next call")
    parser.add_argument("--profile", action="store_true", help="list the dearest operations too")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    pairs = Pairs(args.pack, device, args.cache)
    training = Training(device, 2e-3, args.recorded, args.compile)
    print(f"{device}, {training.dtype}, data after {time.perf_counter() - start:.1f} s", flush=True)
    for size, count in (map(int, item.split(":")) for item in args.sizes.split(",")):
        start = wait(device)
        training.forget()
        training.step = 1  # not a step of R1
        training.turn(pairs, count, size, 0.1)
        first = wait(device) - start
        training.step = 1
        start = wait(device)
        for _ in range(args.steps):
            training.turn(pairs, count, size, 0.1)
        each = (wait(device) - start) / args.steps
        start = wait(device)
        for _ in range(args.steps):
            pairs.draw(count)
        drawn = (wait(device) - start) / args.steps
        room = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
        print(
            f"{size}: {count / each:.0f} pictures/s, {1e3 * each:.0f} ms a step ({1e3 * first:.0f} the first), "
            f"{1e3 * drawn:.0f} ms of it drawing, {room:.1f} GiB",
            flush=True,
        )
        if args.profile:
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
                training.turn(pairs, count, size, 0.1)
                wait(device)
            key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
            table = seen.key_averages().table(sort_by=key, row_limit=14, max_name_column_width=60)
            print("\n".join(line[:62] + line[-70:] for line in table.splitlines()), flush=True)


if __name__ == "__main__":
    main()
