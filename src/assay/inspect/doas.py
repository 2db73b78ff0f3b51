"""doas: the rules of doas.conf, and the means to act as somebody else that they give.

Source: doas.conf(5) of OpenDoas 6.8.2: the last rule that matches holds. Alpine's build also reads /etc/doas.d/*.conf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts.access import Escalation
from assay.facts.service import Directive

from .base import Content, ContentInspector, Tree, TreeInspector
from .late import late
from .secrecy import withhold

DIALECT = "doas.conf"

_WORD = late(r'(?:"(?:\\.|[^"\\])*"|\\.|[^\s"\\{}#])+|[{}]')
_JOINED = late(r"\\\n")


def _words(line: str) -> list[str] | None:
    """Return the words of a rule without its comment, quotes taken off; None if a quote does not end."""
    found, at = [], 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] == "#":
            break
        elif word := _WORD.match(line, at):
            found.append(re.sub(r'"|\\(.)', lambda m: m[1] or "", word[0]))
            at = word.end()
        else:
            return None
    return found


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a rule: key permit or deny, value the rest.

    Raises:
        ValueError: a line is no rule; the others have been read.
    """
    wrong, number = 0, 1
    for line in re.split(r"(?<!\\)\n", content.text()):
        words = _words(_JOINED.sub(" ", line))
        if words is None or (words and (words[0] not in ("permit", "deny") or len(words) < 2 or not _rule(words[1:]))):
            wrong = wrong or number
        elif words:
            value = " ".join(f'"{w}"' if re.search(r"\s", w) or not w else w for w in words[1:])
            yield Directive(dialect=DIALECT, key=words[0], value=withhold(value), line=number)
        number += line.count("\n") + 1
    if wrong:
        raise ValueError(f"line {wrong}: no rule of doas")


def _rule(words: list[str]) -> tuple[list[str], str, str, str] | None:
    """Return a rule's options, identity, target and command; None if it has no identity or something is left over."""
    options = []
    at = 0
    while at < len(words) and words[at] in ("nopass", "nolog", "persist", "keepenv", "setenv"):
        if words[at] == "setenv":
            if words[at + 1 : at + 2] != ["{"] or "}" not in words[at:]:
                return None
            end = words.index("}", at)
            options.append("setenv " + " ".join(word.partition("=")[0] for word in words[at + 2 : end]))
            at = end
        else:
            options.append(words[at])
        at += 1
    if at >= len(words):
        return None
    identity, rest = words[at], words[at + 1 :]
    target, command = "ALL", "ALL"
    if rest[:1] == ["as"] and len(rest) > 1:
        target, rest = rest[1], rest[2:]
    if rest[:1] == ["cmd"] and len(rest) > 1:
        command, rest = rest[1], rest[2:]
        if rest[:1] == ["args"]:
            command, rest = " ".join([command, *(rest[1:] or ['""'])]), []
    return None if rest else (options, identity, target, command)


def escalations(tree: Tree) -> Iterator[Escalation]:
    """Yield one escalation a `permit` rule; a later `deny` rule is in the directives only.

    The policy stands whether doas is there or not: `installed` tells.
    """
    installed = any(file.type in ("regular", "hardlink", "symlink") for file in tree.glob("*/bin/doas"))
    main = tree.lookup("/etc/doas.conf")
    extra = [file for file in tree.listdir("/etc/doas.d") if file.path.endswith(".conf")]
    for file in [*([main] if main else []), *extra]:
        for line in tree.facts(Directive, file):
            rule = _rule(_words(line.value) or []) if line.dialect == DIALECT and line.key == "permit" else None
            if rule is None:
                continue
            options, identity, target, command = rule
            yield Escalation(
                mechanism="doas",
                who=f"%{identity[1:]}" if identity[:1] == ":" else identity,
                target=target,
                command=command,
                password="nopass" not in options,
                options=options,
                installed=installed,
                path=file.path,
                line=line.line,
            )


INSPECTOR = ContentInspector(
    name="doas",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/doas.",),
    wants_path=lambda path: "/doas." in path and (path.endswith("/etc/doas.conf") or "/etc/doas.d/" in path),
    max_size=1 << 20,
)

ESCALATIONS = TreeInspector(
    name="doas-escalations",
    version=2,
    families=(Escalation,),
    inspect=escalations,
    unseen=("which of several rules that match holds: doas takes the last, a `deny` too",),
)
