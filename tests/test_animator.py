"""The animator: the pivot comes back where nothing changes, and nothing in it depends on how it is computed."""

import pytest
import torch
import torch.nn.functional as F
from fev.codec.model.animator import Active, Animator, AnimatorConfig, Block, EqualConv, fetch
from fev.codec.model.stylegan2 import SQRT2

SMALL = AnimatorConfig(
    channels=(16, 16, 16, 12, 8, 8, 4), w_dim=16, encoder=(4, 8, 8, 12, 12, 12), motion=(4, 8, 8, 12, 12, 12)
)


@pytest.fixture(scope="module")
def animator():
    torch.manual_seed(1)
    made = Animator(SMALL)
    for layer in made.flows.values():  # as if something had been learnt
        torch.nn.init.normal_(layer.weight, 0, 0.5)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def pivot():
    torch.manual_seed(2)
    return F.interpolate(torch.randn(2, 3, 16, 16), size=256, mode="bicubic").clamp(-1, 1)


def test_the_pivot_comes_back_exactly(animator, pivot):
    drawn = animator(pivot, torch.zeros(2, 35))
    assert torch.equal(drawn.flow, torch.zeros(2, 2, 256, 256))
    torch.testing.assert_close(drawn.picture, pivot, rtol=0, atol=1e-5)


def test_other_parameters_draw_another_picture(animator, pivot):
    drawn = animator(pivot, torch.randn(2, 35))
    assert (drawn.picture - pivot).abs().mean() > 0.02
    assert drawn.flow.abs().max() > 0.001 and 0 < drawn.own.min() and drawn.own.max() < 1
    mixed = drawn.moved + drawn.own * (drawn.alone - drawn.moved)
    torch.testing.assert_close(drawn.picture, mixed)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_it_draws_at_the_sizes_it_is_trained_at(animator, pivot, size):
    drawn = animator(pivot, torch.randn(2, 35), size)
    assert drawn.picture.shape == (2, 3, size, size) and drawn.picture.dtype == torch.float32


def test_one_pivot_serves_many_frames(animator, pivot):
    change = torch.randn(3, 35)
    together = animator.draw(animator.look(pivot[:1]), change).picture
    alone = torch.cat([animator(pivot[:1], c[None]).picture for c in change])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_the_shift_is_linear(animator):
    a, b = torch.randn(2, 1, 35)
    torch.testing.assert_close(animator.shift(a + 2 * b), animator.shift(a) + 2 * animator.shift(b))


def test_gains_in_the_weights_are_gains_of_what_comes_out():
    torch.manual_seed(3)
    x = torch.randn(1, 5, 8, 8)
    conv = EqualConv(5, 5)
    torch.nn.init.normal_(conv.bias)
    same = Active(5, 5)
    same.load_state_dict(conv.state_dict())
    torch.testing.assert_close(same(x), F.leaky_relu(conv(x), 0.2) * SQRT2)
    block = Block(5)
    plain = [EqualConv(5, 5), EqualConv(5, 5)]
    for layer, mine in zip(plain, (block.a, block.b)):
        layer.load_state_dict(mine.state_dict())
    inner = plain[1](F.leaky_relu(plain[0](x), 0.2) * SQRT2)
    torch.testing.assert_close(block(x), (x + inner) / SQRT2)


def test_a_flow_of_one_pixel_fetches_the_neighbour():
    picture = torch.rand(1, 3, 8, 8)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2 / 8  # half picture sides: one of eight pixels
    torch.testing.assert_close(fetch(picture, flow)[..., :-1], picture[..., 1:])
