"""Make src/assay/inspect/licence_texts.tsv from the texts of the SPDX License List.

    python tools/licence_texts.py spdx-full.json 3.28.0

The input is one JSON object: {identifier: {"licenseText": text}}, as the list's data is commonly packed. The list is
published under CC0-1.0; the output holds no text, only hashes of word sequences and counts.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from array import array
from collections import Counter
from pathlib import Path

from assay.inspect.licence_texts import PATH, SEQUENCE, sequences

KEPT = 64
"""Hashes kept of a licence: the smallest ones, which are an even sample of its text."""
OWN = 16
"""Hashes kept besides that no other licence has: they tell licences that differ in a sentence."""
SHORTEST = 20
"""Sequences of words that a text must have to be told by them."""

DEPRECATED = re.compile(
    r".*\+|[AL]?GPL-\d\.\d|GFDL-\d\.\d|GPL-\d\.\d-with-.*|BSD-2-Clause-(?:Free|Net)BSD|Net-SNMP|Nunit|StandardML-NJ"
    r"|wxWindows|eCos-2\.0|bzip2-1\.0\.5|GFDL-.*invariants-.*"
)


def main(source: str, version: str) -> None:
    """Write the table."""
    texts = {name: entry["licenseText"] for name, entry in json.loads(Path(source).read_text("utf-8")).items()}
    whole = {name: frozenset(sequences(_plain(text))) for name, text in texts.items()}
    groups: dict[frozenset[int], list[str]] = {}
    for name in sorted(texts, key=str.lower):
        groups.setdefault(whole[name] if len(whole[name]) >= SHORTEST else frozenset({hash(name)}), []).append(name)
    owners = Counter(value for full in groups for value in full)
    rows = []
    for full, names in groups.items():
        kept = [name for name in names if not DEPRECATED.fullmatch(name)] or names
        known = len(full) >= SHORTEST and not DEPRECATED.fullmatch(kept[0])
        sample = sorted(full)[:KEPT] if known else []
        sample += sorted(value for value in full - set(sample) if owners[value] == 1)[:OWN] if known else []
        rows.append((kept, full, sample, names))
    lines = [f"# SPDX License List {version}; sequences of {SEQUENCE} words; made by tools/licence_texts.py"]
    for kept, full, sample, names in rows:
        code = base64.b64encode(array("I", sample).tobytes()).decode()
        lines.append("\t".join((" ".join(kept), " ".join(names), str(len(full)), code)))
    PATH.write_text("\n".join(lines) + "\n")


def _plain(text: str) -> bytes:
    """Return a text without places to fill in, and without the GPL that the list appends to version 3 of the LGPL."""
    if text.lstrip().startswith("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3"):
        text = text.partition("\nGNU GENERAL PUBLIC LICENSE\n")[0]
    return re.sub(r"<[^<>\n]{1,80}>|\[(?:year|fullname|name|yyyy|owner)[^\]\n]{0,60}\]", " ", text).encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
