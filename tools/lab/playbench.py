"""What `fev.tools.lab.bench --play` measures: the player, a pipe into it, viewers of the page; each in its own process.

The window and the sound card are SDL's dummy drivers, the viewers read as the page does and show nothing.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import psutil

from ...codec.draw.options import DecodeOptions
from ...format.chunk import SIGNATURE, read_chunk
from ...format.errors import FevError
from ...format.source import Source

SEEKS = 9
MEMORY_EVERY = 10.0  # seconds
VIEWERS_APART = 1.7  # seconds between one viewer's coming and the next one's
PAGE_AHEAD = 12.0  # seconds, as the page has it


class ProcessCost:
    """What this process spends from here on."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.at, self.spent = time.monotonic(), float(sum(self.process.cpu_times()[:2]))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.at

    def share(self) -> float:
        """Of all processors."""
        return (float(sum(self.process.cpu_times()[:2])) - self.spent) / self.seconds / (os.cpu_count() or 1)

    def megabytes(self) -> float:
        return float(self.process.memory_info().rss) / 1e6


class Player:
    """A session on dummy drivers, and its parts.  Raises FevError where the stream cannot be played."""

    def __init__(self, stream: BinaryIO, loop: bool = False):
        os.environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
        from ..player.clock import Clock
        from ..player.feed import Feed
        from ..player.screen import Screen, Speaker
        from ..player.session import Session

        begun = time.monotonic()
        clock, self.speaker = Clock(), Speaker()
        self.speaker.run(False)
        self.feed = Feed(stream, DecodeOptions(coarse=True), clock, self.speaker.put if self.speaker.device else None)
        self.feed.start()
        self.feed.ready.wait()
        if self.feed.error:
            raise self.feed.error
        self.load = time.monotonic() - begun
        self.screen = Screen("bench", self.feed.decoder.width, self.feed.decoder.height).__enter__()
        self.session = Session(self.feed, clock, self.screen, self.speaker if self.feed.has_sound else None, loop=loop)

    def until(self, done: Callable[[], Any], most: float = 20.0) -> float:
        """Play until that is true, the clip is over or so many seconds are; how many it were."""
        start = time.monotonic()
        while not done() and time.monotonic() - start < most:
            self.session._step()
            if self.session._over():
                break
            time.sleep(0.002)
        return time.monotonic() - start

    def close(self) -> None:
        self.feed.stop()
        self.screen.__exit__(None, None, None)
        self.speaker.close()


def play(path: str, seconds: float) -> dict[str, Any]:
    """A file in a loop: first picture, seeks, and then for so long what is dropped, drift, processor, memory."""
    player = Player(open(path, "rb"), loop=True)  # noqa: SIM115 - until the process ends
    feed, session, until = player.feed, player.session, player.until
    first = until(lambda: session.shown)
    until(lambda: feed.length is not None, 600)
    seeks = []
    for place in range(SEEKS):
        session.seek((feed.length or 0) * random.Random(place).random())
        seeks.append(until(lambda: session.last and session.last.turn == feed.turn))
    session.seek(0.0)
    until(lambda: session.last and session.last.turn == feed.turn)
    session.drift.clear()
    before, cost = session.report(), ProcessCost()
    memory = []
    while cost.seconds < seconds:
        until(lambda: False, min(MEMORY_EVERY, seconds - cost.seconds))
        memory.append(cost.megabytes())
    after, share = session.report(), cost.share()
    player.close()
    drift = after.get("drift_ms", {})
    return {
        "frames": after["shown"] - before["shown"], "first_picture_s": first, "load_s": player.load,
        "seek_s": sorted(seeks)[SEEKS // 2], "slowest_seek_s": max(seeks),
        "dropped": float(after["dropped"] - before["dropped"]), "drawing_ms": after["draw_ms"],
        "drift_mean_ms": float(drift.get("mean", 0)), "drift_p99_ms": float(drift.get("p99", 0)), "cpu_share": share,
        "memory_first_mb": memory[0], "memory_last_mb": memory[-1],
    }  # fmt: skip


def pipe(path: str) -> dict[str, Any]:
    """A file through a pipe that brings the first segment and no more: its picture, once the networks are loaded."""
    begin = Path(path).read_bytes()
    begin = begin[: first_segment(begin)]
    reading, writing = os.pipe()
    shown = threading.Event()

    def send() -> None:
        with open(writing, "wb", buffering=0) as sink:
            sink.write(begin)
            shown.wait()  # the pipe stays open: nobody knows that this was all

    threading.Thread(target=send, daemon=True).start()
    player = Player(open(reading, "rb"))  # noqa: SIM115 - until the process ends
    waited = player.until(lambda: player.session.shown)
    result = {"frames": player.session.shown, "first_picture_s": waited, "load_s": player.load}
    shown.set()
    player.close()
    return result


def first_segment(stream: bytes) -> int:
    """Where the first segment of a stream ends.  Raises FevError where there is none."""
    source = Source(io.BytesIO(stream))
    source.seek(len(SIGNATURE))
    while chunk := read_chunk(source, len(stream)):
        if chunk.type == "SEGM":
            return chunk.offset + chunk.size
    raise FevError("the stream has no segment")


def viewers(path: str, count: int, seconds: float) -> dict[str, Any]:
    """So many viewers of the page of `fev-serve`, one after the other coming, each reading ahead as the page does."""
    return asyncio.run(_viewers(Path(path), count, seconds))


async def _viewers(path: Path, count: int, seconds: float) -> dict[str, Any]:
    from ..player.web import start

    serving = await start(path, "127.0.0.1", 0)
    cost = ProcessCost()
    seen = await asyncio.gather(*(_viewer(serving.port, path.name, VIEWERS_APART * k, seconds) for k in range(count)))
    share, memory = cost.share(), cost.megabytes()
    made = serving.pieces.made
    await serving.close()
    late = [piece for starts, pieces in seen for piece in pieces]
    return {
        "frames": len(late), "made": float(made), "first_piece_s": max(start for start, _ in seen),
        "late": float(sum(seconds > 0 for seconds in late)), "latest_s": max(late), "cpu_share": share,
        "memory_mb": memory,
    }  # fmt: skip


async def _viewer(port: int, name: str, wait: float, seconds: float) -> tuple[float, list[float]]:
    """Seconds to the first piece, and of every other one how late it came after it was due."""
    import aiohttp

    await asyncio.sleep(wait)
    asked, late = time.monotonic(), []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:

        async def get(what: str) -> Any:
            async with client.get(f"/{what}") as answer:
                answer.raise_for_status()
                return await (answer.json() if what.startswith("facts") else answer.read())

        facts = await get(f"facts?file={quote(name)}")
        parts = [(n, k, at) for n, _, _, _, starts in facts["segments"] for k, at in enumerate(starts)]
        begin = None
        for n, k, at in parts:
            if at > seconds:
                break
            if begin is not None:
                await asyncio.sleep(max(0.0, begin + at - PAGE_AHEAD - time.monotonic()))
            await get(f"piece?file={quote(name)}&n={n}&part={k}")
            begin = begin or time.monotonic()
            late.append(time.monotonic() - begin - at)
    assert begin is not None
    return begin - asked, late[1:]
