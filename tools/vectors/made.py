"""Whole streams by arithmetic, so that every machine makes the same bytes: what all vectors begin from."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from ...format import (
    Actor,
    AudioConfig,
    AudioPacket,
    DeltaTensor,
    Header,
    Modes,
    Patch,
    Pivot,
    Place,
    Segment,
    Set,
    Still,
    Track,
    Video,
    VideoConfig,
    Writer,
)
from ...format.part import cut

MODEL = bytes(range(32))


class Dice:
    """A 64-bit linear congruential generator; the upper bits are good enough to throw with."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, count: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self._state >> 33) % count

    def bytes(self, count: int) -> bytes:
        return bytes(self.below(256) for _ in range(count))

    def step(self, size: int) -> int:
        """Around zero, mostly small: the difference of two throws, often zero."""
        return 0 if self.below(3) == 0 else self.below(size + 1) - self.below(size + 1)

    def walk(self, frames: int, start: list[int], size: int) -> np.ndarray:
        """(frames, len(start)) int32."""
        rows, at = [], start
        for _ in range(frames):
            at = [value + self.step(size) for value in at]
            rows.append(at)
        return np.array(rows, np.int32)


def header(**changes: Any) -> Header:
    facts: dict[str, Any] = dict(
        width=256, height=256, time_base=(1, 30), fps=(30, 1), model_sha256=MODEL, params=35, placement=True,
        segment_frames=15,
    )  # fmt: skip
    return Header(**{**facts, **changes})


def some_modes(dice: Dice) -> Modes:
    """Three planes; the second has no light, the third no finest bands."""
    luma, chroma, flow = (
        np.zeros((3, 16, 16), np.int32),
        np.zeros((3, 2, 8, 8), np.int32),
        np.zeros((3, 2, 8, 8), np.int32),
    )
    for k, side in ((0, 16), (2, 8)):
        for y, x in np.ndindex(side, side):
            luma[k, y, x] = dice.step(2 + 30 // (1 + y + x))
    for k, y, x in np.ndindex(3, 8, 8):
        chroma[k, :, y, x] = dice.step(1), dice.step(1)
        flow[k, :, y, x] = dice.step(1 + 6 // (1 + y + x)), dice.step(1)
    mix = np.array([[dice.step(20) for _ in range(2)] for _ in range(35)], np.int32)
    return Modes(mix, 21, luma, chroma, flow, np.array([49, 40, 41]), np.array([33, 28, 29]))


MOTION_STEP, IDENTITY_STEP = 24, 30


def some_still(dice: Dice, side: int, size: int) -> Still:
    return Still(1, side, side, 1, False, dice.bytes(size))


def stream(
    lengths: list[int],
    *,
    seed: int = 1,
    size: int = 2,
    audio: bool = False,
    delta: bool = False,
    modes: bool = False,
    pivot: bool = False,
    background: bool = False,
    meta: dict[str, Any] | None = None,
    repeat: int = 0,
    index: bool = True,
    held: tuple[int, ...] = (),
    still: int = 0,
    times: Callable[[int], int] | None = None,
    identity: int = 24,
    elsewhere: bool = False,
    **changes: Any,
) -> bytes:
    """A whole stream with segments of the given lengths. `held` frames and `times` count over all frames.

    still: every so manyth frame has the motion of the one before it; 0 = none.
    elsewhere: the stream refers to the identity that it would hold without.
    """
    dice, head, out = Dice(seed), header(**changes), io.BytesIO()
    actor = Actor.of(
        np.array([dice.step(12) for _ in range(identity)], np.int32),
        MOTION_STEP,
        IDENTITY_STEP,
        delta=[DeltaTensor(k, 1, 2, 3, np.array([dice.step(2) for _ in range(60)], np.int32)) for k in (2, 5)]
        if delta
        else None,
        modes=some_modes(Dice(seed + 100)) if modes else None,
        pivot=Pivot((3, -1, 0, 70), some_still(dice, 256, 50)) if pivot else None,
    )
    if elsewhere:
        actor = Actor.refer(actor.sha256(head))
    writer = Writer(
        out,
        head,
        actors=[actor],
        sets=[Set(some_still(dice, 64, 40))] if background else [],
        audio=AudioConfig(bitrate=12000) if audio else None,
        meta=meta,
        repeat_header_every=repeat,
    )
    total = sum(lengths)
    motion = dice.walk(total, [0] * head.params, size)
    places = dice.walk(total, [1024, 1000, 610, 0], 3)
    for frame in held:
        motion[frame], places[frame] = motion[frame - 1], places[frame - 1]
    for frame in range(still, total, still) if still else ():
        motion[frame] = motion[frame - 1]
    first = 0
    for number, length in enumerate(lengths):
        frames = range(first, first + length)
        packets = [AudioPacket(1600 * first + 960 * k, 960, dice.bytes(10 + k % 3)) for k in range(length * 5 // 3)]
        writer.write_segment(
            Segment.single(
                number,
                first,
                np.array([times(f) if times else f * head.pts_step for f in frames], np.int64),
                motion[first : first + length],
                places[first : first + length] if head.placement else None,
                np.isin(np.array(frames), held),
                packets if audio else [],
            )
        )
        first += length
    writer.close(index=index)
    return out.getvalue()


class Play:
    """A stream of several actors and sets, segment by segment."""

    def __init__(self, seed: int = 1, sets: bool = True, repeat: int = 0, audio: bool = False, **changes: Any) -> None:
        self.dice, self.out = Dice(seed), io.BytesIO()
        head = header(**{"params": 4, "segment_frames": 5, **changes})
        self.first = self.count = 0
        given = [Set(some_still(self.dice, 64, 30))] if sets else []
        sound = AudioConfig(bitrate=12000) if audio else None
        self.writer = Writer(self.out, head, sets=given, audio=sound, repeat_header_every=repeat)
        self.latest: dict[int, Actor] = {}

    def actor(self, number: int, revision: int = 0, pivot: bool = False, same: bool = False) -> None:
        """An actor comes, or a revision of one.

        pivot: with a picture.  same: with the coefficients of the revision before.
        """
        values = np.array([self.dice.step(9) for _ in range(6)], np.int32)
        still = Pivot((1,), some_still(self.dice, 64, 20)) if pivot else None
        actor = Actor.of(values, MOTION_STEP, IDENTITY_STEP, pivot=still, number=number, revision=revision)
        if same:
            kept = self.latest[number].parts
            parts = {**kept, **{name: data for name, data in actor.parts.items() if name != "IDEN"}}
            actor = Actor(number, revision, MOTION_STEP + 1, IDENTITY_STEP, parts)
        self.latest[number] = actor
        self.writer.write_actor(actor)

    def again(self, number: int) -> None:
        """What came last of an actor comes once more."""
        self.writer.write_actor(self.latest[number])

    def set(self, number: int, place: Place | None = None) -> None:
        self.writer.write_set(Set(some_still(self.dice, 64, 30), number, place))

    def video(self, sequence: bytes = b"\x0a\x01\x00") -> None:
        """What the video packets are."""
        self.writer.write_video(VideoConfig(64, 64, sequence))

    def segment(
        self,
        *cast: tuple[int, int],
        on_set: int | None = 0,
        camera: bool = False,
        patches: tuple[tuple[int, int, int], ...] = (),
        held: tuple[int, ...] = (),
        audio: bool = False,
        video: int = 0,
        parts: tuple[int, ...] = (),
    ) -> None:
        """Five frames.

        held: places of actors that are held in frames 2 and 3.  video: its step, in place of the set.
        parts: frames of each, where the segment comes in parts.
        """
        tracks = []
        for place, (actor, revision) in enumerate(cast):
            motion = self.dice.walk(5, [0] * 4, 2)
            spot = self.dice.walk(5, [700 + 500 * place, 1000, 400, 0], 3)
            stands = np.zeros(5, bool)
            if place in held:
                stands[2:4] = True
                motion[2:4], spot[2:4] = motion[1], spot[1]
            tracks.append(Track(motion, spot if self.writer.header.placement else None, stands, actor, revision))
        pictures = [Patch(*where, some_still(self.dice, 64, 25)) for where in patches]
        moves = self.dice.walk(5, [0, 0, 40, 0], 6) if camera else None
        pts = np.arange(self.first, self.first + 5)
        packets = [AudioPacket(1600 * self.first, 960, b"sound")] if audio else []
        coded = tuple(self.dice.bytes(9 + self.dice.below(5)) for _ in range(0, 5, video)) if video else ()
        behind = None if video else on_set
        film = Video(video, coded) if video else None
        segment = Segment(self.count, self.first, pts, tracks, packets, behind, moves, pictures, film)
        for piece in cut(segment, parts, self.writer.header) if parts else [segment]:
            self.writer.write_segment(piece)
        self.count, self.first = self.count + 1, self.first + 5

    def data(self) -> bytes:
        self.writer.close()
        return self.out.getvalue()
