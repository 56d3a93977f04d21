"""A batch in parts, each computed on one thread, their gradients summed in the order of the parts.

OpenMP's threads wait for each other within every operation; parts meet once a step.  A machine with
fewer cores, or with others at work on them, takes longer and finds the same: how a batch is cut
does not depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
PARTS = 4  # of a batch that is one step; more than cores cost little, fewer leave cores idle


def cuts(count: int, parts: int = PARTS) -> list[slice]:
    """`count` samples in at most `parts` slices of about equal size."""
    edges = [round(count * i / parts) for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def gradients(
    loss: Callable[..., Tensor], shared: Sequence[Tensor], parts: Sequence[slice]
) -> tuple[Tensor, list[Tensor]]:
    """The sum of `loss(part, *shared)` over the parts, and its gradients for every tensor of
    `shared`.

    The tensors that `loss` is given are cut off from whatever made them; pass the gradients on with
    `torch.autograd.backward(shared, gradients)`.
    """

    def work(part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        leaves = [value.detach().requires_grad_() for value in shared]
        found = loss(part, *leaves)
        return found.detach(), torch.autograd.grad(found, leaves)

    results = each(work, parts, shared[0].device)
    total, sums = results[0][0], list(results[0][1])
    for found, slopes in results[1:]:
        total = total + found
        for mine, slope in zip(sums, slopes, strict=True):
            mine += slope
    return total, sums


class PartwiseOutputs:
    """What `work(part, *values of the part)` makes of tensors whose rows know nothing of each
    other, part by part.

    Attributes:
        values: the whole of what was made, cut off from how.
    """

    def __init__(
        self,
        work: Callable[..., tuple[Tensor, ...]],
        source: Sequence[Tensor],
        parts: Sequence[slice],
    ):
        self._parts = parts

        def make(part: slice) -> tuple[list[Tensor], tuple[Tensor, ...]]:
            leaves = [value.detach()[part].requires_grad_() for value in source]
            return leaves, work(part, *leaves)

        self._made = each(make, parts, source[0].device)
        made = zip(*(outputs for _, outputs in self._made), strict=True)
        self.values = [torch.cat([output.detach() for output in rows]) for rows in made]

    def back(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of the source's tensors, from those of `values`."""

        def back(item: tuple[slice, tuple[list[Tensor], tuple[Tensor, ...]]]) -> tuple[Tensor, ...]:
            part, (leaves, outputs) = item
            return torch.autograd.grad(outputs, leaves, [slope[part] for slope in slopes])

        items = list(zip(self._parts, self._made, strict=True))
        return [torch.cat(rows) for rows in zip(*each(back, items, slopes[0].device), strict=True)]


def each(work: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> list[Result]:
    """`work` on every item, in their order; side by side where its tensors are on the processor."""
    if device.type != "cpu" or len(items) == 1:
        return [work(item) for item in items]
    return list(_pool().map(work, items))


@lru_cache
def _pool() -> ThreadPoolExecutor:
    workers = min(PARTS, os.cpu_count() or 1)
    return ThreadPoolExecutor(workers, "fev-part", initializer=lambda: torch.set_num_threads(1))
