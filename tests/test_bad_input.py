"""Every kind of bad media input ends in one MediaError of one line, and nothing else happens."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import fev
import numpy as np
import pytest
from clips import clicks, grey, write_clip
from fev.codec.media.audio import open_audio
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.format.errors import FevError, MediaError


def clip(path, n=40, muxer=None, **more):
    noise = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    frames = [
        (3000 * i, av.VideoFrame.from_ndarray(x, format="rgb24").reformat(format="yuv420p"))
        for i, x in enumerate(noise)
    ]
    return write_clip(path, frames, options={"crf": "30", "preset": "ultrafast"}, muxer=muxer, **more)


def refused(src, *words, start=None, duration=None):
    """Reading `src` to its end raises one MediaError that names the file and holds each of `words`."""
    with pytest.raises(MediaError) as caught, open_video(src, start, duration) as reader:
        for _ in reader:
            pass
    line = str(caught.value)
    assert "\n" not in line and len(line) < 200 and "Errno" not in line, line
    for word in words:
        assert word in line, line
    return line


def test_text_file_named_mp4(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("this is no video\n" * 50)
    refused(path, "text.mp4", "not a video file")


@pytest.mark.parametrize(
    ("start", "word"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1", "a picture (JPEG), not a clip"),
        (b"\x89PNG\r\n\x1a\n", "a picture (PNG), not a clip"),
        (b"RIFF\0\0\1\0WEBPVP8 ", "a picture (WebP), not a clip"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a picture (HEIC), not a clip"),
        (b"%PDF-1.7\n", "PDF document"),
        (b"PK\x03\x04", "archive"),
        (b"\x89FEV\r\n\x1a\n", "a .fev file already"),
        (b"\x7fELF", "not a video file that can be read"),
    ],
)
def test_files_that_are_something_else(tmp_path, start, word):
    path = tmp_path / "thing.mp4"
    path.write_bytes(start + bytes(3000))
    assert "nvalid argument" not in refused(path, "thing.mp4: ", word)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    refused(path, "empty.mp4", "empty")


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / "none.mp4", "none.mp4", "No such file")
    refused(tmp_path, tmp_path.name, "directory")
    refused("nul\0byte.mp4", "cannot be opened")


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_truncated_mp4_with_its_index_at_the_end(tmp_path, keep):
    data = clip(tmp_path / "whole.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path, "cut.mp4", "truncated")


def test_truncated_pipe(tmp_path):
    class Pipe:
        def __init__(self, data):
            self.file = io.BytesIO(data)

        def read(self, n=-1):
            return self.file.read(min(n, 1000) if n >= 0 else n)

    data = clip(tmp_path / "whole.mp4").read_bytes()
    with open_video(Pipe(data)) as reader:
        assert len(list(reader)) == 40
    refused(Pipe(data[:-500]), "input", "truncated")


def test_zero_frames(tmp_path):
    path = tmp_path / "zero.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        out.start_encoding()
    refused(path, "zero.mp4", "no video")


def test_no_frame_in_the_part_asked_for(tmp_path):
    refused(clip(tmp_path / "short.mp4", 5), "no video frame in the part", start=100.0)


def test_audio_only(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        sound = clicks(0.5, [0.1])
        for i in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[i : i + 1024].T), "fltp", "mono")
            frame.sample_rate, frame.pts = 48000, i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    refused(path, "song.mp4", "only audio")


def test_too_small(tmp_path):
    refused(write_clip(tmp_path / "tiny.mp4", [(0, grey(50, 16, 16))]), "16x16", "too small", "64x64")
    refused(write_clip(tmp_path / "flat.mp4", [(0, grey(50, 640, 32))]), "640x32", "too small")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
        "[playlist]\nFile1={}\n",
        ";FFMETADATA1\ntitle={}\n",
        "1\n00:00:00,000 --> 00:00:05,000\n{}\n",
    ],
    ids=["hls", "concat", "pls", "metadata", "subtitles"],
)
def test_text_formats_open_no_other_file(tmp_path, text):
    other = clip(tmp_path / "other.mp4", 5)
    path = tmp_path / "list.mp4"
    path.write_text(text.format(other))
    refused(path, "list.mp4", "not a video file")


def test_urls_are_only_file_names():
    refused("http://127.0.0.1:9/x.mp4", "http://127.0.0.1:9/x.mp4", "is an address", "pipe it in")
    refused("rtsp://camera/1", "rtsp://camera/1", "is an address")
    with pytest.raises(FevError, match="https://a/b.fev: is an address"):
        fev.decode("https://a/b.fev", io.BytesIO())
    refused("concat:a.mp4|b.mp4", "No such file")


def test_name_with_control_characters_stays_on_one_line(tmp_path):
    path = tmp_path / "a\nb\x1b[31m.mp4"
    path.write_bytes(b"junk")
    assert "\x1b" not in refused(path, "not a video file")


def test_source_that_fails_while_it_is_read(tmp_path):
    class Broken(io.BytesIO):
        def read(self, n=-1):
            if self.tell() > 3000:
                raise OSError(5, "Input/output error")
            return super().read(n)

    refused(Broken(clip(tmp_path / "whole.mp4").read_bytes()), "nput/output error")


def test_damaged_bytes_never_leave_the_family(tmp_path):
    data = clip(tmp_path / "whole.mp4", 10, sound=clicks(0.4, [0.1])).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(40):
        bad = bytearray(data)
        for at in rng.integers(len(bad), size=8):
            bad[at] = rng.integers(256)
        try:
            with open_video(io.BytesIO(bad)) as reader:
                sound = open_audio(io.BytesIO(bad), reader.info)
                list(reader)
                if sound:
                    list(sound)
        except FevError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("container", ["mp4", "fmp4", "y4m"])
def test_unwritable_output(tmp_path, container):
    with pytest.raises(MediaError, match="cannot be written"):
        VideoWriter(tmp_path / "no" / "folder.mp4", 64, 64, Fraction(1, 25), Fraction(25), container=container)

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(MediaError, match="No space left"):
        with VideoWriter(Full(), 64, 64, Fraction(1, 25), Fraction(25), container=container) as writer:
            for i in range(60):
                writer.write(np.zeros((64, 64, 3), np.uint8), i)


def test_reader_of_the_pipe_has_gone():
    class Gone:
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    for container in ("fmp4", "y4m"):
        with pytest.raises(BrokenPipeError):
            with VideoWriter(Gone(), 64, 64, Fraction(1, 25), Fraction(25), container=container) as writer:
                for i in range(60):
                    writer.write(np.zeros((64, 64, 3), np.uint8), i)


def test_mp4_into_a_pipe_is_refused():
    class Pipe:
        def write(self, data):
            return len(data)

    with pytest.raises(MediaError, match="fragmented"):
        VideoWriter(Pipe(), 64, 64, Fraction(1, 25), Fraction(25))
