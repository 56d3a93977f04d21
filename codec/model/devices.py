"""Which device computes, and in which type."""

from __future__ import annotations

import torch

from ...format.errors import UsageError


def pick_device(name: str) -> torch.device:
    """The device meant by auto, cpu or cuda.

    Raises:
        UsageError: where it is unknown or not there.
    """
    usable = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {name!r} is not one of auto, cpu, cuda")
    if name == "cuda" and not usable:
        raise UsageError("device cuda: no CUDA device can be used here")
    return torch.device("cuda" if usable and name != "cpu" else "cpu")


def pick_dtype(device: torch.device) -> torch.dtype:
    """bf16 where the device computes in it (AMX or AVX-512 BF16 on x86), else float32: emulated
    bf16 is slower.
    """
    if device.type == "cuda":
        return torch.bfloat16
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return torch.bfloat16 if any(check is not None and check() for check in checks) else torch.float32
