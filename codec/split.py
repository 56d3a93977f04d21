"""A batch in parts, each computed on one thread, their gradients summed in the order of the parts.

OpenMP's threads wait for each other within every operation; parts meet once a step.  A machine with fewer cores, or
with others at work on them, takes longer and finds the same: how a batch is cut does not depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

PARTS = 4  # of a batch that is one step; more than cores cost little, fewer leave cores idle


def cuts(count: int, parts: int = PARTS) -> list[slice]:
    """`count` samples in at most `parts` slices of about equal size."""
    edges = [round(count * i / parts) for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def gradients(
    loss: Callable[..., Tensor], shared: Sequence[Tensor], parts: Sequence[slice]
) -> tuple[Tensor, list[Tensor]]:
    """The sum of `loss(part, *shared)` over the parts, and its gradients for every tensor of `shared`.

    The tensors that `loss` is given are cut off from whatever made them; pass the gradients on with
    `torch.autograd.backward(shared, gradients)`.
    """

    def work(part: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        leaves = [value.detach().requires_grad_() for value in shared]
        found = loss(part, *leaves)
        return found.detach(), torch.autograd.grad(found, leaves)

    if shared[0].device.type != "cpu" or len(parts) == 1:
        results = [work(part) for part in parts]
    else:
        results = list(_pool().map(work, parts))
    total, sums = results[0][0], list(results[0][1])
    for found, slopes in results[1:]:
        total = total + found
        for mine, slope in zip(sums, slopes, strict=True):
            mine += slope
    return total, sums


@lru_cache
def _pool() -> ThreadPoolExecutor:
    workers = min(PARTS, os.cpu_count() or 1)
    return ThreadPoolExecutor(workers, "fev-part", initializer=lambda: torch.set_num_threads(1))
