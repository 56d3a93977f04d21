"""Output files: whole or absent, links kept, inputs never replaced, every failure named."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from fev.codec.fit.cropstore import CropStore
from fev.codec.media import outfile
from fev.codec.media.outfile import check_apart, output_file
from fev.format.errors import FevError


def test_a_link_stays_a_link(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "real.fev").write_bytes(b"old")
    link, hop = tmp_path / "link.fev", tmp_path / "hop.fev"
    link.symlink_to("there/real.fev")
    hop.symlink_to(link)
    with output_file(str(hop), force=True) as file:
        file.write(b"new")
        assert sorted(p.suffix for p in there.iterdir()) == [".fev", ".part"], "written beside the target"
    assert hop.is_symlink() and link.is_symlink()
    assert (there / "real.fev").read_bytes() == b"new"
    assert len(list(there.iterdir())) == 1 and len(list(tmp_path.iterdir())) == 3


def test_a_link_into_nothing_and_a_circle(tmp_path):
    link, circle = tmp_path / "link.fev", tmp_path / "circle.fev"
    link.symlink_to("new.fev")
    circle.symlink_to("circle.fev")
    with output_file(str(link), force=True) as file:
        file.write(b"x")
    assert (tmp_path / "new.fev").read_bytes() == b"x" and link.is_symlink()
    with pytest.raises(FevError, match=r"circle\.fev: cannot be written"), output_file(str(circle), force=True):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("name", ["x" * 300 + ".fev", "a\0b.fev", "file/out.fev"])
def test_impossible_names_are_refused_before_any_work(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FevError, match="cannot be written"), output_file(f"{tmp_path}/{name}"):
        pytest.fail("the block must not run")


def test_an_input_is_known_by_any_way_to_it(tmp_path):
    real = tmp_path / "a.fev"
    real.write_bytes(b"x")
    os.link(real, tmp_path / "hard.fev")
    (tmp_path / "soft.fev").symlink_to(real)
    with open(real, "rb") as opened:
        for name in ("a.fev", "hard.fev", "soft.fev"):
            for source in (real, str(real), opened):
                with pytest.raises(FevError, match="input too"), output_file(str(tmp_path / name), True, (source,)):
                    pytest.fail("the block must not run")
        with open(tmp_path / "hard.fev", "r+b") as out, pytest.raises(FevError, match="input too"):
            check_apart(out, (None, opened))
    for other in (io.BytesIO(), tmp_path / "none.fev", os.devnull, None, "a\0b"):
        check_apart(str(real), (other,))
    check_apart(os.devnull, (os.devnull,))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_names_the_file():
    with pytest.raises(FevError, match="/dev/full: cannot be written: No space"), output_file("/dev/full") as file:
        file.write(b"x" * 100_000)
    with pytest.raises(FevError, match="/dev/full: cannot be written: No space"), output_file("/dev/full") as file:
        file.write(b"x")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def full(self, data):
        raise outfile._refusal(self.name, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(outfile._Raw, "write", full)
    path = tmp_path / "out.fev"
    with pytest.raises(FevError, match=r"out\.fev: cannot be written: No space"), output_file(str(path)) as file:
        file.write(b"x" * 10)
    assert not list(tmp_path.iterdir())
    store = CropStore(64)
    with pytest.raises(FevError, match="temporary file in .*No space"):
        import numpy as np

        for _ in range(3):
            store.append(np.zeros((64, 64, 3), np.uint8))
    store.close()


def test_scratch_files_read_back():
    with outfile.scratch_file() as file:
        file.write(b"abc")
        file.seek(1)
        assert file.read() == b"bc"
