from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = """
name = "trial"
title = "A trial"
document = "Trial"
version = "1"
"""

RULE = '''
id = "{id}"
title = "No telnet"
criteria = ["national-security"]
classes = ["S"]
power = "decide"
severity = "high"
check = "Looks."
limits = "Sees little."
remedy = "Remove it."
references = ["none"]
families = ["file"]

[applies]
noun = "files"
none = "there is no file"
sql = "SELECT id FROM file"

[findings]
sql = """
SELECT 'A file: ' || path AS message, container AS tree, id AS file, 'file:' || id AS evidence
  FROM file WHERE path GLOB '*telnet*'
"""
'''

MakePack = Callable[..., Path]


@pytest.fixture
def make_pack(tmp_path: Path) -> MakePack:
    """Write a pack: rules by identifier, each the text above with replacements, or a whole text."""

    def make(rules: dict[str, str | list[tuple[str, str]]], head: str = HEAD, name: str = "trial") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "pack.toml").write_text(textwrap.dedent(head))
        for id_, change in rules.items():
            text = change if isinstance(change, str) else RULE.format(id=id_)
            for old, new in [] if isinstance(change, str) else change:
                assert old in text, old
                text = text.replace(old, new)
            (folder / f"{id_}.toml").write_text(text)
        return folder

    return make
