"""Opus packets to samples, gapless and with what was lost left silent; no device is known here."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

from ...codec.media.opus import ogg_stream
from ...format.audio import CLOCK, AudioConfig, AudioPacket

CHANNELS = 2
MOST_SILENCE = 10 * CLOCK  # samples that a gap is filled with; a longer one is a jump of the clock


class OpusSound:
    """Decodes packets to int16 (n, 2) at 48 kHz, each with the tick of its first sample.

    Packets that libopus refuses, and gaps between packets, become silence: the samples' clock never slips.
    """

    def __init__(self, config: AudioConfig):
        head = ogg_stream(config)
        self._extra = head[head.index(b"OpusHead") :][:19]
        self._channels = config.channels
        self.reset()

    def reset(self) -> None:
        """Forget what came before; after a seek."""
        self._codec = av.CodecContext.create("opus", "r")
        self._codec.extradata = self._extra
        layout = "mono" if self._channels == 1 else "stereo"
        self._mixer = av.AudioResampler("s16", layout, CLOCK)
        self._next: int | None = None

    def push(self, packet: AudioPacket) -> Iterator[tuple[int, np.ndarray]]:
        samples = self._decoded(packet)
        if self._next is not None and 0 < packet.pts - self._next <= MOST_SILENCE:
            yield self._next, np.zeros((packet.pts - self._next, CHANNELS), np.int16)
        yield packet.pts, samples
        self._next = packet.pts + len(samples)

    def _decoded(self, packet: AudioPacket) -> np.ndarray:
        parts = []
        try:
            for frame in self._codec.decode(av.Packet(packet.data)):
                frame.pts = None
                parts += [f.to_ndarray().reshape(-1, self._channels) for f in self._mixer.resample(frame)]
        except (av.FFmpegError, ValueError):
            parts = []
        found = np.concatenate(parts) if parts else np.zeros((0, CHANNELS), np.int16)
        found = np.broadcast_to(found, (len(found), CHANNELS))  # one channel on both sides, as loud as it is
        # the first packets lose the encoder's delay; everything is put back on the packets' own clock
        out = np.zeros((packet.duration, CHANNELS), np.int16)
        if len(found):
            out[-min(len(found), len(out)) :] = found[: len(out)]
        return out
