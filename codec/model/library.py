"""Where models lie: those of the package, and the folder into which `fev-models import` puts what a
user brings.

`fev.codec.model.modelfile` loads them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from ...format.errors import FevError, UsageError

BUILT_IN = Path(__file__).parent / "files"
VARIABLE = "FEV_MODELS"  # names another folder
ENDING = ".safetensors"
ENCODER = ".encoder"  # what only an encoder needs lies in NAME.encoder.safetensors


def folder() -> Path:
    """The user's folder of models; it need not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(platformdirs.user_data_dir("fev", appauthor=False)) / "models"


def check_name(name: str) -> str:
    """A name that is a file's name on every system.  Raises UsageError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise UsageError(f"{name!r} is no name of a model: small letters, digits, - and _, at most 41")
    return name


def built_in() -> list[str]:
    return sorted(p.name.removesuffix(ENDING) for p in BUILT_IN.glob(f"*{ENDING}"))


def imported() -> list[str]:
    names = (p.name.removesuffix(ENDING) for p in folder().glob(f"*{ENDING}"))
    return sorted(n for n in names if not n.endswith(ENCODER))


def digest_beside(model: Path) -> str | None:
    """The sha256 that was written down when the model was made."""
    try:
        words = model.with_suffix(".sha256").read_text().split()
    except OSError:
        return None
    return words[0] if words else None


def holding(sha256: str) -> str | None:
    """Name of the model of this digest, built in or imported; None where there is none."""
    for place, names in ((BUILT_IN, built_in()), (folder(), imported())):
        for name in names:
            if digest_beside(place / f"{name}{ENDING}") == sha256:
                return name
    return None


def find(name_or_path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Where a model lies, and the digest it must have (None where no file beside it says).

    A bare name is looked for in the package, then in the user's folder; anything else is a path.

    Raises:
        FevError.
    """
    if Path(name_or_path).name == str(name_or_path):
        for place in (BUILT_IN, folder()):
            model = place / f"{name_or_path}{ENDING}"
            if model.is_file():
                return model, digest_beside(model)
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join([*built_in(), *imported()])
        raise FevError(f"no model {str(name_or_path)!r}: neither a file nor one of {known}")
    return path, None
