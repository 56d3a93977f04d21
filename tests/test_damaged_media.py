"""Pictures that the decoder had to conceal something in are counted and marked, up to the next key frame."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import write_clip
from fev.codec.media.notices import Notices
from fev.codec.media.video import open_video

COUNT, KEY = 30, 10


def moving(container="mpegts", codec_options=None) -> bytes:
    """A texture that moves; a key frame every ten."""
    texture = np.random.default_rng(3).integers(0, 256, (24, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    frames = []
    for i in range(COUNT):
        picture = np.ascontiguousarray(np.roll(texture, (3 * i, 2 * i), (0, 1)))
        frames.append((i * 3600, av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")))
    options = {"crf": "12", "preset": "veryfast", "g": str(KEY), "sc_threshold": "0", **(codec_options or {})}
    return write_clip(io.BytesIO(), frames, rate=Fraction(25), container=container, options=options).getvalue()


def read(data):
    notices = Notices()
    with open_video(io.BytesIO(data), notices=notices) as reader:
        return list(reader), notices.as_dict()


def places(data, low, high):
    """Numbers of the transport packets that carry the video's frames from `low` to `high`, in decoding order."""
    with av.open(io.BytesIO(data)) as container:
        at = [p.pos for p in container.demux(video=0) if p.size]
    return range(at[low] // 188 + 2, at[high] // 188 - 1)


@pytest.mark.parametrize("lost", [3, 10, 15, 23])
def test_damage_lasts_until_the_next_key_frame(lost):
    data = bytearray(moving())
    whole, none = read(data)
    assert none == {} and not any(f.damaged for f in whole)
    for n in places(data, lost, lost + 1):
        data[n * 188 : n * 188 + 188] = bytes(188)
    seen, notices = read(data)
    error = [np.abs(a.rgb.astype(int) - b.rgb).mean() for a, b in zip(seen, whole, strict=True)]
    wrong = {i for i, e in enumerate(error) if e > 1}
    marked = {i for i, f in enumerate(seen) if f.damaged}
    assert wrong and wrong <= marked, (wrong, marked)
    group = lost // KEY * KEY
    assert marked <= set(range(max(0, group - 3), group + KEY))  # not the other groups of pictures
    assert notices == {"damaged": len(marked)}


def test_a_packet_that_cannot_be_decoded_is_left_out():
    data = bytearray(moving("matroska"))
    with av.open(io.BytesIO(data)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
        at = data.find(bytes(next(p for i, p in enumerate(av.open(io.BytesIO(data)).demux(video=0)) if i == 14)))
    assert at > 0 and len(packets) == COUNT
    data[at : at + 40] = bytes([255]) * 40
    seen, notices = read(data)
    assert COUNT - 2 <= len(seen) <= COUNT
    assert notices.get("damaged", 0) > 0 and set(notices) <= {"damaged", "undecoded"}
    assert not any(f.damaged for f in seen[:9]) and not any(f.damaged for f in seen[-9:])
