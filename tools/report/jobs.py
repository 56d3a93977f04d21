"""The jobs of a report: one square, one codec, one setting; coded once, scored once, remembered by what made it.

`workers` runs them on this machine's cores or on Ray, with the very same function (`perform`).

Two digests say what need not be done again.  A stream's is made of the square's frames, the codec, its setting and the
software that coded it; a result's of the stream's, the measures asked for and the software that scored it.  So a
measure that is added later scores again without coding again.  Both files lie in the output folder, and what is there
is skipped.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...codec.model.modelfile import DEFAULT
from ...format.errors import FevError
from . import classic, ours
from .scoring import Scorer, ScoringNetworks
from .square import Square, frames_of

HERE = Path(__file__).parent
OURS, PANEL = "fev", "panel"


@dataclass(frozen=True)
class Job:
    """codec: a name of `classic.CODECS`, `fev`, or `panel`, whose stream is another square.

    setting: of the codec, as JSON has it.  label: what the codec is called; curve: settings of one label and one curve
    are points of one line.  every, named: of the scoring.
    """

    square: Square
    codec: str
    label: str
    curve: str
    point: str
    setting: dict[str, Any] = field(default_factory=dict)
    every: int = 1
    named: ScoringNetworks = field(default_factory=ScoringNetworks)

    @property
    def stream_key(self) -> str:
        if self.codec == PANEL:
            return digest([PANEL, self.setting["digest"]])
        made = [ours.version(), ours.model_digest(self.setting.get("model", DEFAULT))]
        made = made if self.codec == OURS else [classic.version(), code_of("classic.py")]
        return digest([self.square.digest, self.codec, self.setting, made])

    @property
    def key(self) -> str:
        """Of the result."""
        scored = [
            code_of("scoring.py"),
            torch.__version__.split("+")[0],
            self.every,
            asdict(self.named),
            _named(self.named),
        ]
        return digest([self.square.digest, self.stream_key, ours.version(), scored])

    @property
    def ending(self) -> str:
        return ".fev" if self.codec == OURS else ".mp4"


@dataclass(frozen=True)
class Task:
    """A job, and what is there of it: a stream that was coded before, with its facts."""

    job: Job
    stream: bytes | None = None
    facts: dict[str, Any] | None = None


@dataclass(frozen=True)
class JobOutcome:
    """stream: None where it was there.  error: why there is no result."""

    job: Job
    stream: bytes | None = None
    facts: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: str | None = None


def perform(task: Task, square: str | bytes) -> JobOutcome:
    """Code, unless that was done, decode and score.

    Args:
        square: the file of the task's square, its path or its bytes.

    On one thread, so that bytes and pictures are those of any machine of a kind. Raises nothing
    that a codec or a file may cause: that is the answer's `error`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _perform(task, square)
    except FevError as error:
        return JobOutcome(task.job, error=str(error))
    finally:
        torch.set_num_threads(threads)


def _perform(task: Task, square: str | bytes) -> JobOutcome:
    job, stream, facts = task.job, task.stream, task.facts

    def source() -> Any:
        return io.BytesIO(square) if isinstance(square, bytes) else square

    if stream is None or facts is None:
        coded = _encode(job, source())
        stream, facts = coded.stream, {k: v for k, v in asdict(coded).items() if k != "stream"}
    pictures = Timed(decoded(job, stream))
    scores = _scorer(job.named).score(frames_of(source()), pictures, job.every)
    result = {
        "clip": job.square.name, "codec": job.codec, "label": job.label, "curve": job.curve, "point": job.point,
        "setting": job.setting, "size": job.square.size, "frames": pictures.count, "duration_s": job.square.duration_s,
        "coded": facts, "decode_s": pictures.elapsed_s, "scores": scores.means,
        "per_frame": {"frame": scores.frames, **scores.values}, "missing": scores.missing, "by": scores.by,
    }  # fmt: skip
    return JobOutcome(job, None if task.stream is not None else stream, facts, result)


def _encode(job: Job, square: Any) -> Any:
    if job.codec == OURS:
        return ours.encode(square, job.setting)
    s = job.setting
    return classic.encode(job.codec, s["point"], s["gop"], s["preset"], frames_of(square), Fraction(*job.square.fps))


def decoded(job: Job, stream: bytes) -> Iterator[np.ndarray]:
    """The pictures of a job's stream, uint8 (S, S, 3), one at a time, all of them through 4:2:0."""
    if job.codec == OURS:
        return ours.decode(stream, job.square.size, job.setting.get("model"))
    frames = frames_of(io.BytesIO(stream))
    return map(ours.seen, frames) if job.codec == PANEL else frames


class Timed:
    """An iterator that knows how many came out of it and how long it took to make them."""

    def __init__(self, inner: Iterator[np.ndarray]):
        self.inner, self.count, self.elapsed_s = inner, 0, 0.0

    def __iter__(self) -> Timed:
        return self

    def __next__(self) -> np.ndarray:
        started = time.perf_counter()
        item = next(self.inner)
        self.elapsed_s += time.perf_counter() - started
        self.count += 1
        return item


@lru_cache(2)
def _scorer(named: ScoringNetworks) -> Scorer:
    return Scorer(named)


@lru_cache(2)
def _named(named: ScoringNetworks) -> list[str]:
    """What the measures are made with, by the networks' names and digests, and what is missing."""
    scorer = _scorer(named)
    return sorted([*scorer.by.values(), *scorer.missing])


@lru_cache(8)
def code_of(*names: str) -> str:
    """Digest of files of this package."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names)).hexdigest()[:12]


def digest(value: Any) -> str:
    """A name for anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


class Store:
    """The output folder's `streams` and `results`: what is there, and a place for what comes."""

    def __init__(self, folder: Path):
        self.streams, self.results = folder / "streams", folder / "results"
        for place in (self.streams, self.results):
            place.mkdir(parents=True, exist_ok=True)

    def result(self, job: Job) -> dict[str, Any] | None:
        """What an earlier run found.  Names are this run's: the same frames may have come under others."""
        found = _read(self.results / f"{job.key}.json")
        if found is None or self.stream(job) is None:
            return None
        named = {"clip": job.square.name, "label": job.label, "curve": job.curve, "point": job.point}
        return {**found, **named, "setting": job.setting, "key": job.key}

    def path(self, job: Job) -> Path:
        """Where the stream lies; of a panel, its square."""
        if job.codec == PANEL:
            return Path(job.setting["path"])
        return self.streams / f"{job.stream_key}{job.ending}"

    def stream(self, job: Job) -> bytes | None:
        path = self.path(job)
        return path.read_bytes() if path.is_file() else None

    def task(self, job: Job, force: bool = False) -> Task:
        if job.codec == PANEL:
            return Task(job, self.stream(job), {"bytes": None, "once": None, "sections": {}})
        facts = None if force else _read(self.streams / f"{job.stream_key}.json")
        stream = None if facts is None else self.stream(job)
        return Task(job, stream, facts if stream is not None else None)

    def keep(self, done: JobOutcome) -> None:
        """Write down; every file appears whole or not at all."""
        if done.stream is not None:
            _write(self.path(done.job), done.stream)
            _write(self.streams / f"{done.job.stream_key}.json", json.dumps(done.facts).encode())
        if done.result is not None:
            _write(self.results / f"{done.job.key}.json", json.dumps(done.result).encode())


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)
