"""Speed and memory on this machine, each measured in a process of its own.

    python -m fev.tools.lab.bench [CLIP ...] [--long FRAMES] [--json]
    python -m fev.tools.lab.bench --generator 256,512,1024 [--batches 1,8] [--compile] [--device cuda]
    python -m fev.tools.lab.bench --play 60 [--viewers N] [FILE.fev ...]
    python -m fev.tools.lab.bench --hour

Without clips the sample is used.  `--long N` joins a clip to itself until it has N frames, to show that memory does
not grow with its length.  `--generator` times config-f generators with random weights, as the decoder runs them,
beside their bare convolutions, taking turns in one run.  `--play SECONDS` plays files in a loop on SDL's dummy
drivers: first picture, seeks, what is dropped, drift of the sound, share of the processor, memory; then through a
pipe, and to so many viewers of the page (`playbench`).  `--hour` reads an hour of motion, which is to take 20 s.
These figures do not belong in tests: machines are noisy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..common import count, parser, print_json, run, say
from ..demo import SAMPLE

RENDER_FRAMES = 48


AS_COMMANDS_DO = "from fev.tools.memory import keep_freed_memory; keep_freed_memory()"


def child(code: str, *arguments: str) -> dict[str, Any]:
    """Run `code` in a fresh interpreter; it leaves a dict in `result`.  Adds its peak memory in MB."""
    tail = "\nimport resource, json; result['peak_mb'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024"
    program = f"import sys, time\n{AS_COMMANDS_DO}\n{code}{tail}" + "\nprint('\\n' + json.dumps(result))"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "child failed")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


ENCODE = """
import fev
options = __import__('json').loads(sys.argv[3])
report = fev.encode(sys.argv[1], sys.argv[2], **options)
result = dict(frames=report.frames, s_per_frame=report.elapsed_s / report.frames, bytes=report.bytes)
result['stages'] = report.stages
"""

DECODE = """
import fev
options = __import__('json').loads(sys.argv[3])
report = fev.decode(sys.argv[1], sys.argv[2], **options)
result = dict(frames=report.frames, frames_per_s=report.frames / report.elapsed_s)
"""

RENDER = """
import numpy as np, torch
from fev.codec.model.modelfile import load_model
from fev.codec.draw.render import Renderer
model = load_model()
batch, frames, dtype = int(sys.argv[1]), int(sys.argv[2]), getattr(torch, sys.argv[3])
renderer = Renderer(model, np.zeros(1, np.int32), [], identity_step_code=36, motion_step_code=36, dtype=dtype)
motion = np.random.default_rng(0).integers(-2, 3, (frames, model.latents.params))
renderer.draw(motion[:batch])
start = time.perf_counter()
for i in range(0, frames, batch):
    renderer.draw(motion[i:i + batch])
result = dict(ms_per_frame=1000 * (time.perf_counter() - start) / frames)
"""


GENERATOR = """
import numpy as np, torch, torch.nn.functional as F
from fev.codec.model.stylegan2 import Generator, GeneratorConfig
size, batch, dtype, compiled, device = (int(sys.argv[1]), int(sys.argv[2]), getattr(torch, sys.argv[3]),
                                        sys.argv[4] == "1", torch.device(sys.argv[5]))
widths = (512, 512, 512, 512, 512, 256, 128, 64, 32)[: size.bit_length() - 2]
torch.manual_seed(0)
generator = Generator(GeneratorConfig(size, widths)).eval().requires_grad_(False)
generator = generator.to(device, memory_format=torch.channels_last)
ws = torch.randn(batch, generator.config.num_ws, 512, device=device)
calls = []
for layer in generator.layers:  # the learnt convolutions of a picture and nothing else: no blur, noise, bias
    spec = layer.spec
    side = spec.size // 2 if spec.kind == "up" else spec.size
    x = torch.randn(batch, spec.in_channels, side, side, device=device).to(dtype, memory_format=torch.channels_last)
    weight = layer.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
    calls.append((spec.kind, x, weight.transpose(0, 1) if spec.kind == "up" else weight))

def bare():
    for kind, x, weight in calls:
        if kind == "up":
            F.conv_transpose2d(x, weight, stride=2)
        else:
            F.conv2d(x, weight, padding=weight.shape[-1] // 2)

draw = torch.compile(generator) if compiled else generator
whole = lambda: draw(ws, dtype=dtype)

def timed(work):
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / batch

with torch.no_grad():
    whole(), bare()
    first, pairs = time.perf_counter(), []
    while len(pairs) < 3 or (len(pairs) < 20 and time.perf_counter() - first < 20):
        pairs.append((timed(whole), timed(bare)))
best = [min(column) for column in zip(*pairs)]
ratio = float(np.median([a / b for a, b in pairs]))
result = dict(ms_per_frame=best[0], bare_ms=best[1], ratio=ratio, frames_per_s=1000 / best[0])
"""


HOUR = """
import io
import numpy as np
from fev.format import Actor, Header, Reader, Segment, Writer
facts = dict(width=256, height=256, time_base=(1, 30), fps=(30, 1), model_sha256=bytes(32))
header = Header(**facts, params=35, segment_frames=30, placement=False)
actor, stream = Actor.of(np.zeros(9, np.int32), 0, 0), io.BytesIO()
walk = np.cumsum(np.rint(np.random.default_rng(0).laplace(0, 1, (1800, 35))), axis=0).astype(np.int32)
with Writer(stream, header, actors=[actor]) as writer:
    for i in range(3600):
        first = 30 * i
        row = first % len(walk)
        writer.write_segment(Segment.single(i, first, np.arange(first, first + 30), walk[row:row + 30]))
stream.seek(0)
start = time.process_time()
frames = sum(segment.frames for segment in Reader(stream).segments())
result = dict(frames=frames, seconds=time.process_time() - start)
"""


PLAY = """
from fev.tools import playbench
what, path, seconds, viewers = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
given = {"play": (path, seconds), "pipe": (path,), "viewers": (path, viewers, seconds)}[what]
result = getattr(playbench, what)(*given)
"""


def playing(paths: list[Path], seconds: int, viewers: int) -> list[dict[str, Any]]:
    rows = []
    titles = {"play": f"play {seconds} s", "pipe": "first picture over a pipe", "viewers": f"{viewers} viewers"}
    with tempfile.TemporaryDirectory() as name:
        if not paths:
            paths = [Path(name) / "sample.fev"]
            child(ENCODE, str(SAMPLE), str(paths[0]), json.dumps({"preset": "fast"}))
        for path in paths:
            for what, title in titles.items():
                if what != "viewers" or viewers:
                    row = child(PLAY, what, str(path), str(seconds), str(viewers))
                    rows.append({"what": title, "clip": path.name, **row})
    return rows


def generators(sizes: list[int], batches: list[int], compiled: bool, device: str) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        for batch in batches:
            for dtype in ("bfloat16", "float32"):
                row = child(GENERATOR, str(size), str(batch), dtype, str(int(compiled)), device)
                what = f"{size} batch {batch} {dtype}{' compiled' if compiled else ''}"
                rows.append({"what": what, "clip": device, "frames": batch, **row})
    return rows


def numbers(text: str) -> list[int]:
    """argparse type: whole numbers with commas between."""
    return [count(part) for part in text.split(",")]


def lengthen(source: Path, frames: int, path: Path) -> None:
    """Join a clip to itself until it has `frames` frames; sound is left out."""
    from fractions import Fraction

    from ...codec.media.mux import VideoWriter
    from ...codec.media.video import open_video

    with open_video(source) as video:
        info, pictures = video.info, [frame.rgb for frame in video]
    order = list(range(len(pictures))) + list(range(len(pictures) - 2, 0, -1))  # back and forth: no jumps
    with VideoWriter(path, info.width, info.height, 1 / info.fps, Fraction(info.fps), preset="ultrafast") as writer:
        for i in range(frames):
            writer.write(pictures[order[i % len(order)]], i)


def machine() -> dict[str, Any]:
    import torch

    has = {
        name: bool(getattr(torch.cpu, f"_is_{key}_supported", lambda: False)())
        for name, key in (("amx", "amx_tile"), ("avx512_bf16", "avx512_bf16"))
    }
    return {"cores": os.cpu_count(), **has, "torch": torch.__version__, "python": sys.version.split()[0]}


def measure(clip: Path, presets: list[str], folder: Path) -> list[dict[str, Any]]:
    rows = []
    for preset in presets:
        for crop in (True, False):
            if preset != "fast" and not crop:
                continue
            coded = folder / f"{clip.stem}.{preset}.fev"
            row = child(ENCODE, str(clip), str(coded), json.dumps({"preset": preset, "crop": crop}))
            rows.append({"what": f"encode {preset}{' crop' if crop else ''}", "clip": clip.name, **row})
            back = child(DECODE, str(coded), str(folder / "back.mp4"), "{}")
            rows.append({"what": f"decode{' crop' if crop else ''}", "clip": clip.name, **back})
    return rows


def clips(paths: list[Path], presets: list[str], long: int) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dtype in ("float32", "bfloat16"):
            for batch in (1, 8):
                row = child(RENDER, str(batch), str(RENDER_FRAMES), dtype)
                rows.append({"what": f"generator batch {batch} {dtype}", "clip": "-", "frames": RENDER_FRAMES, **row})
        for clip in paths:
            rows += measure(clip, presets, folder)
        if long:
            path = folder / "long.mp4"
            lengthen(paths[0], long, path)
            rows += measure(path, presets, folder)
    return rows


def arguments() -> Any:
    options = parser("fev.tools.lab.bench", "Measure speed and memory.")
    options.add_argument("clips", nargs="*", type=Path)
    options.add_argument("--presets", default="fast,medium", help="comma-separated (default: fast,medium)")
    options.add_argument("--long", type=count, default=0, metavar="FRAMES")
    options.add_argument("--generator", type=numbers, metavar="SIZES", help="time config-f generators of these sizes")
    options.add_argument("--batches", type=numbers, default=[1, 8])
    options.add_argument("--play", type=count, metavar="SECONDS", help="play .fev files in a loop")
    options.add_argument("--viewers", type=count, default=4, metavar="N", help="of the page, with --play (default: 4)")
    options.add_argument("--hour", action="store_true", help="read an hour of motion")
    options.add_argument("--compile", action="store_true", help="the generators through torch.compile")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--json", action="store_true")
    return options.parse_args()


def work() -> int:
    args = arguments()
    facts = machine()
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()
    if args.generator:
        rows = generators(args.generator, args.batches, args.compile, args.device)
    elif args.hour:
        rows = [{"what": "read an hour of motion", "clip": "-", **child(HOUR)}]
    elif args.play:
        rows = playing(args.clips, args.play, args.viewers)
    else:
        rows = clips(args.clips or [SAMPLE], args.presets.split(","), args.long)
    if args.json:
        print_json({"machine": facts, "rows": rows})
        return 0
    say(f"machine: {facts}")
    for row in rows:
        figures = [f"{k} {v:.3g}" for k, v in row.items() if isinstance(v, float)]
        stages = {k: round(v, 1) for k, v in row.get("stages", {}).items()}
        say(f"{row['what']:<36}{row['clip']:<24}{row['frames']:>6} frames  " + "  ".join(figures) + f"  {stages or ''}")
    say(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    run(work)
