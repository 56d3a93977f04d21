"""Where identities are looked for that a file only refers to: a file that is named, the files
beside it, a cache.

`fev.format.reference` says what such a reference is.  A candidate counts only if its chunks have
the hash; one that is damaged, or lies about itself, is passed over.  Faces are personal data:
nothing is ever put into the cache unless asked for, and then the identity alone goes there, without
background, sound or motion.
"""

from __future__ import annotations

import heapq
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs

from ...format.errors import FevError, MissingIdentityError
from ...format.excerpt import Excerpt, excerpts
from ...format.reader import Reader
from ...format.reference import Identity

VARIABLE = "FEV_CACHE"  # names another folder
ENDING = ".fev"
MOST_FILES = 200  # of a folder that are looked into, the first by name
MOST_ENTRIES = 20_000  # of a folder whose names are looked at
MOST_HEAD = 5 << 20  # bytes read of one of them; a conforming identity is smaller
MOST_READ = 64 << 20  # ... and of all together
KEPT_FILES, KEPT_BYTES = 256, 64 << 20  # of the cache; what was used least lately goes first
SAMPLES = 256  # frames whose parameters `read_identity` keeps


def cache_folder() -> Path:
    """The user's folder of remembered identities; it need not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("fev", appauthor=False)) / "identities"


def folder_of(src: Any) -> Path | None:
    """The folder that an open file, or a path, lies in; None for pipes and memory."""
    name = os.fspath(src) if isinstance(src, (str, os.PathLike)) else getattr(src, "name", None)
    if not isinstance(name, str):
        return None
    with suppress(OSError, ValueError, AttributeError):
        if isinstance(src, (str, os.PathLike)) or os.path.samestat(os.stat(name), os.fstat(src.fileno())):
            return Path(name).absolute().parent
    return None


class _Head:
    """The first bytes of a file and no more, however long its chunks say that they are."""

    def __init__(self, file: BinaryIO, most: int):
        self._file, self._most, self.count = file, most, 0

    def read(self, count: int) -> bytes:
        data = self._file.read(min(count, self._most - self.count))
        self.count += len(data)
        return data


@dataclass(frozen=True)
class Search:
    """Finds the identity of a hash, for `fev.format.Reader`.

    Args:
        named: a file that must hold it; then nothing else is looked into.
        folder: of the file that refers to it.
    """

    named: str | os.PathLike[str] | None = None
    folder: Path | None = None

    def __call__(self, sha256: bytes) -> Identity:
        return self.find(sha256).identity()

    def find(self, sha256: bytes) -> Excerpt:
        """Raises MissingIdentityError; FevError where the named file cannot be read."""
        if self.named is not None:
            return _named(self.named, sha256)
        kept = cache_folder() / f"{sha256.hex()}{ENDING}"
        for path in (*_beside(self.folder), kept):
            found = _holding(path, sha256)
            if found is not None:
                if path == kept:
                    with suppress(OSError):
                        os.utime(kept)
                return found
        places = f"in {self.folder} or in the cache" if self.folder else "in the cache"
        raise MissingIdentityError(
            f"the identity {sha256.hex()[:16]}... lies in another file, which is not {places}; put that file beside "
            "this one or name it with --identity FILE"
        )


def _named(path: str | os.PathLike[str], sha256: bytes) -> Excerpt:
    name = os.fspath(path)
    found = _opened(path)
    if not found:
        raise MissingIdentityError(f"{name}: refers to an identity too, and holds none")
    for one in found:
        if one.sha256 == sha256:
            return one
    raise MissingIdentityError(
        f"{name}: holds the identity {found[0].sha256.hex()[:16]}..., wanted is {sha256.hex()[:16]}..."
    )


def _opened(path: str | os.PathLike[str]) -> list[Excerpt]:
    try:
        with open(path, "rb") as file:
            return list(excerpts(file))
    except OSError as error:
        raise FevError(f"{os.fspath(path)}: cannot be opened: {error.strerror}") from error
    except FevError as error:
        raise type(error)(f"{os.fspath(path)}: {error.message}", offset=error.offset) from None


def _beside(folder: Path | None) -> Iterator[Path]:
    """The first .fev files of a folder by name; as many as may be read."""
    if folder is None:
        return
    try:
        with os.scandir(folder) as entries:
            few = islice(entries, MOST_ENTRIES)
            names = (e.name for e in few if e.name.endswith(ENDING) and e.is_file(follow_symlinks=False))
            chosen = heapq.nsmallest(MOST_FILES, names)
    except OSError:
        return
    left = MOST_READ
    for name in chosen:
        with suppress(OSError):
            left -= min((folder / name).stat().st_size, MOST_HEAD)
        if left < 0:
            return
        yield folder / name


def _holding(path: Path, sha256: bytes) -> Excerpt | None:
    """The identity of a file if it is the one wanted."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with open(path, "rb") as file:
            return next((one for one in excerpts(_Head(file, MOST_HEAD)) if one.sha256 == sha256), None)
    except (OSError, FevError):
        return None


def excerpt_of(reader: Reader, search: Search) -> Excerpt | None:
    """The identity of a stream's actor 0, to hand on; None if it was lost."""
    actor = reader.cast.newest(0)
    if actor is None:
        return None
    return Excerpt(reader.header, actor) if actor.reference is None else search.find(actor.reference)


def remember(found: Excerpt) -> Path:
    """Put an identity into the cache, for this user's eyes only, and let the oldest go.

    Raises:
        FevError.
    """
    folder = cache_folder()
    path = folder / f"{found.sha256.hex()}{ENDING}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)  # its mode is 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(found.stream())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _forget(folder, path)
    except OSError as error:
        raise FevError(f"{folder}: the identity cannot be remembered: {error.strerror}") from error
    return path


def _forget(folder: Path, newest: Path) -> None:
    """Remove what was used least lately until the cache is within its bounds."""
    rows = []
    for path in folder.glob(f"*{ENDING}"):
        with suppress(OSError):
            facts = path.lstat()
            rows.append((path == newest, facts.st_mtime, facts.st_size, path))
    rows.sort(reverse=True)
    size = 0
    for count, (_, _, bytes_, path) in enumerate(rows):
        size += bytes_
        if count and (count >= KEPT_FILES or size > KEPT_BYTES):
            with suppress(OSError):
                path.unlink()


@dataclass(frozen=True)
class ReusedIdentity:
    """An identity that a new clip is to be of.

    Args:
        found: as it came.
        identity: decoded.
        motion: (N, P) integers, the parameters of frames of the file it came from, spread over its
            length; none where it came from the cache.
    """

    found: Excerpt
    identity: Identity
    motion: np.ndarray


def read_identity(path: str | os.PathLike[str]) -> ReusedIdentity:
    """The identity of a .fev file, or the one that it refers to.  Raises FevError."""
    search = Search(folder=folder_of(path))
    try:
        with open(path, "rb") as file:
            reader = Reader(file, identities=search)
            identity, found = reader.who(), excerpt_of(reader, search)
            assert found is not None
            return ReusedIdentity(found, identity, _samples(reader))
    except OSError as error:
        raise FevError(f"{os.fspath(path)}: cannot be opened: {error.strerror}") from error
    except FevError as error:
        raise type(error)(f"{os.fspath(path)}: {error.message}", offset=error.offset, segment=error.segment) from None


def _samples(reader: Reader) -> np.ndarray:
    rows: list[np.ndarray] = []
    stride = count = 0
    actor = reader.cast.newest(0)
    key = None if actor is None else actor.key
    for segment in reader.segments():
        own = [track.motion for track in segment.actors if (track.actor, track.revision) == key]
        for motion in own[0] if own else ():
            if count % (1 << stride) == 0:
                rows.append(motion)
            count += 1
            if len(rows) > 2 * SAMPLES:
                rows, stride = rows[::2], stride + 1
    few = rows[:: -(-len(rows) // SAMPLES) or 1]
    return np.array(few, np.int32).reshape(len(few), reader.header.params)
