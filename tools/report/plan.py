"""What a run of fev-rd has to do: the squares of its clips, cut now or before, and the jobs over them.

`square` and `panels` cut, `jobs` says what a job is; the command (`fev.tools.rd`) has them done.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...codec.model.modelfile import DEFAULT, load_model
from ...format.errors import FevError
from ..common import progress
from . import classic, ours, square
from .jobs import OURS, PANEL, Job, code_of, digest
from .panels import NAMES, cut_panels
from .scoring import ScoringNetworks
from .square import Square
from .workers import run_here


def squares_of(args: Any, folder: Path) -> tuple[list[Square], dict[str, list[Square]], list[str]]:
    """The squares of all clips; by their names the panels beside them; and what could not be cut.

    Raises FevError where nothing could.
    """
    names = tuple(args.panel_names or NAMES)
    size = args.size or load_model(args.model or DEFAULT).size
    wanted = [(v, None) for v in args.videos] + [(v, names) for v in args.panels]
    calls = [(v, panels, str(folder), size, args.duration, args.force) for v, panels in wanted]
    found: dict[Any, list[Square]] = {}
    errors = []
    with progress(len(calls), "squares", "clip") as bar:
        for which, squares, error in run_here(one, calls, min(args.jobs, len(calls))):
            bar.update(1)
            found[which] = squares
            errors += [error] if error else []
    order = [found[which] for which in wanted if found[which]]
    if not order:
        raise FevError(errors[0])
    clips = unique([squares[0] for squares in order])
    return clips, {c.name: squares[1:] for c, squares in zip(clips, order, strict=True)}, errors


def one(
    source: str, panels: tuple[str, ...] | None, folder: str, size: int, duration: float | None, force: bool
) -> tuple[tuple[str, Any], list[Square], str | None]:
    """Cut one clip, or a clip's panels, unless that was done.  No FevError comes out: the last value has it."""
    try:
        made = [square.digest_of(source), panels, size, duration, code_of("square.py", "panels.py"), ours.version()]
        place, key = Path(folder) / "squares", digest(made)
        place.mkdir(exist_ok=True)
        known = None if force else square.recall(place / f"{key}.json")
        if known is None:
            paths = [place / f"{key}{f'.{k}' if k else ''}.mp4" for k in range(1 + len(panels or ()))]
            known = _cut(source, panels, paths, size, duration)
            square.remember(place / f"{key}.json", known)
        return (source, panels), [replace(known[0], name=Path(source).stem), *known[1:]], None
    except FevError as error:
        return (source, panels), [], str(error)


def _cut(
    source: str, panels: tuple[str, ...] | None, paths: list[Path], size: int, duration: float | None
) -> list[Square]:
    if panels is not None:
        return cut_panels(source, paths, panels, size, duration)
    net = load_model().aligner
    assert net is not None  # the built-in model has one
    return [square.cut(source, paths[0], net, size, duration)]


def unique(squares: list[Square]) -> list[Square]:
    """No two clips of one name."""
    seen: dict[str, int] = {}
    out = []
    for s in squares:
        seen[s.name] = seen.get(s.name, 0) + 1
        out.append(s if seen[s.name] == 1 else replace(s, name=f"{s.name} ({seen[s.name]})"))
    return out


def jobs_of(
    args: Any, squares: list[Square], panels: dict[str, list[Square]], named: ScoringNetworks
) -> tuple[list[Job], list[str]]:
    """All jobs, clip by clip; and why codecs are missing here."""
    known = [c for c in args.codecs if c != OURS]
    gone = {c: why for c in known if (why := classic.missing(c))}
    jobs: list[Job] = []
    for s in squares:
        for c in (c for c in known if c not in gone):
            jobs += _classic(args, s, c, named)
        if OURS in args.codecs:
            jobs += _ours(args, s, named)
        for p in panels[s.name]:
            setting = {"path": p.path, "digest": p.digest}
            jobs.append(Job(s, PANEL, p.name, p.name, "as published", setting, args.every, named))
    return jobs, list(gone.values())


def _classic(args: Any, s: Square, codec: str, named: ScoringNetworks) -> list[Job]:
    title, out = classic.CODECS[codec].title, []
    for gop in args.gops:
        curve = f"{title}, {'one GOP' if gop == 'single' else '1 s GOP'}"
        for point in classic.points(codec, args.points):
            setting = {"point": point, "gop": gop, "preset": args.classical_preset}
            out.append(Job(s, codec, title, curve, point, setting, args.every, named))
    return out


def _ours(args: Any, s: Square, named: ScoringNetworks) -> list[Job]:
    if args.bitrates:
        targets = [({"bitrate": rate}, f"{rate:g} kbit/s") for rate in args.bitrates]
    else:
        targets = [
            ({"quality": quality, "identity_budget": budget}, f"{budget} B, q{quality:g}")
            for budget in args.identity_budgets
            for quality in args.qualities
        ]
    out = []
    for preset in args.presets:
        for target, point in targets:
            setting = {"preset": preset, **target, **({"model": args.model} if args.model else {})}
            out.append(Job(s, OURS, "fev", f"fev {preset}", point, setting, args.every, named))
    return out
