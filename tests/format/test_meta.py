"""Metadata: what it may say, one spelling of it, and the list of key frames."""

from __future__ import annotations

import pytest
from fev.format.errors import DamagedError, UsageError
from fev.format.meta import MAX_KEY_FRAMES, pack_key_frames, pack_meta, unpack_key_frames, unpack_meta


@pytest.mark.parametrize("frames", [[0], [7], [0, 57, 177], [3, 4, 5, 1_000_000]])
def test_key_frames_come_back(frames):
    meta = pack_key_frames(frames)
    assert unpack_key_frames(unpack_meta(pack_meta(meta))) == frames


def test_key_frames_are_steps():
    assert pack_key_frames([0, 57, 177]) == {"key_frames": "0,57,120"}
    assert pack_meta({"key_frames": "0,57"}) == b"\x81\xaakey_frames\xa40,57"


def test_too_many_key_frames_are_not_named():
    assert pack_key_frames([]) == {} and pack_key_frames(range(MAX_KEY_FRAMES + 1)) == {}
    most = pack_key_frames(range(MAX_KEY_FRAMES))
    assert len(unpack_key_frames(unpack_meta(pack_meta(most)))) == MAX_KEY_FRAMES


@pytest.mark.parametrize(
    "text", ["", ",", "0,", "0,0", "5,0,2", "00", "1,01", "-1", "1,-1", "1.5", "a", " 1", "9" * 10, "\u0661"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="key_frames"):
        pack_meta({"key_frames": text})
    data = b"\x81\xaakey_frames" + bytes([0xA0 + len(text.encode())]) + text.encode()
    with pytest.raises(DamagedError, match="key_frames"):
        unpack_meta(data)


def test_more_steps_than_the_limit_are_refused():
    with pytest.raises(UsageError, match="key_frames"):
        pack_meta({"key_frames": ",".join(["1"] * (MAX_KEY_FRAMES + 1))})
