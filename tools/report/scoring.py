"""Scores: frames of a source and of what was decoded, to numbers a frame; each measure with its network or its reason.

Without a network: PSNR and SSIM (`codec.metrics`), MS-SSIM, HaarPSI and GMSD (piq).  With one that is there already or
that the user names: LPIPS (AlexNet, as `fev-evaluate` finds it), DISTS (piq's weights over VGG-16), identity (ArcFace),
pose and landmarks (a shape model, see `measure.shapemodels`).  Nothing is downloaded, and no measure is
put in another's place.

Choices: piq's measures are taken with its defaults on RGB, 0 to 1.  Pose is the mean error of yaw, pitch and roll in
degrees; landmarks is the mean distance of 68 points without the camera, over the distance of the outer corners of the
eyes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...codec.paper.arcface import ArcFace
from ...codec.paper.imports.backbone import load_perceptual
from ...codec.paper.imports.official import missing
from ...codec.paper.networks import Networks, files_of
from ...codec.paper.perceptual import cached
from ...format.errors import FevError, MediaError, UsageError
from ..measure.metrics import decibels, structure
from ..models import DEFAULT
from . import dists

BATCH = 8
SMALLEST_MS_SSIM = 161  # pixels: five scales under a window of 11
EYES = (36, 45)  # outer corners, of 68


@dataclass(frozen=True)
class Metric:
    """How a measure is printed.

    Attributes:
        title: heading.
        up: more is better.
        decimals: as printed.
        unit: empty where there is none.
    """

    title: str
    up: bool
    decimals: int
    unit: str = ""


METRICS = {
    "psnr": Metric("PSNR", True, 2, "dB"),
    "ssim": Metric("SSIM", True, 4),
    "ms_ssim": Metric("MS-SSIM", True, 4),
    "haarpsi": Metric("HaarPSI", True, 4),
    "gmsd": Metric("GMSD", False, 4),
    "lpips": Metric("LPIPS", False, 4),
    "dists": Metric("DISTS", False, 4),
    "identity": Metric("identity (ArcFace cosine)", True, 4),
    "pose": Metric("pose error", False, 2, "°"),
    "landmarks": Metric("landmark error", False, 4),
}


@dataclass(frozen=True)
class ScoringNetworks:
    """What the user named.

    Attributes:
        networks: their name, as `fev-models import` was told.
        shape: a shape model, as `measure.shapemodels` takes it.
        dists: a file with piq's weights.
    """

    networks: str | None = None
    shape: str | None = None
    dists: str | None = None


@dataclass(frozen=True)
class FrameScores:
    """What the measures say of a clip.

    Attributes:
        frames: numbers of those that were scored.
        values: measure -> a number for each of these frames.
        missing: measure -> why there is none.
        by: measure -> the network it was taken with.
    """

    frames: list[int]
    values: dict[str, list[float]]
    missing: dict[str, str]
    by: dict[str, str] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        return {name: float(np.mean(v)) for name, v in self.values.items()}


class Scorer:
    """Holds the networks.  Raises FevError where one that was named cannot be used, UsageError where piq is missing."""

    def __init__(self, named: ScoringNetworks = ScoringNetworks()):
        self.missing: dict[str, str] = {}
        self.by: dict[str, str] = {"psnr": "no network", "ssim": "no network, scikit-image"}
        self._measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        self._piq()
        given = networks_of(named.networks)
        self._lpips(given)
        self._dists(named.dists, given)
        self._identity(given)
        self._shape(named.shape, given)

    def score(self, source: Iterable[np.ndarray], decoded: Iterable[np.ndarray], every: int = 1) -> FrameScores:
        """Frames (S, S, 3) of bytes, paired by order; of every so many one.  Raises MediaError where counts differ."""
        frames: list[int] = []
        rows: dict[str, list[np.ndarray]] = {}
        held: list[tuple[np.ndarray, np.ndarray]] = []
        missing = dict(self.missing)

        def take() -> None:
            one, other = (np.stack(side) for side in zip(*held, strict=True))
            for name, values in self._batch(one, other, missing).items():
                rows.setdefault(name, []).append(values)
            held.clear()

        for count, (a, b) in enumerate(zip_longest(source, decoded)):
            if a is None or b is None:
                raise MediaError(f"{count} frames, and then {'fewer' if b is None else 'more'} decoded than coded")
            if count % every == 0:
                frames.append(count)
                held.append((a, b))
            if len(held) == BATCH:
                take()
        if held:
            take()
        values = {name: [round(float(v), 6) for v in np.concatenate(parts)] for name, parts in rows.items()}
        return FrameScores(frames, values, missing, {n: by for n, by in self.by.items() if n in values})

    @torch.no_grad()
    def _batch(self, one: np.ndarray, other: np.ndarray, missing: dict[str, str]) -> dict[str, np.ndarray]:
        out = {"psnr": decibels(one, other), "ssim": structure(one, other)}
        a, b = (torch.from_numpy(v).permute(0, 3, 1, 2).float() / 255 for v in (one, other))
        for name, measure in self._measures.items():
            if name == "ms_ssim" and one.shape[1] < SMALLEST_MS_SSIM:
                missing[name] = f"squares of {one.shape[1]} pixels are too small: {SMALLEST_MS_SSIM} are needed"
            else:
                out[name] = measure(a, b).flatten().double().cpu().numpy()
        return out

    # -- the measures

    def _add(self, name: str, by: str, measure: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._measures[name], self.by[name] = measure, by

    def _piq(self) -> None:
        need("piq")
        import piq

        about = f"no network, piq {piq.__version__}"
        self._add("ms_ssim", about, lambda a, b: piq.multi_scale_ssim(b, a, reduction="none"))
        self._add("haarpsi", about, lambda a, b: piq.haarpsi(b, a, reduction="none"))
        self._add("gmsd", about, lambda a, b: piq.gmsd(b, a, reduction="none"))

    def _lpips(self, given: Networks | None) -> None:
        if given is not None and "lpips-alex" in given.names:
            net, about = given.perceptual("alex"), f"imported as {given.name}"
        elif file := cached("alex"):
            net, about = load_perceptual("alex", file), f"{file.name} of torch's cache"
        else:
            self.missing["lpips"] = missing("lpips-alex")
            return
        self._add("lpips", f"LPIPS 0.1 on AlexNet, {about}", lambda a, b: net(2 * a - 1, 2 * b - 1))

    def _dists(self, file: str | None, given: Networks | None) -> None:
        weights = Path(file) if file else Path(torch.hub.get_dir()) / "checkpoints" / dists.FILE
        if file and not weights.is_file():
            raise FevError(f"{file}: cannot be opened: no such file")
        backbone, about = dists.vgg(given)
        lacking = [] if weights.is_file() else [f"piq's {dists.FILE} (--dists FILE)"]
        lacking += [] if backbone else [about]
        if lacking or backbone is None:
            self.missing["dists"] = f"it needs {' and '.join(lacking)}"
            return
        net = dists.load(weights, backbone)
        self._add("dists", f"DISTS by piq, {weights.name} over {about}", lambda a, b: net(b, a))

    def _identity(self, given: Networks | None) -> None:
        if given is None or "arcface" not in given.names:
            self.missing["identity"] = missing("arcface")
            return
        net: ArcFace = given.arcface

        def cosine(a: Tensor, b: Tensor) -> Tensor:
            one, other = (net.of_square(_at_least(2 * v - 1, 256)) for v in (a, b))
            return (one * other).sum(1)

        self._add("identity", f"ArcFace (IR-SE-50), imported as {given.name}", cosine)

    def _shape(self, text: str | None, given: Networks | None) -> None:
        if text is None:
            for name in ("pose", "landmarks"):
                self.missing[name] = "no network was named (--shape FILE, as fev.tools.lab.train.landmarks makes it)"
            return
        from ..measure.shapemodels import shape_of

        model = shape_of(text, given)

        def pose(a: Tensor, b: Tensor) -> Tensor:
            one, other = (model.measure(2 * v - 1).parameters[:, :3] for v in (a, b))
            return (one - other).abs().mean(1)

        def landmarks(a: Tensor, b: Tensor) -> Tensor:
            one, other = (model.points(model.measure(2 * v - 1)).landmarks for v in (a, b))
            eyes = (one[:, EYES[0]] - one[:, EYES[1]]).norm(dim=1)
            error: Tensor = (one - other).norm(dim=2).mean(1) / eyes.clamp(min=1e-6)
            return error

        self._add("pose", model.name, pose)
        self._add("landmarks", model.name, landmarks)


def networks_of(name: str | None) -> Networks | None:
    """What was imported under a name; without one the usual name, which then need not exist."""
    return Networks(name or DEFAULT) if name or files_of(DEFAULT) else None


def _at_least(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-1] >= side:
        return pictures
    return torch.nn.functional.interpolate(pictures, size=side, mode="bilinear", align_corners=False)


def need(*packages: str, extra: str = "rd") -> None:
    """Raises UsageError, one line, where a package of an extra is not installed."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"fev-rd needs {name}: pip install 'fev[{extra}]'")
