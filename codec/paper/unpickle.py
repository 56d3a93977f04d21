"""Read checkpoints that strangers pickled, without running anything that they hold.

A pickle is a program.  The standard decoder of its instructions (`pickletools`) reads it here, and a small machine of
our own carries out the few that build numbers, text, containers and tensors; `BUILDERS` is the whole list of names that
a file may call, and each stands for a function below, never for the one it names.  The standard unpickler with a
restricted `find_class` is not used: it sets attributes on what it was given, hashes keys of any depth by recursion, and
its memo takes as much memory as a file says.

Three containers are known: the zip files and the older streams of `torch.save`, and the plain pickles of NVlabs.
Tensors stay where they are until asked for (`Stored.tensor`), and every size is checked against the bytes there are.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ...format.errors import FevError, LimitError, ModelMismatchError

MAX_FILE = 4 << 30
MAX_STEPS = 2_000_000  # instructions of one pickle
MAX_DEPTH = 32  # modules within modules
MAX_ENTRIES = 100_000  # of a zip file
MAGIC = 0x1950A86A20F9469CFC6C  # first value of an older torch.save stream
MARK = object()


class View(io.RawIOBase):
    """Bytes as a file that never gives or allocates more than there are.  (A BytesIO would copy them.)"""

    def __init__(self, data: memoryview | bytes):
        self.data, self.place = memoryview(data), 0

    def read(self, size: int | None = -1) -> bytes:
        end = len(self.data) if size is None or size < 0 else min(len(self.data), self.place + size)
        part = bytes(self.data[self.place : end])
        self.place += len(part)
        return part

    def readline(self, size: int | None = -1) -> bytes:
        part = bytes(self.data[self.place : self.place + 1024])  # no line of a pickle that is read here is longer
        part = part[: part.find(b"\n") + 1] or part
        self.place += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self.place, len(self.data))[whence]
        self.place = min(max(0, base + offset), len(self.data))
        return self.place

    def tell(self) -> int:
        return self.place

    def seekable(self) -> bool:
        return True


def refuse(why: str) -> NoReturn:
    raise ModelMismatchError(f"the checkpoint is not one that can be read safely: {why}")


@dataclass(frozen=True)
class Kind:
    """What a storage's elements are."""

    dtype: torch.dtype
    size: int


@dataclass
class Storage:
    """Elements of one kind; `load` gives their bytes."""

    kind: Kind
    count: int
    load: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Stored:
    """A tensor that is still in the file.  offset and strides: in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def tensor(self) -> Tensor:
        """A copy of it.  Raises ModelMismatchError where its bytes are not all there."""
        storage = self.storage
        count = 1
        for side in self.shape:
            count *= side
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        if count > storage.count or (count and last >= storage.count):
            refuse("a tensor is larger than its storage")
        if count == 0:
            return torch.zeros(self.shape, dtype=storage.kind.dtype)
        data = storage.load() if storage.load else b""
        if len(data) != storage.count * storage.kind.size:
            refuse("a storage is cut short")
        flat = torch.frombuffer(bytearray(data), dtype=storage.kind.dtype)
        return torch.as_strided(flat, self.shape, self.strides, self.offset).clone()


@dataclass
class Module:
    """A network that was pickled with its source text, which is dropped unread."""

    class_name: str
    state: dict[str, Any]

    def submodule(self, name: str) -> Module | None:
        found = self.state.get("_modules", {}).get(name)
        return found if isinstance(found, Module) else None

    def tensors(self, prefix: str = "", depth: int = 0) -> dict[str, Stored]:
        """What its state dict would be: parameters, buffers that are kept, submodules in order."""
        if depth > MAX_DEPTH:
            refuse("modules are nested too deep")
        passing = self.state.get("_non_persistent_buffers_set") or ()
        out = {}
        for table in ("_parameters", "_buffers"):
            for name, value in _mapping(self.state.get(table, {})).items():
                if isinstance(value, Stored) and not (table == "_buffers" and name in passing):
                    out[f"{prefix}{name}"] = value
        for name, value in _mapping(self.state.get("_modules", {})).items():
            if isinstance(value, Module):
                out |= value.tensors(f"{prefix}{name}.", depth + 1)
        return out


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        refuse("a table of a module is none")
    return value


@dataclass
class NumpyType:
    """A numpy dtype of plain little-endian numbers."""

    code: str

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|"):
            refuse("a numpy type of another byte order")


@dataclass
class Name:
    """A global that the pickle named, and what it stands for here."""

    text: str
    build: Callable[..., Any]


KINDS = {
    f"torch.{name}Storage": Kind(dtype, torch.empty(0, dtype=dtype).element_size())
    for name, dtype in (
        ("Float", torch.float32), ("Double", torch.float64), ("Half", torch.float16), ("BFloat16", torch.bfloat16),
        ("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8),
        ("Byte", torch.uint8), ("Bool", torch.bool),
    )
}  # fmt: skip


def _is_sizes(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= 8 and all(type(v) is int and 0 <= v < 1 << 40 for v in value)


def _tensor(*args: Any) -> Stored:
    storage, offset, shape, strides = args[:4] if len(args) >= 4 else refuse("a tensor of too few parts")
    if not isinstance(storage, Storage) or not all(map(_is_sizes, ((offset,), shape, strides))):
        refuse("a tensor of strange parts")
    if len(shape) != len(strides):
        refuse("a tensor of strange parts")
    return Stored(storage, offset, shape, strides)


def _parameter(*args: Any) -> Stored:
    return args[0] if args and isinstance(args[0], Stored) else refuse("a parameter without a tensor")


def _dict(*args: Any) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for pair in args[0] if args and isinstance(args[0], list) else ():
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            refuse("a dictionary of strange parts")
        out[_key(pair[0])] = pair[1]
    return out


def _set(*args: Any) -> set[Any]:
    return {_key(v) for v in args[0]} if args and isinstance(args[0], list) else set()


def _encode(*args: Any) -> bytes:
    if len(args) != 2 or not isinstance(args[0], str) or args[1] != "latin1":
        refuse("text in a strange encoding")
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError:
        refuse("text in a strange encoding")


def _numpy_type(*args: Any) -> NumpyType:
    if not args or args[0] not in ("f8", "f4", "i8", "i4", "i2", "i1", "u1", "b1"):
        refuse("a numpy type other than plain numbers")
    return NumpyType(args[0])


def _scalar(*args: Any) -> float | int | bool:
    if len(args) != 2 or not isinstance(args[0], NumpyType) or not isinstance(args[1], bytes):
        refuse("a numpy number of strange parts")
    dtype = np.dtype("<" + args[0].code)
    if len(args[1]) != dtype.itemsize:
        refuse("a numpy number of strange parts")
    return np.frombuffer(args[1], dtype)[0].item()


def _module(*args: Any) -> Module:
    meta = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
    name, state = meta.get("class_name"), meta.get("state")
    if meta.get("type") != "class" or not isinstance(name, str) or not isinstance(state, dict):
        refuse("a network of strange parts")
    return Module(name, state)


def _blob(*args: Any) -> Storage:
    if len(args) != 1 or not isinstance(args[0], bytes):
        refuse("a storage of strange parts")
    value = _older(memoryview(args[0]), nested=True)
    return value if isinstance(value, Storage) else refuse("a storage that is none")


BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dict,
    "dnnlib.util.EasyDict": _dict,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "_codecs.encode": _encode,
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": lambda *args: tuple(args[0]) if args and isinstance(args[0], (list, tuple)) else (),
    "torch.storage._load_from_bytes": _blob,
    "torch_utils.persistence._reconstruct_persistent_obj": _module,
}


def _key(value: Any) -> Any:
    """Keys are short: anything that nests is hashed by recursion."""
    if value is not None and type(value) not in (str, int, float, bool, bytes):
        refuse("a dictionary's key is no text or number")
    return value


@dataclass
class Machine:
    """Carries out one pickle.  storage: what a persistent name of a storage stands for.

    Raises ModelMismatchError at the first instruction that is not on the list.
    """

    storage: Callable[[Any], Storage] | None = None
    nested: bool = False
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, stream: View) -> Any:
        try:
            for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
                if count > MAX_STEPS:
                    raise LimitError(f"the checkpoint's pickle has more than {MAX_STEPS} instructions")
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, arg)
        except FevError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ModelMismatchError(f"the checkpoint's pickle is damaged: {error}") from error
        refuse("its pickle has no end")

    def _items(self) -> list[Any]:
        """What lies above the topmost mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                out = self.stack[place + 1 :]
                del self.stack[place:]
                return out
        refuse("a mark is missing")

    def _step(self, name: str, arg: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in VALUES:
            stack.append(VALUES[name](arg))
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[arg] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[arg])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            if len(stack) < count:
                refuse("a value is missing")
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self._items()))
        elif name == "LIST":
            stack.append(self._items())
        elif name == "DICT":
            items = self._items()
            stack.append({})
            self._fill(items)
        elif name == "POP":
            stack.pop()
        elif name == "APPEND":
            value = stack.pop()
            self._top(list).append(value)
        elif name == "APPENDS":
            items = self._items()
            self._top(list).extend(items)
        elif name == "SETITEM":
            items = stack[-2:]
            del stack[-2:]
            self._fill(items)
        elif name == "SETITEMS":
            self._fill(self._items())
        elif name == "ADDITEMS":
            items = self._items()
            self._top(set).update(_key(v) for v in items)
        elif name == "GLOBAL":
            stack.append(self._named(*arg.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            module, attribute = stack[-2:]
            stack[-2:] = [self._named(module, attribute)]
        elif name in ("REDUCE", "NEWOBJ"):
            called, args = stack[-2:]
            if not isinstance(called, Name) or not isinstance(args, tuple):
                refuse("it calls what is no function")
            stack[-2:] = [called.build(*args)]
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], NumpyType):
                stack[-1].build(state)
            elif not isinstance(stack[-1], dict):  # of dictionaries these are attributes, which nobody reads
                refuse("it sets attributes")
        elif name == "BINPERSID":
            if self.storage is None:
                refuse("it refers to something outside")
            stack.append(self.storage(stack.pop()))
        else:
            refuse(f"instruction {name}")

    def _top(self, kind: type) -> Any:
        return self.stack[-1] if type(self.stack[-1]) is kind else refuse("it fills what is no container")

    def _fill(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            refuse("a value is missing")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _named(self, module: Any, attribute: Any) -> Any:
        if not isinstance(module, str) or not isinstance(attribute, str):
            refuse("a name is no text")
        text = f"{module}.{attribute}"
        if text in KINDS:
            return KINDS[text]
        if text not in BUILDERS or (self.nested and text == "torch.storage._load_from_bytes"):
            refuse(f"it calls {text[:80]!r}")
        return Name(text, BUILDERS[text])


VALUES: dict[str, Callable[[Any], Any]] = {
    **{n: lambda arg: arg for n in (
        "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING",
    )},
    "NONE": lambda arg: None,
    "NEWTRUE": lambda arg: True,
    "NEWFALSE": lambda arg: False,
    "EMPTY_LIST": lambda arg: [],
    "EMPTY_DICT": lambda arg: {},
    "EMPTY_TUPLE": lambda arg: (),
    "EMPTY_SET": lambda arg: set(),
}  # fmt: skip


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
        archive = zipfile.ZipFile(View(data))
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

        return Machine(storage).run(View(archive.read(infos[root + "data.pkl"])))
    except FevError:
        raise
    except broken as error:
        raise ModelMismatchError(f"the checkpoint is a damaged zip file: {error}") from error


def _older(data: memoryview, nested: bool = False) -> Any:
    """A stream of torch.save before zip files: magic, version, system, content, keys, then storage by storage."""
    stream = View(data)
    known: dict[str, Storage] = {}
    magic, version, system = (Machine().run(stream) for _ in range(3))
    if magic != MAGIC or version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        refuse("another version of torch.save")
    content = Machine(lambda name: _storage_of(name, known), nested).run(stream)
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

    Raises ModelMismatchError where it asks for more than that or is damaged, LimitError where it is too large.
    """
    view = memoryview(data)
    if len(view) > MAX_FILE:
        raise LimitError(f"the checkpoint is larger than {MAX_FILE >> 30} GiB")
    if bytes(view[:4]) == b"PK\x03\x04":
        return _zipped(view)
    if view[:1] != b"\x80":
        refuse("it is neither a zip file nor a pickle")
    try:
        first = Machine().run(View(view[:64]))
    except (ModelMismatchError, LimitError):
        first = None
    return _older(view) if first == MAGIC else Machine().run(View(view))
