"""The presets as values: how much work an encoder does, in which passes, and whether it sees the
clip whole.

Everything that differs between `fast`, `medium` and `slow` stands in `EFFORTS`.  Nothing else
compares a preset's name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from .motion import MotionSettings

FULL_LENGTH = 300  # frames: a clip of so many gets all steps
LEAST_LENGTH = 0.25  # share of the steps that the shortest clip gets
LEAST_STEPS = 8  # of a pass
TRIAL_SHARE = 8  # a trial takes so much fewer steps
TRIAL_KEYS = 64  # frames that a trial is fitted to

Steps = tuple[tuple[int, int], ...]  # picture size in pixels and number of optimiser steps, coarse to fine


class MotionPass(NamedTuple):
    """One pass of a fit of motion under modes.

    Args:
        size: of the pictures that are compared, pixels.
        steps: of the optimiser.
        rate: of the optimiser, in units of the parameters.
    """

    size: int
    steps: int
    rate: float


@dataclass(frozen=True)
class SearchEffort:
    """How much the searches of imported networks do (`fev.codec.paper`).

    Args:
        size: of the pictures that are compared, pixels.
        pose_steps, facial_steps: of the searches for a frame's pose and attributes.
        perceptual: whether LPIPS is used where it was imported.
        tune: of the weights around the pivots; empty = the weights stay.
    """

    size: int
    pose_steps: int
    facial_steps: int
    perceptual: bool
    tune: Steps


@dataclass(frozen=True)
class Effort:
    """How much work an encoder does.

    Args:
        whole: the clip is seen whole before the first byte is written; otherwise once, as it comes.
        segment: seconds of a segment where the caller does not say.
        chapter: seconds that are fitted and written at once, about: their squares lie on disk.
        step_factor: on the steps of `tune` and `modes`, beside the clip's length.
        tune: of a weight delta, which is sent where there is no pivot; empty = none is sent.
        tune_keys: frames that the weight delta is fitted to.
        modes: of the clip's own modes.
        mode_keys: frames that the modes are fitted to.
        modes_again: of a second fit of the modes, where a bound on the worst frame asks for one.
        first_moves: of the shared modes, where the clip's own begin.
        thorough_still: whether the pivot's picture gets its coder's slowest setting.
        motion: of parameters that drive the model and nothing else; without steps what the inverter
            reads stays.
        pivot_motion: of a pivot that the shared modes move.
        mode_motion: of parameters under modes that were fitted to this clip.
        known_motion: of parameters under modes of another file, which begin farther away.
        search: of imported networks.
    """

    whole: bool
    segment: float
    chapter: float
    step_factor: float
    tune: Steps
    tune_keys: int
    modes: Steps
    mode_keys: int
    modes_again: Steps
    first_moves: MotionSettings
    thorough_still: bool
    motion: MotionSettings
    pivot_motion: MotionSettings
    mode_motion: tuple[MotionPass, ...]
    known_motion: tuple[MotionPass, ...]
    search: SearchEffort

    def trial(self) -> Effort:
        """What is enough to tell which of two appearances is the better one, not to show it."""
        return replace(
            self,
            step_factor=self.step_factor / TRIAL_SHARE,
            tune=self.tune[:1],
            modes=self.modes[:1],
            mode_keys=min(self.mode_keys, TRIAL_KEYS),
            tune_keys=min(self.tune_keys, TRIAL_KEYS),
            mode_motion=self.mode_motion[:1],
        )

    def steps_for(self, steps: Steps, frames: int) -> Steps:
        """The steps for a clip of so many frames: they grow with it up to a ceiling, so that a
        short one need not wait."""
        share = min(max(frames / FULL_LENGTH, LEAST_LENGTH), 1.0) * self.step_factor
        return tuple((size, max(LEAST_STEPS, round(count * share))) for size, count in steps)


MEDIUM = Effort(
    whole=True,
    # Damage or joining late costs up to a segment of the clip; seeking costs nothing, since only
    # symbols are decoded from a segment's start on.  With framing a frame takes 43.1 bits at 2 s,
    # 40.9 at 3, 39.5 at 5, 38.4 at 10 (three clips, 30 frames a second).
    segment=5.0,
    # Of squares at 256 and 30 frames a second, two minutes are 0.7 GB of disk.  From 27 seconds on an
    # identity has all its bytes, and from ten all its steps: what a new one costs is then a small share.
    chapter=120.0,
    step_factor=1.0,
    tune=(),
    tune_keys=160,
    modes=((128, 1200), (256, 600)),
    mode_keys=320,
    modes_again=((128, 600), (256, 240)),
    first_moves=MotionSettings(64, 60, 0.4, 0.0),
    thorough_still=True,
    motion=MotionSettings(64, 16),
    pivot_motion=MotionSettings(64, 12, 0.4, 0.0007, 0.006),
    mode_motion=(MotionPass(128, 16, 0.35), MotionPass(256, 8, 0.12)),
    known_motion=(MotionPass(64, 40, 0.5), MotionPass(128, 24, 0.35), MotionPass(256, 10, 0.12)),
    search=SearchEffort(256, 20, 40, True, ((256, 60),)),
)
FAST = replace(
    MEDIUM,
    whole=False,
    segment=1.0,  # it can only be sent when it is complete
    modes=(),
    modes_again=(),
    thorough_still=False,
    motion=MotionSettings(steps=0),
    mode_motion=(),
    known_motion=(MotionPass(64, 40, 0.5), MotionPass(128, 8, 0.25)),
    search=SearchEffort(128, 6, 12, False, ()),
)
SLOW = replace(
    MEDIUM,
    step_factor=3.0,
    tune=((64, 100), (128, 200), (256, 90)),
    motion=MotionSettings(64, 24),
    mode_motion=(MotionPass(128, 24, 0.35), MotionPass(256, 12, 0.12)),
    search=SearchEffort(256, 40, 100, True, ((256, 350),)),  # the paper's own numbers of steps
)
EFFORTS = {"fast": FAST, "medium": MEDIUM, "slow": SLOW}
DEFAULT_PRESET = "medium"
