"""Which face is followed, and what becomes of frames without it: other people, empty rooms, titles."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
import torch
from efforts import encode_quickly
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.face.paste import paste
from fev.codec.face.person import LEAST, Person
from fev.codec.face.portrait import Conditions, best_frame
from fev.codec.face.survey import Survey
from fev.codec.media.frame import Frame
from fev.codec.media.mux import VideoWriter
from fev.codec.model.modelfile import load_model
from fev.format import Reader
from fev.format.errors import MediaError
from people import HEIGHT, LOOKS, WIDTH, film, looks, room, seen

A, B = 0, 8  # seeds of two people
LEFT, MIDDLE, RIGHT = (90, 96, 70), (160, 96, 70), (230, 96, 70)


def surveyed(pictures, order=0):
    model = load_model()
    survey = Survey(film(pictures), model.aligner, 64, order, person=Person(model.inverter))
    return survey, list(survey)


def shown(rows) -> str:
    """A letter a frame: f the face, h held, _ nobody."""
    return "".join("f" if s.crop is not None else "_" if s.absent else "h" for s in rows)


def test_people_are_told_apart():
    person = Person(load_model().inverter)
    assert person.is_same(looks(A)).all(), "the first one is the person"
    for seed in (B, 2, 11):
        assert person.likeness(looks(seed)).max() < LEAST and not person.is_same(looks(seed)).any(), seed
    dark = looks(A) * 0.3 - 0.7
    assert person.is_same(dark).all(), "a fade changes nobody"


def test_another_person_after_a_cut_is_held_and_the_first_one_found_again():
    here, there = room(1), room(2)
    pictures = [seen(here, (A, *MIDDLE), at=i) for i in range(12)]
    pictures += [seen(there, (B, *MIDDLE), at=i) for i in range(12)]
    pictures += [seen(here, (A, *MIDDLE), at=i) for i in range(12)]
    survey, rows = surveyed(pictures)
    assert shown(rows) == "f" * 12 + "h" * 12 + "f" * 12
    assert survey.notices.as_dict() == {"other": 12, "cuts": 2} and survey.held == 12
    assert all(np.array_equal(s.placement, rows[11].placement) for s in rows[12:24]), "the picture stands"


def test_a_camera_that_turns_fast_cuts_nothing():
    world = seen(room(1, 2 * WIDTH), (A, 300, 96, 70))
    survey, rows = surveyed([world[:, 24 * i : 24 * i + WIDTH].copy() for i in range(9)])
    assert "f" * 6 in shown(rows) and survey.notices["cuts"] == 0


def test_somebody_who_crosses_does_not_take_the_face_along():
    wall, pictures = room(1), []
    for i in range(40):
        pictures.append(seen(wall, (A, *LEFT), (B, 420 - 13 * i, 96, 75), at=i))
    _, rows = surveyed(pictures)
    found = [i for i, s in enumerate(rows) if s.crop is not None]
    assert all(abs(rows[i].placement[0] - LEFT[0]) < 25 for i in found), "the first face alone is followed"
    assert set(range(12)) <= set(found) and set(range(36, 40)) <= set(found)
    assert len(found) < 40, "covered by the other one it is held"


def test_a_face_that_leaves_is_found_where_it_comes_back():
    wall, pictures = room(1), []
    for i in range(50):
        x = 120 - 20 * i if i < 12 else 999 if i < 25 else max(230, 390 - 20 * (i - 25))
        pictures.append(seen(wall, (A, x, 96, 70), at=i))
    survey, rows = surveyed(pictures)
    line = shown(rows)
    assert line[:5] == "f" * 5 and set(line[12:24]) == {"_"}, "nobody is there"
    back = 25 + 5  # about then the face is inside
    assert set(line[back + 8 :]) == {"f"}, "found again within half a second"
    assert abs(rows[-1].placement[0] - 230) < 20
    assert all(s.placement[2] > 0 for s in rows)
    assert survey.notices["absent"] == line.count("_")
    assert survey.samples.empty, "the background is that of the empty room"


def test_a_title_shows_no_face_and_a_dark_beginning_the_first_one():
    title = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    title[80:110, 60:260] = 255
    talk = [seen(room(1), (A, *MIDDLE), at=i) for i in range(10)]
    _, rows = surveyed([title] * 30 + talk)
    assert shown(rows)[:30] == "_" * 30 and set(shown(rows)[34:]) == {"f"}
    _, rows = surveyed([np.zeros_like(title)] * 5 + talk)
    assert shown(rows) == "h" * 5 + "f" * 10


def test_an_empty_room_into_which_somebody_comes_shows_nobody():
    wall = room(1)
    _, rows = surveyed([wall] * 10 + [seen(wall, (A, *RIGHT), at=i) for i in range(10)])
    assert shown(rows)[:9] == "_" * 9 and set(shown(rows)[10:]) == {"f"}


def test_a_face_that_there_is_not_is_asked_for():
    pictures = [seen(room(1), (A, *LEFT), (B, 240, 96, 60), at=i) for i in range(10)]
    _, rows = surveyed(pictures, order=1)
    assert abs(rows[0].placement[0] - 240) < 20
    with pytest.raises(MediaError, match="no face 2: at most 2 are seen"):
        surveyed(pictures, order=2)


def test_a_second_face_that_comes_later_can_be_chosen():
    wall = room(1)
    pictures = [seen(wall, (A, *LEFT), at=i) for i in range(5)]
    pictures += [seen(wall, (A, *LEFT), (B, 240, 96, 60), at=i) for i in range(10)]
    _, rows = surveyed(pictures, order=1)
    assert abs(rows[-1].placement[0] - 240) < 20 and shown(rows)[-8:] == "f" * 8


def masked(square: torch.Tensor) -> torch.Tensor:
    """A square with a cloth before the mouth."""
    out = square.clone()
    out[:, 140:225, 60:196] = torch.tensor([0.45, 0.1, -0.05])[:, None, None]
    return out


def test_a_covered_mouth_is_held_and_no_portrait():
    wall, place = room(1), np.array([160.0, 96, 80, 0])
    clear = [paste(wall, looks(A)[i // 3 % LOOKS], place) for i in range(20)]
    hidden = [paste(wall, masked(looks(A)[i // 3 % LOOKS]), place) for i in range(10)]
    survey, rows = surveyed(clear + hidden + clear[:8])
    assert set(shown(rows)[:20]) == {"f"} and set(shown(rows)[21:30]) == {"h"} and set(shown(rows)[31:]) == {"f"}
    assert survey.notices["other"] >= 9
    frames = torch.cat([torch.stack([masked(p) for p in looks(A)])] * 2 + [looks(A)])
    assert best_frame(frames) >= 8, "though most frames are covered"


def test_somebody_who_wears_a_mask_all_along_is_drawn():
    pictures = [paste(room(1), masked(looks(A)[i // 3 % LOOKS]), np.array([160.0, 96, 80, 0])) for i in range(12)]
    _, rows = surveyed(pictures)
    assert "f" * 10 in shown(rows)


def portraits() -> torch.Tensor:
    """Eight good frames: one person who moves a little."""
    return torch.cat([looks(A), looks(A).roll(2, 3)])


def test_a_portrait_is_lit_whole_sharp_and_undamaged():
    frames, none = portraits(), np.zeros(8, bool)
    good = best_frame(frames)
    gain, inside, damaged = np.ones(8), np.ones(8), none.copy()
    for faults in (
        Conditions(np.where(np.arange(8) == good, 0.7, inside), gain, damaged),
        Conditions(inside, np.where(np.arange(8) == good, 0.4, gain), damaged),
        Conditions(inside, gain, np.arange(8) == good),
    ):
        assert best_frame(frames, faults) != good
    soft = frames.clone()
    soft[good] = torch.nn.functional.avg_pool2d(soft[good], 9, 1, 4)
    assert best_frame(soft) != good
    shut = frames.clone()
    shut[good, :, 100:140, 70:120] = shut[good, :, 140:141, 70:120]  # one eye
    assert best_frame(shut) != good
    grimace = torch.ones(8, 3)
    grimace[2] = 0
    assert best_frame(frames, motion=grimace) == 2, "a face at rest, though the others are alike"
    assert Conditions(inside, gain, np.arange(8) < 3).usable == [3, 4, 5, 6, 7]
    assert Conditions(inside, gain, ~none).usable == list(range(8)), "damaged frames are better than none"


def written(path, pictures):
    with VideoWriter(path, WIDTH, HEIGHT, Fraction(1, 25), Fraction(25)) as writer:
        for i, picture in enumerate(pictures):
            writer.write(picture, i)
    return path


@pytest.mark.parametrize("preset", ["fast", "medium"])
def test_a_title_is_no_traceback_and_no_face(preset, tmp_path):
    title = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    title[80:110, 60:260] = 255
    talk = [seen(room(1), (A, *MIDDLE), at=i) for i in range(12)]
    out = io.BytesIO()
    report = encode_quickly(written(tmp_path / "t.mp4", [title] * 28 + talk), out, preset=preset, audio=False)
    assert report.frames == 40 and report.notices["absent"] >= 27
    out.seek(0)
    decoder = FrameDecoder(Reader(out), DecodeOptions())
    drawn = [p for _, p in decoder.frames(decoder.reader.segments())]
    assert all(np.abs(p.astype(int) - title).mean() < 12 for p in drawn[:28]), "the title is seen"
    assert np.abs(drawn[-1].astype(int) - talk[-1]).mean() < 12


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_clip_of_a_few_frames(count, tmp_path):
    pictures = [seen(room(1), (A, *MIDDLE), at=3 * i) for i in range(count)]
    report = encode_quickly(written(tmp_path / "one.mp4", pictures), io.BytesIO(), audio=False)
    assert report.frames == count and report.held == 0


class Mistaken:
    """Stands in for the aligner: sees a face where it looks, but loses it in the fourth frame for once."""

    def __init__(self):
        self.frame = 0

    def eval(self):
        return self

    def __call__(self, x):
        seen = -5.0 if self.frame == 3 else 5.0
        return torch.tensor([[1.0, 0.0, 0.0, 0.0, seen]]).expand(len(x), -1)


def test_what_is_lost_at_once_was_no_face():
    net = Mistaken()

    def frames():
        for i in range(20):
            net.frame = i
            yield Frame(i, room(1))

    survey = Survey(frames(), net, 64)
    rows = list(survey)
    assert [s.pts for s in rows] == list(range(20))
    assert shown(rows) == "h" * 4 + "f" * 16, "the face is chosen anew, and what came before it is not shown"
