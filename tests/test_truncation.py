"""Files that end too early: what is there comes, and how much is missing is said."""

from __future__ import annotations

import io
import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import clicks, write_clip
from fev.codec.media.audio import open_audio
from fev.codec.media.mux import VideoWriter
from fev.codec.media.notices import Notices
from fev.codec.media.truncation import is_cut
from fev.codec.media.video import open_video
from fev.format.errors import MediaError

COUNT = 40
KINDS = {
    "mp4": {"container": "mp4", "muxer": {"movflags": "faststart"}},
    "fmp4": {"container": "mp4", "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "mkv": {"container": "matroska"},
    "webm": {"container": "webm"},
    "avi": {"container": "avi"},
    "flv": {"container": "flv"},
    "ts": {"container": "mpegts"},
}


def clip(kind, sound=True) -> bytes:
    """Noise, so that every frame takes bytes; a key frame every ten."""
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    frames = [
        (i, av.VideoFrame.from_ndarray(np.ascontiguousarray(x), format="rgb24").reformat(format="yuv420p"))
        for i, x in enumerate(noise)
    ]
    more = dict(KINDS[kind])
    out = io.BytesIO()
    if kind == "webm":
        with av.open(out, "w", format="webm") as container:
            stream = container.add_stream("libvpx-vp9", rate=25, options={"cpu-used": "8", "deadline": "realtime"})
            stream.width = stream.height = 64
            for i, frame in frames:
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return out.getvalue()
    if sound:
        more |= {"sound": clicks(COUNT / 25, [0.4]), "sound_codec": "mp2" if kind != "flv" else "aac"}
        more |= {"sound_rate": 44100} if kind == "flv" else {}
    options = {"crf": "20", "preset": "ultrafast", "g": "10"}
    with tempfile.TemporaryDirectory() as folder:  # an index in front takes a name
        path = Path(folder, "clip")
        write_clip(path, frames, time_base=Fraction(1, 25), rate=Fraction(25), options=options, **more)
        return path.read_bytes()


def seen(data, **options):
    notices = Notices()
    with open_video(io.BytesIO(data), notices=notices, **options) as reader:
        sound = open_audio(io.BytesIO(data), reader.info)
        pictures = [f.rgb for f in reader]
        for _ in sound or ():
            pass
    return pictures, notices.as_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_lacks_nothing(kind):
    pictures, notices = seen(clip(kind))
    assert len(pictures) == COUNT and notices == {}


@pytest.mark.parametrize("keep", [0.45, 0.8])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_of_a_cut_file(kind, keep):
    data = clip(kind)
    whole, _ = seen(data)
    pictures, notices = seen(data[: int(len(data) * keep)])
    assert 0.4 * keep * COUNT < len(pictures) < COUNT
    exact = pictures if kind != "ts" else pictures[:-1]  # what ends in the middle of a picture may be concealed
    assert all((a == b).all() for a, b in zip(exact, whole))
    if kind == "ts":
        assert notices.pop("damaged", 0) <= 1 and notices == {"short": 1}
    elif kind == "fmp4" and "short" in notices:
        assert set(notices) == {"short"}  # the cut lies between two tracks of a fragment
    else:
        said = notices["missing"]
        padding = 4 if kind == "flv" else 0  # it says how long sound and pictures are together
        assert set(notices) == {"missing"} and said <= COUNT - len(pictures) + padding
        assert said >= COUNT - len(pictures) - (20 if kind == "fmp4" else 1)  # fragments that are not begun are unknown


def test_the_part_before_the_cut_lacks_nothing():
    data = clip("mkv", sound=False)
    pictures, notices = seen(data[: int(len(data) * 0.8)], duration=0.4)
    assert len(pictures) == 10 and notices == {}


def test_streams_of_different_lengths_are_whole():
    """Sound that goes on after the last picture is no sign of a cut."""
    out = io.BytesIO()
    frames = [(i, av.VideoFrame(64, 64, "yuv420p")) for i in range(10)]
    for _, frame in frames:
        for plane in frame.planes:
            plane.update(bytes([90]) * plane.buffer_size)
    write_clip(
        out, frames, time_base=Fraction(1, 25), rate=Fraction(25), container="matroska", sound=clicks(3, [0.4]),
        sound_codec="libopus",
    )  # fmt: skip
    pictures, notices = seen(out.getvalue())
    assert len(pictures) == 10 and notices == {}


def test_a_stated_length_that_is_too_long_is_no_cut():
    """A Matroska file whose subtitles last longer than its pictures says so of all of it."""
    data = bytearray(clip("mkv", sound=False))
    at = data.find(b"\x44\x89\x88") + 3  # Duration, eight bytes
    data[at : at + 8] = struct.pack(">d", 60_000.0)
    pictures, notices = seen(bytes(data))
    assert len(pictures) == COUNT and notices == {}


def test_what_an_ogg_stream_and_raw_video_say_of_their_end():
    ogg, raw = io.BytesIO(), io.BytesIO()
    with av.open(ogg, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=48000, layout="mono")
        for i in range(50):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "flt", "mono")
            block.sample_rate, block.pts, block.time_base = 48000, 960 * i, Fraction(1, 48000)
            out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    with VideoWriter(raw, 66, 65, Fraction(1, 25), Fraction(25), container="y4m") as writer:
        for i in range(4):
            writer.write(np.full((65, 66, 3), 90, np.uint8), i)
    for file in (ogg, raw):
        data = file.getvalue()
        assert not is_cut(io.BytesIO(data))
        assert is_cut(io.BytesIO(data[:-50])) and is_cut(io.BytesIO(data[: len(data) * 2 // 3]))
    pictures, notices = seen(raw.getvalue()[:-50])
    assert len(pictures) == 3 and notices == {"short": 1}


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_an_mp4_without_its_index_is_refused(keep):
    out = io.BytesIO()
    frames = [(i, av.VideoFrame(64, 64, "yuv420p")) for i in range(10)]
    data = write_clip(out, frames, time_base=Fraction(1, 25), rate=Fraction(25)).getvalue()
    with pytest.raises(MediaError, match="truncated"):
        seen(data[: int(len(data) * keep)])
