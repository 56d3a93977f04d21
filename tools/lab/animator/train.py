"""Train the animator: one command that begins or goes on, for so many minutes.

    python -m fev.tools.lab.animator.train --pack PACK --run RUN --stages 64:20,128:40 --batch 8

A sample is a coded pivot and another frame of the same person.  The motion encoder reads both, the
animator moves the pivot by the difference of their parameters, and the frame has to come back:
absolute error over the pyramid and its gradients, features of the judge, and the judge's opinion.
A part of every batch is driven by somebody else's motion: there only the judge speaks, and the
motion encoder, which has to find the motion again in the picture.

Stages are `size:minutes`.  Stopped at any time, the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....codec.face.regions import attention
from ....codec.fit.loss import pyramid_loss
from ....codec.model.animator import Animator, PivotFeatures
from .checkpoint import read_slim, write, write_slim
from .judge import Judge
from .pairs import Batch, Pairs
from .sheet import training_sheet

ALONE, MOVED = 0.3, 0.4  # weights of the generator's own picture and of the warped pivot beside the picture
JUDGED, FELT = 0.35, 0.6  # gradients of the judge's opinion and of its features, against that of the distance
CROSSED = 0.15  # the same for pictures that somebody else's motion drives
FOUND = 0.02  # weight of the motion found again in them
NOISE = 0.05  # of the parameters: what quantisation will do
BLIND, BLIND_WEIGHT = 8, 0.1  # one sample in so many is drawn without the pivot's features, and its weight
R1, R1_EVERY = 1.0, 16
LEARN = 500  # steps in which the judge's opinion gains its weight


def unit(gradient: Tensor) -> Tensor:
    out: Tensor = gradient / gradient.norm().clamp_min(1e-12)
    return out


def orthogonal(directions: Tensor) -> Tensor:
    """How far the directions are from being orthogonal: mean square of their cosines."""
    flat = F.normalize(directions.flatten(1), dim=1)
    cosines = flat @ flat.t()
    return (cosines - torch.eye(len(flat), device=flat.device)).square().mean()


class Recorded:
    """A piece of work on the GPU, recorded once and replayed: launching it anew takes longer than doing it."""

    def __init__(self, work: Callable[[], dict[str, Tensor]]):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.figures = work()

    def __call__(self) -> dict[str, Tensor]:
        self.graph.replay()
        return self.figures


class Training:
    """Networks, their averages, optimisers; one step at a time."""

    def __init__(self, device: torch.device, rate: float, recorded: bool = False, compiled: bool = False):
        self.device = device
        # bf16 where convolutions are faster in it; the weights stay in float32.
        self.dtype = torch.bfloat16 if device.type == "cuda" or torch.cpu._is_amx_tile_supported() else torch.float32
        self.animator, self.judge = Animator(), Judge()
        for module in (self.animator, self.judge):
            module.to(device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.animator).requires_grad_(False)
        self.losses: Callable[..., tuple[Tensor, ...]] = self._losses
        self.look: Callable[[Tensor], tuple[Tensor, list[Tensor]]] = self.judge
        if compiled:  # R1 differentiates twice, which what is compiled cannot: it asks the judge itself
            self.losses = torch.compile(self._losses, dynamic=False)
            self.look = torch.compile(self.judge, dynamic=False)
        self.rate, self.step = rate, 0
        self.trust = torch.zeros((), device=device)
        self.recorded = recorded and device.type == "cuda"
        self._works: dict[tuple[int, int, bool], Callable[[], dict[str, Tensor]]] = {}
        self._weights: dict[int, Tensor] = {}
        self.fresh()

    def fresh(self) -> None:
        """Optimisers that know nothing yet."""
        options: dict[str, Any] = {"lr": self.rate}
        if self.device.type == "cuda":
            options = {"lr": torch.tensor(self.rate, device=self.device), "fused": True, "capturable": True}
        self.optimiser = torch.optim.Adam(self.animator.parameters(), betas=(0.5, 0.99), **options)
        self.judging = torch.optim.Adam(self.judge.parameters(), betas=(0.0, 0.99), **options)
        self.begun = self.step
        self._works.clear()

    def forget(self) -> None:
        """Recorded steps of another stage, which hold its memory."""
        self._works.clear()

    def pace(self, share: float) -> None:
        """Learning rates: a short warm-up, then a share of the whole rate."""
        warm = min(1.0, (self.step - self.begun + 1) / 200)
        for optimiser in (self.optimiser, self.judging):
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(self.rate * share * warm)
                else:
                    group["lr"] = self.rate * share * warm
        self.trust.fill_(min(1.0, self.step / LEARN))

    def turn(self, pairs: Pairs, count: int, size: int, share: float) -> dict[str, Tensor]:
        """One step with `count` new pairs.  Returns figures to be read now and then: reading waits for the GPU."""
        self.pace(share)
        key = (size, count, self.step % R1_EVERY == 0)
        if key not in self._works:

            def work() -> dict[str, Tensor]:
                return self._step(pairs.draw(count), size, key[2])

            self._works[key] = Recorded(work) if self.recorded else work
        figures = self._works[key]()
        self._remember()
        self.step += 1
        return figures

    def _losses(self, batch: Batch, noise: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Loss beside the distance, picture (n, 3, S, S), its truth, change of parameters, the pivot's parameters."""
        n = len(batch.pivot)
        found = self.animator.motion(torch.cat([batch.clean, batch.target]).to(self.dtype))
        change = found[n:] - found[:n] + noise
        drawn = self.animator(batch.pivot, change, size, self.dtype)
        truth = batch.target if size == 256 else F.interpolate(batch.target, size=size, mode="area")
        weight = self._weight(size)
        loss = ALONE * pyramid_loss(drawn.alone, truth, weight)
        # Half the size tells a flow where to go as well as the whole does, in a quarter of the time.
        moved, half = (F.interpolate(v, scale_factor=0.5, mode="area") for v in (drawn.moved, truth))
        loss = loss + MOVED * pyramid_loss(moved, half, self._weight(size // 2))
        loss = loss + 1e-3 * found.square().mean() + 1e-2 * drawn.own.mean()
        loss = loss + 0.1 * orthogonal(self.animator.directions)
        return loss, drawn.picture, truth, change, found[:n]

    def _weight(self, size: int) -> Tensor:
        if size not in self._weights:
            self._weights[size] = attention(size).to(self.device)
        return self._weights[size]

    def _step(self, batch: Batch, size: int, slope: bool) -> dict[str, Tensor]:
        """One step of animator and judge.

        Args:
            slope: with R1.
        """
        n = len(batch.pivot)
        params = self.animator.config.params
        noise = NOISE * torch.randn(n, params, device=self.device)
        loss, picture, truth, change, rest = self.losses(batch, noise, size)
        leaf = picture.detach().requires_grad_()
        far = pyramid_loss(leaf, truth, self._weight(size))
        nearer = torch.autograd.grad(far, leaf)[0]
        distance = nearer.norm()
        shake = self._shake(n, size)
        opinion, features = self.look(shake(leaf).to(self.dtype))
        with torch.no_grad():
            _, real = self.look(shake(truth).to(self.dtype))
        felt = torch.zeros((), device=self.device)
        for a, b in zip(features, real):
            felt = felt + (a.float() - b.float()).abs().mean() / b.float().abs().mean()
        # What was bent by a random warp is no frame of a camera: only its features count.
        liked = (F.softplus(-opinion).mean((1, 2, 3)) * batch.whole).sum()
        like = torch.autograd.grad(liked, leaf, retain_graph=True)[0]
        feel = torch.autograd.grad(felt, leaf)[0]
        push = nearer + (JUDGED * self.trust * unit(like) + FELT * unit(feel)) * distance
        total = loss + (picture * push).sum()
        blind = max(1, n // BLIND)
        total = total + BLIND_WEIGHT * self._blind(batch, change[:blind], truth[:blind], size)
        crossed = self._cross(batch, change.detach(), rest.detach(), size, distance)
        if crossed is not None:
            total = total + crossed[0]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.animator.parameters(), 5.0)
        self.optimiser.step()
        fakes = leaf.detach() if crossed is None else torch.cat([leaf.detach(), crossed[1]])
        figures = self._judge(truth, batch.whole, fakes, size, slope)
        return figures | {"loss": (loss + far).detach(), "error": (leaf.detach() - truth).square().mean()}

    def _blind(self, batch: Batch, change: Tensor, truth: Tensor, size: int) -> Tensor:
        """Loss of what the generator draws of W+ alone, without the pivot's features: files without a pivot."""
        w, _ = self.animator.encoder(batch.pivot[: len(change)].to(self.dtype), 0)
        drawn = self.animator.draw(PivotFeatures(batch.pivot[: len(change)], w, {}), change, size, self.dtype)
        return pyramid_loss(drawn.alone, truth, self._weight(size))

    def _cross(
        self, batch: Batch, change: Tensor, rest: Tensor, size: int, distance: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Pivots moved by the next sample's motion: a loss, and the pictures for the judge to look at."""
        if size < 128 or len(change) < 8:
            return None
        k = len(change) // 4
        other = change.roll(1, 0)[:k]
        picture = self.animator(batch.pivot[:k], other, size, self.dtype).picture
        leaf = picture.detach().requires_grad_()
        opinion, _ = self.look(self._shake(k, size)(leaf).to(self.dtype))
        like = torch.autograd.grad(F.softplus(-opinion).sum(), leaf)[0]
        loss = (picture * (CROSSED * unit(like) * distance)).sum()
        wide = picture if size == 256 else F.interpolate(picture, size=256, mode="bilinear", align_corners=False)
        again = self.average.motion(wide.to(self.dtype))
        return loss + FOUND * (again - rest[:k] - other).square().mean(), leaf.detach()

    def _judge(self, truth: Tensor, whole: Tensor, fakes: Tensor, size: int, slope: bool) -> dict[str, Tensor]:
        n = len(truth)
        shake = self._shake(n + len(fakes), size)
        opinion, _ = self.look(shake(torch.cat([truth, fakes])).to(self.dtype))
        opinion = opinion.mean((1, 2, 3))
        loss = (F.softplus(-opinion[:n]) * whole).sum() / whole.sum() + F.softplus(opinion[n:]).mean()
        if slope:
            real = truth[: max(4, n // 4)].detach().requires_grad_()
            steep = torch.autograd.grad(self.judge(real)[0].mean((1, 2, 3)).sum(), real, create_graph=True)[0]
            loss = loss + R1 / 2 * R1_EVERY * steep.square().sum((1, 2, 3)).mean() * (size / 256) ** 2
        self.judging.zero_grad(set_to_none=True)
        loss.backward()
        self.judging.step()
        found = {"judge": loss, "real": opinion[:n].mean(), "drawn": opinion[n:].mean()}
        return {name: value.detach() for name, value in found.items()}

    def _shake(self, n: int, size: int) -> Callable[[Tensor], Tensor]:
        """The same small random similarity for every picture that it is given: the judge sees no picture twice."""
        d = self.device
        on = (torch.rand(n, device=d) < 0.7).float()
        angle, scale = 0.15 * torch.randn(n, device=d) * on, torch.exp(0.1 * torch.randn(n, device=d) * on)
        shift = 0.1 * torch.randn(n, 2, device=d) * on[:, None]
        c, s = scale * torch.cos(angle), scale * torch.sin(angle)
        theta = torch.stack([torch.stack([c, -s, shift[:, 0]], 1), torch.stack([s, c, shift[:, 1]], 1)], 1)
        grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
        return lambda x: F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

    @torch.no_grad()
    def _remember(self) -> None:
        """The running average of the animator, short at first."""
        decay = min(0.999, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.animator.parameters()), 1 - decay)

    def save(self, run: Path, notes: dict[str, Any]) -> None:
        write(
            run / "state.pt",
            {
                "animator": self.animator.state_dict(),
                "average": self.average.state_dict(),
                "judge": self.judge.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "judging": self.judging.state_dict(),
                "notes": notes,
            },
        )

    def load(self, run: Path) -> dict[str, Any]:
        """Go on from a whole checkpoint, or from a slim one with new optimisers.  Returns its notes."""
        if (run / "state.pt").exists():
            state = torch.load(run / "state.pt", map_location=self.device, weights_only=True)
            for name in ("animator", "average", "judge", "optimiser", "judging"):
                getattr(self, name).load_state_dict(state[name])
            notes: dict[str, Any] = state["notes"]
        elif (run / "slim.0.safetensors").exists():
            weights, judge, notes = read_slim(run)
            self.animator.load_state_dict(weights)
            self.average.load_state_dict(weights)
            if judge:
                self.judge.load_state_dict(judge)
        else:
            return {"step": 0, "minutes": {}}
        self.step = self.begun = notes["step"]
        return notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--stages", required=True, help="size:minutes,size:minutes,... of this call")
    parser.add_argument("--batch", default="8", help="pictures a step, one number or one a stage")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--first-share", type=float, default=1.0, help="of the rate, when this call begins")
    parser.add_argument("--final-share", type=float, default=0.1, help="of the rate, when this call ends")
    parser.add_argument("--save-every", type=float, default=4.0, metavar="MINUTES")
    parser.add_argument("--travel", type=Path, help="folder for slim checkpoints and sheets too")
    parser.add_argument("--eager", action="store_true", help="on a GPU: launch every step anew")
    parser.add_argument("--compile", action="store_true", help="a minute or two a size first, then faster")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun = time.time()
    args.run.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(args.seed)
    training = Training(device, args.rate, not args.eager, args.compile)
    notes = training.load(args.run)
    pairs = Pairs(args.pack, device, args.run)
    torch.manual_seed(7)
    fixed = pairs.draw(8)
    torch.manual_seed(args.seed + training.step)
    print(f"{device}, {training.dtype}, step {training.step}, data ready after {time.time() - begun:.0f} s", flush=True)
    outside = args.travel or args.run

    def keep(notes: dict[str, Any]) -> None:
        training.save(args.run, notes)
        if args.travel:
            write_slim(args.travel, training.average, training.judge, notes)

    def show(size: int) -> None:
        training_sheet(training.average, fixed, size, training.dtype, outside / f"sheet_{size}.png")

    stages = [(int(s), float(m)) for s, m in (stage.split(":") for stage in args.stages.split(","))]
    batches = [int(b) for b in args.batch.split(",")]
    batches *= len(stages) if len(batches) == 1 else 1
    whole, before = sum(m for _, m in stages), 0.0
    start = saved = told = time.time()
    for (size, minutes), count in zip(stages, batches, strict=True):
        first = training.step
        end = start + 60 * (before + minutes)
        stage_start = time.time()
        training.forget()
        while (now := time.time()) < end:
            done = min(1.0, (now - start) / 60 / whole)
            share = args.final_share + (args.first_share - args.final_share) * (0.5 + 0.5 * math.cos(math.pi * done))
            figures = training.turn(pairs, count, size, share)
            if training.step % 8 == 0 and device.type == "cuda":
                torch.cuda.synchronize()  # or steps would be launched far ahead of the clock
            if now - told > 20:
                told = now
                speed = (training.step - first) * count / (now - stage_start)
                read = {k: v.item() for k, v in figures.items()}
                words = " ".join(f"{k} {v:.4f}" for k, v in read.items())
                print(f"{size} step {training.step} {words} {speed:.1f}/s {100 * done:.0f} %", flush=True)
                if not all(math.isfinite(v) for v in read.values()):
                    print("not finite: back to the average", flush=True)
                    training.animator.load_state_dict(training.average.state_dict())
                    training.fresh()
            if now - saved > 60 * args.save_every:
                saved = now
                keep(notes | {"step": training.step, "size": size})
                show(size)
        spent = notes["minutes"].get(str(size), 0.0) + (time.time() - stage_start) / 60
        notes = {"step": training.step, "size": size, "minutes": notes["minutes"] | {str(size): spent}}
        before += minutes
        show(size)
    keep(notes)
    print(f"step {training.step}, minutes {notes['minutes']}, {time.time() - begun:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
