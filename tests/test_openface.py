"""Tables of OpenFace: what is read of them, what is refused, how two of them are compared."""

from __future__ import annotations

import numpy as np
import pytest
from fev.format.errors import FevError, LimitError, MediaError
from fev.tools.measure import openface
from fev.tools.measure.openface import correlations, read_tracks

HEAD = (
    "frame, face_id, timestamp, confidence, success, gaze_0_x, gaze_angle_x, gaze_angle_y, pose_Tx, pose_Rx, pose_Ry, "
    "pose_Rz, AU01_r, AU45_r, AU01_c"
)


def table(path, rows, head=HEAD):
    """rows: (success, gaze_angle_x, gaze_angle_y, pose_Rx, pose_Ry, AU01_r, AU45_r)."""
    lines = [head]
    for i, (ok, gx, gy, rx, ry, au1, au45) in enumerate(rows):
        lines.append(f"{i + 1}, 0, {i / 25:.3f}, 0.98, {ok}, 0.1, {gx}, {gy}, 5.0, {rx}, {ry}, 9.0, {au1}, {au45}, 1.0")
    path.write_text("\n".join(lines) + "\n")
    return path


def moving(n=12, seed=0):
    values = np.random.default_rng(seed).normal(size=(n, 6)).round(4)
    return [(1, *row) for row in values.tolist()]


def test_the_columns_that_count_are_read(tmp_path):
    rows = moving()
    tracks = read_tracks(table(tmp_path / "a.csv", rows))
    assert tracks.units == ["AU01_r", "AU45_r"] and tracks.seen.all()
    assert tracks.columns["pose_Ry"].tolist() == [r[4] for r in rows]
    assert tracks.columns["gaze_angle_x"].tolist() == [r[1] for r in rows]


def test_frames_without_a_face_do_not_count(tmp_path):
    rows = moving()
    worse = list(rows)
    worse[3] = (0, *[0.0] * 6)
    worse[5] = (1, "-nan(ind)", *[0.0] * 5)
    tracks = read_tracks(table(tmp_path / "b.csv", worse))
    assert np.flatnonzero(~tracks.seen).tolist() == [3, 5]
    found = correlations(read_tracks(table(tmp_path / "a.csv", rows)), tracks)
    assert found == pytest.approx({"units": 1, "gaze": 1, "pose": 1})


def test_a_group_is_the_mean_of_its_series_and_roll_is_none_of_pose(tmp_path):
    rows = moving()
    turned = [(ok, -gx, gy, rx, ry, a, 2 * b + 1) for ok, gx, gy, rx, ry, a, b in rows]
    found = correlations(*(read_tracks(table(tmp_path / n, r)) for n, r in (("a.csv", rows), ("b.csv", turned))))
    assert found == pytest.approx({"units": 1, "gaze": 0, "pose": 1}, abs=1e-12)


def test_series_that_stand_still_are_left_out(tmp_path):
    rows = moving()
    still = [(ok, 0.1, 0.2, rx, ry, a, 0) for ok, gx, gy, rx, ry, a, b in rows]
    found = correlations(*(read_tracks(table(tmp_path / n, r)) for n, r in (("a.csv", rows), ("b.csv", still))))
    assert found["units"] == pytest.approx(1) and found["gaze"] is None


def spoilt(tmp_path, change):
    path = table(tmp_path / "bad.csv", moving(4))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: ["a,b,c", "1,2,3"], "no table of OpenFace"),
        (lambda lines: [], "no table of OpenFace"),
        (lambda lines: lines[:1], "no rows"),
        (lambda lines: [x.replace("pose_Ry", "pose_Qy") for x in lines], "it has no pose_Ry"),
        (lambda lines: [x.replace("_r", "_x") for x in lines], "it has no AU01_r"),
        (lambda lines: [*lines, "5, 0, 1"], "row 5 has 3 columns"),
        (lambda lines: [*lines, lines[-1]], "row 5 is of frame 4"),
        (lambda lines: [*lines[:3], lines[3].replace("9.0", "9.0").replace(" 1,", " yes,", 1)], "success is 'yes'"),
        (lambda lines: [lines[0].replace("AU45_r", "AU01_r"), *lines[1:]], "two have one name"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, change, words):
    with pytest.raises(MediaError, match=words):
        read_tracks(spoilt(tmp_path, change))


def test_size_is_bounded(tmp_path, monkeypatch):
    (tmp_path / "long.csv").write_text("x" * (openface.MAX_LINE + 5))
    with pytest.raises(LimitError, match="characters"):
        read_tracks(tmp_path / "long.csv")
    monkeypatch.setattr(openface, "MAX_ROWS", 3)
    with pytest.raises(LimitError, match="more than 3 rows"):
        read_tracks(table(tmp_path / "a.csv", moving(4)))


def test_what_is_no_text_or_no_file(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x9f" * 9)
    with pytest.raises(MediaError, match="no text"):
        read_tracks(tmp_path / "a.csv")
    with pytest.raises(FevError, match="cannot be opened"):
        read_tracks(tmp_path / "none.csv")


def test_tables_of_different_clips_are_refused(tmp_path):
    a = read_tracks(table(tmp_path / "a.csv", moving(5)))
    with pytest.raises(MediaError, match="5 rows and b.csv 6"):
        correlations(a, read_tracks(table(tmp_path / "b.csv", moving(6))))
    other = table(tmp_path / "c.csv", moving(5), HEAD.replace("AU45_r", "AU12_r"))
    with pytest.raises(MediaError, match="different action units"):
        correlations(a, read_tracks(other))
    blind = read_tracks(table(tmp_path / "d.csv", [(0, *[0.0] * 6)] * 5))
    with pytest.raises(MediaError, match="together in 0 frames"):
        correlations(a, blind)
