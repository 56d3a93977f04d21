"""The `meta` chunk: a few facts about the stream as one flat, canonical msgpack map. It changes no
picture.

Canonical: keys sorted, every value in its shortest form, no key twice. So one content has one
spelling, and what a parser might read in two ways is refused. No floats, no nesting, no extension
types.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NoReturn

import msgpack

from .errors import DamagedError, LimitError, UsageError
from .limits import Limits

Meta = dict[str, str | int | bool]

SCHEMA: dict[str, type] = {
    "writer": str,  # program and version
    "source_name": str,  # base name of the source, never a path
    "synthetic": bool,  # the motion is not the recorded person's own
    "identity_file_sha256": str,  # of the .fev file the identity was taken from, 64 hex digits
    "motion_file_sha256": str,  # of the .fev file the motion was taken from, 64 hex digits
    "created": str,  # ISO 8601
    "title": str,
    "comment": str,
    "licence": str,
    "preset": str,
    "rotation": int,  # degrees already applied to the source
    "key_frames": str,  # frames that others are registered to: decimal steps, the first from frame 0: "0,57,120"
}
MAX_KEY_FRAMES = 4096
PRIVATE = "x-"  # keys of one's own begin so; values are str, int or bool


def _problem(meta: Any) -> str | None:
    if not isinstance(meta, dict):
        return "metadata is not a map"
    for key, value in meta.items():
        if not isinstance(key, str):
            return "a metadata key is not text"
        kind = SCHEMA.get(key)
        if kind is None and not key.startswith(PRIVATE):
            return f"metadata key {key!r} is unknown"
        # bool is an int to Python; the schema means them apart.
        if type(value) not in ((kind,) if kind else (str, int, bool)):
            return f"metadata {key!r} has a {type(value).__name__}"
        if isinstance(value, str) and key.endswith("_sha256") and not _is_hash(value):
            return f"metadata {key!r} is not 64 hex digits"
        if key == "source_name" and isinstance(value, str) and ("/" in value or "\\" in value):
            return "metadata 'source_name' is a path"
        if key == "key_frames" and isinstance(value, str) and not _are_steps(value):
            return "metadata 'key_frames' is not a list of steps"
    return None


def _are_steps(text: str) -> bool:
    """Decimal numbers below a thousand million without leading zeros, only the first of them 0."""
    steps = text.split(",", MAX_KEY_FRAMES)
    if len(steps) > MAX_KEY_FRAMES or not all(0 < len(s) < 10 and set(s) <= set("0123456789") for s in steps):
        return False
    return all(s[0] != "0" or (i == 0 and s == "0") for i, s in enumerate(steps))


def pack_key_frames(frames: Sequence[int]) -> Meta:
    """Numbers of key frames, rising -> what the metadata says of them; nothing where there are too
    many to say."""
    if not 0 < len(frames) <= MAX_KEY_FRAMES:
        return {}
    return {"key_frames": ",".join(str(b - a) for a, b in pairwise([0, *frames]))}


def unpack_key_frames(meta: Meta) -> list[int]:
    """Numbers of key frames that checked metadata names."""
    text = str(meta.get("key_frames", ""))
    return list(accumulate(int(step) for step in text.split(","))) if text else []


def _is_hash(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def pack_meta(meta: Meta) -> bytes:
    """Raises UsageError for what the schema does not know."""
    problem = _problem(meta)
    if problem:
        raise UsageError(problem)
    try:
        data: bytes = msgpack.packb({key: meta[key] for key in sorted(meta)}, use_bin_type=True)
    except (ValueError, OverflowError, UnicodeEncodeError) as error:
        raise UsageError(f"metadata cannot be written: {error}") from None
    if len(data) > Limits.max_meta_bytes:
        raise UsageError(f"metadata of {len(data)} bytes, the limit is {Limits.max_meta_bytes}")
    return data


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError("a key appears twice")
        found[key] = value
    return found


def _no_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code}")


def unpack_meta(data: bytes, limits: Limits | None = None) -> Meta:
    """Raises DamagedError for anything but the canonical spelling of a map that fits the schema."""
    limit = (limits or Limits()).max_meta_bytes
    if len(data) > limit:
        raise LimitError(f"metadata of {len(data)} bytes, the limit is {limit}")
    try:
        meta = msgpack.unpackb(
            data, raw=False, strict_map_key=True, ext_hook=_no_extension, object_pairs_hook=_pairs, use_list=False
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise DamagedError(f"metadata cannot be read: {error}") from None
    problem = _problem(meta)
    if problem:
        raise DamagedError(problem)
    if list(meta) != sorted(meta) or msgpack.packb(meta, use_bin_type=True) != data:
        raise DamagedError("metadata is not in canonical form")
    checked: Meta = meta
    return checked
