"""Self-extracting shell scripts: a script, and after it an archive that the script unpacks.

Makeself's scripts state in variables how many lines the script has, and how many bytes each archive. Others are known
by what they say of themselves: `tail -n +LINE`, or a marker on a line of its own (`__ARCHIVE_BELOW__`); they are
claimed only if what follows is something that can be opened. The script itself is an entry, so that it is seen as one.
"""

from __future__ import annotations

import re
from itertools import islice

import assay.unpack as formats

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source, UnpackError
from .parts import Detail, PartsReader, digest

HEAD = 128 << 10
"""Bytes in which the script must end."""
TRIED = 16
"""Places tried where an archive could begin."""

_MAKESELF = re.compile(rb"\A#![^\n]*\n# This script was generated using Makeself ([^\n]{1,40})")
_VARIABLE = re.compile(
    rb'^(filesizes|skip|SKIP|MD5|SHA|label|script|decrypt_cmd|targetdir)=(["\']?)([^"\'\n]*)\2', re.M
)
_LINES = re.compile(rb'offset=`head -n (\d{1,6}) "\$[01]" \| wc -c')
_COMPRESSION = re.compile(rb"^\s*echo Compression: (\S{1,20})", re.MULTILINE)
_TAIL = re.compile(rb"\btail\s+(?:-n\s*|--lines=)?\+(\d{1,6})\b")
_NUMBER = re.compile(rb"^[A-Za-z_]*(?:skip|lines?|start|offset)[A-Za-z_]*=[\"']?(\d{1,6})[\"']?\s*$", re.I | re.M)
_MARKER = re.compile(
    rb"^(?:_{1,3}[A-Z_]*(?:ARCHIVE|PAYLOAD|DATA|TARBALL|BINARY|BIN|END)[A-Z_]*|PAYLOAD:?|ARCHIVE:?"
    rb"|exit(?: 0)?;?)[ \t]*\n",
    re.MULTILINE,
)
_BINARY = re.compile(rb"[\0-\x06\x0e-\x1a\x1c-\x1f]")


def _line(head: bytes, lines: int) -> int | None:
    """Return the offset at which so many lines have ended."""
    end = next(islice(re.finditer(rb"\n", head), lines - 1, None), None) if lines > 0 else None
    return None if end is None else end.end()


def _makeself(source: Source, limits: Limits, head: bytes, version: bytes) -> Reader:
    stated = {found[1].decode(): found[3] for found in _VARIABLE.finditer(head)}
    lines = stated.get("skip") or stated.get("SKIP") or b""
    found = _LINES.search(head)
    if not lines.isdigit() and found:
        lines = found[1]
    start = _line(head, int(lines)) if lines.isdigit() and len(lines) < 7 else None
    sizes = stated.get("filesizes", b"").split()
    if start is None or not sizes or not all(size.isdigit() and len(size) < 16 for size in sizes) or len(sizes) > 256:
        raise NotThisFormat
    if source.size <= start:
        raise NotThisFormat  # the script alone, as it is listed
    compression = _COMPRESSION.search(head)
    coding = "base64" if compression and compression[1] == b"base64" else None
    if stated.get("decrypt_cmd"):
        coding = "encrypted"
    detail: Detail = {
        "kind": "makeself",
        "version": version.decode("ascii", "backslashreplace"),
        "compression": compression[1].decode("ascii", "backslashreplace") if compression else None,
    }
    for key in ("label", "script", "targetdir", "decrypt_cmd"):
        detail[key] = stated.get(key, b"").decode("utf-8", "backslashreplace")[:200] or None
    reader = PartsReader(FORMAT, source, limits, start + sum(map(int, sizes)), detail)
    reader.part(b"script", 0, start)
    sums = {"md5": stated.get("MD5", b"").split(), "sha256": stated.get("SHA", b"").split()}
    at = start
    for number, size in enumerate(map(int, sizes)):
        reader.part(b"archive" if len(sizes) == 1 else b"archive%d" % number, at, size, coding)
        for algorithm, values in sums.items():
            if number < len(values) and values[number].strip(b"0"):
                reader.check(
                    algorithm if len(sizes) == 1 else f"{algorithm} {number}",
                    values[number].decode("ascii", "backslashreplace"),
                    lambda place=(at, size), name=algorithm: digest(name, source, [place]),  # type: ignore[misc]
                )
        at += size
    return reader


def _other(source: Source, limits: Limits, head: bytes) -> Reader:
    places: dict[int, str] = {}
    for pattern, what in ((_TAIL, "tail"), (_NUMBER, "line number")):
        for found in islice(pattern.finditer(head), TRIED):
            for lines in (int(found[1]) - 1, int(found[1])):
                at = _line(head, lines)
                if at is not None and at > found.end():
                    places.setdefault(at, what)
    for found in islice(_MARKER.finditer(head), TRIED):
        places.setdefault(found.end(), found[0].strip().decode("ascii"))
    for at, what in sorted(islice(places.items(), TRIED)):
        payload = source.window(at, source.size - at)
        if not _BINARY.search(payload.pread(0, 1024)):
            continue  # the script goes on
        try:
            inner = formats.identify(payload, limits)
        except UnpackError:
            continue
        if inner is not None:
            detail: Detail = {"kind": "script and archive", "found_by": what, "archive": inner.format.name}
            reader = PartsReader(FORMAT, source, limits, source.size, detail)
            reader.part(b"script", 0, at)
            reader.part(b"archive", at, source.size - at)
            return reader
    raise NotThisFormat


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, HEAD)
    if head[:2] != b"#!":
        raise NotThisFormat
    if found := _MAKESELF.match(head):
        return _makeself(source, limits, head, found[1])
    return _other(source, limits, head)


FORMAT = Format(
    name="shell-archive",
    title="Self-extracting shell script: Makeself, and scripts with an archive after a marker",
    open=_open,
    magics=[(0, b"#!")],
    references=[Reference("Makeself", "https://makeself.io/")],
    limitations=[
        "scripts that find their archive in another way than by a line number or a marker line",
        "an archive in base64 or uuencode, but for Makeself's base64",
        "Makeself's CRC (of cksum) is not verified, its MD5 and SHA-256 are",
        "archives that Makeself encrypted are named, not read",
        "without Makeself, the archive is taken to end where the file does",
    ],
    anywhere=False,
)
