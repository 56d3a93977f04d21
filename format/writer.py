"""Writes a .fev stream front to back, segment by segment; nothing is patched afterwards.
`reader.py` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audio import AudioConfig
from .chunk import SIGNATURE, make_chunk
from .delta import DeltaTensor, encode_delta
from .errors import FevError, UsageError
from .header import UNKNOWN_FRAMES, Header
from .identity import encode_identity
from .index import End, IndexBuilder
from .ledger import Ledger
from .limits import Limits
from .meta import Meta, pack_meta
from .modes import Modes, encode_modes
from .reference import PARTS, pack_reference
from .segment import Segment, parse
from .still import Pivot, Still


class Writer:
    """Writes signature and set-up at once, then segments as they come, then index and end at
    close().

    Args:
        stream: anything with write(); never seeked.
        header: its has_delta, has_modes, has_pivot, has_background, has_audio and
            identity_elsewhere are set from what is given here.
        identity: (n,) int32 coefficients. This or a reference must be given.
        reference: sha256 of an identity that another stream holds; in place of identity, delta,
            modes and pivot.
        delta: tensors of the weight change; None or empty = none.
        modes, pivot, background, audio, meta: see their modules; None = no such chunk.
        repeat_header_every: the whole set-up is repeated before every so many segments (0 = never),
            so that a receiver may join late and a damaged beginning does not cost the rest.

    As a context manager it closes the stream's content when the block ends well, and leaves it
    truncated otherwise.
    """

    def __init__(
        self,
        stream: Any,
        header: Header,
        *,
        identity: NDArray[np.int32] | None = None,
        reference: bytes | None = None,
        delta: Sequence[DeltaTensor] | None = None,
        modes: Modes | None = None,
        pivot: Pivot | None = None,
        background: Still | None = None,
        audio: AudioConfig | None = None,
        meta: Meta | None = None,
        repeat_header_every: int = 0,
    ) -> None:
        if repeat_header_every < 0:
            raise UsageError("repeat_header_every is negative")
        if (identity is None) == (reference is None):
            raise UsageError("a stream holds an identity or refers to one")
        if reference is not None and (delta or modes is not None or pivot is not None):
            raise UsageError("delta, modes and pivot belong to the identity, which lies elsewhere")
        self.header = replace(
            header,
            identity_elsewhere=reference is not None,
            has_delta=bool(delta),
            has_modes=modes is not None,
            has_pivot=pivot is not None,
            has_background=background is not None,
            has_audio=audio is not None,
        )
        setup = [("HEAD", self.header.pack())]
        if reference is not None:
            setup.append(("IREF", pack_reference(reference)))
        if identity is not None:
            setup.append(("IDEN", encode_identity(identity)))
        if delta:
            setup.append(("DELT", encode_delta(delta)))
        if modes is not None:
            setup.append(("MODE", encode_modes(modes)))
        if pivot is not None:
            setup.append(("PIVT", pivot.pack()))
        if background is not None:
            setup.append(("BGND", background.pack()))
        if audio is not None:
            setup.append(("AUDH", audio.pack()))
        if meta:
            setup.append(("meta", pack_meta(meta)))
        self._setup = setup
        self._repeat = repeat_header_every
        self._stream = stream
        self._ledger = Ledger()
        self._index = IndexBuilder()
        self._closed = False
        self._last_pts: int | None = None
        self.bytes_written = 0
        self.segments = 0
        self.frames = 0
        self._write(SIGNATURE)
        self._ledger.add("header", len(SIGNATURE))
        self._write_setup()

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                done = self._stream.write(left)
                # Raw streams may take less than they were given; the others take all, and some
                # return None.
                left = left[done:] if isinstance(done, int) else left[:0]
        except (FevError, BrokenPipeError):  # who reads a pipe may stop, which is no failure of ours
            raise
        except (OSError, ValueError) as error:
            name = getattr(self._stream, "name", None)
            where = f"{name}: cannot be written" if isinstance(name, str) else "writing failed"
            reason = getattr(error, "strerror", None) or error
            raise FevError(f"{where}: {reason}", offset=self.bytes_written) from None
        self.bytes_written += len(data)

    @property
    def identity_chunks(self) -> tuple[tuple[str, bytes], ...]:
        """Type and payload of the chunks that hold the identity; () where it lies elsewhere."""
        return tuple((name, payload) for name, payload in self._setup if name in PARTS)

    def _write_setup(self) -> None:
        for name, payload in self._setup:
            self._write(make_chunk(name, payload))
            self._ledger.chunk(name, len(payload))

    def write_segment(self, segment: Segment) -> int:
        """Writes the next segment and returns the bytes it took.

        Segments come in order: index and first frame go on where the last one ended, and so does
        time.
        """
        if self._closed:
            raise UsageError("the writer is closed")
        if segment.index != self.segments or segment.first_frame != self.frames:
            raise UsageError(
                f"segment {segment.index} at frame {segment.first_frame} does not follow: "
                f"expected segment {self.segments} at frame {self.frames}"
            )
        if segment.audio and not self.header.has_audio:
            raise UsageError("a segment has audio, but the stream was opened without")
        payload = segment.pack(self.header)
        if self._last_pts is not None and int(segment.pts[0]) <= self._last_pts:
            raise UsageError(f"segment {segment.index} does not begin after the one before ended")
        # The reader's own parser looks at it once: what it would refuse must not be written.
        try:
            parts = parse(payload, self.header, Limits())
        except FevError as error:
            raise UsageError(error.message, segment=segment.index) from None
        before = self.bytes_written
        if self._repeat and self.segments and self.segments % self._repeat == 0:
            self._write_setup()
        self._index.add(self.segments, self.bytes_written)
        self._write(make_chunk("SEGM", payload))
        self._ledger.chunk("SEGM", len(payload), parts.sizes)
        self._last_pts = int(segment.pts[-1])
        self.segments += 1
        self.frames += segment.frames
        return self.bytes_written - before

    def close(self, index: bool = True) -> None:
        """Writes the index (if wanted and useful) and the end. The stream itself stays open. Twice
        does no harm."""
        if self._closed:
            return
        if self.header.frame_count not in (UNKNOWN_FRAMES, self.frames):
            raise UsageError(f"the header promises {self.header.frame_count} frames, {self.frames} were written")
        self._closed = True
        payload = self._index.pack() if index else b""
        distance = 0
        if payload:
            chunk = make_chunk("indx", payload)
            distance = len(chunk)
            self._write(chunk)
            self._ledger.chunk("indx", len(payload))
        end = End(self.segments, self.frames, distance).pack()
        self._write(make_chunk("FEND", end))
        self._ledger.chunk("FEND", len(end))
        flush = getattr(self._stream, "flush", None)
        if callable(flush):
            flush()

    def sections(self) -> dict[str, int]:
        """Bytes written per section; they add up to bytes_written."""
        return self._ledger.sections()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
