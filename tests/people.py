"""People who do not exist, drawn by the built-in model, and scenes with them: what tests of tracking look at."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from fev.codec.face.paste import paste
from fev.codec.media.frame import Frame
from fev.codec.model.modelfile import load_model
from fev.tools.make_sample import face, motions

WIDTH, HEIGHT = 320, 192
LOOKS = 4  # different pictures of a person


@lru_cache
def looks(seed: int) -> torch.Tensor:
    """Pictures of a person, (LOOKS, 3, 256, 256), -1 to 1."""
    model = load_model()
    with torch.no_grad():
        w = model.latents(face(model, seed)[None], motions(model, 30, seed)[:: 30 // LOOKS][:LOOKS])
        return model.generator(w).clamp(-1, 1)


@lru_cache
def room(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A wall with something on it, (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).uniform(40, 200, (1, 3, height // 16, width // 16))
    wall = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=(height, width), mode="bicubic")
    return wall[0].clamp(0, 255).byte().permute(1, 2, 0).numpy().copy()


def seen(wall: np.ndarray, *people: tuple[int, float, float, float], at: int = 0) -> np.ndarray:
    """A picture of a wall with people before it, each (seed, x, y, half side of the square); the last is in front."""
    for seed, x, y, half in people:
        wall = paste(wall, looks(seed)[at // 3 % LOOKS], np.array([x, y, half, 0.0]))
    return wall


def film(pictures: list[np.ndarray]) -> list[Frame]:
    return [Frame(i, rgb) for i, rgb in enumerate(pictures)]
