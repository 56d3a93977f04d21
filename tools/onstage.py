"""Who and what is on stage in a stream, for `fev-info`: actors with their revisions, sets, cameras, patches and video,
and what each costs.
"""

from __future__ import annotations

from typing import Any

from ..format.actor import Actor, ActorKey
from ..format.cast import Cast
from ..format.stage import UNIT, Set
from ..format.taken import Parts


class OnStage:
    """Counts segment by segment, in the order of the stream."""

    def __init__(self) -> None:
        self._revisions: dict[ActorKey, dict[str, Any]] = {}
        self._sets: dict[int, dict[str, Any]] = {}
        self._patches: dict[int, int] = {}  # frames with one, by actor
        self._video: dict[str, Any] | None = None
        self._count = self._patch_bytes = self._camera_frames = self._camera_bytes = 0

    def add(self, parts: Parts, cast: Cast) -> None:
        """A segment, and what was alive when it came."""
        frames = len(parts.pts)
        for track in parts.actors:
            key = track.actor, track.revision
            if key not in self._revisions:
                self._revisions[key] = _revision(key, cast)
            self._revisions[key]["frames"] += frames
        for patch in parts.patches:
            number = parts.actors[patch.track].actor
            self._patches[number] = self._patches.get(number, 0) + patch.frames
        self._count += len(parts.patches)
        self._patch_bytes += parts.sizes["patches"]
        given = None if parts.on_set is None else cast.sets.get(parts.on_set)
        if given is not None:
            self._sets.setdefault(given.number, _set(given))["frames"] += frames
        if parts.moves:
            self._camera_frames += frames
            self._camera_bytes += len(parts.camera)
        if parts.video is not None:
            self._video = self._video or _video(cast)
            self._video["frames"] += frames
            self._video["pictures"] += len(parts.video.packets)
            self._video["bytes"] += parts.sizes["video"]

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        numbers = sorted({number for number, _ in self._revisions})
        return {
            "actors": [
                {
                    "actor": number,
                    "revisions": [self._revisions[key] for key in sorted(self._revisions) if key[0] == number],
                    "patched_frames": self._patches.get(number, 0),
                }
                for number in numbers
            ],
            "sets": [self._sets[number] for number in sorted(self._sets)],
            "camera": {"frames": self._camera_frames, "bytes": self._camera_bytes},
            "patches": {"count": self._count, "bytes": self._patch_bytes},
            "video": self._video,
        }


def _revision(key: ActorKey, cast: Cast) -> dict[str, Any]:
    actor, before = cast.actor(key), cast.actor((key[0], key[1] - 1))
    return {"revision": key[1], "bytes": 0 if actor is None else _brought(actor, before), "frames": 0}


def _brought(actor: Actor, before: Actor | None) -> int:
    """Bytes of the parts in which an actor differs from the revision before, or of what it refers with."""
    known = {} if before is None else before.parts
    own = sum(len(data) for name, data in actor.parts.items() if known.get(name) != data)
    return own + len(actor.reference or b"")


def _set(given: Set) -> dict[str, Any]:
    place = given.place
    return {
        "set": given.number,
        "width": given.still.width,
        "height": given.still.height,
        "place": None if place is None else {"scale": place.scale / UNIT, "x": place.x / 8, "y": place.y / 8},
        "bytes": len(given.still.data),
        "frames": 0,
    }


def _video(cast: Cast) -> dict[str, Any]:
    config = cast.video
    size = {} if config is None else {"width": config.width, "height": config.height}
    return {"codec": "av1", **size, "frames": 0, "pictures": 0, "bytes": 0}


def lines(facts: dict[str, Any]) -> list[str]:
    """The same for people; nothing where one actor in one revision stands before one still set."""
    actors, sets = facts["actors"], facts["sets"]
    one = [len(actor["revisions"]) for actor in actors] == [1] and len(sets) < 2 and not any(s["place"] for s in sets)
    if one and not facts["camera"]["frames"] and not facts["patches"]["count"] and not facts["video"]:
        return []
    out = []
    for actor in actors:
        for revision in actor["revisions"]:
            name = f"actor {actor['actor']}, revision {revision['revision']}"
            out.append(f"{name}: {revision['bytes']} bytes, {revision['frames']} frames")
        if actor["patched_frames"]:
            out[-1] += f"; {actor['patched_frames']} frames of the actor patched"
    for s in sets:
        place = f" at {s['place']['x']:g},{s['place']['y']:g}, scale {s['place']['scale']:g}" if s["place"] else ""
        out.append(f"set {s['set']}: {s['width']}x{s['height']}{place}, {s['bytes']} bytes, {s['frames']} frames")
    if facts["camera"]["frames"]:
        out.append(f"camera: moves in segments of {facts['camera']['frames']} frames, {facts['camera']['bytes']} bytes")
    if facts["patches"]["count"]:
        out.append(f"patches: {facts['patches']['count']}, {facts['patches']['bytes']} bytes")
    video = facts["video"]
    if video:
        size = f"{video['width']}x{video['height']}, {video['pictures']} pictures in {video['frames']} frames"
        out.append(f"video {video['codec']}: {size}, {video['bytes']} bytes")
    return out
