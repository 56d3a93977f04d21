"""The page of fev-serve in a real browser: it plays, seeks, plots, and survives a damaged file.

Needs Chromium and its driver (`.ci/run` installs Debian's); left out where they are not.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from films import film_of
from test_serve import Running, home  # noqa: F401 - a fixture

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="there is no chromedriver"),
]
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required", "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*QUIET, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    found = webdriver.Chrome(options, service)
    yield found
    found.quit()


@pytest.fixture
def page(browser, home):  # noqa: F811
    server = Running(home)
    browser.get(f"http://127.0.0.1:{server.port}/")
    yield browser
    server.close()


def until(browser, script: str, seconds: float = 60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = browser.execute_script(f"return {script}")
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {script}; {browser.execute_script('return document.body.innerText')}")


def choose(browser, name: str) -> None:
    until(browser, "document.querySelectorAll('nav button').length")
    browser.execute_script(
        "[...document.querySelectorAll('nav button')].find(b => b.dataset.name === arguments[0]).click()", name
    )
    until(browser, f"film && film.name === {name!r} && video.buffered.length")


def seen(browser) -> np.ndarray:
    from PIL import Image

    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    if "FEV_SCREENSHOTS" in os.environ:
        picture.save(Path(os.environ["FEV_SCREENSHOTS"]) / f"{time.monotonic_ns()}.png")
    return np.asarray(picture)


def test_it_plays_to_the_end_with_sound(page):
    choose(page, "good.fev")
    page.execute_script("video.play()")
    until(page, "video.ended")
    assert page.execute_script("return video.currentTime") == pytest.approx(1.6, abs=0.05)
    # 40 frames, and each of them once: what is dropped by a slow machine is counted apart
    total = page.execute_script("return video.getVideoPlaybackQuality().totalVideoFrames")
    assert 38 <= total <= 42
    assert page.execute_script("return video.webkitAudioDecodedByteCount") > 1000
    assert page.execute_script("return [video.buffered.length, video.error === null]") == [1, True]


def test_a_long_segment_is_played_in_parts(page, home, tiny_sha):  # noqa: F811
    (home / "long.fev").write_bytes(film_of(tiny_sha, segment=40))
    page.refresh()
    choose(page, "long.fev")
    assert page.execute_script("return film.pieces.length") == 2
    page.execute_script("video.play()")
    until(page, "video.ended")
    assert page.execute_script("return [video.buffered.length, film.lost.size, video.error === null]") == [1, 0, True]
    assert 38 <= page.execute_script("return video.getVideoPlaybackQuality().totalVideoFrames") <= 42


def test_it_seeks_and_the_plot_follows(page):
    choose(page, "good.fev")
    page.execute_script("video.currentTime = 1.3")
    until(page, "!video.seeking && video.readyState >= 2")
    facts = page.execute_script(
        "return [document.getElementById('now').innerText, document.getElementById('facts').innerText]"
    )
    assert "kbit/s" in facts[0] and "every checksum holds" in facts[1] and "tiny" in facts[1]
    ink = page.execute_script(
        "const c = document.getElementById('plot'); plot();"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0, red = [];"
        "for (let i = 0; i < d.length; i += 4) {"
        "  if (d[i + 3]) n++; if (d[i] > 200 && d[i + 1] < 60) red.push(i / 4 % c.width); }"
        "return [n, Math.round(red.reduce((a, b) => a + b, 0) / red.length), c.width];"
    )
    assert ink[0] > 10_000 and ink[1] == pytest.approx(ink[2] * 1.3 / 1.6, abs=4)
    assert seen(page)[..., 2].std() > 10


def test_a_damaged_file_is_played_around_the_damage(page):
    choose(page, "more/broken & odd.fev")
    assert "fails its check" in page.execute_script("return document.getElementById('facts').innerText")
    page.execute_script("video.play()")
    until(page, "document.getElementById('note').style.display === 'block'")
    seen(page)
    until(page, "video.ended || video.currentTime > 1.5")
    assert page.execute_script("return video.error === null && [...film.lost].length === 0")
    facts = page.execute_script("return film.segments.map(s => s[0])")
    assert facts == [0, 2, 3]


def test_the_source_can_be_laid_over(page):
    choose(page, "good.fev")
    assert page.execute_script("return document.getElementById('compare').hidden") is False
    page.execute_script("slide.value = 40; slide.dispatchEvent(new Event('input'))")
    shown = page.execute_script("return [source.style.display, source.style.clipPath]")
    assert shown == ["block", "inset(0px 60% 0px 0px)"]
