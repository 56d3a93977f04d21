"""The classical codecs through PyAV: x264, x265, SVT-AV1 and VP9, from the lowest rate that each has upwards.

`ours` does the same with fev.  All get the same square in 8-bit 4:2:0, BT.709, limited range, at its own frame rate,
constant quality, one thread (so that bytes do not depend on the machine), in MP4.

Choices: presets are those of people who have time: `veryslow`, SVT-AV1's 3, VP9's `good` with cpu-used 1.  "single" is
one GOP, the key frame at the beginning and no other, which is what the lowest rate wants; "1s" has a key frame every
second, which is what seeking and joining late want.  The lowest point of each ladder is the coarsest quantiser that the
encoder accepts, also past where its own quality scale ends.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ...codec.media.colour import Colour, from_rgb, tag
from ...codec.media.priority import usual_priority
from ...codec.media.source import one_line
from ...format.errors import FevError
from .coded import CodedClip

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would print its settings
ENDLESS = 1 << 20  # frames: longer than any clip
DELIMITER = b"\x12\x00"  # an AV1 temporal delimiter, which MP4 does not store
SEI = 6  # type of the NAL unit in which x264 writes its version and settings


@dataclass(frozen=True)
class Codec:
    """encoder: PyAV's name.  ladder: from the lowest rate up; what each point is called.  presets: options of each."""

    encoder: str
    title: str
    ladder: tuple[str, ...]
    presets: dict[str, dict[str, str]]


CODECS = {
    "x264": Codec(
        "libx264", "H.264 (x264)", ("qp51", "crf51", "crf47", "crf43", "crf39", "crf35", "crf31", "crf27"),
        {"slow": {"preset": "veryslow"}, "fast": {"preset": "veryfast"}},
    ),
    "x265": Codec(
        "libx265", "HEVC (x265)", ("qp51", "crf51", "crf47", "crf43", "crf39", "crf35", "crf31", "crf27"),
        {"slow": {"preset": "veryslow"}, "fast": {"preset": "ultrafast"}},
    ),
    "svtav1": Codec(
        "libsvtav1", "AV1 (SVT-AV1)", ("crf70", "crf66", "crf63", "crf57", "crf51", "crf45", "crf39", "crf31"),
        {"slow": {"preset": "3"}, "fast": {"preset": "10"}},
    ),
    "vp9": Codec(
        "libvpx-vp9", "VP9 (libvpx)", ("q63", "crf63", "crf60", "crf56", "crf51", "crf45", "crf39", "crf33"),
        {"slow": {"deadline": "good", "cpu-used": "1"}, "fast": {"deadline": "realtime", "cpu-used": "8"}},
    ),
}  # fmt: skip


def missing(name: str) -> str | None:
    """Why a codec cannot be used here, None if it can."""
    try:
        av.codec.Codec(CODECS[name].encoder, "w")
    except (av.FFmpegError, ValueError):
        return f"{CODECS[name].title}: this PyAV has no {CODECS[name].encoder}"
    return None


def points(name: str, count: int) -> tuple[str, ...]:
    """`count` points of a ladder: the lowest and the highest always, the rest evenly between."""
    ladder = CODECS[name].ladder
    if count >= len(ladder):
        return ladder
    place = np.linspace(0, len(ladder) - 1, max(1, count)).round().astype(int)
    return tuple(ladder[i] for i in sorted(set(place.tolist())))


def options(name: str, point: str, gop: str, preset: str, fps: Fraction) -> tuple[dict[str, str], int]:
    """Options of the encoder, and its longest GOP in frames."""
    kind, value = point.rstrip("0123456789"), point.lstrip("abcdefghijklmnopqrstuvwxyz")
    frames = ENDLESS if gop == "single" else max(1, round(fps))
    given = dict(CODECS[name].presets[preset])
    if name == "x264":
        keys = "keyint=infinite" if gop == "single" else f"keyint={frames}:min-keyint={frames}"
        given |= {kind: value, "x264-params": f"{keys}:scenecut=0"}
    elif name == "x265":
        keys = "keyint=-1" if gop == "single" else f"keyint={frames}:min-keyint={frames}:open-gop=0"
        fixed = "scenecut=0:info=0:frame-threads=1:pools=none:log-level=error"
        given |= {"x265-params": f"{kind}={value}:{keys}:{fixed}"}
    elif name == "svtav1":
        keys = "keyint=-1" if gop == "single" else f"keyint={frames}:irefresh-type=2"
        given |= {"svtav1-params": f"{kind}={value}:{keys}:scd=0:lp=1"}  # its crf ends at 70 here, elsewhere at 63
    else:
        given |= {"crf": value, "auto-alt-ref": "1", "lag-in-frames": "25", "keyint_min": str(min(frames, 9999))}
        given |= {"qmin": value, "qmax": value} if kind == "q" else {}
    return given, frames


def encode(name: str, point: str, gop: str, preset: str, frames: Iterable[np.ndarray], fps: Fraction) -> CodedClip:
    """Code frames (S, S, 3), S even.  Raises FevError where the encoder refuses."""
    given, longest = options(name, point, gop, preset, fps)
    started = time.perf_counter()
    try:
        return _encode(name, given, longest, frames, fps, gop == "single", started)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise FevError(f"{CODECS[name].title} at {point}: {one_line(error)}") from error


def _encode(
    name: str, given: dict[str, str], longest: int, frames: Iterable[np.ndarray], fps: Fraction, single: bool,
    started: float,
) -> CodedClip:  # fmt: skip
    out, sizes, keys, colour = io.BytesIO(), [], 0, Colour()
    with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(CODECS[name].encoder, rate=fps, options=given)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base, context.gop_size, context.thread_count = 1 / fps, longest, 1
        if name == "vp9":
            context.bit_rate = 0
        tag(context, colour)

        def take(packets: Iterable[av.Packet[Any]]) -> None:
            nonlocal keys
            for packet in packets:
                sizes.append(_counted(name, bytes(packet)))
                keys += packet.is_keyframe
                container.mux(packet)

        for i, rgb in enumerate(frames):
            if not i:
                stream.height, stream.width = rgb.shape[:2]
                with usual_priority():
                    context.open()
            picture = from_rgb(rgb, "yuv420p", colour)
            picture.pts, picture.time_base = i, 1 / fps
            take(stream.encode(picture))
        take(stream.encode(None))
        # In MP4 the parameter sets of H.264 and HEVC lie outside of the packets; AV1 repeats its own in the key frame.
        sets = len(context.extradata or b"") if name in ("x264", "x265") else 0
    elapsed = time.perf_counter() - started
    count = sum(sizes) + sets
    once = sets + (sizes[0] if single else 0)
    return CodedClip(
        out.getvalue(), ".mp4", count, once, len(out.getbuffer()) - count, elapsed, key_frames=keys, software=version()
    )


def _counted(name: str, packet: bytes) -> int:
    """Bytes of a packet that a file has to keep."""
    if name == "svtav1" and packet.startswith(DELIMITER):
        return len(packet) - len(DELIMITER)
    if name == "x264":
        units = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
        return len(packet) - sum(len(u) + 3 for u in units if u and u[0] & 31 == SEI)
    return len(packet)


def version() -> str:
    """The software whose bytes these are."""
    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
