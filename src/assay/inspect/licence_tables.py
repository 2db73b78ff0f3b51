"""Names of licences as people, packages and kernel modules write them, in SPDX's terms.

Sources: SPDX specification 2.3 Annex D (expressions); Debian's machine-readable copyright format 1.0, "Short name";
Linux Documentation/process/license-rules.rst, "MODULE_LICENSE"; Trove classifiers of PyPI.
"""

from __future__ import annotations

import re
from functools import cache

from .late import late
from .licence_texts import identifiers

MAX_EXPRESSION = 200
NOASSERTION = "NOASSERTION"

_TOKEN = late(r"\(|\)|[A-Za-z0-9.:+-]+|\S")
_IDENTIFIER = late(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?[A-Za-z0-9.-]+\+?")


def expression(text: str) -> str | None:
    """Return an SPDX expression in canonical form, None if the text is none.

    Identifiers that the list does not have become LicenseRef-...; deprecated ones of the GNU licences become the ones
    that replaced them.
    """
    known_ones = identifiers()
    out: list[str] = []
    depth = 0
    operand = True
    for token in _TOKEN.findall(text[:MAX_EXPRESSION]):
        upper = token.upper()
        if token == "(" and operand:  # noqa: S105 - a bracket
            depth += 1
        elif token == ")" and not operand and depth:  # noqa: S105
            depth -= 1
        elif upper in ("AND", "OR", "WITH") and not operand:
            token, operand = upper, True  # noqa: PLW2901
        elif operand and upper not in ("AND", "OR", "WITH") and _IDENTIFIER.fullmatch(token):
            operand = False
            if out and out[-1] == "WITH":
                pass  # an exception, which has a list of its own
            elif known := RENAMED.get(token.lower()) or known_ones.get(token.lower()):
                token = known  # noqa: PLW2901
            elif token.endswith("+") and (known := known_ones.get(token[:-1].lower())):
                token = f"{known}+"  # noqa: PLW2901
            elif not token.startswith(("LicenseRef-", "DocumentRef-")) and upper not in ("NONE", NOASSERTION):
                token = f"LicenseRef-{token.rstrip('+')}"  # noqa: PLW2901
        else:
            return None
        out.append(token)
    if not out or operand or depth:
        return None
    return " ".join(out).replace("( ", "(").replace(" )", ")")


RENAMED = {
    f"{family.lower()}-{version}{old}": f"{family}-{version}-{new}"
    for family, versions in (
        ("GPL", ("1.0", "2.0", "3.0")),
        ("LGPL", ("2.0", "2.1", "3.0")),
        ("AGPL", ("1.0", "3.0")),
        ("GFDL", ("1.1", "1.2", "1.3")),
    )
    for version in versions
    for old, new in (("", "only"), ("+", "or-later"))
}

_SHORT = {
    "expat": "MIT",
    "mit/x11": "MIT",
    "artistic": "Artistic-1.0-Perl",
    "artistic-1": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "apache-2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "LicenseRef-Apache",
    "the apache software license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "bsd": "LicenseRef-BSD",
    "bsd license": "LicenseRef-BSD",
    "bsd-3": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "bsd-3-clauses": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd-like": "LicenseRef-BSD",
    "mit license": "MIT",
    "the mit license": "MIT",
    "zlib/libpng": "Zlib",
    "boost-1.0": "BSL-1.0",
    "cc0": "CC0-1.0",
    "psf": "PSF-2.0",
    "psf-2": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "mpl-2": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "isc license": "ISC",
    "the unlicense": "Unlicense",
    "public-domain": "LicenseRef-public-domain",
    "public domain": "LicenseRef-public-domain",
    "proprietary": "LicenseRef-proprietary",
    "unlicensed": "LicenseRef-proprietary",
    "commercial": "LicenseRef-proprietary",
}
_GNU = late(r"(?:gnu )?(A|L)?GPL(?: |-)?v?(\d)(?:\.(\d))?(?:\.0)?(\+| or later| or any later version)?", re.IGNORECASE)
_GFDL = late(r"GFDL(?:-NIV)?-(1\.[123])(\+)?", re.IGNORECASE)
_JOINED = late(r"\s*,?\s+(and/or|and|or)\s+|\s*[|]\s*", re.IGNORECASE)
_EXCEPTION = late(r"[ _]with[ _](.*?)[ _-]*exceptions?", re.IGNORECASE)

EXCEPTIONS = {
    "gcc": "GCC-exception-3.1",
    "gcc-runtime": "GCC-exception-3.1",
    "autoconf": "Autoconf-exception-generic",
    "bison": "Bison-exception-2.2",
    "libtool": "Libtool-exception",
    "classpath": "Classpath-exception-2.0",
    "font": "Font-exception-2.0",
    "openssl": "LicenseRef-OpenSSL-exception",
    "linux-syscall-note": "Linux-syscall-note",
}


def named(text: str) -> str:
    """Return what a licence's name in a database means as SPDX expression; LicenseRef-... where the list has none."""
    text = " ".join(text.split())[:MAX_EXPRESSION]
    if (whole := expression(text)) and "LicenseRef-" not in whole:
        return whole
    parts = _JOINED.split(text)
    out = [_one(parts[0])]
    for number in range(1, len(parts), 2):
        join = (parts[number] or "or").upper()
        out += ["OR" if join == "AND/OR" else join, _one(parts[number + 1])]
    return " ".join(out) if all(out) else NOASSERTION


def _one(text: str) -> str:
    name = text.strip(" ,;.")
    with_ = _EXCEPTION.search(name)
    base = name[: with_.start()] if with_ else name
    low = base.lower()
    if found := _SHORT.get(low):
        result = found
    elif gnu := _GNU.fullmatch(base):
        later = "or-later" if gnu[4] else "only"
        result = f"{(gnu[1] or '').upper()}GPL-{gnu[2]}.{gnu[3] or 0}-{later}"
    elif gfdl := _GFDL.fullmatch(base):
        result = f"GFDL-{gfdl[1]}-{'or-later' if gfdl[2] else 'only'}"
    else:
        result = expression(base) or _reference(base)
    if not with_ or not result:
        return result
    return f"{result} WITH {EXCEPTIONS.get(with_[1].lower(), _reference(with_[1] + '-exception'))}"


def _reference(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
    return f"LicenseRef-{plain[:80]}" if plain else ""


_EITHER = "GPL-2.0-only OR GPL-2.0-or-later"
MODULES = {
    "GPL": _EITHER,
    "GPL v2": _EITHER,
    "GPL and additional rights": f"({_EITHER}) AND LicenseRef-additional-rights",
    "Dual BSD/GPL": f"LicenseRef-BSD OR {_EITHER}",
    "Dual MIT/GPL": f"MIT OR {_EITHER}",
    "Dual MPL/GPL": f"LicenseRef-MPL OR {_EITHER}",
    "Proprietary": "LicenseRef-proprietary",
}
"""MODULE_LICENSE: "GPL" and "GPL v2" both say version 2, and not whether a later one may be chosen."""

# Notices, in text whose white space, comment signs and line ends have become one space, in lower case.
GNU_FAMILY = late(r"gnu (lesser |library |affero )?general public licen[sc]e")
GNU_LATER = late(
    r"either version (\d)(?:\.(\d))? of the (?:gnu )?(?:lesser |library |affero )?(?:general public )?licen[sc]e,? "
    r"(?:or,? )?\(?,?(?:or )?(?:at your (?:option|choice)\)?,? )?any later"
    r"|version (\d)(?:\.(\d))?(?: of the licen[sc]e)?,? or (?:\(?at your option\)? )?(?:any )?later"
)
GNU_ONLY = late(
    r"\A,?(?: as published by the free software foundation[,;:]?)?(?: under)?(?: the)?(?: terms of)?,? "
    r"\(?version (\d)(?:\.(\d))?"
    r"|version (\d)(?:\.(\d))?(?:,? (?:of the licen[sc]e )?(?:only|as published)| of the licen[sc]e)"
)
GNU_ELSEWHERE = late(r"(?:text|copy|version|section \d+)s? of the(?: following)? \Z")
GNU_FOUND = late(r"[^.]{0,40}? (?:can be|is|may be) found in|,? version \d(?:\.\d)?,? \d{0,2} ?[a-z]+ \d{4}")
"""Words around a name that only says where the licence's text is kept, or is that text's title."""
GNU_SHORT = late(r"licen[sc]e (a|l)?gplv(\d)(?:\.(\d))?(\+)?[:,]")
_NOTICES = (
    ("Apache-2.0", r"under the apache licen[sc]e,? (?:version 2\.0|v\.? ?2)"),
    ("MPL-2.0", r"mozilla public licen[sc]e,? v(?:ersion|\.)? ?2\.0"),
    ("MPL-1.1", r"mozilla public licen[sc]e version 1\.1"),
    ("EPL-2.0", r"eclipse public licen[sc]e (?:- )?v(?:ersion)? ?2\.0"),
    ("EPL-1.0", r"eclipse public licen[sc]e (?:- )?v(?:ersion)? ?1\.0"),
    ("BSL-1.0", r"boost software licen[sc]e,? version 1\.0"),
    ("MIT", r"(?:under|with|released under|subject to) (?:the )?(?:terms of )?(?:the )?mit(?:/x11)? licen[sc]e"),
    ("LicenseRef-BSD", r"(?:under|with) (?:the |a )?(?:terms of )?(?:the )?bsd(?:-style)? licen[sc]e"),
    ("LicenseRef-proprietary", r"(?:proprietary and confidential|confidential and proprietary)"),
)


@cache
def notices() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return (expression, words that name it)."""
    return tuple((name, re.compile(pattern)) for name, pattern in _NOTICES)


CLASSIFIERS = {
    "Apache Software License": "LicenseRef-Apache",
    "MIT License": "MIT",
    "BSD License": "LicenseRef-BSD",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Other/Proprietary License": "LicenseRef-proprietary",
    "Public Domain": "LicenseRef-public-domain",
}
