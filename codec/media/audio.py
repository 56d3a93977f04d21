"""Reading sound: Opus packets at 48 kHz on the clock of the pictures, copied where possible, else
encoded.

Pictures are read by `fev.codec.media.video`; `fev.codec.media.mux` writes the packets back.  The
value types live in `fev.format.audio`.

The clock is that of the delivered pictures, in ticks of 1/48000 s: a packet with pts p sounds with
a picture whose pts times time_base is p / 48000.  A packet's pts is the time of its first decoded
sample.  The first `pre_skip` samples of the first packet are for the decoder to warm up and are not
heard, so `start`, the time of the first heard sample, is the first packet's pts plus pre_skip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ...format.audio import CLOCK, CODEC_OPUS, AudioConfig, AudioPacket
from ...format.errors import MediaError
from .opus import can_copy, opus_samples
from .source import MediaSource, name_of, open_container, rereadable, translated
from .track import Track
from .videoinfo import VideoInfo

RATE = CLOCK
FRAME = 2880  # samples an encoded packet: 60 ms, the fewest bytes of overhead Opus allows
WARM_UP = 3840  # samples decoded and dropped when a copy begins inside a stream (RFC 7845, section 4.6: 80 ms)
GAP = RATE // 50  # a jump of the time stamps beyond this many samples is a real hole, below it is rounding
OVERLAP = RATE // 5  # samples that a jump of the clock may repeat (`clock.OVERLAP` and a packet)
MAX_GAP = 600 * RATE  # a hole longer than ten minutes is a damaged time stamp
DEFAULT_BITRATE = 16000  # bit/s, for speech


def open_audio(
    src: MediaSource, info: VideoInfo, *, bitrate: int = DEFAULT_BITRATE, voice: bool = True
) -> AudioReader | None:
    """Open the audio stream that goes with the video described by `info`, on its clock.

    Args:
        src: path or binary file object; may be the very object an open VideoReader is reading.
        info: of the open video; gives the stream, the clock and the part that is wanted.
        bitrate: bit/s when sound is encoded; a source that is Opus already is copied as it is.
        voice: tune the encoder for speech instead of general sound.

    Returns:
        The open reader; None if there is no sound in the wanted part.

    Raises:
        MediaError.
    """
    if info.sound is None:
        return None
    reader = AudioReader(src, info, info.sound, bitrate, voice)
    if reader.empty:
        reader.close()
        return None
    return reader


class AudioReader:
    """Opus packets in order: `config` first, then iterate once for AudioPacket(pts, duration,
    data).

    Holds a few packets in memory, whatever the length of the clip.
    """

    def __init__(self, src: MediaSource, info: VideoInfo, track: Track, bitrate: int, voice: bool):
        self.name = name_of(src)
        self._stack = ExitStack()
        try:
            file = self._stack.enter_context(rereadable(src))
            self._container, self._view = open_container(file, self.name)
            self._stack.enter_context(self._container)
            self._track = track
            # the stubs know streams in general alone
            self._stream = cast(Any, self._container.streams[track.index])
            context = self._stream.codec_context
            if context is None:
                raise MediaError(f"{self.name}: no decoder for its audio codec; use --no-audio")
            self._origin = info.origin
            self._begin = _ticks(info.start_time) if info.trimmed else None
            self._end = None if info.end_time is None else _ticks(info.end_time)
            if info.trimmed and not track.jumps:
                # 0.2 s early: room for the decoder's warm-up and for containers that seek a little
                # late.
                begin = self._origin + info.start_time - Fraction(1, 5)
                if begin > (track.first or 0):
                    with translated(self.name, "cannot be positioned"):
                        self._container.seek(int(begin * av.time_base))
            head = bytes(context.extradata or b"")
            if context.codec.canonical_name == "opus" and can_copy(head):
                packets, channels, rate = self._copy(head), head[9], min(int(self._stream.bit_rate or 0), 0xFFFFFFFF)
            else:
                channels, rate = min(context.channels, 2), bitrate
                packets = self._encode(channels, bitrate, voice)
            self._packets = packets
            first = next(packets, None)
            self.empty = first is None
            if first is None:
                return
            self._first = first
            self.config = AudioConfig(
                codec=CODEC_OPUS,
                channels=channels,
                sample_rate=context.sample_rate,
                pre_skip=self._pre_skip,
                bitrate=rate,
                start=first.pts + self._pre_skip,
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[AudioPacket]:
        yield self._first
        yield from self._packets

    def _copy(self, head: bytes) -> Iterator[AudioPacket]:
        """Packets as they are; pts from the running sample count, since WebM rounds its own to
        milliseconds.
        """
        self._pre_skip = int.from_bytes(head[10:12], "little")
        base = self._stream.time_base
        clock: int | None = None
        early: deque[AudioPacket] = deque()
        jumps = {number for number, _ in self._track.jumps}
        exact = False  # after a jump of the clock the next packet says where it is, to the sample
        for number, packet in enumerate(self._demux()):
            exact |= number in jumps
            data, duration = bytes(packet), opus_samples(bytes(packet))
            if not duration:
                continue
            if packet.pts is not None:
                stated = _ticks(packet.pts * base - self._origin)
                if clock is not None and exact and 0 < clock - stated < OVERLAP:
                    continue  # where two recordings meet, the second begins before the first has ended
                if clock is None or exact or abs(stated - clock) > GAP:
                    clock = stated
                exact = False
            pts = clock = clock or 0
            clock += duration
            if self._end is not None and pts >= self._end:
                return
            out = AudioPacket(pts, duration, data)
            if self._begin is None:
                yield out
                continue
            early.append(out)
            if clock <= self._begin:
                while len(early) > 1 and early[1].pts <= self._begin - WARM_UP:
                    early.popleft()
                continue
            # The part asked for begins inside this packet: what comes before it is warm-up.
            self._pre_skip = max(0, min(self._begin - early[0].pts, 65535)) or self._pre_skip
            self._begin = None
            yield from early
            early.clear()

    def _encode(self, channels: int, bitrate: int, voice: bool) -> Iterator[AudioPacket]:
        layout = "mono" if channels == 1 else "stereo"
        encoder = av.CodecContext.create("libopus", "w")
        encoder.sample_rate, encoder.format, encoder.layout = RATE, "s16", layout
        encoder.bit_rate, encoder.time_base = bitrate, Fraction(1, RATE)
        encoder.options = {
            "application": "voip" if voice else "audio",
            "frame_duration": str(FRAME * 1000 // RATE),
            "compression_level": "10",
        }
        with translated(self.name, "sound cannot be encoded"):
            encoder.open()
        self._pre_skip = int.from_bytes(bytes(encoder.extradata or b"")[10:12], "little") or 312
        fifo = np.zeros((0, channels), np.int16)
        start: int | None = None  # time of the first sample that went into the fifo
        fed = sent = 0  # samples given to the encoder, packets that came back

        def push(samples: np.ndarray) -> list[AudioPacket]:
            nonlocal fifo, fed, sent
            fifo = np.concatenate([fifo, samples])
            out = []
            while len(fifo) >= FRAME:
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(fifo[:FRAME]).reshape(1, -1), "s16", layout)
                frame.sample_rate, frame.pts, frame.time_base = RATE, fed, Fraction(1, RATE)
                fifo, fed = fifo[FRAME:], fed + FRAME
                out += encoder.encode(frame)
            return [wrap(p) for p in out]

        def wrap(packet: Any) -> AudioPacket:
            nonlocal sent
            sent += 1
            return AudioPacket((start or 0) - self._pre_skip + (sent - 1) * FRAME, FRAME, bytes(packet))

        for pts, samples in self._samples(layout, channels):
            if start is None:
                start = pts
            hole = pts - (start + fed + len(fifo))
            while hole > 0:  # silence, a second at a time
                silence = min(hole, RATE)
                yield from push(np.zeros((silence, channels), np.int16))
                hole -= silence
            yield from push(samples[-hole:] if hole < 0 else samples)
        if start is None:
            return
        # The last sample leaves the decoder pre_skip later than it went in.
        total = fed + len(fifo) + self._pre_skip
        yield from push(np.zeros((-total % FRAME + self._pre_skip, channels), np.int16))
        for packet in encoder.encode(None):
            if sent * FRAME < total:
                yield wrap(packet)

    def _samples(self, layout: str, channels: int) -> Iterator[tuple[int, np.ndarray]]:
        """(time in ticks, int16 (n, channels)) of the wanted part, without holes up to rounding."""
        resampler = av.AudioResampler(format="s16", layout=layout, rate=RATE)
        base = self._stream.time_base or Fraction(1, RATE)
        clock: int | None = None
        pending = 0  # ticks given to the resampler that did not come out yet

        def cut(pts: int, samples: np.ndarray) -> tuple[int, np.ndarray]:
            if self._begin is not None and pts < self._begin:
                skip = min(self._begin - pts, len(samples))
                pts, samples = pts + skip, samples[skip:]
            if self._end is not None:
                samples = samples[: max(0, self._end - pts)]
            return pts, samples

        for frame in self._frames():
            if frame is not None and frame.pts is not None:
                stated = _ticks(frame.pts * (frame.time_base or base) - self._origin)
                if clock is None:
                    clock = stated
                elif GAP < abs(stated - clock - pending) < MAX_GAP:
                    clock = stated - pending
                if self._end is not None and stated >= self._end:
                    frame = None
            if frame is not None:
                pending += frame.samples * RATE // (frame.sample_rate or RATE)
            with translated(self.name, "sound cannot be converted"):
                converted = resampler.resample(frame)
            for out in converted:
                samples = out.to_ndarray().reshape(-1, channels)
                clock = clock or 0
                pending = max(0, pending - len(samples))
                pts, wanted = cut(clock, samples)
                clock += len(samples)
                if len(wanted):
                    yield pts, wanted
            if frame is None:
                return

    def _frames(self) -> Iterator[av.AudioFrame | None]:
        """Decoded frames, then None.  A damaged packet is a hole in the sound, not the end of it."""
        for packet in self._demux():
            try:
                yield from packet.decode()
            except (av.FFmpegError, ValueError):
                continue
        yield None

    def _demux(self) -> Iterator[Any]:
        """Packets until the end of a file, or until it is cut: how much is missing is said of the
        pictures.
        """
        with translated(self.name, "sound cannot be read"):
            try:
                for packet in self._track.repaired(self._container.demux(self._stream)):
                    self._view.check()
                    if packet.size:
                        yield packet
            except (av.InvalidDataError, av.EOFError):
                self._view.check()


def _ticks(seconds: Fraction) -> int:
    ticks: int = round(seconds * RATE)
    return ticks


class Sound:
    """Hands out the audio packets of a stretch of time, in order.

    Args:
        config: None where there is no sound.
    """

    def __init__(self, config: AudioConfig | None, packets: Iterable[AudioPacket]):
        self.config = config
        self._packets = iter(packets)
        self._next = next(self._packets, None)

    def until(self, seconds: Fraction | None) -> list[AudioPacket]:
        """Packets that begin before `seconds` on the clock of the pts; None for all that is left."""
        out: list[AudioPacket] = []
        while self._next is not None and (seconds is None or self._next.pts < seconds * 48_000):
            out.append(self._next)
            self._next = next(self._packets, None)
        return out
