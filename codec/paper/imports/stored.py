"""What a checkpoint is made of: bytes that are read where they lie, storages, tensors and networks.

`pickles` and `checkpoint` make them; every size is checked against the bytes there are.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from ....format.errors import ModelMismatchError

MAX_DEPTH = 32  # modules within modules


class BytesView(io.RawIOBase):
    """Bytes as a file that never gives or allocates more than there are.  (A BytesIO would copy
    them.)
    """

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


KINDS = {
    f"torch.{name}Storage": Kind(dtype, torch.empty(0, dtype=dtype).element_size())
    for name, dtype in (
        ("Float", torch.float32), ("Double", torch.float64), ("Half", torch.float16), ("BFloat16", torch.bfloat16),
        ("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8),
        ("Byte", torch.uint8), ("Bool", torch.bool),
    )
}  # fmt: skip
