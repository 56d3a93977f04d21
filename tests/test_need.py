"""The budget that nobody asked for: it grows with what there is to show."""

from __future__ import annotations

import pytest
from efforts import encode_quickly
from fev.codec.fit.budget import by_need
from fev.format import Reader
from test_cli import SAMPLE


@pytest.mark.parametrize(
    "seconds, side, budget",
    [
        (0.04, 300, 4000),
        (4, 300, 4000),
        (4, 256, 4000),
        (10, 192, 7500),
        (10, 64, 5000),
        (20, 64, 10_000),
        (60, 300, 27_000),
    ],
)
def test_a_second_of_a_face_is_worth_a_thousand_bytes(seconds, side, budget):
    assert by_need(seconds, side) == budget


def test_a_short_clip_is_no_dear_one(tmp_path):
    out = tmp_path / "out.fev"
    encode_quickly(SAMPLE, out, duration=2.4, crop=True, audio=False)
    with out.open("rb") as file:
        reader = Reader(file)
        list(reader.segments())
        sections = reader.sections()
    spent = sections["identity"] + sections["delta"] + sections["modes"]
    assert 1000 < spent <= 4000
