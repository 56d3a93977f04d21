"""The house: which room may import which, read from the imports.  No arrow runs back up, none goes round."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# From the ground up.  A room may import those below it, and nothing beside or above.
FLOORS = ["format", "media", "threads", "model", "face", "draw", "fit", "paper", "encode", "codec", "tools", "lab"]
DECODING = {"format", "media", "threads", "model", "face", "draw"}  # all that `codec/decoder.py` needs
MOST_LINES = 400
LONG = {"fev_read.py"}


def modules() -> dict[str, Path]:
    """Dotted name within the package -> file, of everything but tests."""
    out = {}
    for top in ("format", "codec", "tools"):
        for path in (ROOT / top).rglob("*.py"):
            out[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return out


MODULES = modules()


def room_of(module: str) -> str:
    top, *rest = module.split(".")
    if top == "codec" and rest and f"codec.{rest[0]}" in MODULES and (ROOT / "codec" / rest[0]).is_dir():
        return rest[0]
    if top == "tools" and rest[:1] == ["lab"]:
        return "lab"
    return top


def imported(module: str) -> set[str]:
    """Modules of the package that a module imports, wherever the statement stands."""
    path, out = MODULES[module], set()
    inside = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*inside[: len(inside) - node.level + 1], *([node.module] if node.module else [])])
            for name in node.names:
                each = f"{base}.{name.name}" if base else name.name
                out.add(each if each in MODULES else base)
    return out & set(MODULES)


def test_no_arrow_runs_back_up():
    wrong = [
        f"{module} imports {other}"
        for module in sorted(MODULES)
        for other in sorted(imported(module))
        if FLOORS.index(room_of(other)) > FLOORS.index(room_of(module))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_within_a_room():
    """Modules import each other in no circle."""
    below = {module: imported(module) for module in MODULES}
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in below[module]:
                walk(other, (*way, module))
            done.add(module)

    for module in MODULES:
        walk(module, ())


def test_decoding_needs_no_encoder():
    seen, left = set(), ["codec.decoder"]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left += imported(module)
    rooms = {room_of(module) for module in seen} - {"codec"}
    assert rooms <= DECODING, sorted(m for m in seen if room_of(m) not in DECODING)


def test_long_files_say_why():
    """A file of one idea has at most 400 lines; a longer one gives its reason in its first lines."""
    for path in MODULES.values():
        if path.name in LONG:
            continue
        text = path.read_text()
        count = text.count("\n")
        assert count <= MOST_LINES or "longer than" in " ".join(text.split("\n")[:12]), f"{path}: {count} lines"
