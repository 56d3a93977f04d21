"""`fev-info`: what a .fev file holds and what each part costs; `--verify` decodes every symbol of it, `--frames` lists
the frames.

Imports `format/` and the list of models only: no picture is drawn, so no torch is needed and the answer comes at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from ..codec.model.library import holding
from ..format.header import VERSION
from ..format.meta import unpack_key_frames
from ..format.reader import Reader
from ..format.verify import VerifyReport, verify
from . import onstage
from .common import parser, print_json, run, say, stream_file
from .onstage import OnStage


def printable(text: str) -> str:
    """Text from a file, safe for a terminal: control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def describe(stream: BinaryIO) -> dict[str, Any]:
    """All facts about a stream, without decoding its motion and modes. Raises FevError."""
    reader = Reader(stream, shallow=True)
    header = reader.header
    segments = frames = held = packets = 0
    first_pts, last_pts = None, 0
    stage = OnStage()
    for parts in reader.parts():
        segments += not parts.part
        frames += len(parts.pts)
        held += int(parts.held.sum())
        stage.add(parts, reader.cast)
        packets += len(parts.audio)
        first_pts = int(parts.pts[0]) if first_pts is None else first_pts
        last_pts = int(parts.pts[-1])
    # A frame lasts until the next one; the last lasts as long as the nominal rate says.
    duration = 0.0 if first_pts is None else header.seconds(last_pts - first_pts) + header.fps[1] / header.fps[0]
    sections = reader.sections()
    model = header.model_sha256.hex()
    audio = reader.audio
    actor = reader.cast.newest(0)
    who = None if actor is None or actor.reference is not None else reader.who()
    return {
        "version": VERSION,
        "model": {"name": holding(model), "sha256": model},
        "width": header.width,
        "height": header.height,
        "fps": list(header.fps),
        "time_base": list(header.time_base),
        "frames": frames,
        "segments": segments,
        "held": held,
        "duration_s": round(duration, 6),
        "params": header.params,
        "motion_step_code": None if who is None else who.motion_step_code,
        "identity_step_code": None if who is None else who.identity_step_code,
        "crop": header.crop,
        "placement": header.placement,
        "synthetic": header.synthetic,
        "colour": {
            "matrix": header.matrix,
            "primaries": header.primaries,
            "transfer": header.transfer,
            "full_range": header.full_range,
        },
        "identity": {
            "sha256": None if reader.identity_sha256 is None else reader.identity_sha256.hex(),
            "here": not reader.identity_elsewhere,
            "values": 0 if who is None else len(who.values),
        },
        "delta": {
            "tensors": 0 if who is None else len(who.delta),
            "values": 0 if who is None else sum(len(tensor.values) for tensor in who.delta),
        },
        "modes": 0 if who is None else who.mode_planes,
        **stage.facts(),
        "audio": None
        if audio is None
        else {
            "codec": "opus",
            "channels": audio.channels,
            "sample_rate": audio.sample_rate,
            "bitrate": audio.bitrate,
            "packets": packets,
        },
        "meta": reader.meta or {},
        "bytes": sum(sections.values()),
        "sections": sections,
    }


def render(facts: dict[str, Any]) -> str:
    """The same for people."""
    frames, seconds = facts["frames"], facts["duration_s"]
    model = facts["model"]
    num, den = facts["fps"]
    place = "crop" if facts["crop"] else "pasted back" if facts["placement"] else "whole picture"
    lines = [
        f".fev version {facts['version']}, {facts['width']}x{facts['height']} ({place}), {num / den:.6g} fps, "
        f"{frames} frames, {seconds:.3f} s, {facts['segments']} segments",
        f"model {model['name'] or 'not installed'} {model['sha256']}",
    ]
    who = facts["identity"]
    lines.append(f"identity {who['sha256']} {'in this file' if who['here'] else 'in another file'}")
    lines += onstage.lines(facts)
    if facts["synthetic"]:
        lines.append("synthetic: the motion is not the recorded person's own")
    audio = facts["audio"]
    if audio:
        lines.append(f"audio {audio['codec']}, {audio['channels']} channels, {audio['packets']} packets")
    for key, value in facts["meta"].items():
        lines.append(f"{printable(key)}: {printable(str(value))}")
    lines.append(f"{'section':<12}{'bytes':>12}{'bits/frame':>12}{'kbit/s':>10}{'share':>8}")
    total = facts["bytes"]
    for name, size in [*facts["sections"].items(), ("total", total)]:
        bits = 8 * size
        per_frame = f"{bits / frames:.2f}" if frames else "-"
        rate = f"{bits / seconds / 1000:.3f}" if seconds else "-"
        lines.append(f"{name:<12}{size:>12}{per_frame:>12}{rate:>10}{size / total:>8.1%}")
    return "\n".join(lines)


def frame_rows(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """One row a frame: its number, pts, second, segment, and whether it is held or a key frame.  Raises FevError.

    key: others are registered to it (stage 1 of the paper's pipeline); nothing has to be decoded before anything else.
    """
    reader = Reader(stream, shallow=True)
    keys = set(unpack_key_frames(reader.meta or {}))
    for parts in reader.parts():
        for i, (pts, held) in enumerate(zip(parts.pts.tolist(), parts.held.tolist(), strict=True)):
            frame = parts.first_frame + i
            yield {
                "frame": frame, "pts": pts, "seconds": round(reader.header.seconds(pts), 6), "segment": parts.index,
                "held": held, "key": frame in keys,
            }  # fmt: skip


def _list_frames(stream: BinaryIO, as_json: bool) -> int:
    rows = frame_rows(stream)
    if as_json:
        print_json({"frames": list(rows)})
        return 0
    for row in rows:
        marks = " key" * row["key"] + " held" * row["held"]
        print(f"{row['frame']:>8} {row['seconds']:>12.6f} s  segment {row['segment']}{marks}")
    return 0


def _report(report: VerifyReport, as_json: bool) -> int:
    if as_json:
        damage = [entry._asdict() for entry in report.damage]
        print_json({"ok": report.ok, "segments": report.segments, "frames": report.frames, "damage": damage})
    elif report.ok:
        print(f"ok: {report.segments} segments, {report.frames} frames")
    else:
        for entry in report.damage:
            say(f"damaged: {entry}")
        say(f"{report.segments} segments, {report.frames} frames are intact")
    return 0 if report.ok else 1


def work(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status; raises FevError if the file is bad."""
    options = parser("fev-info", "Show what a .fev file holds and what each part of it costs.")
    options.add_argument("file", help="a .fev file, or - for standard input")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    what = options.add_mutually_exclusive_group()
    what.add_argument("--verify", action="store_true", help="decode every symbol; exit 1 and say where on damage")
    what.add_argument("--frames", action="store_true", help="list the frames: time, segment, held, key frame")
    chosen = options.parse_args(arguments)
    with stream_file(chosen.file) as stream:
        if chosen.frames:
            return _list_frames(stream, chosen.json)
        if chosen.verify:
            return _report(verify(stream), chosen.json)
        facts = describe(stream)
    if chosen.json:
        print_json(facts)
    else:
        print(render(facts))
    return 0


def main() -> None:
    """Entry point. Exit 0 good, 1 the file is bad, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
