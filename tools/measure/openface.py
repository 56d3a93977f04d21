"""Tables of OpenFace 2.0 (its FeatureExtraction, a CSV file a clip), and how alike those of two clips move.

The paper takes action units, gaze and head pose from OpenFace (supplement F.2), which is a program of its own and not
free for commercial use: who has it runs it on both clips and names the two files (`fev-evaluate --openface`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from ...format.errors import FevError, LimitError, MediaError
from .metrics import correlation

MAX_LINE = 1 << 16  # characters; with every landmark in it a row has 10,000
MAX_ROWS = 200_000  # two hours at 25 a second
MAX_COLUMNS = 4096
GAZE = ("gaze_angle_x", "gaze_angle_y")
POSE = ("pose_Ry", "pose_Rx")  # yaw and pitch
UNIT = re.compile(r"AU\d\d_r")  # intensities, 0 to 5; AU.._c is only whether a unit is there
LEAST = 2  # frames with a face, below which nothing correlates


@dataclass(frozen=True)
class Tracks:
    """What OpenFace saw.

    Attributes:
        seen: (T,) whether it found the face in a frame.
        columns: name -> (T,), NaN where not seen.
    """

    name: str
    seen: np.ndarray
    columns: dict[str, np.ndarray]

    @property
    def units(self) -> list[str]:
        return sorted(c for c in self.columns if UNIT.fullmatch(c))


def read_tracks(path: str | os.PathLike[str]) -> Tracks:
    """A table of FeatureExtraction: action units, gaze angles, rotations.  Raises FevError where it is none."""
    name = os.path.basename(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            return _table(file, name)
    except UnicodeDecodeError as error:
        raise MediaError(f"{name}: is no text") from error
    except OSError as error:
        raise FevError(f"{path}: cannot be opened: {error.strerror}") from error


def _line(file: TextIO, name: str) -> list[str]:
    """The words of the next line; none at the end."""
    line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        raise LimitError(f"{name}: a line of more than {MAX_LINE} characters")
    return [word.strip() for word in line.split(",")] if line else []


def _table(file: TextIO, name: str) -> Tracks:
    head = _line(file, name)
    units = [word for word in head if UNIT.fullmatch(word)]
    wanted = [*units, *GAZE, *POSE]
    lacking = [word for word in ("frame", "success", *GAZE, *POSE) if word not in head]
    if lacking or not units:
        raise MediaError(f"{name}: no table of OpenFace's FeatureExtraction: it has no {(lacking or ['AU01_r'])[0]}")
    if len(head) > MAX_COLUMNS or len(set(head)) != len(head):
        raise MediaError(f"{name}: its columns are too many, or two have one name")
    at = [head.index(word) for word in wanted]
    frame, success = head.index("frame"), head.index("success")
    seen: list[bool] = []
    rows: list[list[float]] = []
    while words := _line(file, name):
        if words == [""]:
            continue
        where = f"{name}: row {len(rows) + 1}"
        if len(rows) == MAX_ROWS:
            raise LimitError(f"{name}: more than {MAX_ROWS} rows")
        if len(words) != len(head):
            raise MediaError(f"{where} has {len(words)} columns, the first line {len(head)}")
        values = [_number(words[i], where, head[i]) for i in (frame, success, *at)]
        if values[0] != len(rows) + 1:
            raise MediaError(f"{where} is of frame {words[frame]}: one row a frame, one face, is expected")
        seen.append(values[1] == 1 and bool(np.isfinite(values[2:]).all()))
        rows.append(values[2:])
    if not rows:
        raise MediaError(f"{name}: no rows")
    table = np.array(rows)
    table[~np.array(seen)] = np.nan
    return Tracks(name, np.array(seen), dict(zip(wanted, table.T, strict=True)))


def _number(word: str, where: str, column: str) -> float:
    """A number; what C programs write for a missing one, such as -nan(ind), is one too."""
    try:
        return float("nan") if "nan" in word.lower() else float(word)
    except ValueError:
        raise MediaError(f"{where}: {column} is {word[:20]!r}, not a number") from None


def correlations(source: Tracks, decoded: Tracks) -> dict[str, float | None]:
    """How alike two clips move in time: `units`, `gaze` and `pose`, -1 to 1.

    Pearson's correlation over the frames in which both show a face, of every action unit's intensity, of both gaze
    angles, of yaw and of pitch, and of each of the three groups the mean.  The supplement says what is correlated but
    not how a group is put together; a mean lets every series count alike.  A series that does not move in one of the
    clips has no correlation and is left out; a group without any is None.  Raises MediaError where the tables do not
    belong together.
    """
    if len(source.seen) != len(decoded.seen):
        raise MediaError(f"{source.name} has {len(source.seen)} rows and {decoded.name} {len(decoded.seen)}")
    if source.units != decoded.units:
        raise MediaError(f"{source.name} and {decoded.name} have different action units")
    both = source.seen & decoded.seen
    if both.sum() < LEAST:
        raise MediaError(f"{source.name} and {decoded.name} show a face together in {both.sum()} frames")
    out: dict[str, float | None] = {}
    for group, names in (("units", source.units), ("gaze", GAZE), ("pose", POSE)):
        found = [correlation(source.columns[n][both], decoded.columns[n][both]) for n in names]
        known = [value for value in found if value is not None]
        out[group] = float(np.mean(known)) if known else None
    return out
