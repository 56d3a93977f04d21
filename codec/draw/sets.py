"""What lies beneath the actors of a frame: the set of its segment, as the camera shows it, or video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...format.errors import DamagedError
from ...format.reader import Reader
from ...format.segment import Segment
from ...format.stage import UNIT, Set
from ...format.video import Video
from ..face.warp import halved, halvings, resize, warped
from ..media.still import decode_still
from .footage import Footage
from .kept import Kept
from .units import dequantise_camera

MOST, ROOM = 6, 256 << 20  # plates that are kept, and their bytes
FOOTAGE = 2  # segments of which the video is kept open
REST = (0, 0, 0, 0)


@dataclass(frozen=True)
class Plate:
    """A set as it is drawn from.

    Args:
        picture: (H, W, 3) uint8.
        matrix: (2, 3) takes a point of the picture of a camera at rest to one of the plate; None =
            they are the same.
    """

    picture: np.ndarray
    matrix: np.ndarray | None = None


class Sets:
    """The sets of a stream and its video, each decoded when it is first needed.

    Args:
        width, height: of the frames that are drawn.
        scale: pixels of these for one of the stream's.
    """

    def __init__(self, reader: Reader, width: int, height: int, scale: float):
        self.reader = reader
        self.width, self.height, self.scale = width, height, scale
        self._black = Plate(np.zeros((height, width, 3), np.uint8))
        self._plates = Kept[tuple[int, int], Plate](MOST, ROOM, lambda plate: plate.picture.nbytes)
        self._footage = Kept[int, Footage](FOOTAGE)
        self._last: tuple[tuple[int | None, tuple[int, ...]], np.ndarray] | None = None

    def beneath(self, segment: Segment, rows: np.ndarray) -> list[np.ndarray]:
        """What lies beneath the actors in some frames of a segment, by their places in it.

        Frames that look the same may be the same array.
        """
        if segment.video is not None:
            return [self._filmed(segment, segment.video, int(row)) for row in rows]
        out: list[np.ndarray] = []
        last: tuple[int, ...] | None = None
        for row in rows:
            camera = REST if segment.camera is None else tuple(map(int, segment.camera[row]))
            if camera != last:
                picture = self._seen(segment.on_set, camera)
                last = camera
            out.append(picture)
        return out

    def missing(self, segment: Segment, rows: np.ndarray) -> np.ndarray:
        """Beneath which of some frames, that were drawn, something is not there that should be."""
        if segment.video is None:
            return np.full(len(rows), self._plate(segment.on_set) is None)
        footage = self._film(segment, segment.video)
        return np.array([footage is None or footage.lost(int(row)) for row in rows])

    def _film(self, segment: Segment, video: Video) -> Footage | None:
        """The video of a segment; None if its header was lost."""
        config = self.reader.cast.video
        if config is None:
            return None
        return self._footage.get(segment.index, lambda: Footage(config, video, segment.pts, self.reader.salvage))

    def _filmed(self, segment: Segment, video: Video, row: int) -> np.ndarray:
        footage = self._film(segment, video)
        picture = None if footage is None else footage.at(row)
        return self._black.picture if picture is None else resize(picture, self.width, self.height)

    def _plate(self, number: int | None, count: int = 0) -> Plate | None:
        """A set, halved so often; None if it was lost."""
        given = None if number is None else self.reader.cast.sets.get(number)
        if given is None:
            return None if number or (number == 0 and self.reader.header.has_set) else self._black
        try:
            return self._plates.get((given.number, count), lambda: self._made(given, count))
        except DamagedError:
            if not self.reader.salvage:
                raise
            return None

    def _made(self, given: Set, count: int) -> Plate:
        if count:
            whole = self._plates.get((given.number, 0), lambda: self._made(given, 0))
            picture = halved(whole.picture, count)
            across, down = (a / b for a, b in zip(picture.shape[1::-1], whole.picture.shape[1::-1], strict=True))
            start = np.eye(2, 3) if whole.matrix is None else whole.matrix
            return Plate(picture, start * np.array([[across], [down]]))
        still, h = given.still, self.reader.header
        picture = decode_still(still.data, still.width, still.height)
        if given.place is None:
            picture = resize(picture, h.width, h.height)
            return Plate(resize(picture, self.width, self.height))
        density = given.place.scale / UNIT
        corner = -density / 8 * np.array([given.place.x, given.place.y])
        return Plate(picture, np.array([[density / self.scale, 0, corner[0]], [0, density / self.scale, corner[1]]]))

    def _seen(self, number: int | None, camera: tuple[int, ...]) -> np.ndarray:
        plate = self._plate(number) or self._black
        if plate is self._black or (plate.matrix is None and camera == REST):
            return plate.picture
        last = self._last  # while the camera rests; several threads may find it old, and each warps
        if last is None or last[0] != (number, camera):
            last = self._last = ((number, camera), self._warped(number, plate, camera))
        return last[1]

    def _warped(self, number: int | None, plate: Plate, camera: tuple[int, ...]) -> np.ndarray:
        h = self.reader.header
        x, y, zoom, angle = dequantise_camera(np.array(camera), h.width, h.height)
        start = np.eye(2, 3) if plate.matrix is None else plate.matrix
        count = halvings(float(start[0, 0]) / zoom)
        if count:
            plate = self._plate(number, count) or plate
            start = np.eye(2, 3) if plate.matrix is None else plate.matrix
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        middle = np.array([h.width, h.height]) * self.scale / 2
        turn[:2, 2] = middle - turn[:2, :2] @ (middle + np.array([x, y]) * self.scale)
        return warped(plate.picture, start @ turn, self.width, self.height)
