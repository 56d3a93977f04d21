"""A small `.fev` stream with motion and sound, made by arithmetic for any model of 35 parameters and 64 pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
from fev.codec.draw.units import step_code
from fev.format.actor import Actor
from fev.format.audio import AudioConfig, AudioPacket
from fev.format.container import Writer
from fev.format.header import Header
from fev.format.segment import Segment

RATE, LENGTH = 25, 40  # frames a second; 1.6 seconds


def packets(seconds: float) -> list[AudioPacket]:
    """A tone of 1 kHz as Opus, 20 ms a packet; the first sample after the encoder's delay is at tick 0."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout, encoder.bit_rate = 48_000, "s16", "mono", 32_000
    encoder.time_base = Fraction(1, 48_000)
    encoder.open()
    out = []
    for k in range(round(50 * seconds)):
        tone = 12_000 * np.sin(2 * np.pi * 1000 * (960 * k + np.arange(960)) / 48_000)
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * k, Fraction(1, 48_000)
        out += encoder.encode(frame)
    return [AudioPacket(960 * k - 312, 960, bytes(p)) for k, p in enumerate(out)]


def film_of(model_sha256: str, segment: int = 10, begin: int = 0) -> bytes:
    """Segments of `segment` frames, ten unless told otherwise, whose motion jumps at every frame, with sound.

    begin: pts of the first frame.
    """
    header = Header(
        64, 64, (1, RATE), (RATE, 1), bytes.fromhex(model_sha256), 35, crop=True,
        segment_frames=segment, has_audio=True,
    )  # fmt: skip
    rng, out, sound = np.random.default_rng(0), io.BytesIO(), packets(LENGTH / RATE)
    config = AudioConfig(channels=1, pre_skip=312)
    actor = Actor.of(np.array([3, -2, 1], np.int32), step_code(0.5), step_code(0.25))
    with Writer(out, header, actors=[actor], audio=config) as writer:
        for i in range(0, LENGTH, segment):
            here = [
                replace(p, pts=p.pts + 1920 * begin) for p in sound if i * 1920 <= max(0, p.pts) < (i + segment) * 1920
            ]
            motion = rng.integers(-6, 7, (segment, 35)).astype(np.int32)
            writer.write_segment(Segment.single(i // segment, i, np.arange(i, i + segment) + begin, motion, audio=here))
    return out.getvalue()
