"""Metadata that is known only in the end: the rest of a stream stays as it was."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fev.format import Reader
from fev.format.errors import FevError
from fev.format.remeta import with_meta

VECTORS = sorted((Path(__file__).parents[2] / "spec" / "vectors" / "subset").glob("*.fev"))


def copied(data: bytes, meta) -> bytes:
    out = io.BytesIO()
    assert with_meta(io.BytesIO(data), out, meta) == len(out.getvalue())
    return out.getvalue()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_other_metadata_and_back_is_the_same_stream(path):
    data = path.read_bytes()
    reader = Reader(io.BytesIO(data))
    before = list(reader.segments())
    own = reader.meta or {}
    assert copied(data, own) == data
    other = copied(data, {"title": "another"})
    reader = Reader(io.BytesIO(other))
    assert len(list(reader.segments())) == len(before) and reader.meta == {"title": "another"}
    assert copied(other, own) == data


def test_a_stream_that_is_cut_off_is_refused():
    data = next(path for path in VECTORS if path.stem == "plain").read_bytes()
    for cut in (0, 5, len(data) // 2, len(data) - 1):
        with pytest.raises(FevError):
            with_meta(io.BytesIO(data[:cut]), io.BytesIO(), {})
