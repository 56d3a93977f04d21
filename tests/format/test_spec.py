"""The paper and the code say the same: bytes, constants and tables printed in `spec/fev-1.md` are the real ones."""

from __future__ import annotations

import binascii
import re
import zlib

from fev.format import Header, Limits, tables
from fev.format.cast import ALIVE
from fev.format.chunk import SIGNATURE, SYNC
from fev.format.ledger import SECTION_OF_CHUNK
from fev.format.reader import SETUP
from fev.format.wire import crc16
from test_vectors import FOLDER, ROOT, stranger

TEXT = (ROOT / "spec" / "fev-1.md").read_text()
FLAT = " ".join(TEXT.split())


def test_the_hex_dump_is_the_vector():
    dump = TEXT.split("```hex\n")[1].split("```")[0]
    data = bytearray()
    for line in dump.splitlines():
        pairs = re.match(r"((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:\s{2,}|$)", line)
        assert pairs, line
        data += bytes.fromhex(pairs[1])
    assert bytes(data) == (FOLDER / "subset" / "minimal.fev").read_bytes()


def test_what_the_dump_says_is_true():
    stream = stranger.read((FOLDER / "subset" / "minimal.fev").read_bytes())
    assert stream["actors"][0, 0]["identity"] == [-5, -6, 3, 9]
    assert stream["segments"][0]["actors"][0]["motion"] == [[2, 0], [2, 0], [0, 0], [2, 0]]


def test_check_values():
    assert f"{crc16(b'123456789'):04X}" == "29B1" and "29B1" in TEXT
    assert f"{zlib.crc32(b'123456789'):08X}" == "CBF43926" and "CBF43926" in TEXT
    assert binascii.hexlify(SYNC).decode().upper() == "F5ED" and "F5 ED" in TEXT
    assert len(SIGNATURE) == 8


def test_chunks_are_all_described():
    for name in {*SECTION_OF_CHUNK, *SETUP, "SEGM"}:
        assert f"`{name}`" in TEXT


def test_header_offsets():
    """The table of HEAD: each offset is the sum of the sizes before it, and all of it is what the code writes."""
    rows = re.findall(
        r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|", TEXT.split("### HEAD")[1].split("### ACTR")[0], re.MULTILINE
    )
    sizes = {"u8": 1, "u16": 2, "u32": 4, "32 bytes": 32}
    at = 0
    for offset, _, kinds in rows:
        assert int(offset) == at
        at += sum(sizes[kind.strip()] for kind in kinds.split(","))
    packed = Header(
        width=1, height=1, time_base=(1, 1), fps=(1, 1), model_sha256=bytes(32), params=33, segment_frames=513
    ).pack()
    assert at == len(packed) == 99 and "### HEAD, 99 bytes" in TEXT
    assert packed[92] == 33 and packed[94:96] == b"\x01\x02"
    assert packed[60:92].hex() == tables.SHA256


def test_limits_are_the_ones_in_force():
    line = {row.split("|")[1].strip(): row.split("|")[3].strip() for row in TEXT.splitlines() if row.count("|") == 4}
    limits = Limits()
    assert line["width, height"] == str(limits.max_width) == str(limits.max_height)
    assert line["parameters a frame"] == str(limits.max_params)
    assert line["frames of a segment, all parts together"] == str(limits.max_segment_frames)
    assert line["actors of a segment"] == str(limits.max_segment_actors)
    assert line["frames of a segment, times its actors"] == str(limits.max_track_frames)
    assert line["patches of a segment"] == str(limits.max_segment_patches)
    assert line["actors, sets of a stream"] == f"{limits.max_actors}, {limits.max_sets}"
    assert line["revisions of an actor"] == str(limits.max_revisions)
    assert line["bytes of actors and sets alive"] == f"{limits.max_alive_bytes >> 20} MiB"
    values = limits.max_identity_values + limits.max_delta_values + limits.max_mode_values
    memory = 2 * limits.max_chunk_bytes + limits.max_alive_bytes + 28 * values + 16 * limits.max_meta_bytes
    memory += limits.max_track_frames * (88 * limits.max_params + 64)
    assert f"{round(memory / 1e6)} MB with those of the right column" in FLAT
    assert f"those {ALIVE} are alive whose chunks came last, and of all sets those {ALIVE}" in FLAT
    assert line["bytes of a payload"] == f"{limits.max_chunk_bytes >> 20} MiB"
    assert line["coefficients of an identity"] == str(limits.max_identity_values)
    assert line["values of the modes"] == str(limits.max_mode_values)
    assert line["tensors, values of a delta"] == f"{limits.max_delta_tensors}, {limits.max_delta_values}"
    assert line["frames of a stream"] == f"2^{limits.max_frames.bit_length() - 1}"
    assert line["entries of an index"] == f"2^{limits.max_index_entries.bit_length() - 1}"
    assert line["width, height of video"] == str(limits.max_video_side)
    assert line["bytes of a sequence header"] == str(limits.max_sequence_bytes)
    assert line["bytes of video in a segment"] == f"{limits.max_video_bytes_per_segment >> 20} MiB"
    audio = f"{limits.max_audio_packets_per_segment}, {limits.max_audio_bytes_per_segment >> 20} MiB"
    assert line["packets, bytes of audio in a segment"] == audio


def test_constants_of_the_pseudo_code():
    from fev.format import counts
    from fev.format.motioncontexts import MotionContexts, PathContexts

    assert (MotionContexts.GROUPS, PathContexts.GROUPS) == (
        5,
        2,
    ) and "G = 5 groups for motion and 2 for placement" in FLAT
    assert counts.TOTAL - 32 == 65504 and counts.MOST == 4194304 and counts.GAIN == 2 * 512


def test_contexts_of_the_modes():
    """The tables of the text, of the Reader and of the second reader are the same."""
    from fev.format import modecontexts as modes
    from fev.format import tables
    from fev.tools import fev_read

    assert "number of " + ", ".join(map(str, modes.BOUNDS)) + " that are at most sum" in FLAT
    own = (modes.START[: modes.CLASSES] - 2 * tables.ROWS).tolist()
    assert 2 * tables.ROWS == 72 and "frozen rows 72 + (" + ", ".join(map(str, own)) + ")" in FLAT
    for names, key, second in (
        ("luma", "luma", fev_read.LUMA),
        ("blue, red", "chroma", fev_read.COLOUR),
        ("across, down", "flow", fev_read.FLOW),
    ):
        for odd, row in enumerate(modes.WEIGHTS[key].tolist()):
            assert f"| {names} | {odd} | " + " | ".join(map(str, row)) + " |" in TEXT
            assert list(second[odd]) == row
    assert list(fev_read.BOUNDS) == modes.BOUNDS.tolist()


def test_the_worked_example_is_what_a_reader_meets():
    """Section 7: levels, shapes and symbols of the first page's motion, as the second reader finds them."""
    met, symbol, group = [], stranger.RangeDecoder.symbol, stranger.decode_group

    class Watched(stranger.RangeDecoder):
        def symbol(self, row):
            state = f"{self.range:016x}", str(self.ahead // (self.range >> 24))
            met.append([*state, str(symbol(self, row))])
            return int(met[-1][-1])

    def watched(decoder, tables, levels, shapes=0):
        first = len(met)
        values = group(decoder, tables, levels, shapes)
        for place, value in enumerate(values):
            shape = shapes if isinstance(shapes, int) else shapes[place]
            met[first + place] = [str(levels[place]), str(shape), *met[first + place], str(value)]
        return values

    tables = stranger.Tables(ROOT / "spec" / "tables" / "fev-1.txt")
    stranger.decode_group = watched
    try:
        own = Watched(bytes.fromhex("e9af"))
        made, stranger.RangeDecoder = stranger.RangeDecoder, lambda code: own
        stranger.decode_tracks(bytes.fromhex("181ce9af"), tables, [False] * 4, 2, 5, True)
    finally:
        stranger.decode_group, stranger.RangeDecoder = group, made
    example = TEXT.split("**Worked example.**")[1].split("## 8.")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in example.splitlines() if "|" in line]
    flags = [[row[3], row[4], row[5][0]] for row in rows if len(row) == 6][2:]
    values = [[row[2], row[3], row[4], row[5], *row[6].split(", ")] for row in rows if len(row) == 8][2:]
    assert [*flags, *values] == met and len(met) == 9
