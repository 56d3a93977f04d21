"""The small words all payloads are made of: bounded reads, varints, zigzag, CRC-16. Chunks
themselves: `chunk.py`."""

from __future__ import annotations

import binascii
import struct
from typing import Any

from .errors import DamagedError, LimitError, UsageError

MAX_VARINT_BYTES = 9  # 63 bits: every value fits a signed 64-bit integer


def crc16(data: bytes, seed: int = 0xFFFF) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start value 0xFFFF, not reflected, no final xor."""
    return binascii.crc_hqx(data, seed)


def zigzag(value: int) -> int:
    """0, -1, 1, -2, ... to 0, 1, 2, 3, ..."""
    return (value << 1) if value >= 0 else ((-value << 1) - 1)


def unzigzag(value: int) -> int:
    return -((value + 1) >> 1) if value & 1 else value >> 1


class Pack:
    """Collects a payload. Values out of range are the caller's mistake and raise UsageError."""

    def __init__(self) -> None:
        self.parts = bytearray()

    def fixed(self, code: str, *values: int | bytes) -> Pack:
        """`code` as in struct, little-endian and without padding."""
        try:
            self.parts += struct.pack("<" + code, *values)
        except struct.error as error:
            raise UsageError(f"value out of range: {error}") from None
        return self

    def varint(self, value: int) -> Pack:
        value = int(value)
        if not 0 <= value < 1 << 63:
            raise UsageError(f"{value} does not fit a varint")
        while value > 0x7F:
            self.parts.append(value & 0x7F | 0x80)
            value >>= 7
        self.parts.append(value)
        return self

    def signed(self, value: int) -> Pack:
        return self.varint(zigzag(int(value)))

    def raw(self, data: bytes) -> Pack:
        self.parts += data
        return self

    def bytes(self) -> bytes:
        return bytes(self.parts)


class Take:
    """Reads a payload once from front to back; running out, or leaving bytes over, raises
    DamagedError.

    Offsets in its errors count from the start of the payload.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.at = 0
        self.what = what

    def left(self) -> int:
        return len(self.data) - self.at

    def raw(self, count: int) -> bytes:
        if count < 0 or count > self.left():
            raise DamagedError(f"{self.what} ends {count - self.left()} bytes early")
        self.at += count
        return self.data[self.at - count : self.at]

    def fixed(self, code: str) -> tuple[Any, ...]:
        code = "<" + code
        return struct.unpack(code, self.raw(struct.calcsize(code)))

    def u8(self) -> int:
        return self.raw(1)[0]

    def varint(self, limit: int | None = None, name: str = "value") -> int:
        """One minimal LEB128 integer; above `limit` raises LimitError."""
        value = shift = 0
        for _ in range(MAX_VARINT_BYTES):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if byte == 0 and shift > 7:
                    raise DamagedError(f"{self.what}: {name} is not written in its shortest form")
                if limit is not None and value > limit:
                    raise LimitError(f"{self.what}: {name} is {value}, the limit is {limit}")
                return value
        raise DamagedError(f"{self.what}: {name} is longer than {MAX_VARINT_BYTES} bytes")

    def signed(self, name: str = "value") -> int:
        return unzigzag(self.varint(name=name))

    def rest(self) -> bytes:
        return self.raw(self.left())

    def end(self) -> None:
        if self.left():
            raise DamagedError(f"{self.what} has {self.left()} bytes too many")
