"""Makes the conformance streams in `spec/vectors/` and the list that describes them; `tests/format/` reads them.

With --check it shows that the code still writes them. Without it, files whose vector is gone go too.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from pathlib import Path

from ...format import Reader
from .faulty import faulty_setup
from .faultypart import faulty_part
from .faultysegments import faulty_segments
from .faultystage import faulty_stage
from .faultyvideo import faulty_video
from .good import subset, uncommon

FOLDER = Path(__file__).resolve().parents[2] / "spec" / "vectors"


def symbols_sha256(data: bytes) -> str:
    """Hash of all motion, placement and camera, as the spec defines it."""
    digest = hashlib.sha256()
    for part in Reader(io.BytesIO(data)).segments():
        values = [value for track in part.actors for value in (track.motion, track.placement)]
        for value in (*values, part.camera):
            digest.update(b"" if value is None else value.astype("<i4").tobytes())
    return digest.hexdigest()


def render() -> dict[str, bytes]:
    """All files of the folder by name, the list included."""
    files: dict[str, bytes] = {}
    lines = [
        "# Conformance streams",
        "",
        "Made by `python -m fev.tools.vectors`; `--check` compares. `spec/fev-1.md`, Conformance, says what",
        "a reader must do: decode every stream of `subset` and `uncommon` to the symbols hashed here, and",
        "refuse every one of `faulty`.",
    ]
    for folder, about, made in (("subset", subset.__doc__, subset()), ("uncommon", uncommon.__doc__, uncommon())):
        lines += [
            "",
            f"## {folder}",
            "",
            f"{about}",
            "",
            "| file | what | sha256 of the symbols |",
            "| --- | --- | --- |",
        ]
        for name, text, data in made:
            files[f"{folder}/{name}.fev"] = data
            lines.append(f"| {name} | {text} | {symbols_sha256(data)} |")
    lines += ["", "## faulty", "", "What a reader must refuse.", "", "| file | what | error |", "| --- | --- | --- |"]
    for name, text, error, data in (
        *faulty_setup(),
        *faulty_stage(),
        *faulty_video(),
        *faulty_part(),
        *faulty_segments(),
    ):
        files[f"faulty/{name}.fev"] = data
        lines.append(f"| {name} | {text} | {error} |")
    files["README.md"] = ("\n".join(lines) + "\n").encode()
    return files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="vectors", description="Regenerate the conformance streams.")
    parser.add_argument("--check", action="store_true", help="only compare, exit 1 if a file differs")
    check = parser.parse_args(arguments).check
    differs = []
    made = render()
    for path in FOLDER.glob("*/*.fev"):
        if str(path.relative_to(FOLDER)) not in made:
            differs.append(str(path.relative_to(FOLDER)))
            if not check:
                path.unlink()
    for name, data in made.items():
        path = FOLDER / name
        if path.is_file() and path.read_bytes() == data:
            continue
        differs.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    print(f"{len(differs)} files differ" if differs else "all the same", *differs, sep="\n  ", file=sys.stderr)
    return 1 if check and differs else 0


if __name__ == "__main__":
    sys.exit(main())
