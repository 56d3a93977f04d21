"""Sound: lip sync through Opus, packet copies, holes, parts of a clip."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import clicks, grey, hear, see, write_clip
from fev.codec.media.audio import open_audio
from fev.codec.media.mux import VideoWriter
from fev.codec.media.opus import opus_samples
from fev.codec.media.video import open_video

FLASHES = [0.4, 1.0, 1.6]
FPS = 25
FRAME = 1 / FPS
SYNC = 0.010  # seconds; far below a frame: what Opus and the onset detector need


def flashing(
    path, *, flashes=FLASHES, seconds=2.2, first=0, codec="aac", container="mp4", channels=1, rate=48000, **more
):
    """A clip whose picture turns white for two frames where its sound clicks."""
    frames = []
    for i in range(int(seconds * FPS)):
        white = any(0 <= i / FPS - t < 2 * FRAME for t in flashes)
        frames.append((first + i * 3600, grey(235 if white else 20)))
    sound = clicks(seconds, flashes, rate, channels)
    return write_clip(
        path, frames, rate=Fraction(FPS), container=container, sound=sound, sound_codec=codec, sound_rate=rate, **more
    )


def through(src, container="mp4", start=None, duration=None, **options):
    """The way of a clip through reader and writer; returns the written file, the configuration and the packets."""
    out = io.BytesIO()
    with open_video(src, start, duration) as reader:
        info = reader.info
        sound = open_audio(src, info, **options)
        assert sound is not None
        packets = []
        with (
            sound,
            VideoWriter(out, info.width, info.height, info.time_base, info.fps, sound.config, container) as writer,
        ):
            queue = iter(sound)
            head = next(queue, None)
            for frame in reader:
                writer.write(frame.rgb, frame.pts)
                while head and head.pts <= frame.pts * info.time_base * 48000:
                    writer.write_audio(head)
                    packets.append(head)
                    head = next(queue, None)
            while head:
                writer.write_audio(head)
                packets.append(head)
                head = next(queue, None)
        return io.BytesIO(out.getvalue()), sound.config, packets


def assert_sync(file, seconds):
    """Every flash is seen at its time and heard within SYNC of it."""
    seen, heard = see(file), hear(file)
    assert len(seen) == len(heard) == len(seconds), (seen, heard)
    for s, h, t in zip(seen, heard, seconds, strict=True):
        assert abs(s - t) < 1e-6 and abs(h - s) < SYNC, (seen, heard)


@pytest.mark.parametrize("container", ["mp4", "fmp4"])
@pytest.mark.parametrize(
    ("codec", "channels", "rate"), [("aac", 1, 48000), ("aac", 2, 44100), ("libmp3lame", 1, 22050)]
)
def test_lip_sync_of_encoded_sound(tmp_path, container, codec, channels, rate):
    src = flashing(tmp_path / "in.mp4", codec=codec, channels=channels, rate=rate)
    file, config, packets = through(src, container)
    assert (config.channels, config.sample_rate, config.codec) == (channels, rate, 1)
    assert abs(hear(str(src))[0] - FLASHES[0]) < SYNC, "the test's own clip is out of sync"
    assert_sync(file, FLASHES)
    assert all(b.pts == a.pts + a.duration for a, b in zip(packets, packets[1:], strict=False))
    assert packets[0].pts == config.start - config.pre_skip
    assert all(opus_samples(p.data) == p.duration for p in packets)
    spent = sum(len(p.data) for p in packets) * 8 / 2.2
    assert spent < 20000


def test_clip_whose_clock_does_not_begin_at_zero(tmp_path):
    src = flashing(tmp_path / "in.mp4", first=9000)  # the pictures begin 0.1 s after the sound
    file, _, _ = through(src)
    seen, heard = see(file), hear(file)
    assert [round(s - t, 6) for s, t in zip(seen, FLASHES, strict=True)] == [0.1] * 3
    assert all(abs(h - t) < SYNC for h, t in zip(heard, FLASHES, strict=True))


@pytest.mark.parametrize(("container", "channels"), [("mp4", 2), ("matroska", 1)])
def test_opus_packets_are_copied(tmp_path, container, channels):
    src = flashing(tmp_path / "in.mkv", codec="libopus", container=container, channels=channels)
    with av.open(str(src)) as source:
        original = [bytes(p) for p in source.demux(audio=0) if p.size]
    file, config, packets = through(src)
    assert [p.data for p in packets] == original
    assert config.pre_skip == 312 and config.sample_rate == 48000
    assert abs(config.start) <= 48  # Matroska rounds to a millisecond
    assert_sync(file, FLASHES)
    file.seek(0)
    with av.open(file) as written:
        assert [bytes(p) for p in written.demux(audio=0) if p.size] == original


@pytest.mark.parametrize("codec", ["aac", "libopus"])
@pytest.mark.parametrize("start", [0.52, 0.9])
def test_part_of_a_clip_stays_in_sync(tmp_path, codec, start):
    src = flashing(tmp_path / "in.mp4", codec=codec)
    file, config, packets = through(src, start=start, duration=0.8)
    begin = np.ceil(round(start * FPS, 6)) / FPS
    assert_sync(file, [t - begin for t in FLASHES if begin <= t < begin + 0.8])
    assert config.start == 0
    assert packets[0].pts == -config.pre_skip
    assert packets[-1].pts < 0.8 * 48000


def test_a_hole_in_the_sound_becomes_silence(tmp_path):
    """The sound's clock jumps by half a second in the middle, as after a dropped capture buffer."""
    seconds, jump = 2.2, 48000
    src = write_clip(
        tmp_path / "in.mkv",
        [(i * 3600, grey(20)) for i in range(70)],
        rate=Fraction(FPS),
        container="matroska",
        sound=clicks(seconds, [0.4, 1.4]),
        sound_codec="libopus",
        sound_starts=[(jump, jump + 24000)],
    )
    heard = hear(str(src))
    assert len(heard) == 2 and abs(heard[1] - 1.9) < 0.03
    file, _, packets = through(src)  # copied: the hole stays a hole
    assert np.allclose(hear(file), heard, atol=SYNC)
    assert any(b.pts != a.pts + a.duration for a, b in zip(packets, packets[1:], strict=False))


def test_a_hole_in_encoded_sound(tmp_path):
    src = write_clip(
        tmp_path / "in.mkv",
        [(i * 3600, grey(20)) for i in range(70)],
        rate=Fraction(FPS),
        container="matroska",
        sound=clicks(2.2, [0.4, 1.4]),
        sound_codec="ac3",
        sound_starts=[(48000, 72000)],
    )
    heard = hear(str(src))
    file, _, packets = through(src)
    assert len(heard) == 2 and np.allclose(hear(file), heard, atol=0.02)
    assert all(b.pts == a.pts + a.duration for a, b in zip(packets, packets[1:], strict=False))


def test_silent_film_has_no_audio(tmp_path):
    src = write_clip(tmp_path / "in.mp4", [(0, grey(20))])
    with open_video(src) as reader:
        assert reader.info.sound is None
        assert open_audio(src, reader.info) is None


def test_opus_samples_of_every_configuration():
    sizes = [480, 960, 1920, 2880] * 3 + [480, 960] * 2 + [120, 240, 480, 960] * 4
    for config, size in enumerate(sizes):
        assert opus_samples(bytes([config << 3])) == size
        assert opus_samples(bytes([config << 3 | 1, 0])) == min(2 * size, 5760)
    assert opus_samples(bytes([31 << 3 | 3, 6])) == 5760
    assert opus_samples(bytes([31 << 3 | 3, 7])) == 0  # more than 120 ms
    assert opus_samples(b"") == opus_samples(bytes([3])) == 0
