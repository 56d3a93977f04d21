"""The commands as a person meets them: one clear line, exit codes, nothing left behind."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import fev
import numpy as np
import pytest
from fev.codec.media.mux import VideoWriter

SAMPLE = Path(fev.__file__).parent / "tools" / "sample" / "sample.mp4"


def command(name: str, *arguments: object, data: bytes | None = None) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", f"fev.tools.{name}", *map(str, arguments)]
    return subprocess.run(words, input=data, capture_output=True, check=False, timeout=300)


@pytest.fixture
def within(monkeypatch, capfd):
    """As `command`, in this process: a fresh one takes seconds to load torch."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", [f"fev-{name}", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            importlib.import_module(f"fev.tools.{name}").main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), out.encode(), err.encode())

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def bad(result: subprocess.CompletedProcess, *words: str, code: int = 1) -> None:
    lines = result.stderr.decode().strip().splitlines()
    assert result.returncode == code, lines
    assert len(lines) == 1 and "Traceback" not in lines[0], lines
    assert all(w in lines[0] for w in words), lines[0]


def video(path: Path, width: int, height: int, frames: int) -> Path:
    y, x = np.mgrid[0:height, 0:width]
    with VideoWriter(path, width, height, Fraction(1, 25), Fraction(25)) as writer:
        for i in range(frames):
            writer.write(np.stack([x + 3 * i, y + 2 * i, x + y], 2).astype(np.uint8), i)
    return path


def sound_only(path: Path) -> Path:
    import wave

    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(32_000))
    return path


def make_bad(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "text":
        path.write_text("this is not a video\n" * 50)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(SAMPLE.read_bytes()[:20_000])
    elif kind == "zero":
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            out.start_encoding()
    elif kind == "sound":
        sound_only(path)
    elif kind == "tiny":
        video(path, 16, 16, 5)
    elif kind == "no_face":
        video(path, 160, 120, 6)
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("text", "not a video file"),
        ("empty", "empty"),
        ("truncated", "truncated"),
        ("zero", "no video"),
        ("sound", "only audio"),
        ("tiny", "16x16"),
        ("no_face", "no face found in any of 6 frames"),
        ("missing", "cannot be opened"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(kind, word, tmp_path, within):
    source = make_bad(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    run = command if kind == "text" else within
    bad(run("encode", source, tmp_path / "out.fev"), f"{kind}.mp4" if kind != "no_face" else "", word)
    assert sorted(tmp_path.iterdir()) == before


def test_existing_and_unwritable_output(tmp_path):
    kept = tmp_path / "kept.fev"
    kept.write_text("mine")
    bad(command("encode", SAMPLE, kept), "exists already", "--force")
    assert kept.read_text() == "mine"
    bad(command("encode", SAMPLE, tmp_path / "no" / "such" / "out.fev"), "folder")
    kept = kept.rename(tmp_path / "kept.mp4")
    bad(command("decode", SAMPLE, kept), "exists already")
    bad(command("decode", SAMPLE, tmp_path / "out.mov"), "out.mov", ".mp4, .m4v, .mkv, .webm, .y4m", code=2)
    bad(command("encode", SAMPLE, kept, "-f"), "kept.mp4", ".fev", code=2)
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [("in.mp4",), ("in.mp4", "out.fev", "--quality", "200"), ("in.mp4", "out.fev", "--preset", "best")],
)
def test_wrong_usage_exits_with_2(arguments):
    bad(command("encode", *arguments), code=2)


def test_values_that_only_the_codec_can_judge_exit_with_2(tmp_path, within):
    bad(within("encode", SAMPLE, tmp_path / "a.fev", "--duration", "0"), "duration", code=2)
    bad(within("encode", SAMPLE, tmp_path / "a.fev", "--start", "1e308"), "start", code=2)
    bad(within("encode", SAMPLE, tmp_path / "a.fev", "--audio-bitrate", "16"), "audio bitrate", code=2)
    bad(within("decode", SAMPLE, tmp_path / "a.mp4", "--size", "100000"), "size", code=2)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(tmp_path):
    """Permissions do not stop root, /proc does."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        folder = Path("/proc")
        if not folder.is_dir():
            pytest.skip("no folder here is closed to this user")
    bad(command("encode", SAMPLE, folder / "out.fev"), "cannot be written")


def test_refusals_that_need_no_network_do_not_wait_for_torch(tmp_path):
    """An existing output is said at once, not after seconds of loading."""
    for name, ending in (("encode", ".fev"), ("decode", ".mp4")):
        (tmp_path / f"kept{ending}").write_text("mine")
        code = f"import sys; sys.modules['torch'] = None; sys.argv = ['{name}', *sys.argv[1:]]\n"
        code += f"from fev.tools.{name} import main; main()"
        words = [sys.executable, "-c", code, str(SAMPLE), str(tmp_path / f"kept{ending}")]
        bad(subprocess.run(words, capture_output=True, check=False, timeout=60), "exists already")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.fev", "kept.mp4"]


def test_decode_of_garbage(tmp_path):
    path = tmp_path / "garbage.fev"
    path.write_bytes(b"\x00garbage" * 100)
    bad(command("decode", path, tmp_path / "out.mp4"), "not a .fev stream")
    assert [p.name for p in tmp_path.iterdir()] == ["garbage.fev"]


def test_the_whole_way_through_files_and_pipes(tmp_path):
    coded = tmp_path / "a.fev"
    done = command("encode", SAMPLE, coded, "--preset", "fast", "--duration", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 25
    streamed = command("encode", "-", "-", "--preset", "fast", "--duration", "1", data=SAMPLE.read_bytes())
    assert streamed.returncode == 0, streamed.stderr
    assert streamed.stdout == coded.read_bytes()  # same input, same bytes, whichever way

    assert command("encode", SAMPLE, coded, "--preset", "fast", "--duration", "1", "-f").returncode == 0  # over itself
    assert coded.read_bytes() == streamed.stdout
    bad(command("decode", coded, coded, "--container", "mp4"), "input")
    back = command("decode", "-", "-", "--container", "mp4", data=streamed.stdout)
    assert back.returncode == 0 and back.stdout[4:8] == b"ftyp"

    damaged = tmp_path / "cut.fev"
    damaged.write_bytes(coded.read_bytes()[:-40])
    bad(command("decode", damaged, tmp_path / "no.mp4"), "byte")
    info = json.loads(command("info", coded, "--json").stdout)
    assert info["frames"] == 25 and sum(info["sections"].values()) == info["bytes"] == coded.stat().st_size
    assert {"version", "model", "width", "height", "fps", "duration_s", "audio"} <= set(info)
    assert command("info", coded, "--verify").returncode == 0
    listed = json.loads(command("info", coded, "--frames", "--json").stdout)["frames"]
    assert [row["frame"] for row in listed] == list(range(len(listed))) and listed
    assert all(b["seconds"] > a["seconds"] and not b["key"] for a, b in zip(listed, listed[1:]))
    assert len(command("info", coded, "--frames").stdout.splitlines()) == len(listed)
    assert command("info", damaged, "--verify").returncode == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fev", "cut.fev"]
