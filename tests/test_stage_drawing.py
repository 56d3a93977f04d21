"""What the decoder cannot draw yet it refuses in one line; reading it is another matter."""

from __future__ import annotations

import io

import fev
import numpy as np
import pytest
from fev.codec.draw.units import step_code
from fev.codec.media.identities import read_identity
from fev.format import Actor, Header, Patch, Segment, Still, Track, Writer
from fev.format.errors import UnsupportedError
from fev.tools.info import describe, render


def stream(sha: str, *segments: Segment, revisions: int = 1) -> bytes:
    """Pasted squares before no set, of two actors; the first in so many revisions."""
    header = Header(64, 64, (1, 25), (25, 1), bytes.fromhex(sha), 35, placement=True)
    out = io.BytesIO()
    with Writer(out, header) as writer:
        for number, revision in [(0, r) for r in range(revisions)] + [(1, 0)]:
            values = np.array([3 + number, revision, 1], np.int32)
            writer.write_actor(Actor.of(values, step_code(0.5), step_code(0.25), number=number, revision=revision))
        for segment in segments:
            writer.write_segment(segment)
    return out.getvalue()


def track(actor: int = 0, revision: int = 0) -> Track:
    motion = np.random.default_rng(0).integers(-3, 4, (2, 35)).astype(np.int32)
    return Track(motion, np.tile(np.array([256, 256, 120, 0], np.int32), (2, 1)), None, actor, revision)


PATCH = Patch(0, 0, 1, Still(1, 8, 8, 1, False, b"still"))
MOVES = np.ones((2, 4), np.int32)


@pytest.mark.parametrize(
    "changes",
    [
        {"actors": [track(0), track(1)]},
        {"actors": [track(1)]},
        {"actors": []},
        {"actors": [track(0)], "on_set": None},
        {"actors": [track(0)], "camera": MOVES},
        {"actors": [track(0)], "patches": [PATCH]},
    ],
    ids=["two", "another", "nobody", "no set", "camera", "patch"],
)
def test_what_cannot_be_drawn_yet_is_refused(tiny_sha, tiny_model_file, changes):
    first = Segment(0, 0, np.arange(2), [track()])
    data = stream(tiny_sha, first, Segment(1, 2, np.arange(2, 4), **changes))
    assert len(list(fev.open(io.BytesIO(data)).segments())) == 2
    with pytest.raises(UnsupportedError, match="segment 1") as caught:
        fev.decode(io.BytesIO(data), io.BytesIO(), container="mp4", model=str(tiny_model_file))
    assert "\n" not in str(caught.value)


def test_an_older_revision_is_not_drawn_with_the_newer_one(tiny_sha, tiny_model_file):
    data = stream(tiny_sha, Segment(0, 0, np.arange(2), [track()]), revisions=2)
    with pytest.raises(UnsupportedError):
        fev.decode(io.BytesIO(data), io.BytesIO(), container="mp4", model=str(tiny_model_file))


@pytest.mark.parametrize("actors", [[track(0), track(1)], [track(0, 0)]], ids=["two", "older"])
def test_a_puppet_of_more_is_refused(tiny_sha, tiny_model_file, actors):
    data = stream(tiny_sha, Segment(0, 0, np.arange(2), actors), revisions=2)
    with pytest.raises(UnsupportedError):
        fev.puppet(io.BytesIO(data), io.BytesIO(data), io.BytesIO(), model=str(tiny_model_file))


def test_samples_of_an_identity_are_its_own(tiny_sha, tmp_path):
    path = tmp_path / "two.fev"
    both = Segment(0, 0, np.arange(2), [track(1), track(0)])
    path.write_bytes(stream(tiny_sha, both, Segment(1, 2, np.arange(2, 4), [track(1)])))
    known = read_identity(path)
    assert np.array_equal(known.motion, track().motion) and known.found.actor.key == (0, 0)


def test_info_counts_them(tiny_sha):
    data = stream(tiny_sha, Segment(0, 0, np.arange(2), [track(0, 1), track(1)]), revisions=2)
    facts = describe(io.BytesIO(data))
    assert (facts["actors"], facts["revisions"], facts["sets"]) == (2, 2, 0)
    assert sum(facts["sections"].values()) == len(data) and "2 actors in 2 revisions" in render(facts)
