"""RPM packages: the header of a package file, and the three kinds of database of installed ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.facts import ContentFact
from assay.facts.identity import Identity
from assay.facts.package import Package
from assay.inspect.base import Content, ContentInspector
from assay.unpack.base import BytesSource, Limits
from assay.unpack.rpmheader import (
    ARCH,
    BUILDHOST,
    DISTRIBUTION,
    EPOCH,
    LICENSE,
    NAME,
    PACKAGER,
    RELEASE,
    REQUIRENAME,
    SOURCERPM,
    URL,
    VENDOR,
    VERSION,
    Header,
    read_header,
)

from .rpmdb import berkeley_values, ndb_values, sqlite_values

LEAD = 96
LEAD_MAGIC = b"\xed\xab\xee\xdb"
LIMITS = Limits()
MAKERS = (
    (VENDOR, "vendor"),
    (PACKAGER, "packager"),
    (BUILDHOST, "build-host"),
    (URL, "homepage"),
    (DISTRIBUTION, "label"),
)
SOURCE = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")


def facts(header: Header, state: str, offset: int | None) -> Iterator[ContentFact]:
    """Yield the package of a header, and who made it; nothing if it has no name.

    Dependencies are what the header requires: packages, and capabilities such as libc.so.6()(64bit). What only concerns
    rpm itself (rpmlib) is left out, and so are the keys that rpm keeps in its database as packages (gpg-pubkey).
    """
    name = header.text(NAME)
    if not name or name == "gpg-pubkey":
        return
    epoch = header.number(EPOCH)
    source = SOURCE.fullmatch(header.text(SOURCERPM) or "")
    version = f"{header.text(VERSION) or ''}-{header.text(RELEASE) or ''}"
    yield Package(
        manager="rpm",
        name=name,
        version=version if epoch is None else f"{epoch}:{version}",
        architecture=header.text(ARCH),
        source_name=source[1] if source else None,
        source_version=source[2] if source else None,
        status=state,
        licence=header.text(LICENSE),
        depends=[need for need in dict.fromkeys(header.texts(REQUIRENAME)) if not need.startswith("rpmlib(")],
        files=header.files(),
        offset=offset,
    )
    for tag, attribute in MAKERS:
        value = header.text(tag)
        if value:
            yield Identity(subject=f"package:{name}", attribute=attribute, value=value, offset=offset)


def inspect_file(content: Content) -> Iterator[ContentFact]:
    """Yield the package of a package file.

    Raises:
        UnpackError: a header cannot be read.
    """
    source = BytesSource(memoryview(content.data))
    _, end = read_header(source, LEAD, LIMITS)
    start = end + -end % 8
    header, _ = read_header(source, start, LIMITS)
    yield from facts(header, "delivered", start)


def installed(values: Iterator[tuple[int | None, bytes]]) -> Iterator[ContentFact]:
    """Yield the packages of a database's (offset, header) pairs.

    Raises:
        UnpackError: a header cannot be read; the facts of those before it stand.
    """
    for offset, value in values:
        header, _ = read_header(BytesSource(value), 0, LIMITS, magic=False)
        yield from facts(header, "installed", offset)


FILE = ContentInspector(
    name="rpm-file",
    version=1,
    families=(Package, Identity),
    inspect=inspect_file,
    head_begins=(b"\xed\xab\xee\xdb",),
    wants_head=lambda head: head.startswith(LEAD_MAGIC),
    containers=True,
)

SQLITE = ContentInspector(
    name="rpm-sqlite",
    version=1,
    families=(Package, Identity),
    inspect=lambda content: installed(sqlite_values(content.data)),
    path_has=("/rpmdb.sqlite",),
    wants_path=lambda path: path.endswith("/rpmdb.sqlite"),
    max_size=384 << 20,
    containers=True,
)

BERKELEY = ContentInspector(
    name="rpm-berkeley",
    version=1,
    families=(Package, Identity),
    inspect=lambda content: installed(berkeley_values(BytesSource(memoryview(content.data)))),
    path_has=("/rpm/Packages",),
    wants_path=lambda path: path.endswith("/rpm/Packages"),
    containers=True,
)

NDB = ContentInspector(
    name="rpm-ndb",
    version=1,
    families=(Package, Identity),
    inspect=lambda content: installed(ndb_values(BytesSource(memoryview(content.data)))),
    path_has=("/Packages.db",),
    wants_path=lambda path: path.endswith("/Packages.db"),
    containers=True,
)
