"""fev-rd's arithmetic: BD-rate against values worked out by hand, what does not overlap, lengths and break-evens."""

from __future__ import annotations

import math

import pytest
from fev.tools.report import summary, tables, views
from fev.tools.report.curves import ABOVE, BELOW, WITHIN, Point, delta, front, quality_at, rate_at


def points(*pairs):
    return [Point(rate, quality) for rate, quality in pairs]


def test_bd_rate_of_two_points_is_the_mean_of_the_logarithms():
    """Straight lines in log rate: between ratios 1.2 and 1.5 the mean is their geometric one, sqrt(1.8)."""
    found = delta(points((10, 30), (20, 32)), points((12, 30), (30, 32)))
    assert found.bd_rate == pytest.approx(100 * (math.sqrt(1.8) - 1), abs=1e-9)
    assert (found.overlap, found.flag) == (1.0, "")


def test_a_curve_at_half_the_rate_needs_half_the_rate():
    anchor = points((8, 28.0), (13, 31.0), (22, 33.5), (60, 36.0), (140, 38.0))
    found = delta(anchor, [Point(p.rate / 2, p.quality) for p in anchor])
    assert found.bd_rate == pytest.approx(-50, abs=1e-9)
    assert delta(anchor, anchor).bd_rate == pytest.approx(0, abs=1e-9)


def test_bd_rate_is_over_the_common_range():
    """The test curve runs along the anchor at twice the rate, over a quarter of its range."""
    anchor = points((1, 0), (2, 1), (4, 2), (8, 3), (16, 4))
    found = delta(anchor, points((4, 1), (8, 2)))
    assert found.bd_rate == pytest.approx(100, abs=1e-6) and found.overlap == 0.25 and found.flag == ""
    found = delta(anchor, points((16, 3.5), (32, 4.5), (64, 5.5)))
    assert found.flag == "small overlap" and found.overlap == pytest.approx(0.5 / 5.5) and found.bd_rate is not None


def test_without_overlap_there_is_no_figure():
    low, high = points((1, 20), (2, 22)), points((10, 30), (20, 32))
    assert (delta(low, high).bd_rate, delta(low, high).flag) == (None, "no overlap: always better")
    assert delta(high, low).flag == "no overlap: always worse"
    assert delta(high, points((5, 31))).flag == "too few points"
    # one that touches at an end only has no common range either
    assert delta(points((1, 20), (2, 22)), points((3, 22), (9, 24))).bd_rate is None


def test_what_costs_more_without_being_better_is_left_out():
    line = points((10, 30), (12, 29), (20, 32), (21, 32), (9, 28))
    assert front(line) == points((9, 28), (10, 30), (20, 32))
    assert delta(line, points((18, 28), (20, 30), (40, 32))).bd_rate == pytest.approx(100, abs=1e-6)


def test_readings_between_points_and_beyond():
    line = points((10, 30), (40, 34))
    assert quality_at(line, 20).where == WITHIN and quality_at(line, 20).value == pytest.approx(32)
    assert rate_at(line, 32).value == pytest.approx(20)
    assert (quality_at(line, 5).where, quality_at(line, 5).value) == (BELOW, 30)
    assert (quality_at(line, 50).where, quality_at(line, 50).value) == (ABOVE, 34)
    assert (rate_at(line, 35).where, rate_at(line, 29).where) == (ABOVE, BELOW)
    assert rate_at(line, 30).value == pytest.approx(10) and rate_at(line, 34).value == pytest.approx(40)


def test_cost_against_length():
    cost = views.ClipCost(once=10_000, grows=1_250, seconds=10)  # 1 kbit/s after 80 kbit
    assert cost.kbps() == pytest.approx(9)
    assert (cost.kbps(80), cost.marginal) == (pytest.approx(2), pytest.approx(1))


def test_break_even():
    ours = views.ClipCost(10_000, 1_250, 10)  # 125 bytes a second
    # 8 kbit/s, nothing once: 10000 / (1000 - 125) seconds
    assert views.break_even(ours, views.ClipCost(0, 10_000, 10)) == pytest.approx(10_000 / 875)
    at = views.break_even(ours, views.ClipCost(2_000, 5_000, 5))
    assert at == pytest.approx(8_000 / 875)
    other = views.ClipCost(2_000, 5_000, 5)
    assert ours.kbps(at) == pytest.approx(other.kbps(at))
    assert views.break_even(ours, views.ClipCost(20_000, 10_000, 10)) == 0  # cheaper at once
    assert views.break_even(ours, views.ClipCost(0, 1_000, 10)) is None  # its next second costs less
    assert views.break_even(ours, views.ClipCost(0, 1_250, 10)) is None
    assert views.break_even(ours, views.ClipCost(20_000, 500, 10)) is None  # cheaper only for short clips


def result(curve, point, size, once, seconds=10.0, clip="a", **scores):
    codec = "fev" if curve.startswith("fev") else "x264"
    coded = {"bytes": size, "once": once}
    row = {"clip": clip, "codec": codec, "curve": curve, "label": curve, "point": point, "duration_s": seconds}
    return row | {"coded": coded, "scores": scores, "setting": {"gop": "single"}}


@pytest.fixture
def rows():
    return [
        result("fev", "one", 10_000, 8_750, psnr=32.0, gmsd=0.04),
        result("fev", "two", 30_000, 28_750, psnr=34.0, gmsd=0.03),
        result("other", "low", 12_500, 2_500, psnr=30.0, gmsd=0.06),
        result("other", "high", 50_000, 10_000, psnr=38.0, gmsd=0.02),
        {**result("panel", "as published", None, None, psnr=29.0), "codec": "panel"},
    ]


def test_break_evens_at_the_floor_and_at_equal_quality(rows):
    by = views.lines(rows)
    found = views.break_evens(by["fev"], by["other"])
    one = {r["at"]: r for r in found if r["ours"] == "one"}
    # floor: 2,500 bytes and 1,000 a second; ours 8,750 and 125 a second
    assert one["its lowest rate"]["duration_s"] == pytest.approx(6_250 / 875)
    # 32 dB is a quarter of the way up: 4,375 bytes and 1,750 a second
    assert one["equal PSNR"]["duration_s"] == pytest.approx(4_375 / 1_625)
    # and its rate is a quarter of the way between 10 and 40 kbit/s, interpolated part by part
    assert one["equal PSNR"]["kbps"] == pytest.approx(8 * (4_375 + 17_500) / 10_000)


def test_equal_quality_out_of_range_is_said(rows):
    rows[0]["scores"]["psnr"], rows[1]["scores"]["psnr"] = 20.0, 50.0
    by = views.lines(rows)
    found = {(r["ours"], r["at"]): r for r in views.break_evens(by["fev"], by["other"])}
    low, high = found["one", "equal PSNR"], found["two", "equal PSNR"]
    assert low["note"] == views.BETTER and low["duration_s"] == found["one", "its lowest rate"]["duration_s"]
    assert high["note"] == views.WORSE and high["duration_s"] is None


def test_losses_are_found(rows):
    """At 24 kbit/s the other has 30 + 8 log(2.4) / log(4) = 35.05 dB, ours 34; at 8 kbit/s it cannot go."""
    found = {(d["ours"], d["metric"]): d for d in views.duels(rows, {"fev"})}
    lost = found["two", "psnr"]
    assert lost["verdict"] == "lost" and lost["curve"] == "other"
    assert lost["their_value"] == pytest.approx(30 + 8 * math.log(2.4) / math.log(4)) and lost["our_value"] == 34
    beyond = found["one", "psnr"]
    assert (beyond["verdict"], beyond["better"], beyond["their_kbps"]) == ("out of reach", False, pytest.approx(10))
    # less is better: 0.04 below its floor of 0.06 in plain numbers, and 0.03 against 0.0347
    assert found["two", "gmsd"]["verdict"] == "won"
    assert found["two", "gmsd"]["their_value"] == pytest.approx(0.06 - 0.04 * math.log(2.4) / math.log(4))


def test_where_losses_are_is_said(rows):
    """In clip a at 24 kbit/s, as above; clip b has another codec that is no better there."""
    other = [{**r, "clip": "b", "scores": {**r["scores"], "psnr": r["scores"]["psnr"] - 9}} for r in rows[2:4]]
    mine = [{**r, "clip": "b"} for r in rows[:2]]
    found = summary.score(views.duels(rows, {"fev"}) + views.duels(mine + other, {"fev"}))
    psnr = next(s for s in found if s["metric"] == "psnr")
    assert (psnr["lost"], psnr["won"], psnr["out_of_reach"], psnr["of"]) == (1, 1, 2, 4)
    assert psnr["lost_at"] == [{"ours": "two", "clips": ["a"], "of": 2}] and psnr["worst"]["clip"] == "a"
    line = next(line for line in tables.losses({"score": found}))
    assert line.startswith("other against fev: better in PSNR (1 of 4: two in a); worse wherever compared in GMSD")
    assert next(s for s in found if s["metric"] == "gmsd")["lost_at"] == []


def test_bd_rows_leave_out_what_has_no_rate(rows):
    found = views.bd_rows(rows, {"fev"})
    assert {(r["curve"], r["metric"]) for r in found} == {("other", "psnr"), ("other", "gmsd")}
    assert all(r["bd_rate"] is not None and r["flag"] == "" for r in found)
