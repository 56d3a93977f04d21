"""The pages are true as far as a machine can tell: what they name exists, and they are short."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

import pages
import pytest
from fev.codec.decoder import DecodeReport
from fev.codec.draw import sets, stage, units
from fev.codec.encode import streaming
from fev.codec.encode.encoding import EncodeReport
from fev.codec.encode.options import EncodeOptions
from fev.codec.fit import budget
from fev.codec.fit.effort import FAST, MEDIUM, SLOW
from fev.codec.media import identities
from fev.codec.puppet import PuppetReport
from fev.format.chunk import FRAME_BYTES
from fev.format.ledger import SECTIONS as SECTIONS_OF_A_FILE
from fev.format.salvage import Damage
from fev.tools import info, serve
from fev.tools.demo import Result
from fev.tools.player import pieces, web
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
FLAT = " ".join(GUIDE.split())
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


def test_guide_has_the_numbers_in_force():
    """What the guide says of defaults and bounds, with the constants put in."""
    options = EncodeOptions()
    seconds = f"0.1 to 10, default {MEDIUM.segment:g}, `fast` {FAST.segment:g}"
    room = inspect.signature(pieces.Pieces).parameters["room"].default
    for words in (
        f"The default is {units.DEFAULT_QUALITY}.",
        f"The least budget is {budget.LEAST_BUDGET}.",
        f"{FRAME_BYTES} bytes of framing for each of these chunks",
        f"{budget.A_SECOND} bytes for each second that the face is seen",
        f"less than {budget.FULL_SIDE} pixels wide",
        f"at least {budget.LEAST} and at most {budget.DEFAULT_BUDGET} in all",
        seconds,
        f"sets its rate (default {options.audio_bitrate})",
        f"(default `{options.model}`)",
        f"the first {identities.MOST_FILES} by name",
        f"It holds {identities.KEPT_FILES} files and {identities.KEPT_BYTES >> 20} MiB",
        f"(default {serve.PORT}, 0 for any)",
        f"{web.MOST_CONNECTIONS} connections and {web.MOST_WAITING} waiting pieces",
        f"{room >> 20} MB of such seconds",
        f"over {pieces.MOST_SIDE} pixels",
        f"at most {MEDIUM.mode_keys} frames",
        f"at most {stage.ALIVE} renderers",
        f"at most {sets.MOST} sets, and {sets.ROOM >> 20} MB of them",
        f"at most {stage.PATCHES} patches and {stage.PATCH_ROOM >> 20} MB of them",
    ):
        assert words in FLAT, words
    assert SLOW.step_factor == 3 and "`slow` fits three times as long" in FLAT
    assert (streaming.LEAD, streaming.MOST_LEAD) == (2, 8)
    assert "from the first two seconds of the face" in FLAT and "it takes up to eight" in FLAT
    assert budget.LEAST_SIZE == 0.5 and "down to half as many" in FLAT


def test_guide_names_json_keys_and_sections_that_exist():
    reports = (EncodeReport, DecodeReport, PuppetReport, Result)
    known = {field.name for report in reports for field in fields(report)} | set(Damage._fields)
    with (ROOT / "spec" / "vectors" / "subset" / "held.fev").open("rb") as file:
        facts = info.describe(file)
        known |= {*facts, *facts["model"]}
    named = set(pages.spans(pages.section(GUIDE, "JSON"))) - set(SCRIPTS) - {"--json"}
    assert len(named) > 12 and sorted(named - known) == []
    listed = pages.section(GUIDE, "Other options").split("sections apart:")[1]
    assert pages.spans(listed) == list(SECTIONS_OF_A_FILE)


@pytest.mark.parametrize("top", ["codec", "format", "tools"])
def test_docstrings_and_comments_name_what_exists(top):
    wrong = []
    for path in sorted((ROOT / top).rglob("*.py")):
        said = pages.said_in(path.read_text())
        names = [name for name in pages.symbols_in(said) if not name.split(".")[-1].isupper()]  # NAME: any
        wrong += [f"{path}: {name}" for name in names if not pages.is_symbol(name)]
        wrong += [f"{path}: {name}" for name in pages.paths_in(said) if not pages.is_path(name)]
    assert wrong == []


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
