"""`fev-evaluate`: how near a decoded clip is to its source, in the measures of the paper's Table 1.

    fev-evaluate SOURCE.mp4 DECODED.mp4 [SOURCE DECODED ...] [--crop both|source|none] [--size N] [--networks NAME]
                 [--inception FILE] [--i3d FILE] [--openface SOURCE.csv DECODED.csv] [--json] [--out FILE.md]

Each measure says which network it was made with, or why it is missing; none is replaced by another.  Several pairs of
clips are one test set.  `codec.paper.scores` measures, `published` has what others printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..format.errors import FevError, UsageError
from .common import (
    add_device,
    add_output,
    check_output,
    count,
    output_file,
    parser,
    print_json,
    progress,
    run,
    setup_device,
)
from .measure.published import CAUTIONS, TABLES
from .models import DEFAULT

if TYPE_CHECKING:
    from .measure.openface import Tracks
    from .measure.pairs import Pair
    from .measure.scores import Figure, Scores

BATCH = 8  # frames of 256x256 that go through the networks together; fewer of larger ones
SIZES = (64, 1024)  # of the square
FRAGMENTS = (9, 240)  # frames of a piece of FVD: what I3D needs, and what memory should
COLUMNS = {  # heading and decimals, those of the published table
    "l1": ("L1 ↓", 2), "lpips": ("LPIPS ↓", 3), "l_id": ("L_ID ↓", 3), "psnr": ("PSNR ↑", 2), "ssim": ("SSIM ↑", 3),
    "fid": ("FID ↓", 1), "fvd": ("FVD ↓", 1), "fvd_m": ("FVD_M ↓", 1),
    "rho_au": ("ρ_AU ↑", 3), "rho_gaze": ("ρ_gz ↑", 3), "rho_pose": ("ρ_pose ↑", 3),
}  # fmt: skip
ROWS = {"masked": "masked, as published", "inside": "inside the face", "square": "whole square"}


def arguments(given: list[str] | None) -> Any:
    options = parser("fev-evaluate", "Measure decoded clips against their sources, as the paper's Table 1 does.")
    options.add_argument("videos", nargs="+", metavar="SOURCE DECODED", help="two videos, or more pairs: one test set")
    options.add_argument(
        "--crop", choices=("both", "source", "none"), default="both",
        help="what the face's square is cut out of: both (default), SOURCE only (DECODED is that square), none",
    )  # fmt: skip
    options.add_argument(
        "--size", type=count, default=256, metavar="N", help="side of the square, 64 to 1024 (default: 256)"
    )
    options.add_argument("--networks", metavar="NAME", help=f"what fev-models import called them (default: {DEFAULT})")
    options.add_argument(
        "--inception", metavar="FILE", help="weights of FID's Inception; needs pip install 'fev[evaluate]'"
    )
    options.add_argument("--i3d", metavar="FILE", help="weights of FVD's I3D")
    options.add_argument(
        "--fragment", type=count, default=120, metavar="N", help="frames of a piece of FVD, 9 to 240 (default: 120)"
    )
    options.add_argument(
        "--openface", nargs=2, action="append", default=[], metavar=("SOURCE.csv", "DECODED.csv"),
        help="tables of OpenFace's FeatureExtraction; once for each pair",
    )  # fmt: skip
    options.add_argument("--out", metavar="FILE.md", help="write the tables here instead of to standard output")
    add_device(options)
    add_output(options)
    args = options.parse_args(given)
    if len(args.videos) % 2:
        raise UsageError(f"{args.videos[-1]} has no second video: give pairs of SOURCE and DECODED")
    if args.openface and 2 * len(args.openface) != len(args.videos):
        raise UsageError(f"--openface is given {len(args.openface)} times for {len(args.videos) // 2} pairs of videos")
    for name, value, (least, most) in (("size", args.size, SIZES), ("fragment", args.fragment, FRAGMENTS)):
        if not least <= value <= most:
            raise UsageError(f"--{name} {value} is not from {least} to {most}")
    return args


def batches(pairs: Iterator[Pair | None], total: int, name: str, size: int) -> Iterator[list[Pair]]:
    """Pairs some at a time, without the frames that show no face."""
    most = min(BATCH, max(1, BATCH * 256**2 // size**2))
    held: list[Pair] = []
    with progress(total or None, name) as bar:
        for pair in pairs:
            bar.update(1)
            if pair is not None:
                held.append(pair)
            if len(held) == most:
                yield held
                held = []
    if held:
        yield held


def measure(args: Any, tables: list[tuple[Tracks, Tracks]]) -> tuple[Scores, list[dict[str, Any]]]:
    """All clips: their scores, and what there is to say of each."""
    import numpy as np

    from ..codec.model.modelfile import load_model
    from .measure.judges import find_judges
    from .measure.openface import correlations
    from .measure.pairs import SquarePairs
    from .measure.scores import Scores

    device = setup_device(args.device, args.threads)
    scores = Scores(find_judges(args.networks, DEFAULT, args.inception, args.i3d, device), args.fragment, device)
    net = None if args.crop == "none" else load_model().aligner
    clips = []
    for k, (source, decoded) in enumerate(zip(args.videos[::2], args.videos[1::2], strict=True)):
        before = scores.frames
        with SquarePairs(source, decoded, args.size, args.crop, net) as pairs:
            for some in batches(iter(pairs), pairs.a.info.frames_hint or 0, pairs.a.name, args.size):
                scores.add(np.stack([p.source for p in some]), np.stack([p.decoded for p in some]))
            frames = pairs.count
        if scores.frames == before:
            raise FevError(f"{source}: no frame can be measured")
        if tables and len(tables[k][0].seen) != frames:
            raise FevError(f"{tables[k][0].name} has {len(tables[k][0].seen)} rows, {source} {frames} frames")
        scores.end_clip(correlations(*tables[k]) if tables else None)
        clips.append(
            {"source": source, "decoded": decoded, "frames": frames, "measured_frames": scores.frames - before}
        )
    return scores, clips


def as_json(figures: dict[str, dict[str, Figure]], facts: dict[str, Any]) -> dict[str, Any]:
    measured = {
        region: {
            metric: {"value": f.value, "missing" if f.value is None else "by": list(f.about)}
            for metric, f in row.items()
        }
        for region, row in figures.items()
    }
    published = [
        {
            "table": t.key, "source": t.source, "note": t.note,
            "rows": [
                {"method": method} | dict(zip([c.rstrip(" ↓↑") for c in t.columns], map(float, v.split()), strict=True))
                for method, v in t.rows.items()
            ],
        }
        for t in TABLES
    ]  # fmt: skip
    return {**facts, "measured": measured, "published": published, "cautions": list(CAUTIONS)}


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def shown(figure: Figure | None, decimals: int) -> str:
    if figure is None:
        return ""
    return "missing" if figure.value is None else f"{figure.value:.{decimals}f}"


def as_markdown(figures: dict[str, dict[str, Figure]], facts: dict[str, Any]) -> str:
    """The tables: what was measured, with what, and apart from it what others published."""
    lines = ["# Evaluation", "", "## Measured", ""]
    for clip in facts["clips"]:
        lines.append(
            f"- `{clip['decoded']}` against `{clip['source']}`: {clip['measured_frames']} of {clip['frames']} frames"
        )
    face = f", {facts['frames_without_mask']} without a mask" if facts["frames_without_mask"] else ""
    lines += ["", f"Squares of {facts['size']}x{facts['size']} pixels, {facts['frames']} frames{face}.", ""]
    rows = [
        [ROWS[region], *(shown(figures[region].get(m), decimals) for m, (_, decimals) in COLUMNS.items())]
        for region in figures
    ]
    lines += table(["over", *(heading for heading, _ in COLUMNS.values())], rows)
    lines += [*notes(figures), "", "## Published, not measured here", ""]
    for t in TABLES:
        lines += [f"### {t.title}", "", f"{t.source}.", ""]
        body = [[method, *values.split()] for method, values in t.rows.items()]
        lines += [*table(["method", *t.columns], body), t.note, ""]
    return "\n".join([*lines, "## Cautions", "", *(f"- {text}" for text in CAUTIONS), ""])


def notes(figures: dict[str, dict[str, Figure]]) -> list[str]:
    """What every measure was made with, or lacks; what several have in common is said once."""
    said: dict[str, dict[str, list[str]]] = {}
    for region, row in figures.items():
        for metric, figure in row.items():
            for part in figure.about:
                text = f"missing; {part}" if figure.value is None else part
                said.setdefault(text, {}).setdefault(region, []).append(COLUMNS[metric][0][:-2])
    lists = {text: "; ".join(f"{region} {', '.join(m)}" for region, m in rows.items()) for text, rows in said.items()}
    return [f"- {measures}: {text}" for text, measures in lists.items()]


def work(given: list[str] | None = None) -> int:
    """The command.  Returns its exit status; raises FevError where an input is bad."""
    args = arguments(given)
    inputs = (*args.videos, *(name for pair in args.openface for name in pair))
    if args.out:
        check_output(args.out, args.force, inputs)
    from .measure.judges import check_file
    from .measure.openface import read_tracks

    for file in (args.inception, args.i3d):
        check_file(file)
    tables = [(read_tracks(one), read_tracks(other)) for one, other in args.openface]
    scores, clips = measure(args, tables)
    figures = scores.figures()
    facts = {
        "clips": clips, "frames": scores.frames, "size": args.size, "crop": args.crop,
        "frames_without_mask": None if scores.judges.parsing.net is None else scores.faceless,
    }  # fmt: skip
    if args.out:
        with output_file(args.out, args.force, inputs) as out:
            out.write(as_markdown(figures, facts).encode())
    if args.json:
        print_json(as_json(figures, facts))
    elif not args.out:
        print(as_markdown(figures, facts))
    return 0


def main() -> None:
    """Entry point.  Exit 0 good, 1 bad input, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
