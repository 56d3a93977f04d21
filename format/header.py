"""The HEAD chunk: what a decoder must know before anything else. Chunk framing is `chunk.py`'s."""

from __future__ import annotations

from dataclasses import dataclass

from ..format import tables
from .errors import FevError, LimitError, ModelMismatchError, UnsupportedError, UsageError, check
from .limits import Limits
from .wire import Pack, Take, crc16

VERSION = 1  # of the format, which every stream states; another one is refused
TABLES_SHA256 = bytes.fromhex(tables.SHA256)  # likewise
UNKNOWN_FRAMES = 0xFFFFFFFF

FLAG_CROP = 1  # the picture is the aligned square itself, not pasted back
FLAG_PLACEMENT = 2  # segments carry a placement per frame
FLAG_SYNTHETIC = 4  # the motion is not the recorded person's own: puppeteered or made up
FLAG_AUDIO = 8  # the set-up has an AUDH chunk: a reader that lost it knows that it did
FLAG_SET = 16  # there is a set 0, before which segments play that do not say otherwise
FLAG_FULL_RANGE = 32
_KNOWN_FLAGS = 63
_LAYOUT = "IHHIIIII32s32sBBHBBB"


@dataclass(frozen=True)
class Header:
    """Payload of HEAD, all plain integers.

    Args:
        width, height: of the picture the decoder delivers, in pixels.
        time_base: (num, den) seconds per tick of the video pts.
        fps: (num, den) nominal frame rate.
        model_sha256: 32 bytes, of the model file.
        params: motion parameters per frame.
        crop, placement, synthetic, has_audio, has_set: see the flags above. A Writer sets the last
            two itself.
        matrix, primaries, transfer: ISO/IEC 23091-2 code points of the output.
        full_range: of the output.
        segment_frames: frames of a regular segment, so that it need not say where it starts; 0 =
            every one says it.
        frame_count: of the whole stream, or UNKNOWN_FRAMES. A Writer leaves it unknown: the end
            chunk has it.
    """

    width: int
    height: int
    time_base: tuple[int, int]
    fps: tuple[int, int]
    model_sha256: bytes
    params: int = 35
    crop: bool = False
    placement: bool = False
    synthetic: bool = False
    has_audio: bool = False
    has_set: bool = False
    matrix: int = 1
    primaries: int = 1
    transfer: int = 1
    full_range: bool = False
    segment_frames: int = 0
    frame_count: int = UNKNOWN_FRAMES

    @property
    def flags(self) -> int:
        bits = (self.crop, self.placement, self.synthetic, self.has_audio, self.has_set, self.full_range)
        return sum(1 << place for place, bit in enumerate(bits) if bit)

    @property
    def pts_step(self) -> int:
        """Ticks per frame at the nominal rate, 0 if that is not a whole number."""
        ticks, rest = divmod(self.fps[1] * self.time_base[1], self.fps[0] * self.time_base[0])
        return 0 if rest else ticks

    @property
    def edges(self) -> int:
        """Width and height together: the unit of a camera's scale and angle goes by it."""
        return self.width + self.height

    @property
    def check_seed(self) -> int:
        """Start of every segment's final check: binds segments to the model and tables they were
        made with."""
        return crc16(self.model_sha256 + TABLES_SHA256)

    @property
    def bound(self) -> bytes:
        """What an identity's integers mean something with: model, tables and number of parameters,
        as in HEAD."""
        return self.model_sha256 + TABLES_SHA256 + bytes((self.params,))

    def seconds(self, pts: int) -> float:
        """A pts as seconds, for messages."""
        return pts * self.time_base[0] / self.time_base[1]

    def pack(self) -> bytes:
        if len(self.model_sha256) != 32:
            raise UsageError("a sha256 is 32 bytes")
        pack = Pack().fixed(
            _LAYOUT,
            VERSION,
            self.width,
            self.height,
            *self.time_base,
            *self.fps,
            self.frame_count,
            self.model_sha256,
            TABLES_SHA256,
            self.params,
            self.flags,
            self.segment_frames,
            self.matrix,
            self.primaries,
            self.transfer,
        )
        data = pack.bytes()
        try:
            Header.unpack(data)
        except FevError as error:
            raise UsageError(error.message) from None
        return data

    @classmethod
    def unpack(cls, data: bytes, limits: Limits | None = None) -> Header:
        """Reads and validates. Raises UnsupportedError, ModelMismatchError (other tables),
        LimitError, DamagedError."""
        limits = limits or Limits()
        take = Take(data, "header")
        version = take.fixed("I")[0]
        # The version comes first: a later one may lay out the rest differently.
        check(version, "there is no format version 0")
        if version != VERSION:
            raise UnsupportedError(f"the stream is of format version {version}, this reader reads version {VERSION}")
        width, height, tb_num, tb_den, fps_num, fps_den, frames = take.fixed("HHIIIII")
        model, table_hash, params, flags, segment_frames = take.fixed("32s32sBBH")
        matrix, primaries, transfer = take.fixed("BBB")
        take.end()
        check(width and height, "the picture has no extent")
        if width > limits.max_width or height > limits.max_height:
            raise LimitError(f"picture of {width}x{height} is beyond {limits.max_width}x{limits.max_height}")
        check(tb_num and tb_den and fps_num and fps_den, "time base or frame rate is zero")
        check(max(tb_num, tb_den, fps_num, fps_den) < 1 << 31, "time base or frame rate is out of range")
        check(params, "the motion has no parameters")
        if params > limits.max_params:
            raise LimitError(f"{params} parameters a frame, the limit is {limits.max_params}")
        if frames != UNKNOWN_FRAMES and frames > limits.max_frames:
            raise LimitError(f"{frames} frames, the limit is {limits.max_frames}")
        if segment_frames > limits.max_segment_frames:
            raise LimitError(f"segments of {segment_frames} frames, the limit is {limits.max_segment_frames}")
        check(not flags & ~_KNOWN_FLAGS, f"unknown header flags {flags & ~_KNOWN_FLAGS:#x}")
        if table_hash != TABLES_SHA256:
            raise ModelMismatchError("made with other entropy tables than this reader has")
        return cls(
            width=width,
            height=height,
            time_base=(tb_num, tb_den),
            fps=(fps_num, fps_den),
            model_sha256=model,
            params=params,
            crop=bool(flags & FLAG_CROP),
            placement=bool(flags & FLAG_PLACEMENT),
            synthetic=bool(flags & FLAG_SYNTHETIC),
            has_audio=bool(flags & FLAG_AUDIO),
            has_set=bool(flags & FLAG_SET),
            matrix=matrix,
            primaries=primaries,
            transfer=transfer,
            full_range=bool(flags & FLAG_FULL_RANGE),
            segment_frames=segment_frames,
            frame_count=frames,
        )
