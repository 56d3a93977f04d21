"""Clips with cuts: each shot has its background and its actor, and who comes back is known."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from efforts import encode_quickly
from fev.codec.decoder import DecodeOptions, FrameDecoder
from fev.codec.encode.judging import Judging
from fev.codec.encode.options import EncodeOptions
from fev.codec.face.background import Plate
from fev.codec.face.people import People
from fev.codec.face.person import Person
from fev.codec.face.places import Places
from fev.codec.face.shots import Shots
from fev.codec.media.mux import VideoWriter
from fev.codec.model.modelfile import load_model
from fev.format import Reader
from fev.format.errors import UsageError
from people import HEIGHT, WIDTH, film, looks, room, seen

A, B = 0, 8  # seeds of two people
MIDDLE, ELSEWHERE = (160, 96, 70), (190, 92, 62)


def lengths(pictures) -> list[int]:
    """Frames of each shot."""
    return [len(list(shot)) for shot in Shots(film(pictures))]


def talk(wall: int, who: int, place, count: int, first: int = 0) -> list[np.ndarray]:
    return [seen(room(wall), (who, *place), at=first + i) for i in range(count)]


def test_shots_lie_between_cuts():
    pictures = talk(1, A, MIDDLE, 7) + talk(2, B, MIDDLE, 5) + talk(1, A, MIDDLE, 1) + talk(3, A, MIDDLE, 4)
    assert lengths(pictures) == [7, 5, 1, 4]
    assert lengths([]) == []


def test_what_is_no_cut():
    still = talk(1, A, MIDDLE, 6)
    flash = [*still, np.clip(still[0].astype(int) + 120, 0, 255).astype(np.uint8), np.full_like(still[0], 255), *still]
    assert lengths(flash) == [14], "a flash"
    assert lengths([(p * (1 - i / 6)).astype(np.uint8) for i, p in enumerate(still)]) == [6], "a fade"
    wide = room(1, 2 * WIDTH)
    assert lengths([wide[:, 24 * i : 24 * i + WIDTH] for i in range(12)]) == [12], "a fast turn of the camera"
    assert lengths([seen(room(1), (A, 40 + 16 * i, 96, 60)) for i in range(10)]) == [10], "somebody who runs"


def test_people_are_met_again():
    people, inverter = People(), load_model().inverter

    def person(seed: int) -> Person:
        out = Person(inverter)
        out.is_same(looks(seed)[:2])
        return out

    assert [people.meet(person(seed)) for seed in (A, B, A, 2, B)] == [0, 1, 0, 2, 1]
    people.seen(1, 10)
    both = Person(inverter).vectors(np_stack(A, B))
    assert people.pick(both) == 1, "whoever was seen longest"
    people.seen(0, 20)
    assert people.pick(both) == 0
    assert people.pick(Person(inverter).vectors(looks(11)[:1])) == 0, "nobody who is known: the first"


def np_stack(*seeds: int):
    return looks(seeds[0])[:1].new_tensor(np.stack([looks(seed)[1].numpy() for seed in seeds]))


def test_places_are_met_again():
    places = Places()
    plates = [Plate(seen(room(wall), (who, *MIDDLE)), False) for wall, who in ((1, A), (2, B), (1, A))]
    assert [places.meet(plate) for plate in plates] == [(0, True), (1, True), (0, False)]
    assert places.meet(Plate(plates[0].picture, True)) == (2, True), "seen empty it is another one"


def written(path, pictures):
    with VideoWriter(path, WIDTH, HEIGHT, Fraction(1, 25), Fraction(25)) as writer:
        for i, picture in enumerate(pictures):
            writer.write(picture, i)
    return path


def segments_of(data: io.BytesIO):
    """Frames, actors and set of each segment."""
    data.seek(0)
    reader = Reader(data)
    out = [(s.frames, [t.actor for t in s.actors], s.on_set) for s in reader.segments()]
    return reader, out


@pytest.mark.parametrize("preset", ["fast", pytest.param("medium", marks=pytest.mark.slow)])
def test_a_cut_to_another_person_and_back(preset, tmp_path):
    pictures = talk(1, A, MIDDLE, 12) + talk(2, B, ELSEWHERE, 12) + talk(1, A, MIDDLE, 12, 3)
    out = io.BytesIO()
    clip = written(tmp_path / "cuts.mp4", pictures)
    report = encode_quickly(clip, out, preset=preset, audio=False)
    assert (report.actors, report.sets, report.held) == (2, 2, 0)
    assert report.notices == {"cuts": 2}
    reader, segments = segments_of(out)
    assert segments == [(12, [0], 0), (12, [1], 1), (12, [0], 0)]
    once = io.BytesIO()
    encode_quickly(written(tmp_path / "once.mp4", pictures[:24]), once, preset=preset, audio=False)
    again = len(out.getvalue()) - len(once.getvalue())
    assert again < 0.25 * len(out.getvalue()), "who comes back is not paid again"


def test_a_shot_that_shows_nobody_shows_its_place(tmp_path):
    title = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    title[80:110, 60:260] = 255
    pictures = [title] * 10 + talk(1, A, MIDDLE, 10) + [room(3)] * 10
    for preset in ("fast", "medium"):
        out = io.BytesIO()
        report = encode_quickly(written(tmp_path / "nobody.mp4", pictures), out, preset=preset, audio=False)
        assert (report.actors, report.sets) == (1, 3) and report.notices["absent"] == 20
        assert segments_of(out)[1] == [(10, [], 0), (10, [0], 1), (10, [], 2)]


def test_in_the_square_alone_somebody_stands_where_nobody_is(tmp_path):
    title = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    title[80:110, 60:260] = 255
    pictures = [title] * 10 + talk(1, A, MIDDLE, 10) + [room(3)] * 10 + talk(2, B, MIDDLE, 10)
    for preset in ("fast", "medium"):
        out = io.BytesIO()
        report = encode_quickly(written(tmp_path / "crop.mp4", pictures), out, preset=preset, audio=False, crop=True)
        assert (report.actors, report.sets) == (2, 0)
        assert [actors for _, actors, _ in segments_of(out)[1]] == [[0], [0], [0], [1]]


def test_two_people_at_a_bitrate(tmp_path):
    pictures = talk(1, A, MIDDLE, 16) + talk(2, B, ELSEWHERE, 16)
    out = io.BytesIO()
    encode_quickly(written(tmp_path / "rate.mp4", pictures), out, bitrate=60.0, audio=False)
    wanted = 60 * 125 * 32 / 25
    assert 0.97 * wanted <= len(out.getvalue()) <= wanted
    sizes = segments_of(out)[0].cast.actors
    assert 0.5 < sizes[0][-1].size / sizes[1][-1].size < 2, "both have their share"


def test_an_identity_of_another_file_is_the_first_persons_alone(tmp_path):
    first = tmp_path / "first.fev"
    encode_quickly(written(tmp_path / "a.mp4", talk(1, A, MIDDLE, 12)), first, preset="fast", audio=False)
    pictures = talk(1, A, MIDDLE, 12) + talk(2, B, ELSEWHERE, 12)
    out = tmp_path / "both.fev"
    encode_quickly(written(tmp_path / "b.mp4", pictures), out, preset="fast", audio=False, identity=first)
    with open(out, "rb") as file:
        reader = Reader(file)
        list(reader.segments())
        actors = reader.cast.actors
    assert actors[0][-1].reference is not None and actors[1][-1].parts


def drawn(data: io.BytesIO) -> list[np.ndarray]:
    data.seek(0)
    decoder = FrameDecoder(Reader(data), DecodeOptions())
    return [picture for _, picture in decoder.frames(decoder.reader.segments())]


BESIDE = ((90, 96, 60), (235, 100, 48))  # two faces that do not touch


def both(at: int, second: bool = True) -> np.ndarray:
    people = [(A, *BESIDE[0]), (B, *BESIDE[1])]
    return seen(room(1), *people[: 1 + second], at=at)


def test_two_faces_of_a_shot_are_two_actors(tmp_path):
    pictures = [both(i) for i in range(30)]
    out = io.BytesIO()
    clip = written(tmp_path / "two.mp4", pictures)
    report = encode_quickly(clip, out, preset="fast", audio=False, faces=2)
    assert (report.actors, report.sets, report.held) == (2, 1, 0)
    assert segments_of(out)[1] == [(25, [1, 0], 0), (5, [1, 0], 0)], "the larger one is in front"
    alone = io.BytesIO()
    assert encode_quickly(clip, alone, preset="fast", audio=False).actors == 1
    error = [np.abs(p.astype(int) - q).mean() for p, q in zip(drawn(out), pictures, strict=True)]
    still = [np.abs(p.astype(int) - q).mean() for p, q in zip(drawn(alone), pictures, strict=True)]
    assert np.mean(error) < np.mean(still), "the second one moves too"


@pytest.mark.parametrize("preset", ["fast", pytest.param("medium", marks=pytest.mark.slow)])
def test_somebody_who_comes_later_is_an_actor_from_then_on(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(Judging, "videos", lambda self: ({}, None))  # hardly fitted, video would be nearer
    pictures = [both(i, i >= 20) for i in range(60)]
    out = io.BytesIO()
    clip = written(tmp_path / "late.mp4", pictures)
    report = encode_quickly(clip, out, preset=preset, audio=False, faces=8, segment=1.0)
    assert report.actors == 2
    segments = segments_of(out)[1]
    assert segments[0][1] in ([0], [1, 0]) and segments[-1][1] == [1, 0]
    out.seek(0)
    for segment in Reader(out).segments():
        for track in segment.actors:
            there = track.placement[:, 2] > 0
            where = np.arange(segment.first_frame, segment.first_frame + segment.frames)
            assert track.actor == 0 or (where[there] >= 20).all(), "nobody is drawn before he is there"


def test_faces_that_are_asked_for_have_bounds():
    with pytest.raises(UsageError, match="1 to 8 faces"):
        EncodeOptions(faces=9)
    with pytest.raises(UsageError, match="shows one face"):
        EncodeOptions(faces=2, crop=True)
