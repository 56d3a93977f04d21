"""The page of `fev-serve`: files under one folder, their facts, their pieces, a source beside them; nothing else.

Served on loopback unless told otherwise.  A name in a request is looked up in the list of files that are there, never
joined to a path, so there is no path to climb out by.  Requests whose Host is none of ours are refused: a page on the
net cannot make a browser ask here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

from aiohttp import web

from ...codec.model import library
from ...format.container import Reader
from ...format.errors import FevError
from .pieces import Pieces, codec_of, cuts

MOST_FILES = 500  # of a folder that are listed
MOST_CONNECTIONS = 64
MOST_WAITING = 16  # requests for pieces at once
MOST_SEGMENTS = 20_000  # of a file whose costs are listed
HEADER_SECONDS = 10.0  # for a client to finish asking
FRESH_SECONDS = 0.05
PAGE = Path(__file__).with_name("page.html")
SOURCES = (".mp4", ".webm", ".m4v")
SAFE = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; media-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
}  # fmt: skip


class Library:
    """What may be seen: one file, or the `.fev` files of a folder and those under it."""

    def __init__(self, place: Path):
        self.place = place.resolve()

    def files(self) -> dict[str, Path]:
        """Name -> path.  Links that lead out of the folder are left out."""
        if self.place.is_file():
            return {self.place.name: self.place}
        found: dict[str, Path] = {}
        for path in sorted(self.place.rglob("*.fev")):
            if len(found) == MOST_FILES:
                break
            real = path.resolve()
            if real.is_file() and real.is_relative_to(self.place):
                found[path.relative_to(self.place).as_posix()] = real
        return found

    def source_of(self, path: Path) -> Path | None:
        """The video beside a file that is called like it."""
        for ending in SOURCES:
            beside = path.with_suffix(ending)
            if beside.is_file() and beside.resolve().is_relative_to(path.parent):
                return beside
        return None


def facts(path: Path) -> dict[str, Any]:
    """What the page says of a file, from one pass without drawing.  Raises FevError."""
    with open(path, "rb") as file:
        reader = Reader(file, salvage=True, shallow=True)
        h = reader.header
        segments: list[list[Any]] = []
        before = reader.sections()
        once = dict(before)
        frames = 0
        for parts in reader.parts():
            frames += len(parts.pts)
            now = reader.sections()
            begin, end = (float(h.seconds(int(p))) for p in (parts.pts[0], parts.pts[-1]))
            cost = {k: now[k] - before.get(k, 0) for k in now if now[k] != before.get(k, 0)}
            before = now
            if parts.part and segments and segments[-1][0] == parts.index:
                segments[-1][2] = round(end + h.fps[1] / h.fps[0], 4)
                segments[-1][3] = {k: segments[-1][3].get(k, 0) + cost.get(k, 0) for k in {*segments[-1][3], *cost}}
            elif len(segments) < MOST_SEGMENTS:
                first = parts.pts[cuts(parts.pts, Fraction(*h.time_base))].tolist()
                starts = [round(float(h.seconds(pts)), 4) for pts in first]
                segments.append([parts.index, round(begin, 4), round(end + h.fps[1] / h.fps[0], 4), cost, starts])
    digest = h.model_sha256.hex()
    return {
        "bytes": path.stat().st_size, "width": h.width, "height": h.height,
        "fps": h.fps[0] / h.fps[1], "frames": frames, "synthetic": h.synthetic, "audio": reader.audio is not None,
        "model": digest, "model_name": library.holding(digest), "once": once, "segments": segments,
        "damage": [str(d) for d in reader.damage],
    }  # fmt: skip


def host_of(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


class Server:
    """The application.  hosts: names by which it may be asked for; empty for any."""

    def __init__(self, place: Path, hosts: frozenset[str]):
        self.library, self.hosts, self.pieces = Library(place), hosts, Pieces()
        self.waiting = 0
        # one thread draws; what waits for it is bounded by MOST_WAITING
        self.drawing = ThreadPoolExecutor(1, "drawing")
        self.reading = ThreadPoolExecutor(2, "reading")
        self.app = web.Application(middlewares=[self.guard], client_max_size=1024)
        self.app.router.add_get("/", self.page)
        self.app.router.add_get("/files", self.files)
        self.app.router.add_get("/facts", self.facts)
        self.app.router.add_get("/piece", self.piece)
        self.app.router.add_get("/source", self.source)
        self.app.on_cleanup.append(self.close)
        self.silent: set[int] = set()  # connections that have not said yet what they want

    async def close(self, app: web.Application) -> None:
        self.drawing.shutdown(wait=True, cancel_futures=True)
        self.reading.shutdown(wait=True, cancel_futures=True)
        self.pieces.close()

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Our own hosts only, no odd methods, plain errors."""
        self.silent.discard(id(request.protocol))
        try:
            if self.hosts and host_of(request.host) not in self.hosts:
                raise web.HTTPForbidden(text="this server does not go by that name")
            response = await handler(request)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=error.text or error.reason)
        except FevError as error:
            response = web.Response(status=422, text=str(error))
        except OSError:
            response = web.Response(status=404, text="the file is gone")
        response.headers.update(SAFE)
        return response

    def named(self, request: web.Request) -> Path:
        path = self.library.files().get(request.query.get("file", ""))
        if path is None:
            raise web.HTTPNotFound(text="no such file")
        return path

    async def page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=PAGE.read_text("utf-8"), content_type="text/html")

    async def files(self, request: web.Request) -> web.StreamResponse:
        found = await self._read(self.library.files)
        return web.json_response([{"name": name, "bytes": path.stat().st_size} for name, path in found.items()])

    async def facts(self, request: web.Request) -> web.StreamResponse:
        path = self.named(request)
        told = await self._read(facts, path)
        told["source"] = self.library.source_of(path) is not None
        if told["segments"]:
            told["type"] = codec_of(await self._drawn(path, told["segments"][0][0]))
        return web.json_response(told)

    async def piece(self, request: web.Request) -> web.StreamResponse:
        path = self.named(request)
        number, part = (request.query.get(name, default) for name, default in (("n", ""), ("part", "0")))
        if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in (number, part)):
            raise web.HTTPBadRequest(text="n has to be the number of a segment, part that of its part")
        return web.Response(body=await self._drawn(path, int(number), int(part)), content_type="video/mp4")

    async def source(self, request: web.Request) -> web.StreamResponse:
        beside = self.library.source_of(self.named(request))
        if beside is None:
            raise web.HTTPNotFound(text="there is no source beside it")
        return web.FileResponse(beside)

    async def _read(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.reading, work, *given)

    async def _drawn(self, path: Path, number: int, part: int = 0) -> bytes:
        if self.waiting >= MOST_WAITING:
            raise web.HTTPServiceUnavailable(text="too many viewers at once")
        self.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.drawing, self.pieces.piece, path, number, part)
        finally:
            self.waiting -= 1


class Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Door:
    """Makes connections for `create_server`: so many and no more, and none that does not say what it wants."""

    def __init__(self, inside: web.Server, silent: set[int]):
        self.inside, self.silent = inside, silent
        self.fresh = 0  # let in a moment ago, and perhaps not yet among the server's connections

    def __call__(self) -> asyncio.BaseProtocol:
        if len(self.inside.connections) + self.fresh >= MOST_CONNECTIONS:
            return Refused()
        connection = self.inside()
        self.silent.add(id(connection))
        self.fresh += 1
        loop = asyncio.get_running_loop()
        loop.call_later(FRESH_SECONDS, self._settle)
        loop.call_later(HEADER_SECONDS, self._look, connection)
        return connection

    def _settle(self) -> None:
        self.fresh -= 1

    def _look(self, connection: Any) -> None:
        if id(connection) in self.silent:
            self.silent.discard(id(connection))
            if connection.transport is not None:
                connection.transport.close()


class Serving:
    """A server that listens.  port: where.  pieces: what it made."""

    def __init__(self, runner: web.AppRunner, listening: asyncio.Server, pieces: Pieces):
        self._runner, self._listening, self.pieces = runner, listening, pieces
        self.port: int = listening.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._listening.close()
        await self._runner.cleanup()


async def start(place: Path, host: str, port: int, everybody: bool = False) -> Serving:
    """Begin to serve.  port: 0 for any.  everybody: under whatever name we are asked for.

    Raises FevError where it cannot listen.
    """
    names = frozenset() if everybody else frozenset({"127.0.0.1", "localhost", "::1", host})
    server = Server(place, names)
    runner = web.AppRunner(server.app, access_log=None, keepalive_timeout=15)
    await runner.setup()
    assert runner.server is not None
    try:
        listening = await asyncio.get_running_loop().create_server(Door(runner.server, server.silent), host, port)
    except OSError as error:
        await runner.cleanup()
        raise FevError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return Serving(runner, listening, server.pieces)
