"""Libraries for cryptography and TLS that a binary is, contains or uses: by symbols, and by texts of their versions.

A binary that exports a library's functions is the library (or one built upon it); one that defines them without
exporting them, or holds the library's version text and imports nothing of it, contains it; one that imports them uses
it, and a version text beside is then of the release that it was built with.

Reference: `crypto_library_tables`; RFC 8996 for protocols.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from assay.facts.crypto import CryptoLibrary
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression
from .crypto_library_tables import PROTOCOLS, TEXTS, names, protocol, weak
from .elf_format import ET_CORE, ET_REL
from .elf_program import program
from .scan import MAX_HITS

MAX_VERSIONS = 64
MAX_SYMBOLS = 200_000
"""Names that are looked at, of each kind."""
ENOUGH = 8
"""Functions of a library that a binary must export to be taken for it; fewer are a program's own of the same name."""


def inspect(content: Content) -> Iterator[CryptoLibrary]:
    """Yield one fact for each library and role, or for each of its versions where there are several.

    Raises:
        LimitReached: there are more versions than are told.
    """
    texts = _texts(content)
    it = program(content.data) if content.kind == "elf" else None
    used: dict[str, list[str]] = {}
    is_it: dict[str, list[str]] = {}
    if it is not None and it.elf.type != ET_CORE:
        undefined, defined = it.names
        used = _libraries(undefined)
        is_it = {library: names for library, names in _libraries(defined).items() if len(names) >= ENOUGH}
    shared = it is not None and it.elf.type != ET_REL and bool(it.elf.dynamic)
    for library in sorted({*used, *is_it, *texts}):
        versions = texts.get(library, [(None, None)])
        for role, functions in _roles(library, is_it, used, shared):
            for version, offset in versions:
                yield CryptoLibrary(
                    offset=offset,
                    library=library,
                    version=version,
                    role=role,
                    protocols=_protocols(functions),
                    weak=sorted(filter(weak().match, functions)),
                )
    if content.hits.cut or any(len(found) >= MAX_VERSIONS for found in texts.values()):
        raise LimitReached("versions", MAX_HITS if content.hits.cut else MAX_VERSIONS)


def _roles(
    library: str, is_it: dict[str, list[str]], used: dict[str, list[str]], shared: bool
) -> Iterator[tuple[str, list[str]]]:
    if library in is_it:
        yield ("is" if shared else "contains"), is_it[library]
        # libssl exports a part of it and takes the other from libcrypto: the same library
    elif library in used:
        yield "uses", used[library]
    else:
        yield "contains", []


def _protocols(functions: list[str]) -> list[str]:
    """Return the protocols whose functions are among these."""
    likely = list(filter(protocol().match, functions))
    return [name for name, shape in PROTOCOLS.items() if any(re.match(shape, one) for one in likely)]


def _libraries(symbols: Iterable[str]) -> dict[str, list[str]]:
    """Return names by the library whose functions begin so."""
    found: dict[str, list[str]] = {}
    match = names().match
    for _, name in zip(range(MAX_SYMBOLS), symbols, strict=False):
        hit = match(name)
        if hit is not None:
            found.setdefault((hit.lastgroup or "").replace("_", "-"), []).append(name)
    return found


def _texts(content: Content) -> dict[str, list[tuple[str | None, int | None]]]:
    """Return, by library, (version, offset) of its texts, each version once."""
    found: dict[str, dict[str | None, int | None]] = {}
    for end, number in content.hits.places:
        text = TEXTS[number]
        at, around = content.string(end, 256)
        for match in re.finditer(text.exact, around):
            if at + match.start() < end <= at + match.end():
                version = match[1].decode("ascii", "backslashreplace") if match.re.groups else None
                versions = found.setdefault(text.library, {})
                if len(versions) < MAX_VERSIONS:
                    versions.setdefault(version, at + match.start())
    return {library: list(versions.items()) for library, versions in found.items()}


INSPECTOR = ContentInspector(
    name="crypto_library",
    version=1,
    families=(CryptoLibrary,),
    inspect=inspect,
    binary_only=True,
    expressions=tuple(Expression(text.trigger) for text in TEXTS),
    unseen=(
        "libraries linked into stripped binaries whose versions stand nowhere as text (wolfSSL, nettle, libsodium)",
        "functions of a library that are called through another one, or found with dlsym",
        "which protocols a setting or a call at run time allows",
    ),
)
