"""A clip as video alone, in `.fev` and as plain AV1 in MP4 at the same settings: bytes, framing, and how near.

    python -m fev.tools.lab.videobench CLIP... --side 320 --quality 40 --step 1 --segment 1 2 0 [--json]

One row a clip, side, quality, step and length of the segments (0 = one segment).  `mp4` has the same encoder with key
frames at the same pictures.  Bytes of packets are the same in both, but for what each leaves out of them.
"""

from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from ...codec.encode.shotvideo import Shot, near
from ...codec.media.colour import from_rgb, tag
from ...codec.media.priority import usual_priority
from ...codec.media.video import open_video
from ...codec.media.videoencoder import COLOUR, ENDLESS, CodedShot, Coding, coded_size, encode_shot, placed, settings
from ...format.header import Header
from ...format.segment import Segment
from ...format.writer import Writer
from ..common import parser, print_json, run, say

MOST_FRAMES = 1000  # of a segment


@dataclass(frozen=True)
class Row:
    """What one way to code a clip gave.

    Args:
        segment_s: length of the segments; 0 = one.
        packets, fev, mp4: bytes of the packets in `.fev`, and of both files.
        framing: bytes a second that `.fev` has beside its packets, without its beginning and end.
        encode_s: wall time of one encoding.
    """

    clip: str
    width: int
    height: int
    quality: int
    step: int
    segment_s: float
    seconds: float
    packets: int
    fev: int
    mp4: int
    framing: float
    kbps: float
    psnr: float
    haarpsi: float
    encode_s: float


def read_shot(path: Path, most: float, segment_s: float) -> Shot:
    """A clip, or its first `most` seconds, as one shot."""
    with open_video(path, duration=most or None) as video:
        fps = video.info.fps
        frames = [frame.rgb for frame in video]
    length = min(MOST_FRAMES, round(segment_s * fps) if segment_s else len(frames))
    lengths = [min(length, len(frames) - at) for at in range(0, len(frames), length)]
    height, width = frames[0].shape[:2]
    return Shot(lambda: frames, lengths, np.arange(len(frames)), fps, width, height)


def in_fev(shot: Shot, coded: CodedShot) -> tuple[bytes, dict[str, int]]:
    """A stream of nobody: the file, and its bytes by section."""
    rate = (shot.fps.numerator, shot.fps.denominator)
    header = Header(
        shot.width, shot.height, (rate[1], rate[0]), rate, bytes(32), placement=True, segment_frames=shot.lengths[0]
    )
    out, first = io.BytesIO(), 0
    with Writer(out, header) as writer:
        writer.write_video(coded.config)
        for index, (video, length) in enumerate(zip(coded.segments, shot.lengths, strict=True)):
            times = np.arange(first, first + length)
            writer.write_segment(Segment(index, first, times, [], on_set=None, video=video))
            first += length
        sections = writer.sections()
    return out.getvalue(), sections


def in_mp4(shot: Shot, coding: Coding) -> bytes:
    """The same pictures from the same encoder at the same settings, in MP4."""
    keys, shown = placed(shot.lengths, coding.step)
    out, count, rate = io.BytesIO(), 0, shot.fps / coding.step
    with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libsvtav1", rate=rate, options=settings(coding))
        stream.width, stream.height, stream.pix_fmt = coding.width, coding.height, "yuv420p"
        stream.codec_context.time_base, stream.codec_context.gop_size = 1 / rate, ENDLESS
        tag(stream.codec_context, COLOUR)
        with usual_priority():
            stream.codec_context.open()
        for number, rgb in enumerate(shot.frames()):
            if number in shown:
                picture = from_rgb(rgb, "yuv420p", COLOUR, coding.width, coding.height)
                picture.pts, picture.time_base = count, 1 / rate
                picture.pict_type = PictureType.I if count in keys else PictureType.NONE
                container.mux(stream.encode(picture))
                count += 1
        container.mux(stream.encode(None))
    return out.getvalue()


def measured(name: str, shot: Shot, coding: Coding, segment_s: float) -> Row:
    """One row of the table."""
    started = time.perf_counter()
    coded = encode_shot(shot.frames(), shot.lengths, shot.fps, coding)
    elapsed = time.perf_counter() - started
    data, sections = in_fev(shot, coded)
    found = near(shot, shot.source(), coded)
    seconds = float(len(shot.pts) / shot.fps)
    ends = (
        len(coded.config.pack()) + 15 + sections["header"] + 15 + sections["index"] + 15 * (1 + (len(shot.lengths) > 1))
    )
    return Row(
        name, coding.width, coding.height, coding.quality, coding.step, segment_s, round(seconds, 3), coded.size,
        len(data), len(in_mp4(shot, coding)), round((len(data) - coded.size - ends) / seconds, 2),
        round(8 * len(data) / seconds / 1000, 2), round(found.psnr, 2), round(found.haarpsi, 4), round(elapsed, 2),
    )  # fmt: skip


def work(arguments: list[str] | None = None) -> int:
    options = parser("fev.tools.lab.videobench", "Code clips as video alone, beside plain AV1 in MP4.")
    options.add_argument("clip", type=Path, nargs="+")
    options.add_argument("--side", type=int, nargs="+", default=[320], help="larger side of the coded picture")
    options.add_argument("--quality", type=int, nargs="+", default=[50], help="constant quality of SVT-AV1")
    options.add_argument("--step", type=int, nargs="+", default=[1], help="frames from picture to picture")
    options.add_argument(
        "--segment", type=float, nargs="+", default=[1.0], help="seconds of a segment, 0 = one segment"
    )
    options.add_argument("--preset", type=int, default=6, help="of SVT-AV1")
    options.add_argument("--duration", type=float, default=0, help="seconds of each clip")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = options.parse_args(arguments)
    rows = []
    for path, segment_s in product(chosen.clip, chosen.segment):
        shot = read_shot(path, chosen.duration, segment_s)
        for side, quality, step in product(chosen.side, chosen.quality, chosen.step):
            coding = Coding(*coded_size(shot.width, shot.height, side), step, quality, chosen.preset)
            rows.append(measured(path.stem, shot, coding, segment_s))
            if not chosen.json:
                say(" ".join(f"{name}={value}" for name, value in asdict(rows[-1]).items()))
    if chosen.json:
        print_json({"rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    run(work)
