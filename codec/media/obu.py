"""AV1's open bitstream units (OBU): what the container keeps of a temporal unit as an encoder gives
it.

Left out are the temporal delimiter, the size of the last unit, which the packet's own says, and the
sequence header, which is the same for all segments. AV1 Bitstream & Decoding Process Specification,
sections 5.2 to 5.5.
"""

from __future__ import annotations

from ...format.errors import DamagedError

SEQUENCE_HEADER, TEMPORAL_DELIMITER = 1, 2  # obu_type
_HAS_SIZE, _HAS_EXTENSION = 2, 4  # bits of the first byte
_MAX_SIZE_BYTES = 8


def kind(unit: bytes) -> int:
    """obu_type of a unit."""
    return unit[0] >> 3 & 15


def split(data: bytes) -> list[bytes]:
    """The units of a temporal unit; the last may have no size. Raises DamagedError."""
    units, at = [], 0
    while at < len(data):
        body = at + 1 + bool(data[at] & _HAS_EXTENSION)
        end = len(data)
        if data[at] & _HAS_SIZE:
            size, width = _size(data, body)
            end = body + width + size
        if data[at] & 0x80 or body > len(data) or end > len(data):
            raise DamagedError("a video packet does not consist of AV1's units")
        units.append(data[at:end])
        at = end
    return units


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A size in LEB128, and how many bytes it takes."""
    value = 0
    for i, byte in enumerate(data[at : at + _MAX_SIZE_BYTES]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, i + 1
    raise DamagedError("a video packet does not consist of AV1's units")


def without_size(unit: bytes) -> bytes:
    """A unit as the last of a packet has it."""
    if not unit[0] & _HAS_SIZE:
        return unit
    body = 1 + bool(unit[0] & _HAS_EXTENSION)
    return bytes([unit[0] & ~_HAS_SIZE]) + unit[1:body] + unit[body + _size(unit, body)[1] :]


def packet_of(data: bytes) -> tuple[bytes, bytes]:
    """A temporal unit of an encoder -> its sequence header (b"" = none), and the packet without it.

    Raises:
        DamagedError: if there is nothing else in it.
    """
    units = split(data)
    sequence = b"".join(unit for unit in units if kind(unit) == SEQUENCE_HEADER)
    rest = [unit for unit in units if kind(unit) not in (SEQUENCE_HEADER, TEMPORAL_DELIMITER)]
    if not rest:
        raise DamagedError("a video packet shows no picture")
    return sequence, b"".join(rest[:-1]) + without_size(rest[-1])
