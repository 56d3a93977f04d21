"""What there is to say of a run beyond its result: one place that counts it and one place that
words it.

Stages call `Notices.add`; `EncodeReport` and `DecodeReport` carry the counts; the commands print
`line()` on stderr and put `as_dict()` into `--json`.
"""

from __future__ import annotations

from collections.abc import Mapping

# Key -> the words, with {n} for the count and {s} for the plural; in the order in which they are
# said.  A key is also the name in JSON.
WORDS: dict[str, str] = {
    "held": "{n} frame{s} held (no face found)",
    "other": "{n} frame{s} held (another face than the one that is coded, or a covered one)",
    "absent": "{n} frame{s} without anybody (the background alone, or a plain picture where it was never seen)",
    "cuts": "{n} cut{s} (each shot has its own background and face)",
    "video": "{n} frame{s} sent as plain video, which comes nearer there than actors",
    "faded": "{n} frame{s} of a fade drawn in the light of the rest",
    "camera": "the camera moves ({n} frame{s})",
    "damaged": "{n} damaged frame{s}",
    "all_damaged": "not one frame is whole, so the person looks as damaged as they are",
    "undecoded": "{n} packet{s} of the video not decoded",
    "missing": "{n} frame{s} missing: the file is cut short",
    "short": "the file is cut short; it does not say by how much",
    "jumps": "the time stamps jump {n} time{s} (put end to end)",
    "other_videos": "{n} other video stream{s} left out (--stream chooses)",
    "other_sounds": "{n} other sound stream{s} left out (--audio-stream chooses)",
    "deinterlaced": "{n} interlaced frame{s} deinterlaced",
    "squared": "pixels made square",
    "resized": "{n} frame{s} of another size than the first, scaled to it",
    "alpha": "transparency dropped",
    "repeated": "{n} frame{s} lost to damage and filled with the picture before",
    "incomplete": "{n} frame{s} without an actor or a set that was lost to damage",
    "sound_back": "{n} packet{s} of sound left out (time stamps that go back)",
}


class Notices:
    """Counts by key.  A key that is not in WORDS is a bug and raises KeyError."""

    def __init__(self, counts: Mapping[str, int] | None = None):
        self._counts: dict[str, int] = {}
        for key, count in (counts or {}).items():
            self.add(key, count)

    def add(self, key: str, count: int = 1) -> None:
        """Count something that was dropped, held, concealed, guessed, missing or refused."""
        WORDS[key]
        if count:
            self._counts[key] = self._counts.get(key, 0) + count

    def __getitem__(self, key: str) -> int:
        WORDS[key]
        return self._counts.get(key, 0)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def as_dict(self) -> dict[str, int]:
        """Counts by key, only what happened, in the order in which it is said."""
        return {key: self._counts[key] for key in WORDS if key in self._counts}

    def line(self) -> str:
        """All of it in one line; empty where there is nothing to say."""
        counts = self.as_dict()
        return "; ".join(WORDS[key].format(n=n, s="" if n == 1 else "s") for key, n in counts.items())
