"""The bound on the worst frame: a moment that a fit of the whole clip misses is met when the modes are fitted again."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from efforts import encode_quickly
from fev.codec.encode.options import EncodeOptions
from fev.codec.face.regions import lids
from fev.codec.fit.modeagain import FittedModes, KeyFrames, ModesAgain
from fev.codec.fit.modefit import ModeFit, ModeSettings, coded_size
from fev.codec.fit.spread import Spread, WorstReport, decibels
from fev.codec.fit.weighing import HEAVIEST, Weighing, frame_errors
from fev.codec.fit.worst import keys_again
from fev.codec.model.planes import apply_modes
from fev.format.errors import UsageError
from fev.tools.encode import worst_line
from test_cli import SAMPLE

BLINK = 17  # the one frame whose eyes are closed


@pytest.fixture(scope="module")
def clip():
    """A head that sways and nods before a gradient, 40 frames at 64 pixels; its eyes close in one of them."""
    axis = torch.linspace(-1, 1, 64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    eyes = lids(64)[0, 0] / lids(64).max()
    frames = []
    for k in range(40):
        head = torch.exp(-(((x - 0.25 * np.sin(k / 5)) / 0.5) ** 2 + ((y - 0.2 * np.cos(k / 3)) / 0.7) ** 2))
        frames.append((0.9 * head - 0.4 - 0.5 * eyes * (k != BLINK)).expand(3, 64, 64))
    return torch.stack(frames)


def drawn_by(fit: ModeFit) -> torch.Tensor:
    with torch.no_grad():
        return apply_modes(fit.drawn, *fit.coefficients.planes(coded=True), fit.parameters(slice(None), coded=True))


def test_a_blink_that_the_first_fit_misses_is_met_by_the_second(clip):
    settings = ModeSettings(steps=((32, 40), (64, 20)), size=64, grid=8, planes=3, batch=8)
    none, mix = torch.zeros(len(clip), 0), np.zeros((35, 1), np.int32)
    first = ModeFit(clip[:1], clip, none, mix, settings, 900, 0.5)
    first.run()
    first.finish()
    shown = drawn_by(first)
    before = frame_errors(shown, clip)
    weight = Weighing(1.0).weights(before)
    assert weight[BLINK] == HEAVIEST
    settings = ModeSettings(steps=((32, 30), (64, 15)), size=64, grid=8, planes=3, batch=8)
    keys = KeyFrames(clip, shown, first.fitted())
    again = ModesAgain(FittedModes.of(first), keys, weight, 2, settings, 990)
    again.run()
    modes = again.finish()
    assert modes is not None and modes.planes == 5 and coded_size(modes) <= 990
    after = frame_errors(drawn_by(again), clip)
    gained = decibels(after) - decibels(before)
    assert decibels(before)[BLINK, 1] < 18 and gained[BLINK, 1] > 10 and gained[BLINK, 0] > 5, "lids, inner face"
    assert gained[:, 0].mean() > -0.5


def test_frames_within_the_bound_weigh_one_and_the_rest_by_how_far_they_are_beyond():
    errors = np.full((100, 3), 10.0)
    assert (Weighing(1.0).weights(errors) == 1).all() and Weighing(1.0).below(errors) == 0
    errors[3, 2], errors[5, 0] = 14.0, 100.0
    weight = Weighing(1.0).weights(errors)
    assert 1 < weight[3] < HEAVIEST == weight[5] and Weighing(1.0).below(errors) == 1


def test_the_heaviest_frames_become_key_frames_for_the_lightest():
    weight = np.ones(20)
    weight[[4, 11]] = 3.0, 9.0
    keys = [0, 2, 4, 6, 8, 10]
    again = keys_again(keys, weight)
    assert len(again) == len(keys) and again == sorted(again) and {4, 11} <= set(again)
    assert keys_again(keys, np.ones(20)) == keys


def test_the_worst_hundredth_is_one_frame_at_least():
    few = Spread.of(np.array([1.0, 1.0, 100.0]))
    assert few.worst_percent == few.worst == pytest.approx(28.13, abs=0.01)
    many = Spread.of(np.concatenate([np.ones(298), [10.0, 100.0, 1000.0]]))
    assert many.worst < many.worst_percent == pytest.approx(28.13, abs=0.01)


def test_the_command_says_it_in_one_line():
    told = WorstReport(1.0, Spread(34.7, 27.0, 26.9), Spread(34.2, 29.4, 29.2), 21, 16, 582)
    line = worst_line(told)
    assert line == (
        "face: mean 34.2 dB, worst 1 % 29.4, worst 29.2 (without the bound 34.7, 27.0, 26.9); "
        "16 frames below it (without 21), 582 bytes more"
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"worst": 0.0}, "not within 0 to 20"),
        ({"worst": 1.0, "preset": "fast"}, "two passes"),
        ({"worst": 1.0, "bitrate": 6.0}, "leave out bitrate"),
        ({"worst": 1.0, "pivot": False}, "leave out bitrate"),
        ({"worst": 1.0, "identity": "other.fev"}, "leave out bitrate"),
    ],
)
def test_what_no_bound_goes_with_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        EncodeOptions(**options)


@pytest.mark.slow
def test_the_report_says_what_the_bound_did_and_what_it_cost():
    plain, bounded = io.BytesIO(), io.BytesIO()
    options = {"duration": 1.0, "crop": True, "audio": False}
    assert encode_quickly(SAMPLE, plain, **options).worst == ()
    report = encode_quickly(SAMPLE, bounded, worst=0.3, **options)
    (worst,) = report.worst
    assert worst.bound == 0.3 and worst.after.worst_percent > worst.before.worst_percent
    assert worst.after.worst <= worst.after.worst_percent <= worst.after.mean
    assert report.bytes - len(plain.getvalue()) == pytest.approx(worst.more_bytes, abs=20)
    assert worst.means and {done.name for done in worst.means} <= {"again", "moments"}
    assert worst.more_bytes == sum(done.more_bytes for done in worst.means) <= 0.1 * len(plain.getvalue())
    gained = worst.after.worst_percent - worst.before.worst_percent
    assert sum(done.gain for done in worst.means) == pytest.approx(gained) and all(m.gain > 0 for m in worst.means)
