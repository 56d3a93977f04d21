"""How much a Reader agrees to handle. Every size in a stream meets one of these before memory is taken for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds; a stream beyond one raises LimitError before anything is allocated.

    Memory of a Reader, apart from the interpreter, is at most

        2 * max_chunk_bytes                                  the chunk at hand, and its payload
      + max_alive_bytes                                      actors and sets that segments may name, coded
      + 28 * (identity, delta and mode values, at most)      one identity decoded, with its working copies
      + max_track_frames * (40 * params + 64)                one decoded segment
      + max_track_frames * params * 48                       the symbols kept to prove the code canonical
      + max_meta_bytes * 16                                  metadata as Python objects

    and does not depend on the length of the stream. Width and height are never allocated here: they are bounds for
    the decoder that draws the pictures.
    """

    max_width: int = 8192
    max_height: int = 8192
    max_params: int = 64
    max_frames: int = 1 << 24  # 6 days at 30 fps
    max_segments: int = 1 << 22
    max_segment_frames: int = 1024
    max_segment_actors: int = 16
    max_track_frames: int = 4096  # frames of a segment times its actors
    max_segment_patches: int = 64
    max_actors: int = 1024
    max_revisions: int = 1 << 16  # of one actor
    max_sets: int = 1024
    max_alive_bytes: int = 32 << 20
    max_chunk_bytes: int = 8 << 20
    max_identity_values: int = 1 << 14
    max_delta_tensors: int = 4096
    max_delta_values: int = 1 << 19
    max_mode_values: int = 1 << 21
    max_still_bytes: int = 4 << 20
    max_meta_bytes: int = 64 << 10
    max_audio_packets_per_segment: int = 16384
    max_audio_bytes_per_segment: int = 1 << 20
    max_video_side: int = 4096
    max_sequence_bytes: int = 1024
    max_video_bytes_per_segment: int = 4 << 20
    max_index_entries: int = 1 << 20
    max_damage: int = 10_000  # entries kept in a salvage report
