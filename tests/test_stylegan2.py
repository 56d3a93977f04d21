"""The generator's fast path against its slow one, and its layers; test_golden has the public reference."""

from __future__ import annotations

import copy

import pytest
import torch
from fev.codec.model.stylegan2 import Generator, GeneratorConfig, LayerSpec, StyleLayer, upsample_rgb
from torch.func import functional_call


def small_generator(noise_size: int = 0) -> Generator:
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(64, (24, 16, 16, 8, 8), 32, 32, 0, noise_size)).eval()
    for layer in generator.layers:
        layer.bias.data.normal_(0, 0.2)
        if layer.has_noise:
            layer.noise_strength.data.fill_(0.3)
    return generator


@torch.no_grad()
@pytest.mark.parametrize("noise_size", [0, 16])
def test_fast_path_equals_the_slow_one(noise_size):
    generator = small_generator(noise_size)
    styles = generator.styles(torch.randn(3, 10, 32))
    slow, fast = (generator.synthesis(styles, impl=impl) for impl in ("ref", "fast"))
    torch.testing.assert_close(fast, slow, rtol=0, atol=2e-5)


@torch.no_grad()
def test_shared_styles_are_folded_without_changing_the_picture():
    generator = small_generator()
    ws = torch.randn(3, 10, 32)
    ws[:, 5:] = ws[:1, 5:]
    torch.testing.assert_close(generator(ws, moving=5), generator(ws), rtol=0, atol=2e-5)


def test_what_is_kept_of_the_weights_follows_them():
    """Written to by hand, by an optimiser, by a state dict, moved and copied: never an old picture."""
    generator, ws = small_generator(), torch.randn(1, 10, 32)

    def equal(network: Generator) -> bool:
        with torch.no_grad():
            fast, slow = (network(ws, impl=impl) for impl in ("fast", "ref"))
        return bool((fast - slow).abs().max() < 2e-5 * slow.abs().max())

    assert equal(generator)
    with torch.no_grad():
        generator.layers[3].weight.mul_(3 * torch.rand(16, 1, 1, 1))  # the same for all would be normalised away
        generator.layers[2].weight[:, :5] *= 4
    assert equal(generator)
    optimiser = torch.optim.AdamW(generator.parameters(), lr=0.3)
    generator(ws).square().mean().backward()
    optimiser.step()
    assert equal(generator)
    twin = copy.deepcopy(generator)
    assert equal(twin)
    with torch.no_grad():
        twin.layers[2].weight[:, :5] *= 4
    assert equal(twin) and equal(generator)
    generator.load_state_dict(twin.state_dict())
    assert equal(generator)
    changed = {"layers.2.weight": generator.layers[2].weight * torch.linspace(1, 5, 24)[:, None, None]}
    with torch.no_grad():
        fast, slow = (functional_call(generator, changed, (ws,), {"impl": impl}) for impl in ("fast", "ref"))
    assert (fast - slow).abs().max() < 2e-5 * slow.abs().max()
    assert equal(generator)


@torch.no_grad()
def test_half_precision_stays_near():
    generator = small_generator()
    ws = torch.randn(2, 10, 32)
    full = generator(ws)
    # bf16 keeps 8 bits: through 9 convolutions the picture moves by well under 5 % of its spread
    error = (generator(ws, dtype=torch.bfloat16) - full).square().mean().sqrt()
    assert error < 0.05 * full.std()


@torch.no_grad()
def test_smaller_size_is_the_skip_image():
    generator = small_generator()
    ws = torch.randn(1, 10, 32)
    assert generator(ws, size=16).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="size 48"):
        generator(ws, size=48)


def test_rgb_upsampling_is_the_filter_of_the_paper():
    """[1,3,3,1] upsampling of an impulse: taps 1/4, 3/4, 3/4, 1/4 along each axis."""
    impulse = torch.zeros(1, 3, 4, 4)
    impulse[..., 0, 2] = 1
    row = torch.tensor([0.0, 0.0, 0.0, 0.25, 0.75, 0.75, 0.25, 0.0])
    expected = torch.tensor([0.75, 0.75, 0.25, 0, 0, 0, 0, 0])[:, None] * row[None]
    torch.testing.assert_close(upsample_rgb(impulse)[0, 0], expected)


@pytest.mark.parametrize("resolution", [32, 64, 128, 256, 512, 1024])
def test_layer_numbering(resolution):
    """Style layers in StyleSpace order: 26 at 1024, 20 at 256; toRGB at 1, 4, 7, ...; W+ index of each."""
    levels = resolution.bit_length() - 2
    config = GeneratorConfig(resolution, (4,) * levels, 4, 4, 0)
    table = Generator(config).table
    assert len(table) == 3 * levels - 1
    assert [i for i, s in enumerate(table) if s.kind == "rgb"] == list(range(1, len(table), 3))
    assert table[-1].w_index == config.num_ws - 1
    if resolution == 1024:
        assert len(table) == 26 and [s.w_index for s in table[:7]] == [0, 1, 1, 2, 3, 3, 4]


def test_bad_configurations_are_refused():
    with pytest.raises(ValueError, match="resolution"):
        GeneratorConfig(48, (4,) * 4)
    with pytest.raises(ValueError, match="channel"):
        GeneratorConfig(64, (4,) * 4)
    with pytest.raises(ValueError, match="W\\+"):
        small_generator().styles(torch.zeros(1, 9, 32))


def test_a_part_of_a_drive_draws_the_same(tiny_model, tiny_space):
    """Frames drawn one by one are those drawn together, where W+ moves and where only styles do."""
    motion = 0.5 * torch.randn(5, tiny_space.params, generator=torch.Generator().manual_seed(1))
    for pose in (1.0, 0.0):
        motion[:, len(tiny_space.channels) :] *= pose
        drive = tiny_space.drive(tiny_space.mean, motion)
        with torch.no_grad():
            whole = tiny_model.generator(drive.ws, drive.moving, drive.added)
            parts = [drive.part(i, i + 2) for i in (0, 2, 4)]
            apart = torch.cat([tiny_model.generator(p.ws, p.moving, p.added) for p in parts])
        torch.testing.assert_close(apart, whole, rtol=0, atol=1e-5)


def test_upsampling_first_is_the_same_layer():
    """What a GPU computes: the blur before the convolution, which there is faster."""
    torch.manual_seed(4)
    layer = StyleLayer(LayerSpec("up", 16, 6, 5, 1), 8).double().requires_grad_(False)
    x, weight = torch.randn(2, 6, 8, 8).double(), torch.randn(5, 6, 3, 3).double()
    torch.testing.assert_close(layer._widened(x, weight, None), layer._bare(x, weight, None), rtol=1e-5, atol=1e-5)
