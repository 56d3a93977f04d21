"""The package from Python: every wrong call is a FevError, no input is lost, and importing it brings nothing along."""

from __future__ import annotations

import builtins
import inspect
import io
import os
import subprocess
import sys
from pathlib import Path

import fev
import numpy as np
import pytest
from fev.codec.draw.options import DecodeOptions
from fev.codec.encode.options import EncodeOptions
from fev.codec.puppet import puppet
from fev.format.errors import UsageError

SAMPLE = Path(fev.__file__).parent / "tools" / "sample" / "sample.mp4"


@pytest.fixture
def opened(tmp_path, film):
    path = tmp_path / "film.fev"
    path.write_bytes(film)
    with open(path, "rb") as file:
        yield file


def closed() -> io.BytesIO:
    file = io.BytesIO()
    file.close()
    return file


BAD_FILES = [b"data", bytearray(b"x"), 5, None, ["a.mp4"], np.zeros(4), io.StringIO("text"), closed()]


@pytest.mark.parametrize("bad", BAD_FILES, ids=lambda v: type(v).__name__)
def test_what_is_no_file_is_a_usage_error(bad, tmp_path, film):
    out = tmp_path / "out"
    calls = [
        lambda: fev.encode(bad, out.with_suffix(".fev")),
        lambda: fev.encode(SAMPLE, bad),
        lambda: fev.decode(bad, out.with_suffix(".mp4")),
        lambda: fev.decode(io.BytesIO(film), bad),
        lambda: fev.puppet(bad, io.BytesIO(film), out),
        lambda: fev.puppet(io.BytesIO(film), bad, out),
        lambda: fev.puppet(io.BytesIO(film), io.BytesIO(film), bad),
        lambda: fev.open(bad),
        lambda: fev.verify(bad),
        lambda: fev.load_model(bad),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["encode", "decode"])
def test_every_option_of_a_wrong_type_is_named(call, tmp_path, film):
    kind = EncodeOptions if call == "encode" else DecodeOptions
    for name in kind.__dataclass_fields__:
        for wrong in (["x"], {}, object(), b"x"):
            with pytest.raises(UsageError, match=f"^{name} has to be"):
                getattr(fev, call)(SAMPLE, tmp_path / "out.fev", **{name: wrong})
            with pytest.raises(UsageError, match=f"^{name} has to be"):
                kind(**{name: wrong})
    assert not list(tmp_path.iterdir())


def test_options_of_the_issue(opened, tmp_path):
    for options in ({"quality": "high"}, {"face": True}, {"crop": 1}, {"segment": "2"}, {"identity_budget": 8000.5}):
        with pytest.raises(UsageError):
            fev.encode(SAMPLE, tmp_path / "x.fev", **options)
    for options in ({"foo": 1}, {"limits": 5}, {"salvage": "no"}, {"identities": "folder"}, {"stream": opened}):
        with pytest.raises(UsageError):
            fev.open(opened, **options)
    for options in ({"audio": "yes"}, {"model": 5}, {"device": None}, {"progress": print}):
        with pytest.raises(UsageError):
            fev.puppet(opened, opened, tmp_path / "x.fev", **options)


def test_numbers_of_numpy_are_numbers():
    EncodeOptions(quality=np.float32(50), identity_budget=np.int64(9000), face=np.int32(0), start=1)


def test_names_that_cannot_be_opened(tmp_path):
    for bad in (tmp_path / "none.fev", tmp_path, "a\0b.fev", ""):
        for call in (fev.open, fev.verify, lambda f: fev.decode(f, tmp_path / "o.mp4"), fev.load_model):
            with pytest.raises(fev.FevError):
                call(bad)
        with pytest.raises(fev.FevError):
            fev.encode(bad, tmp_path / "o.fev")


class Full(io.RawIOBase):
    """A file on a full disk."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(28, "No space left on device")


def test_a_file_object_that_fails_is_a_fev_error(film, tiny_model_file):
    with pytest.raises(fev.FevError, match="No space left"):
        fev.decode(io.BytesIO(film), Full(), model=str(tiny_model_file), container="y4m")


def test_no_input_is_replaced(opened, tmp_path, tiny_model_file):
    path = Path(opened.name)
    data = path.read_bytes()
    link, hard = tmp_path / "link.mp4", tmp_path / "hard.mp4"
    link.symlink_to(path)
    os.link(path, hard)
    mine = tmp_path / "model.mp4"
    mine.write_bytes(tiny_model_file.read_bytes())
    other = tmp_path / "other.fev"
    other.write_bytes(data)
    calls = [
        lambda out: fev.decode(path, out, container="mp4"),
        lambda out: fev.decode(opened, out, container="mp4"),
        lambda out: fev.decode(other, out, identity=path, container="mp4"),
        lambda out: fev.puppet(path, other, out, model=mine),
        lambda out: fev.puppet(other, opened, out, model=mine),
        lambda out: fev.encode(path, out),
        lambda out: fev.encode(SAMPLE, out, identity=path, preset="fast"),
    ]
    for call in calls:
        with pytest.raises(fev.FevError, match="input too|video's name"):
            call(path)
        with pytest.raises(fev.FevError, match="input too|video's name"):
            call(link)
        with pytest.raises(fev.FevError, match="input too|video's name"):
            call(hard)
    with pytest.raises(fev.FevError, match="input too"):
        fev.decode(path, mine, model=mine)
    assert path.read_bytes() == data and link.is_symlink() and mine.read_bytes() == tiny_model_file.read_bytes()


def test_the_name_chooses_the_container(opened, tmp_path, tiny_model_file):
    heads = {".mp4": b"ftyp", ".m4v": b"ftyp", ".MKV": b"matroska", ".webm": b"webm", ".y4m": b"YUV4MPEG2"}
    for ending, head in heads.items():
        out = tmp_path / f"out{ending}"
        assert fev.decode(opened.name, out, model=tiny_model_file, duration=0.2).frames == 5
        assert head in out.read_bytes()[:64]
    for name in ("out.mov", "out.avi", "out", "out.fev"):
        with pytest.raises(UsageError, match=r"\.mp4, \.m4v, \.mkv, \.webm, \.y4m"):
            fev.decode(opened.name, tmp_path / name, model=tiny_model_file)
    fev.decode(opened.name, tmp_path / "out", model=tiny_model_file, duration=0.2, container="mkv")
    with open(tmp_path / "own.webm", "wb") as file:
        fev.decode(opened.name, file, model=tiny_model_file, duration=0.2)
    assert b"webm" in (tmp_path / "own.webm").read_bytes()[:64]
    with pytest.raises(UsageError, match="video's name"):
        fev.encode(SAMPLE, tmp_path / "out.mp4")


def test_a_star_import_leaves_the_builtin_open():
    space: dict = {}
    exec("from fev import *", space)
    assert space.get("open", builtins.open) is builtins.open and "encode" in space


def test_the_device_is_chosen_as_the_commands_choose_it():
    assert EncodeOptions().device == DecodeOptions().device == "auto"
    assert inspect.signature(puppet).parameters["device"].default == "auto"


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import fev; print(*set(sys.modules) - before)"
    code += "; fev.FevError; fev.format; assert fev.__version__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["fev"]
