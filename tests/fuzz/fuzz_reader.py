"""A long-running fuzzer of the reader (Atheris): every check is repaired, and only a FevError may come out.

    pip install atheris
    python tests/fuzz/fuzz_reader.py WORK_FOLDER spec/vectors/subset spec/vectors/uncommon spec/vectors/faulty \\
        tests/fuzz/corpus -max_len=4096 -max_total_time=3600

WORK_FOLDER collects inputs that reach new code. Finds go to `tests/fuzz/corpus`, where the normal tests replay
them for ever (`tests/format/test_fuzz.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "format"))

with atheris.instrument_imports(include=["fev.format"]):
    from streams import feed, repair


def one(data: bytes) -> None:
    feed(data)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """One of the engine's own mutations, then sound checks in most cases."""
    changed = atheris.Mutate(data, max_size)
    return repair(changed) if seed % 8 else changed


def main() -> None:
    atheris.Setup(sys.argv, one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
