"""Which stills fev-rd shows: by its rule, on made-up results."""

from __future__ import annotations

import pytest
from fev.tools.report import stills, summary


def result(codec, point, clip, size, psnr, gop="single", frames=None):
    label = {"fev": "fev medium"}.get(codec, f"{codec}, {gop}")
    frames = frames or [psnr]
    return {
        "clip": clip, "codec": codec, "curve": label, "label": codec, "point": point, "duration_s": 8.0, "size": 256,
        "coded": {"bytes": size, "once": 0}, "setting": {"gop": gop}, "scores": {"psnr": psnr},
        "per_frame": {"frame": [3 * i for i in range(len(frames))], "psnr": frames},
    }  # fmt: skip


@pytest.fixture
def results():
    ours = [
        result("fev", point, clip, size, psnr, frames=[psnr + 2, psnr - 4, psnr + 1, psnr, psnr - 1])
        for point, size, gain in (("cheap", 8_000, 0), ("middle", 16_000, 1), ("dear", 27_000, 2))
        for clip, psnr in (("a", 30 + gain), ("b", 33 + gain), ("c", 28 - 3 * gain), ("d", 31 + gain))
    ]
    others = [
        result(codec, f"crf{size}", clip, size, 30, gop)
        for codec in ("x264", "x265", "svtav1")
        for gop in ("single", "1s")
        for clip in "abcd"
        for size in (6_000, 9_000, 20_000)
    ]
    return ours + others


def test_clips_and_frames_are_picked_by_rule(results):
    found = stills.pick(results)
    assert [(p.why, p.clip, p.results[0]["point"]) for p in found] == [
        ("median", "a", "cheap"), ("worst", "c", "cheap"), ("median", "a", "dear"), ("worst", "c", "dear"),
    ]  # fmt: skip
    # every third frame was scored: the fourth of them is the median, the second the worst
    assert [p.frame for p in found] == [9, 3, 9, 3]


def test_beside_it_stands_the_lowest_rate_that_is_not_below(results):
    cheap, _, dear, _ = stills.pick(results)
    assert [(r["codec"], r["point"]) for r in cheap.results[1:]] == [("svtav1", "crf9000"), ("x265", "crf9000")]
    assert {r["setting"]["gop"] for r in cheap.results[1:]} == {"single"}
    assert [r["point"] for r in dear.results[1:]] == ["crf20000"] * 2  # all are below: their best


def test_without_fev_or_others_there_is_less(results):
    assert stills.pick([r for r in results if r["codec"] != "fev"]) == []
    alone = stills.pick([r for r in results if r["codec"] == "fev" and r["point"] == "cheap"])
    assert len(alone) == 2 and all(len(p.results) == 1 for p in alone)


def test_means_over_clips_say_how_many_they_are_of():
    rows = [
        {"ours": "fev", "curve": "o", "metric": "psnr", "bd_rate": value, "flag": flag}
        for value, flag in ((-20.0, ""), (10.0, "small overlap"), (None, "no overlap: always worse"))
    ]
    (mean,) = summary.mean_bd(rows)
    assert (mean["bd_rate"], mean["clips"], mean["of"]) == (-5.0, 2, 3)
    assert mean["flags"] == {"small overlap": 1, "no overlap: always worse": 1}
