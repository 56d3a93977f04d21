"""The promises of the format that are numbers: what is imported, how fast, how large, on how many Pythons."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fev.format import Actor, Reader, Segment, Writer
from fev.tools.vectors import __main__ as vectors
from streams import header, make, motion, read

ROOT = Path(vectors.__file__).resolve().parents[2]
FOLDER = vectors.FOLDER
ACTORS = [Actor.of(np.arange(9, dtype=np.int32), 0, 0)]
CALM = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=CALM, **options)


def test_format_does_not_import_torch():
    code = (
        "import sys, fev.format, fev.tools.info; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'av')])"
    )
    assert run("-c", code).stdout.strip() == "[]"


def test_format_imports_neither_codec_nor_tools():
    for path in (ROOT / "format").glob("*.py"):
        text = path.read_text()
        assert "import torch" not in text and "..codec" not in text and "..tools" not in text, path.name
        if path.name != "entropy.py":
            assert "import constriction" not in text, path.name


def seconds_of(*arguments: str) -> float:
    """Processor time of a command."""
    before = os.times()
    done = run(*arguments)
    after = os.times()
    assert done.returncode == 0, done.stderr
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_info_answers_at_once(tmp_path):
    """Within three times what Python takes to load the two libraries that reading needs; it was twice."""
    path = tmp_path / "a.fev"
    path.write_bytes(make(segments=30, frames=30, params=35, fps=(30, 1)).data)
    pairs = [
        (seconds_of("-m", "fev.tools.info", str(path), "--json"), seconds_of("-c", "import numpy, constriction"))
        for _ in range(5)
    ]
    own, libraries = (min(column) for column in zip(*pairs, strict=True))
    assert own < 3 * libraries, pairs


def test_info_json(tmp_path):
    made = make(segments=4, frames=6)
    path = tmp_path / "a.fev"
    path.write_bytes(made.data)
    facts = json.loads(run("-m", "fev.tools.info", str(path), "--json").stdout)
    names = "header identity delta modes motion placement camera set patches video audio index overhead"
    assert list(facts["sections"]) == names.split()
    assert sum(facts["sections"].values()) == facts["bytes"] == len(made.data)
    assert facts["frames"] == 22 and facts["fps"] == [30, 1] and abs(facts["duration_s"] - 22 / 30) < 1e-6
    assert facts["model"]["sha256"] == made.header.model_sha256.hex() and facts["version"] == 1
    assert (facts["width"], facts["height"]) == (256, 192) and facts["audio"]["codec"] == "opus"
    text = run("-m", "fev.tools.info", str(path)).stdout
    assert "motion" in text and str(len(made.data)) in text
    piped = subprocess.run(
        [sys.executable, "-m", "fev.tools.info", "-", "--json"], input=made.data, capture_output=True, env=CALM
    )
    assert json.loads(piped.stdout) == facts


def test_info_on_bad_input(tmp_path):
    made = make()
    path = tmp_path / "bad.fev"
    broken = bytearray(made.data)
    broken[-60] ^= 1
    path.write_bytes(broken)
    done = run("-m", "fev.tools.info", str(path), "--verify")
    assert (
        done.returncode == 1 and "segment 2" in done.stderr and "byte" in done.stderr and "Traceback" not in done.stderr
    )
    report = json.loads(run("-m", "fev.tools.info", str(path), "--verify", "--json").stdout)
    assert not report["ok"] and report["damage"][0]["segment"] == 2 and report["damage"][0]["seconds"] == 0.4
    done = run("-m", "fev.tools.info", str(path))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    path.write_bytes(made.data)
    assert run("-m", "fev.tools.info", str(path), "--verify").returncode == 0
    assert run("-m", "fev.tools.info", str(tmp_path / "none.fev")).returncode == 1
    assert run("-m", "fev.tools.info").returncode == 2


@pytest.mark.parametrize(("seconds", "segment_frames"), [(10, 60), (10, 90), (60, 30), (600, 30)])
def test_overhead(seconds, segment_frames):
    """Framing and bookkeeping: at most 150 bit/s, from 10 s on with segments of 2 s, from 60 s on with those of 1 s."""
    out = io.BytesIO()
    writer = Writer(out, header(segment_frames=segment_frames, params=35), actors=ACTORS)
    still, places = np.zeros((segment_frames, 35), np.int32), np.zeros((segment_frames, 4), np.int32)
    for i in range(seconds * 30 // segment_frames):
        first = i * segment_frames
        writer.write_segment(Segment.single(i, first, np.arange(first, first + segment_frames), still, places))
    writer.close()
    sections = writer.sections()
    assert 8 * (sections["overhead"] + sections["index"]) / seconds <= 150


def hour(minutes: float) -> tuple[bytes, int]:
    out = io.BytesIO()
    writer = Writer(
        out,
        header(segment_frames=30, params=35, placement=False),
        actors=ACTORS,
    )
    walk = motion(1800, 35, 1.0)
    segments = int(minutes * 60)
    for i in range(segments):
        part = walk[30 * (i % 60) : 30 * (i % 60) + 30]
        writer.write_segment(Segment.single(i, 30 * i, np.arange(30 * i, 30 * i + 30), part))
    writer.close()
    return out.getvalue(), 30 * segments


def calls_of_decoding(minutes: float) -> float:
    """Calls that decoding makes, of Python and of C, for each frame."""
    data, frames = hour(minutes)
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        decoded = sum(segment.frames for segment in Reader(io.BytesIO(data)).segments())
    finally:
        sys.setprofile(None)
    assert decoded == frames
    return calls / frames


def test_an_hour_decodes_in_time():
    """An hour may take 20 s, 0.18 ms a frame. Seconds are the machine's, and `tools/lab/bench --hour` has
    them; its work is the code's: 137 calls."""
    calls_of_decoding(0.1)  # what is imported and made once
    short, long = calls_of_decoding(0.5), calls_of_decoding(2)
    assert long < 150
    assert long < 1.02 * short  # linear in the length


def test_memory_does_not_grow_with_length():
    import tracemalloc

    peaks = []
    for minutes in (0.5, 4):
        data, _ = hour(minutes)
        stream = io.BytesIO(data)
        tracemalloc.start()
        for _ in Reader(stream).segments():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20)


PYTHONS = [name for name in ("python3.10", "python3.11", "python3.12", "python3.13", "pypy3") if shutil.which(name)]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_second_reader_agrees_on_every_python(python, tmp_path):
    for folder in ("subset", "uncommon"):
        for path in sorted((FOLDER / folder).glob("*.fev"))[:4]:
            done = subprocess.run(
                [python, "-I", str(ROOT / "tools" / "fev_read.py"), str(path)], capture_output=True, text=True
            )
            if "command not found" in done.stderr or "not installed" in done.stderr:
                pytest.skip(f"{python} is not installed")
            assert done.returncode == 0, done.stderr
            assert done.stdout.split()[-1] == vectors.symbols_sha256(path.read_bytes())


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_change_nothing(threads):
    code = (
        "import sys, pathlib; from fev.tools.vectors.__main__ import FOLDER, symbols_sha256;"
        "print(symbols_sha256((FOLDER / 'subset' / 'plain.fev').read_bytes()))"
    )
    env = {**CALM, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == vectors.symbols_sha256((FOLDER / "subset" / "plain.fev").read_bytes())
    assert read((FOLDER / "subset" / "plain.fev").read_bytes())[1]
