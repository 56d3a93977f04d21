"""A playback: the feed's pictures in the window when they are due, keys, and what is said of it at the end."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from ..player import overlay
from .clock import Clock
from .feed import Feed, Shown
from .screen import Screen, Speaker

STEP = 5.0  # seconds that an arrow key moves by
NAP = 0.002
OVERLAY_EVERY = 0.25
STARVED = 0.05  # seconds without a picture while bytes are awaited, before the clock is held


class Session:
    """feed: started.  speaker: None for no sound."""

    def __init__(
        self, feed: Feed, clock: Clock, screen: Screen, speaker: Speaker | None, texts: bool = False, loop: bool = False
    ):
        self.feed, self.clock, self.screen, self.speaker = feed, clock, screen, speaker
        self.texts, self.loop = texts, loop
        self.paused = self.starved = self.quit = False
        self.shown = self.late = 0
        self.last: Shown | None = None
        self.limit: float | None = None  # seconds after which to stop
        self.drift: list[float] = []
        self.first_picture: float | None = None
        self._recent: deque[float] = deque(maxlen=60)
        self._text_at = -1.0
        self._note, self._note_until = "", 0.0

    def run(self) -> None:
        """Until the end of the clip or the user's.  Raises FevError where the stream cannot be played."""
        started = time.monotonic()
        while not self.quit:
            for action in self.screen.events():
                self._do(action)
            if self.feed.error is not None and not self.feed.pictures:
                raise self.feed.error
            if self._step() and self.first_picture is None:
                self.first_picture = time.monotonic() - started
            if self._over() or (self.limit is not None and time.monotonic() - started > self.limit):
                break
            time.sleep(NAP)

    def _step(self) -> bool:
        """Show what is due.  False if nothing was."""
        self._begin_or_wait()
        now = self.clock.time()
        picture, skipped = self.feed.take(now)
        self.late += skipped
        heard = None if self.speaker is None or not self.clock.running else self.speaker.position()
        if heard is not None:
            self.clock.follow(heard)
        self._write(now)
        if picture is None or picture.turn != self.feed.turn:
            return False
        self.screen.picture(picture.rgb)
        self.screen.show()
        self.last = picture
        self.shown += 1
        self._recent.append(time.monotonic())
        if heard is not None:
            self.drift.append(picture.at - heard)
        return True

    def _begin_or_wait(self) -> None:
        """The clock runs while there is something to show, and waits for bytes that have not come yet."""
        if self.paused:
            return
        if not self.clock.running:
            if self.feed.pictures or (self.feed.ended.is_set() and self.starved):
                self.starved = False
                self._run(True)
        elif self.last is not None and self.feed.waiting and not self.feed.pictures:
            self.starved = self.clock.time() - self.last.at > float(self.feed.frame) + STARVED
            if self.starved:  # and goes on where the pictures do
                self._run(False)
                self.clock.move(self.last.at + float(self.feed.frame))

    def _run(self, on: bool) -> None:
        if on:
            self.clock.start()
        else:
            self.clock.hold()
        if self.speaker is not None:
            self.speaker.run(on)

    def _over(self) -> bool:
        feed = self.feed
        if not feed.ended.is_set() or feed.pictures or self.paused:
            return False
        if feed.length is not None and self.clock.time() < feed.length:
            return False
        if self.loop and feed.seekable and self.shown:
            self.seek(0.0)
            return False
        return True

    def _write(self, now: float) -> None:
        if not self.texts and not self._note:
            return
        at = time.monotonic()
        if at < self._text_at:
            return
        self._text_at = at + OVERLAY_EVERY
        if at > self._note_until:
            self._note = ""
        text = []
        if self.texts:
            text = overlay.lines(self.feed, now, self._speed(), self._note)
        elif self._note:
            text = [self._note]
        self.screen.text(overlay.drawn(text, 15) if text else None)
        if self.last is not None:
            self.screen.show()

    def _speed(self) -> float:
        r = self._recent
        return (len(r) - 1) / (r[-1] - r[0]) if len(r) > 1 and r[-1] > r[0] else 0.0

    def say(self, note: str) -> None:
        """Show a line for two seconds."""
        self._note, self._note_until, self._text_at = note, time.monotonic() + 2, -1.0

    def _do(self, action: str) -> None:
        if action == "quit":
            self.quit = True
        elif action == "pause":
            self.paused = not self.paused
            if self.paused:
                self._run(False)
            elif not self.starved:
                self._run(True)
        elif action == "overlay":
            self.texts = not self.texts
            self._text_at = -1.0
            if not self.texts:
                self.screen.text(None)
                self.screen.show()
        elif action == "mute" and self.speaker is not None:
            self.speaker.muted = not self.speaker.muted
            self.say("sound off" if self.speaker.muted else "sound on")
        elif action == "full":
            self.screen.toggle_full()
        elif action == "redraw" and self.last is not None:
            self.screen.show()
        elif action in ("back", "forward", "first", "last"):
            now, length = self.clock.time(), self.feed.length
            far = length if length is not None else 1e9
            self.seek({"back": now - STEP, "forward": now + STEP, "first": 0.0, "last": far}[action])

    def seek(self, to: float) -> None:
        if not self.feed.seek(to):
            self.say("this stream cannot seek")
            return
        self._run(False)  # until its first picture is there
        if self.speaker is not None:
            self.speaker.restart(self.feed.turn, self.clock.time())
        self._recent.clear()

    def report(self) -> dict[str, Any]:
        """drift_ms: picture against sound, mean and largest (99th percentile) of its amount."""
        t = self.feed.tally
        out: dict[str, Any] = {
            "shown": self.shown, "dropped": t.dropped + self.late, "lost": t.lost, "drawn": t.drawn,
            "incomplete": self.feed.decoder.notices["incomplete"],
            "draw_ms": round(1000 * t.draw_seconds, 2), "first_picture_s": self.first_picture,
            "damage": [d._asdict() for d in t.damage],
        }  # fmt: skip
        if self.drift:
            away = np.abs(self.drift)
            out["drift_ms"] = {"mean": round(1000 * float(np.mean(self.drift)), 1)}
            out["drift_ms"]["p99"] = round(1000 * float(np.percentile(away, 99)), 1)
        return out
