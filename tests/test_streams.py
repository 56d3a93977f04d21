"""Several streams in a file: the flagged one, else the longest, never a cover; or the one asked for."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import fev
import numpy as np
import pytest
from av.stream import Disposition
from clips import clicks, grey, hear
from fev.codec.media.audio import open_audio
from fev.codec.media.mux import VideoWriter
from fev.codec.media.notices import Notices
from fev.codec.media.streams import StreamChoice
from fev.codec.media.video import open_video
from fev.format.errors import MediaError, UsageError

NONE, DEFAULT, COVER = Disposition(0), Disposition.default, Disposition.attached_pic


def film(path, videos, sounds=()):
    """videos: (grey level, frames, disposition) each, the level rising by the frame; sounds: (click, seconds,
    disposition) each."""
    with av.open(str(path), "w", format="mp4" if path.suffix == ".mp4" else "matroska") as out:
        streams = []
        for level, count, marks in videos:
            codec, pixels = ("mjpeg", "yuvj420p") if marks == COVER else ("libx264", "yuv420p")
            stream = out.add_stream(codec, rate=25, options={"qp": "0", "preset": "ultrafast"})
            stream.width = stream.height = 64
            stream.pix_fmt = pixels
            stream.disposition = marks
            streams.append((stream, level, count))
        heard = []
        for at, seconds, marks in sounds:
            stream = out.add_stream("libopus", rate=48000, layout="mono")
            stream.disposition = marks
            heard.append((stream, clicks(seconds, [at])))
        for stream, level, count in streams:
            for i in range(count):
                frame = grey(level + i).reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = i, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        for stream, sound in heard:
            for i in range(0, len(sound), 960):
                block = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[i : i + 960].T), "flt", "mono")
                block.sample_rate, block.pts, block.time_base = 48000, i, Fraction(1, 48000)
                out.mux(stream.encode(block))
            out.mux(stream.encode(None))
    return path


def levels(path, which=None):
    notices = Notices()
    with open_video(path, which=which, notices=notices) as reader:
        return [int(f.rgb[0, 0, 0]) for f in reader], notices.as_dict()


@pytest.mark.parametrize(
    ("videos", "expected", "others"),
    [
        ([(20, 1, NONE), (100, 9, DEFAULT)], 100, 0),
        ([(20, 1, DEFAULT), (100, 9, DEFAULT)], 100, 0),
        ([(20, 1, DEFAULT), (100, 9, NONE)], 100, 0),
        ([(20, 5, NONE), (100, 9, NONE)], 100, 1),
        ([(20, 20, NONE), (100, 9, DEFAULT)], 100, 1),
        ([(100, 9, NONE), (20, 9, NONE)], 100, 1),
        ([(100, 1, NONE)], 100, 0),
    ],
)
def test_the_talk_is_found(tmp_path, videos, expected, others):
    seen, notices = levels(film(tmp_path / "in.mkv", videos))
    count = next(n for level, n, _ in videos if level == expected)
    assert len(seen) == count and abs(seen[0] - expected) <= 1
    assert notices == ({"other_videos": others} if others else {})


def test_a_stream_asked_for(tmp_path):
    path = film(tmp_path / "in.mkv", [(20, 5, NONE), (100, 9, DEFAULT), (60, 3, NONE)])
    seen, notices = levels(path, StreamChoice(video=0))
    assert len(seen) == 5 and abs(seen[0] - 20) <= 1 and not notices
    with pytest.raises(UsageError, match=r"in\.mkv: has no video stream 3; they are numbered 0 to 2"):
        levels(path, StreamChoice(video=3))
    with pytest.raises(UsageError, match=r"no audio stream at all"):
        levels(path, StreamChoice(sound=0))


def test_the_encoder_takes_the_stream_asked_for(tmp_path):
    path = film(tmp_path / "in.mkv", [(20, 5, NONE), (100, 9, DEFAULT)])
    for options, count in (({}, 9), ({"stream": 0}, 5)):
        with pytest.raises(MediaError, match=f"no face found in any of {count} frames"):
            fev.encode(path, io.BytesIO(), preset="fast", **options)
    for wrong in ({"stream": 2}, {"stream": -1}, {"audio_stream": 0}, {"audio_stream": 0, "audio": False}):
        with pytest.raises(UsageError):
            fev.encode(path, io.BytesIO(), preset="fast", **wrong)


def test_covers_are_no_clips(tmp_path):
    path = film(tmp_path / "in.mp4", [(20, 1, COVER), (100, 2, NONE)])
    seen, notices = levels(path)
    assert len(seen) == 2 and not notices
    with av.open(str(path)) as container:
        cover = next(i for i, s in enumerate(container.streams.video) if s.disposition & COVER)
    with pytest.raises(UsageError, match=f"video stream {cover} is a cover picture"):
        levels(path, StreamChoice(video=cover))
    song = film(tmp_path / "song.mp4", [(20, 1, COVER)], [(0.2, 1, DEFAULT)])
    with pytest.raises(MediaError, match="only audio: a video stream is needed"):
        levels(song)


@pytest.mark.parametrize(
    ("sounds", "want", "expected"),
    [
        ([(0.2, 1, NONE), (0.5, 1, DEFAULT)], None, 0.5),
        ([(0.2, 0.4, NONE), (0.5, 1, NONE)], None, 0.5),
        ([(0.2, 1, NONE), (0.5, 1, DEFAULT)], 0, 0.2),
    ],
)
def test_the_sound_is_found(tmp_path, sounds, want, expected):
    path = film(tmp_path / "in.mkv", [(20, 25, DEFAULT)], sounds)
    notices = Notices()
    with open_video(path, which=StreamChoice(sound=want), notices=notices) as reader:
        info = reader.info
        sound = open_audio(path, info)
        with sound, VideoWriter(tmp_path / "o.mp4", 64, 64, info.time_base, info.fps, sound.config) as out:
            for frame in reader:
                out.write(frame.rgb, frame.pts)
            for packet in sound:
                out.write_audio(packet)
    assert hear(str(tmp_path / "o.mp4")) == pytest.approx([expected], abs=0.02)
    assert notices["other_sounds"] == (1 if want is None else 0)
