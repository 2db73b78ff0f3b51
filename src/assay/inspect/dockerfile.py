"""Dockerfiles: their instructions, stage by stage, and secrets in ENV and ARG.

Nothing is built, no variable is put in. Source: Dockerfile reference (syntax docker/dockerfile 1.10), "Parser
directives", "Here-documents".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.network import ExposedPort
from assay.facts.service import Directive

from .base import Content, ContentInspector
from .exposed_ports import exposed
from .known_passwords import Secret, known
from .late import late
from .secrecy import WITHHELD, withhold
from .workload_secrets import credential, is_literal, says_secret, tried

DIALECT = "dockerfile"
MAX_BYTES = 1 << 20
MAX_VALUE = 1000
MOST = 1_000
"""Secrets of one instruction."""

_INSTRUCTION = late(
    r"\s*(FROM|RUN|CMD|LABEL|MAINTAINER|EXPOSE|ENV|ADD|COPY|ENTRYPOINT|VOLUME|USER|WORKDIR|ARG|ONBUILD|STOPSIGNAL"
    r"|HEALTHCHECK|SHELL)\s+(.*)",
    re.IGNORECASE | re.DOTALL,
)
_ESCAPE = late(r"#\s*escape\s*=\s*(\\|`)\s*", re.IGNORECASE)
_HERE = late(r"<<-?(['\"]?)([A-Za-z_]\w{0,63})\1")
_PAIR = late(r"""([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*+"|'[^']*'|(?:[^\s"'\\]|\\.)*+)""")
_STAGE = late(r"\S+\s+AS\s+(\S+)", re.IGNORECASE)


def instructions(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield (instruction in upper case, its arguments on one line, line number) of a Dockerfile.

    Comments inside a continued instruction are left out, here-documents too: they are input, not arguments.
    """
    escape, number, lines = "\\", 0, text.split("\n")
    held: list[str] = []
    first = 0
    ends: list[str] = []
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r")
        if ends:
            if line.strip() == ends[0]:
                ends.pop(0)
            continue
        if number == 1 and (match := _ESCAPE.fullmatch(line)):
            escape = match[1]
        if line.lstrip().startswith("#") or (not line.strip() and held):
            continue
        if not held:
            first = number
        body = line.rstrip()
        if body.endswith(escape):
            held.append(body[:-1])
            continue
        match = _INSTRUCTION.fullmatch(" ".join([*held, body]))
        held = []
        if match:
            name = match[1].upper()
            yield name, match[2].strip(), first
            if name in ("RUN", "COPY", "ADD"):
                ends = [found[2] for found in _HERE.finditer(match[2])]
    if held and (match := _INSTRUCTION.fullmatch(" ".join(held))):
        yield match[1].upper(), match[2].strip(), first


def variables(name: str, value: str) -> tuple[list[tuple[str, str]], str]:
    """Return the (name, value) of an ENV or ARG whose names say secret, and its arguments without these values."""
    found: list[tuple[str, str]] = []

    def pair(match: re.Match[str]) -> str:
        text = match[2].strip("\"'")
        if not says_secret(match[1]) or not text or not is_literal(text):
            return match[0]
        found.append((match[1], text))
        return f"{match[1]}={WITHHELD}"

    shown = _PAIR.sub(pair, value)
    if name == "ENV" and "=" not in value.split(" ", 1)[0]:  # the old form: one variable, all else is its value
        key, _, text = value.partition(" ")
        text = text.strip()
        if says_secret(key) and text and is_literal(text):
            return [(key, text)], f"{key} {WITHHELD}"
        return [], value
    return found[:MOST], shown


def inspect(content: Content) -> Iterator[ContentFact]:
    """Yield each instruction with its stage as section, and the secrets that ENV and ARG set in the clear.

    A stage is its name, else its number from 0. Raises what `known` raises.
    """
    stage, count = "", -1
    secrets: list[Secret] = []
    for name, value, line in instructions(content.text(MAX_BYTES)):
        if name == "FROM":
            count += 1
            named = _STAGE.search(value)
            stage = named[1] if named else str(count)
        shown = value
        if name in ("ENV", "ARG"):
            hidden, shown = variables(name, value)
            for variable, text in hidden:
                yield credential("environment", variable, text, line)
                found = tried("", text, line)
                secrets += [found] if found else []
        if name == "EXPOSE":
            for port in value.split():
                yield from exposed(port, DIALECT, "image", of=stage, line=line)
        yield Directive(
            dialect=DIALECT, section=stage or None, key=name.lower(), value=withhold(shown[:MAX_VALUE]), line=line
        )
    yield from known(secrets)


def is_dockerfile(path: str) -> bool:
    """Tell whether a path is that of a Dockerfile, by its name."""
    if "ockerfile" not in path and "ontainerfile" not in path:
        return False
    name = path[path.rfind("/") + 1 :].lower()
    return name.startswith(("dockerfile", "containerfile")) or name.endswith((".dockerfile", ".containerfile"))


INSPECTOR = ContentInspector(
    name="dockerfile",
    version=3,
    families=(Directive, Credential, KnownPassword, ExposedPort),
    inspect=inspect,
    path_has=("ockerfile", "ontainerfile"),
    wants_path=is_dockerfile,
    max_size=MAX_BYTES,
    text_only=True,
    unseen=(
        "what a variable or build argument puts in, what a base image sets, and what RUN does",
        "here-documents: scripts and files that stand in the Dockerfile itself",
    ),
)
