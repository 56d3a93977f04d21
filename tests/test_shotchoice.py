"""Which stretches of a clip are sent as plain video."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from efforts import encode_quickly
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.encode.shotchoice import pieces_of
from fev.codec.media.mux import VideoWriter
from fev.format import Reader
from fev.format.errors import FevError
from people import HEIGHT, WIDTH, room, seen


def test_pieces_keep_to_shots_and_to_their_length():
    pieces = pieces_of([10, 10, 10, 4, 10, 3], [0, 0, 0, 0, 1, 1], [1.0, 2, 3, 4, 5, 6], 25)
    assert [(p.segments, p.lengths, p.bytes) for p in pieces] == [
        (range(2), [10, 10], 3),
        (range(2, 4), [10, 4], 7),
        (range(4, 6), [10, 3], 11),
    ]
    assert [p.segments for p in pieces_of([40, 40], [0, 0], [1, 1], 25)] == [range(1), range(1, 2)]


def crossing(at: int) -> np.ndarray:
    """A shot of no face: a large thing moves through a room."""
    out = room(5).copy()
    x = 8 * at % WIDTH
    out[40:150, x : x + 90] = (200, 60, 40)
    return out


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, Fraction(1, 25), Fraction(25)) as writer:
        for i in range(90):
            picture = seen(room(1), (0, 160, 96, 70), at=i) if i < 20 else crossing(i)
            writer.write(picture, i)
    return path


def test_what_no_still_shows_is_video(clip):
    out = io.BytesIO()
    report = encode_quickly(clip, out, audio=False, segment=1.0)
    assert report.notices["video"] == 70
    out.seek(0)
    reader = Reader(out)
    segments = list(reader.segments())
    assert [s.video is not None for s in segments] == [False, True, True, True]
    assert [len(s.actors) for s in segments] == [1, 0, 0, 0]
    decoder = FrameDecoder(reader, DecodeOptions())
    pictures = [p for _, p in decoder.frames(iter(segments))]
    errors = [np.abs(p.astype(int) - crossing(i)).mean() for i, p in enumerate(pictures) if i >= 20]
    still = np.abs(crossing(20).astype(int) - crossing(30)).mean()
    assert np.mean(errors) < 0.7 * still, "coarse, with a picture every third frame, but it moves"


def test_actors_only_refuses_it(clip):
    with pytest.raises(FevError, match=r"frames 20 to 89: .* --actors-only"):
        encode_quickly(clip, io.BytesIO(), audio=False, segment=1.0, actors_only=True)
