"""The camera of a shot: found within a fraction of a pixel, never where it stands still; and the set it needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fev.codec.draw.units import camera_units
from fev.codec.face.background import PlateSamples, make_plate
from fev.codec.face.camera import Camera, filled, row_of, settled, similarity_of
from fev.codec.face.keypicture import Similarity
from fev.codec.face.light import tone
from fev.codec.face.mosaic import MOST_AREA
from fev.codec.face.survey import Survey
from fev.codec.fit.paths import camera_path
from fev.codec.media.frame import Frame
from fev.codec.model.modelfile import load_model
from fev.format.motion import encode_track
from worlds import HEIGHT, WIDTH, away, persons, shaken, spin, texture, view, with_person

PATHS = {
    "shaken": shaken(40),
    "zoom": [Similarity(0j, spin(1.012**k, 0)) for k in range(40)],
    "roll": [Similarity(complex(0.3 * k, 0), spin(1, 0.4 * k)) for k in range(30)],
    "pan": [Similarity(complex(-9 * k, 1.5 * k)) for k in range(60)],
    "there and back": [Similarity(complex(-250 * np.sin(k / 20), 0)) for k in range(64)],
}


@pytest.fixture(scope="module")
def world():
    return texture(1600, 900)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_found_behind_a_person(world, name):
    camera, errors = Camera(), []
    for k, at in enumerate(PATHS[name]):
        row = camera.step(with_person(view(world, at, 2.0, k), k), [persons(k)])
        assert row is not None, k
        errors.append(away(row, at))
    assert camera.moving
    far = {"pan": 1.0, "there and back": 0.5}.get(name, 0.3)
    assert max(errors) < far and np.median(errors) < far / 2, (max(errors), np.median(errors))


def test_a_camera_that_stands_still_stands_still(world):
    camera = Camera()
    for k in range(60):
        light = 1 + 0.1 * np.sin(k / 8)
        picture = with_person(view(world, Similarity(), 4.0, k), k)
        camera.step(np.clip(picture * light, 0, 255).astype(np.uint8), [persons(k)])
    assert not camera.moving


def test_things_that_move_are_no_camera(world):
    """Somebody large walks through whom no face tells."""
    other, camera = texture(600, 300, 5), Camera()
    for k in range(60):
        picture = view(world, Similarity(), 2.0, k)
        left = -200 + 9 * k
        a, b = max(0, left), min(WIDTH, left + 200)
        if b > a:
            picture[40:, a:b] = other[40:HEIGHT, a - left : b - left]
        camera.step(picture, [])
    assert not camera.moving


def test_a_plain_wall_tells_nothing():
    plain, camera = np.full((900, 1600, 3), 150, np.uint8), Camera()
    for k, at in enumerate(shaken(40)):
        camera.step(with_person(view(plain, at, 2.0, k), k), [persons(k)])
    assert not camera.moving


def test_what_cannot_be_told_is_bridged(world):
    rows, camera = [], Camera()
    path = PATHS["shaken"]
    for k, at in enumerate(path):
        picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8) if k in (20, 21) else view(world, at, 1.0, k)
        rows.append(camera.step(picture, []))
    assert rows[20] is rows[21] is None and rows[22] is not None
    bridged = filled(rows[19], rows[20:])
    assert np.allclose(bridged, rows[19] + (rows[22] - rows[19]) / 3)
    assert filled(rows[19], [None, None]) is rows[19]
    assert np.allclose(settled(rows)[20], bridged) and len(settled([None, None])) == 2


def test_a_leap_of_the_camera_is_bridged(world):
    """Half a picture from one frame to the next: no key picture shows enough of it."""
    camera, path = Camera(), [Similarity(complex(-105.0 * k, 0)) for k in range(6)]
    rows = [camera.step(view(world, at, 1.0, k), []) for k, at in enumerate(path)]
    assert camera.moving and max(away(row, at) for row, at in zip(rows, path, strict=True)) < 2


def sampled(world: np.ndarray, path: list[Similarity], rows=None, person: bool = True):
    samples = PlateSamples()
    samples.moving = True
    for k, at in enumerate(path):
        picture = view(world, at, 2.0, k)
        picture = with_person(picture, k) if person else picture
        row = row_of(at) if rows is None else rows[k]
        samples.take(Frame(k, picture), tone(picture), persons(k) if person else None, row)
    return samples


def shown(plate, at: Similarity) -> np.ndarray:
    """A set as a camera sees it, (HEIGHT, WIDTH, 3) and where it lies inside the set."""
    place, (height, width) = plate.place, plate.picture.shape[:2]
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    p = (x - WIDTH / 2 + 1j * (y - HEIGHT / 2) - at.t) / at.z + complex(WIDTH / 2, HEIGHT / 2)
    q = (p - complex(place.x, place.y) / 8) * place.scale / 256
    grid = np.stack([q.real / (width / 2) - 1, q.imag / (height / 2) - 1], 2)
    source = torch.from_numpy(plate.picture).permute(2, 0, 1)[None].double()
    out = F.grid_sample(source, torch.from_numpy(grid)[None], padding_mode="border", align_corners=False)
    return out[0].permute(1, 2, 0).numpy(), (np.abs(grid) < 1).all(2)


@pytest.mark.parametrize("name", ["shaken", "pan"])
def test_a_set_shows_all_that_the_camera_saw(world, name):
    path = PATHS[name]
    plate = make_plate(sampled(world, path))
    assert plate.place is not None
    assert plate.picture.shape[0] * plate.picture.shape[1] <= MOST_AREA * WIDTH * HEIGHT * 1.02
    errors = []
    for at in path[::3]:
        drawn, inside = shown(plate, at)
        assert inside.mean() > 0.93
        true = view(world, at).astype(float)
        errors.append(np.abs(drawn - true)[:90].mean())  # above the person's shoulders
    assert np.median(errors) < (4 if name == "shaken" else 11), errors


def test_a_face_that_is_seen_free_leaves_nothing_on_the_set(world):
    path = [Similarity(complex(-3 * k, 0)) for k in range(40)]
    plate = make_plate(sampled(world, path))
    drawn, _ = shown(plate, path[20])
    assert np.abs(drawn - view(world, path[20]))[:150].mean() < 6


def test_a_set_of_a_zoom_has_the_scale_of_most_frames(world):
    path = [Similarity(0j, spin(1.02**k, 0)) for k in range(40)]
    plate = make_plate(sampled(world, path, person=False))
    assert 256 < plate.place.scale < 1.3 * 256


def test_light_that_changes_leaves_no_seams(world):
    samples, path = PlateSamples(), PATHS["pan"]
    samples.moving = True
    for k, at in enumerate(path):
        picture = np.clip(view(world, at) * (0.85 + 0.005 * k), 0, 255).astype(np.uint8)
        samples.take(Frame(k, picture), tone(picture), None, row_of(at))
    plate = make_plate(samples)
    ratios = []
    for at in path[::6]:
        drawn, _ = shown(plate, at)
        ratios.append(drawn.mean() / view(world, at).mean())
    assert np.ptp(ratios) < 0.06, ratios


def test_the_integers_of_a_camera_are_near_and_cheap():
    rng = np.random.default_rng(0)
    path = np.array([row_of(s) for s in shaken(60)]) + rng.normal(0, 1, (60, 4)) * [0.05, 0.05, 1e-4, 1e-4]
    units, sent = camera_units(WIDTH, HEIGHT), camera_path(path, WIDTH, HEIGHT)
    assert sent.dtype == np.int32
    off = [away(row, similarity_of(true)) for row, true in zip(sent / units, path, strict=True)]
    assert np.median(off) < 0.5 and max(off) < 1.2
    assert not camera_path(np.zeros((9, 4)), WIDTH, HEIGHT).any()
    resting = np.full((60, 4), [7.3, -4.2, 0.01, 0.02]) + rng.normal(0, 1, (60, 4)) * [0.05, 0.05, 1e-4, 1e-4]
    held, none = camera_path(resting, WIDTH, HEIGHT), np.zeros(60, bool)
    assert not np.diff(held, axis=0).any(), "a camera that has come to rest rests"
    plain = np.round(resting * units).astype(np.int32)
    assert len(encode_track(held, none)) < 0.5 * len(encode_track(plain, none))


def test_a_survey_tells_where_the_camera_looks(world):
    model, path = load_model(), shaken(24)
    pictures = [with_person(view(world, at, 1.0, k), k) for k, at in enumerate(path)]
    frames = [Frame(k, picture) for k, picture in enumerate(pictures)]
    seen = list(Survey(frames, model.aligner, model.size, camera=Camera()))
    off = [away(s.camera, at) for s, at in zip(seen, path, strict=True)]
    assert max(off) < 1.0 and np.median(off) < 0.2, off
    still = list(Survey(frames[:1] * 20, model.aligner, model.size, camera=Camera()))
    assert not any(s.camera.any() for s in still)
