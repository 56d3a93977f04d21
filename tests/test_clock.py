"""Time stamps that jump, run over or begin anywhere: the whole talk comes, picture and sound together."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import fev
import pytest
from clips import clicks, grey, hear, see, write_clip
from fev.codec.media.audio import open_audio
from fev.codec.media.clock import Clocks
from fev.codec.media.mux import VideoWriter
from fev.codec.media.notices import Notices
from fev.codec.media.scan import tracks_of
from fev.codec.media.source import SharedView, open_container
from fev.codec.media.video import open_video
from films import film_of

FPS = 25
TURN = 2**33  # where a transport stream's counter of 90 kHz runs over
PART = 1.2  # seconds


def part(begin=0, codec="mp2", container="mpegts", seconds=PART, flash=0.4, sound=True) -> bytes:
    """A second of a talk whose picture flashes where its sound clicks.  begin: ticks of 90 kHz."""
    frames = []
    for i in range(round(seconds * FPS)):
        white = 0 <= i / FPS - flash < 2 / FPS
        frames.append((begin + i * 3600, grey(235 if white else 20)))
    late = {"sound_starts": [(0, begin * 8 // 15)]}
    out = io.BytesIO()
    write_clip(
        out, frames, rate=Fraction(FPS), container=container,
        options={"qp": "0", "preset": "ultrafast", "bf": "2"}, **(late | {
            "sound": clicks(seconds, [flash], 48000, 1), "sound_codec": codec, "sound_rate": 48000,
        } if sound else {}),
    )  # fmt: skip
    return out.getvalue()


def through(data, **options):
    """A file through reader and writer -> the MP4, what was said, info, pts in seconds."""
    out, notices = io.BytesIO(), Notices()
    src = io.BytesIO(data)
    with open_video(src, notices=notices, **options) as reader:
        info = reader.info
        sound = open_audio(src, info)
        config = sound.config if sound else None
        with VideoWriter(out, info.width, info.height, info.time_base, info.fps, config) as writer:
            times = []
            for frame in reader:
                writer.write(frame.rgb, frame.pts)
                times.append(frame.pts * info.time_base)
            for packet in sound or ():
                writer.write_audio(packet)
    return io.BytesIO(out.getvalue()), notices.as_dict(), info, times


@pytest.mark.parametrize("codec", ["mp2", "libopus"])
@pytest.mark.parametrize("second", [0, 90000 * 500, 90000 * 5000, 90000 * 12], ids=["back", "ahead", "far", "near"])
def test_two_streams_end_to_end(second, codec):
    first = 90000 * 5 if second == 0 else 0
    file, notices, info, times = through(part(first, codec) + part(second, codec))
    assert notices == {"jumps": 1}
    assert len(times) == 60 and info.frames_hint == 60 and float(info.duration) == pytest.approx(2.4, abs=0.001)
    assert {round(float(b - a), 6) for a, b in zip(times, times[1:])} == {0.04}
    seen, heard = see(file), hear(file)
    assert [b - seen[0] for b in seen] == pytest.approx([0, 1.2], abs=0.001)
    assert heard == pytest.approx(seen, abs=0.012)


def test_fragmented_mp4_end_to_end(tmp_path):
    options = {
        "muxer": {"movflags": "frag_keyframe+empty_moov"},
        "options": {"qp": "0", "preset": "veryfast", "g": "10"},
    }
    frames = [(3600 * i, grey(20 + 5 * i)) for i in range(30)]
    data = write_clip(tmp_path / "part.mp4", frames, rate=Fraction(FPS), **options).read_bytes()
    _, notices, _, times = through(data + data)
    assert notices == {"jumps": 1} and len(times) == 60
    assert {round(float(b - a), 6) for a, b in zip(times, times[1:])} == {0.04}


def test_three_parts_and_no_sound():
    parts = part(90000 * 50, sound=False) + part(0, sound=False) + part(90000 * 70, sound=False)
    file, notices, _, times = through(parts)
    assert notices == {"jumps": 2} and len(times) == 90
    assert [b - see(file)[0] for b in see(file)] == pytest.approx([0, 1.2, 2.4], abs=0.001)


@pytest.mark.parametrize("start", [0.2, 1.3])
def test_a_part_of_a_file_whose_clock_jumps(start):
    file, _, _, times = through(part() + part(), start=start, duration=1.0)
    assert times[0] == 0 and len(times) == 25
    flash = 0.4 - start if start < 0.4 else 1.6 - start
    assert see(file) == pytest.approx([flash], abs=0.021)
    assert hear(file) == pytest.approx(see(file), abs=0.012)


@pytest.mark.parametrize(
    "begin", [TURN - 90000, TURN - 45000, 90000 * 30000, 0], ids=["runs over", "at once", "large", "0"]
)
def test_a_clock_that_begins_anywhere(begin):
    """The copy begins at 0 and shows every picture: an edit list hides none, and none makes a player wait for hours."""
    file, notices, info, times = through(part(begin))
    assert notices == {} and len(times) == 30
    assert 0 <= times[0] < 0.1
    seen = see(file)
    assert seen == pytest.approx([float(times[0]) + 0.4], abs=0.001)
    assert hear(file) == pytest.approx(seen, abs=0.012)


@pytest.mark.parametrize("begin", [TURN - 135000, TURN - 45000, 0])
def test_a_part_of_a_transport_stream(begin):
    file, _, _, times = through(part(begin, seconds=2, flash=1.2), start=1.0, duration=0.6)
    assert times[0] == 0 and len(times) == 15
    assert see(file) == pytest.approx([0.2], abs=0.001) and hear(file) == pytest.approx([0.2], abs=0.012)


def test_a_matroska_file_that_begins_before_nothing(tmp_path):
    frames = [(900_000 * 90 + i * 3600, grey(20 + 5 * i)) for i in range(10)]
    src = write_clip(tmp_path / "late.mkv", frames, rate=Fraction(FPS), container="matroska")
    with open_video(src) as reader:
        assert reader.info.first_pts == 0 and len(list(reader)) == 10


def test_a_hole_is_no_jump():
    """A pause of 1.5 s stays a pause; so does a long one where only the picture stands still."""
    frames = [(i * 3600 + (135_000 if i > 10 else 0), grey(20)) for i in range(30)]
    out = io.BytesIO()
    write_clip(out, frames, rate=Fraction(FPS), container="mpegts")
    _, notices, _, times = through(out.getvalue())
    assert notices == {} and float(times[-1] - times[0]) == pytest.approx(29 / 25 + 1.5, abs=0.001)


def test_no_more_is_read_than_is_wanted(tmp_path):
    src = write_clip(
        tmp_path / "long.mkv", [(3600 * i, grey(20)) for i in range(1000)], rate=Fraction(FPS), container="matroska"
    )
    with open(src, "rb") as file, open_container(file, "long.mkv")[0] as container:
        tracks = tracks_of(container, SharedView(file), 2)
    assert 12 <= tracks[0].length < 13
    with open_video(src, 1, 2) as reader:
        assert len(list(reader)) == 50


def clocked(rows, video=0, ahead=2):
    clocks = Clocks(video, Fraction(ahead), 10)
    for stream, at in rows:
        clocks.see(stream, round(at * 10), round(at * 10), 1, True)
    return clocks


def interleaved(video, audio):
    return [row for pair in zip(((0, t) for t in video), ((1, t) for t in audio)) for row in pair]


def test_one_wrong_stamp_moves_nothing_after_it():
    times = [Fraction(i, 10) for i in range(40)]
    bad = [*times[:20], Fraction(5000), *times[21:]]
    clocks = clocked(interleaved(times, bad))
    assert clocks.jumps(0) == () and [n for n, _ in clocks.jumps(1)] == [20, 21]
    assert clocks.jumps(1)[1][1] == 0
    assert clocks.span(1) == (0, 4)


def test_a_hole_in_one_stream_alone():
    times = [Fraction(i, 10) for i in range(100)]
    rows = [row for row in interleaved(times, times) if not (row[0] == 1 and 3 < row[1] < 8)]
    clocks = clocked(rows)
    assert clocks.jumps(0) == clocks.jumps(1) == ()


def test_sound_that_outlasts_the_pictures_is_not_cut_off():
    one = interleaved([Fraction(i, 10) for i in range(10)], [Fraction(i, 10) for i in range(10)])
    tail = [(1, Fraction(i, 10)) for i in range(10, 15)]
    clocks = clocked(one + tail + one)
    assert clocks.jumps(0) == ((10, Fraction(3, 2)),) and clocks.jumps(1) == ((15, Fraction(3, 2)),)


@pytest.mark.parametrize("begin", [-10, -500, 3])
def test_a_decoded_file_shows_every_picture(tiny_model_file, tiny_sha, begin, tmp_path):
    """Whatever its clock says: an MP4's edit list hides what lies before 0."""
    film = io.BytesIO(film_of(tiny_sha, begin=begin))
    fev.decode(film, tmp_path / "out.mp4", model=str(tiny_model_file))
    with av.open(str(tmp_path / "out.mp4")) as out:
        times = [f.pts * f.time_base for f in out.decode(video=0)]
        sound = out.streams.audio[0].start_time * out.streams.audio[0].time_base
    first = Fraction(max(begin, 0), 25)
    assert times == [first + Fraction(i, 25) for i in range(40)]
    assert abs(float(sound - first)) < 0.01
