"""`fev-evaluate` as a person meets it: two clips in, the tables out, every measure with its network or its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from fev.codec.media.mux import VideoWriter
from fev.codec.model.modelfile import library
from fev.format.errors import FevError, MediaError, UsageError
from fev.tools import evaluate, models
from fev.tools.measure import inception, judges, published
from fev.tools.measure.metrics import absolute, decibels, mean_error
from golden import synth
from snapshots import network_state, saved

GOLDEN = Path(__file__).parent / "golden"
FRAMES = 18  # two pieces of the shortest


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def clip(path: Path, frames: np.ndarray) -> str:
    """Written without loss of more than a rounding of colours: flat areas come back as they are."""
    height, width = frames.shape[1:3]
    with VideoWriter(path, width, height, Fraction(1, 25), Fraction(25)) as writer:
        for i, frame in enumerate(frames):
            writer.write(np.ascontiguousarray(frame), i)
    return str(path)


@pytest.fixture
def two(tmp_path) -> list[str]:
    y, x = np.mgrid[0:64, 0:64]
    source = np.stack([np.stack([2 * x + i, 2 * y + i, x + y], 2) for i in range(FRAMES)]).astype(np.uint8)
    decoded = np.minimum(source.astype(int) + 6, 255).astype(np.uint8)
    return [clip(tmp_path / "source.mp4", source), clip(tmp_path / "decoded.mp4", decoded)]


def tables(tmp_path: Path, name: str, frames: int = FRAMES, turn: float = 1) -> str:
    values = np.random.default_rng(0).normal(size=(frames, 5))
    rows = ["frame, success, gaze_angle_x, gaze_angle_y, pose_Rx, pose_Ry, AU12_r"]
    for i, (gx, gy, rx, ry, smile) in enumerate(values):
        rows.append(f"{i + 1}, 1, {gx:.4f}, {gy:.4f}, {rx:.4f}, {turn * ry:.4f}, {smile:.4f}")
    path = tmp_path / name
    path.write_text("\n".join(rows))
    return str(path)


class Video(torch.nn.Module):
    """Stands for I3D, which takes a second a piece."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(4, 3))

    def forward(self, videos):
        return (self.weight @ videos.mean((3, 4))).square().mean(2)


class Picture(torch.nn.Module):
    """Stands for Inception."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 6).reshape(3, 2))

    def forward(self, pictures):
        return (pictures.float().mean((2, 3)) @ self.weight,)


def written(path: Path, content: object) -> str:
    path.write_bytes(saved(content))
    return str(path)


@pytest.fixture
def networks(tmp_path, monkeypatch) -> list[str]:
    """Every network: ArcFace, BiSeNet and AlexNet with synthetic weights, stand-ins for the other two."""
    alex = {
        k.split("/", 1)[1]: torch.from_numpy(synth.synth(k.split("/", 1)[1], v["shape"]))
        for k, v in synth.load_manifest(str(GOLDEN / "lpips.json"))["state_dict"].items()
        if k.startswith("alex/features")
    }
    parsing = network_state("bisenet")
    parsing["conv_out.conv_out.weight"] *= 0.01
    # Of the labels drawn from pictures nobody has seen, let skin win where the parsing is unsure of the rest.
    parsing["conv_out.conv_out.weight"][1] *= 300
    files = [
        written(tmp_path / "a.pth", network_state("arcface")), written(tmp_path / "b.pth", parsing),
        written(tmp_path / "c.pth", alex), str(GOLDEN / "ros_tiny64.pt"),
    ]  # fmt: skip
    assert models.work(["import", *files, "--name", "tiny"]) == 0
    monkeypatch.setattr(judges, "I3D", Video)
    monkeypatch.setattr(inception, "_empty", Picture)
    named = ["--i3d", written(tmp_path / "i3d.pt", Video().state_dict())]
    return ["--networks", "tiny", "--inception", written(tmp_path / "i.pth", Picture().state_dict()), *named]


def test_with_every_network_nothing_is_missing(two, networks, tmp_path, capsys):
    csv = [tables(tmp_path, "s.csv"), tables(tmp_path, "d.csv", turn=-1)]
    out = tmp_path / "table.md"
    given = [*two, "--crop", "none", "--size", "64", "--fragment", "9", *networks, "--openface", *csv]
    capsys.readouterr()
    assert evaluate.work([*given, "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == FRAMES and found["clips"][0]["measured_frames"] == FRAMES and found["size"] == 64
    assert 0 <= found["frames_without_mask"] < FRAMES
    measured = found["measured"]
    assert {r: set(m) for r, m in measured.items()} == {
        "masked": set(evaluate.COLUMNS), "inside": {"l1", "psnr"}, "square": set(evaluate.COLUMNS) - {"fvd_m"},
    }  # fmt: skip
    assert all(f["value"] is not None and f["by"] for row in measured.values() for f in row.values()), measured
    square, masked, inside = (measured[r] for r in ("square", "masked", "inside"))
    # 6 steps of 255 everywhere, but for rounding of colours and what H.264 loses
    assert square["l1"]["value"] == pytest.approx(6, abs=0.7) and inside["l1"]["value"] == pytest.approx(6, abs=1)
    assert 0 < masked["l1"]["value"] < square["l1"]["value"]
    assert masked["psnr"]["value"] > inside["psnr"]["value"]
    assert 0 < square["l_id"]["value"] < 2 and square["lpips"]["value"] > 0 and square["fid"]["value"] > 0
    assert masked["rho_pose"]["value"] == pytest.approx(0, abs=1e-9)  # pitch with, yaw against
    assert masked["rho_gaze"]["value"] == masked["rho_au"]["value"] == pytest.approx(1)
    assert square["lpips"]["by"] == ["LPIPS 0.1 on AlexNet, imported as tiny"]
    assert "mask by BiSeNet, 19 labels, imported as tiny" in masked["ssim"]["by"]
    assert "i.pth, sha256" in square["fid"]["by"][0] and "2 pieces of 9 frames, batches of 2" in masked["fvd_m"]["by"]
    text = out.read_text()
    assert "missing" not in text.split("## Published")[0] and f"{masked['psnr']['value']:.2f}" in text


def test_without_networks_what_needs_none_is_measured_and_the_rest_says_why(two, capsys):
    assert evaluate.work([*two, "--crop", "none", "--size", "64"]) == 0
    measured, rest = capsys.readouterr().out.split("## Published")
    row = next(line for line in measured.splitlines() if line.startswith("| whole square"))
    cells = [c.strip() for c in row.split("|")[2:-1]]
    assert [c == "missing" for c in cells] == [False, True, True, False, False, True, True, False, True, True, True]
    masked = next(line for line in measured.splitlines() if line.startswith("| masked, as published"))
    assert masked.count("missing") == 11
    needed = ("79999_iter.pth", "alexnet-owt-7be5be79.pth", "model_ir_se50.pth", "--inception", "--i3d", "--openface")
    assert all(word in measured for word in needed)
    seeds = {"FOMM", "LIA", "FS-Vid2Vid", "StyleHEAT", "StyleVideoGAN*"}
    seeds |= {"X2Face", "Fast Bi-layer", "Neural-Head", "LSR", "PIR"}
    assert all(f"| {name} |" in rest and name not in measured for name in seeds)
    assert "tune a generator on the very clip" in rest and "4 to 5 dB" in rest


def test_equal_clips_and_several_pairs(two, capsys):
    pairs = [two[0], two[0], *two]
    assert evaluate.work([*pairs, "--crop", "none", "--size", "64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [c["measured_frames"] for c in found["clips"]] == [FRAMES, FRAMES] and found["frames"] == 2 * FRAMES
    assert found["measured"]["square"]["l1"]["value"] == pytest.approx(3, abs=0.4)  # 0 and 6
    assert found["measured"]["masked"]["l1"]["missing"][0].startswith("no mask")
    assert found["frames_without_mask"] is None


def test_published_tables_are_whole():
    for table in published.TABLES:
        assert all(len(values.split()) == len(table.columns) for values in table.rows.values())
        assert "poster" in table.source and table.note
    first = published.TABLES[0]
    ours = dict(zip(first.columns, first.rows["Oorloff & Yacoob"].split(), strict=True))
    assert ours["L1 ↓"] == "1.99" and ours["FVD ↓"] == "85.2" and ours["ρ_pose ↑"] == "0.880"
    assert published.TABLES[1].rows["StyleHEAT"].split()[4] == "109.8"
    assert published.TABLES[2].rows["PIR"].split()[:4] == ["0.71", "0.12", "57.2", "414"]
    # The posters mark the best of each column; in ours the same ones come out best.
    best = {c: min(first.rows, key=lambda m: float(first.rows[m].split()[i]))
            for i, c in enumerate(first.columns) if c.endswith("↓")}  # fmt: skip
    assert set(best.values()) == {"Oorloff & Yacoob*"}


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["third.mp4"], "third.mp4 has no second video"),
        (["--size", "32"], "--size 32 is not from 64 to 1024"),
        (["--fragment", "8"], "--fragment 8 is not from 9"),
        (["--openface", "a", "b", "--openface", "c", "d"], "2 times for 1 pairs"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(extra, words):
    with pytest.raises(UsageError, match=words):
        evaluate.work(["a.mp4", "b.mp4", *extra])


def test_what_does_not_fit_is_refused(two, tmp_path):
    given = [*two, "--crop", "none", "--size", "64"]
    short = clip(tmp_path / "short.mp4", np.zeros((3, 64, 64, 3), np.uint8))
    with pytest.raises(MediaError, match="18 frames and short.mp4 3"):
        evaluate.work([two[0], short, "--crop", "none"])
    few = [tables(tmp_path, n, 5) for n in ("a.csv", "b.csv")]
    with pytest.raises(FevError, match=r"a.csv has 5 rows, .*source.mp4 18 frames"):
        evaluate.work([*given, "--openface", *few])
    with pytest.raises(FevError, match="nothing was imported under the name 'mine'"):
        evaluate.work([*given, "--networks", "mine"])
    with pytest.raises(FevError, match=r"x.pt: cannot be opened"):
        evaluate.work([*given, "--i3d", str(tmp_path / "x.pt")])
    kept = tmp_path / "kept.md"
    kept.write_text("mine")
    with pytest.raises(FevError, match="exists already"):
        evaluate.work([*given, "--out", str(kept)])
    with pytest.raises(FevError, match="is the input too"):
        evaluate.work([*given, "--out", two[1], "--force"])
    assert kept.read_text() == "mine"


def test_the_command_ends_with_one_line_and_its_code(two, tmp_path):
    def run(*words: object) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "fev.tools.evaluate", *map(str, words)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=300, text=True)
        return done.returncode, done.stderr.strip().splitlines()

    code, lines = run(two[0])
    assert code == 2 and len(lines) == 1 and "no second video" in lines[0]
    code, lines = run(two[0], tmp_path / "none.mp4", "--crop", "none")
    assert code == 1 and len(lines) == 1 and "none.mp4" in lines[0]


def test_a_clip_without_a_face_is_refused(two):
    with pytest.raises(MediaError, match="no face found in any of 18 frames"):
        evaluate.work(two)


def test_a_masked_mean_is_the_inner_one_times_the_face_share():
    """What the caution in the output says of published PSNR, as arithmetic."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (1, 64, 64, 3), np.uint8)
    b = np.clip(a.astype(int) + rng.integers(-9, 10, a.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[10:46, 14:50] = True
    share = mask.mean()
    shown = [v * mask[..., None] for v in (a, b)]
    assert absolute(*shown) == pytest.approx(share * absolute(a, b, mask))
    assert decibels(*shown) == pytest.approx(decibels(a, b, mask) - 10 * np.log10(share))
    assert 4 < -10 * np.log10(share) < 5.1 and mean_error(np.ones((1, 64, 64, 3)), mask) == 1
