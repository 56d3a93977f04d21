"""What a Markdown page names, and whether it exists: commands, options, files, symbols, links.

`test_pages.py` asks for the pages of the repository; other tests may ask for theirs.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import re
import tokenize
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import fev
import pytest

ROOT = Path(fev.__file__).resolve().parent
WIDTH = 100
# What a path in the repository begins with: a folder of the root, or the name of a room, wherever that lies.
TOPS = ("codec", "format", "tools", "spec", "tests", "docs")
ROOMS = {path.parent.name: path.parent for top in ("codec", "tools") for path in (ROOT / top).rglob("*/__init__.py")}
PATH = re.compile(rf"(?<![\w./$<-])((?:{'|'.join(TOPS)})/[\w./-]*[\w/]|(?:{'|'.join(ROOMS)})/\w+(?!\w|[/.]\w))")
FILE = re.compile(r"[\w-]+\.(?:py|toml|txt)|[A-Z]+\.md|[\w-]+/[\w./-]+\.(?:fev|md|py|txt)")
SYMBOL = re.compile(r"(?<![\w./-])fev(?:\.[A-Za-z_]\w*)+")
COMMAND = re.compile(r"(?<![\w./-])(fev-[a-z]+|python -m fev(?:\.\w+)+)(?![\w./])")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
RUN = re.compile(r"(fev-[a-z]+|(?:python -m )?fev\.tools(?:\.\w+)+) ")
SCRIPTS = dict(re.findall(r'^(fev-\w+) = "([\w.]+):main"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))


def long_lines(text: str) -> list[str]:
    """Lines beyond WIDTH, tables excepted."""
    return [line for line in text.splitlines() if len(line) > WIDTH and not line.startswith("|")]


def expanded(text: str) -> str:
    """A page whose examples set a variable of the shell to a package of ours, with that put in its places."""
    for name, value in re.findall(r"^    ([A-Z]+)=(fev[\w.]+)", text, re.MULTILINE):
        text = text.replace(f"${name}", value)
    return text


def split(text: str) -> tuple[str, list[str]]:
    """A page's prose, and the lines of its blocks; a line that ends in a backslash goes on in the next."""
    prose, blocks, fenced = [], [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if blocks and blocks[-1].endswith("\\"):
                blocks[-1] = blocks[-1][:-1] + line.strip()
            else:
                blocks.append(line.strip())
        else:
            prose.append(line)
    return "\n".join(prose), blocks


def spans(prose: str) -> list[str]:
    """What stands between backticks, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def section(text: str, heading: str) -> str:
    """A section of a page with what is below it."""
    level, rest = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", text, re.MULTILINE | re.DOTALL).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def commands_in(text: str) -> set[str]:
    return set(COMMAND.findall(" ".join(text.split())))


def is_command(name: str) -> bool:
    return name in SCRIPTS or is_module(name.split()[-1])


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def paths_in(text: str) -> set[str]:
    return {path.rstrip(".") for path in PATH.findall(text)}


def files_in(text: str) -> set[str]:
    """What stands between backticks and looks like the name of one of our files."""
    return {span for span in spans(split(text)[0]) if FILE.fullmatch(span)}


def is_file(name: str, page: Path) -> bool:
    """Whether a file has that name, seen from the root or from where the page lies."""
    return any((folder / name).is_file() for folder in (page.parent, ROOT))


def is_path(path: str) -> bool:
    """Whether a path exists, with or without `.py`."""
    top, _, rest = path.partition("/")
    home = ROOT / top if top in TOPS else ROOMS[top]
    return (home / rest).exists() or (home / (rest + ".py")).exists()


def symbols_in(text: str) -> set[str]:
    return set(SYMBOL.findall(text))


def is_symbol(name: str) -> bool:
    """Whether a dotted name can be had: the longest part that is a module, and attributes of it."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        if is_module(module):
            break
    if count == len(parts):
        return True
    found = importlib.import_module(module)
    for part in parts[count:]:
        known = getattr(found, "__dataclass_fields__", {})
        if part not in known and not hasattr(found, part):
            return False
        found = getattr(found, part, None)
    return True


def broken_links(page: Path) -> list[str]:
    """Links of a page to files that are not there, or to headings that their page does not have."""
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", " ".join(page.read_text().split())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text())):
            broken.append(target)
    return broken


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def said_in(source: str) -> str:
    """Docstrings and comments of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*texts, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


@cache
def options_of(command: str) -> frozenset[str]:
    """The options of `fev-NAME` by its own --help; of a module by its source, since the lab's are slow to import."""
    if command in SCRIPTS:
        module = importlib.import_module(SCRIPTS[command])
        text = help_of(module, [])
        for word in re.findall(r"^usage:.* ([a-z]+(?:\|[a-z]+)+) \.\.\.$", text, re.MULTILINE):
            text += "".join(help_of(module, [name]) for name in word.split("|"))
        return frozenset(OPTION.findall(text))
    path = Path(importlib.util.find_spec(command.split()[-1]).origin)
    if path.name == "__init__.py":
        path = path.with_name("__main__.py")
    source = path.read_text() if path.exists() else ""
    if "from .common import" in source or "tools.common import" in source:
        source += (ROOT / "tools" / "common.py").read_text()
    return frozenset(re.findall(r'"(--[a-z][a-z-]*)"', source))


def help_of(module, arguments: list[str]) -> str:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        patch.setattr("sys.argv", ["fev", *arguments, "--help"])
        module.main()
    return out.getvalue()


def wrong_options(text: str, beside: Iterable[str] = ()) -> list[str]:
    """Options that a page gives a command which has no such option; or that nothing has, where it names no command.

    beside: modules that the page may speak of without saying so.
    """
    prose, blocks = split(expanded(text))
    named = filter(is_command, commands_in(text))
    anywhere = {option for command in (*SCRIPTS, *named, *beside) for option in options_of(command)}
    wrong = []
    for words in (*blocks, *spans(prose)):
        for part in re.split(r" \| | # ", words):
            run = RUN.match(part + " ")
            known = options_of(run[1]) if run and is_command(run[1]) else anywhere
            wrong += [
                f"{run[1] if run else ''} {option}".strip() for option in OPTION.findall(part) if option not in known
            ]
    return wrong


def make_targets_in(text: str) -> set[str]:
    prose, blocks = split(text)
    return set(re.findall(r"^make ([a-z][a-z-]*)", "\n".join([*blocks, *spans(prose)]), re.MULTILINE))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
