"""The surveys of a clip, one for each of its shots."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...format.errors import MediaError
from ..face.people import People
from ..face.shots import Shots
from ..face.survey import Survey
from ..media.frame import Frame
from ..media.notices import Notices

# Makes the survey of a shot: its frames, who was in the shots before, whether the clip is the
# aligned square (None = not known yet).
MakeSurvey = Callable[[Iterator[Frame], People, "bool | None"], Survey]


class Surveys:
    """Iterate for surveys; use each up before the next one is asked for.

    Args:
        shots: of the clip.
        make: a survey of one.
        notices: where cuts are counted.

    Attributes:
        people: everybody whom the clip has shown so far; whoever uses a survey up tells it
            (`meet`).
        aligned: whether the clip is the aligned square; None until a face was seen.
    """

    def __init__(self, shots: Shots, make: MakeSurvey, notices: Notices):
        self.shots, self.make, self.notices = shots, make, notices
        self.people = People()
        self.aligned: bool | None = None
        self._frames = 0
        self._keys: list[int] = []
        self._last: Survey | None = None  # that is being used up
        self._nobody = ""

    def __iter__(self) -> Iterator[Survey]:
        for frames in self.shots:
            survey = self._last = self.make(frames, self.people, self.aligned)
            yield survey
            self._last = None
            self._keys += [self._frames + key for key in survey.key_frames]
            self._frames += survey.out
            self._nobody = survey.nobody(self._frames)
            if self.aligned is None:
                self.aligned = survey.aligned
        self.notices.add("cuts", self.shots.cuts)
        if not self._frames:
            raise MediaError("the video has no frames")

    @property
    def key_frames(self) -> list[int]:
        """Numbers of the frames that others are registered to, so far."""
        now = [] if self._last is None else self._last.key_frames
        return self._keys + [self._frames + key for key in now]

    @property
    def held(self) -> int:
        """Frames without the face, so far."""
        return sum(self.notices[key] for key in ("held", "other", "absent"))

    def nobody(self) -> MediaError:
        """The error that says that the clip shows no face."""
        return MediaError(self._nobody)
