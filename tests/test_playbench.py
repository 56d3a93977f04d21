"""What `bench --play` does is what it says; its figures themselves are not tested, machines are noisy."""

from __future__ import annotations

import pytest
from fev.format.errors import FevError
from films import LENGTH, RATE
from test_serve import home  # noqa: F401 - a fixture

pytest.importorskip("sdl2")
pytest.importorskip("aiohttp")
playbench = pytest.importorskip("fev.tools.lab.playbench")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_file_is_played_in_a_loop(home):  # noqa: F811
    found = playbench.play(str(home / "good.fev"), 2.0)
    shown = found["frames"] + found["dropped"]
    assert LENGTH < shown < 2.0 * RATE + 25, "begun again, at the clip's own rate"
    assert 0 < found["first_picture_s"] < 20 and 0 < found["seek_s"] <= found["slowest_seek_s"] < 20
    assert found["memory_last_mb"] > 50


def test_the_pipe_ends_with_the_first_segment(home, film):  # noqa: F811
    end, first = playbench.first_segment(film), film.find(b"SEGM")
    assert first < end < film.find(b"SEGM", first + 4) <= end + 2, "only the next one's sync lies between"
    found = playbench.pipe(str(home / "good.fev"))
    assert found["frames"] == 1 and 0 < found["first_picture_s"] < 20
    with pytest.raises(FevError, match="no segment"):
        playbench.first_segment(film[: first - 2])


def test_viewers_get_every_piece_and_each_is_made_once(home):  # noqa: F811
    found = playbench.viewers(str(home / "good.fev"), 3, 60.0)
    assert found["made"] == 4 and found["frames"] == 3 * 3, "four pieces, of which the first starts the clock"
