"""A second clip of the same person: its file refers to the first one's identity, and where that is looked for."""

from __future__ import annotations

import io
import json
import os
import stat
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import fev
import numpy as np
import pytest
import torch
from efforts import encode_quickly
from fev.codec import decoder, encoder, puppet
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.draw.render import Renderer
from fev.codec.draw.units import motion_step_code, step_code
from fev.codec.encode import encoding
from fev.codec.encode.options import EncodeOptions
from fev.codec.fit.reuse import ReadStart
from fev.codec.media import identities
from fev.codec.media.identities import Search, read_identity, remember
from fev.codec.model.modelfile import load_bytes
from fev.format import Reader, excerpt
from fev.format.actor import Actor
from fev.format.container import Writer
from fev.format.errors import FevError, MissingIdentityError, UsageError
from fev.format.header import Header
from fev.format.modes import Modes
from fev.format.segment import Segment
from fev.tools.info import describe
from test_cli import SAMPLE, bad, command

STEP = step_code(0.25)
CLIP = dict(crop=True, audio=False)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """An empty cache for every test."""
    folder = tmp_path_factory.mktemp("home") / "cache"
    monkeypatch.setenv(identities.VARIABLE, str(folder))
    return folder


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """Models are read from disk once; nothing changes them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (encoder, encoding, decoder, puppet):
            for name in {"load_model", "load_for"} & set(vars(module)):
                patch.setattr(module, name, lru_cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("first") / "first.fev"
    fev.encode(SAMPLE, path, preset="fast", duration=0.6, **CLIP)
    return path


@pytest.fixture(scope="module")
def second(first) -> Path:
    """The same frames again, so that nothing but the identity's place differs."""
    path = first.with_name("second.fev")
    report = fev.encode(SAMPLE, path, preset="fast", duration=0.6, identity=first, **CLIP)
    with fev.open(first) as reader:
        assert report.identity_sha256 == reader.identity_sha256.hex()
    return path


@pytest.fixture
def lost(second, tmp_path) -> Path:
    """The second file without the first beside it."""
    folder = tmp_path / "lost"
    folder.mkdir()
    path = folder / "second.fev"
    path.write_bytes(second.read_bytes())
    return path


def pictures(path: Path, **options) -> list[np.ndarray]:
    with fev.open(path) as reader:
        return [rgb for _, rgb in FrameDecoder(reader, DecodeOptions(**options)).frames(reader.segments())]


def motion_of(path: Path) -> np.ndarray:
    with fev.open(path) as reader:
        return np.concatenate([s.motion for s in reader.segments()])


def test_nothing_of_the_identity_is_sent_and_the_pictures_are_the_same(first, second):
    with fev.open(second) as reader:
        list(reader.segments())
        sections = reader.sections()
    assert sum(sections.values()) == second.stat().st_size < first.stat().st_size - 1000
    assert (sections["identity"], sections["delta"], sections["modes"]) == (32, 0, 0)
    np.testing.assert_array_equal(motion_of(first), motion_of(second))
    assert all((a == b).all() for a, b in zip(pictures(first), pictures(second), strict=True))
    assert fev.verify(second).ok


def test_a_missing_identity_is_one_line_and_all_else_is_read(lost, first):
    out = lost.with_name("out.mp4")
    bad(command("decode", lost, out), "lies in another file", str(lost.parent), "cache", "--identity FILE")
    assert not out.exists()
    with pytest.raises(MissingIdentityError, match="not in the cache"):
        fev.decode(io.BytesIO(lost.read_bytes()), io.BytesIO())  # a pipe has no folder
    assert len(motion_of(lost)) == 15 and fev.verify(lost).ok
    result = command("info", lost)
    assert result.returncode == 0 and b"in another file" in result.stdout
    facts, own = (json.loads(command("info", p, "--json").stdout) for p in (lost, first))
    assert facts["identity"] == own["identity"] | {"here": False, "values": 0} and own["identity"]["here"]
    assert sum(facts["sections"].values()) == facts["bytes"] == lost.stat().st_size
    assert command("info", lost, "--verify").returncode == 0


def test_a_file_may_be_named(lost, first):
    wanted = fev.decode(lost, io.BytesIO(), identity=str(first), container="y4m")
    assert wanted.frames == 15
    piped = command("decode", "-", "-", "--identity", first, data=lost.read_bytes())
    assert piped.returncode == 0 and piped.stdout.startswith(b"YUV4MPEG2")
    (lost.parent / "junk").write_bytes(b"junk")
    (lost.parent / "other").write_bytes(other("00" * 32))
    for name, words in (
        ("second.fev", "refers to an identity too"),
        ("no.fev", "cannot be opened"),
        ("junk", "junk: not a .fev stream"),
        ("other", "other: holds the identity"),
    ):
        with pytest.raises(FevError, match=words):
            fev.decode(lost, io.BytesIO(), identity=str(lost.parent / name))
    with pytest.raises(UsageError, match="fev-puppet"):
        fev.decode(first, io.BytesIO(), identity=str(first))


def other(model: str, value: int = 3) -> bytes:
    """A file of somebody else."""
    return stream(model, np.zeros((4, 35), np.int32), value=value)


def test_candidates_that_are_damaged_or_of_others_are_passed_over(lost, first, tiny_sha):
    data = bytearray(first.read_bytes())
    data[data.index(b"ACTR") + 20] ^= 1
    folder = lost.parent
    (folder / "a_damaged.fev").write_bytes(data)
    (folder / "b_junk.fev").write_bytes(b"junk")
    (folder / "c_cut.fev").write_bytes(first.read_bytes()[:200])
    (folder / "d_other.fev").write_bytes(other(tiny_sha))
    (folder / "e_folder.fev").mkdir()
    (folder / "f_empty.fev").write_bytes(b"")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "g_pipe.fev")  # opening it would wait for ever
    try:
        (folder / "h_link.fev").symlink_to(first)
    except OSError:
        pass
    with pytest.raises(MissingIdentityError):
        pictures(lost)
    (folder / "i_whole.fev").write_bytes(first.read_bytes())
    assert len(pictures(lost)) == 15


def test_a_search_is_bounded(lost, first, monkeypatch):
    for name in ("a.fev", "b.fev"):
        (lost.parent / name).write_bytes(b"\x89FEV\r\n\x1a\n")
    (lost.parent / "c.fev").write_bytes(first.read_bytes())
    assert pictures(lost)
    monkeypatch.setattr(identities, "MOST_FILES", 2)
    with pytest.raises(MissingIdentityError):
        pictures(lost)
    monkeypatch.setattr(identities, "MOST_FILES", 3)
    monkeypatch.setattr(identities, "MOST_HEAD", 300)
    with pytest.raises(MissingIdentityError):
        pictures(lost)
    monkeypatch.setattr(identities, "MOST_HEAD", 1 << 20)
    monkeypatch.setattr(identities, "MOST_READ", 300)
    with pytest.raises(MissingIdentityError):
        pictures(lost)


def test_nothing_is_remembered_unless_asked_for(lost, first, second, cache):
    fev.decode(second, io.BytesIO(), container="y4m")
    assert not cache.exists()
    fev.decode(second, io.BytesIO(), container="y4m", remember=True)  # the identity is the first file's
    (path,) = cache.iterdir()
    with fev.open(first) as reader:
        assert path.name == f"{reader.identity_sha256.hex()}.fev"
    assert fev.verify(path).ok and len(pictures(lost)) == 15
    fev.decode(io.BytesIO(lost.read_bytes()), io.BytesIO(), container="y4m")
    kept = Reader(io.BytesIO(path.read_bytes()))
    assert not kept.cast.sets and kept.audio is None and not list(kept.segments())
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(cache.stat().st_mode) == 0o700
    path.write_bytes(path.read_bytes()[:-300])  # damaged: as if it were not there
    with pytest.raises(MissingIdentityError):
        pictures(lost)


def test_an_encoder_remembers_what_it_wrote_or_referred_to(first, lost, cache, tmp_path):
    fev.encode(SAMPLE, tmp_path / "x.fev", preset="fast", duration=0.2, remember=True, identity=first, **CLIP)
    assert len(pictures(lost)) == 15 and len(pictures(tmp_path / "x.fev")) == 5
    out = io.BytesIO()
    report = fev.encode(SAMPLE, out, preset="fast", start=1, duration=0.2, remember=True, **CLIP)
    assert sorted(p.stem for p in cache.iterdir()) == sorted(
        {report.identity_sha256, excerpt(first.open("rb")).sha256.hex()}
    )
    assert report.identity_sha256 == Reader(io.BytesIO(out.getvalue())).identity_sha256.hex()


def test_the_cache_keeps_what_was_used_last(tiny_sha, cache, monkeypatch):
    found = [excerpt(io.BytesIO(other(tiny_sha, value))) for value in (1, 2, 3)]
    for age, one in zip((30, 20, 10), found):
        path = remember(one)
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    Search()(found[0].sha256)  # used again
    monkeypatch.setattr(identities, "KEPT_FILES", 3)
    latest = excerpt(io.BytesIO(other(tiny_sha, 4)))
    remember(latest)
    assert {p.stem for p in cache.iterdir()} == {f.sha256.hex() for f in (found[0], found[2], latest)}
    monkeypatch.setattr(identities, "KEPT_BYTES", 10)
    remember(found[1])
    assert [p.stem for p in cache.iterdir()] == [found[1].sha256.hex()], "the newest stays in any case"


def test_quality_is_that_of_the_identity(first, tmp_path):
    with fev.open(first) as reader:
        assert reader.who().motion_step_code == motion_step_code(60)
    out = tmp_path / "out.fev"
    words = [SAMPLE, out, "--preset", "fast", "--crop", "--no-audio", "--duration", "0.1", "--identity", first]
    bad(command("encode", *words, "--quality", "60"), "the quality is that file's", code=2)
    assert command("encode", *words).returncode == 0
    fine, again = tmp_path / "fine.fev", tmp_path / "again.fev"
    fev.encode(SAMPLE, fine, preset="fast", duration=0.1, quality=90, **CLIP)
    fev.encode(SAMPLE, again, preset="fast", duration=0.1, identity=fine, **CLIP)
    with fev.open(again) as reader:
        assert reader.who().motion_step_code == motion_step_code(90) and not reader.header.synthetic


@pytest.mark.parametrize("wrong", [{"identity_budget": 5000}, {"pivot": False}])
def test_what_makes_no_sense_with_an_identity_is_refused(first, wrong):
    with pytest.raises(UsageError):
        EncodeOptions(identity=first, **wrong)


def test_an_identity_that_cannot_be_used_is_one_line(lost, tiny_sha, tmp_path):
    (tmp_path / "other.fev").write_bytes(other(tiny_sha))
    for path, words in (
        (lost, "second.fev: the identity .* lies in another file"),
        (SAMPLE, "sample.mp4: not a .fev stream"),
        (tmp_path / "no.fev", "no.fev: cannot be opened"),
        (tmp_path / "other.fev", "not installed"),
    ):
        with pytest.raises(FevError, match=words):
            fev.encode(SAMPLE, tmp_path / "out.fev", preset="fast", identity=path)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["other.fev"]


def test_an_identity_is_not_overwritten_by_what_refers_to_it(first, tmp_path):
    only = tmp_path / "only.fev"
    only.write_bytes(first.read_bytes())
    bad(command("encode", SAMPLE, only, "--force", "--preset", "fast", "--identity", only), "is the input too")
    with pytest.raises(FevError, match="is the input too"):
        fev.encode(SAMPLE, only, preset="fast", identity=only)
    assert only.read_bytes() == first.read_bytes()


def test_a_file_that_refers_can_be_referred_through(second, tmp_path, first):
    out = tmp_path / "third.fev"
    fev.encode(SAMPLE, out, preset="fast", start=0.4, duration=0.2, identity=second, **CLIP)
    with fev.open(out) as reader, fev.open(first) as own:
        assert reader.identity_sha256 == own.identity_sha256


def test_puppets_of_files_that_refer(first, second, lost, tmp_path):
    made = []
    for n, (who, how) in enumerate([(first, first), (second, second)]):
        fev.puppet(who, how, tmp_path / f"{n}.fev")
        with fev.open(tmp_path / f"{n}.fev") as reader:
            made.append((reader.identity_sha256, reader.identity_elsewhere))
        with (tmp_path / f"{n}.fev").open("rb") as file:
            assert describe(file)["version"] == 1
    assert made[0] == made[1] and not made[1][1], "a puppet holds its identity itself"
    np.testing.assert_array_equal(motion_of(tmp_path / "0.fev"), motion_of(tmp_path / "1.fev"))
    with pytest.raises(MissingIdentityError):
        fev.puppet(lost, first, tmp_path / "no.fev")


# -- modes of its own


def stream(model: str, motion: np.ndarray, value: int = 3, reference: bytes | None = None) -> bytes:
    """Modes with two textures and nothing that drives the generator."""
    modes = Modes.empty(np.zeros((35, 1), np.int32), STEP)
    modes = replace(modes, luma=np.zeros((3, 8, 8), np.int32), chroma=np.zeros((3, 2, 4, 4), np.int32),
                    flow=np.zeros((3, 2, 8, 8), np.int32), texture_step_codes=np.zeros(3, np.int64) + 20,
                    flow_step_codes=np.zeros(3, np.int64))  # fmt: skip
    modes.luma[1, 0, 0], modes.luma[2, 0, 1] = 30, 30
    header = Header(64, 64, (1, 30), (30, 1), bytes.fromhex(model), 35, crop=True, segment_frames=4)
    actor = Actor.of(np.array([value, -2, 1], np.int32), STEP, STEP, modes=modes)
    if reference is not None:
        actor = Actor.refer(reference)
    out = io.BytesIO()
    writer = Writer(out, header, actors=[actor])
    for i in range(0, len(motion), 4):
        part = motion[i : i + 4]
        writer.write_segment(Segment.single(i // 4, i, np.arange(i, i + len(part)), part))
    writer.close()
    return out.getvalue()


def test_the_same_motion_is_the_same_pictures_wherever_the_modes_lie(tiny_sha, tiny_model_file, tmp_path):
    motion = np.random.default_rng(1).integers(-9, 10, (8, 35)).astype(np.int32)
    own = stream(tiny_sha, motion)
    (tmp_path / "own.fev").write_bytes(own)
    reference = excerpt(io.BytesIO(own)).sha256
    (tmp_path / "refers.fev").write_bytes(stream(tiny_sha, motion, reference=reference))
    got = [pictures(tmp_path / name, model=str(tiny_model_file)) for name in ("own.fev", "refers.fev")]
    assert all((a == b).all() for a, b in zip(*got, strict=True)) and len(np.unique(got[0], axis=0)) == 8


def test_parameters_begin_as_the_first_file_s_own_frames_say(tiny_sha, tiny_model_bytes, tmp_path):
    """What is read off pictures of known parameters, which were not among the samples, is near those parameters."""
    model = load_bytes(tiny_model_bytes)
    t = np.arange(96)
    motion = np.zeros((96, 35), np.int32)
    motion[:, 0], motion[:, 1] = np.round(40 * np.sin(t / 3)), np.round(30 * np.cos(t / 5))
    path = tmp_path / "own.fev"
    path.write_bytes(stream(tiny_sha, motion[:64]))
    who = read_identity(path)
    assert np.array_equal(who.motion, motion[:64])
    renderer = Renderer(model, who.identity.values, [], who.identity.modes, identity_step_code=STEP,
                        motion_step_code=STEP, dtype=torch.float32)  # fmt: skip
    start = ReadStart(model, who, renderer)
    truth = renderer.draw(motion[64:]).clamp(-1, 1)
    got = start.guess(truth, truth, torch.zeros(32, 0))
    wanted = torch.from_numpy(motion[64:, :2]).float() * renderer.motion_step
    assert got.shape == (32, 2)
    assert all(torch.corrcoef(torch.stack([got[:, k], wanted[:, k]]))[0, 1] > 0.95 for k in range(2))
    assert float((got - wanted).square().mean()) < 0.15 * float(wanted.square().mean())
    alone = remember(who.found)  # without a frame there is nothing to read: all begin at rest
    blank = ReadStart(model, read_identity(alone), renderer)
    assert not blank.guess(truth, truth, torch.zeros(32, 0)).any()


def test_a_long_file_gives_samples_over_its_length(tiny_sha, tmp_path):
    motion = np.zeros((1300, 35), np.int32)
    motion[:, 0] = np.arange(1300)
    path = tmp_path / "long.fev"
    path.write_bytes(stream(tiny_sha, motion))
    rows = read_identity(path).motion[:, 0]
    assert len(rows) <= identities.SAMPLES and len(np.unique(np.diff(rows))) == 1 and rows[-1] > 1280


def test_driven_parameters_are_solved_through_the_mix(tiny_sha, tiny_model_bytes, tmp_path):
    """Modes without a pivot: the first parameters drive the generator, and are what the inverter's guess comes to."""
    model = load_bytes(tiny_model_bytes)
    path = tmp_path / "own.fev"
    path.write_bytes(stream(tiny_sha, np.zeros((4, 35), np.int32)))
    who = read_identity(path)
    mix = np.zeros((35, 3), np.int32)
    mix[4, 0], mix[0, 1], mix[1, 2] = 9, 4, 2
    modes = replace(who.identity.modes, mix=mix)
    who = replace(who, identity=replace(who.identity, modes=modes))
    renderer = Renderer(model, who.identity.values, [], modes, identity_step_code=STEP, motion_step_code=STEP)
    start = ReadStart(model, who, renderer)
    file = torch.zeros(2, 35)
    file[:, :2] = torch.tensor([[3.0, -2.0], [0.5, 7.0]])
    solved = start.drive(start.modes.drive(file))
    assert torch.allclose(solved, file[:, :2], atol=1e-4) and solved.shape == (2, 2)


@pytest.mark.slow
def test_a_second_clip_moves_under_the_first_one_s_modes(tmp_path):
    """All presets: frames of the second clip, drawn with the first one's modes, are nearer to them than its rest is."""
    first = tmp_path / "first.fev"
    encode_quickly(SAMPLE, first, preset="medium", duration=0.8, identity_budget=4000, **CLIP)
    with fev.open(first) as reader:
        assert reader.who().modes is not None and reader.who().pivot is not None
    from fev.codec.media.video import open_video

    with open_video(SAMPLE, 0.8, 0.4) as video:
        source = [frame.rgb.astype(float) for frame in video]
    for preset in ("fast", "medium"):
        out = tmp_path / f"{preset}.fev"
        encode_quickly(SAMPLE, out, preset=preset, start=0.8, duration=0.4, identity=first, audio=False)
        with fev.open(out) as reader:
            assert reader.identity_elsewhere
            drawing = FrameDecoder(reader, DecodeOptions())
            segments = list(reader.segments())
            rest = read_identity(first).motion.mean(0).round().astype(np.int32)
            still = [s.with_alone(motion=np.tile(rest, (s.frames, 1))) for s in segments]
            errors = []
            for shown in (segments, still):
                drawn = [rgb for s in shown for _, rgb in drawing.segment(s)]
                errors.append(np.mean([(a - b) ** 2 for a, b in zip(drawn, source, strict=True)]))
        assert errors[0] < 0.8 * errors[1], preset


def test_what_fev_info_says(first, second):
    with first.open("rb") as a, second.open("rb") as b:
        facts = describe(a), describe(b)
    assert [f["identity"]["here"] for f in facts] == [True, False]
    assert facts[0]["identity"]["sha256"] == facts[1]["identity"]["sha256"]
    assert facts[0]["version"] == facts[1]["version"] == 1


def test_an_error_is_of_the_family():
    assert issubclass(MissingIdentityError, FevError)
