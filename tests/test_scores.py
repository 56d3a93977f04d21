"""The measures over squares, with networks that answer what is known beforehand; and the squares of two clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from fev.codec.media.mux import VideoWriter
from fev.codec.media.video import open_video
from fev.codec.model.modelfile import load_model
from fev.codec.paper.bisenet import LABELS
from fev.format.errors import MediaError
from fev.tools.measure.judges import Judge, Judges
from fev.tools.measure.metrics import frechet, ssim
from fev.tools.measure.pairs import SquarePairs
from fev.tools.measure.scores import METRICS, REGIONS, Scores, VideoPieces

SAMPLE = Path(__file__).parents[1] / "tools" / "sample" / "sample.mp4"
NOBODY = Judges(*(Judge(None, f"no {n}") for n in ("lpips", "arcface", "bisenet", "inception", "i3d")))
SIZE = 64


class Parsing:
    """Skin in the upper half, a mouth in the last row, background between; nothing in a black picture."""

    def of_square(self, pictures):
        out = torch.zeros(len(pictures), len(LABELS), *pictures.shape[2:])
        out[:, LABELS.index("skin"), : SIZE // 2] = 1
        out[:, LABELS.index("mouth"), -1:] = 2
        out[:, 0] = 0.5
        out[pictures.amax((1, 2, 3)) == -1, 0] = 9
        return out


class Who:
    """Red against green as a direction; of 256 pixels, as ArcFace needs."""

    def of_square(self, pictures):
        assert pictures.shape[-1] >= 256
        means = pictures.mean((2, 3)) + 1
        return torch.nn.functional.normalize(means[:, :2])


def mean_colour(pictures):
    return pictures.float().mean((2, 3))


def mean_video(videos):
    return torch.stack([videos.mean((1, 2, 3, 4)), videos[:, 0, 0].mean((1, 2))], 1)


def apart(a, b):
    return (a - b).abs().mean((1, 2, 3))


EVERYBODY = Judges(
    Judge(apart, "distance"), Judge(Who(), "who"), Judge(Parsing(), "labels"), Judge(mean_colour, "colour"),
    Judge(mean_video, "video"),
)  # fmt: skip


def flat(*levels) -> np.ndarray:
    return np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for level in levels])


def scored(judges, source, decoded, fragment=9):
    scores = Scores(judges, fragment)
    scores.add(source, decoded)
    scores.end_clip()
    return scores, scores.figures()


def test_every_measure_is_there_or_missing_with_its_reason():
    _, figures = scored(NOBODY, flat(10, 20), flat(13, 20))
    assert figures.keys() == REGIONS.keys() and tuple(figures["masked"]) == METRICS
    square = figures["square"]
    assert square["l1"].value == 1.5 and square["l1"].about == ("no network",)
    assert square["ssim"].value == pytest.approx(ssim(flat(10, 20), flat(13, 20)))
    known = {m for row in figures.values() for m, f in row.items() if f.value is not None}
    assert known == {"l1", "psnr", "ssim"} and all(f.value is None for f in figures["masked"].values())
    assert figures["masked"]["lpips"].about == ("no lpips", "no mask: no bisenet")
    assert figures["masked"]["psnr"].about == figures["inside"]["psnr"].about == ("no mask: no bisenet",)
    assert square["l_id"].about == ("no arcface",) and square["fid"].about == ("no inception",)
    assert figures["masked"]["fvd_m"].about == ("no i3d", "no mask: no bisenet")
    assert "--openface" in square["rho_gaze"].about[0]


def test_masked_means_are_over_the_blanked_square_and_inside_ones_over_the_face():
    """The face is the upper half and the last row: 33 of 64 rows."""
    source, decoded = flat(100, 100), flat(100, 100)
    decoded[:, :32] += 8  # on the face
    decoded[:, 40:60] = 255  # far off, but not on the face
    _, figures = scored(EVERYBODY, source, decoded)
    share = 33 / 64
    assert figures["masked"]["l1"].value == pytest.approx(8 * 32 / 64)
    assert figures["inside"]["l1"].value == pytest.approx(8 * 32 / 33)
    inside = 10 * np.log10(255**2 / (64 * 32 / 33))
    assert figures["inside"]["psnr"].value == pytest.approx(inside)
    assert figures["masked"]["psnr"].value == pytest.approx(inside - 10 * np.log10(share))
    assert figures["masked"]["lpips"].value == pytest.approx(4 / 127.5)
    assert figures["square"]["l1"].value == pytest.approx(4 + 155 * 20 / 64)
    assert figures["masked"]["l1"].about == ("no network", "mask by labels")
    assert 0 < figures["square"]["ssim"].value < figures["masked"]["ssim"].value < 1


def test_frames_without_a_face_do_not_dilute_the_masked_means():
    source = flat(100, 0, 100)
    scores, figures = scored(EVERYBODY, source, source + np.uint8(6))
    assert scores.faceless == 1 and scores.frames == 3
    assert figures["inside"]["l1"].value == pytest.approx(6)
    scores, figures = scored(EVERYBODY, flat(0, 0), flat(6, 6))
    assert figures["inside"]["l1"].about == ("no mask: the face parsing finds no face in any frame",)
    assert figures["square"]["l1"].value == 6


def test_identity_is_one_minus_the_cosine_of_the_whole_squares():
    red, both = flat((200, 0, 0)), flat((200, 200, 0))
    _, figures = scored(EVERYBODY, red, both)
    assert figures["masked"]["l_id"].value == pytest.approx(1 - 0.5**0.5, abs=1e-6)
    assert figures["masked"]["l_id"] == figures["square"]["l_id"] and "l_id" not in figures["inside"]


def test_fid_is_the_frechet_distance_of_all_frames():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 12, SIZE, SIZE, 3), np.uint8)
    scores = Scores(EVERYBODY)
    for part in (slice(0, 5), slice(5, 12)):
        scores.add(a[part], b[part])
    figures = scores.figures()
    found = figures["square"]["fid"]
    assert found.value == pytest.approx(frechet(a.mean((1, 2)), b.mean((1, 2))), rel=1e-3)
    assert found.about == ("colour", "12 frames in 3 dimensions") and figures["masked"]["fid"].value != found.value
    _, figures = scored(EVERYBODY, a[:1], b[:1])
    assert figures["square"]["fid"].about == ("two frames are needed",)


def fed(pieces: VideoPieces, a: np.ndarray, b: np.ndarray) -> None:
    """One number a frame, as flat pictures of -1 to 1."""
    values = torch.from_numpy(np.stack([a, b])).float()[:, :, None, None, None]
    pieces.add(values.expand(-1, -1, 3, SIZE, SIZE))


def test_fvd_takes_whole_pieces_that_never_go_across_a_cut():
    rng = np.random.default_rng(0)
    clips = [(k / 64).reshape(2, -1) for k in (rng.integers(-64, 65, (2, 25)), rng.integers(-64, 65, (2, 10)))]
    pieces = VideoPieces(Judge(mean_video, "video"), 10)
    for a, b in clips:
        fed(pieces, a[:7], b[:7])  # however the frames come
        fed(pieces, a[7:], b[7:])
        pieces.end_clip()

    def rows(k):
        parts = [clips[0][k][:10], clips[0][k][10:20], clips[1][k]]
        return np.array([[p.mean(), p[0]] for p in parts])

    figure = pieces.figure("video")
    assert figure.value == pytest.approx(frechet(rows(0), rows(1)), rel=1e-4)  # frames are held in half precision
    assert figure.about == ("video", "3 pieces of 10 frames, batches of 3")


def test_fvd_is_the_mean_over_batches_of_eight():
    rng = np.random.default_rng(1)
    a, b = rng.integers(-64, 65, (2, 9 * 17)) / 64
    pieces = VideoPieces(Judge(mean_video, "video"), 9)
    fed(pieces, a, b)
    rows = [[[p.mean(), p[0]] for p in v.reshape(17, 9)] for v in (a, b)]
    x, y = np.array(rows)
    expected = (frechet(x[:8], y[:8]) + frechet(x[8:16], y[8:16])) / 2
    figure = pieces.figure()
    assert figure.value == pytest.approx(expected, rel=1e-4)
    assert figure.about == ("16 pieces of 9 frames, batches of 8",)


def test_fvd_of_too_short_a_clip_is_missing_and_says_so():
    _, figures = scored(EVERYBODY, flat(*[90] * 17), flat(*[91] * 17))
    assert figures["square"]["fvd"].about == ("two pieces of 9 frames are needed, the clips give 1",)
    with pytest.raises(ValueError, match="too short"):
        VideoPieces(Judge(mean_video, "video"), 8)


def test_fvd_m_sees_the_mouth_alone():
    source = flat(*[100] * 18)
    decoded = source.copy()
    decoded[:, :40] = np.random.default_rng(0).integers(0, 256, decoded[:, :40].shape)  # all but the mouth
    _, figures = scored(EVERYBODY, source, decoded)
    assert figures["masked"]["fvd"].value > 1e-3 and figures["masked"]["fvd_m"].value == pytest.approx(0, abs=1e-9)
    decoded[:, -3:] = 0
    _, figures = scored(EVERYBODY, source, decoded)
    assert figures["masked"]["fvd_m"].value > 1e-4 and "fvd_m" not in figures["square"]


def test_correlations_are_means_over_clips():
    scores = Scores(NOBODY)
    scores.add(flat(1), flat(1))
    scores.end_clip({"units": 0.5, "gaze": None, "pose": 1.0})
    scores.end_clip({"units": 0.7, "gaze": None, "pose": None})
    row = scores.figures()["masked"]
    assert row["rho_au"].value == pytest.approx(0.6) and row["rho_pose"].value == 1
    assert row["rho_pose"].about == ("tables of OpenFace, 1 of 2 clips",)
    assert row["rho_gaze"].value is None and "moves" in row["rho_gaze"].about[0]


def clip(path: Path, frames) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width, height, Fraction(1, 25), Fraction(25)) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, i)
    return path


@pytest.fixture(scope="module")
def speaking():
    """Five frames of the sample clip."""
    with open_video(SAMPLE) as video:
        return [frame.rgb for _, frame in zip(range(5), video)]


def test_both_squares_are_cut_where_the_sources_face_is(speaking, tmp_path):
    """Not where the decoded clip shows one, if it does at all; frames before the first face are left out of both."""
    blank = [np.zeros_like(speaking[0])] * 2
    source = clip(tmp_path / "a.mp4", blank + speaking)
    decoded = clip(tmp_path / "b.mp4", blank + [np.full_like(f, 90) for f in speaking])
    with SquarePairs(source, decoded, SIZE, "both", load_model().aligner) as pairs:
        found = list(pairs)
        assert pairs.count == 7
    assert found[:2] == [None, None] and all(found[2:])
    assert all(p.source.std() > 20 and np.abs(p.decoded.astype(int) - 90).max() <= 2 for p in found[2:])
    with SquarePairs(source, source, SIZE, "both", load_model().aligner) as pairs:
        assert all(p is None or np.array_equal(p.source, p.decoded) for p in pairs)
    squares = clip(tmp_path / "c.mp4", [np.full((96, 96, 3), 10 * i, np.uint8) for i in range(7)])
    with SquarePairs(source, squares, SIZE, "source", load_model().aligner) as pairs:
        levels = [p.decoded.mean() for p in pairs if p]
    assert levels == pytest.approx([20, 30, 40, 50, 60], abs=1.5)


def test_squares_are_taken_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    a, b = (clip(tmp_path / n, list(rng.integers(0, 256, (3, 64, 64, 3), np.uint8))) for n in ("a.mp4", "b.mp4"))
    with open_video(a) as video:
        frames = [frame.rgb for frame in video]
    with SquarePairs(a, b, 64, "none", None) as pairs:
        found = list(pairs)
    assert all(np.array_equal(p.source, f) for p, f in zip(found, frames, strict=True))
    with SquarePairs(a, b, 128, "none", None) as pairs:
        assert all(p.source.shape == p.decoded.shape == (128, 128, 3) for p in pairs)


def test_clips_that_do_not_belong_together_are_refused(tmp_path):
    small = clip(tmp_path / "small.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    longer = clip(tmp_path / "longer.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5)
    wide = clip(tmp_path / "wide.mp4", [np.zeros((64, 128, 3), np.uint8)] * 3)
    for a, b, words in ((small, longer, "3 frames and longer.mp4 5"), (longer, small, "5 frames and small.mp4 3")):
        with pytest.raises(MediaError, match=words), SquarePairs(a, b, 64, "none", None) as pairs:
            list(pairs)
    with pytest.raises(MediaError, match="is 64x64 and wide.mp4 128x64: .*--crop source"):
        SquarePairs(small, wide, 64, "both", None)
    for way in ("none", "source"):
        with pytest.raises(MediaError, match="wide.mp4: 128x64 is no square"):
            SquarePairs(small, wide, 64, way, None)
    with pytest.raises(MediaError, match=r"none\.mp4"):
        SquarePairs(small, tmp_path / "none.mp4", 64, "none", None)
