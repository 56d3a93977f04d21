"""Gradients of a batch in parts: those of the whole, the same to the last bit on any number of cores."""

import torch
from fev.codec.threads import split
from fev.codec.threads.split import PartwiseOutputs, cuts, gradients


def whole_and_parts():
    torch.manual_seed(0)
    planes, codes, truth = torch.randn(3, 7), torch.randn(10, 3), torch.randn(10, 7)

    def loss(part, planes, codes):
        return (codes[part] @ planes - truth[part]).abs().mean() * len(codes[part]) / len(codes)

    return loss, [planes, codes]


def test_parts_cover_everything_once():
    for count in (1, 3, 4, 16, 150):
        rows = [i for part in cuts(count) for i in range(count)[part]]
        assert rows == list(range(count))
        sizes = [len(range(count)[part]) for part in cuts(count)]
        assert max(sizes) - min(sizes) <= 1 and len(sizes) == min(count, split.PARTS)


def test_the_gradients_of_parts_are_those_of_the_whole():
    loss, shared = whole_and_parts()
    total, slopes = gradients(loss, shared, cuts(10))
    leaves = [value.clone().requires_grad_() for value in shared]
    true = loss(slice(None), *leaves)
    true.backward()
    torch.testing.assert_close(total, true.detach())
    for slope, leaf in zip(slopes, leaves):
        torch.testing.assert_close(slope, leaf.grad)


def test_the_number_of_cores_changes_no_bit(monkeypatch):
    loss, shared = whole_and_parts()
    found = []
    for cores in (1, 2, 16):
        split._pool.cache_clear()
        monkeypatch.setattr(split.os, "cpu_count", lambda cores=cores: cores)
        found.append(gradients(loss, shared, cuts(10)))
    split._pool.cache_clear()
    for total, slopes in found[1:]:
        assert torch.equal(total, found[0][0])
        assert all(torch.equal(a, b) for a, b in zip(slopes, found[0][1]))


def test_what_is_made_in_parts_has_the_gradients_of_the_whole():
    torch.manual_seed(1)
    source = [torch.randn(9, 4), torch.randn(9, 2)]
    scale = torch.randn(9, 1)

    def work(part, a, b):
        return (a * scale[part]).tanh(), a.sum(1) * b.prod(1)

    made = PartwiseOutputs(work, source, cuts(9))
    leaves = [value.clone().requires_grad_() for value in source]
    whole = work(slice(None), *leaves)
    for mine, true in zip(made.values, whole):
        torch.testing.assert_close(mine, true.detach())
    slopes = [torch.randn(9, 4), torch.randn(9)]
    for mine, true in zip(made.back(slopes), torch.autograd.grad(whole, leaves, slopes)):
        torch.testing.assert_close(mine, true)
