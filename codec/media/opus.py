"""Opus as bytes: what its headers say, without decoding.

`fev.codec.media.audio` reads and encodes Opus with it, `fev.codec.media.mux` writes it into MP4.
"""

from __future__ import annotations

from ...format.audio import CLOCK, AudioConfig


def opus_samples(packet: bytes) -> int:
    """Samples at 48 kHz that an Opus packet decodes to, by its first bytes (RFC 6716, 3.1); 0 if
    malformed.
    """
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:  # SILK
        size = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:  # hybrid
        size = (480, 960)[config & 1]
    else:  # CELT
        size = (120, 240, 480, 960)[config & 3]
    if code == 3 and len(packet) < 2:
        return 0
    total = size * (1, 2, 2, packet[1] & 63 if code == 3 else 0)[code]
    return total if total <= 5760 else 0


def can_copy(head: bytes) -> bool:
    """An Opus header (RFC 7845, section 5.1) that a .fev file can carry: mono or stereo, no gain,
    plain mapping.
    """
    return len(head) >= 19 and head[:8] == b"OpusHead" and head[9] in (1, 2) and head[16:19] == b"\0\0\0"


def ogg_stream(audio: AudioConfig) -> bytes:
    """The shortest Ogg Opus stream (RFC 7845): PyAV takes a track's parameters from a stream, not
    from bytes.
    """
    head = b"OpusHead\x01" + bytes([audio.channels]) + audio.pre_skip.to_bytes(2, "little")
    head += CLOCK.to_bytes(4, "little") + b"\0\0\0"
    tags = b"OpusTags" + bytes(4) + bytes(4)
    silence = b"\xf8\xff\xfe"  # one packet is needed before FFmpeg believes the headers
    return _ogg_page(head, 2, 0) + _ogg_page(tags, 0, 1) + _ogg_page(silence, 4, 2)


def _ogg_page(body: bytes, flags: int, number: int) -> bytes:
    page = b"OggS\0" + bytes([flags]) + bytes(8) + (1).to_bytes(4, "little") + number.to_bytes(4, "little")
    page += bytes(4) + bytes([1, len(body)]) + body
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return page[:22] + crc.to_bytes(4, "little") + page[26:]
