"""What the commands share: output that is whole or absent, exit codes, one line of error."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time

import fev
import pytest
from fev.format.errors import FevError, MediaError, UsageError
from fev.tools import common


@pytest.fixture(autouse=True)
def _signals():
    """`run` takes over SIGTERM; give it back after each test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def leave(main, capsys):
    """Exit status and standard error of run(main)."""
    with pytest.raises(SystemExit) as caught:
        common.run(main)
    return caught.value.code, capsys.readouterr().err


def fail(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MediaError("a.mp4: not a video"), 1, "a.mp4: not a video"),
        (FevError("bad chunk", offset=77), 1, "byte 77"),
        (FevError("two\nlines\x1b[31m"), 1, "two lines?[31m"),
        (UsageError("no such model"), 2, "no such model"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(2, "No such file", "x.fev"), 1, "x.fev: No such file"),
        (MemoryError(), 1, "memory"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_is_one_line(error, code, words, capsys):
    got, text = leave(fail(error), capsys)
    assert got == code
    assert words in text and text.count("\n") == 1 and "Traceback" not in text


def test_success_and_silent_pipe(capsys, monkeypatch):
    assert leave(lambda: None, capsys) == (0, "")
    assert leave(lambda: 3, capsys) == (3, "")
    monkeypatch.setattr(common, "_drop_stdout", lambda: None)
    assert leave(fail(BrokenPipeError()), capsys) == (1, "")


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        common.run(lambda: 1 // 0)


def test_every_command_says_its_version(capsys):
    with pytest.raises(SystemExit) as caught:
        common.parser("fev-test", "Tests.").parse_args(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"fev-test {fev.__version__}\n"


def test_usage_errors_exit_with_2(capsys):
    options = common.parser("fev-test", "Tests.")
    options.add_argument("src")
    options.add_argument("--start", type=common.seconds)
    options.add_argument("--quality", type=common.percent)
    common.add_device(options)
    common.add_output(options)
    for wrong in (
        ["a", "--threads", "100000"],
        ["--nonsense"],
        ["a", "--start", "-1"],
        ["a", "--quality", "101"],
        ["a", "--quality", "nan"],
        [],
    ):
        with pytest.raises(SystemExit) as caught:
            options.parse_args(wrong)
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    got = options.parse_args(["a", "--start", "1.5", "-f", "--threads", "2"])
    assert (got.start, got.force, got.threads, got.device, got.json) == (1.5, True, 2, "auto", False)
    with pytest.raises(argparse.ArgumentTypeError):
        common.count("1.5")


def test_output_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "out.fev"
    with common.output_file(str(path)) as file:
        file.write(b"abc")
        file.seek(0)
        assert not path.exists()
        (part,) = tmp_path.iterdir()
        assert part.name.endswith(".part")
        file.write(b"A")
    assert path.read_bytes() == b"Abc"
    assert list(tmp_path.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    "error", [FevError("x"), KeyboardInterrupt(), BrokenPipeError(), SystemExit(143), ValueError("bug")]
)
@pytest.mark.parametrize("existing", [False, True])
def test_nothing_is_left_behind(tmp_path, error, existing):
    path = tmp_path / "out.fev"
    if existing:
        path.write_bytes(b"old")
    with pytest.raises(type(error)):
        with common.output_file(str(path), force=existing) as file:
            file.write(b"half")
            raise error
    assert [p.name for p in tmp_path.iterdir()] == (["out.fev"] if existing else [])
    if existing:
        assert path.read_bytes() == b"old"


def test_existing_output_is_refused_before_any_work(tmp_path):
    path = tmp_path / "out.fev"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(FevError, match="--force"), common.output_file(str(path)):
        pytest.fail("the block must not run")
    assert path.read_bytes() == b"old"
    with common.output_file(str(path), force=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_output_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "out.fev"
    with pytest.raises(FevError, match="exists already"):
        with common.output_file(str(path)) as file:
            file.write(b"mine")
            path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_impossible_outputs(tmp_path):
    source = tmp_path / "in.mp4"
    source.write_bytes(b"x")
    for path, word in ((tmp_path / "no" / "out.fev", "does not exist"), (tmp_path, "folder")):
        with pytest.raises(FevError, match=word), common.output_file(str(path)):
            pytest.fail("the block must not run")
    with pytest.raises(FevError, match="input"):
        common.check_output(str(source), True, (str(source),))
    with common.output_file(os.devnull) as file:
        file.write(b"x")


def test_standard_streams(monkeypatch):
    class Stream(io.BytesIO):
        buffer = property(lambda self: self)

        def isatty(self):
            return False

    out = Stream()
    monkeypatch.setattr(sys, "stdout", out)
    with common.output_file("-") as file:
        file.write(b"abc")
    assert out.getvalue() == b"abc" and not out.closed
    monkeypatch.setattr(sys, "stdin", Stream(b"xyz"))
    with common.input_file("-") as file:
        assert file.read() == b"xyz"
    monkeypatch.setattr(out, "isatty", lambda: True, raising=False)
    with pytest.raises(FevError, match="terminal"):
        common.check_output("-", False)
    with pytest.raises(FevError, match=r"nofile.*No such file"), common.input_file("nofile"):
        pass


def test_json_is_one_valid_object(capsys):
    common.print_json({"a": 1, "b": [1.5, None, "ü"]})
    assert json.loads(capsys.readouterr().out) == {"a": 1, "b": [1.5, None, "ü"]}
    with pytest.raises(ValueError):
        common.print_json({"psnr": float("nan")})


def test_progress_is_silent_in_a_pipe(capsys):
    stream = io.StringIO()
    with common.progress(10, "encoding", stream=stream) as bar:
        bar.update(5)
    assert stream.getvalue() == ""


SCRIPT = """
import signal, sys, time
# a test run started in the background hands down an ignored Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
from fev.tools import common
def main():
    with common.output_file({path!r}) as file:
        file.write(b"x" * 100000)
        {action}
common.run(main)
"""


def start(path, action, **options):
    script = SCRIPT.format(path=str(path), action=action)
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_killed_command_cleans_up(tmp_path, number, code):
    process = start(tmp_path / "out.fev", "print('ready', flush=True); time.sleep(30)", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code and b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


WHILE_IMPORTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["fev-encode", "in.mp4", "out.fev"]
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from fev.tools.encode import main
main()
"""


@pytest.mark.parametrize("module", ["typing", "fev.tools.encode", "fev.tools.common", "torch"])
def test_an_interrupt_while_importing_leaves_no_traceback(module, tmp_path):
    code = WHILE_IMPORTING.format(module=module).replace("sys.meta_path", "sys.modules.pop('typing', 0); sys.meta_path")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 130 and done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr


def test_importing_the_package_leaves_interrupts_alone():
    code = "import signal; a = signal.getsignal(signal.SIGINT); import fev, fev.tools.common\n"
    code += "assert signal.getsignal(signal.SIGINT) is a"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_stream_that_nobody_reads_is_no_failure_and_a_full_one_is_named(tiny_sha):
    from films import film_of

    class Out(io.RawIOBase):
        name = "out.fev"

        def write(self, data):
            raise self.error

    out = Out()
    import fev.format.writer as writer

    for error, wanted in ((BrokenPipeError(32, "Broken pipe"), BrokenPipeError), (OSError(28, "No space"), FevError)):
        out.error = error
        with pytest.raises(wanted, match="pipe|out.fev: cannot be written: No space"):
            writer.Writer(out, film_header(film_of(tiny_sha)))


def film_header(data):
    import fev

    return fev.open(io.BytesIO(data)).header


def test_what_is_wrong_inside_a_stream_is_said_with_its_name(tmp_path, film):
    path = tmp_path / "cut.fev"
    path.write_bytes(film[:500])
    import fev

    for read in (lambda: fev.open(path), lambda: fev.decode(path, tmp_path / "o.mp4")):
        with pytest.raises(FevError, match=r"^\S*cut\.fev: the stream ends .*\(byte \d+\)$"):
            read()
    with pytest.raises(FevError, match=r"^cut\.fev: the stream ends"):
        fev.puppet(path, path, tmp_path / "o.fev")
    with pytest.raises(FevError, match=r"^\S*cut\.fev: the stream ends"), common.stream_file(str(path)) as file:
        fev.open(file)
    with pytest.raises(FevError, match=r"^nowhere to write$"), common.stream_file(str(path)):
        raise FevError("nowhere to write")
    path.write_bytes(b"x" * 100)
    with pytest.raises(FevError, match=r"cut\.fev: model file"):
        fev.load_model(path)


def test_json_and_the_stream_do_not_share_standard_output(monkeypatch):
    with pytest.raises(UsageError, match="--json"):
        common.check_output("-", False, ("in.mp4",), True)
    with pytest.raises(UsageError, match="standard input"):
        common.check_output("out.fev", False, ("-", "-"))


def test_a_closed_pipe_ends_the_command_quietly():
    read, write = os.pipe()
    process = start("-", "time.sleep(0.2); file.write(b'x' * 1000000)", stdout=write)
    os.close(write)
    os.close(read)
    started = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1 and err == b"" and time.monotonic() - started < 20
