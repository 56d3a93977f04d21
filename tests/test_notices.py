"""What is said of a run: counted once, worded once, in the report, in one line and in JSON."""

from __future__ import annotations

import io
import json
from fractions import Fraction

import av
import fev
import numpy as np
import pytest
from clips import write_clip
from efforts import encode_quickly
from fev.codec.media.mux import VideoWriter
from fev.codec.media.notices import WORDS, Notices
from fev.codec.media.video import open_video
from test_cli import SAMPLE, command


def test_a_line_counts_and_knows_the_plural():
    notices = Notices({"repeated": 1})
    notices.add("held", 2)
    assert notices.line() == "2 frames held (no face found); 1 frame lost to damage and filled with the picture before"
    assert notices.as_dict() == {"held": 2, "repeated": 1}
    with pytest.raises(KeyError):
        notices.add("no such key")


def test_every_wording_takes_a_count():
    for key in WORDS:
        assert "{" not in Notices({key: 3}).line()


@pytest.fixture(scope="module")
def gap(tmp_path_factory):
    """The sample clip with no face in its last eight frames."""
    path = tmp_path_factory.mktemp("gap") / "gap.mp4"
    with open_video(SAMPLE) as video, VideoWriter(path, 320, 320, Fraction(1, 25), Fraction(25)) as writer:
        for i, frame in zip(range(16), video):
            writer.write(frame.rgb if i < 8 else np.full((320, 320, 3), 90, np.uint8), i)
    return path


def test_reports_and_commands_say_the_same(gap, tmp_path):
    report = fev.encode(gap, io.BytesIO(), preset="fast")
    assert report.notices == {"held": report.held} and report.held == 8
    said = command("encode", gap, tmp_path / "out.fev", "--preset", "fast")
    lines = said.stderr.decode().splitlines()
    assert said.returncode == 0 and len(lines) == 2, lines
    assert lines[1] == f"encode: {gap}: 8 frames held (no face found)"
    said = command("encode", gap, tmp_path / "j.fev", "--preset", "fast", "--json")
    assert json.loads(said.stdout)["notices"] == {"held": 8}


def test_frames_lost_to_damage_are_said_when_decoding(gap, tmp_path):
    fev.encode(gap, tmp_path / "out.fev", preset="fast", segment=0.2)
    data = bytearray((tmp_path / "out.fev").read_bytes())
    places = [at for at in range(len(data)) if data[at : at + 4] == b"SEGM"]
    data[places[1] + 30] ^= 255
    (tmp_path / "bad.fev").write_bytes(data)
    said = command("decode", tmp_path / "bad.fev", tmp_path / "out.mp4", "--salvage", "--json")
    notices = json.loads(said.stdout)["notices"]
    assert notices == {"repeated": 5}
    assert said.stderr.decode().splitlines()[-1].endswith("5 frames lost to damage and filled with the picture before")


@pytest.mark.parametrize("kept", [False, True])
def test_notices_are_kept_in_the_file_only_on_request(gap, tmp_path, kept):
    encode_quickly(gap, tmp_path / "out.fev", identity_budget=1500, keep_notices=kept)
    with fev.open(tmp_path / "out.fev") as reader:
        assert (reader.meta or {}).get("x-held") == (8 if kept else None)


def test_a_stream_cannot_know_its_notices_before_it_begins(gap):
    with pytest.raises(fev.FevError, match="preset medium or slow"):
        fev.encode(gap, io.BytesIO(), preset="fast", keep_notices=True)


def test_a_clip_without_a_whole_frame_is_told_from_one_that_has_some(tmp_path):
    """One key frame that is lost spoils all that is predicted from it."""
    with open_video(SAMPLE) as video:
        pictures = [av.VideoFrame.from_ndarray(f.rgb, format="rgb24") for f, _ in zip(video, range(12))]
    frames = [(3600 * i, p.reformat(format="yuv420p")) for i, p in enumerate(pictures)]
    options = {"preset": "veryfast", "crf": "20", "bf": "0", "rc-lookahead": "0"}
    src = write_clip(tmp_path / "in.ts", frames, rate=Fraction(25), container="mpegts", options=options)
    data = src.read_bytes()
    with av.open(str(src)) as container:
        at = [p.pos // 188 for p in container.demux(video=0) if p.size]
    for first in (0, 8):
        bad = bytearray(data)
        lost = (at[first] + at[first + 1]) // 2 + 1 if first == 0 else at[first] + 1
        bad[lost * 188 : lost * 188 + 188] = bytes(188)
        report = fev.encode(io.BytesIO(bad), io.BytesIO(), preset="fast")
        assert report.frames == 12 and report.notices["damaged"] in ((12,) if first == 0 else (4, 5))
        assert report.notices.get("all_damaged", 0) == (first == 0)
