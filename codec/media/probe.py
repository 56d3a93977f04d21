"""What a file holds before anything is decoded: which streams are the talk, how long, and whether
the file is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

from ...format.errors import MediaError
from .notices import Notices
from .scan import own_clock, tracks_of
from .source import open_container, translated
from .streams import StreamChoice, choose_sound, choose_video, clips
from .track import Track
from .truncation import frames_missing, is_cut


@dataclass(frozen=True)
class MediaProbe:
    """What is known of a file before anything is decoded.

    Args:
        tracks: of all streams, by their index.
        video, sound: the streams to read.
        own_clock: the container's clock begins where the clip does (`scan.own_clock`).
        cut: the file is cut short (`truncation.is_cut`); None where the container does not say.
    """

    tracks: dict[int, Track]
    video: Track
    sound: Track | None
    own_clock: bool
    cut: bool | None

    def count_missing(self, container: Any, fps: Fraction, half: int, notices: Notices) -> None:
        """Say what is missing at the end of the file.

        Args:
            half: packets that were half there and left out.
        """
        lost = frames_missing(container, container.streams[self.video.index], self.tracks, fps, self.cut)
        if lost and "mp4" not in container.format.name:  # its index counts those too
            lost += half
        notices.add("missing", lost)
        if not lost and (self.cut or half):
            notices.add("short")


def probe(file: BinaryIO, name: str, which: StreamChoice, until: float | None, notices: Notices) -> MediaProbe:
    """Choose the streams.

    Args:
        until: seconds that are wanted.

    Raises:
        MediaError, UsageError.
    """
    with translated(name, "cannot be read"):
        cut = is_cut(file)
    container, view = open_container(file, name)
    with container:
        with translated(name, "cannot be read"):
            tracks = tracks_of(container, view, until)
        if cut and not any(s.codec_context for s in container.streams.video):
            raise MediaError(f"{name}: truncated: what describes its video is cut off")
        video = tracks[choose_video(name, container, tracks, which.video).index]
        if which.video is None:
            notices.add("other_videos", len(clips(list(container.streams.video), tracks)) - 1)
        notices.add("jumps", len(video.jumps))
        chosen = None if which.silent else choose_sound(name, container, tracks, which.sound)
        if chosen is not None and which.sound is None:
            notices.add("other_sounds", len(container.streams.audio) - 1)
        sound = None if chosen is None else tracks[chosen.index]
        return MediaProbe(tracks, video, sound, own_clock(container), cut)
