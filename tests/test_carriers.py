"""The seam (fev.codec.fit.carrier): one carrier a clip, chosen in one place; what it cannot do is said at once."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import fev
import pytest
import torch
from efforts import quick
from fev.codec.encode import carriers
from fev.codec.encode.carriers import carrier_of
from fev.codec.encode.options import EncodeOptions
from fev.codec.encoder import encode
from fev.codec.fit.appearance import Fitter
from fev.codec.fit.carrier import Appearance, CarrierSettings
from fev.codec.fit.effort import EFFORTS, FAST, MEDIUM, SLOW
from fev.codec.fit.quantiser import RateDistortion, Rounding
from fev.codec.fit.reuse import ReuseFitter
from fev.codec.fit.stages import Stages
from fev.codec.media.identities import read_identity
from fev.codec.paper.fitter import PaperFitter
from fev.format.errors import FevError, ModelMismatchError, UsageError
from fev.format.motion import motion_bits
from fev.tools.demo import SAMPLE
from test_paper_encode import tiny  # noqa: F401

CLIP = dict(crop=True, audio=False)


class Unread:
    """A source of which nothing may be read."""

    name = "unread.mp4"

    def _fail(self, *given):
        raise AssertionError("the clip was read")

    read = seek = tell = fileno = _fail


def refused(error: type[FevError], match: str, **options) -> None:
    with pytest.raises(error, match=match):
        encode(Unread(), io.BytesIO(), EncodeOptions(**options))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    path = tmp_path_factory.mktemp("first") / "first.fev"
    fev.encode(SAMPLE, path, preset="fast", duration=0.1, **CLIP)
    return path


def test_a_source_that_is_read_is_noticed():
    with pytest.raises(AssertionError, match="was read"):
        encode(Unread(), io.BytesIO(), EncodeOptions(preset="fast"))


def test_imported_networks_say_before_a_frame_is_read_what_they_cannot(tiny):  # noqa: F811
    refused(UsageError, "nothing aims at a bitrate with model tiny", model=tiny, bitrate=8.0)
    for preset in EFFORTS:
        refused(UsageError, "leave --no-pivot out", model=tiny, preset=preset, pivot=False)


def test_an_identity_of_another_model_is_refused_before_a_frame_is_read(first, tiny):  # noqa: F811
    refused(ModelMismatchError, "the file needs model", model=tiny, identity=first)


def test_a_model_that_is_not_there_is_refused_before_a_frame_is_read():
    refused(FevError, "no model 'absent'", model="absent")


def test_each_kind_of_model_has_its_carrier(tiny_model, first, tiny):  # noqa: F811
    settings = CarrierSettings(FAST)
    assert isinstance(carrier_of(tiny_model, settings, Stages()), Fitter)
    assert isinstance(carrier_of(fev.load_model(tiny), settings, Stages()), PaperFitter)
    reused = carrier_of(fev.load_model(), settings, Stages(), read_identity(first))
    assert isinstance(reused, ReuseFitter) and reused.can_aim and not reused.sends_identity
    assert reused.appearance.actor().reference == read_identity(first).found.sha256


def test_a_model_without_a_carrier_is_one_line(tiny_model, monkeypatch):
    monkeypatch.setattr(carriers, "CARRIERS", {})
    with pytest.raises(FevError, match="nothing here encodes with model tiny"):
        carrier_of(tiny_model, CarrierSettings(FAST), Stages())
    monkeypatch.undo()
    with pytest.raises(FevError, match="no inverter"):
        carrier_of(replace(tiny_model, inverter=None), CarrierSettings(FAST), Stages())


def test_carriers_quantise_by_what_their_pictures_allow(tiny_model, tiny):  # noqa: F811
    """Weights that were tuned to the nearest integers get those; elsewhere a bit has its price."""
    renderer = Appearance(torch.zeros(1).int().numpy(), 35).renderer(tiny_model)
    ours = carrier_of(tiny_model, CarrierSettings(MEDIUM), Stages()).quantiser(renderer)
    imported = carrier_of(fev.load_model(tiny), CarrierSettings(MEDIUM), Stages()).quantiser(renderer)
    assert isinstance(ours, RateDistortion) and isinstance(imported, Rounding)
    motion, held = torch.linspace(-3, 3, 5 * 35).view(5, 35) * renderer.motion_step, torch.zeros(5).bool().numpy()
    exact = (motion / renderer.motion_step).round().int().numpy()
    assert (imported(motion, held, None, price=32.0) == exact).all(), "whatever a bit costs"
    dear, cheap = (motion_bits(ours(motion, held, None, price=price)).sum() for price in (32.0, 0.1))
    assert dear < cheap


def test_presets_are_values():
    assert [effort.whole for effort in (FAST, MEDIUM, SLOW)] == [False, True, True]
    assert MEDIUM.steps_for(((64, 100),), 30) == ((64, 25),), "a short clip gets a quarter"
    assert MEDIUM.steps_for(((64, 100),), 150) == ((64, 50),)
    assert SLOW.steps_for(((64, 100), (128, 4)), 9000) == ((64, 300), (128, 12))
    assert MEDIUM.steps_for(((64, 1),), 1) == ((64, 8),)
    for preset, effort in EFFORTS.items():
        assert EncodeOptions(preset=preset).effort is effort and quick(preset).whole == effort.whole


def test_an_effort_is_handed_in(tmp_path):
    """Half the frames in a segment, and the clip seen whole, though the preset is the streaming one."""
    out = io.BytesIO()
    options = EncodeOptions(preset="fast", duration=0.4, identity_budget=700, **CLIP)
    report = encode(SAMPLE, out, options, effort=replace(quick(), segment=0.2))
    assert "survey" in report.stages and "motion" in report.stages
    out.seek(0)
    with fev.open(out) as reader:
        fps = Fraction(*reader.header.fps)
        assert reader.header.segment_frames == round(fps / 5)
