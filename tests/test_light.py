"""Fades, flashes and cuts as tones tell them, and a talk that fades in at its own brightness."""

from __future__ import annotations

import io
from fractions import Fraction

import fev
import numpy as np
import pytest
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.face.light import DARKEST, gain, is_cut, lit, reference, relit, tone
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.format import Reader
from people import HEIGHT, WIDTH, room, seen

PERSON = 0


def mixed(picture: np.ndarray, share: float, end: int) -> np.ndarray:
    """A picture of which a share is left, the rest black (0) or white (255)."""
    return np.round(picture * share + end * (1 - share)).astype(np.uint8)


@pytest.mark.parametrize("end", [0, 255])
def test_a_fade_is_measured_and_undone(end):
    picture = room(1)
    for share in (0.2, 0.5, 0.8):
        g, o = gain(tone(mixed(picture, share, end)), tone(picture).astype(np.float32))
        assert g == pytest.approx(share, abs=0.02) and o == pytest.approx(end * (1 - share), abs=4)
        back = relit(mixed(picture, share, end), g, o)
        assert np.abs(back.astype(int) - picture).mean() < 4
    assert gain(np.full((18, 32), end, np.uint8), tone(picture).astype(np.float32))[0] < DARKEST


def test_what_is_no_fade_is_left_as_it_is():
    usual = tone(seen(room(1), (PERSON, 160, 96, 70))).astype(np.float32)
    for other in (room(1), room(2), seen(room(1), (PERSON, 60, 96, 70)), mixed(room(1), 0.95, 0)):
        assert gain(tone(other), usual) == (1.0, 0.0)


def test_well_lit_pictures_are_neither_faded_nor_burnt_out():
    picture = room(1)
    tones = [tone(mixed(picture, k / 10, 0)) for k in range(10)]
    tones += [tone(picture)] * 4 + [tone(np.clip(picture.astype(int) * 3, 0, 255).astype(np.uint8))]
    assert np.flatnonzero(lit(np.stack(tones))).tolist() == [9, 10, 11, 12, 13]
    np.testing.assert_allclose(reference(np.stack(tones)), tone(picture), atol=6)


def test_a_cut_is_told_from_light_and_movement():
    a, b = (seen(room(k), (PERSON, 160, 96, 70)) for k in (1, 2))
    assert is_cut(tone(b), tone(a)) and is_cut(tone(a), np.zeros((18, 32), np.uint8))
    for calm in (a, mixed(a, 0.4, 0), mixed(a, 0.4, 255), seen(room(1), (PERSON, 200, 96, 70)), room(1)):
        assert not is_cut(tone(calm), tone(a))
    plain = np.full((HEIGHT, WIDTH, 3), 80, np.uint8)
    assert not is_cut(tone(plain), tone(seen(plain, (PERSON, 160, 96, 70))))


@pytest.mark.parametrize("end, first", [(0, True), (255, True), (0, False)], ids=["black", "white", "out"])
def test_a_talk_that_fades_is_drawn_in_its_own_light(end, first, tmp_path):
    shares = np.concatenate([np.linspace(0, 1, 40), np.ones(20)])
    shares = shares if first else shares[::-1]
    clear = [seen(room(1), (PERSON, 160, 96, 70), at=i) for i in range(len(shares))]
    with VideoWriter(tmp_path / "fade.mp4", WIDTH, HEIGHT, Fraction(1, 25), Fraction(25)) as writer:
        for i, share in enumerate(shares):
            writer.write(mixed(clear[i], share, end), i)
    out = io.BytesIO()
    report = fev.encode(tmp_path / "fade.mp4", out, preset="fast")
    assert report.notices["faded"] > 10
    out.seek(0)
    decoder = FrameDecoder(Reader(out), DecodeOptions())
    drawn = [p for _, p in decoder.frames(decoder.reader.segments())]
    assert len(drawn) == len(clear)
    for at in (0, 30, 59):  # dark, half lit and lit: all as bright as the talk
        assert drawn[at].mean() == pytest.approx(clear[at].mean(), abs=6), at
        square = (slice(60, 130), slice(130, 190))
        assert drawn[at][square].mean() == pytest.approx(clear[at][square].mean(), abs=12), at


def test_reading_gives_the_pictures_that_were_written(tmp_path):
    """The clips of these tests are what they are meant to be."""
    with VideoWriter(tmp_path / "a.mp4", WIDTH, HEIGHT, Fraction(1, 25), Fraction(25)) as writer:
        writer.write(room(1), 0)
    with open_video(tmp_path / "a.mp4") as video:
        assert np.abs(next(iter(video)).rgb.astype(int) - room(1)).mean() < 4
