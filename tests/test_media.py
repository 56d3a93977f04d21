"""Reading and writing video: time stamps, rotation, colour, sizes and pipes (sound: test_audio.py)."""

from __future__ import annotations

import io
import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import TICK, corner_frame, flat, grey, write_clip
from fev.codec.media.colour import Colour
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.format.errors import MediaError

NTSC = Fraction(30000, 1001)
COLOURS = [(200, 60, 40), (40, 180, 70), (50, 70, 210), (128, 128, 128), (250, 250, 250)]


class Pipe:
    """A sink that can only be written to."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def copy(src, dst, container="mp4", **options):
    """Read all of src and write it to dst; returns the time stamps in seconds and the reader's info."""
    with open_video(src, **options) as reader:
        info, times = reader.info, []
        with VideoWriter(dst, info.width, info.height, info.time_base, info.fps, container=container) as writer:
            for frame in reader:
                writer.write(frame.rgb, frame.pts)
                times.append(frame.pts * info.time_base)
    return times, info


def one_picture(reader):
    """The only picture of a clip."""
    (frame,) = list(reader)
    return frame.rgb


def times_of(src):
    with av.open(src) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 25), list(range(12))),
        (Fraction(1, 30000), [1001 * i for i in range(12)]),
        (Fraction(1001, 30000), list(range(12))),
        (Fraction(1, 90000), [0, 3003, 6006, 9010, 15015, 15020, 90000, 93003, 200000]),
        (Fraction(1, 15360), [507, 1019, 1531, 2555, 3067]),
    ],
    ids=["25", "29.97", "29.97 by ticks of 1001", "variable", "late start"],
)
@pytest.mark.parametrize("container", ["mp4", "fmp4"])
def test_time_stamps_survive_exactly(tmp_path, time_base, pts, container):
    src = tmp_path / "in.mp4"
    rate = NTSC if 1001 in (pts[1], time_base.numerator) else Fraction(25)
    write_clip(src, [(p, grey(20 * i)) for i, p in enumerate(pts)], time_base=time_base, rate=rate)
    expected = times_of(str(src))
    assert len(expected) == len(pts)
    dst = io.BytesIO() if container == "mp4" else Pipe()
    times, info = copy(src, dst, container)
    assert times == expected
    written = io.BytesIO(dst.getvalue() if container == "mp4" else bytes(dst.data))
    assert times_of(written) == expected
    steady = len({b - a for a, b in zip(pts, pts[1:])}) == 1
    with open_video(io.BytesIO(written.getvalue())) as again:
        if steady:
            assert again.info.fps == info.fps == rate
        assert again.info.first_pts * again.info.time_base == expected[0]


def test_duration_and_count_are_those_of_the_source(tmp_path):
    frames = [(1001 * i, grey(i)) for i in range(31)]
    src = write_clip(tmp_path / "in.mp4", frames, time_base=Fraction(1, 30000), rate=NTSC)
    dst = tmp_path / "out.mp4"
    copy(src, dst)
    with open_video(src) as a, open_video(dst) as b:
        assert a.info.frames_hint == b.info.frames_hint == 31
        assert a.info.duration == b.info.duration == Fraction(31 * 1001, 30000)


@pytest.mark.parametrize("start", [None, 0.0, 0.5, 0.75])
def test_part_of_a_clip_begins_at_zero(tmp_path, start):
    options = {"preset": "ultrafast", "qp": "0", "g": "10", "bf": "2"}
    src = write_clip(tmp_path / "in.mp4", [(3000 * i, grey(7 * i)) for i in range(36)], options=options)
    with open_video(src, start, 0.25) as reader:
        got = [(f.pts, int(f.rgb[0, 0, 0])) for f in reader]
    first = round((start or 0) * 30 + 0.4999)
    assert [pts for pts, _ in got] == [3000 * i for i in range(len(got))]
    assert len(got) in (7, 8)
    assert all(abs(level - 7 * (first + i)) <= 1 for i, (_, level) in enumerate(got))
    if start:
        assert reader.info.origin == Fraction(first, 30)


# The display matrices of ISO/IEC 14496-12 for a picture to be shown turned clockwise by 0, 90, 180 and 270 degrees.
ONE = 1 << 16
MATRICES = {
    0: [ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30],
    90: [0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30],
    180: [-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30],
    270: [0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30],
}


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path, clockwise):
    tags = {"colorspace": 1, "color_range": 1}
    src = write_clip(tmp_path / "in.mp4", [(0, corner_frame(96, 64))], tags=tags, matrix=MATRICES[clockwise])
    with open_video(src) as reader:
        info = reader.info
        rgb = one_picture(reader)
    assert (info.width, info.height) == ((96, 64) if clockwise % 180 == 0 else (64, 96))
    assert rgb.shape == (info.height, info.width, 3) and rgb.flags.c_contiguous
    assert info.rotation == (360 - clockwise) % 360
    quarter = [rgb[8, 8], rgb[8, -8], rgb[-8, -8], rgb[-8, 8]]  # clockwise from top left
    names = ["red", "green", "white", "blue"]
    expected = names[-clockwise // 90 :] + names[: -clockwise // 90] if clockwise else names
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    for got, name in zip(quarter, expected, strict=True):
        assert np.abs(got.astype(int) - colours[name]).max() <= 3, (clockwise, name, got)


@pytest.mark.parametrize(
    ("matrix", "tagged", "full", "height"),
    [
        (1, 1, False, 96),
        (6, 6, False, 96),
        (5, 5, False, 96),
        (6, None, False, 96),
        (1, None, False, 720),
        (6, 6, False, 720),
        (1, 1, True, 96),
        (6, None, True, 96),
    ],
    ids=["709", "601", "470bg", "untagged small", "untagged HD", "601 in HD", "709 full", "untagged full"],
)
def test_colour_golden_values(tmp_path, matrix, tagged, full, height):
    tags = {} if tagged is None else {"colorspace": tagged}
    tags |= {"color_range": 2} if full else ({"color_range": 1} if tagged else {})
    frames = [(3000 * i, flat(c, 128, height, matrix, full)) for i, c in enumerate(COLOURS)]
    src = write_clip(tmp_path / "in.mp4", frames, tags=tags)
    with open_video(src) as reader:
        assert reader.info.full_range == full
        assert reader.info.matrix == matrix
        for frame, colour in zip(reader, COLOURS, strict=True):
            assert np.abs(frame.rgb.astype(int) - colour).max() <= 2, colour


def test_ten_bit_source(tmp_path):
    frames = [(0, flat((200, 60, 40), 96, 96, pixel_format="yuv420p10le"))]
    src = write_clip(tmp_path / "in.mp4", frames, tags={"colorspace": 1, "color_range": 1})
    with open_video(src) as reader:
        rgb = one_picture(reader)
    assert rgb.dtype == np.uint8 and np.abs(rgb.astype(int) - (200, 60, 40)).max() <= 1


HDR = [("color_trc", 16, "PQ"), ("color_trc", 18, "HLG"), ("colorspace", 9, "2020")]


@pytest.mark.parametrize(("field", "value", "word"), HDR)
def test_hdr_is_refused_by_name(tmp_path, field, value, word):
    src = write_clip(tmp_path / "hdr.mp4", [(0, grey(100))], tags={"colorspace": 1, "color_range": 1, field: value})
    with pytest.raises(MediaError, match=word):
        open_video(src)


@pytest.mark.parametrize("size", [(97, 131), (98, 131), (97, 130), (64, 64), (256, 144)])
@pytest.mark.parametrize("container", ["mp4", "y4m"])
def test_odd_sizes_keep_their_size_and_colour(size, container):
    width, height = size
    picture = np.broadcast_to(np.array([200, 60, 40], np.uint8), (height, width, 3)).copy()
    out = io.BytesIO()
    with VideoWriter(out, width, height, Fraction(1, 25), Fraction(25), container=container) as writer:
        for i in range(3):
            writer.write(picture, i)
    with open_video(io.BytesIO(out.getvalue())) as reader:
        frames = list(reader)
        assert (reader.info.width, reader.info.height) == size
    assert [f.pts * reader.info.time_base for f in frames] == [Fraction(i, 25) for i in range(3)]
    assert all(np.abs(f.rgb.astype(int) - (200, 60, 40)).max() <= 3 for f in frames)


def test_output_is_tagged_bt709_limited(tmp_path):
    dst = tmp_path / "out.mp4"
    with VideoWriter(dst, 64, 64, Fraction(1, 25), Fraction(25), metadata={"comment": "synthetic face"}) as writer:
        writer.write(np.full((64, 64, 3), 255, np.uint8), 0)
    with av.open(str(dst)) as container:
        assert container.metadata["comment"] == "synthetic face"
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)
        assert abs(int(bytes(frame.planes[0])[0]) - 235) <= 1


def test_full_range_and_601_can_be_written():
    out = io.BytesIO()
    picture = np.broadcast_to(np.array([40, 180, 70], np.uint8), (64, 64, 3)).copy()
    with VideoWriter(out, 64, 64, TICK, Fraction(25), colour=Colour(6, True)) as writer:
        writer.write(picture, 0)
    with open_video(io.BytesIO(out.getvalue())) as reader:
        assert (reader.info.matrix, reader.info.full_range) == (6, True)
        rgb = one_picture(reader)
    assert np.abs(rgb.astype(int) - (40, 180, 70)).max() <= 3


def test_y4m_bytes():
    out = Pipe()
    with VideoWriter(out, 65, 67, Fraction(1, 30000), NTSC, container="y4m") as writer:
        for i in range(2):
            writer.write(np.full((67, 65, 3), 255, np.uint8), 1001 * i)
    head, rest = bytes(out.data).split(b"\n", 1)
    assert head == b"YUV4MPEG2 W65 H67 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED"
    frame = b"FRAME\n" + b"\xeb" * (65 * 67) + b"\x80" * (2 * 33 * 34)
    assert rest == frame * 2


def test_source_may_be_a_pipe(tmp_path):
    src = write_clip(tmp_path / "in.mp4", [(3000 * i, grey(9 * i)) for i in range(10)])
    read, write = os.pipe()

    def feed():
        with os.fdopen(write, "wb") as end:
            end.write(src.read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(read, "rb") as pipe, open_video(pipe) as reader:
        assert [f.pts for f in reader] == [3000 * i for i in range(10)]
    thread.join()


def test_two_readers_share_one_file_object(tmp_path):
    src = write_clip(tmp_path / "in.mp4", [(3000 * i, grey(6 * i)) for i in range(40)])
    with open(src, "rb") as file, open_video(file) as a, open_video(file) as b:
        pairs = list(zip(a, b, strict=True))
        assert len(pairs) == 40 and all(x.pts == y.pts and (x.rgb == y.rgb).all() for x, y in pairs)
        assert not file.closed


def test_a_reader_delivers_once_and_a_writer_checks_its_input(tmp_path):
    src = write_clip(tmp_path / "in.mp4", [(0, grey(9))])
    with open_video(src) as reader:
        list(reader)
        with pytest.raises(RuntimeError):
            list(reader)
    with VideoWriter(io.BytesIO(), 64, 64, TICK, Fraction(25)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8), 5)
        with pytest.raises(ValueError, match="does not come after"):
            writer.write(np.zeros((64, 64, 3), np.uint8), 5)
        with pytest.raises(ValueError, match="expected"):
            writer.write(np.zeros((64, 66, 3), np.uint8), 6)


def test_missing_time_stamps_are_filled_in(tmp_path):
    """A raw H.264 stream has none: frames continue at the nominal rate, strictly increasing."""
    frames = [(i, grey(9 * i)) for i in range(10)]
    rate = Fraction(25)
    src = write_clip(tmp_path / "in.h264", frames, time_base=1 / rate, rate=rate, container="h264")
    with open_video(src) as reader:
        pts = [f.pts for f in reader]
    assert len(pts) == 10 and all(a < b for a, b in zip(pts, pts[1:], strict=False))
