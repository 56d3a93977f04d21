"""`fev-rd`: rate and distortion of fev against H.264, HEVC, AV1 and VP9, as one HTML page, CSV and JSON.

    fev-rd CLIP... --out FOLDER [--panels CLIP ...]
        [--codecs x264,x265,svtav1,vp9,fev] [--points N] [--gops single,1s] [--classical-preset slow]
        [--presets medium] [--qualities 20,40,60,80] [--identity-budgets 8192,27000 | --bitrates 6,12]
        [--every K] [--networks NAME] [--shape FILE] [--dists FILE] [--jobs N | --ray ADDRESS]
        [--clips median|all] [--keep] [--into FILE.md] [--scores FILE.csv]

What FOLDER holds already is not done again: an interrupted or enlarged run goes on where it was.  The parts are in
`fev.tools.report`; `jobs` is the work, `summary` the report.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..format.errors import FevError, UsageError
from ..version import __version__
from .common import count, kilobits, output_file, parser, percent, print_json, progress, run, say, seconds

if TYPE_CHECKING:
    from .report.jobs import Job
    from .report.square import Square

MARK = "fev-rd.json"  # says that a folder is ours
CODECS = ("x264", "x265", "svtav1", "vp9", "fev")
SIZES = (64, 1024)
PRESETS = ("fast", "medium", "slow")
QUALITIES, IDENTITY_BUDGETS = (20.0, 40.0, 60.0, 80.0), (8192, 27000)


def some(kind: Callable[[str], Any], known: tuple[str, ...] | None = None) -> Callable[[str], tuple[Any, ...]]:
    """argparse type: values with commas between."""

    def read(text: str) -> tuple[Any, ...]:
        values = tuple(dict.fromkeys(kind(part) for part in text.split(",") if part))
        wrong = [v for v in values if known and v not in known]
        if wrong or not values:
            raise argparse.ArgumentTypeError(f"{wrong[0]} is not one of {', '.join(known or ())}" if wrong else "empty")
        return values

    read.__name__ = kind.__name__
    return read


def arguments(given: list[str] | None) -> Any:
    o = parser("fev-rd", "Rate and distortion of fev against other codecs: an HTML page, CSV and JSON.")
    o.add_argument("videos", nargs="*", metavar="CLIP", help="videos with a face")
    o.add_argument(
        "--out", required=True, metavar="FOLDER", help="the report and all that it is made of; runs resume there"
    )
    o.add_argument(
        "--panels", nargs="+", default=[], metavar="CLIP", help="published side-by-side videos, real clip first"
    )
    o.add_argument("--panel-names", type=some(str), metavar="NAMES", help="of the panels after the first")
    o.add_argument("--codecs", type=some(str, CODECS), default=CODECS, help=f"of {','.join(CODECS)} (default: all)")
    o.add_argument(
        "--gops", type=some(str, ("single", "1s")), default=("single", "1s"), help="single,1s (default: both)"
    )
    o.add_argument("--points", type=count, default=8, metavar="N", help="of each classical codec's ladder (default: 8)")
    o.add_argument(
        "--classical-preset", choices=("slow", "fast"), default="slow", help="of the classical codecs (default: slow)"
    )
    o.add_argument("--presets", type=some(str, PRESETS), default=("medium",), help="of fev (default: medium)")
    o.add_argument("--qualities", type=some(percent), help="of fev (default: 20,40,60,80)")
    o.add_argument("--identity-budgets", type=some(count), metavar="BYTES", help="of fev (default: 8192,27000)")
    o.add_argument(
        "--bitrates", type=some(kilobits), metavar="KBPS", help="of fev's whole file, instead of those two: 6,12,24"
    )
    o.add_argument("--model", metavar="NAME", help="of fev, if not the built-in one")
    o.add_argument("--size", type=count, metavar="N", help="side of the square, even (default: the model's)")
    o.add_argument("--duration", type=seconds, metavar="S", help="seconds of each clip to use")
    o.add_argument("--every", type=count, default=1, metavar="K", help="score every K-th frame; all are coded")
    o.add_argument("--networks", metavar="NAME", help="what fev-models import called them: LPIPS, identity")
    o.add_argument(
        "--shape",
        metavar="FILE",
        help="pose and landmarks: a file of fev.tools.lab.train.landmarks, or MODULE:CALLABLE",
    )
    o.add_argument("--dists", metavar="FILE", help="piq's weights of DISTS, if not in torch's cache")
    o.add_argument("--jobs", type=count, default=0, metavar="N", help="processes (default: one a core)")
    o.add_argument("--ray", metavar="ADDRESS", help="run on Ray: auto, HOST:PORT, ray://..., local; needs fev[ray]")
    o.add_argument(
        "--clips", choices=("median", "all"), default="median", help="which stills get a clip (default: median)"
    )
    o.add_argument("--keep", action="store_true", help="keep all decoded frames as .npy, 197 KB a frame at 256")
    o.add_argument(
        "--into",
        metavar="FILE",
        help="write the table into a Markdown file, between its marks; stills beside it",
    )
    o.add_argument(
        "--scores", metavar="FILE", help="CSV with a column file (of --keep) and measures of another scorer, for --into"
    )
    o.add_argument(
        "--force", "-f", action="store_true", help="do everything again; use a folder that holds other files"
    )
    o.add_argument("--json", action="store_true", help="print the report as one JSON object on standard output")
    args = o.parse_args(given)
    if not args.videos and not args.panels:
        raise UsageError("no clip was given: fev-rd CLIP... --out FOLDER")
    if args.size is not None and (not SIZES[0] <= args.size <= SIZES[1] or args.size % 2):
        raise UsageError(f"--size {args.size} is not an even number from {SIZES[0]} to {SIZES[1]}")
    if args.bitrates and (args.identity_budgets or args.qualities):
        raise UsageError("give bitrates, or qualities and identity budgets")
    if args.bitrates is None:
        args.qualities = args.qualities or QUALITIES
        args.identity_budgets = args.identity_budgets or IDENTITY_BUDGETS
    if args.scores and not args.into:
        raise UsageError("--scores is for --into")
    for name in ("points", "every"):
        if not getattr(args, name):
            raise UsageError(f"--{name} has to be 1 at least")
    return args


def prepare_folder(args: Any) -> Path:
    """The output folder, ours or new.  Raises FevError where it holds other people's files."""
    folder = Path(args.out)
    if folder.exists() and not folder.is_dir():
        raise FevError(f"{folder}: is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / MARK
    if not mark.exists():
        if any(folder.iterdir()) and not args.force:
            raise FevError(f"{folder}: holds other files already; --force puts the report beside them")
        mark.write_text(json.dumps({"fev-rd": __version__}) + "\n")
    return folder


def measure(args: Any, folder: Path, jobs: list[Job]) -> tuple[list[dict[str, Any]], list[str]]:
    """Results of all jobs, those of earlier runs first; and what went wrong."""
    from .report.jobs import Store, perform
    from .report.workers import run_here, run_on_ray

    store = Store(folder)
    found = {} if args.force else {j.key: r for j in jobs if (r := store.result(j)) is not None}
    todo = list({j.key: j for j in jobs if j.key not in found}.values())
    if found:
        say(f"{len(jobs) - len(todo)} of {len(jobs)} points are there already")
    tasks = (store.task(j, args.force) for j in todo)
    calls = ((t, t.job.square.path) for t in tasks)
    errors = []
    with progress(len(jobs), "points", "point") as bar:
        bar.update(len(jobs) - len(todo))
        for done in run_on_ray(tasks, args.ray) if args.ray else run_here(perform, calls, min(args.jobs, len(todo))):
            store.keep(done)
            bar.update(1)
            if done.error:
                errors.append(f"{done.job.square.name}, {done.job.curve}, {done.job.point}: {done.error}")
    return [{**r, "stream": store.path(j).name} for j in jobs if (r := store.result(j)) is not None], errors


def work(given: list[str] | None = None) -> int:
    """The command.  Returns its exit status; raises FevError where an input is bad."""
    args = arguments(given)
    args.jobs = args.jobs or os.cpu_count() or 1
    from .report.scoring import Scorer, ScoringNetworks, need

    need("piq", "bjontegaard", "matplotlib")
    if args.ray:
        need("ray", extra="ray")
    for name in args.videos + args.panels:
        if not Path(name).is_file():
            raise FevError(f"{name}: cannot be opened: no such file")
    if args.into:
        from .report import markdown

        markdown.check(Path(args.into))
    named = ScoringNetworks(args.networks, args.shape, args.dists)
    Scorer(named)  # what cannot be used is said before any work
    folder = prepare_folder(args)
    from .report.plan import jobs_of, squares_of

    squares, panels, errors = squares_of(args, folder)
    jobs, gone = jobs_of(args, squares, panels, named)
    results, failed = measure(args, folder, jobs)
    if not results:
        raise FevError((failed or gone or ["no codec was left to measure"])[0])
    report = write(args, folder, squares, jobs, results, errors + gone + failed)
    if args.json:
        print_json(report)
    else:
        say(f"{len(results)} points of {len(squares)} clips: {folder / 'report.html'}")
        for line in report["errors"]:
            say(f"not done: {line}")
    return 0


def write(
    args: Any, folder: Path, squares: list[Square], jobs: list[Job], results: list[dict[str, Any]], errors: list[str]
) -> dict[str, Any]:
    """report.html, report.json, points.csv, per_frame.csv, the stills as files and, with --keep, the frames."""
    from .report import files, markdown, page, stills, summary, tables
    from .report.jobs import Store

    names = (
        "codecs", "gops", "points", "classical_preset", "presets", "qualities", "identity_budgets", "bitrates", "model",
        "every", "duration",
    )  # fmt: skip
    settings = {k: list(v) if isinstance(v := getattr(args, k), tuple) else v for k in names}
    report = summary.report(squares, results, {"version": __version__, "settings": settings, "errors": errors})
    pictures, picks = stills.ReportPictures(Store(folder), jobs), stills.pick(results)
    report["stills"] = {"rule": stills.RULE, "files": files.save_stills(folder, picks, pictures)}
    if args.keep:
        report["kept"] = files.keep_frames(folder, squares, results, pictures)
    texts = {
        "report.html": page.build(report, results, picks, pictures, args.clips),
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "points.csv": tables.points_csv(report), "per_frame.csv": tables.frames_csv(results),
    }  # fmt: skip
    for name, text in texts.items():
        with output_file(str(folder / name), force=True) as file:
            file.write(text.encode())
    if args.into:
        markdown.put(Path(args.into), report, folder, markdown.read_scores(args.scores, report))
    return report


def main() -> None:
    """Entry point.  Exit 0 good, 1 bad input, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
