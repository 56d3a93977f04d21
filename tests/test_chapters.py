"""Chapters: a long clip is fitted and written piece by piece, and an actor comes in revisions where those pay."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_modules
from efforts import quick
from fev.codec.decoder import DecodeOptions, FrameDecoder
from fev.codec.encode import chapters, judging, outgoing
from fev.codec.encode.chapters import ChapterEnds
from fev.codec.encode.judging import Judging
from fev.codec.encode.options import EncodeOptions
from fev.codec.encoder import EncodeReport, encode
from fev.codec.fit import appearance, revision
from fev.codec.fit.cropstore import CropStore
from fev.codec.fit.effort import MotionPass
from fev.codec.fit.modefit import ModeSettings
from fev.codec.fit.revision import Looked, pays
from fev.codec.media.identities import read_identity
from fev.codec.media.videoencoder import Coding, encode_shot
from fev.codec.model.modelfile import load_model, pack
from fev.format import Reader
from fev.format.actor import unpack_actor
from fev.format.chunk import SIGNATURE, read_chunk
from fev.format.limits import Limits
from fev.format.source import Source
from fev.format.writer import Writer
from test_shots import ELSEWHERE, MIDDLE, A, B, talk, written

LENGTH = 20  # frames of a chapter, at 25 a second
SEGMENT = 8


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    """The tiny model, with an aligner that finds faces."""
    modules = tiny_modules()
    modules["aligner"] = load_model().aligner
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    path.write_bytes(pack(modules, torch.ones(12), {"name": "small", "basis": "directions", "tuning_scale": {}}))
    curves = asdict(load_model().rates)
    curves["model_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".rates.json").write_text(json.dumps(curves))
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def coarse(small):
    """The small model by default, and few planes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appearance, "ModeSettings", partial(ModeSettings, size=32, grid=8, planes=4))
        patch.setitem(USUAL, "model", small)
        yield


USUAL = {"audio": False, "segment": SEGMENT / 25}


def encoded(clip, chapter: float = LENGTH / 25, **options) -> tuple[EncodeReport, io.BytesIO]:
    """A clip with hardly any steps, in short chapters."""
    out = io.BytesIO()
    effort = replace(
        quick(), chapter=chapter, mode_keys=24, mode_motion=(MotionPass(32, 4, 0.5),), thorough_still=False,
    )  # fmt: skip
    report = encode(clip, out, EncodeOptions(**{**USUAL, **options}), effort=effort)
    return report, out


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A shot of one person, three chapters long; it is another picture in the later ones."""
    pictures = [*talk(1, A, MIDDLE, 24), *talk(1, A, (164, 98, 72), 36, 1)]
    return written(tmp_path_factory.mktemp("one") / "one.mp4", pictures), pictures


def drawn(data: io.BytesIO) -> list[np.ndarray]:
    data.seek(0)
    decoder = FrameDecoder(Reader(data), DecodeOptions(model=USUAL["model"]))
    return [picture for _, picture in decoder.frames(decoder.reader.segments())]


@dataclass
class Revised:
    """A clip whose every chapter has a revision, and what was seen meanwhile.

    Args:
        sent: actor, revision and motion of all tracks that were handed over.
        stores: of squares.
        most: squares on disk when each was taken.
    """

    report: EncodeReport
    out: io.BytesIO
    cache: Path
    sent: list[tuple[tuple[int, int], np.ndarray]] = field(default_factory=list)
    stores: list[CropStore] = field(default_factory=list)
    most: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
def revised(one, tmp_path_factory):
    cache, plain = tmp_path_factory.mktemp("cache"), outgoing.Outgoing.write
    sent, stores, most = [], [], []

    class Watched(CropStore):
        def __init__(self, size, beside=None):
            super().__init__(size, beside)
            if beside is None:
                stores.append(self)

        def append(self, crop):
            super().append(crop)
            most.append(sum(s._file.seek(0, 2) for s in stores if not s._file.closed) // self.bytes)

    def write(self, pts, tracks, *rest, **more):
        sent.extend(((t.actor, t.revision), t.motion) for t in tracks)
        plain(self, pts, tracks, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revision, "pays", lambda *given: True)
        patch.setattr(chapters, "CropStore", Watched)
        patch.setattr(outgoing.Outgoing, "write", write)
        patch.setenv("FEV_CACHE", str(cache))
        report, out = encoded(one[0], crop=True, remember=True)
    return Revised(report, out, cache, sent, stores, most)


def segments_of(data: io.BytesIO) -> list[tuple[int, list[tuple[int, int]], int | None]]:
    """Frames, actors with their revisions, and set of each segment."""
    data.seek(0)
    return [(s.frames, [(t.actor, t.revision) for t in s.actors], s.on_set) for s in Reader(data).segments()]


def chunks_of(data: io.BytesIO) -> list[tuple[str, bytes]]:
    source, out = Source(io.BytesIO(data.getvalue())), []
    source.peek(len(SIGNATURE))
    source.skip(len(SIGNATURE))
    while (chunk := read_chunk(source, 1 << 23)) is not None:
        out.append((chunk.type, chunk.payload))
    return out


def ends(length: int, frames: int, expected: int | None, cuts=()) -> list[int]:
    """Where the chapters of a clip end, in segments of 10 frames."""
    plan, out = ChapterEnds(length, expected), []
    for frame in range(1, frames):
        if plan.is_due(frame, frame in cuts) and (frame in cuts or frame % 10 == 0):
            plan.end(frame)
            out.append(frame)
    return out


def test_chapters_are_alike_and_end_at_a_cut_that_is_near():
    assert ends(100, 149, 149) == [], "a clip that is not much longer stays whole"
    assert ends(100, 300, 300) == [130, 230], "no cut: a quarter later, at the end of a segment"
    assert ends(100, 300, 300, cuts={50, 93, 188}) == [93, 188]
    assert ends(100, 300, None, cuts={93}) == [93, 220], "nobody knows how long it is"
    assert max(np.diff([0, *ends(100, 2000, 100), 2000])) <= 400, "it is longer than it said"
    assert ends(100, 400, 400)[-1] == 330


def test_a_plan_knows_how_many_chapters_are_left():
    plan = ChapterEnds(100, 300)
    assert plan.left == 3
    plan.end(100)
    assert plan.left == 2 and ChapterEnds(100, None).left == 1


def test_a_shot_goes_on_through_chapters(one):
    clip, pictures = one
    whole, alone = encoded(clip, chapter=60.0, crop=True)
    report, out = encoded(clip, crop=True)
    assert (whole.chapters, report.chapters) == (1, 3)
    assert (report.frames, report.actors, report.held) == (60, 1, 0)
    shape = [frames for frames, _, _ in segments_of(alone)]
    assert [frames for frames, _, _ in segments_of(out)] == shape == [8] * 7 + [4], "segments do not know of chapters"
    assert len(drawn(out)) == len(pictures)


def test_a_revision_brings_the_modes_alone_and_is_found_by_a_seek(revised):
    report, out = revised.report, revised.out
    assert report.revisions == 3
    cast = [actors for _, actors, _ in segments_of(out)]
    assert cast[0] == [(0, 0)] and cast[-1] == [(0, 2)]
    assert sorted({key for actors in cast for key in actors}) == [(0, 0), (0, 1), (0, 2)]
    flags = [payload[0] for name, payload in chunks_of(out) if name == "ACTR"]
    assert flags == [1 | 4 | 8, 4 | 32 | 64, 4 | 32 | 64], "IDEN, MODE, PIVT; then MODE, which goes on"
    shown = drawn(out)
    out.seek(0)
    decoder = FrameDecoder(Reader(out), DecodeOptions(model=USUAL["model"]))
    for segment in (7, 4, 0):
        decoder.reader.seek(segment)
        found = next(decoder.reader.segments())
        for place, (_, picture) in enumerate(decoder.segment(found)):
            assert np.array_equal(picture, shown[found.first_frame + place]), (segment, place)


def test_what_is_read_is_what_the_encoder_sent(revised):
    revised.out.seek(0)
    read = [((t.actor, t.revision), t.motion) for s in Reader(revised.out).segments() for t in s.actors]
    assert len(read) == len(revised.sent) == 8
    for (key, motion), (other, wanted) in zip(read, revised.sent, strict=True):
        assert key == other and np.array_equal(motion, wanted)


def test_modes_that_do_not_pay_cost_nothing(one, monkeypatch):
    clip, _ = one
    monkeypatch.setattr(revision, "pays", lambda *given: False)
    report, out = encoded(clip, crop=True)
    assert (report.chapters, report.revisions) == (3, 1)
    assert [name for name, _ in chunks_of(out)].count("ACTR") == 1


def test_a_revision_pays_where_it_gains_what_its_bytes_gain_elsewhere():
    before = Looked(error=0.004, bits=80.0)  # 1000 frames: 10,000 bytes
    assert pays(before, Looked(0.002, 80.0), 10_000, 1000, 1.3), "twice the bytes, 3 dB"
    assert not pays(before, Looked(0.0038, 80.0), 10_000, 1000, 1.3), "twice the bytes, 0.2 dB"
    assert pays(before, Looked(0.004, 40.0), 4_000, 1000, 1.3), "motion saves more than the modes take"
    assert not pays(before, before, 1, 1000, 1.3)


def test_squares_of_an_earlier_chapter_are_gone(revised):
    assert revised.report.chapters == len(revised.stores) == 3
    assert all(store._file.closed for store in revised.stores)
    assert len(revised.most) == 60 and max(revised.most) <= 1.5 * LENGTH + SEGMENT


def test_a_cut_near_the_end_of_a_chapter_ends_it_and_who_comes_back_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(Judging, "videos", lambda self: ({}, None))  # hardly fitted, video would be nearer
    pictures = talk(1, A, MIDDLE, 18) + talk(2, B, ELSEWHERE, 22) + talk(1, A, MIDDLE, 20, 3)
    report, out = encoded(written(tmp_path / "cuts.mp4", pictures))
    assert (report.chapters, report.actors, report.sets) == (3, 2, 2)
    segments = segments_of(out)
    assert [s[0] for s in segments] == [8, 8, 2, 8, 8, 6, 8, 8, 4]
    assert [s[1][0][0] for s in segments] == [0] * 3 + [1] * 3 + [0] * 3
    assert [s[2] for s in segments] == [0] * 3 + [1] * 3 + [0] * 3
    assert report.notices == {"cuts": 2}
    pictured = drawn(out)
    assert len(pictured) == 60


def test_a_shot_that_goes_on_keeps_its_background(one, monkeypatch):
    monkeypatch.setattr(Judging, "videos", lambda self: ({}, None))
    report, out = encoded(one[0])
    assert (report.chapters, report.sets, report.notices) == (3, 1, {})
    assert [on_set for _, _, on_set in segments_of(out)] == [0] * 8
    assert [name for name, _ in chunks_of(out)].count("SETT") == 1


def test_each_chapter_is_judged_by_its_own_frames(tmp_path, monkeypatch):
    told = []

    def judged(data, model, source, pieces, known, progress):
        pts = [next(source).pts for piece in pieces for _ in range(sum(piece.lengths))]
        segments = list(Reader(io.BytesIO(data)).segments())
        assert [int(at) for segment in segments for at in segment.pts] == pts
        told.append((len(pts), {t.actor for s in segments for t in s.actors}, sum(piece.bytes for piece in pieces)))
        return []

    monkeypatch.setattr(judging, "judged", judged)
    pictures = talk(1, A, MIDDLE, 18) + talk(2, B, ELSEWHERE, 22) + talk(1, A, MIDDLE, 20, 3)
    report, out = encoded(written(tmp_path / "cuts.mp4", pictures))
    assert report.actors == 2 and len(segments_of(out)) == 9
    assert [frames for frames, _, _ in told] == [18, 22, 20]
    assert [actors for _, actors, _ in told] == [{0}] * 3, "each in a file of its own"
    assert told[2][2] < 0.5 * told[0][2], "who and what was there before costs nothing more"


def test_a_revision_that_no_segment_shows_does_not_count(one, monkeypatch):
    """The first and the second of three chapters are video: the actor comes with the third, in revision 0."""
    grey = np.full((192, 320, 3), 90, np.uint8)

    def videos(self):
        if self.seen.last:
            return {}, self.config
        lengths = [part.stop - part.start for _, part, _ in self.seen.segments()]
        shot = encode_shot([grey] * sum(lengths), lengths, Fraction(25), Coding(160, 96))
        config = self.config or shot.config
        return dict(enumerate(shot.under(config))), config

    monkeypatch.setattr(Judging, "videos", videos)
    monkeypatch.setattr(revision, "pays", lambda *given: True)
    report, out = encoded(one[0])
    assert (report.chapters, report.actors, report.revisions) == (3, 1, 1)
    cast = [actors for _, actors, _ in segments_of(out)]
    assert cast[0] == [] and cast[-1] == [(0, 0)]
    assert [name for name, _ in chunks_of(out)].count("ACTR") == [name for name, _ in chunks_of(out)].count("VIDH") == 1
    assert len(drawn(out)) == 60


@pytest.mark.slow
def test_an_empty_beginning_belongs_to_the_first_chapter_with_somebody(tmp_path):
    title = np.zeros((192, 320, 3), np.uint8)
    title[80:110, 60:260] = 255
    clip = written(tmp_path / "late.mp4", [title] * 34 + talk(1, A, MIDDLE, 14))
    for crop in (False, True):
        report, out = encoded(clip, crop=crop)
        assert report.frames == 48 and report.notices["absent"] == 34 and report.actors == 1
        cast = [actors for _, actors, _ in segments_of(out)]
        assert cast[:5] == [[(0, 0)] if crop else []] * 5 and cast[5:] == [[(0, 0)]] * 2


@pytest.mark.slow
def test_a_bitrate_holds_over_all_chapters(one):
    report, out = encoded(one[0], crop=True, bitrate=2.5)
    wanted = 2.5 * 125 * 60 / 25
    assert report.chapters == 3 and len(out.getvalue()) == report.bytes
    assert 0.5 * wanted <= report.bytes <= wanted, "an actor without modes takes no more"


def test_an_identity_budget_bounds_all_revisions_together(one, monkeypatch):
    monkeypatch.setattr(revision, "pays", lambda *given: True)
    report, out = encoded(one[0], crop=True, identity_budget=2200)
    parts = []
    for name, payload in chunks_of(out):
        if name == "ACTR":
            revision_of = unpack_actor(payload, Limits())
            parts.append(sum(len(data) for data in revision_of.actor.parts.values()))
    assert len(parts) == report.revisions > 1
    assert 1500 < sum(parts) <= 2200
    report, _ = encoded(one[0], crop=True, identity_budget=parts[0] + 200)
    assert report.revisions == 1 and "compare" not in report.stages, "too little is left to try"


def test_what_is_remembered_is_what_other_files_find(one, revised, tmp_path):
    report = revised.report
    path = tmp_path / "long.fev"
    path.write_bytes(revised.out.getvalue())
    assert report.revisions == 3 and read_identity(path).found.sha256.hex() == report.identity_sha256
    assert [file.stem for file in revised.cache.glob("*.fev")] == [report.identity_sha256]
    reused, again = encoded(one[0], crop=True, identity=path)
    assert (reused.chapters, reused.revisions) == (3, 1)
    assert [name for name, _ in chunks_of(again)].count("ACTR") == 1


def test_the_worst_frame_is_bounded_in_each_chapter(one):
    clip, _ = one
    report, _ = encoded(clip, crop=True, worst=0.3)
    assert len(report.worst) == report.chapters == 3


def test_notices_of_the_whole_clip_are_kept(tmp_path):
    pictures = [*talk(1, A, MIDDLE, 50), *[p // 12 for p in talk(1, A, MIDDLE, 10)]]
    report, out = encoded(written(tmp_path / "dark.mp4", pictures), crop=True, keep_notices=True)
    assert report.chapters == 3 and report.notices and report.bytes == len(out.getvalue())
    out.seek(0)
    reader = Reader(out)
    list(reader.segments())
    assert {f"x-{key}": count for key, count in report.notices.items()} == reader.meta


def test_a_fork_writes_what_the_writer_would(revised):
    revised.out.seek(0)
    reader, out, other = Reader(revised.out), io.BytesIO(), io.BytesIO()
    segments = []
    for segment in reader.segments():
        segments.append(segment)
        actor = reader.cast.newest(0)
        if len(segments) == 2:
            break
    writer = Writer(out, reader.header, actors=[actor])
    writer.write_segment(segments[0])
    fork, begun = writer.fork(other), len(out.getvalue())
    for each in (fork, writer):
        each.write_segment(segments[1])
        each.close()
    assert out.getvalue()[begun:] == other.getvalue() and fork.bytes_written == writer.bytes_written
