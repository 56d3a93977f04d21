"""The two ends of a .fev stream under one name: Writer (`writer.py`) and Reader (`reader.py`)."""

from .reader import Reader
from .salvage import Damage
from .writer import Writer

__all__ = ["Damage", "Reader", "Writer"]
