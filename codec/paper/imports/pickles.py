"""Pickles of strangers, read as data.

A pickle is a program.  The standard decoder of its instructions (`pickletools`) reads it here, and
a small machine of our own carries out the few that build numbers, text, containers and tensors;
`BUILDERS` is the list of names that a file may call, and each stands for a function below, never
for the one it names.  The standard unpickler with a restricted `find_class` is not used: it sets
attributes on what it was given, hashes keys of any depth by recursion, and its memo takes as much
memory as a file says.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, cast

import numpy as np

from ....format.errors import FevError, LimitError, ModelMismatchError
from .stored import KINDS, BytesView, Module, Storage, Stored, refuse

MAX_STEPS = 2_000_000  # instructions of one pickle
BLOB = "torch.storage._load_from_bytes"  # a storage as a stream of torch.save within the pickle
MARK = object()


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
    number: float | int | bool = np.frombuffer(args[1], dtype)[0].item()
    return number


def _module(*args: Any) -> Module:
    meta = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
    name, state = meta.get("class_name"), meta.get("state")
    if meta.get("type") != "class" or not isinstance(name, str) or not isinstance(state, dict):
        refuse("a network of strange parts")
    return Module(name, state)


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
    "torch_utils.persistence._reconstruct_persistent_obj": _module,
}


def _key(value: Any) -> Any:
    """Keys are short: anything that nests is hashed by recursion."""
    if value is not None and type(value) not in (str, int, float, bool, bytes):
        refuse("a dictionary's key is no text or number")
    return value


@dataclass
class Machine:
    """Carries out one pickle.

    Args:
        storage: what a persistent name of a storage stands for.
        blob: reads a storage's own stream; without them a pickle that has such is refused.

    Raises:
        ModelMismatchError at the first instruction that is not on the list.
    """

    storage: Callable[[Any], Storage] | None = None
    blob: Callable[[bytes], Any] | None = None
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, stream: BytesView) -> Any:
        try:
            for count, (opcode, arg, _) in enumerate(pickletools.genops(cast("IO[bytes]", stream))):
                if count > MAX_STEPS:
                    raise LimitError(f"the checkpoint's pickle has more than {MAX_STEPS} instructions")
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, arg)
        except FevError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ModelMismatchError(f"the checkpoint's pickle is damaged: {error}") from error
        return refuse("its pickle has no end")

    def _items(self) -> list[Any]:
        """What lies above the topmost mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                out = self.stack[place + 1 :]
                del self.stack[place:]
                return out
        return refuse("a mark is missing")

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

    def _storage_within(self, *args: Any) -> Storage:
        if len(args) != 1 or not isinstance(args[0], bytes) or self.blob is None:
            refuse("a storage of strange parts")
        value = self.blob(args[0])
        return value if isinstance(value, Storage) else refuse("a storage that is none")

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
        if text == BLOB and self.blob is not None:
            return Name(text, self._storage_within)
        if text not in BUILDERS:
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
