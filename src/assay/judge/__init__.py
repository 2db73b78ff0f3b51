"""The judge: rule packs in, verdicts and findings out. Reads facts by SQL; never learns who made a thing."""

from .conclude import Counts, conclude
from .engine import Judged, digest, judge
from .pack import Pack, PackError, Rule, available_packs, load_pack
from .sql import JudgeError

__all__ = [
    "Counts",
    "JudgeError",
    "Judged",
    "Pack",
    "PackError",
    "Rule",
    "available_packs",
    "conclude",
    "digest",
    "judge",
    "load_pack",
]
