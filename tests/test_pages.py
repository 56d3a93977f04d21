"""The pages are true as far as a machine can tell: what they name exists, and they are short."""

from __future__ import annotations

import re

import pages
import pytest
from pages import ROOT, SCRIPTS

OWN = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
PAGES = sorted(
    path
    for path in (
        *(ROOT / name for name in OWN),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "codec").rglob("*.md"),
        *(ROOT / "tools").rglob("*.md"),
        *(ROOT / "spec").rglob("*.md"),
        ROOT / "tests" / "golden" / "README.md",
    )
)
GUIDE = (ROOT / "docs" / "guide.md").read_text()
# Where the guide has the options of each command.
SECTIONS = {
    "fev-encode": "Encoding",
    "fev-decode": "Decoding",
    "fev-info": "Looking into a file",
    "fev-play": "Watching",
    "fev-serve": "Watching",
    "fev-models": "Networks of your own",
    "fev-puppet": "Puppets",
    "fev-evaluate": "A decoded clip against its source",
    "fev-rd": "Against other codecs",
}
EVERYWHERE = {"--help", "--version"}  # said once, at the guide's beginning


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request):
    return request.param


def test_lines_wrap_at_100(page):
    assert pages.long_lines(page.read_text()) == []


def test_links_lead_somewhere(page):
    assert pages.broken_links(page) == []


def test_commands_exist(page):
    assert [name for name in pages.commands_in(page.read_text()) if not pages.is_command(name)] == []


def test_options_exist(page):
    package = ".".join(("fev", *page.parent.relative_to(ROOT).parts))
    beside = [f"{package}.{path.stem}" for path in page.parent.glob("[a-z]*.py")] if page.parent != ROOT else []
    assert pages.wrong_options(page.read_text(), beside) == []


def test_files_exist(page):
    text = page.read_text()
    assert [path for path in sorted(pages.paths_in(text)) if not pages.is_path(path)] == []
    assert [name for name in sorted(pages.files_in(text)) if not pages.is_file(name, page)] == []


def test_symbols_exist(page):
    assert [name for name in sorted(pages.symbols_in(page.read_text())) if not pages.is_symbol(name)] == []


def test_make_targets_exist(page):
    assert pages.make_targets_in(page.read_text()) <= pages.make_targets()


def test_environment_variables_exist(page):
    named = set(re.findall(r"`(FEV_[A-Z]+)", page.read_text()))
    code = "".join(path.read_text() for top in ("codec", "tools") for path in (ROOT / top).rglob("*.py"))
    assert [name for name in named if name not in code] == []


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_guide_has_every_option(command):
    said = set(pages.OPTION.findall(pages.section(GUIDE, SECTIONS[command])))
    assert sorted(pages.options_of(command) - said - EVERYWHERE) == []
    assert all(f"`{option}`" in GUIDE for option in EVERYWHERE)


def test_how_long_pages_are():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len((ROOT / "CONTRIBUTING.md").read_text().split()) <= 900


def test_readme_table_is_the_measurements():
    """Every figure of README's short table stands in the row of that clip and codec of the long one."""

    def rows(text: str) -> dict[tuple[str, str], dict[str, str]]:
        cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
        head = next(row for row in cells if row[0] == "clip")
        return {(row[0], row[1]): dict(zip(head, row, strict=True)) for row in cells if row[0].startswith("eis_")}

    whole = rows((ROOT / "docs" / "measurements" / "rate-distortion.md").read_text())
    short = rows((ROOT / "README.md").read_text())
    assert len(short) == 6
    for key, row in short.items():
        assert row.items() <= whole[key].items()


def test_what_is_checked_is_found():
    """The helpers see what is wrong in a page that is wrong."""
    wrong = "`fev-burn`, `fev.encodes()`, `codec/nothing`, `face/nose`, `--bitrat`, `make tea`, `nose.py`"
    wrong += "\n    fev-info --mute x"
    assert pages.commands_in(wrong) == {"fev-burn", "fev-info"} and not pages.is_command("fev-burn")
    assert pages.symbols_in(wrong) == {"fev.encodes"} and not pages.is_symbol("fev.encodes")
    assert pages.files_in(wrong) == {"nose.py"} and not pages.is_file("nose.py", ROOT / "README.md")
    assert pages.paths_in(wrong) == {"codec/nothing", "face/nose"}
    assert not pages.is_path("codec/nothing") and not pages.is_path("face/nose") and pages.is_path("face/align")
    assert sorted(pages.wrong_options(wrong)) == ["--bitrat", "fev-info --mute"]
    assert not pages.make_targets_in(wrong) <= pages.make_targets()
    assert pages.is_symbol("fev.codec.encode.options.EncodeOptions.bitrate") and pages.is_symbol("fev.verify")
