"""Where the camera of a shot looks: a similarity a frame, from what a camera at rest shows.

A camera at rest is that of the shot's first picture.  Frames are compared with key pictures
(`keypicture`), with the oldest that shows enough of the same: so nothing drifts while the camera
shakes, and little when it pans.  A camera stands still until it surely moves: a false alarm makes a
still background swim, a miss leaves what was there before.

A row is (x, y, scale less 1, angle): pixels and radians, as `fev.format.segment` has them.
"""

from __future__ import annotations

import numpy as np

from .keypicture import FEWEST, KeyPicture, Located, Pyramid, Similarity, pyramid

MOVED = 0.0015  # of the picture's larger side: how far a camera moves that does not stand still
LEAST_MOVED = 0.75  # pixels, at least
SURE = 4  # frames in a row that say so
FAR = 10  # times as far, from which on a frame counts for two
TILES = 6  # across and down, that have a say
FEW_IN_TILE = 3  # points, below which a tile has none
CHANGED = 2.5  # grey levels by which a tile differs that has a say
BETTER = 0.75  # share of the difference that is left where a tile moves with the camera
MAJORITY = 0.65  # of the tiles that have a say
FEWEST_TILES = 6  # that move with the camera, some of them on either side
AGREED = 0.5  # share of a key picture's points that agree where it is found
FRESH = 0.65  # ... below which another takes its place
IN_SIGHT = 0.6  # share of a key picture's view below which another takes its place
BACK = 0.75  # ... above which an older one is taken again
ZOOM = 1.35  # by which a key picture may be larger or smaller
FARTHEST_ZOOM = 2.5  # ... at most
MOST_KEYS = 24
STALE = 25  # frames at rest in which the key picture is not found, after which there is a new one
AGAIN = 5  # frames between trials: to find points, or an older key picture


def row_of(at: Similarity) -> np.ndarray:
    """(4,)"""
    return np.array([at.t.real, at.t.imag, abs(at.z) - 1, np.angle(at.z)])


def similarity_of(row: np.ndarray) -> Similarity:
    """The inverse of `row_of`."""
    x, y, scale, angle = (float(v) for v in row)
    return Similarity(complex(x, y), (1 + scale) * np.exp(1j * angle))


def travel(at: Similarity, width: int, height: int) -> float:
    """How far a similarity moves the places of a picture: root mean square, in pixels."""
    return float(np.sqrt(abs(at.t) ** 2 + abs(at.z - 1) ** 2 * (width**2 + height**2) / 12))


class Camera:
    """Follows the camera of one shot.

    Attributes:
        moving: it has surely moved.
    """

    def __init__(self) -> None:
        self.moving = False
        self._keys: list[tuple[KeyPicture, Similarity]] = []  # each with what takes rest to it
        self._at, self._step = Similarity(), Similarity()  # of the last frame, and since the one before
        self._key = 0  # that was found last
        self._sure = self._lost = self._waited = self._count = 0
        self._size = (0, 0)
        self._before: tuple[Pyramid, list[np.ndarray]] | None = None  # the last frame that was found

    def step(self, rgb: np.ndarray, people: list[np.ndarray]) -> np.ndarray | None:
        """The row of the next frame, None where it cannot be told.  As long as `moving` is False
        the camera is at rest, whatever the row.

        Args:
            rgb: (H, W, 3) uint8.
            people: placements of the faces in it.
        """
        picture = pyramid(rgb)
        self._size = rgb.shape[1], rgb.shape[0]
        if not self._keys:
            self._begin(picture, people)
            return np.zeros(4)
        self._count += 1
        found = self._found(picture, people) or self._bridged(picture, people)
        if found is None:
            self._missed(picture, people)
            return None
        self._before = picture, people
        before, self._at, self._lost = self._at, found.at.after(self._keys[self._key][1]), 0
        self._step = self._at.after(before.inverse())
        if not self.moving:
            self._judge(found)
        if self._is_left(found):
            self._renew(picture, people)
        return row_of(self._at)

    def _is_left(self, found: Located) -> bool:
        """Whether the key picture shows too little of the frame at hand."""
        shown = self._overlap(self._key)
        if self.moving:
            return shown < IN_SIGHT or found.agreed < FRESH
        return self._sure > 0 and shown < BACK  # a fast pan may have left all before it is sure

    def _found(self, picture: Pyramid, people: list[np.ndarray]) -> Located | None:
        """A key picture in the frame at hand: the last one, or an older one where that is as good."""
        found = self._located(self._key, picture, people)
        poor = found is None or found.agreed < FRESH or self._overlap(self._key) < IN_SIGHT
        if len(self._keys) == 1 or not (poor or self._count % AGAIN == 0):
            return found
        for which in range(len(self._keys)):
            if which == self._key and not poor:
                break
            if which != self._key and self._overlap(which) >= BACK:
                other = self._located(which, picture, people)
                if other is not None and other.agreed >= FRESH:
                    self._key = which
                    return other
                break
        return found

    def _begin(self, picture: Pyramid, people: list[np.ndarray]) -> None:
        """The first key picture, where there is something to see."""
        if self._waited % AGAIN == 0:
            key = KeyPicture(picture, people)
            if key.points >= FEWEST:
                self._keys = [(key, Similarity())]
        self._waited += 1

    def _bridged(self, picture: Pyramid, people: list[np.ndarray]) -> Located | None:
        """The frame before in the one at hand, where the key pictures are left faster than another
        can take their place."""
        if self._before is None or self._lost or not (self.moving or self._sure):
            return None
        self._renew(*self._before)
        return self._located(self._key, picture, people)

    def _located(self, which: int, picture: Pyramid, people: list[np.ndarray]) -> Located | None:
        """A key picture in the frame at hand, None where it is not found."""
        key, to_key = self._keys[which]
        back = to_key.inverse()
        starts = [at.after(back) for at in (self._at, self._step.after(self._at))] if not self._lost else []
        found = key.locate(picture, starts, people) if starts else None
        if found is None or found.agreed < FRESH:
            near = self._at.after(back)
            rough = Similarity(key.shift(picture).t, near.z)
            again = key.locate(picture, [rough, near], people)
            if found is None or (again is not None and again.agreed > found.agreed):
                found = again
        if found is None or found.agreed < AGREED or not 1 / FARTHEST_ZOOM < abs(found.at.z) < FARTHEST_ZOOM:
            return None
        return found

    def _missed(self, picture: Pyramid, people: list[np.ndarray]) -> None:
        self._lost += 1
        if self.moving:
            return
        self._rest()
        if self._lost >= STALE:
            self._keys, self._key, self._at, self._step, self._waited = [], 0, Similarity(), Similarity(), 0
            self._begin(picture, people)
            self._lost = 0

    def _judge(self, found: Located) -> None:
        """Whether the camera surely moves."""
        far = travel(found.at, *self._size) / max(LEAST_MOVED, MOVED * max(self._size))
        self._sure = self._sure + (1 if far < FAR else 2) if far > 1 and most_of(found) else 0
        self.moving = self._sure >= SURE
        if not self._sure:
            self._rest()

    def _rest(self) -> None:
        """What seemed to move was something else: only the key picture of a camera at rest is
        left."""
        self._sure, self._keys, self._key = 0, self._keys[:1], 0

    def _overlap(self, which: int) -> float:
        """Share of a key picture's view that the camera shows."""
        return _overlap(self._at.after(self._keys[which][1].inverse()), *self._size)

    def _renew(self, picture: Pyramid, people: list[np.ndarray]) -> None:
        """The frame at hand becomes a key picture."""
        key = KeyPicture(picture, people)
        if key.points >= FEWEST:
            self._keys.append((key, self._at))
            if len(self._keys) > MOST_KEYS:
                del self._keys[1]
            self._key = len(self._keys) - 1


def most_of(found: Located) -> bool:
    """Whether most of a picture moves, not a thing in it: counted in tiles; a plain one has no say."""
    tiles = np.clip(((found.points.real + 1) / 2 * TILES).astype(int), 0, TILES - 1)
    tiles += TILES * np.clip(((found.points.imag + 1) / 2 * TILES).astype(int), 0, TILES - 1)
    counts, before, after = (
        np.bincount(tiles, weights, TILES**2)
        for weights in (np.ones(len(tiles)), np.abs(found.before), np.abs(found.rest))
    )
    asked = (counts >= FEW_IN_TILE) & (before > CHANGED * counts)
    for_it = asked & (after < BETTER * before)
    halves = for_it.reshape(TILES, 2, TILES // 2).any((0, 2))
    return bool(halves.all() and for_it.sum() >= FEWEST_TILES and for_it.sum() >= MAJORITY * asked.sum())


def _overlap(at: Similarity, width: int, height: int) -> float:
    """Share of a picture that is still inside after a similarity; 0 where it is too large or small."""
    if not 1 / ZOOM < abs(at.z) < ZOOM:
        return 0.0
    y, x = np.mgrid[-3:4, -3:4] / 3.5
    q = at.t + at.z * (x * width / 2 + 1j * y * height / 2)
    return float(((np.abs(q.real) <= width / 2) & (np.abs(q.imag) <= height / 2)).mean())


def settled(rows: list[np.ndarray | None]) -> list[np.ndarray]:
    """The rows of a shot whose camera moves, those between where they are not known."""
    known = [at for at, row in enumerate(rows) if row is not None]
    values = np.array([row for row in rows if row is not None]).reshape(-1, 4)
    if not known:
        return [np.zeros(4) for _ in rows]
    return list(np.stack([np.interp(np.arange(len(rows)), known, column) for column in values.T], 1))


def filled(before: np.ndarray, rows: list[np.ndarray | None]) -> np.ndarray:
    """The first of some rows, between the one before and the next that is known where it is not."""
    for k, row in enumerate(rows):
        if row is not None:
            out: np.ndarray = before + (row - before) / (k + 1)
            return out
    return before
