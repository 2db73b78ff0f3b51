"""Licences: tags, texts, notices, fields; what only mentions a licence is no statement."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.licence import Licence
from assay.inspect import licence_fields, licences, scan
from assay.inspect.licence_tables import expression, named
from assay.inspect.licence_texts import identifiers, index, match
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

COMMON = Path("/usr/share/common-licenses")
MIT = b"""Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
BSD2 = b"""Redistribution and use in source and binary forms, with or without modification, are permitted provided that
the following conditions are met:
1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
GPL2 = b"""This program is free software; you can redistribute it and/or modify
it under the terms of the GNU General Public License as published by
the Free Software Foundation; either version 2 of the License, or
(at your option) any later version. It comes WITHOUT ANY WARRANTY.
"""


def find(data: bytes, kind: str | None = None) -> list[Licence]:
    found = inspect(licences.INSPECTOR, data, kind)
    assert all(isinstance(fact, Licence) for fact in found)
    return found  # type: ignore[return-value]


def commented(text: bytes) -> bytes:
    return b"/*\n" + b"".join(b" * " + line + b"\n" for line in text.splitlines()) + b" */\n"


def test_tags() -> None:
    data = (
        b"// SPDX-License-Identifier: gpl-2.0+ WITH Linux-syscall-note\n"
        b"/* SPDX-License-Identifier: (MIT OR apache-2.0) */\n"
        b"# SPDX-License-Identifier: Acme-1.0\n"
        b"# SPDX-License-Identifier: MIT OR\n"
        b"# SPDX-License-Identifier: <id>\n"
    )
    assert find(data) == [
        Licence(offset=3, line=1, expression="GPL-2.0-or-later WITH Linux-syscall-note", evidence="tag"),
        Licence(offset=64, line=2, expression="(MIT OR Apache-2.0)", evidence="tag"),
        Licence(offset=114, line=3, expression="LicenseRef-Acme-1.0", evidence="tag"),
        Licence(offset=150, line=4, expression="NOASSERTION", evidence="tag", stated="MIT OR"),
    ]
    assert [f.expression for f in find(b"\x7fELF\0SPDX-License-Identifier: MIT\0x\0", "elf")] == ["MIT"]


@pytest.mark.parametrize(
    "form", [bytes, commented, bytes.upper, lambda text: b"x = 1\n" * 900 + text + b"y = 2\n" * 900]
)
@pytest.mark.parametrize(("text", "name"), [(MIT, "MIT"), (BSD2, "BSD-2-Clause")])
def test_texts_in_any_form(form: object, text: bytes, name: str) -> None:
    data = form(text)  # type: ignore[operator]
    (fact,) = find(data)
    assert (fact.expression, fact.evidence) == (name, "text")
    assert fact.match is not None
    assert fact.match > 0.85
    assert fact.offset is not None
    assert data[fact.offset : fact.offset + 4].lower() in (b"perm", b"redi")


def test_two_texts_are_not_a_third_that_has_parts_of_both() -> None:
    assert sorted(fact.expression for fact in find(BSD2 + MIT)) == ["BSD-2-Clause", "MIT"]
    assert find(MIT[: len(MIT) // 2]) == []


@pytest.mark.skipif(not COMMON.is_dir(), reason="Debian's texts of common licences are not here")
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("Apache-2.0", "Apache-2.0"),
        ("Artistic", "Artistic-1.0-Perl"),
        ("BSD", "BSD-3-Clause"),
        ("CC0-1.0", "CC0-1.0"),
        ("GFDL-1.3", "GFDL-1.3-only OR GFDL-1.3-or-later"),
        ("GPL-1", "GPL-1.0-only OR GPL-1.0-or-later"),
        ("GPL-2", "GPL-2.0-only OR GPL-2.0-or-later"),
        ("GPL-3", "GPL-3.0-only OR GPL-3.0-or-later"),
        ("LGPL-2", "LGPL-2.0-only OR LGPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only OR LGPL-2.1-or-later"),
        ("LGPL-3", "LGPL-3.0-only OR LGPL-3.0-or-later"),
        ("MPL-1.1", "MPL-1.1"),
        ("MPL-2.0", "MPL-2.0 OR MPL-2.0-no-copyleft-exception"),
    ],
)
def test_common_licences(file: str, expected: str) -> None:
    data = (COMMON / file).read_bytes()
    assert [(fact.expression, fact.evidence) for fact in find(data)] == [(expected, "text")]
    assert [found.expression for found in match(data)] == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GPL2, "GPL-2.0-or-later"),
        (commented(GPL2), "GPL-2.0-or-later"),
        (GPL2.replace(b"General", b"Lesser General").replace(b"version 2", b"version 2.1"), "LGPL-2.1-or-later"),
        (b"under the terms of the GNU General Public License version 2 as published by the FSF", "GPL-2.0-only"),
        (b"License AGPLv3+: GNU AGPL version 3 or later", "AGPL-3.0-or-later"),
        (b"License GPLv2: GNU GPL version 2", "GPL-2.0-only"),
        (b"Licensed under the Apache License, Version 2.0 (the x)", "Apache-2.0"),
        (b"subject to the Mozilla Public\n# License, v. 2.0.", "MPL-2.0"),
        (b"It is released under the MIT license.", "MIT"),
        (b"Vendor Proprietary and Confidential", "LicenseRef-proprietary"),
    ],
)
def test_notices(text: bytes, expected: str) -> None:
    for data, kind in ((text, "text"), (b"\0\1" + text + b"\0", "elf")):
        assert [(f.expression, f.evidence) for f in find(data, kind)] == [(expected, "notice")]


@pytest.mark.parametrize(
    "text",
    [
        b"the complete text of the GNU General Public License version 2 can be found in /usr/share",
        b"GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007",
        b"the license of the driver; no warranty; redistribution",
        b"MIT licensing office",
        b"GNU General Public License",
    ],
)
def test_mentions_are_no_statements(text: bytes) -> None:
    assert find(text, "text") == []


def test_kernel_modules() -> None:
    data = b"\x7fELF" + bytes(60) + b"\0license=Dual BSD/GPL\0author=x\0"
    assert find(data, "elf") == [
        Licence(
            offset=65,
            expression="LicenseRef-BSD OR GPL-2.0-only OR GPL-2.0-or-later",
            evidence="field",
            stated="Dual BSD/GPL",
            scope="kernel module",
        )
    ]
    assert find(b"\0license=x\0", "elf") == []


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPLv2", "GPL-2.0-only"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("Expat", "MIT"),
        ("GPL-2 or MIT", "GPL-2.0-only OR MIT"),
        ("LGPL-3+ and/or BSD-3", "LGPL-3.0-or-later OR BSD-3-Clause"),
        ("GPL-3+ with Autoconf exception", "GPL-3.0-or-later WITH Autoconf-exception-generic"),
        ("public-domain", "LicenseRef-public-domain"),
        ("Some own words", "LicenseRef-Some-own-words"),
        ("(MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"),
        ("", "NOASSERTION"),
    ],
)
def test_names(stated: str, expected: str) -> None:
    assert named(stated) in (expected, expected.strip("()"))


@pytest.mark.parametrize("text", ["", "MIT MIT", "OR", "MIT AND", "(MIT", "MIT)", "()", "MIT $", "WITH x", "(" * 300])
def test_what_is_no_expression(text: str) -> None:
    assert expression(text) is None


def test_the_table_is_whole() -> None:
    licences_, samples, owner, others = index()
    assert {"mit", "gpl-2.0-only", "apache-2.0"} <= identifiers().keys()
    assert len(identifiers()) > 700
    assert sum(one.sample > 0 for one in licences_) > 600
    assert all(one.sample <= 80 for one in licences_)
    assert [len(sample) for sample in samples] == [one.sample for one in licences_]
    assert len(owner) > 20_000
    assert len(owner) + sum(map(len, others.values())) == sum(one.sample for one in licences_)


def fields(path: str, text: str) -> list[Licence]:
    wants = licence_fields.INSPECTOR.wants_path
    assert wants is not None
    assert wants(path)
    return inspect(licence_fields.INSPECTOR, text.encode(), "text")  # type: ignore[return-value]


def test_debian_copyright() -> None:
    text = (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nSource: x\n\n"
        "Files: *\nCopyright: x\nLicense: GPL-2+\n Text\n .\n more\n\n"
        "Files: a/*\n       b.c\nCopyright: y\nLicense: Expat\n\nLicense: Expat\n words\n"
    )
    assert fields("/usr/share/doc/x/copyright", text) == [
        Licence(line=6, expression="GPL-2.0-or-later", evidence="field", stated="GPL-2+", scope="*"),
        Licence(line=14, expression="MIT", evidence="field", stated="Expat", scope="a/* b.c"),
    ]


def test_packages_of_languages() -> None:
    text = "Metadata-Version: 2.1\nName: x\nLicense: MIT\nClassifier: License :: OSI Approved :: MIT License\n\n"
    assert fields("/x.dist-info/METADATA", text) == [
        Licence(line=3, expression="MIT", evidence="field", stated="MIT", scope="x"),
        Licence(line=4, expression="MIT", evidence="field", stated="License :: OSI Approved :: MIT License", scope="x"),
    ]
    package = {"name": "y", "licenses": [{"type": "MIT"}, "ISC"]}
    assert [(f.expression, f.scope) for f in fields("/package.json", json.dumps(package))] == [
        ("MIT", "y"),
        ("ISC", "y"),
    ]
    assert fields("/package.json", '{"name": 1, "license": "SEE LICENSE IN x"}') == []
    cargo = '[package]\nname = "z"\nlicense = "MIT/Apache-2.0"\n[dependencies]\nlicense = "no"\n'
    assert [(f.expression, f.scope, f.line) for f in fields("/Cargo.toml", cargo)] == [("MIT OR Apache-2.0", "z", 3)]
    pom = "<project>\n<licenses><license><name>Apache License 2.0</name></license></licenses></project>"
    assert [(f.expression, f.line) for f in fields("/a.pom", pom)] == [("Apache-2.0", 2)]
    for broken in ("{", "{" + '"a":[' * 100_000):
        with pytest.raises(ValueError, match=r"."):
            fields("/package.json", broken)


def test_which_paths() -> None:
    wants = licence_fields.INSPECTOR.wants_path
    assert wants is not None
    assert not any(wants(path) for path in ("/usr/bin/ls", "/a/notcopyright", "/x/METADATA.txt", "/my-package.json"))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "MAX_FACTS", 3)
    kept: list[Licence] = []
    data = b"".join(b"# SPDX-License-Identifier: X-%d\n" % n for n in range(9))
    with pytest.raises(LimitReached):
        kept.extend(licences.INSPECTOR.inspect(content_of(licences.INSPECTOR, data)))
    assert len(kept) == 3
    monkeypatch.setattr(licences, "MAX_ZONES", 100)
    with pytest.raises(LimitReached):
        find(MIT * 2)


@pytest.mark.parametrize(
    "unit",
    [b"warranty license ", b"SPDX-License-Identifier: (", b"general public license ", MIT,
     b"a b license warranty\n" * 50, b"\0license=", b"* # " * 20 + b"general"],
)  # fmt: skip
def test_repetition_stays_cheap(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HITS", 3_000)
    begun = time.process_time()
    with contextlib.suppress(LimitReached):
        find(unit * (300_000 // len(unit)), "text")
    assert time.process_time() - begun < 3


def test_broken_contents_end_well() -> None:
    for variant in mangled(MIT + GPL2 + b"SPDX-License-Identifier: MIT\n" + BSD2, count=120):
        find(variant)


@settings(deadline=None)  # the first call compiles the expressions
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    named(text)
    expression(text)
    for head in ("Format: copyright-format\n", "Metadata-Version: 2\n", "{", "[package]\n", "<project"):
        with contextlib.suppress(ValueError):
            list(licence_fields.inspect(content_of(licence_fields.INSPECTOR, (head + text).encode(), "text")))
