"""Which of a file's streams are the talk: the one asked for, else the one flagged default, else the
longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from ...format.errors import MediaError, UsageError
from .scan import is_picture
from .track import Track

ALIKE = Fraction(9, 10)  # streams at least so long, against the longest, are equally long: then the first counts


@dataclass(frozen=True)
class StreamChoice:
    """Streams asked for, numbered among their kind from 0; None for the choice made here.

    Args:
        silent: no sound.
    """

    video: int | None = None
    sound: int | None = None
    silent: bool = False


def choose_video(
    name: str, container: av.container.InputContainer, tracks: Mapping[int, Track], want: int | None
) -> Any:
    """The video stream to read.

    Args:
        want: its number among the video streams, from 0.

    Raises:
        MediaError, UsageError.
    """
    streams = list(container.streams.video)
    if want is not None:
        chosen = _numbered(name, streams, want, "video")
        if is_picture(chosen):
            raise UsageError(f"{name}: video stream {want} is a cover picture, not a clip")
        return chosen
    moving = clips(streams, tracks)
    if not moving:
        kind = "only audio" if container.streams.audio else "no video"
        raise MediaError(f"{name}: holds {kind}: a video stream is needed")
    return _best(moving, tracks)


def clips(streams: list[Any], tracks: Mapping[int, Track]) -> list[Any]:
    """Video streams that may be the talk: one picture beside a longer stream is a thumbnail,
    however it is flagged.
    """
    moving = [s for s in streams if not is_picture(s)]
    return [s for s in moving if tracks[s.index].packets != 1] or moving


def choose_sound(
    name: str, container: av.container.InputContainer, tracks: Mapping[int, Track], want: int | None
) -> Any:
    """The audio stream to read, None where there is none."""
    streams = list(container.streams.audio)
    if want is not None:
        return _numbered(name, streams, want, "audio")
    return _best(streams, tracks) if streams else None


def _numbered(name: str, streams: list[Any], want: int, kind: str) -> Any:
    if not 0 <= want < len(streams):
        if not streams:
            raise UsageError(f"{name}: has no {kind} stream at all")
        there = "there is number 0 alone" if len(streams) == 1 else f"they are numbered 0 to {len(streams) - 1}"
        raise UsageError(f"{name}: has no {kind} stream {want}; {there}")
    return streams[want]


def _best(streams: list[Any], tracks: Mapping[int, Track]) -> Any:
    default = [s for s in streams if s.disposition & av.stream.Disposition.default]
    among = [s for s in default or streams if tracks[s.index].packets or not tracks[s.index].length] or streams
    longest = max(tracks[s.index].length for s in among)
    return next(s for s in among if tracks[s.index].length >= longest * ALIKE)
