"""Checkpoints of strangers: the zip files and the older streams of `torch.save`, and the plain
pickles of NVlabs.

Nothing that they hold is run (`pickles`).  Tensors stay where they are until asked for
(`stored.Stored.tensor`).
"""

from __future__ import annotations

import struct
import zipfile
from typing import Any

from ....format.errors import FevError, LimitError, ModelMismatchError
from .pickles import Machine
from .stored import BytesView, Kind, Storage, refuse

MAX_FILE = 4 << 30
MAX_ENTRIES = 100_000  # of a zip file
MAGIC = 0x1950A86A20F9469CFC6C  # first value of an older torch.save stream


def _storage_of(name: Any, known: dict[str, Storage]) -> Storage:
    """A storage by its persistent name: ('storage', kind, key, place, count, ...)."""
    if not isinstance(name, tuple) or len(name) < 5 or name[0] != "storage" or not isinstance(name[1], Kind):
        refuse("it refers to something outside")
    key, count = name[2], name[4]
    if not isinstance(key, str) or type(count) is not int or not 0 <= count <= MAX_FILE:
        refuse("a storage of strange parts")
    if len(name) > 5 and name[5] is not None:
        refuse("a view of a storage")
    storage = known.setdefault(key, Storage(name[1], count))
    if storage.kind != name[1] or storage.count != count:
        refuse("a storage of two kinds")
    return storage


def _zipped(data: memoryview) -> Any:
    """A zip file of torch.save: `NAME/data.pkl`, `NAME/data/KEY`."""
    broken = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, KeyError, OverflowError, struct.error)
    try:
        archive = zipfile.ZipFile(BytesView(data))
        infos = {info.filename: info for info in archive.infolist()}
        if len(infos) > MAX_ENTRIES:
            raise LimitError(f"the checkpoint has more than {MAX_ENTRIES} parts")
        if any(info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data) for info in infos.values()):
            refuse("its parts are compressed")
        root = next((n.removesuffix("data.pkl") for n in infos if n.count("/") <= 1 and n.endswith("data.pkl")), None)
        if root is None:
            refuse("it has no data.pkl")
        order = infos.get(root + "byteorder")
        if order is not None and archive.read(order) != b"little":
            refuse("another byte order")
        known: dict[str, Storage] = {}

        def read(entry: zipfile.ZipInfo) -> bytes:
            try:
                return archive.read(entry)
            except broken as error:
                raise ModelMismatchError(f"the checkpoint is a damaged zip file: {error}") from error

        def storage(name: Any) -> Storage:
            found = _storage_of(name, known)
            entry = infos.get(f"{root}data/{name[2]}")
            if entry is None:
                refuse("a storage is missing")
            found.load = lambda: read(entry)
            return found

        return Machine(storage).run(BytesView(archive.read(infos[root + "data.pkl"])))
    except FevError:
        raise
    except broken as error:
        raise ModelMismatchError(f"the checkpoint is a damaged zip file: {error}") from error


def _older(data: memoryview | bytes) -> Any:
    """A stream of torch.save before zip files: magic, version, system, content, keys, then storage
    by storage.
    """
    data = memoryview(data)
    stream = BytesView(data)
    known: dict[str, Storage] = {}
    magic, version, system = (Machine().run(stream) for _ in range(3))
    if magic != MAGIC or version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        refuse("another version of torch.save")
    content = Machine(lambda name: _storage_of(name, known)).run(stream)
    keys = Machine().run(stream)
    place = stream.tell()
    if not isinstance(keys, list):
        refuse("its list of storages is none")
    for key in keys:
        storage = known.get(key) if isinstance(key, str) else None
        if storage is None:
            refuse("a storage that nothing uses")
        size = storage.count * storage.kind.size
        if int.from_bytes(data[place : place + 8], "little") != storage.count or place + 8 + size > len(data):
            refuse("a storage is cut short")
        storage.load = lambda part=data[place + 8 : place + 8 + size]: part
        place += 8 + size
    if len(keys) != len(known):
        refuse("a storage is missing")
    return content


def read_checkpoint(data: memoryview | bytes) -> Any:
    """What a checkpoint holds: containers, numbers, text, `Stored` tensors and `Module` networks.

    Raises:
        ModelMismatchError: where it asks for more than that or is damaged.
        LimitError: where it is too large.
    """
    view = memoryview(data)
    if len(view) > MAX_FILE:
        raise LimitError(f"the checkpoint is larger than {MAX_FILE >> 30} GiB")
    if bytes(view[:4]) == b"PK\x03\x04":
        return _zipped(view)
    if bytes(view[:1]) != b"\x80":
        refuse("it is neither a zip file nor a pickle")
    try:
        first = Machine().run(BytesView(view[:64]))
    except (ModelMismatchError, LimitError):
        first = None
    return _older(view) if first == MAGIC else Machine(blob=_older).run(BytesView(view))
