"""The wheel: it holds every room but the lab, and all that these rooms read, and every module of it can be imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAB = "tools/lab"
READ = {".html", ".json", ".md", ".mp4", ".npz", ".safetensors", ".sha256", ".txt"}  # files that modules read, or ship
IMPORT_ALL = """
import importlib, pkgutil, sys
import fev
assert fev.__file__.startswith(sys.argv[1]), fev.__file__
names = [m.name for m in pkgutil.walk_packages(fev.__path__, "fev.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def source_files() -> list[str]:
    """Files of the rooms, as paths from the root."""
    files = [p for top in ("format", "codec", "tools") for p in (ROOT / top).rglob("*") if p.is_file()]
    names = [p.relative_to(ROOT).as_posix() for p in files if "__pycache__" not in p.parts]
    return [n for n in names if not n.startswith(f"{LAB}/")] + [p.name for p in ROOT.glob("*.py")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of a copy of the tree, unpacked."""
    setuptools = pytest.importorskip("setuptools", minversion="77")
    assert setuptools is not None
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "tree"
    copy.mkdir()
    for name in ("format", "codec", "tools", "spec"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.mark.slow
def test_it_holds_every_room_but_the_lab(wheel):
    held = {p.relative_to(wheel / "fev").as_posix() for p in (wheel / "fev").rglob("*") if p.is_file()}
    wanted = {n for n in source_files() if n.endswith(".py") or Path(n).suffix in READ}
    assert not sorted(wanted - held)
    assert not [n for n in held if n.startswith((LAB, "tests"))]


@pytest.mark.slow
def test_every_module_of_it_is_imported(wheel):
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(wheel)], cwd=wheel, env={"PYTHONPATH": str(wheel)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert int(ran.stdout) == sum(n.endswith(".py") for n in source_files()) - 1, "all but the package itself"
