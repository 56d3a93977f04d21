"""The square in more pixels than the model's pictures have: the pivot is cut from the clip again, and drawn as fine."""

from __future__ import annotations

import io

import fev
import numpy as np
import pytest
import torch.nn.functional as F
from efforts import quick
from fev.codec.decoder import DecodeOptions, FrameDecoder
from fev.codec.draw.pivot import pivot_picture
from fev.codec.encode.options import EncodeOptions
from fev.codec.encoder import encode
from fev.format import Reader
from fev.format.errors import UsageError
from fev.tools.demo import SAMPLE

PART = {"audio": False, "start": 0.4, "duration": 0.4}


def coded(preset: str, **options) -> Reader:
    out = io.BytesIO()
    encode(SAMPLE, out, EncodeOptions(preset=preset, **PART, **options), effort=quick(preset))
    out.seek(0)
    return Reader(out)


def pictures(reader: Reader) -> list[np.ndarray]:
    return [rgb for _, rgb in FrameDecoder(reader, DecodeOptions(device="cpu")).frames(reader.segments())]


@pytest.mark.parametrize("preset", ["fast", "medium"])
def test_the_pivot_is_cut_from_the_clip_again(preset):
    usual, finer = (coded(preset, crop=True, identity_budget=6000, size=size) for size in (None, 512))
    pivots = []
    for reader, side in ((usual, 256), (finer, 512)):
        shown = pictures(reader)
        assert (reader.header.width, reader.header.height) == (side, side) and shown[0].shape == (side, side, 3)
        assert len(shown) == 10
        pivot = reader.who().pivot
        assert pivot is not None and (pivot.still.width, pivot.still.height) == (side, side)
        pivots.append(pivot_picture(pivot, 256))
    # the same frame, at the same place: a pixel beside it would be off by twice as much as the coder is
    off = (pivots[0] - pivots[1]).square().mean()
    beside = (pivots[0] - F.pad(pivots[0], (1, 0, 0, 0), "replicate")[..., :-1]).square().mean()
    assert off < 0.5 * beside


def test_a_frame_keeps_its_size():
    reader = coded("fast", size=1024)
    assert (reader.header.width, reader.header.height) == (320, 320)
    pivot = reader.who().pivot
    assert pivot is not None and pivot.still.width == 1024


@pytest.mark.parametrize("wrong", [{"size": 300}, {"size": 128}, {"size": 2048}, {"size": 512, "pivot": False}])
def test_what_cannot_be_drawn_is_refused(wrong, tmp_path):
    with pytest.raises(UsageError):
        fev.encode(SAMPLE, tmp_path / "no.fev", preset="fast", **wrong)


def test_the_other_files_pivot_has_its_own_size(tmp_path):
    """A file that refers to an identity shows the square as fine as that is."""
    fev.encode(SAMPLE, tmp_path / "a.fev", preset="fast", crop=True, size=512, **PART)
    fev.encode(SAMPLE, tmp_path / "b.fev", preset="fast", crop=True, identity=tmp_path / "a.fev", **PART)
    with fev.open(tmp_path / "b.fev") as reader:
        assert reader.header.width == 512
    with pytest.raises(UsageError):
        fev.encode(SAMPLE, tmp_path / "c.fev", preset="fast", size=512, identity=tmp_path / "a.fev", **PART)
