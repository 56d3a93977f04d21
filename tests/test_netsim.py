"""A bad link, and a player behind it that holds the face through every gap and never dies."""

from __future__ import annotations

import io
import time

import pytest
from fev.codec.draw.options import DecodeOptions
from fev.format.errors import FevError, UsageError
from fev.tools.lab import netsim
from fev.tools.lab.netsim import PACKET, Harm, Link, carry
from fev.tools.player.clock import Clock
from fev.tools.player.feed import Feed
from films import LENGTH, RATE

pytestmark = pytest.mark.usefixtures("one_thread")


def through(data: bytes, **link) -> tuple[bytes, Harm]:
    harm = Harm()
    waits: list[float] = []
    out = b"".join(carry(io.BytesIO(data), Link(**link), harm, waits.append))
    harm.waited = sum(waits)
    return out, harm


DATA = bytes(range(256)) * 100


def test_a_good_link_changes_nothing():
    out, harm = through(DATA)
    assert out == DATA and vars(harm) == vars(Harm(len(DATA))) | {"waited": 0}


def test_what_it_does_is_what_it_says():
    out, harm = through(DATA, drop=0.3, seed=1)
    assert len(out) == len(DATA) - PACKET * harm.dropped == harm.bytes and 15 < harm.dropped < 45
    out, harm = through(DATA, bit_errors=1e-3, seed=1)
    wrong = sum((a ^ b).bit_count() for a, b in zip(out, DATA, strict=True))
    assert wrong == harm.flipped and 130 < wrong < 290  # 205 expected, five deviations
    out, harm = through(DATA, cut=1000)
    assert out == DATA[:1000] and harm.cut
    out, harm = through(DATA, rate=8, late=0.5, delay=2, seed=3)
    assert out == DATA and harm.waited == pytest.approx(len(DATA) / 1000 + 2 * harm.late) and 30 < harm.late < 70


def test_the_same_seed_harms_the_same_bytes_and_spares_the_beginning():
    first, again, other = (through(DATA, drop=0.3, bit_errors=1e-3, seed=s)[0] for s in (1, 1, 2))
    assert first == again != other
    assert through(DATA, drop=1.0, spare=1000)[0] == DATA[: 1000 - 1000 % PACKET]


def test_impossible_shares_are_refused():
    with pytest.raises(UsageError, match="drop 2"):
        Link(drop=2)


def test_the_command(tmp_path, capsys):
    (tmp_path / "in").write_bytes(DATA)
    given = [str(tmp_path / "in"), str(tmp_path / "out"), "--drop", "0.2", "--seed", "4"]
    assert netsim.work(given) == 0
    assert (tmp_path / "out").read_bytes() == through(DATA, drop=0.2, seed=4)[0]
    assert "packets lost" in capsys.readouterr().err


@pytest.mark.parametrize(
    "harm", [{"drop": 0.1}, {"bit_errors": 4e-5}, {"drop": 0.05, "bit_errors": 1e-4}, {"cut": 1700}]
)
def test_the_player_lives(film, tiny_model_file, harm):
    """Twelve seeds of each: what arrives is shown in order and in time; without a header there is one clear error."""
    shown = 0
    for seed in range(12):
        data, _ = through(film, seed=16 + seed, **({**harm, "cut": harm["cut"] + 90 * seed} if "cut" in harm else harm))
        clock = Clock()
        clock.move(1e6)
        feed = Feed(io.BytesIO(data), DecodeOptions(model=str(tiny_model_file)), clock)
        feed.start()
        assert feed.ready.wait(20)
        pictures, end = [], time.monotonic() + 20
        while not feed.ended.is_set() or feed.pictures:
            assert time.monotonic() < end
            found, _ = feed.take(1e9)
            pictures += [found] if found else []
            time.sleep(0.001)
        feed.stop()
        assert feed.error is None or isinstance(feed.error, FevError)
        assert all(0 <= p.at < LENGTH / RATE for p in pictures)
        if feed.error is None:
            shown += bool(pictures)
            lost = feed.tally.lost > 0 or bool(feed.reader.damage)
            assert lost or data == film, "what is missing is said"
    assert shown >= 3
