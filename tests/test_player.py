"""fev-play without a screen: its clock, its bytes, its sound, what is drawn and what is left out, and the whole of it
on SDL's dummy drivers."""

from __future__ import annotations

import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from fev.codec.draw.options import DecodeOptions
from fev.format.audio import AudioConfig, AudioPacket
from fev.format.errors import FevError, NotFevError, UsageError
from fev.tools import play as play_command
from fev.tools.player import overlay
from fev.tools.player.clock import Clock
from fev.tools.player.feed import Feed
from fev.tools.player.inputs import HttpFile, open_input
from fev.tools.player.screen import Screen, Speaker
from fev.tools.player.session import Session
from fev.tools.player.sound import OpusSound
from films import LENGTH, RATE, packets

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}


@pytest.fixture
def playing(film, tiny_model_file):
    """Feeds that are stopped at the end.  call: (stream, clock, sound) -> a feed that is ready."""
    feeds = []

    def start(stream=None, clock=None, sound=None) -> Feed:
        options = DecodeOptions(model=str(tiny_model_file))
        feed = Feed(io.BytesIO(film) if stream is None else stream, options, clock or Clock(), sound)
        feeds.append(feed)
        feed.start()
        assert feed.ready.wait(20)
        return feed

    yield start
    for feed in feeds:
        feed.stop()


SLOWER = 3  # times that `slowly` passes slower, so that a machine with busy neighbours draws in time


def slowly() -> float:
    return time.monotonic() / SLOWER


def segments_of(film: bytes, count: int) -> bytes:
    """The film before the segment of this number, whose name follows two bytes of marker."""
    return film[: [i for i in range(len(film)) if film[i : i + 4] == b"SEGM"][count] - 2]


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


# -- clock


class Hand:
    """Time that is moved by hand."""

    def __init__(self):
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_the_clock_runs_holds_and_moves():
    hand = Hand()
    clock = Clock(hand)
    hand.at += 1
    assert clock.time() == 0 and not clock.running
    clock.start()
    hand.at += 1
    assert clock.time() == pytest.approx(1) and clock.running
    clock.hold()
    hand.at += 1
    assert clock.time() == pytest.approx(1)
    clock.move(7)
    clock.start()
    hand.at += 0.5
    assert clock.time() == pytest.approx(7.5)


def test_the_clock_follows_the_sound_gently_and_a_jump_at_once():
    hand = Hand()
    clock = Clock(hand)
    clock.start()
    hand.at += 2
    assert clock.follow(1.95) == pytest.approx(0.05)
    assert clock.time() == pytest.approx(1.995)
    clock.follow(1.0)
    assert clock.time() == pytest.approx(1.0)


# -- bytes


class Served(http.server.BaseHTTPRequestHandler):
    """Serves `body` at every path, in parts where the server says so."""

    def do_GET(self):
        body, first = self.server.body, 0
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if asked and self.server.parts:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            if first >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        self.wfile.write(body[first:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """An HTTP server on loopback; its address is `url`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as served:
        served.body, served.parts, served.asked = b"", True, []
        served.url = f"http://127.0.0.1:{served.server_port}/film.fev"
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        served.shutdown()


def test_a_server_with_ranges_can_be_sought(server):
    server.body = bytes(range(256)) * 40
    with HttpFile(server.url) as file:
        assert file.seekable() and file.read(4) == bytes([0, 1, 2, 3]) and file.tell() == 4
        assert file.seek(-3, 2) == len(server.body) - 3 and file.read() == bytes([253, 254, 255])
        assert file.read(10) == b""
        file.seek(1000)
        assert file.read(2) == server.body[1000:1002]
    assert server.asked == ["bytes=0-", f"bytes={len(server.body) - 3}-", "bytes=1000-"]


def test_a_server_without_ranges_plays_on_without_seeking(server):
    server.body, server.parts = b"abc", False
    with HttpFile(server.url) as file:
        assert not file.seekable() and file.read() == b"abc"
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0)


@pytest.mark.parametrize(
    "name", ["none.fev", "http://127.0.0.1:1/x.fev", "http://", "http://[", "ftp://127.0.0.1/x", "file:///etc", "a\0b"]
)
def test_what_cannot_be_opened_is_one_line(name):
    with pytest.raises(FevError, match="cannot be opened") as caught:
        open_input(name)
    assert "\n" not in str(caught.value)


def test_a_missing_page_is_one_line(server):
    server.parts = False
    with pytest.raises(FevError, match="cannot be opened: Not Found"):
        HttpFile(server.url.replace("film.fev", "none"))


# -- sound


def test_samples_are_where_their_packets_say():
    """The tone comes back at its place: its phase is that of what was coded."""
    sound = OpusSound(AudioConfig(channels=1, pre_skip=312))
    got = [part for p in packets(1.0) for part in sound.push(p)]
    assert got[0][0] == -312 and all(samples.shape == (960, 2) for _, samples in got)
    heard = np.concatenate([s for _, s in got])[312:, 0].astype(float)
    at = np.arange(len(heard))
    inside = slice(4800, 43_200)
    phase = np.angle((heard * np.exp(-2j * np.pi * 1000 * at / 48_000))[inside].sum())
    assert phase == pytest.approx(-np.pi / 2, abs=0.05)  # of a sine; 0.05 is a third of a sample
    assert heard[inside].std() == pytest.approx(12_000 / np.sqrt(2), rel=0.05)


def test_what_is_lost_or_broken_is_silent_and_moves_nothing():
    sound, all_of_it = OpusSound(AudioConfig(channels=1, pre_skip=312)), packets(0.4)
    got = list(sound.push(all_of_it[0])) + list(sound.push(all_of_it[3]))
    assert [tick for tick, _ in got] == [-312, 960 - 312, 3 * 960 - 312]
    assert len(got[1][1]) == 2 * 960 and not got[1][1].any()
    broken = list(sound.push(AudioPacket(4 * 960 - 312, 960, b"\xff\xff\xff")))
    assert [(tick, len(s)) for tick, s in broken] == [(4 * 960 - 312, 960)]


# -- pictures


def test_everything_is_drawn_ahead_of_a_clock_that_stands(playing):
    feed = playing()
    until(lambda: len(feed.pictures) == feed.room)
    assert [round(p.at * RATE) for p in feed.pictures] == list(range(24))
    assert feed.pictures[0].rgb.shape == (64, 64, 3) and feed.tally.dropped == 0
    taken = []
    while len(taken) < LENGTH:
        found, skipped = feed.take(len(taken) / RATE + 0.001)
        if found:
            taken.append(found)
            assert skipped == 0
    assert feed.ended.wait(5) and feed.length == pytest.approx(LENGTH / RATE)
    assert sum(sum(row[2].values()) for row in feed.tally.segments) < sum(feed.reader.sections().values())


def test_a_slow_machine_leaves_out_frames_and_no_symbols(playing, monkeypatch):
    clock, heard = Clock(slowly), []
    feed = playing(clock=clock, sound=lambda tick, samples, turn: heard.append((tick, len(samples))))
    real = feed.decoder.pictures

    def late_pictures(segment, rows):
        time.sleep(SLOWER * 0.1 * len(rows))  # two and a half times as long as a frame is shown
        yield from real(segment, rows)

    monkeypatch.setattr(feed.decoder, "pictures", late_pictures)
    until(lambda: feed.pictures)
    clock.start()
    shown = []
    while not feed.ended.is_set() or feed.pictures:
        found, _ = feed.take(clock.time())
        if found:
            shown.append((found.at, clock.time()))
        time.sleep(0.002)
    assert feed.tally.dropped > 10 and feed.tally.drawn + feed.tally.dropped == LENGTH
    assert len(feed.tally.segments) == 4 and feed.tally.lost == 0
    ticks = [tick for tick, _ in heard]
    assert ticks[0] == -312 and np.diff(ticks).tolist() == [960] * (len(ticks) - 1) and len(ticks) == 80
    late = [now - at for at, now in shown[5:]]
    assert np.median(late) < 0.15, "what is drawn is drawn for the time when it is done"


def test_seeking_shows_the_frame_of_that_time_first(playing):
    clock = Clock()
    feed = playing(clock=clock)
    until(lambda: feed.pictures)
    for target, frame in ((1.3, 32), (0.0, 0), (0.99, 24), (99.0, 38)):
        assert feed.seek(target)
        until(lambda: feed.pictures)
        found, _ = feed.take(clock.time())
        assert found is not None and round(found.at * RATE) == frame and found.turn == feed.turn
    assert feed.tally.lost == 0


def test_a_seek_to_the_same_frame_gives_the_same_picture(playing):
    feed = playing()
    until(lambda: len(feed.pictures) > 12)
    first = feed.pictures[12].rgb
    feed.seek(12 / RATE)
    until(lambda: feed.pictures)
    # drawn in another batch: sums in another order, a level at most
    assert np.abs(feed.pictures[0].rgb.astype(int) - first).max() <= 1


def test_a_pipe_plays_while_it_arrives_and_cannot_be_sought(playing, film):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pen:
        pen.write(film[: len(film) // 2])
        feed = playing(stream=stream)
        until(lambda: feed.pictures and feed.waiting)
        assert not feed.ended.is_set() and not feed.seek(0.0)
        pen.write(film[len(film) // 2 :])
        pen.close()
        until(lambda: len(feed.pictures) == feed.room)


def test_who_stops_waits_for_what_is_drawn_and_not_for_bytes(playing, film):
    """A process that ended while a thread of it drew was aborted."""
    feed = playing()
    until(lambda: feed.pictures)
    feed.stop()
    assert not feed.is_alive()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pen:
        pen.write(segments_of(film, 2))
        feed = playing(stream=stream)
        until(lambda: len(feed.pictures) == 20 and feed.waiting)
        feed.stop()
        assert feed.is_alive(), "nobody knows whether more will come"


def test_a_damaged_segment_is_a_gap_and_no_end(playing, film):
    broken = bytearray(film)
    place = [i for i in range(len(film)) if film[i : i + 4] == b"SEGM"][1] + 40
    broken[place] ^= 0xFF
    feed = playing(stream=io.BytesIO(bytes(broken)))
    until(lambda: len(feed.pictures) == 24)
    assert [round(p.at * RATE) for p in feed.pictures] == [*range(10), *range(20, 34)]
    assert feed.tally.lost == 10 and feed.tally.damage
    assert [p.lost for p in feed.pictures] == [False] * 10 + [True] * 10 + [False] * 4
    assert any("damage" in line for line in overlay.lines(feed, 0.5, 25.0))


def test_what_is_no_stream_is_an_error_where_it_is_waited_for(tiny_model_file):
    feed = Feed(io.BytesIO(b"hello" * 100), DecodeOptions(model=str(tiny_model_file)), Clock())
    feed.start()
    assert feed.ready.wait(20) and isinstance(feed.error, NotFevError)


def test_the_overlay_says_what_it_costs(playing):
    feed = playing()
    until(lambda: len(feed.tally.segments) > 1)
    text = overlay.lines(feed, 0.1, 24.6)
    first = sum(feed.tally.segments[0][2].values())
    assert f"now {8e-3 * first / 0.4:.2f} kbit/s" in text[1] and "24.6 of 25 frames/s" in text[0]
    assert "motion" in text[2]
    picture = overlay.drawn(text, 15)
    assert picture.shape[2] == 4 and picture[..., :3].max() == 255 and picture.shape[0] > 15 * len(text)


# -- the whole of it, on SDL's dummy drivers


def play(path, model, *more: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "fev.tools.play", str(path), "--model", str(model), "--json", *more]
    return subprocess.run(words, capture_output=True, check=False, env={**os.environ, **QUIET}, timeout=120)


def test_a_clip_is_played_to_its_end(film, tiny_model_file, tmp_path):
    pytest.importorskip("sdl2")
    path = tmp_path / "film.fev"
    path.write_bytes(film)
    done = play(path, tiny_model_file, "--overlay")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["shown"] + report["dropped"] == LENGTH and report["shown"] > 5
    assert report["elapsed_s"] >= LENGTH / RATE


@pytest.mark.parametrize(("content", "words"), [(b"", b"empty"), (b"hello" * 50, b"not a .fev")])
def test_what_cannot_be_played_is_one_line(tmp_path, tiny_model_file, content, words):
    pytest.importorskip("sdl2")
    path = tmp_path / "bad.fev"
    path.write_bytes(content)
    done = play(path, tiny_model_file)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1 and words in done.stderr


def test_without_sdl_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sdl2", None)
    with pytest.raises(UsageError, match=r"pip install 'fev\[play\]'"):
        play_command.work(["x.fev"])


@pytest.fixture
def session(playing, monkeypatch):
    """A session on dummy drivers whose loop is turned by hand."""
    pytest.importorskip("sdl2")
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    clock, speaker = Clock(), Speaker()
    speaker.run(False)
    feed = playing(clock=clock, sound=speaker.put)
    with Screen("test", 64, 64) as screen:
        yield Session(feed, clock, screen, speaker)
    speaker.close()


def turn(session: Session, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for action in session.screen.events():
            session._do(action)
        session._step()
        time.sleep(0.002)


def test_the_keys(session):
    screen, clock = session.screen, session.clock
    until(lambda: session._step())
    turn(session, 0.2)
    assert session.shown > 1 and clock.running
    screen.press("SDLK_SPACE")
    turn(session, 0.05)
    held, shown = clock.time(), session.shown
    turn(session, 0.2)
    assert clock.time() == held and session.shown == shown and session.paused
    screen.press("SDLK_HOME")
    until(lambda: turn(session, 0.01) or session.last.at == 0)
    screen.press("SDLK_SPACE")
    screen.press("SDLK_m")
    screen.press("SDLK_i")
    turn(session, 0.2)
    assert clock.time() > 0.1 and session.speaker.muted and session.texts
    screen.press("SDLK_END")
    until(lambda: turn(session, 0.01) or session.last.at > 1.5)
    screen.press("SDLK_LEFT")
    until(lambda: turn(session, 0.01) or session.last.at < 0.5)
    assert not session.quit
    screen.press("SDLK_q")
    turn(session, 0.05)
    assert session.quit


def test_the_window_shows_the_picture_as_large_as_fits(session):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32], picture[32:, 32:] = (250, 10, 10), (10, 250, 10)
    session.screen.picture(picture)
    session.screen.show()
    session.screen.show()
    seen = session.screen.pixels()
    assert seen.shape == (512, 512, 3)
    assert (
        (seen[100, 100] == (250, 10, 10)).all() and (seen[400, 400] == (10, 250, 10)).all() and not seen[400, 100].any()
    )


def test_it_begins_again(session):
    """After the end, and nothing is dropped where it begins anew."""
    session.loop = True
    until(lambda: session._step())
    session.seek(1.4)
    until(lambda: turn(session, 0.01) or session._over() or session.feed.turn == 2)
    dropped = session.feed.tally.dropped
    until(lambda: turn(session, 0.01) or session.last.at == 0)
    assert session.feed.tally.dropped == dropped and not session.feed.ended.is_set()


class RecordedSpeaker:
    """Notes whether it plays, and is never heard."""

    on = False

    def run(self, on: bool) -> None:
        self.on = on

    def position(self) -> None:
        return None


def test_bytes_that_are_late_are_waited_for(playing, film, monkeypatch):
    """A pipe that dries up: the clock stands and goes on where the pictures do, and no frame is left out."""
    pytest.importorskip("sdl2")
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    begin = segments_of(film, 2)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream, os.fdopen(writing, "wb", buffering=0) as pen:
        pen.write(begin)
        clock, speaker = Clock(slowly), RecordedSpeaker()
        feed = playing(stream=stream, clock=clock)
        until(lambda: len(feed.pictures) == 20)
        with Screen("test", 64, 64) as screen:
            session = Session(feed, clock, screen, speaker)
            until(lambda: turn(session, 0.01) or session.last)
            assert speaker.on
            until(lambda: turn(session, 0.01) or session.starved)
            held = clock.time()
            turn(session, 0.3)
            assert clock.time() == held and session.last.at < 0.8 and not speaker.on
            pen.write(film[len(begin) :])
            pen.close()
            until(lambda: turn(session, 0.01) or session.last.at > 1.4)
            assert feed.tally.dropped == 0 and speaker.on


def test_the_sound_leads(session):
    session.loop = True

    def near() -> bool:
        turn(session, 0.01)
        heard = session.speaker.position()
        return heard is not None and abs(session.clock.time() - heard) < 0.1

    until(lambda: turn(session, 0.01) or session.speaker.position() is not None)
    session.clock.move(session.clock.time() + 5.0)
    until(near)
