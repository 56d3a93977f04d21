"""What fev-rd writes into a Markdown file: by its rules, on a made-up report, and between its marks only."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from fev.format.errors import FevError, UsageError
from fev.tools.report import markdown
from fev.tools.report.stills import png
from PIL import Image

AROUND = f"# Mine\n\n{markdown.BEGIN}\nold\n{markdown.END}\n\nthe end\n"


def point(clip, codec, name, size, psnr, gop=None):
    kbps = {} if size is None else {"own": size / 1000, "60": size / 6000, "marginal": size / 10_000}
    curve = "fev medium" if codec == "fev" else f"{codec}, {gop or 'panel'}"
    return {
        "clip": clip, "codec": codec, "curve": curve, "point": name, "bytes": size, "kbps": kbps,
        "setting": {"gop": gop} if gop else {}, "scores": {"psnr": psnr, "ms_ssim": 0.9},
    }  # fmt: skip


@pytest.fixture
def report() -> dict:
    rows = []
    for clip in ("a", "b"):
        rows += [point(clip, "fev", "12 kbit/s", 12_000, 30.0), point(clip, "fev", "6 kbit/s", 6_000, 28.0)]
        for codec in ("x264", "svtav1"):
            for gop in ("1s", "single"):
                rows += [point(clip, codec, f"crf{size}", size, 27.0, gop) for size in (4_000, 7_000, 30_000)]
        rows.append(point(clip, "panel", "as published", None, 26.5))
    kept = [{"file": "frames/one.npy", "clip": "a", "curve": "fev medium", "point": "6 kbit/s"}]
    kept += [{"file": "frames/two.npy", "clip": "b", "curve": "svtav1, single", "point": "crf7000"}]
    won = {"ours": "fev medium", "curve": "svtav1, single", "metric": "psnr", "of": 4, "lost": 3, "won": 0}
    lost_at = [{"ours": "12 kbit/s", "clips": ["a", "b"], "of": 2}, {"ours": "6 kbit/s", "clips": ["b"], "of": 2}]
    score = [{**won, "out_of_reach": 1, "lost_at": lost_at}]
    return {
        "clips": [{"name": "a"}, {"name": "b"}], "points": rows, "kept": kept, "score": score,
        "stills": {"rule": "no taste", "files": []},
    }  # fmt: skip


def cells(text: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_row_for_every_point_that_is_to_be_seen(report):
    rows = cells(markdown.table(report, {}))
    assert rows[0] == ["clip", "codec", "bytes", "kbit/s", "1 min", "identity there", "PSNR", "MS-SSIM"]
    ours = [["fev medium, 6 kbit/s", "6,000", "6.00", "1.00", "0.60"], ["fev medium, 12 kbit/s", "12,000"]]
    assert [r[1 : 1 + len(o)] for r, o in zip(rows[2:4], ours, strict=True)] == ours
    # 7,000 is nearer to 6,000 than 4,000 is, as rates go, and to 12,000 than 30,000
    others = [r[1:3] for r in rows[4:6]]
    assert others == [["x264, single, crf7000", "7,000"], ["svtav1, single, crf7000", "7,000"]]
    assert rows[6][1:6] == ["panel, panel, as published", "–", "–", "–", "–"]
    assert [r[0] for r in rows[2:]] == ["a"] * 5 + ["b"] * 5


def test_what_is_nearest_to_the_dearest_is_to_be_seen_too(report):
    report["points"].append(point("a", "fev", "24 kbit/s", 24_000, 31.0))
    rows = cells(markdown.table(report, {}))
    assert [r[1] for r in rows[2:9]] == [
        "fev medium, 6 kbit/s", "fev medium, 12 kbit/s", "fev medium, 24 kbit/s",
        "x264, single, crf7000", "x264, single, crf30000", "svtav1, single, crf7000", "svtav1, single, crf30000",
    ]  # fmt: skip


def test_figures_of_another_scorer_stand_beside(report, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("file,id,psnr_face\nframes/one.npy,0.95,31.2\ntwo.npy,0.80,29.9\nother.npy,1,2\n")
    rows = cells(markdown.table(report, markdown.read_scores(str(path), report)))
    assert rows[0][-2:] == ["id", "psnr_face"] and rows[2][-2:] == ["0.95", "31.2"] and rows[3][-2:] == ["–", "–"]
    assert [r[-2:] for r in rows if r[:2] == ["b", "svtav1, single, crf7000"]] == [["0.80", "29.9"]]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "file,id\nnone.npy,1\n", "file\n" + "x" * (1 << 20)])
def test_scores_of_nothing_are_refused(report, tmp_path, content):
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(FevError, match=r"scores\.csv"):
        markdown.read_scores(str(path), report)


def test_only_what_is_between_the_marks_changes(report, tmp_path):
    path = tmp_path / "readme.md"
    path.write_text(AROUND)
    markdown.put(path, report, tmp_path, {})
    first = path.read_text()
    assert first.startswith("# Mine\n\n" + markdown.BEGIN) and first.endswith(markdown.END + "\n\nthe end\n")
    assert "old" not in first and "svtav1, single against fev medium: better in PSNR " in first
    assert "(3 of 4: 12 kbit/s in every clip, 6 kbit/s in b)" in " ".join(first.split())
    assert all(len(line) <= markdown.WIDTH for line in first.splitlines() if not line.startswith("|"))
    markdown.put(path, report, tmp_path, {})
    assert path.read_text() == first and not (tmp_path / "docs").exists()


def test_the_stills_of_the_cheapest_setting_become_one_picture(report, tmp_path):
    (tmp_path / "stills").mkdir()
    files = []
    for value, (name, why) in enumerate((n, w) for n in ("6 kbit/s", "12 kbit/s") for w in ("median", "worst")):
        for k, what in enumerate(("source", "fev", "svtav1")):
            file = f"stills/{value}-{k}.png"
            (tmp_path / file).write_bytes(png(np.full((8, 8, 3), 10 * value + k, np.uint8)))
            facts = {"file": file, "clip": "a", "why": why, "frame": 3, "what": what}
            files.append(facts if what == "source" else {**facts, "point": name, "bytes": 1, "kbps": 6.0})
    report["stills"]["files"] = files
    path = tmp_path / "readme.md"
    path.write_text(AROUND)
    markdown.put(path, report, tmp_path, {})
    sheet = np.asarray(Image.open(tmp_path / "docs" / "stills.png"))
    assert sheet.shape == (16, 24, 3)
    assert sheet[::8, ::8, 0].tolist() == [[0, 1, 2], [10, 11, 12]]
    assert "median, a, frame 3: source, fev 6.0 kbit/s, svtav1 6.0 kbit/s" in " ".join(path.read_text().split())
    assert "The rule: no taste" in path.read_text()
    # a picture that the page shows already is the one that is replaced
    page = tmp_path / "pages" / "rates.md"
    page.parent.mkdir()
    (tmp_path / "stills.png").write_bytes(b"old")
    page.write_text(f"{markdown.BEGIN}\n![x](../stills.png)\n{markdown.END}\n")
    markdown.put(page, report, tmp_path, {})
    assert "](../stills.png)" in page.read_text() and not (page.parent / "docs").exists()
    assert (tmp_path / "stills.png").read_bytes() == (tmp_path / "docs" / "stills.png").read_bytes()


@pytest.mark.parametrize("text", ["", markdown.BEGIN, f"{markdown.END}{markdown.BEGIN}", AROUND + AROUND])
def test_a_file_without_a_place_for_it_is_refused(tmp_path, text):
    path = tmp_path / "readme.md"
    path.write_text(text)
    with pytest.raises(UsageError, match="once each"):
        markdown.check(path)
    with pytest.raises(FevError, match="cannot be read"):
        markdown.check(tmp_path / "none.md")


def test_what_would_break_the_table_does_not(report):
    odd = copy.deepcopy(report)
    odd["points"][0]["point"] = "12 | kbit/s"
    assert all(len(r) == 8 for r in cells(markdown.table(odd, {})))
