"""fev-serve: what its page is given, and that hostile requests get nothing else, crash nothing and fill no memory."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import socket
import threading
import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from urllib.parse import quote

import av
import numpy as np
import psutil
import pytest
from fev.codec.model.modelfile import library
from fev.format.container import Reader
from fev.format.errors import FevError, UsageError
from fev.tools import serve
from fev.tools.player.pieces import Film, Pieces, boxes, codec_of, cuts
from films import LENGTH, RATE, film_of

web = pytest.importorskip("fev.tools.player.web")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def home(film, tiny_model_file, tiny_sha, tmp_path, monkeypatch):
    """A folder with a good file, a damaged one and one without its model, beside things that are nobody's business."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(tiny_model_file.read_bytes())
    (models / "tiny.sha256").write_text(tiny_sha)
    monkeypatch.setenv(library.VARIABLE, str(models))
    place = tmp_path / "talks"
    (place / "more").mkdir(parents=True)
    (place / "good.fev").write_bytes(film)
    broken = bytearray(film)
    broken[[i for i in range(len(film)) if film[i : i + 4] == b"SEGM"][1] + 40] ^= 0xFF
    (place / "more" / "broken & odd.fev").write_bytes(bytes(broken))
    (place / "good.mp4").write_bytes(bytes(range(256)) * 40)
    (place / "letter.txt").write_text("mine")
    (tmp_path / "secret.fev").write_bytes(film)
    (place / "out.fev").symlink_to(tmp_path / "secret.fev")
    return place


class Running:
    """A server in a thread of its own."""

    def __init__(self, place, host: str = "127.0.0.1", everybody: bool = False):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.serving = self.do(web.start(place, host, 0, everybody))
        self.port = self.serving.port

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self):
        self.do(self.serving.close())
        self.loop.call_soon_threadsafe(self.loop.stop)

    def get(self, path: str, method: str = "GET", **headers):
        """Status, headers and body; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path: str):
        status, _, body = self.get(path)
        assert status == 200, body
        return json.loads(body)


@pytest.fixture
def server(home):
    running = Running(home)
    yield running
    running.close()


# -- pieces


def frames_in(data: bytes):
    with av.open(io.BytesIO(data)) as container:
        return [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def test_pieces_are_the_clip_s_frames_at_their_own_times(home):
    film = Film(home / "good.fev")
    seen = []
    for number in (3, 0, 1, 2):
        data = film.piece(number)
        kinds = [kind for kind, _, _ in boxes(data)]
        assert b"edts" not in kinds and kinds.count(b"moov") == 1
        clocks = [int.from_bytes(data[at + 4 : at + 12], "big") for kind, at, _ in boxes(data) if kind == b"tfdt"]
        assert clocks[0] == number * 10, "in ticks of the clip"
        first_sound = next(k for k in range(200) if 960 * k - 312 >= number * 19_200 or number == 0)
        assert clocks[1] == max(0, 960 * first_sound - 312)
        seen += [(round(10 * number + k), rgb) for k, (_, rgb) in enumerate(frames_in(data))]
    assert sorted(n for n, _ in seen) == list(range(LENGTH)) and seen[0][1].shape == (64, 64, 3)
    film.reader.seek(0)
    drawn = {int(pts): rgb for s in film.reader.segments() for pts, rgb in film.decoder.segment(s)}
    errors = [np.abs(rgb.astype(int) - drawn[n]).mean() for n, rgb in seen]
    assert max(errors) < 8, "H.264 at crf 20, of a picture of noise"
    film.close()


def test_a_long_segment_comes_in_parts_of_a_second(home, film, tiny_sha):
    """Frames and sound of the parts are the segment's, each once; what an even clock rounds does not add a part."""
    third = Fraction(1001, 30_000)
    assert cuts(np.arange(150), third) == [0, 30, 60, 90, 120]
    assert cuts(np.arange(10), third) == [0] and cuts(np.array([7]), third) == [0]
    assert cuts(np.array([0, 1, 1 << 50]), Fraction(1)) == [0, 1, 2], "no more parts than frames"
    (home / "long.fev").write_bytes(film_of(tiny_sha, segment=40))
    long = Film(home / "long.fev")
    (segment,) = Reader(io.BytesIO((home / "long.fev").read_bytes())).segments()
    edges = [*cuts(segment.pts, long.base), LENGTH]
    assert edges == [0, 20, 40], "1.6 s"
    parts = [long.piece(0, k) for k in range(2)]
    assert [len(frames_in(data)) for data in parts] == [20, 20]
    packets = [long._packets(segment, a, b) for a, b in pairwise(edges)]
    assert packets[0] + packets[1] == segment.audio and packets[1][0].pts >= 0.8 * 48_000
    assert long._packets(replace(segment, audio=[]), 0, 20) == [] and codec_of(parts[0]) == codec_of(parts[1])
    long.reader.seek(0)
    drawn = [rgb for _, rgb in long.decoder.segment(segment)]
    again = [rgb for k in range(2) for _, rgb in long.decoder.segment(segment, edges[k], edges[k + 1])]
    assert len(drawn) == LENGTH and np.abs(np.array(drawn).astype(int) - np.array(again)).max() <= 1
    with pytest.raises(FevError, match="has no part 2"):
        long.piece(0, 2)
    long.close()


def test_viewers_share_what_was_made(home, film):
    pieces = Pieces(room=1)
    one = pieces.piece(home / "good.fev", 0)
    assert pieces.piece(home / "good.fev", 0) is one and pieces.made == 1
    pieces.piece(home / "good.fev", 1)
    assert pieces.made == 2 and len(pieces._kept) == 1, "the room is kept to, but for the last piece"
    (home / "good.fev").write_bytes(film + b"")
    for name in ("a", "b", "c"):
        (home / f"{name}.fev").write_bytes(film)
        pieces.piece(home / f"{name}.fev", 0)
    assert len(pieces._open) == pieces.films
    pieces.close()


def test_what_a_browser_must_call_it(home):
    data = Film(home / "good.fev").piece(0)
    name = codec_of(data)
    assert name.startswith('video/mp4; codecs="avc1.') and name.endswith(', opus"') and len(name) == 37


# -- what the page is given


def test_the_files_are_listed_and_only_those(server):
    assert [f["name"] for f in server.json("/files")] == ["good.fev", "more/broken & odd.fev"]


def test_the_facts_of_a_file(server, home, film):
    facts = server.json("/facts?file=good.fev")
    assert facts["frames"] == LENGTH and facts["fps"] == RATE and facts["audio"] and facts["source"]
    assert facts["model_name"] == "tiny" and not facts["damage"] and facts["bytes"] == len(film)
    told = [s[:3] + s[4:] for s in facts["segments"]]
    assert told == [[k, 4 * k / 10, 4 * (k + 1) / 10, [4 * k / 10]] for k in range(4)]
    spent = sum(facts["once"].values()) + sum(sum(s[3].values()) for s in facts["segments"])
    assert len(film) - 100 < spent <= len(film), "all but the index and the end"
    assert facts["type"].startswith("video/mp4")


def test_a_file_without_its_model_is_one_line(server, home, film, tiny_sha):
    other = bytes.fromhex(tiny_sha)
    place = film.index(other)
    assert place < 110, "in the header"
    (home / "good.fev").write_bytes(film[:place] + bytes(32) + film[place + 32 :])
    status, _, body = server.get("/facts?file=good.fev")
    assert status == 422 and b"\n" not in body


def test_a_damaged_file_says_so_and_gives_the_rest(server):
    name = quote("more/broken & odd.fev")
    facts = server.json(f"/facts?file={name}")
    assert len(facts["damage"]) == 1 and [s[0] for s in facts["segments"]] == [0, 2, 3]
    assert server.get(f"/piece?file={name}&n=2")[0] == 200
    status, _, body = server.get(f"/piece?file={name}&n=1")
    assert status == 422 and b"\n" not in body


def test_the_page_asks_nobody_else(server):
    status, headers, body = server.get("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b"http" not in body
    assert "default-src 'self'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"


def test_the_source_beside_it_in_parts(server):
    status, headers, body = server.get("/source?file=good.fev", Range="bytes=10-19")
    assert status == 206 and body == bytes(range(10, 20)) and headers["Content-Range"] == "bytes 10-19/10240"
    assert server.get(f"/source?file={quote('more/broken & odd.fev')}")[0] == 404


# -- hostile requests


@pytest.mark.parametrize(
    "name",
    [
        "../secret.fev", "%2e%2e%2fsecret.fev", "..%5csecret.fev", "/etc/passwd", "more/../../secret.fev", "out.fev",
        "letter.txt", "good.fev%00", "good.fev/", "./good.fev", "", "~", "x" * 2000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", ["facts", "piece", "source"])
def test_no_other_file_is_reached(server, what, name):
    status, _, body = server.get(f"/{what}?file={name}&n=0")
    assert status == 404 and b"fev/" not in body and b"root" not in body


@pytest.mark.parametrize(
    "path", ["/../secret.fev", "/good.fev", "//etc/passwd", "/%2e%2e/secret.fev", "/piece/../../x", "/files/.."]
)
def test_paths_lead_nowhere(server, path):
    assert server.get(path)[0] == 404


@pytest.mark.parametrize("part", ["-1", "1", "9" * 50, "x"])
def test_odd_parts_are_refused(server, part):
    assert server.get(f"/piece?file=good.fev&n=0&part={part}")[0] in (400, 422)


@pytest.mark.parametrize("n", ["", "-1", "1.5", "9" * 50, "0x1", "%00", "１", "nan"])
def test_odd_segments_are_refused(server, n):
    assert server.get(f"/piece?file=good.fev&n={quote(n)}")[0] in (400, 422)
    assert server.get("/piece?file=good.fev&n=999999")[0] == 422


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=0-99999999999999999999", 206), ("bytes=99999999-", 416), ("bytes=5-1", 416), ("bytes=-5", 206),
        ("bytes=0-5,3-9,0-9999", 416), ("bytes=" + "0-1," * 1500 + "0-1", 416), ("lines=1-2", 416), ("bytes=a-b", 416),
    ],
)  # fmt: skip
def test_huge_and_overlapping_ranges(server, asked, status):
    got, _, body = server.get("/source?file=good.fev", Range=asked)
    assert got in (status, 200 if status == 416 else status) and len(body) <= 10_300


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_other_names_are_refused(server, host):
    """A page on the net whose name leads here gets nothing."""
    assert server.get("/files", Host=host)[0] in (400, 403)


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8137"])
def test_our_own_names_are_not(server, host):
    assert server.get("/files", Host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "CONNECT", "BREW"])
def test_odd_methods_are_refused(server, method):
    assert server.get("/files", method)[0] in (400, 403, 404, 405, 501)


def test_headers_without_end_are_refused(server):
    assert server.get("/files", **{"X-Long": "a" * 100_000})[0] == 400
    assert server.get("/files")[0] == 200


def test_who_does_not_say_what_he_wants_is_sent_away(home, monkeypatch):
    monkeypatch.setattr(web, "HEADER_SECONDS", 0.3)
    server = Running(home)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.settimeout(10)
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.")
        assert slow.recv(10) == b""
    assert server.get("/files")[0] == 200
    server.close()


def test_two_hundred_connections(server):
    """So many are let in and no more, those are served, and memory stays."""
    before = psutil.Process().memory_info().rss
    many = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        time.sleep(0.3)
        alive = 0
        for s in many:
            s.settimeout(10)
            try:
                s.sendall(b"GET /files HTTP/1.1\r\nHost: localhost\r\n\r\n")
                alive += s.recv(12) == b"HTTP/1.1 200"
            except OSError:
                pass
        assert web.MOST_CONNECTIONS // 2 <= alive <= web.MOST_CONNECTIONS
    finally:
        for s in many:
            s.close()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            assert server.get("/files")[0] == 200
            break
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    else:
        pytest.fail("it never let anybody in again")
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_too_many_pieces_at_once_are_told_to_wait(home, monkeypatch):
    monkeypatch.setattr(web, "MOST_WAITING", 0)
    server = Running(home)
    assert server.get("/piece?file=good.fev&n=0")[0] == 503
    server.close()


# -- the command


def test_what_cannot_be_served_is_one_line(home, tmp_path):
    with pytest.raises(FevError, match="no such file"):
        serve.work([str(tmp_path / "none")])
    with pytest.raises(UsageError, match="--port 70000"):
        serve.work([str(home), "--port", "70000"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(FevError, match="cannot listen on"):
            serve.work([str(home), "--port", str(taken.getsockname()[1])])
