"""Audio as the container sees it: a configuration in AUDH, packets inside segments.

Opus itself: `codec/media/opus.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LimitError, UnsupportedError, UsageError, check
from .limits import Limits
from .wire import Pack, Take

CODEC_OPUS = 1
CLOCK = 48_000  # packet times are in samples at this rate, whatever the sample rate of the source


@dataclass(frozen=True)
class AudioConfig:
    """Payload of AUDH.

    Args:
        codec: 1 = Opus; no other value is defined.
        channels: 1 or 2.
        sample_rate: of the source, in Hz. Information only: Opus decodes at 48 kHz.
        pre_skip: samples at 48 kHz to drop from the front of the decoded audio.
        bitrate: nominal, in bit/s; 0 = not stated.
        start: presentation time of the first sample after pre-skip, in samples at 48 kHz, against
            video pts 0.
    """

    codec: int = CODEC_OPUS
    channels: int = 1
    sample_rate: int = CLOCK
    pre_skip: int = 312
    bitrate: int = 0
    start: int = 0

    def pack(self) -> bytes:
        data = Pack().fixed(
            "BBIHIq", self.codec, self.channels, self.sample_rate, self.pre_skip, self.bitrate, self.start
        )
        return _same(self, data.bytes())

    @classmethod
    def unpack(cls, data: bytes) -> AudioConfig:
        take = Take(data, "audio configuration")
        codec, channels, rate, pre_skip, bitrate, start = take.fixed("BBIHIq")
        take.end()
        if codec != CODEC_OPUS:
            raise UnsupportedError(f"audio codec {codec} is unknown")
        check(channels in (1, 2), f"audio has {channels} channels, expected 1 or 2")
        check(1 <= rate <= 768_000, f"audio sample rate {rate} is out of range")
        check(abs(start) < 1 << 53, "audio start is out of range")
        return cls(codec, channels, rate, pre_skip, bitrate, start)


def _same(config: AudioConfig, data: bytes) -> bytes:
    """What the reader would refuse, the writer refuses too."""
    try:
        AudioConfig.unpack(data)
    except (ValueError, UnsupportedError) as error:
        raise UsageError(str(error)) from None
    return data


@dataclass(frozen=True)
class AudioPacket:
    """One compressed packet: pts and duration in samples at 48 kHz, and its bytes."""

    pts: int
    duration: int
    data: bytes


def pack_packets(packets: list[AudioPacket], begin: int | None = None) -> bytes:
    """The audio part of a segment: count, first pts, common duration, lengths, bytes. At least one
    packet.

    A common duration of 0 announces that the packets do not simply follow each other: then each has
    a gap and a duration of its own.

    begin: from which the time of the first is counted.
    """
    pack = Pack().varint(len(packets)).signed(packets[0].pts - (begin or 0))
    common = _common_duration(packets)
    pack.varint(common)
    if not common:
        end = packets[0].pts
        for packet in packets:
            pack.signed(packet.pts - end).varint(packet.duration)
            end = packet.pts + packet.duration
    for packet in packets:
        pack.varint(len(packet.data))
    for packet in packets:
        pack.raw(packet.data)
    return pack.bytes()


def _common_duration(packets: list[AudioPacket]) -> int:
    step = packets[0].duration
    steady = all(p.duration == step and p.pts == packets[0].pts + i * step for i, p in enumerate(packets))
    return step if steady else 0


def unpack_packets(take: Take, limits: Limits, begin: int | None = None) -> list[AudioPacket]:
    count = take.varint(limits.max_audio_packets_per_segment, "number of audio packets")
    check(count > 0, "the segment announces audio but has no packet")
    # Each packet needs at least its length byte: a count beyond that is a lie, refused before
    # memory is taken.
    check(count <= take.left(), "more audio packets announced than there are bytes")
    pts = (begin or 0) + take.signed("audio time")
    common = take.varint(1 << 24, "audio duration")
    times = []
    if common:
        times = [(pts + i * common, common) for i in range(count)]
    else:
        end = pts
        for _ in range(count):
            start = end + take.signed("audio gap")
            duration = take.varint(1 << 24, "audio duration")
            check(duration > 0, "an audio packet has no duration")
            times.append((start, duration))
            end = start + duration
    check(abs(times[0][0]) < 1 << 53 and abs(times[-1][0]) < 1 << 53, "audio time is out of range")
    sizes = [take.varint(name="size of an audio packet") for _ in range(count)]
    if sum(sizes) > limits.max_audio_bytes_per_segment:
        raise LimitError(
            f"{sum(sizes)} bytes of audio in one segment, allowed are {limits.max_audio_bytes_per_segment}"
        )
    packets = [AudioPacket(at, long, take.raw(size)) for (at, long), size in zip(times, sizes, strict=True)]
    check(common or not _common_duration(packets), "steady audio times are not written in their short form")
    check(common or packets[0].pts == pts, "the first audio packet has a gap before it")
    return packets
