"""What coding a square comes to: the stream, and its bytes parted into what is paid once and what every second costs.

`classic` and `ours` make it, `views` reckons with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CodedClip:
    """A coded clip.

    Attributes:
        stream: a whole file, which decodes by itself; kept beside the report.
        ending: of the file's name.
        bytes: what the report counts: for `.fev` every byte of the file; for the classical
            codecs the packets and parameter sets, without MP4 and without the text in which
            x264 names itself, which is in their favour.
        once: of these, the bytes that do not grow with the clip: `.fev` without its segments
            and their places in the index; for the others parameter sets and, with one GOP, the
            key frame. The rest is taken to grow with time.
        container: bytes of the stream that are not counted.
        sections: of `.fev`, as `fev-info` has them.
        key_frames: of the classical codecs.
        elapsed_s: of encoding, wall time on one thread.
    """

    stream: bytes
    ending: str
    bytes: int
    once: int
    container: int
    elapsed_s: float
    sections: dict[str, int] = field(default_factory=dict)
    key_frames: int | None = None
    software: str = ""
