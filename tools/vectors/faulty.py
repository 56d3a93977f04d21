"""The vectors that every reader must refuse: streams as a whole, their set-up and the parts of an
actor. `faultystage.py` and `faultysegments.py` have the rest.

Each is a name, what is wrong, the error and the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ...format import AudioConfig, Still
from ...format.chunk import SIGNATURE
from ...format.wire import Pack
from .bent import added, base, changed, crc, flip, joined, patched, with_delta, with_modes, with_pivot

STILL = Still(1, 64, 64, 1, False, bytes(8)).pack()


def faulty_setup() -> Iterator[tuple[str, str, str, bytes]]:
    """Streams as a whole, and their set-up."""
    good = joined(base())
    parts = base()
    names = [name for name, _ in parts]
    second = joined(parts[: names.index("SEGM") + 1])
    yield "empty", "no bytes", "NotFevError", b""
    yield "zip_in_front", "another file's signature comes first", "NotFevError", b"PK\3\4" + good
    yield "text_mode", "line ends were translated", "NotFevError", good.replace(b"\r\n", b"\n")
    yield "cut_off", "ends inside the second segment", "TruncatedError", good[: len(second) + 20]
    yield "no_end", "the end chunk is missing", "TruncatedError", joined(parts[:-1])
    yield "header_only", "ends after HEAD", "TruncatedError", joined(parts[:1])
    yield "bit_flip", "one bit of a segment", "DamagedError", flip(good, len(second) - 12)
    yield "length_flip", "one bit of a length", "DamagedError", flip(good, len(SIGNATURE) + 7)
    yield "trailing_bytes", "a byte follows the end", "DamagedError", good + b"\0"
    yield "two_streams", "another stream follows the end", "DamagedError", good + good
    bomb = b"SEGM\xff\xff\xff"
    yield (
        "length_bomb",
        "a chunk of 16 MiB that is not there",
        "LimitError",
        second + b"\xf5\xed" + bomb + struct.pack("<H", crc(bomb)) + b"....",
    )
    yield (
        "wrong_sync",
        "a chunk without its sync",
        "DamagedError",
        good[: len(second)] + b"\0\0" + good[len(second) + 2 :],
    )
    yield "digit_in_type", "a chunk type with a digit", "DamagedError", added("a1bc", b"", "FEND")
    yield (
        "unknown_critical",
        "an upper-case chunk type that nobody knows",
        "UnsupportedError",
        added("Warp", b"", "SEGM"),
    )
    yield "future", "of version 2", "UnsupportedError", changed("HEAD", patched(0, b"\2\0\0\0"))
    yield (
        "far_future",
        "of version 65536, longer",
        "UnsupportedError",
        changed("HEAD", lambda p: patched(0, b"\0\0\1\0")(p) + b"more"),
    )
    yield "version_zero", "of version 0", "DamagedError", changed("HEAD", patched(0, b"\0\0\0\0"))
    yield "other_tables", "made with other tables", "ModelMismatchError", changed("HEAD", patched(60, bytes(32)))
    yield "long_header", "a header with a byte too many", "DamagedError", changed("HEAD", lambda p: p + b"\0")
    yield "huge_picture", "65535 x 65535 pixels", "LimitError", changed("HEAD", patched(4, b"\xff" * 4))
    yield "flat_picture", "no pixels", "DamagedError", changed("HEAD", patched(4, bytes(4)))
    yield "zero_time_base", "ticks of no length", "DamagedError", changed("HEAD", patched(8, bytes(4)))
    yield "many_parameters", "255 parameters a frame", "LimitError", changed("HEAD", patched(92, b"\xff"))
    yield "reserved_flag", "a header flag that means nothing", "DamagedError", changed("HEAD", patched(93, b"\x80"))
    yield (
        "promised_frames",
        "the header promises 8 frames of 7",
        "DamagedError",
        changed("HEAD", patched(24, b"\x08\0\0\0")),
    )
    yield "no_header", "HEAD is missing", "DamagedError", joined(parts[1:])
    yield (
        "unannounced_audio",
        "AUDH without its header flag",
        "DamagedError",
        added("AUDH", AudioConfig().pack(), "meta"),
    )
    changed_head = (parts[0][0], parts[0][1][:96] + b"\2" + parts[0][1][97:])
    late = ("meta", b"\x80")
    yield (
        "late_setup",
        "metadata that was not there at first",
        "DamagedError",
        joined([parts[0], *parts[2:4], parts[0], late, *parts[4:]]),
    )
    yield (
        "setup_in_part",
        "the set-up comes again without its metadata",
        "DamagedError",
        joined([*parts[:4], parts[0], *parts[4:]]),
    )
    yield (
        "header_changes",
        "the repeated header differs from the first",
        "DamagedError",
        joined([*parts[:4], changed_head, parts[1], *parts[4:]]),
    )
    for name, text, error, make in (
        ("identity_bomb", "2**40 coefficients", "LimitError", lambda p: Pack().varint(1 << 40).raw(p[1:]).bytes()),
        ("identity_level", "a level that does not exist", "DamagedError", patched(1, b"\x64")),
        (
            "identity_tail",
            "a byte hides behind the identity's code",
            "DamagedError",
            lambda p: p[:-2] + b"\1" + p[-2:],
        ),
        (
            "identity_check",
            "the identity's final check is wrong",
            "DamagedError",
            lambda p: p[:-1] + bytes([p[-1] ^ 1]),
        ),
    ):
        yield name, text, error, changed("ACTR", behind(3, make))
    yield (
        "delta_bomb",
        "2**62 values",
        "LimitError",
        with_delta(Pack().varint(1).fixed("HBBBB", 1, 0, 1, 1, 0).varint(1 << 62)),
    )
    yield "delta_tensors", "2**20 tensors", "LimitError", with_delta(Pack().varint(1 << 20))
    yield (
        "delta_carry",
        "the first tensor carries on",
        "DamagedError",
        with_delta(Pack().varint(1).fixed("HBBBB", 1, 0, 1, 1, 255).varint(1).fixed("H", 0)),
    )
    yield (
        "modes_bomb",
        "255 planes of 65536 x 65536",
        "LimitError",
        with_modes(Pack().raw(b"\xff\x23\x01\x10\x10\x15\x00")),
    )
    yield "modes_size", "a texture of side 4", "DamagedError", with_modes(Pack().raw(b"\x01\x23\x01\x02\x03\x15\x00"))
    yield (
        "modes_columns",
        "a mix wider than there are planes",
        "DamagedError",
        with_modes(Pack().raw(b"\1\x23\2\3\3\x15\0")),
    )
    yield (
        "pivot_zero",
        "a pivot's parameters end with a zero",
        "DamagedError",
        with_pivot(Pack().raw(b"\2\2\0" + STILL)),
    )
    yield "pivot_count_bomb", "a pivot of 2**40 parameters", "LimitError", with_pivot(Pack().varint(1 << 40).raw(STILL))
    yield (
        "huge_still",
        "a pivot of 65535 x 65535 pixels",
        "LimitError",
        with_pivot(Pack().raw(b"\0\1\xff\xff\xff\xff\1\0\0")),
    )
    for name, text, fields in bad_metadata():
        yield name, text, "DamagedError", changed("meta", instead(fields))


def behind(count: int, make: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """What changes all but the first bytes of a payload."""
    return lambda payload: payload[:count] + make(payload[count:])


def instead(payload: bytes) -> Callable[[bytes], bytes]:
    """What puts `payload` in the place of any other."""
    return lambda _: payload


def bad_metadata() -> Iterator[tuple[str, str, bytes]]:
    key = b"\xa6writer"
    yield "meta_twice", "a metadata key twice", b"\x82" + key + b"\xa1a" + key + b"\xa1b"
    yield "meta_unknown", "a metadata key nobody knows", b"\x81\xa4path\xa4/etc"
    yield "meta_nan", "a metadata value that is not a number, literally", b"\x81" + key + b"\xcb\x7f\xf8" + bytes(6)
    yield "meta_nested", "metadata 60000 lists deep", b"\x81" + key + b"\x91" * 60000 + b"\xc0"
    yield "meta_extension", "a metadata value of an extension type", b"\x81" + key + b"\xd6\xff" + bytes(4)
    yield "meta_long_int", "a metadata integer not in its shortest form", b"\x81\xa8rotation\xcd\0\x5a"
    yield "meta_unsorted", "metadata keys out of order", b"\x82" + key + b"\xa1a\xa5title\xa1b"
    yield "meta_count_bomb", "a metadata map of 2**32 - 1 entries", b"\xdf\xff\xff\xff\xff"
    yield "meta_not_utf8", "metadata text that is not UTF-8", b"\x81" + key + b"\xa1\xff"
    yield "meta_tail", "bytes behind the metadata", b"\x81" + key + b"\xa1a\xc0"
    yield "meta_path", "a source name with a path in it", b"\x81\xabsource_name\xa9/etc/fstab"
    yield "meta_steps", "key frames that do not rise", b"\x81\xaakey_frames\xa53,0,5"
