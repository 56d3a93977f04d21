"""Two passes to a bitrate (fev.codec.fit.ratecontrol, `fev-encode --bitrate`)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import fev
import numpy as np
import pytest
import torch
from conftest import tiny_modules
from efforts import encode_quickly, quick
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.draw.units import motion_step_code
from fev.codec.encode import aim, trials
from fev.codec.encode.options import EncodeOptions
from fev.codec.fit import appearance
from fev.codec.fit.budget import LEAST_BUDGET
from fev.codec.fit.carrier import Spending
from fev.codec.fit.effort import EFFORTS
from fev.codec.fit.ratecontrol import CLOSE, PRICES, RateTarget, least_bytes, motion_bytes, price_for, share_out
from fev.codec.model.library import BUILT_IN
from fev.codec.model.modelfile import load_model, pack
from fev.codec.model.rates import parse_rates
from fev.format.errors import ModelMismatchError, UsageError
from fev.tools.demo import SAMPLE
from fev.tools.measure.metrics import psnr

CURVES = parse_rates((BUILT_IN / "base-256.rates.json").read_bytes(), load_model().sha256)


def test_shares_add_up_and_grow_with_what_there_is():
    shares = [share_out(left, 300, CURVES) for left in (700, 1500, 3000, 6000, 12_000, 40_000)]
    for left, share in zip((700, 1500, 3000, 6000, 12_000, 40_000), shares, strict=True):
        assert share.budget + motion_bytes(share.quality, 300, CURVES) == left
    assert all(a.budget < b.budget and a.quality <= b.quality for a, b in zip(shares, shares[1:], strict=False))
    assert shares[0].quality < 40 < 60 <= shares[-1].quality


def test_a_long_clip_spends_on_motion():
    """Ten minutes at 1.2 kbit/s: what an identity saves in quality, motion has to pay for 18,000 times."""
    share = share_out(90_000, 18_000, CURVES)
    assert motion_bytes(share.quality, 18_000, CURVES) > 0.6 * 90_000 and share.budget > 4_000


def test_too_little_is_said_with_what_is_needed():
    assert share_out(least_bytes(300, CURVES), 300, CURVES) == Spending(0.0, LEAST_BUDGET)
    target = RateTarget(4.0, 10.0)
    assert target.bytes == 5000
    with pytest.raises(UsageError, match=r"of 4 kbit/s cannot .*about 4\.01 kbit/s are the least .*alone"):
        raise target.refusal(5001, "alone")


@pytest.mark.parametrize("target", [700, 1000, 1500])
def test_the_price_is_found(target):
    asked = []

    def size(price: float) -> int:
        asked.append(price)
        return 500 + round(500 * price**-0.5)

    price, taken = price_for(size, target)
    assert (1 - CLOSE) * target <= taken == size(price) <= target, "never more than there is room for"
    assert len(asked) <= 15


def test_out_of_reach_gives_the_end_of_the_range():
    assert price_for(lambda price: 1000 - round(math.log2(price)), 5000)[0] < 2 * PRICES[0]
    assert price_for(lambda price: 1000 - round(math.log2(price)), 10) == (PRICES[1], 995)
    assert price_for(lambda price: 1000 - round(math.log2(price)), 995)[1] <= 995, "the end itself is looked at"


@pytest.mark.parametrize(
    "wrong",
    [{"quality": 50}, {"identity_budget": 5000}, {"preset": "fast"}, {"bitrate": 0.0}, {"bitrate": math.nan}],
)
def test_what_makes_no_sense_with_a_bitrate_is_refused(wrong):
    with pytest.raises(UsageError):
        EncodeOptions(**{"bitrate": 4.0, **wrong})


@pytest.mark.slow
@pytest.mark.parametrize(("bitrate", "options"), [(8.0, {"crop": True, "audio": False}), (48.0, {})])
def test_the_whole_file_has_the_bitrate(tmp_path, bitrate, options):
    """Once the square alone, once the whole picture with its background and sound."""
    out = tmp_path / "out.fev"
    report = fev.encode(SAMPLE, out, bitrate=bitrate, duration=1.6, **options)
    assert out.stat().st_size == report.bytes
    assert 0.95 * bitrate <= 8 * report.bytes / report.duration_s / 1000 <= bitrate
    with fev.open(out) as reader:
        assert sum(len(segment.motion) for segment in reader.segments()) == report.frames


CLIP = {"crop": True, "audio": False, "duration": 0.4}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    """A model of random weights at 64 pixels that finds faces as the real one does; it has no rate curves."""
    modules = tiny_modules() | {"aligner": load_model().aligner}
    names = [f"layers.{i}.bias" for i in range(len(modules["generator"].layers))]
    config = {"name": "small", "basis": "directions", "tuning_scale": dict.fromkeys(names, 0.02)}
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    path.write_bytes(pack(modules, torch.ones(12), config))
    return str(path)


@pytest.fixture(scope="module")
def measured(small, tmp_path_factory) -> str:
    """The same with curves."""
    path = tmp_path_factory.mktemp("measured") / "small.safetensors"
    path.write_bytes(Path(small).read_bytes())
    curves = asdict(CURVES) | {"model_sha256": sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".rates.json").write_text(json.dumps(curves))
    assert load_model(path).rates == CURVES and load_model(path).sha256 == load_model(small).sha256
    return str(path)


def encoded(path, bitrate, **options) -> float:
    """kbit/s of the file."""
    report = encode_quickly(SAMPLE, path, bitrate=bitrate, **CLIP, **options)
    assert report.bytes == path.stat().st_size
    return 8 * report.bytes / report.duration_s / 1000


def refused(path, bitrate, **options) -> float:
    """The least rate that the refusal names."""
    with pytest.raises(UsageError, match="cannot be kept") as caught:
        encoded(path, bitrate, **options)
    assert not path.exists()
    return float(caught.value.message.split("kept: about ")[1].split(" kbit/s")[0])


@pytest.mark.parametrize("known", [False, True])
def test_a_rate_is_never_exceeded(tmp_path, small, measured, known):
    """What cannot be kept is refused with the least that can, and that is kept then."""
    model = measured if known else small
    least = refused(tmp_path / "out.fev", 2.0, model=model)
    assert 2 < least and encoded(tmp_path / "out.fev", 1.2 * least, model=model) <= 1.2 * least


def test_a_price_that_is_not_enough_is_refused(tmp_path, small, monkeypatch):
    """As with a clip so lively that neither the steps nor the price bring it down: motion has nothing to itself."""
    monkeypatch.setattr(aim, "MOST_STEPS", 0)
    monkeypatch.setattr(aim, "best_share", lambda *given: 1.0)
    assert refused(tmp_path / "out.fev", 24.0, model=small) > 24


def test_a_model_without_curves_gets_trials(tmp_path, small, measured, monkeypatch):
    """One small fit a share, once; what shows least error is taken."""
    tried, errors, original = [], [], trials._error

    def watched(encoding, store, carrier, appearance, bits):
        tried.append(carrier.effort)
        errors.append(original(encoding, store, carrier, appearance, bits))
        return errors[-1]

    found = []
    monkeypatch.setattr(trials, "_error", watched)
    monkeypatch.setattr(aim, "best_share", lambda *given: found.append(trials.best_share(*given)) or found[-1])
    report = encode_quickly(SAMPLE, tmp_path / "a.fev", bitrate=24.0, model=small, **CLIP)
    assert "trials" in report.stages and len(errors) == len(trials.SHARES) and len(found) == 1
    assert found[0] == trials.SHARES[int(np.argmin(errors))] and min(errors) < max(errors)
    assert all(effort == quick().trial() for effort in tried)
    report = encode_quickly(SAMPLE, tmp_path / "b.fev", bitrate=24.0, model=measured, **CLIP)
    assert "trials" not in report.stages and len(found) == 1


def test_a_trial_is_a_fraction_of_the_work():
    for effort in EFFORTS.values():
        for name in ("tune", "modes"):
            usual, trial = (e.steps_for(getattr(e, name), 300) for e in (effort, effort.trial()))
            assert sum(n for _, n in trial) <= sum(n for _, n in usual) / 8 + 1
        assert effort.trial().mode_keys <= 64


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"quality": [0, 100]}, "as many as those beside"), ({"identity_bytes": [1] * 65}, "2 to 64 points"),
        ({"identity_gain": [11, 11.0, *range(12, 27)]}, "rise"), ({"motion_loss": list(range(1, 10))}, "loss falls"),
        ({"motion_bits": [1, 2, 3, 4, 5, 6, 7, 8, math.inf]}, "finite"), ({"motion_bits": 8}, "cannot be read"),
        ({"motion_bits": [-1, 2, 3, 4, 5, 6, 7, 8, 9]}, "finite"), ({"quality": ["x"]}, "cannot be read"),
        ({"motion_loss": [9, 8, 7, 6, 5, 4, 3, 2, 0]}, "above 0"), ({"model_sha256": "0" * 64}, "another model"),
        ({"quality": [1, 20, 30, 40, 50, 60, 70, 80, 100]}, "quality 0 to 100"),
        ({"identity_bytes": None}, "cannot be read"), ({"about": "x" * 70_000}, "more than 65536 bytes"),
    ],
)  # fmt: skip
def test_curves_from_strangers_are_checked(wrong, said, small, tmp_path):
    path = tmp_path / "small.safetensors"
    path.write_bytes(Path(small).read_bytes())
    curves = asdict(CURVES) | {"model_sha256": sha256(path.read_bytes()).hexdigest()} | wrong
    path.with_suffix(".rates.json").write_text(json.dumps(curves))
    with pytest.raises(ModelMismatchError, match=f"small.rates.json: .*{said}"):
        load_model(path)
    for text in (b"", b"[]", b"[" * 60_000, b'{"model_sha256": 1}'):
        path.with_suffix(".rates.json").write_bytes(text)
        with pytest.raises(ModelMismatchError, match="cannot be read"):
            load_model(path)


def test_a_rate_is_kept_with_the_identity_of_another_file_too(tmp_path, small):
    first, second = tmp_path / "first.fev", tmp_path / "second.fev"
    encode_quickly(SAMPLE, first, identity_budget=3000, model=small, **CLIP)
    least = refused(second, 1.0, identity=first, model=small)
    assert encoded(second, 2 * least, identity=first, model=small) <= 2 * least


def test_the_step_stays_where_parameters_drive_the_model(tmp_path, measured, monkeypatch):
    """They were quantised at the step of their share, and the file has that step."""
    shares, original = [], aim.share_out
    monkeypatch.setattr(aim, "share_out", lambda *a: shares.append(original(*a)) or shares[-1])
    drive = appearance.principal_drive  # what random weights see hardly moves: it is moved here
    monkeypatch.setattr(
        appearance, "principal_drive", lambda m, *a: drive(m + torch.linspace(-2, 2, len(m))[:, None], *a)
    )
    path = tmp_path / "out.fev"
    encoded(path, 40.0, pivot=False, model=measured)
    with fev.open(path) as reader:
        who = reader.who()
        assert who.modes is not None and who.modes.mix.shape[1] > 1
        assert who.motion_step_code == motion_step_code(shares[-1].quality)


@pytest.mark.slow
def test_quality_is_monotone(tmp_path):
    """A better quality costs more bytes of motion and comes nearer to the pictures of the best one."""
    sizes, pictures = [], []
    for quality in (0, 35, 70, 100):
        out = tmp_path / f"{quality}.fev"
        options = {"preset": "fast", "quality": quality, "duration": 1.0, "crop": True, "audio": False}
        sizes.append(fev.encode(SAMPLE, out, **options).bytes)
        with fev.open(out) as reader:
            decoder = FrameDecoder(reader, DecodeOptions())
            pictures.append(np.stack([rgb for _, rgb in decoder.frames(reader.segments())]))
    assert sizes == sorted(set(sizes)), "each costs more than the one before"
    near = [psnr(each, pictures[-1]) for each in pictures[:-1]]
    assert near == sorted(set(near)) and near[-1] - near[0] > 3


@pytest.mark.slow
def test_an_impossible_bitrate_is_one_line(tmp_path):
    words = ["fev.tools.encode", str(SAMPLE), str(tmp_path / "out.fev"), "--bitrate", "0.2", "--duration", "0.5"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "kbit/s are the least" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.fev").exists()
