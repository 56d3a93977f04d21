"""The background: of which frames it is made, what moves in front of it, and what a moving camera does to it."""

from __future__ import annotations

import numpy as np
from fev.codec.encode.outgoing import Outgoing
from fev.codec.face.absence import plain
from fev.codec.face.background import PlateSamples, make_plate
from fev.codec.face.camera import Camera
from fev.codec.face.light import tone
from fev.codec.face.paste import paste
from fev.codec.media.frame import Frame
from fev.codec.puppet import roaming
from fev.format.cast import Cast
from fev.format.limits import Limits
from fev.format.segment import Track
from people import HEIGHT, WIDTH, looks, room, seen

PERSON = 0


def sampled(pictures, places, damaged=(), cameras=None, moving=False) -> PlateSamples:
    samples = PlateSamples()
    samples.moving = moving
    for i, (picture, place) in enumerate(zip(pictures, places, strict=True)):
        frame, place = Frame(i, picture, i in damaged), None if place is None else np.array(place)
        samples.take(frame, tone(picture), place, None if cameras is None else cameras[i])
    return samples


def away(plate, wall) -> float:
    return float(np.abs(plate.astype(int) - wall).mean())


def test_a_moving_face_leaves_nothing_behind():
    wall, places = room(1), [(60.0 + 25 * k, 96.0, 45.0, 0.0) for k in range(9)]
    plate = make_plate(sampled([seen(wall, (PERSON, *p[:3])) for p in places], places))
    assert away(plate.picture, wall) < 1 and plate.place is None
    rare = [(80.0, 96.0, 45.0, 0.0)] * 8 + [(240.0, 96.0, 45.0, 0.0)]
    plate = make_plate(sampled([seen(wall, (PERSON, *p[:3])) for p in rare], rare))
    assert away(plate.picture, wall) < 1, "one frame without it is enough"


def test_the_empty_room_is_the_background_where_it_is_seen():
    wall, place = room(1), (160.0, 96.0, 60.0, 0.0)
    pictures = [seen(wall, (PERSON, *place[:3]))] * 6 + [wall] * 3
    samples = sampled(pictures, [place] * 6 + [None] * 3)
    assert away(make_plate(samples).picture, wall) < 1


def test_dark_burnt_foreign_and_damaged_frames_are_left_out():
    wall, place = room(1), (160.0, 96.0, 40.0, 0.0)
    clear = seen(wall, (PERSON, *place[:3]))
    other = seen(room(2), (PERSON, *place[:3]))
    dark, white = (clear * 0.3).astype(np.uint8), np.clip(clear.astype(int) * 4, 0, 255).astype(np.uint8)
    pictures = [dark, clear, clear, white, other, clear, clear, other]
    chosen = sampled(pictures, [place] * 8, damaged=(6,)).chosen()
    assert len(chosen) == 3 and all((s.rgb == clear).all() for s in chosen)


def test_a_shaken_camera_is_noticed_and_the_background_stays_sharp():
    wide, places, pictures = room(5).repeat(2, 0).repeat(2, 1), [], []
    fine = np.random.default_rng(0).integers(-25, 25, wide.shape[:2])[..., None]
    wide = np.clip(wide.astype(int) + fine, 0, 255).astype(np.uint8)
    for k in range(8):
        dx, dy = round(14 * np.sin(2 * k)), round(9 * np.cos(3 * k))
        x, y = 160.0 + 60 * (k % 2), 90.0
        here = wide[60 + dy : 60 + dy + HEIGHT, 100 + dx : 100 + dx + WIDTH]
        pictures.append(seen(np.ascontiguousarray(here), (PERSON, x, y, 40)))
        places.append((x, y, 40.0, 0.0))
    camera = Camera()
    cameras = [camera.step(picture, [np.array(place)]) for picture, place in zip(pictures, places, strict=True)]
    assert camera.moving
    plate = make_plate(sampled(pictures, places, cameras=cameras, moving=True))
    assert plate.follows and plate.place is not None
    left, top = round(plate.place.x / 8), round(plate.place.y / 8)
    height, width = plate.picture.shape[:2]
    there = wide[69 + top : 69 + top + height, 100 + left : 100 + left + width]  # the first is 9 lower
    assert away(plate.picture[20:-20, 20:-20], there[20:-20, 20:-20]) < 6, "as sharp as one of the frames"


def test_a_still_camera_is_still():
    wall = room(1)
    places = [np.array([150.0 + 5 * k, 96, 60, 0]) for k in range(4)]
    noisy = [seen(wall, (PERSON, *p[:3]), at=3 * i) for i, p in enumerate(places)]
    rng = np.random.default_rng(0)
    noisy = [np.clip(p + rng.normal(0, 4, p.shape), 0, 255).astype(np.uint8) for p in noisy]
    camera = Camera()
    cameras = [camera.step(picture, [place]) for picture, place in zip(noisy, places, strict=True)]
    assert not camera.moving
    assert make_plate(sampled(noisy, places, cameras=cameras)).place is None


def test_half_a_side_of_zero_shows_nobody():
    wall = room(1)
    assert (paste(wall, looks(PERSON)[0], np.array([100.0, 90, 0, 0])) == wall).all()
    own = np.array([[100.0, 90, 50, 0], [100, 90, 0, 0], [110, 90, 50, 0]])
    for gone in (own, np.vstack([own[0], plain(WIDTH, HEIGHT), own[2]])):
        out = roaming(gone, own, gone)
        assert out[1, 2] == 0 and (out[[0, 2], 2] > 40).all()
    drawn = paste(wall, looks(PERSON)[0], plain(WIDTH, HEIGHT))
    assert drawn.std((0, 1)).max() < 2, "and a vast square shows one of its spots"


class Keeps:
    """Stands in for the Writer."""

    alive = Cast(Limits())

    def __init__(self):
        self.segments = []

    def write_segment(self, segment):
        self.segments.append(segment)
        return 0
        return 0

    def close(self):
        pass


def test_a_held_frame_that_moves_is_coded():
    """A held frame repeats the placement too, so that the first frame without anybody cannot be one."""
    from fractions import Fraction

    from fev.codec.media.audio import Sound

    info = type("Info", (), {"fps": Fraction(25), "time_base": Fraction(1, 25)})()
    out = Outgoing(Keeps(), Sound(None, ()), info)
    here, nobody = np.array([800, 720, 400, 0], np.int32), np.array([800, 720, 0, 0], np.int32)

    def write(pts, places, held):
        track = Track(np.zeros((len(pts), 35), np.int32), np.array(places), np.array(held))
        out.write(pts, [track], 0, [], None)

    write(list(range(5)), [here, here, nobody, nobody, here], [False, True, True, True, True])
    write([5, 6], [here, nobody], [True, True])
    out.close()
    first, second = out.writer.segments
    assert first.held.tolist() == [False, True, False, True, False] and second.held.tolist() == [True, False]
