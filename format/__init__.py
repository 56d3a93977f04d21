"""Bytes to integers and back: the `.fev` container. What the integers mean as pictures is
`codec/`'s business.

Nothing here imports torch, and no floating-point result decides a symbol. `spec/fev-1.md` is this
package on paper; `tools/fev_read.py` is a second reader written from that paper with the standard
library only.
"""

from .actor import Actor
from .audio import AudioConfig, AudioPacket
from .container import Damage, Reader, Writer
from .delta import DeltaTensor
from .errors import FevError
from .excerpt import Excerpt, excerpt, excerpts
from .header import Header
from .limits import Limits
from .modes import Modes
from .reference import Identity
from .segment import Segment, Track
from .stage import Patch, Place, Set
from .still import Pivot, Still
from .verify import VerifyReport, verify
from .video import Video, VideoConfig

__all__ = [
    "Actor",
    "AudioConfig",
    "AudioPacket",
    "Damage",
    "DeltaTensor",
    "Excerpt",
    "FevError",
    "Header",
    "Identity",
    "Limits",
    "Modes",
    "Patch",
    "Pivot",
    "Place",
    "Reader",
    "Segment",
    "Set",
    "Still",
    "Track",
    "VerifyReport",
    "Video",
    "VideoConfig",
    "Writer",
    "excerpt",
    "excerpts",
    "verify",
]
