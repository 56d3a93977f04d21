"""Render the sample clip of the demo: a face that does not exist, speaking, with a synthetic voice.

Everything in it comes from our own model and from arithmetic, so it can be shipped.

    python -m fev.tools.make_sample OUT.mp4
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from ..codec.face.paste import paste
from ..codec.media.audio import open_audio
from ..codec.media.mux import VideoWriter
from ..codec.model.modelfile import Model, load_model
from .common import add_output, count, output_file, parser, run

WIDTH, HEIGHT, FPS, SECONDS = 320, 320, 25, 4
SQUARE = 205  # half side of the face's square: it reaches beyond the picture, so that no edge shows
SYLLABLES = 3.3  # a second
SAMPLE_RATE = 48_000  # of the sound, Hz


def face(model: Model, seed: int) -> torch.Tensor:
    """An identity drawn from the spread of the training set: nobody's."""
    draw = torch.Generator().manual_seed(seed)
    count = model.identity_scale.shape[0]
    return torch.randn(count, generator=draw).clamp(-1.5, 1.5) * 0.75 * model.identity_scale


def opening(time: np.ndarray) -> np.ndarray:
    """How far the mouth is open, 0 to 1: syllables in phrases with pauses."""
    phrase = (np.sin(2 * math.pi * time / 2.1 - 0.6) > -0.55).astype(float)
    phrase = np.convolve(phrase, np.ones(5) / 5, "same")
    beat = np.abs(np.sin(math.pi * SYLLABLES * time + 0.7 * np.sin(2.3 * time)))
    return phrase * beat**1.5


def motions(model: Model, frames: int, seed: int) -> torch.Tensor:
    """(frames, 35): the mouth's parameter follows the syllables, the rest drifts slowly."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / FPS
    spread = np.array(model.config["motion_spread"])
    out = np.zeros((frames, len(spread)))
    for k in range(len(spread)):
        rate, phase = rng.uniform(0.1, 0.35, 2), rng.uniform(0, 2 * math.pi, 2)
        out[:, k] = 0.3 * spread[k] * sum(np.sin(2 * math.pi * r * time + p) for r, p in zip(rate, phase, strict=True))
    direction = mouth_direction(model, face(model, seed))
    out += opening(time)[:, None] * direction[None]
    return torch.from_numpy(out).float()


@torch.no_grad()
def mouth_direction(model: Model, identity: torch.Tensor) -> np.ndarray:
    """The direction in parameter space that changes the mouth most and the rest of the picture least."""
    spread = torch.tensor(model.config["motion_spread"])
    count = len(spread)
    plain = model.generator(model.latents(identity[None], torch.zeros(1, count)), size=64)[0]
    moved = model.generator(model.latents(identity[None], torch.diag(spread)), size=64)
    change = (moved - plain).mean(1).reshape(count, 64, 64)
    mouth = change[:, 41:54, 22:42].reshape(count, -1)
    rest = change.clone()
    rest[:, 41:54, 22:42] = 0
    rest = rest.reshape(count, -1)
    inside, outside = mouth @ mouth.t(), rest @ rest.t()
    outside = outside + 0.05 * outside.diagonal().mean() * torch.eye(count)
    # the generalised eigenvector of (inside, outside): most change inside for the least outside
    factor = torch.linalg.inv(torch.linalg.cholesky(outside))
    _, vectors = torch.linalg.eigh(factor @ inside @ factor.t())
    direction = factor.t() @ vectors[:, -1]
    direction = direction * spread / direction.norm() * 3.5
    # open rather than close: an open mouth is darker inside
    lower = model.generator(model.latents(identity[None], torch.stack([direction, -direction])), size=64)
    if lower[0, :, 44:51, 27:37].mean() > lower[1, :, 44:51, 27:37].mean():
        direction = -direction
    found: np.ndarray = direction.numpy()
    return found


def voice() -> np.ndarray:
    """A buzz at 120 Hz through two moving formants, loud where the mouth is open; int16 (samples,)."""
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    loud = np.interp(time, np.arange(SECONDS * FPS) / FPS, opening(np.arange(SECONDS * FPS) / FPS))
    pitch = 2 * np.pi * np.cumsum(118 + 14 * np.sin(2 * np.pi * 0.9 * time)) / SAMPLE_RATE
    first, second = 480 + 260 * loud, 1300 + 500 * np.sin(2 * np.pi * 0.8 * time)
    sound = np.zeros_like(time)
    for harmonic in range(1, 28):
        frequency = 120.0 * harmonic
        gain = np.exp(-(((frequency - first) / 160) ** 2)) + 0.5 * np.exp(-(((frequency - second) / 260) ** 2))
        sound += (gain + 0.02) / harmonic**0.4 * np.sin(harmonic * pitch)
    samples: np.ndarray = sound / np.abs(sound).max() * loud * 14_000
    return samples.astype(np.int16)


def wav(samples: np.ndarray) -> Any:
    import io
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(samples.tobytes())
    file.seek(0)
    return file


@torch.no_grad()
def render(dst: Any, seed: int) -> None:
    from ..codec.media.track import Track
    from ..codec.media.videoinfo import VideoInfo

    model = load_model()
    frames = SECONDS * FPS
    identity = face(model, seed)
    motion = motions(model, frames, seed)
    plate = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    info = VideoInfo(
        width=WIDTH, height=HEIGHT, fps=Fraction(FPS), time_base=Fraction(1, FPS), first_pts=0, end_pts=frames,
        frames_hint=frames, rotation=0, matrix=1, full_range=False, duration=Fraction(SECONDS),
        sound=Track(0, 0, None, None),
    )  # fmt: skip
    audio = open_audio(wav(voice()), info)
    assert audio is not None
    about = {"comment": "a face that does not exist, rendered by fev's own model"}
    writer = VideoWriter(
        dst, WIDTH, HEIGHT, Fraction(1, FPS), Fraction(FPS), audio.config, crf=20, preset="slow", metadata=about
    )
    with audio, writer:
        for packet in audio:
            writer.write_audio(packet)
        for i in range(frames):
            square = model.generator(model.latents(identity[None], motion[i : i + 1]))[0]
            sway = np.array(
                [4 * math.sin(0.9 * i / FPS), 2 * math.sin(1.7 * i / FPS), 0, 0.02 * math.sin(1.1 * i / FPS)]
            )
            writer.write(paste(plate, square, np.array([WIDTH / 2, HEIGHT / 2, SQUARE, 0.0]) + sway), i)


def work() -> int:
    options = parser("fev.tools.make_sample", "Render the sample clip of the demo.")
    options.add_argument("output")
    options.add_argument("--seed", type=count, default=7)
    add_output(options)
    args = options.parse_args()
    with output_file(args.output, args.force) as file:
        render(file, args.seed)
    return 0


if __name__ == "__main__":
    run(work)
