"""Whether a file is whole, as far as its container tells: a recorder that crashed, a download that
stopped.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, BinaryIO

from .scan import own_clock
from .track import Track

MOST_BOXES = 1 << 16
SEGMENT = b"\x18\x53\x80\x67"  # of Matroska and WebM
MOST_PAGE = 66_000  # bytes of an Ogg page
PACKETS = ((188, 0), (192, 4), (204, 0))  # of transport streams: bytes, and where the sync byte stands


def is_cut(file: BinaryIO) -> bool | None:
    """The container promises bytes beyond the end of the file.  None where it makes no promise."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(4096)
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"wide", b"skip", b"sidx"):
        return _boxes_end(file, size) > size
    if head[:4] == b"\x1a\x45\xdf\xa3":
        end = _segment_end(head)
        return end > size if end else None
    if head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little") > size
    if head[:4] == b"OggS":
        return not _has_last_page(file, size)
    if head[:9] == b"YUV4MPEG2":
        frame = _frame_bytes(head)
        return (size - head.find(b"\n") - 1) % frame != 0 if frame else None
    for packet, sync in PACKETS:
        if head[sync::packet][:8] == b"G" * 8:
            return size % packet != 0 or None
    return None


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 ends."""
    at = 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if len(head) < 8 or length == 0:  # the end, or a box that lasts to the end
            return at if not head or length == 0 else at + 8
        at += max(length, 8)
        if at >= size:
            break
    return at


def _has_last_page(file: BinaryIO, size: int) -> bool:
    """An Ogg stream's last page says that it is the last (RFC 3533, 6)."""
    file.seek(max(0, size - MOST_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    return 0 <= at < len(tail) - 5 and bool(tail[at + 5] & 4)


def _frame_bytes(head: bytes) -> int:
    """Bytes of a frame of YUV4MPEG2 with its own line, 0 if not known."""
    words = head.split(b"\n")[0].decode("ascii", "replace").split()[1:]
    said = {w[0]: w[1:] for w in words if w}
    try:
        width, height = int(said["W"]), int(said["H"])
    except (KeyError, ValueError):
        return 0
    if not said.get("C", "420").startswith("420") or said.get("C", "420").startswith("420p"):
        return 0
    return len(b"FRAME\n") + width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)


def _segment_end(head: bytes) -> int:
    """Where a Matroska segment ends; 0 if it does not say, as live recordings do."""
    at = head.find(SEGMENT)
    if at < 0 or at + 5 > len(head) or not head[at + 4]:
        return 0
    width = 9 - head[at + 4].bit_length()
    length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    return 0 if length == (1 << 7 * width) - 1 else at + 4 + width + length


def frames_missing(container: Any, stream: Any, tracks: dict[int, Track], fps: Fraction, cut: bool | None) -> int:
    """How many frames the container promises beyond those that are there; 0 where it promises none.

    Args:
        cut: of `is_cut`.  A whole file lacks nothing, whatever its stated length: subtitles may
            last longer.
    """
    track = tracks[stream.index]
    if "mp4" in container.format.name:
        return sum(1 for e in stream.index_entries if e.pos + e.size > container.size)
    if cut is False:
        return 0
    if stream.frames > track.packets > 0:
        return int(stream.frames - track.packets)
    ends = [t.end for t in tracks.values() if t.end is not None]
    if track.end is None or container.duration is None or not own_clock(container) or track.jumps:
        return 0
    own = _tagged(stream)
    promised = own or Fraction(container.duration, 1_000_000)
    there = track.end if own else max(ends)  # a stream may be shorter than the others
    if promised - there < 2 / fps:  # rounding
        return 0
    return max(0, round((promised - track.end) * fps))


def _tagged(stream: Any) -> Fraction | None:
    """A stream's own length, as Matroska's writers note it: "00:00:01.223000000"."""
    parts = str(stream.metadata.get("DURATION", "")).split(":")
    try:
        hours, minutes, seconds = parts
        return Fraction(int(hours) * 3600 + int(minutes) * 60) + Fraction(seconds)
    except ValueError:
        return None
