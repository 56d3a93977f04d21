"""Two passes to a bitrate (fev.codec.ratecontrol, `fev-encode --bitrate`)."""

from __future__ import annotations

import math
import subprocess
import sys

import fev
import numpy as np
import pytest
from fev.codec.decoder import DecodeOptions, FrameDecoder
from fev.codec.metrics import psnr
from fev.codec.options import EncodeOptions
from fev.codec.ratecontrol import CLOSE, PRICES, motion_bytes, price_for, share_out
from fev.format.errors import UsageError
from fev.tools.demo import SAMPLE


def test_shares_add_up_and_grow_with_what_there_is():
    shares = [share_out(left, 300) for left in (700, 1500, 3000, 6000, 12_000, 40_000)]
    for left, share in zip((700, 1500, 3000, 6000, 12_000, 40_000), shares, strict=True):
        assert share.identity + motion_bytes(share.quality, 300) == left
    assert all(a.identity < b.identity and a.quality <= b.quality for a, b in zip(shares, shares[1:], strict=False))
    assert shares[0].quality < 40 < 60 <= shares[-1].quality


def test_a_long_clip_spends_on_motion():
    """Ten minutes at 1.2 kbit/s: what an identity saves in quality, motion has to pay for 18,000 times."""
    share = share_out(90_000, 18_000)
    assert motion_bytes(share.quality, 18_000) > 0.6 * 90_000 and share.identity > 4_000


def test_too_little_is_said_with_what_is_needed():
    with pytest.raises(UsageError, match="leaves 100 bytes"):
        share_out(100, 300)


@pytest.mark.parametrize("target", [700, 1000, 1500])
def test_the_price_is_found(target):
    asked = []

    def size(price: float) -> int:
        asked.append(price)
        return 500 + round(500 * price**-0.5)

    price = price_for(size, target)
    assert (1 - CLOSE) * target <= size(price) <= target, "never more than there is room for"
    assert len(asked) <= 15


def test_out_of_reach_gives_the_end_of_the_range():
    assert price_for(lambda price: 1000 - round(math.log2(price)), 5000) < 2 * PRICES[0]
    assert price_for(lambda price: 1000 - round(math.log2(price)), 10) > PRICES[1] / 2


@pytest.mark.parametrize(
    "wrong",
    [{"quality": 50}, {"identity_budget": 5000}, {"preset": "fast"}, {"bitrate": 0.0}, {"bitrate": math.nan}],
)
def test_what_makes_no_sense_with_a_bitrate_is_refused(wrong):
    with pytest.raises(UsageError):
        EncodeOptions(**{"bitrate": 4.0, **wrong})


@pytest.mark.slow
@pytest.mark.parametrize(("bitrate", "options"), [(8.0, {"crop": True, "audio": False}), (48.0, {})])
def test_the_whole_file_has_the_bitrate(tmp_path, bitrate, options):
    """Once the square alone, once the whole picture with its background and sound."""
    out = tmp_path / "out.fev"
    report = fev.encode(SAMPLE, out, bitrate=bitrate, duration=1.6, **options)
    assert out.stat().st_size == report.bytes
    assert 0.95 * bitrate <= 8 * report.bytes / report.duration_s / 1000 <= bitrate
    with fev.open(out) as reader:
        assert sum(len(segment.motion) for segment in reader.segments()) == report.frames


@pytest.mark.slow
def test_quality_is_monotone(tmp_path):
    """A better quality costs more bytes of motion and comes nearer to the pictures of the best one."""
    sizes, pictures = [], []
    for quality in (0, 35, 70, 100):
        out = tmp_path / f"{quality}.fev"
        options = {"preset": "fast", "quality": quality, "duration": 1.0, "crop": True, "audio": False}
        sizes.append(fev.encode(SAMPLE, out, **options).bytes)
        with fev.open(out) as reader:
            decoder = FrameDecoder(reader, DecodeOptions())
            pictures.append(np.stack([rgb for _, rgb in decoder.frames(reader.segments())]))
    assert sizes == sorted(set(sizes)), "each costs more than the one before"
    near = [psnr(each, pictures[-1]) for each in pictures[:-1]]
    assert near == sorted(set(near)) and near[-1] - near[0] > 3


@pytest.mark.slow
def test_an_impossible_bitrate_is_one_line(tmp_path):
    words = ["fev.tools.encode", str(SAMPLE), str(tmp_path / "out.fev"), "--bitrate", "0.2", "--duration", "0.5"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "the bitrate leaves" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.fev").exists()
