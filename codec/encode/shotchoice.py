"""Which stretches of a clip go as plain AV1: those to which video of the same bytes comes nearer than
what the actors draw.

The file is written to memory and decoded as anybody would, beside the source, which is read again.
A shot is judged in pieces, so that disk and time are bounded for a long one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...format.container import Reader
from ...format.reference import Identity
from ...format.segment import Segment
from ..draw.frames import FrameDecoder
from ..draw.options import DecodeOptions
from ..draw.units import dequantise_placement
from ..face.align import INNER
from ..face.warp import resize
from ..media.frame import Frame
from ..media.outfile import scratch_file
from ..media.videoencoder import coded_size
from ..model.modelfile import Model
from .likeness import Likeness, likeness
from .shotvideo import Shot, VideoShot, code_video, shown

PIECE = 20.0  # seconds of a shot that are judged at once
LARGER = 640  # side of the pictures that are compared, and of the largest video
GOOD = Likeness(32.0, 0.65)  # what is drawn so well is not compared
# Where the least video that there is takes more bytes than the actors do:
MOST_OVER, FAR = 1.5, 6.0  # so many times their bytes it may take, if it is better by so many dB
MARGIN = 1.0  # dB of the score by which video must be better: actors can be drawn at any size
LEAST_FACE = 24  # pixels of a face that is compared

Box = tuple[slice, slice]  # rows and columns of a picture


@dataclass(frozen=True)
class Piece:
    """Some segments of a shot in succession.

    Args:
        segments: their numbers.
        lengths: frames of each.
        bytes: that the file spends on them, without sound.
    """

    segments: range
    lengths: list[int]
    bytes: int


@dataclass(frozen=True)
class Judged:
    """A piece, and how near what is sent of it comes.

    Args:
        drawn: by the actors.
        video: that comes nearer; None = the actors stay.
    """

    piece: Piece
    drawn: Likeness
    video: VideoShot | None = None


def pieces_of(lengths: Sequence[int], shots: Sequence[int], costs: Sequence[float], most: int) -> list[Piece]:
    """The pieces of a clip.

    Args:
        lengths: frames of each segment.
        shots: number of each segment's shot.
        costs: bytes of each segment, with its part of actors and sets.
        most: frames of a piece, but for a segment that is longer.
    """
    out: list[Piece] = []
    begin = 0
    for end in range(1, len(lengths) + 1):
        full = end < len(lengths) and sum(lengths[begin : end + 1]) > most
        if end == len(lengths) or shots[end] != shots[begin] or full:
            out.append(Piece(range(begin, end), list(lengths[begin:end]), round(sum(costs[begin:end]))))
            begin = end
    return out


def judged(
    data: bytes,
    model: Model,
    source: Iterable[Frame],
    pieces: Sequence[Piece],
    known: Identity | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> Iterator[Judged]:
    """Compare what a file shows with its source, piece by piece.

    Args:
        data: the file.
        model: that draws it.
        source: its frames.
        pieces: all of the file, in order.
        known: the identity that the file refers to, if it does.
        progress: told how many frames more are done.
    """
    reader = Reader(io.BytesIO(data), identities=None if known is None else lambda sha256: known)
    decoder, frames, segments = FrameDecoder(reader, DecodeOptions(), model), iter(source), reader.segments()
    header = reader.header
    width, height = coded_size(header.width, header.height, LARGER)
    for piece in pieces:
        own = [next(segments) for _ in piece.segments]
        pts: NDArray[np.int64] = np.concatenate([segment.pts for segment in own])
        with scratch_file() as store:
            for _ in range(len(pts)):
                store.write(resize(next(frames).rgb, width, height).tobytes())
            again = partial(_stored, store, len(pts), width, height)
            shot = Shot(again, piece.lengths, pts, Fraction(*header.fps), width, height)
            pictures = [resize(p, width, height) for p in _drawn(decoder, own, shot.judged)]
            drawn = likeness(shot.source(), pictures)
            faces = _faces(own, shot.judged, width / header.width, (width, height))
            yield Judged(piece, drawn, None if _good(drawn) else _video(shot, piece, drawn, pictures, faces))
            progress(len(pts))


def _stored(store: BinaryIO, count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """Pictures of a file that holds nothing else."""
    store.seek(0)
    for _ in range(count):
        yield np.frombuffer(bytearray(store.read(width * height * 3)), np.uint8).reshape(height, width, 3)


def _good(drawn: Likeness) -> bool:
    return drawn.psnr >= GOOD.psnr and drawn.haarpsi >= GOOD.haarpsi


def _video(
    shot: Shot, piece: Piece, drawn: Likeness, pictures: list[np.ndarray], faces: list[list[Box]]
) -> VideoShot | None:
    """The video of a piece, if it fits its bytes and comes nearer, in the whole picture and in the
    faces."""
    sides = [side for side in (LARGER, 480, 320, 240) if side <= max(shot.width, shot.height)] or [LARGER]
    video = code_video(shot, piece.bytes, sides)
    gain = video.likeness.score - drawn.score
    worth = MARGIN if video.coded.size <= piece.bytes else FAR
    if gain <= worth or video.coded.size > MOST_OVER * piece.bytes:
        return None
    source = _cut(shot.source(), faces)
    if source and likeness(source, _cut(pictures, faces)).score >= _of_faces(shot, video, source, faces):
        return None
    return video


def _of_faces(shot: Shot, video: VideoShot, source: list[np.ndarray], faces: list[list[Box]]) -> float:
    """How near video comes to faces, the score."""
    return likeness(source, _cut(list(shown(video.coded, shot)), faces)).score


def _cut(pictures: list[np.ndarray], faces: list[list[Box]]) -> list[np.ndarray]:
    """The faces of pictures."""
    return [picture[box] for picture, boxes in zip(pictures, faces, strict=True) for box in boxes]


def _faces(segments: list[Segment], wanted: NDArray[np.int64], scale: float, size: tuple[int, int]) -> list[list[Box]]:
    """Where the inner faces are in some frames of a piece, as far as they are in the picture.

    Args:
        scale: pixels of the pictures for one of the file.
        size: of the pictures.
    """
    out: list[list[Box]] = []
    first = 0
    for segment in segments:
        for row in wanted[(wanted >= first) & (wanted < first + segment.frames)] - first:
            boxes = []
            for track in segment.actors:
                assert track.placement is not None
                cx, cy, half, _ = dequantise_placement(track.placement[row : row + 1])[0] * scale
                sides = [
                    slice(max(0, round(c - INNER * half)), min(end, round(c + INNER * half)))
                    for c, end in ((cy, size[1]), (cx, size[0]))
                ]
                if min(side.stop - side.start for side in sides) >= LEAST_FACE and half < max(size):
                    boxes.append((sides[0], sides[1]))
            out.append(boxes)
        first += segment.frames
    return out


def _drawn(decoder: FrameDecoder, segments: list[Segment], wanted: NDArray[np.int64]) -> Iterator[np.ndarray]:
    """Some frames of a piece, as they are decoded."""
    first = 0
    for segment in segments:
        rows = wanted[(wanted >= first) & (wanted < first + segment.frames)] - first
        if len(rows):
            yield from (picture for _, picture in decoder.pictures(segment, rows))
        first += segment.frames
