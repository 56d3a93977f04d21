"""The parts between pictures and integers: delta, tuning, motion, rendering, and the encoder's helpers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fev.codec.draw.delta import DENSE, FACTOR_U, FACTOR_V, apply_delta, tunables
from fev.codec.draw.options import DecodeOptions
from fev.codec.draw.render import Renderer
from fev.codec.draw.units import motion_step_code, step_code, step_size
from fev.codec.encode.options import EncodeOptions
from fev.codec.face.survey import Survey
from fev.codec.fit.cropstore import CropStore
from fev.codec.fit.keyframes import best_identity, spread_out
from fev.codec.fit.motion import MotionSettings, corrected, fit_motion, linear_correction, quantise_motion
from fev.codec.fit.optimise import shrink_round, straight_through
from fev.codec.fit.rdoq import hold
from fev.codec.fit.tune import ClipFit, TuneSettings, coded_size
from fev.codec.media.frame import Frame
from fev.codec.model.devices import pick_device
from fev.format.delta import DeltaTensor
from fev.format.errors import DamagedError, MediaError, UsageError


def ints(*shape, seed=0, high=5):
    return np.random.default_rng(seed).integers(-high, high + 1, shape).astype(np.int32)


def key_of(model, name: str) -> int:
    return next(t.key for t in tunables(model.generator, model.latents) if t.name == name)


# -- delta


def test_step_codes_roundtrip_and_grow():
    sizes = [step_size(c) for c in range(256)]
    assert all(b > a for a, b in zip(sizes, sizes[1:]))
    assert [step_code(s) for s in sizes] == list(range(256))


def test_dense_delta_adds_its_values(tiny_model):
    key = key_of(tiny_model, "layers.3.bias")
    values = ints(16)
    generator, _ = apply_delta(tiny_model, [DeltaTensor(key, DENSE, 0, 40, values)])
    change = generator.layers[3].bias - tiny_model.generator.layers[3].bias
    expected = torch.from_numpy(values.astype(np.float32)) * step_size(40) * tiny_model.tuning_scale["layers.3.bias"]
    torch.testing.assert_close(change, expected, rtol=0, atol=1e-6)


def test_low_rank_delta_is_the_product_of_its_factors(tiny_model):
    key = key_of(tiny_model, "layers.5.weight")
    o, rest = 16, 16 * 9
    u, v = ints(o, 2), ints(2, rest, seed=1)
    tensors = [DeltaTensor(key, FACTOR_U, 2, 28, u.ravel()), DeltaTensor(key, FACTOR_V, 2, 36, v.ravel())]
    generator, _ = apply_delta(tiny_model, tensors)
    change = (generator.layers[5].weight - tiny_model.generator.layers[5].weight).reshape(o, rest)
    scale = tiny_model.tuning_scale["layers.5.weight"] / o**0.5
    expected = torch.from_numpy((u @ v).astype(np.float32)) * step_size(28) * step_size(36) * scale
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-6)


def test_the_model_itself_is_left_alone(tiny_model):
    before = tiny_model.latents.directions.clone()
    key = key_of(tiny_model, "directions")
    _, latents = apply_delta(tiny_model, [DeltaTensor(key, DENSE, 0, 40, ints(before.numel()))])
    assert (tiny_model.latents.directions == before).all() and (latents.directions != before).any()


@pytest.mark.parametrize(
    "tensor",
    [
        lambda m: DeltaTensor(9999, DENSE, 0, 40, ints(16)),
        lambda m: DeltaTensor(key_of(m, "layers.3.bias"), DENSE, 0, 40, ints(17)),
        lambda m: DeltaTensor(key_of(m, "layers.3.bias"), FACTOR_U, 1, 40, ints(16)),
        lambda m: DeltaTensor(key_of(m, "layers.5.weight"), DENSE, 0, 40, ints(16 * 16 * 9)),
        lambda m: DeltaTensor(key_of(m, "layers.5.weight"), FACTOR_U, 0, 40, ints(16)),
        lambda m: DeltaTensor(key_of(m, "layers.5.weight"), FACTOR_U, 200, 40, ints(16 * 200)),
        lambda m: DeltaTensor(key_of(m, "layers.5.weight"), FACTOR_U, 1, 40, ints(16)),  # its V is missing
        lambda m: DeltaTensor(key_of(m, "layers.5.weight"), 7, 1, 40, ints(16)),
    ],
    ids=[
        "key", "dense_size", "factor_of_dense", "dense_of_kernel", "rank_0", "rank_200", "lacks_factor", "variant",
    ],
)  # fmt: skip
def test_delta_that_does_not_fit_the_model_is_refused(tiny_model, tensor):
    with pytest.raises(DamagedError, match="weight delta"):
        apply_delta(tiny_model, [tensor(tiny_model)])


def test_factors_of_two_ranks_or_given_twice_are_refused(tiny_model):
    key = key_of(tiny_model, "layers.5.weight")
    u, v = DeltaTensor(key, FACTOR_U, 1, 28, ints(16)), DeltaTensor(key, FACTOR_V, 2, 36, ints(2 * 16 * 9))
    for tensors in ([u, v], [u, u]):
        with pytest.raises(DamagedError, match="weight delta"):
            apply_delta(tiny_model, tensors)


def test_keys_are_places_in_an_order_that_the_architecture_fixes(tiny_model):
    known = tunables(tiny_model.generator, tiny_model.latents)
    assert [t.key for t in known] == list(range(len(known)))
    assert (known[0].name, known[-1].name) == ("const", "directions")
    assert {t.name for t in known} == set(tiny_model.tuning_scale)


# -- rendering


def renderer_of(model, delta=(), **options):
    return Renderer(model, ints(12, high=4), list(delta), identity_step_code=36, motion_step_code=36, **options)


def test_batch_size_does_not_change_the_picture(tiny_model):
    renderer = renderer_of(tiny_model, dtype=torch.float32)
    motion = ints(9, 35, seed=3)
    whole = renderer.draw(motion)
    parts = torch.cat([renderer.draw(motion[i : i + 1]) for i in range(9)])
    # the same sums in another order: a few units in the last place of values near 1
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-4)


def test_same_integers_give_the_same_picture(tiny_model):
    """Batch by batch exactly; from one batch size to another to within half a grey level, as the decoder uses 8."""
    motion = ints(16, 35, seed=3)
    first, again = (renderer_of(tiny_model, dtype=torch.float32).draw(motion[:8]) for _ in range(2))
    assert (first == again).all()
    renderer = renderer_of(tiny_model, dtype=torch.float32)
    by_eight = torch.cat([renderer.draw(motion[i : i + 8]) for i in (0, 8)])
    by_one = torch.cat([renderer.draw(motion[i : i + 1]) for i in range(16)])
    assert float((by_eight - by_one).abs().max()) < 0.5 / 127.5


def test_short_identity_is_filled_with_zeros_and_a_long_one_refused(tiny_model):
    short = Renderer(tiny_model, np.array([3], np.int32), [], identity_step_code=36, motion_step_code=36)
    full = Renderer(tiny_model, np.array([3] + [0] * 11, np.int32), [], identity_step_code=36, motion_step_code=36)
    assert (short.base == full.base).all()
    with pytest.raises(DamagedError, match="identity"):
        Renderer(tiny_model, np.zeros(13, np.int32), [], identity_step_code=36, motion_step_code=36)


# -- tuning and motion


@pytest.fixture(scope="module")
def clip(tiny_model):
    """Twelve frames drawn by the tiny model itself, with a change of its weights that a delta can express."""
    key = key_of(tiny_model, "layers.5.bias")
    renderer = renderer_of(tiny_model, [DeltaTensor(key, DENSE, 0, 64, ints(16, seed=5))], dtype=torch.float32)
    motion = torch.randn(12, 35, generator=torch.Generator().manual_seed(4)) * 0.5
    with torch.no_grad():
        return renderer, renderer.draw_values(motion).clamp(-1, 1), motion


def fitted(model, crops, budget, steps=40):
    settings = TuneSettings(steps=((64, steps),), batch=4, rank=1)
    fit = ClipFit(model, crops, torch.zeros(12), torch.zeros(len(crops), 35), settings, budget, 0.1, 0.1)

    def error() -> float:
        with torch.no_grad():
            return float((fit.render(torch.arange(len(crops)), 64, True) - crops).square().mean())

    before = error()
    fit.run()
    return fit, before, error()


@pytest.mark.parametrize("budget", [0, 300, 1500])
def test_tuning_improves_and_keeps_its_budget(tiny_model, clip, budget):
    fit, before, after = fitted(tiny_model, clip[1], budget)
    assert after < 0.6 * before
    identity, delta = fit.finish()
    assert identity.dtype == np.int32 and coded_size(delta) <= budget


def test_what_tuning_returns_is_what_it_rendered(tiny_model, clip):
    """Closed loop: the Renderer draws from the integers what the fit saw, while the budget did not bind."""
    fit, _, after = fitted(tiny_model, clip[1], 100_000)
    identity, delta = fit.finish()
    renderer = Renderer(tiny_model, identity, delta, identity_step_code=step_code(0.1), motion_step_code=step_code(0.1))
    fit.identity_step = step_size(step_code(0.1))
    q = quantise_motion(fit.motion.detach(), step_code(0.1))
    error = float((renderer.draw(q) - clip[1]).square().mean())
    assert error < 1.1 * after + 1e-4


def test_tuning_does_not_depend_on_the_number_of_threads(tiny_model, clip):
    """Sums in another order move the last bits only; the fit must not blow them up into another result."""
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            fit, _, error = fitted(tiny_model, clip[1], 300, steps=15)
            results.append((fit.motion.detach(), fit.finish(), error))
    finally:
        torch.set_num_threads(before)
    (motion, (identity, delta), error), (motion2, (identity2, delta2), error2) = results
    assert error2 == pytest.approx(error, rel=0.02)
    assert float((motion - motion2).abs().max()) < 0.05  # half a step of the motion
    assert np.abs(identity - identity2).max() <= 1  # a value on a rounding edge may fall either way
    assert abs(coded_size(delta) - coded_size(delta2)) <= 30


def test_no_budget_means_no_delta(tiny_model, clip):
    settings = TuneSettings(steps=((64, 2),), batch=4)
    fit = ClipFit(tiny_model, clip[1], torch.zeros(12), torch.zeros(12, 35), settings, 0, 0.1, 0.1)
    fit.run()
    assert fit.finish()[1] == []


def test_motion_fit_prefers_to_stand_still(clip):
    renderer, crops, motion = clip
    still = crops[:1].expand(6, -1, -1, -1)
    start = motion[:6]
    free, calm = (fit_motion(renderer, still, start, MotionSettings(64, 20, smooth=s)) for s in (0.0, 0.5))
    assert (calm[1:] - calm[:-1]).abs().mean() < (free[1:] - free[:-1]).abs().mean()


def test_motion_fit_recovers_the_picture(clip):
    renderer, crops, motion = clip
    start = torch.zeros_like(motion)

    def error(values) -> float:
        with torch.no_grad():
            return float((renderer.draw_values(values) - crops).square().mean())

    fit = fit_motion(renderer, crops, start, MotionSettings(size=64, steps=40, smooth=0.0))
    assert error(fit) < 0.25 * error(start)
    assert fit_motion(renderer, crops, start, MotionSettings(steps=0)) is start


def test_quantised_motion_is_within_half_a_step():
    motion = torch.randn(20, 35)
    q = quantise_motion(motion, 36)
    assert q.dtype == np.int32
    assert np.abs(q * step_size(36) - motion.numpy()).max() <= step_size(36) / 2 + 1e-6
    # the format holds no larger magnitude: what runs away is cut, not wrapped
    assert quantise_motion(torch.tensor([[1e9, -1e9]]), 36).tolist() == [[1 << 14, -(1 << 14)]]


def test_linear_correction_learns_a_shift_and_a_gain():
    seen = torch.randn(200, 35)
    matrix, mean = linear_correction(seen, 1.3 * seen + 0.5, strength=0.1)
    torch.testing.assert_close(corrected(seen, (matrix, mean)), 1.3 * seen + 0.5, rtol=0, atol=0.02)


def test_dead_zone_and_straight_through():
    x = torch.tensor([-1.4, -0.59, -0.1, 0.55, 0.61, 2.5001], requires_grad=True)
    assert shrink_round(x, 0.6).tolist() == [-1, 0, 0, 0, 1, 3]
    straight_through(x, 1.0, 0.6).sum().backward()
    assert (x.grad == 1).all()


# -- the encoder's helpers


def test_held_frames_repeat_the_last_good_row():
    rows = np.arange(5)[:, None] * np.ones((1, 3), np.int32)
    held = np.array([True, False, True, False, True])
    assert hold(rows, held, None)[:, 0].tolist() == [1, 1, 1, 3, 3]
    assert hold(rows, held, np.full(3, 9))[:, 0].tolist() == [9, 1, 1, 3, 3]
    assert hold(rows, np.ones(5, bool), None).sum() == 0


def test_spread_out_chooses_different_frames():
    motion = torch.randn(50, 35)
    chosen = spread_out(motion, 12)
    assert len(set(chosen)) == 12 and chosen == sorted(chosen)
    assert spread_out(motion[:5], 12) == [0, 1, 2, 3, 4]
    assert len(spread_out(torch.zeros(9, 35), 4)) == 4
    assert spread_out(motion[:1], 3) == [0]
    far = torch.zeros(50, 35)
    far[31] = 9.0
    assert 31 in spread_out(far, 5)  # the one that differs is never left out


def test_identity_is_taken_from_neutral_frames():
    motion = torch.cat([torch.full((6, 35), 5.0), torch.zeros(3, 35)])
    identity = torch.cat([torch.full((6, 4), -1.0), torch.full((3, 4), 2.0)])
    assert (best_identity(identity, motion) == 2.0).all()


def test_quality_sets_the_step():
    codes = [motion_step_code(q) for q in range(0, 101, 10)]
    assert codes == sorted(codes, reverse=True) and codes[0] > codes[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "x"},
        {"quality": 101},
        {"identity_budget": -1},
        {"face": -1},
        {"start": -1.0},
        {"duration": 0.0},
        {"duration": float("nan")},
    ],
    ids=str,
)
def test_options_are_checked(options):
    with pytest.raises(UsageError):
        EncodeOptions(**options)


@pytest.mark.parametrize(
    "options",
    [{"size": 1}, {"size": 100_000}, {"start": -1.0}, {"duration": 0.0}, {"container": "avi"}],
    ids=str,
)
def test_decode_options_are_checked(options):
    with pytest.raises(UsageError):
        DecodeOptions(**options)


def test_device_is_checked():
    assert pick_device("cpu").type == "cpu" and pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="toaster"):
        pick_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="cuda"):
            pick_device("cuda")


def test_crop_store_returns_what_it_took():
    store = CropStore(64)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    for picture in pictures:
        store.append(picture)
    back = store.read([3, 0, 3])
    assert back.shape == (3, 3, 64, 64)
    expected = torch.from_numpy(pictures[[3, 0, 3]]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert (back == expected).all()
    store.close()


class Sees:
    """Stands in for the aligner: finds the face where it already looks, with the confidence it is given."""

    def __init__(self, confidence: float):
        self.confidence = confidence

    def eval(self):
        return self

    def __call__(self, x):
        return torch.tensor([[1.0, 0.0, 0.0, 0.0, self.confidence]]).expand(len(x), -1)


class Blinks(Sees):
    """Loses the face in pictures darker than grey."""

    def __call__(self, x):
        out = super().__call__(x).clone()
        out[:, 4] = torch.where(x.mean((1, 2, 3)) < 0, -5.0, 5.0)
        return out


def test_survey_holds_dark_frames_in_their_place():
    dark = set(range(5)) | set(range(20, 26)) | {39}
    frames = [Frame(i, np.full((120, 200, 3), 40 if i in dark else 200, np.uint8), i % 7 == 3) for i in range(40)]
    survey = Survey(frames, Blinks(0), 64)
    seen = list(survey)
    assert [s.pts for s in seen] == list(range(40))
    assert {s.pts for s in seen if s.crop is None} == dark and survey.held == len(dark)
    assert [s.damaged for s in seen] == [f.damaged for f in frames]
    assert all((seen[i].placement == seen[19].placement).all() for i in range(20, 26))
    assert all((seen[i].placement == seen[5].placement).all() for i in range(5))


def test_survey_of_a_clip_that_is_the_square_already_keeps_it_whole():
    frames = [Frame(i, np.full((128, 128, 3), 200, np.uint8)) for i in range(4)]
    survey = Survey(frames, Sees(5.0), 64)
    survey.tracker.last = np.array([64.0, 64.0, 64.0, 0.0])  # as the detector would have found it
    seen = list(survey)
    assert survey.aligned is True
    assert all(s.placement.tolist() == [64, 64, 64, 0] for s in seen)


def test_survey_keeps_every_frame_and_few_plates():
    frames = [Frame(10 * i, np.full((120, 200, 3), i % 250, np.uint8)) for i in range(100)]
    survey = Survey(frames, Sees(5.0), 64)
    seen = list(survey)
    assert [s.pts for s in seen] == [10 * i for i in range(100)]
    assert all(s.crop.shape == (64, 64, 3) for s in seen) and survey.held == 0
    assert 3 <= len(survey.samples.kept) <= 12
    with pytest.raises(MediaError, match="no face found in any of 100 frames"):
        list(Survey(frames, Sees(-5.0), 64))
    with pytest.raises(MediaError, match="no frames"):
        list(Survey([], Sees(5.0), 64))
