"""`fev-rd` as a person meets it: clips in, one page out; what is there is not done again; the same on several cores."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import fev
import numpy as np
import pytest
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.format.errors import FevError, UsageError
from fev.tools import rd
from fev.tools.report import classic, jobs, ours, plan, published, scoring, workers
from fev.tools.report.scoring import METRICS
from fev.tools.report.square import Square

SAMPLE = str(Path(fev.__file__).parent / "tools" / "sample" / "sample.mp4")
FRAMES = 8
QUICK = ["--duration", "0.32", "--size", "128", "--classical-preset", "fast", "--jobs", "1", "--gops", "single"]
SMALL = [
    *QUICK,
    "--codecs",
    "x264,fev",
    "--points",
    "3",
    "--presets",
    "fast",
    "--qualities",
    "30,70",
    "--identity-budgets",
    "4000",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("rd") / "out"
    assert rd.work([SAMPLE, "--out", str(out), *SMALL]) == 0
    return out


@pytest.fixture(scope="module")
def report(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


class Tags(HTMLParser):
    """Whether what is opened is closed, and everything that the page refers to."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(folder):
    text = (folder / "report.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert not tags.open and "http://" not in text and "https://" not in text
    assert tags.links and all(link.startswith("data:") for link in tags.links)
    kinds = {link.split(";")[0] for link in tags.links}
    assert kinds == {"data:image/svg+xml", "data:image/png", "data:video/mp4"}
    for link in tags.links:
        base64.b64decode(link.split(",", 1)[1], validate=True)
    assert {"video", "table", "input", "select"} <= set(tags.seen) and len(text) < 10_000_000
    words = ("Who is better at the same rate", "1. This clip, whole", "2. Cost against length", "Break-even lengths")
    words += ("3. When the identity is already there", "Published by others", published.MARK, "The rule", "Stills")
    assert all(w in text for w in words if w != "The rule")
    assert "PSNR: no network" in text and "identity (ArcFace cosine): missing" in text


def test_points_and_their_bytes(report, folder):
    points = report["points"]
    assert [p["codec"] for p in points] == ["x264"] * 3 + ["fev"] * 2
    for p in points:
        assert p["frames"] == FRAMES and p["duration_s"] == pytest.approx(FRAMES / 25)
        assert p["kbps"]["own"] == pytest.approx(8 * p["bytes"] / p["duration_s"] / 1000, abs=1e-3)
        stream = folder / "streams" / p["stream"]
        assert stream.stat().st_size == p["bytes"] + p["container"]
        assert 0 < p["once"] < p["bytes"] and p["kbps"]["marginal"] < p["kbps"]["600"] < p["kbps"]["own"]
    mine = points[-1]
    with fev.open(folder / "streams" / mine["stream"]) as reader:
        assert reader.header.crop and reader.audio is None
        assert sum(len(s.pts) for s in reader.segments()) == FRAMES
        assert reader.sections() == mine["sections"]
    data, at, grows = (folder / "streams" / mine["stream"]).read_bytes(), 8, 0
    while at < len(data):  # 2 bytes of sync, 4 of name, 3 of length, 2 and 4 of checks
        name, length = data[at + 2 : at + 6], int.from_bytes(data[at + 6 : at + 9], "little")
        grows += {b"SEGM": 15 + length, b"indx": length}.get(name, 0)
        at += 15 + length
    assert at == len(data) and grows > 0 and mine["once"] == len(data) - grows
    assert sum(mine["sections"].values()) == mine["bytes"] and mine["container"] == 0


def test_every_measure_is_there_or_has_its_reason(report):
    assert all(set(p["scores"]) | set(report["missing"]) >= set(METRICS) for p in report["points"])
    assert {"psnr", "ssim", "haarpsi", "gmsd"} <= set(report["points"][0]["scores"])
    assert "too small" in report["missing"]["ms_ssim"]


def test_wins_losses_and_lengths_are_in_the_report(report):
    # two of fev's points against one curve in four measures
    assert len(report["duels"]) == 8 and {d["verdict"] for d in report["duels"]} <= {"won", "lost", "out of reach"}
    assert all(s["of"] == 2 == s["lost"] + s["won"] + s["out_of_reach"] for s in report["score"])
    assert {r["at"] for r in report["break_even"]} == {"its lowest rate", "equal PSNR", "equal HaarPSI"}
    assert report["bd"] and all((r["bd_rate"] is None) == ("overlap: " in r["flag"]) for r in report["bd"])
    assert {s["why"] for s in report["stills"]["files"]} == {"median", "worst"}


def test_tables_hold_every_point_and_frame(folder):
    with open(folder / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and float(rows[0]["psnr"]) > 15 and int(rows[-1]["bytes_motion"]) > 0
    with open(folder / "per_frame.csv", newline="") as file:
        frames = list(csv.DictReader(file))
    assert [int(r["frame"]) for r in frames] == list(range(FRAMES)) * 5
    mean = np.mean([float(r["psnr"]) for r in frames[:FRAMES]])
    assert mean == pytest.approx(float(rows[0]["psnr"]), abs=1e-4)


def test_stills_are_the_picked_frames(report, folder):
    from PIL import Image

    for s in report["stills"]["files"]:
        assert Image.open(folder / s["file"]).size == (128, 128)
    worst = next(s for s in report["stills"]["files"] if s["why"] == "worst" and s["what"] == "fev")
    with open(folder / "per_frame.csv", newline="") as file:
        psnr = [float(r["psnr"]) for r in csv.DictReader(file) if r["point"] == worst["point"]]
    assert worst["frame"] == int(np.argmin(psnr))


def test_what_is_there_is_not_done_again(folder, report, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "perform", lambda *a: pytest.fail("done again"))
    assert rd.work([SAMPLE, "--out", str(folder), *SMALL, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["points"] == report["points"] and again["bd"] == report["bd"]


def test_only_what_is_new_is_done(folder, monkeypatch, capsys):
    done, real = [], jobs.perform
    monkeypatch.setattr(jobs, "perform", lambda task, square: done.append(task.job) or real(task, square))
    monkeypatch.setattr(ours, "encode", lambda *a: pytest.fail("coded again"))
    given = [SAMPLE, "--out", str(folder), *SMALL]
    given[given.index("3")] = "4"
    assert rd.work([*given, "--json"]) == 0
    # of four points of the ladder the ends were there; the middle ones are others than of three
    assert [j.point for j in done] == ["crf47", "crf35"]
    done.clear()
    monkeypatch.setattr(classic, "encode", lambda *a: pytest.fail("coded again"))
    assert rd.work([*given, "--json", "--every", "3"]) == 0
    assert len(done) == 6  # scored again, from the streams that were kept


def test_decoded_frames_are_kept_when_asked_for(folder, capsys):
    assert rd.work([SAMPLE, "--out", str(folder), *SMALL, "--keep", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["kept"]
    assert len(kept) == 6 and kept[0]["curve"] is None
    arrays = [np.load(folder / k["file"]) for k in kept]
    assert all(a.shape == (FRAMES, 128, 128, 3) and a.dtype == np.uint8 for a in arrays)
    with open(folder / "per_frame.csv", newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["point"] == kept[1]["point"])
    error = ((arrays[1][0].astype(float) - arrays[0][0]) ** 2).mean()
    assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)


def test_the_table_goes_into_a_file_with_marks(folder, tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("no marks")
    given = [SAMPLE, "--out", str(folder), *SMALL, "--into", str(path)]
    with pytest.raises(UsageError, match="once each"):
        rd.work(given)
    path.write_text("above\n<!-- fev-rd -->\n<!-- /fev-rd -->\nbelow\n")
    assert rd.work(given) == 0
    text = path.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and text.count("| sample | fev fast") == 2
    assert (tmp_path / "docs" / "stills.png").stat().st_size > 1000 and "docs/stills.png" in text


def test_bitrates_make_points_of_their_own():
    args = rd.arguments([SAMPLE, "--out", "out", "--bitrates", "6,12.5"])
    square = Square("a", "a.mp4", "0" * 64, 256, 2, (30, 1), 2 / 30)
    made = [j for j in plan.jobs_of(args, [square], {"a": []}, scoring.ScoringNetworks())[0] if j.codec == "fev"]
    assert [(j.point, j.setting) for j in made] == [
        ("6 kbit/s", {"preset": "medium", "bitrate": 6.0}),
        ("12.5 kbit/s", {"preset": "medium", "bitrate": 12.5}),
    ]


def test_panels_are_measured_without_a_rate(tmp_path, capsys):
    with open_video(SAMPLE, duration=0.2) as video:
        frames = [frame.rgb for frame in video]
    with VideoWriter(tmp_path / "row.mp4", 640, 320, Fraction(1, 25), Fraction(25)) as writer:
        for i, rgb in enumerate(frames):
            writer.write(np.concatenate([rgb, np.clip(rgb.astype(int) + 12, 0, 255).astype(np.uint8)], 1), i)
    given = ["--panels", str(tmp_path / "row.mp4"), "--panel-names", "brighter", "--out", str(tmp_path / "out")]
    assert rd.work([*given, *QUICK, "--codecs", "x264", "--points", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    panel = found["points"][-1]
    assert (panel["curve"], panel["bytes"], panel["kbps"]) == ("brighter", None, {})
    # 12 steps of 255 but for clipping, coding and the grey label that both have
    assert panel["scores"]["psnr"] == pytest.approx(20 * np.log10(255 / 12), abs=1)
    assert "published output, no bitstream" not in found["clips"][0]["about"]
    assert not found["bd"] and not found["stills"]["files"]


def test_published_figures_are_apart():
    best = published.METHODS["DAC, 10 key points"][2]
    assert (best.kbps, best.lpips, best.dists, best.psnr) == (2.48, 0.759, 0.850, 23.3)
    rows = [p for points in published.METHODS.values() for p in points]
    assert len(rows) == 28 and published.METHODS["VVC (VTM 22.2, low delay)"][2].kbps == 15.2
    assert all(p.kbps < q.kbps for points in published.METHODS.values() for p, q in zip(points, points[1:]))


def test_a_codec_that_is_not_there_is_said(folder, monkeypatch, capsys):
    monkeypatch.setattr(classic, "missing", lambda name: f"{name} is not in this PyAV" if name == "x264" else None)
    assert rd.work([SAMPLE, "--out", str(folder), *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == ["x264 is not in this PyAV"] and {p["codec"] for p in found["points"]} == {"fev"}


def test_one_bad_clip_does_not_stop_the_others(folder, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_text("no video")
    assert rd.work([str(tmp_path / "bad.mp4"), SAMPLE, "--out", str(folder), *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["errors"]) == 1 and "bad.mp4" in found["errors"][0] and len(found["points"]) == 5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no clip was given"),
        ([SAMPLE, "--size", "63"], "--size 63 is not an even number from 64"),
        ([SAMPLE, "--every", "0"], "--every has to be 1"),
        ([SAMPLE, "--bitrates", "6", "--identity-budgets", "8192"], "bitrates, or qualities and identity budgets"),
        ([SAMPLE, "--scores", "scores.csv"], "--scores is for --into"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(given, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        rd.work([*given, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_an_unknown_codec_is_wrong_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        rd.arguments([SAMPLE, "--out", "out", "--codecs", "x264,vvc"])
    assert "vvc is not one of x264, x265" in capsys.readouterr().err


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(FevError, match="holds other files already"):
        rd.work([SAMPLE, "--out", str(tmp_path), *SMALL])
    with pytest.raises(FevError, match="no such file"):
        rd.work([str(tmp_path / "none.mp4"), "--out", str(tmp_path / "out")])


def test_without_its_packages_the_command_says_so_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else True)
    with pytest.raises(UsageError, match=r"^fev-rd needs ray: pip install 'fev\[ray\]'$"):
        rd.work([SAMPLE, "--out", str(tmp_path), "--ray", "auto"])


def test_the_command_ends_with_one_line_and_its_code(tmp_path):
    done = subprocess.run([sys.executable, "-m", "fev.tools.rd"], capture_output=True, check=False, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "--out" in done.stderr


def fixed(points: list[dict]) -> list[dict]:
    """What does not depend on how long it took."""
    return [{k: v for k, v in p.items() if not k.endswith("_s_per_frame")} for p in points]


@pytest.mark.slow
def test_several_processes_give_the_same(report, tmp_path, capsys):
    given = [SAMPLE, "--out", str(tmp_path / "out"), *SMALL, "--json"]
    given[given.index("--jobs") + 1] = "2"
    assert rd.work(given) == 0
    assert fixed(json.loads(capsys.readouterr().out)["points"]) == fixed(report["points"])


@pytest.mark.slow
def test_a_local_ray_gives_the_same(report, tmp_path, capsys):
    pytest.importorskip("ray")
    assert rd.work([SAMPLE, "--out", str(tmp_path / "out"), *SMALL, "--ray", "local", "--json"]) == 0
    assert fixed(json.loads(capsys.readouterr().out)["points"]) == fixed(report["points"])


@pytest.mark.slow
def test_no_cluster_is_one_line():
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="--ray 127.0.0.1:1: nothing answers there"):
        list(workers.run_on_ray([], "127.0.0.1:1"))
    with pytest.raises(UsageError, match="--ray auto: "):
        list(workers.run_on_ray([], "auto"))
