"""`tools/fev_draw.py`, written from `spec/codec-1.md`, and the decoder draw the same pictures.

How far they may be apart is what section 13 of the text says.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from fev.codec.draw import render
from fev.codec.draw.delta import DENSE, FACTOR_U, FACTOR_V, tunables
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.draw.units import step_code
from fev.codec.media import colour
from fev.codec.media.still import encode_still
from fev.codec.model import planes
from fev.codec.model.library import find
from fev.codec.model.modelfile import load_bytes
from fev.format.actor import Actor
from fev.format.container import Reader, Writer
from fev.format.delta import DeltaTensor
from fev.format.errors import FevError
from fev.format.header import Header
from fev.format.modes import Modes
from fev.format.segment import Segment, Track
from fev.format.stage import Patch, Place, Set
from fev.format.still import Pivot, Still
from fev.tools import fev_draw, fev_model, fev_read, fev_square
from safetensors.torch import load, save

ROOT = Path(fev_draw.__file__).resolve().parent.parent
TEXT = (ROOT / "spec" / "codec-1.md").read_text()
STATED = {
    name.strip(): (float(mean), float(largest))
    for name, mean, largest in re.findall(r"^\| ([a-z ,0-9]+) \| ([\d.]+) \| (\d+) \|$", TEXT, re.MULTILINE)
}
IDENTITY = np.array([9, -7, 5, 0, -4, 3], np.int32)
FILE = find("base-256")[0]


@pytest.fixture(scope="module")
def base_bytes() -> bytes:
    return FILE.read_bytes()


@pytest.fixture(scope="module")
def base(base_bytes):
    return load_bytes(base_bytes)


@pytest.fixture
def exact(monkeypatch):
    """The decoder computes in float32, as the stated distance of its rows asks."""
    monkeypatch.setattr(render, "pick_dtype", lambda device: torch.float32)


def motion_of(frames: int, params: int, seed: int = 1) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(0, 4, (frames, params))).astype(np.int32)


def still_of(rgb: np.ndarray) -> Still:
    return Still(1, rgb.shape[1], rgb.shape[0], 1, False, encode_still(rgb, 70))


def waves(height: int, width: int) -> np.ndarray:
    """A picture with edges and colours."""
    y, x = np.mgrid[0:height, 0:width] / 64
    ring = 1 / (1 + np.exp(9 * (np.hypot(x - 2, y - 2) - 1.2)))
    picture = np.stack([ring * np.cos(5 * x), np.sin(2 * y + x), np.cos(3 * y * x) * (0.4 + ring)], 2)
    return np.clip(128 + 70 * picture, 0, 255).astype(np.uint8)


def some_modes(columns: int, count: int, side: int, grid: int, params: int = 35) -> Modes:
    rng = np.random.default_rng(3)

    def sparse(*shape: int) -> np.ndarray:
        return np.round(rng.laplace(size=shape) * rng.choice([0, 0, 0, 2], shape)).astype(np.int32)

    mix = rng.integers(-3, 4, (params, columns)).astype(np.int32)
    luma, chroma, flow = (
        sparse(count, side, side),
        sparse(count, 2, side // 2, side // 2),
        sparse(count, 2, grid, grid),
    )
    steps = np.array([56, 44, 40, 41, 42])[:count]
    return Modes(mix, step_code(0.2), luma, chroma, flow, steps, steps - 6)


def stream_of(model, motion: np.ndarray, placement=None, size=None, held=None, crop=None, **parts) -> bytes:
    width, height = size or (model.size, model.size)
    crop = placement is None if crop is None else crop
    header = Header(
        width, height, (1, 30), (30, 1), bytes.fromhex(model.sha256), motion.shape[1],
        crop=crop, placement=placement is not None,
    )  # fmt: skip
    out = io.BytesIO()
    sets = [Set(parts.pop("background"))] if "background" in parts else []
    actor = Actor.of(IDENTITY, step_code(0.5), step_code(0.25), **parts)
    with Writer(out, header, actors=[actor], sets=sets) as writer:
        writer.write_segment(Segment.single(0, 0, np.arange(len(motion)), motion, placement, held))
    return out.getvalue()


def decoded(data: bytes, model) -> list[np.ndarray]:
    reader = Reader(io.BytesIO(data))
    return [rgb for _, rgb in FrameDecoder(reader, DecodeOptions(device="cpu"), model).frames(reader.segments())]


def stills_of(stream: dict) -> dict[tuple, tuple]:
    """The AV1 pictures of a stream as planes."""
    stills = {("PIVT", *key): actor["pivot"][1] for key, actor in stream["actors"].items() if "pivot" in actor}
    stills |= {("SETT", number): given["still"] for number, given in stream["sets"].items()}
    for segment in stream["segments"]:
        stills |= {("patch", segment["index"], k): patch["still"] for k, patch in enumerate(segment["patches"])}
    out = {}
    for name, still in stills.items():
        decoder = av.CodecContext.create("libdav1d", "r")
        frames = decoder.decode(av.Packet(still["data"])) or decoder.decode(None)
        out[name] = tuple(colour.planes(frames[0]))
    return out


def drawn(data: bytes, model_bytes: bytes) -> list[np.ndarray]:
    stream = fev_read.read(data)
    drawing = fev_draw.Drawing(stream, fev_model.Model(model_bytes), stills_of(stream))
    return [drawing.frame(*frame) for frame in fev_draw.frames(stream)]


def compare(ours: list[np.ndarray], theirs: list[np.ndarray], row: str) -> None:
    """Within the distance that the text states in that row, frame by frame."""
    mean, largest = STATED[row]
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
        distance = np.abs(a.astype(int) - b)
        assert distance.max() <= largest and distance.mean() <= mean, (distance.max(), distance.mean())


def check(data: bytes, model, model_bytes: bytes, row: str) -> list[np.ndarray]:
    pictures = decoded(data, model)
    compare(drawn(data, model_bytes), pictures, row)
    assert all(picture.std() > 5 for picture in pictures)  # there is something to see
    return pictures


def delta_of(model) -> list[DeltaTensor]:
    """Every kind of change: dense, of two factors, of noise, constant and directions."""
    known = {t.name: t for t in tunables(model.generator, model.latents)}
    rng, out = np.random.default_rng(2), []
    for name in ("const", "layers.2.weight", "layers.3.bias", "layers.6.noise", "layers.5.affine.bias", "directions"):
        t = known.get(name)
        if t is None or (not t.low_rank and np.prod(t.shape) > 8192):  # the second reader would take ten seconds
            continue
        parts = {DENSE: int(np.prod(t.shape))}
        if t.low_rank:
            parts = {FACTOR_U: 2 * t.shape[0], FACTOR_V: 2 * int(np.prod(t.shape[1:]))}
        for variant, count in parts.items():
            values = rng.integers(-2, 3, count).astype(np.int32)
            out.append(DeltaTensor(t.key, variant, 2 if variant else 0, step_code(0.5), values))
    return out


# -- the built-in model


@pytest.fixture(scope="module")
def generator_stream(base) -> bytes:
    return stream_of(base, motion_of(2, 35), delta=delta_of(base))


@pytest.fixture(scope="module")
def generator_drawn(generator_stream, base_bytes):
    return drawn(generator_stream, base_bytes)


def test_generator_with_a_delta(base, generator_stream, generator_drawn, exact):
    compare(generator_drawn, decoded(generator_stream, base), "generator, float32")
    plain = decoded(stream_of(base, motion_of(2, 35)), base)
    assert np.abs(plain[0].astype(int) - generator_drawn[0]).mean() > 2  # the delta is seen


def test_generator_in_bfloat16(base, generator_stream, generator_drawn, monkeypatch):
    monkeypatch.setattr(render, "pick_dtype", lambda device: torch.bfloat16)
    compare(generator_drawn, decoded(generator_stream, base), "generator, bfloat16")


@pytest.fixture(scope="module")
def face(generator_drawn) -> Pivot:
    """A pivot as clips have it: a face, with parameters of its own."""
    return Pivot((3, 0, -5, 2), still_of(generator_drawn[0]))


def test_pivot_moved_by_shared_modes(base, base_bytes, face):
    pictures = check(stream_of(base, motion_of(2, 35), pivot=face), base, base_bytes, "still")
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 2  # they move


def test_pivot_with_modes_of_the_clip(base, base_bytes, face):
    for columns in (1, 3):
        data = stream_of(base, motion_of(2, 35), pivot=face, modes=some_modes(columns, 4, 64, 16))
        pictures = check(data, base, base_bytes, "still")
        assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 2


@pytest.mark.parametrize(("height", "width", "side"), [(300, 400, 512), (500, 30, 512), (1500, 1500, 1024)])
def test_a_finer_pivot(tiny_model, tiny_model_bytes, height, width, side):
    """The model has 64 pixels, the square as many as the pivot, but no more than 1024."""
    pivot, modes = Pivot((), still_of(waves(height, width))), some_modes(1, 4, 64, 16)
    data = stream_of(tiny_model, motion_of(1, 35), size=(side, side), pivot=pivot, modes=modes)
    pictures = check(data, tiny_model, tiny_model_bytes, "still")
    assert pictures[0].shape == (side, side, 3)
    small = av.VideoFrame.from_ndarray(pictures[0], format="rgb24").reformat(64, 64, interpolation="AREA")
    coarse = small.reformat(side, side, interpolation="BICUBIC").to_ndarray(format="rgb24")
    assert np.abs(pictures[0].astype(int) - coarse).max() > 40  # it shows more than 64 pixels do


def test_a_finer_pivot_moved_by_shared_modes(base, base_bytes, face):
    pivot = Pivot(face.reference, still_of(waves(400, 400)))
    check(stream_of(base, motion_of(1, 35), size=(512, 512), pivot=pivot), base, base_bytes, "still")


PLACEMENT = np.array(
    [
        [1200, 820, 8 * 150, 700],  # enlarged, bicubic, partly outside
        [1310, 700, 1000, -1500],  # about the square's own size, bilinear
        [1310, 700, 8 * 140, 100],  # still bilinear
        [1310, 700, 8 * 90, 100],  # not shrunk yet
        [905, 811, 8 * 41 + 3, 2500],  # shrunk first
        [905, 811, 8 * 41 + 3, 2500],  # held
        [905, 811, 372, 2500],  # the side of the shrunk square is 92, not 93
        [905, 811, 9, 100],  # of two pixels
        [905, 811, 1, 100],  # of a quarter of one
        [0, 0, 0, 0],  # nobody
    ],
    np.int32,
)


def test_pasted_onto_a_background(base, base_bytes, face):
    motion = motion_of(len(PLACEMENT), 35)
    motion[5] = motion[4]
    held = np.arange(len(PLACEMENT)) == 5
    data = stream_of(
        base, motion, PLACEMENT, (330, 200), held, pivot=face, modes=some_modes(1, 3, 64, 16),
        background=still_of(waves(100, 165)),
    )  # fmt: skip
    pictures = check(data, base, base_bytes, "still, enlarged")
    assert (pictures[5] == pictures[4]).all()
    data = stream_of(base, motion[:3], PLACEMENT[:3] // 3, (110, 66), pivot=face, background=still_of(waves(101, 67)))
    check(data, base, base_bytes, "still, enlarged")


def test_pasted_onto_black(base, base_bytes, exact):
    check(stream_of(base, motion_of(1, 35), PLACEMENT[1:2], (330, 200)), base, base_bytes, "generator, float32")


@pytest.mark.parametrize("side", [100, 300])
def test_square_of_another_size(base, base_bytes, face, side):
    check(stream_of(base, motion_of(1, 35), size=(side, side), pivot=face), base, base_bytes, "still, enlarged")


# -- several actors, sets, cameras, patches

CAMERA = np.array([[0, 0, 0, 0], [30, -20, 45, 61], [-1500, 450, -181, -183], [5, 0, 0, 0]], np.int32)


def stage_of(model, pivot: Pivot) -> bytes:
    """Segments of four frames in which everything of a stage occurs."""
    header = Header(330, 200, (1, 30), (30, 1), bytes.fromhex(model.sha256), 35, placement=True, segment_frames=4)
    steps = step_code(0.5), step_code(0.25)
    actors = [
        Actor.of(IDENTITY, *steps, pivot=pivot),
        Actor.of(IDENTITY[::-1], *steps, number=1),
        Actor.of(IDENTITY, *steps, pivot=pivot, modes=some_modes(3, 4, 64, 16), revision=1),
    ]
    sets = [
        Set(still_of(waves(100, 165))),
        Set(still_of(waves(240, 400)), 1, Place(256, -8 * 30 - 3, -8 * 20)),
        Set(still_of(waves(500, 900)), 2, Place(700, -8 * 30, 5)),
        Set(still_of(waves(30, 40)), 3, Place(100, 8 * 90, 8 * 70)),
    ]

    def track(actor: int, revision: int, first: int) -> Track:
        return Track(motion_of(4, 35, first + actor), PLACEMENT[first : first + 4], None, actor, revision)

    patches = [Patch(0, 1, 2, still_of(waves(150, 90))), Patch(1, 0, 1, still_of(waves(64, 64)))]
    stages = [
        {"actors": [track(0, 0, 0), track(1, 0, 2)]},
        {"actors": [track(1, 0, 1), track(0, 1, 0)], "on_set": 1, "camera": CAMERA, "patches": patches},
        {"actors": [track(0, 1, 6)], "on_set": 0, "camera": CAMERA},
        {"actors": [], "on_set": 2, "camera": CAMERA},
        {"actors": [track(1, 0, 4)], "on_set": 2},
        {"actors": [], "on_set": 3, "camera": CAMERA},
        {"actors": [track(1, 0, 2)], "on_set": None, "camera": CAMERA},
    ]
    out = io.BytesIO()
    with Writer(out, header, actors=actors, sets=sets) as writer:
        for i, stage in enumerate(stages):
            writer.write_segment(Segment(i, 4 * i, np.arange(4 * i, 4 * i + 4), **stage))
    return out.getvalue()


def test_a_stage(tiny_model, tiny_model_bytes, exact):
    data = stage_of(tiny_model, Pivot((1, -1), still_of(waves(128, 128))))
    pictures = decoded(data, tiny_model)
    compare(drawn(data, tiny_model_bytes), pictures, "still, enlarged")
    assert len(pictures) == 28 and all(picture.std() > 5 for picture in pictures)


def test_patches_of_the_square_itself(tiny_model, tiny_model_bytes, exact):
    header = Header(64, 64, (1, 30), (30, 1), bytes.fromhex(tiny_model.sha256), 35, crop=True, placement=True)
    out = io.BytesIO()
    with Writer(out, header, actors=[Actor.of(IDENTITY, 36, 36)], sets=[Set(still_of(waves(99, 70)))]) as writer:
        patches = [Patch(0, 0, 1, still_of(waves(64, 90))), Patch(0, 2, 1, still_of(waves(32, 32)))]
        tracks = [Track(motion_of(3, 35), np.zeros((3, 4), np.int32))]
        writer.write_segment(Segment(0, 0, np.arange(3), tracks, patches=patches))
        writer.write_segment(Segment(1, 3, np.arange(3, 5), [], camera=CAMERA[[1, 3]]))
    data = out.getvalue()
    compare(drawn(data, tiny_model_bytes), decoded(data, tiny_model), "still, enlarged")


# -- what the built-in model does not need, and the format has


@pytest.mark.parametrize("matrix", [1, 5, 6])
@pytest.mark.parametrize("full", [False, True])
def test_colours_of_a_still(matrix, full):
    frame = colour.from_rgb(waves(64, 96), "yuv420p", colour.Colour(matrix, full))
    still = {"matrix": matrix, "full": full, "height": 61, "width": 90}
    ours = fev_square.still_to_rgb(still, tuple(colour.planes(frame))).astype(np.uint8).transpose(1, 2, 0)
    theirs = colour.to_rgb(frame, colour.colour_of(frame))[:61, :90]
    distance = np.abs(ours.astype(int) - theirs)
    assert distance.max() <= 1 and distance.mean() <= STATED["still"][0]


@pytest.fixture(scope="module")
def tiny_still() -> Still:
    return still_of(waves(128, 128))


@pytest.mark.parametrize("side", [128, 64, 48])
def test_pivot_moved_by_the_generator(tiny_model, tiny_model_bytes, exact, side):
    pivot = Pivot((1, -1), still_of(waves(128, 128)[:side, :side]))
    check(stream_of(tiny_model, motion_of(2, 35), pivot=pivot), tiny_model, tiny_model_bytes, "still, enlarged")


@pytest.mark.parametrize("side", [16, 128])
def test_modes_on_the_generator(tiny_model, tiny_model_bytes, exact, side):
    data = stream_of(tiny_model, motion_of(2, 35), modes=some_modes(2, 2, side, 8), delta=delta_of(tiny_model))
    check(data, tiny_model, tiny_model_bytes, "generator, float32")


def test_texture_four_times_as_fine_as_the_picture():
    """On values: a stream with so many of them takes the second reader seconds."""
    rng = np.random.default_rng(5)
    luma, chroma, flow = (
        rng.normal(0, 0.3, (2, 128, 128)),
        rng.normal(0, 0.3, (2, 2, 64, 64)),
        rng.normal(0, 0.1, (2, 2, 16, 16)),
    )
    picture, weights = rng.normal(0, 0.3, (3, 32, 32)), np.array([1.0, -0.7])
    ours = fev_square.Modes(luma, chroma, flow).moved(picture, weights)
    theirs = planes.apply_modes(
        torch.tensor(picture)[None], planes.colour(torch.tensor(luma), torch.tensor(chroma)), torch.tensor(flow),
        torch.tensor([[-0.7]]).double(),
    )[0]  # fmt: skip
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)


def test_clamped_layers(tiny_model_bytes, exact):
    tensors = load(tiny_model_bytes)
    size = int.from_bytes(tiny_model_bytes[:8], "little")
    config = json.loads(json.loads(tiny_model_bytes[8 : 8 + size])["__metadata__"]["config"])
    config["generator"]["conv_clamp"] = 0.4
    data = save(tensors, {"config": json.dumps(config)})
    model = load_bytes(data)
    pictures = check(stream_of(model, motion_of(1, 35)), model, data, "generator, float32")
    free = load_bytes(tiny_model_bytes)
    assert np.abs(pictures[0].astype(int) - decoded(stream_of(free, motion_of(1, 35)), free)[0]).max() > 9


# -- refusals, and the command


def test_what_does_not_fit_is_refused(tiny_model, tiny_model_bytes, generator_stream):
    with pytest.raises(fev_read.Fault, match="another model"):
        drawn(generator_stream, tiny_model_bytes)
    data = stream_of(tiny_model, motion_of(1, 35), crop=False)
    with pytest.raises(fev_read.Fault, match="neither"):
        drawn(data, tiny_model_bytes)
    with pytest.raises(FevError, match="where the square lies"):
        decoded(data, tiny_model)
    for data in (
        stream_of(tiny_model, motion_of(1, 35), delta=[DeltaTensor(9999, DENSE, 0, 40, motion_of(1, 4)[0])]),
        stream_of(tiny_model, motion_of(1, 35), delta=[DeltaTensor(0, DENSE, 0, 40, motion_of(1, 4)[0])]),
        stream_of(tiny_model, motion_of(1, 35), modes=some_modes(1, 2, 8, 8, params=34)),
    ):
        with pytest.raises(fev_read.Fault):
            drawn(data, tiny_model_bytes)


STRANGER = """
import runpy, sys
sys.modules.update(dict.fromkeys(("fev", "torch", "av", "constriction", "safetensors", "msgpack", "skimage")))
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_command(tiny_model, tiny_model_bytes, tmp_path, exact):
    """As a stranger runs it: without this package, and without what it needs but numpy."""
    data = stream_of(tiny_model, motion_of(2, 35))
    (tmp_path / "a.fev").write_bytes(data)
    (tmp_path / "m.safetensors").write_bytes(tiny_model_bytes)

    def run(number: str) -> subprocess.CompletedProcess:
        script = (ROOT / "tools" / "fev_draw.py").as_posix()
        command = [sys.executable, "-c", STRANGER, script, "a.fev", "m.safetensors", number, "b.ppm"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("1")
    assert (done.returncode, done.stderr) == (0, "")
    written = (tmp_path / "b.ppm").read_bytes()
    assert written.startswith(b"P6\n64 64\n255\n")
    picture = np.frombuffer(written[13:], np.uint8).reshape(64, 64, 3)
    compare([picture], decoded(data, tiny_model)[1:], "generator, float32")
    done = run("2")
    assert done.returncode == 1 and done.stderr == "fev_draw: there are 2 frames\n"
