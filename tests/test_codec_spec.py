"""The constants printed in `spec/codec-1.md` are the code's. `test_fev_draw` shows that its formulas are too."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fev.codec import decoder
from fev.codec.draw import delta, modes, units
from fev.codec.face import paste, warp
from fev.codec.model import library, modelfile, planes, styleflow, stylegan2, stylespace
from fev.format import stage
from fev.tools import fev_draw, fev_model, fev_square

ROOT = Path(fev_draw.__file__).resolve().parent.parent
TEXT = (ROOT / "spec" / "codec-1.md").read_text()
FLAT = " ".join(TEXT.split())


@pytest.fixture(scope="module")
def base():
    return modelfile.load_model("base-256")


def test_step_codes():
    assert "a step of `2^-10 * 2^(s/4)`" in FLAT and units.STEP_UNIT == 2**-10
    assert "Code 0 is 0.000977, code 40 is 1. Code 255 is `2^53.75`." in FLAT
    assert round(units.step_size(0), 6) == 0.000977 and units.step_size(40) == 1 and units.step_size(255) == 2**53.75


def test_wavelet():
    numbers = [float(v) for v in re.findall(r"-?\d\.\d{12,}", TEXT)]
    assert tuple(numbers[:4]) == planes.LOW == fev_square.LOW
    assert tuple(numbers[4:9]) == planes.HIGH == fev_square.HIGH


def test_units_of_the_modes():
    assert "B = inverse(blue * s * 0.5) / 128" in FLAT
    assert (modes.CHROMA_STEP, 1 / modes.TEXTURE_UNIT) == (0.5, 128)
    assert "across = inverse(across * s') * 2 / 256" in FLAT and modes.FLOW_UNIT == 2 / 256
    assert "red = Y + 1.402 D green = Y - 0.344136 B - 0.714136 D blue = Y + 1.772 B" in FLAT
    assert planes.YCC_TO_RGB == ((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0))
    assert fev_square.TO_RGB.tolist() == [list(row) for row in planes.YCC_TO_RGB]


def test_bicubic_rule():
    """The polynomials of the text, at every eighth, are what an impulse becomes."""
    near, far = re.findall(r"c\(d\) = (.*?)\s+for", TEXT)
    impulse = torch.zeros(1, 1, 1, 9)
    impulse[..., 4] = 1
    taps = F.interpolate(impulse.double(), size=(1, 72), mode="bicubic", align_corners=False)[0, 0, 0]
    for i, tap in enumerate(taps.tolist()):
        d = abs((i + 0.5) / 8 - 0.5 - 4)
        rule = near if d <= 1 else far if d < 2 else "0"
        assert eval(re.sub(r"(\d) d", r"\1 * d", rule).replace("^", "**"), {"d": d}) == pytest.approx(tap, abs=1e-12)


def test_soft_edge():
    assert f"/ {paste.EDGE}, 0, 1)" in TEXT and fev_draw.EDGE == paste.EDGE


def test_units_of_sets_and_cameras():
    assert f"z <= {warp.SHARP} * 2^L" in FLAT and f"* scale / {stage.UNIT}" in FLAT
    x, y, zoom, angle = units.dequantise_camera(np.array([4, -2, 250, 1571]), 640, 360)
    assert "zoom = 1 + C / (width + height)" in FLAT and "angle = A / (width + height)" in FLAT and "- X / 4" in FLAT
    assert (x, y, zoom) == (1, -0.5, 1.25) and angle == pytest.approx(np.pi / 2, abs=3e-4)


def test_generator_table(base):
    rows = re.findall(r"^\| (\d+) \| (conv|up|rgb) \|(.*)\|$", TEXT, re.MULTILINE)
    keys = {t.name: t.key for t in delta.tunables(base.generator, base.latents)}
    table = stylegan2.layer_table(base.generator.config)
    assert len(rows) == len(table) == 20
    for number, (index, kind, rest) in enumerate(rows):
        spec, layer = table[number], base.generator.layers[number]
        noise = "yes" if layer.has_noise else "no"
        cells = [spec.size, spec.in_channels, spec.out_channels, spec.w_index, noise, keys[f"layers.{number}.weight"]]
        assert (int(index), kind) == (number, spec.kind)
        assert [cell.strip() for cell in rest.split("|")] == [str(cell) for cell in cells]
    assert "`latents.directions` is 70" in FLAT and keys["directions"] == 70
    assert f"same rank r, 1 to {delta.MAX_RANK}" in FLAT
    assert stylegan2.BLUR == (1, 3, 3, 1) and fev_model.FILTER == (0.25, 0.75, 0.75, 0.25)


def test_second_decoder_counts_the_same_keys(base):
    strangers = fev_model.keys(fev_model.Model(library.find("base-256")[0].read_bytes()))
    ours = [t.name for t in delta.tunables(base.generator, base.latents)]
    assert [name.split(".", 1)[1] for name in strangers] == ours


def test_the_built_in_model(base):
    g, latents, shared = base.generator.config, base.latents, base.shared
    channels = ", ".join(map(str, g.channels))
    assert f"S = {g.resolution}, W = {g.w_dim}, R = {latents.rank}, m = {latents.directions.shape[1]}, P = " in FLAT
    assert f"{latents.params} parameters, channels {channels}, noise up to {g.noise_size} pixels, no clamp" in FLAT
    assert f"shared textures of {shared.luma.shape[-1]} and shared flow of {shared.flow.shape[-1]}." in FLAT
    assert g.conv_clamp is None and f"{g.num_ws} in the built-in model" in FLAT
    assert f"`{modelfile.FORMAT}`; anything else is refused" in TEXT
    for key in re.findall(r"^\| `([a-z_.]+)`", TEXT, re.MULTILINE):
        if key != "generator.conv_clamp":  # the built-in model has none
            value = base.config
            for part in key.split("."):
                value = value[part]


def test_imported_networks():
    assert f"w[k] = generator.w_avg + {stylespace.IDENTITY_UNIT} * i[k]" in FLAT
    assert f"{styleflow.STEPS} equal steps" in FLAT and f"vectors 0 to {styleflow.POSE_WS - 1}; W is 512" in FLAT
    assert f"yaw is number {styleflow.YAW} and pitch number {styleflow.PITCH}" in FLAT
    assert (len(styleflow.CONDITIONS), styleflow.LAYERS, styleflow.WIDTH) == (17, 6, 512)
    assert "their number plus three" in FLAT and len(stylespace.POSE) == 3


def test_mark_of_synthetic_motion():
    assert decoder.SYNTHETIC_MARK.endswith("not performed by the person shown")
    assert "not performed by the person shown" in FLAT
