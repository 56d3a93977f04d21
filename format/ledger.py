"""Whose bytes are they: every byte written or read goes to one section. `fev-info` and the reports
print this."""

from __future__ import annotations

from collections.abc import Mapping

from .chunk import FRAME_BYTES

SECTIONS = (
    "header",
    "identity",
    "delta",
    "modes",
    "motion",
    "placement",
    "camera",
    "set",
    "patches",
    "video",
    "audio",
    "index",
    "overhead",
)
# The payload of a chunk belongs to one section, its framing is overhead. Actors and segments are
# split up by their parsers.
SECTION_OF_CHUNK = {
    "HEAD": "header",
    "meta": "header",
    "AUDH": "audio",
    "ACTR": "identity",
    "SETT": "set",
    "VIDH": "video",
    "indx": "index",
    "FEND": "index",
}


class Ledger:
    """Bytes per section. Unknown chunks, and bytes between chunks in a damaged stream, are
    overhead."""

    def __init__(self) -> None:
        self._bytes = dict.fromkeys(SECTIONS, 0)

    def chunk(self, name: str, payload: int, sizes: Mapping[str, int] | None = None) -> None:
        """Books one whole chunk; `sizes` says what parts of it belong to whom, the rest is
        overhead."""
        self._bytes["overhead"] += FRAME_BYTES
        if sizes is None:
            self._bytes[SECTION_OF_CHUNK.get(name, "overhead")] += payload
            return
        for section, size in sizes.items():
            self._bytes[section] += size
        self._bytes["overhead"] += payload - sum(sizes.values())

    def part(self, size: int, sizes: Mapping[str, int] | None = None) -> None:
        """Books one whole part of a segment of so many bytes."""
        for section, own in (sizes or {}).items():
            self._bytes[section] += own
        self._bytes["overhead"] += size - sum((sizes or {}).values())

    def add(self, section: str, size: int) -> None:
        self._bytes[section] += size

    def sections(self) -> dict[str, int]:
        return dict(self._bytes)
