"""Which functions copy memory and text, and which of them are told how much room there is.

Reference: ISO C11, 7.21.6, 7.24 and Annex K; POSIX.1-2017; BSD strlcpy(3); Linux strscpy; LSB 5.0 (*_chk).
Libraries and companies give the same functions names of their own: a prefix, other letters in capitals, a suffix. The
shape of a name tells it; the prefix is of no interest here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .late import late

HINTS = (
    "cpy", "bcopy", "memcopy", "strcopy", "memmove", "mem_move", "strcat", "strncat", "strlcat", "wcscat", "wcsncat",
    "wcslcat", "printf", "scanf", "gets",
)  # fmt: skip
"""Lower-case parts, one of which each name has."""

FAMILIES = {
    "memcpy": ("memcpy memmove mempcpy memccpy wmemcpy wmemmove wmempcpy bcopy memcopy mem_cpy mem_copy mem_move", ""),
    "strcpy": (
        "strcpy stpcpy wcscpy wcpcpy lstrcpy strcopy str_cpy str_copy",
        "strncpy stpncpy wcsncpy wcpncpy strlcpy wcslcpy strscpy strscpy_pad str_ncpy",
    ),
    "strcat": ("strcat wcscat lstrcat str_cat", "strncat wcsncat strlcat wcslcat str_ncat"),
    "sprintf": ("sprintf vsprintf", "snprintf vsnprintf swprintf vswprintf scnprintf vscnprintf"),
    "scanf": ("scanf fscanf sscanf vscanf vfscanf vsscanf wscanf fwscanf swscanf vwscanf vfwscanf vswscanf", ""),
    "gets": ("gets", "fgets fgetws fgets_unlocked fgetws_unlocked"),
}
"""By family: functions that are not told the size of their target, and those that are told a size."""

SAFE = frozenset(["strlcpy", "wcslcpy", "strscpy", "strscpy_pad", "strlcat", "wcslcat", "scnprintf", "vscnprintf"])
"""Told the size of the target, and end the text within it."""

_PLAIN: dict[str, tuple[str, str]] = {}
for _family, (_unbounded, _bounded) in FAMILIES.items():
    for _name in _unbounded.split():
        # A copy of memory is always told a length, if not that of its target.
        _PLAIN[_name] = _family, "bounded" if _family == "memcpy" else "unbounded"
    for _name in _bounded.split():
        _PLAIN[_name] = _family, "safe" if _name in SAFE else "bounded"

_CORE = "|".join(sorted(map(re.escape, _PLAIN), key=len, reverse=True))
_SHAPE = late(
    rf"(?P<under>_*)(?P<prefix>(?:[a-z][a-z0-9]{{0,15}}_)?)(?P<core>{_CORE})(?P<suffix>_?s|_?safe|_?sec|_chk|_l)?"
)
_SANITIZER = late(r"(?:asan|msan|tsan|hwasan|memprof)_")
_VERSIONED = late(r"isoc(?:99|23)_")


@lru_cache(4096)
def classify(name: str) -> tuple[str, str] | None:
    """Return (family, variant) of a function by its name; None for any other.

    Variants: unbounded, bounded, checked, safe, as `assay.facts.code.CallSites` says.
    """
    match = _SHAPE.fullmatch(name.lower())
    if match is None:
        return None
    under, prefix, core, suffix = match.group("under", "prefix", "core", "suffix")
    if core == "gets" and (prefix or (suffix and name.lower() not in ("gets_s", "_gets_s"))):
        return None if suffix != "_chk" or prefix else ("gets", "checked")  # x_gets reads anything
    if suffix == "s" and prefix == "" and not name.endswith("S"):
        return None  # a plural, not a suffix: memcpys
    if prefix == "ber_":
        return None  # LDAP's reader of BER, which is told sizes by the encoding
    family, variant = _PLAIN[core]
    if suffix == "_chk" or (under and _SANITIZER.match(prefix)):
        return family, "checked"
    if suffix in ("_s", "s", "_safe", "safe", "_sec", "sec"):
        return family, "safe"
    return family, variant


def is_annex_k(name: str) -> bool:
    """Tell whether a name ends as the functions of Annex K do, whose second argument is the size of the target."""
    lower = name.lower()
    found = classify(name)
    return found is not None and found[1] == "safe" and lower.endswith("_s") and found[0] != "scanf"
