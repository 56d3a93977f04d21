"""Small synthetic clips for the media tests, made with PyAV alone so that they judge `fev.codec` from outside."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

TICK = Fraction(1, 90000)
KR_KB = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}


def yuv(rgb: Any, matrix: int, full: bool) -> tuple[float, float, float]:
    """RGB (0..255) -> Y, Cb, Cr, straight from the definition in ISO/IEC 23091-2."""
    r, g, b = (float(x) for x in rgb)
    kr, kb = KR_KB[matrix]
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if full:
        return y, cb + 128, cr + 128
    return 16 + y * 219 / 255, 128 + cb * 224 / 255, 128 + cr * 224 / 255


def flat(rgb: Any, width: int, height: int, matrix: int = 1, full: bool = False, pixel_format: str = "yuv420p") -> Any:
    """A frame of one colour, its planes filled by hand."""
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, value in zip(frame.planes, yuv(rgb, matrix, full), strict=True):
        if "10le" in pixel_format:
            plane.update(np.full(plane.buffer_size // 2, round(value * 4), np.uint16).tobytes())
        else:
            plane.update(np.full(plane.buffer_size, round(value), np.uint8).tobytes())
    return frame


def grey(level: int, width: int = 64, height: int = 64) -> Any:
    return flat((level, level, level), width, height)


def corners(width: int, height: int) -> Any:
    """Red, green, blue and white quarters: top left, top right, bottom left, bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    image[:h, :w], image[:h, w:], image[h:, :w], image[h:, w:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    return image


def corner_frame(width: int, height: int) -> Any:
    frame = av.VideoFrame.from_ndarray(corners(width, height), format="rgb24")
    return frame.reformat(
        format="yuv444p", src_colorspace=1, dst_colorspace=1, src_color_range=2, dst_color_range=1, interpolation=2
    )


def write_clip(
    path: Path | Any,
    frames: list[tuple[int, Any]],
    *,
    time_base: Fraction = TICK,
    rate: Fraction = Fraction(30),
    container: str = "mp4",
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
    matrix: list[int] | None = None,
    sound: np.ndarray | None = None,
    sound_codec: str = "aac",
    sound_rate: int = 48000,
    sound_starts: list[tuple[int, int]] | None = None,
) -> Path | Any:
    """Write (pts, frame) pairs as H.264, losslessly unless `options` say otherwise.

    matrix: the nine numbers of an MP4 display matrix.  sound: float (n, channels) in -1..1.
    sound_starts: (sample, pts in samples) where the sound's clock jumps.
    """
    muxer = {"video_track_timescale": str(time_base.denominator), **(muxer or {})} if container == "mp4" else muxer
    with av.open(str(path) if isinstance(path, Path) else path, "w", format=container, options=muxer or {}) as out:
        first = frames[0][1]
        stream = out.add_stream("libx264", rate=rate, options=options or {"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        stream.codec_context.time_base = stream.time_base = time_base
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if matrix:
            stream.set_display_matrix(matrix)
        audio = None
        if sound is not None:
            audio = out.add_stream(sound_codec, rate=sound_rate, layout="stereo" if sound.shape[1] == 2 else "mono")
            audio.codec_context.time_base = Fraction(1, sound_rate)
        for pts, frame in frames:
            frame.pts, frame.time_base = pts, time_base
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if audio is not None and sound is not None:
            jumps = dict(sound_starts or [])
            shift = 0
            for start in range(0, len(sound), 960):
                shift = jumps[start] - start if start in jumps else shift
                part = np.ascontiguousarray(sound[start : start + 960].T.astype(np.float32))
                block = av.AudioFrame.from_ndarray(part, "fltp", "stereo" if sound.shape[1] == 2 else "mono")
                block.sample_rate, block.pts, block.time_base = sound_rate, start + shift, Fraction(1, sound_rate)
                out.mux(audio.encode(block))
            out.mux(audio.encode(None))
    return path


def clicks(seconds: float, times: list[float], rate: int = 48000, channels: int = 1) -> np.ndarray:
    """Silence with a burst of 30 ms at each time: float (n, channels)."""
    out = np.zeros((int(seconds * rate), channels), np.float32)
    burst = 0.7 * np.sin(2 * np.pi * 900 * np.arange(int(0.03 * rate)) / rate)
    for t in times:
        out[round(t * rate) : round(t * rate) + len(burst)] += burst[:, None]
    return out


def rewind(src: Any) -> None:
    if hasattr(src, "seek"):
        src.seek(0)


def hear(src: Any) -> list[float]:
    """Times in seconds where bursts begin, as a player would hear them."""
    rewind(src)
    with av.open(src) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        loud = np.zeros(rate * 20, np.float32)
        for frame in container.decode(stream):
            data = frame.to_ndarray().astype(np.float32)
            if data.shape[0] == 1 and frame.layout.nb_channels > 1:
                data = data.reshape(-1, frame.layout.nb_channels).T
            if frame.format.name.startswith("s16"):
                data = data / 32768
            at = round(frame.pts * frame.time_base * rate)
            data = np.abs(data).max(0)
            skip = max(0, -at)
            loud[at + skip : at + len(data)] = data[skip:]
    hits = np.flatnonzero(loud > 0.2)
    starts = hits[np.flatnonzero(np.diff(hits, prepend=-rate) > rate // 10)]
    return [float(s) / rate for s in starts]


def see(src: Any) -> list[float]:
    """Times in seconds of the frames that are white where the one before was not."""
    out, before = [], False
    rewind(src)
    with av.open(src) as container:
        for frame in container.decode(video=0):
            white = bool(frame.reformat(format="gray").to_ndarray().mean() > 128)
            if white and not before:
                out.append(float(frame.pts * frame.time_base))
            before = white
    return out
