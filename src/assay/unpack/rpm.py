"""RPM packages: lead, signature header, header, and a compressed payload that other readers take over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from .base import (
    Claim,
    Entry,
    Format,
    Limits,
    Locator,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
)
from .rpmheader import (
    FILEDIGESTALGO,
    LONGFILESIZES,
    MAGIC,
    PAYLOADCOMPRESSOR,
    PAYLOADDIGESTALGO,
    PAYLOADFLAGS,
    PAYLOADFORMAT,
    SIG_DSA,
    SIG_FILES,
    SIG_GPG,
    SIG_LONGSIZE,
    SIG_MD5,
    SIG_OPENPGP,
    SIG_PGP,
    SIG_RSA,
    SIG_SHA1,
    SIG_SHA3,
    SIG_SHA256,
    SIG_SIZE,
    SOURCERPM,
    read_header,
)

LEAD = 96
LEAD_MAGIC = b"\xed\xab\xee\xdb"
SUFFIXES = {"gzip": "gz", "bzip2": "bz2", "xz": "xz", "lzma": "lzma", "zstd": "zst"}
# RFC 4880 section 9.4 and RFC 9580 section 9.5
HASHES = {
    1: "MD5",
    2: "SHA-1",
    8: "SHA-256",
    9: "SHA-384",
    10: "SHA-512",
    11: "SHA-224",
    12: "SHA3-256",
    14: "SHA3-512",
}
SIGNATURES = {
    SIG_RSA: "RSA over header",
    SIG_DSA: "DSA over header",
    SIG_PGP: "RSA over header and payload",
    SIG_GPG: "DSA over header and payload",
    SIG_OPENPGP: "OpenPGP over header",
    SIG_FILES: "IMA over files",
}
DIGESTS = {SIG_MD5: "MD5", SIG_SHA1: "SHA-1", SIG_SHA256: "SHA-256", SIG_SHA3: "SHA3-256"}


class Rpm(Reader):
    """See `Reader`. Lists one entry, the payload as it lies in the file."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        signature, end = read_header(source, LEAD, limits)
        self._header_start = end + -end % 8
        header, self._payload = read_header(source, self._header_start, limits)
        declared = signature.number(SIG_LONGSIZE)
        if declared is None:
            declared = signature.number(SIG_SIZE)
        self._declared = declared
        self._length = source.size - self._payload
        self._problem: Problem | None = None
        if declared is not None:
            length = declared - (self._payload - self._header_start)
            if 0 <= length < 1 << 63:
                self._length = length
            else:
                self._problem = Problem(
                    "malformed", f"signature header declares {declared} bytes for header and payload", entries=0
                )
        compressor = header.text(PAYLOADCOMPRESSOR) or "none"
        kind = header.text(PAYLOADFORMAT) or "cpio"
        kind = kind if re.fullmatch("[a-z0-9]{1,8}", kind) else "unknown"
        suffix = SUFFIXES.get(compressor)
        self._path = f"payload.{kind}.{suffix}" if suffix else f"payload.{kind}"
        self.detail = {
            "version": f"{source.pread(4, 1)[0]}.{source.pread(5, 1)[0]}",
            "source_package": SOURCERPM not in header,
            "payload_format": kind,
            "payload_compressor": compressor,
            "payload_flags": header.text(PAYLOADFLAGS),
            "file_digests": _hash(header.number(FILEDIGESTALGO) or 1),
            "payload_digest": _hash(header.number(PAYLOADDIGESTALGO)),
            "digests": ", ".join(name for tag, name in DIGESTS.items() if tag in signature),
            "header_digest_matches": self._matches(signature.text(SIG_SHA256), signature.text(SIG_SHA1)),
            "signatures": ", ".join(name for tag, name in SIGNATURES.items() if tag in signature),
            # Then cpio entries name their file by its number in the header only ("07070X").
            "stripped_payload": LONGFILESIZES in header,
        }

    def _matches(self, sha256: str | None, sha1: str | None) -> bool | None:
        """Tell whether the digest in the signature header is that of the header; None if it has none."""
        stated = sha256 or sha1
        if not stated:
            return None
        digest = hashlib.sha256() if sha256 else hashlib.sha1(usedforsecurity=False)
        for chunk in self.source.chunks(self._header_start, self._payload - self._header_start):
            digest.update(chunk)
        return digest.hexdigest() == stated.lower()

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`."""
        if self._problem:
            yield self._problem
        yield Entry(path=self._path.encode(), type="regular", locator=[self._payload, self._length], size=self._length)

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`."""
        return self.source.chunks(*_place(locator))

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`."""
        return _place(locator)

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        return [
            Claim(0, LEAD, "lead"),
            Claim(LEAD, self._header_start - LEAD, "signature header"),
            Claim(self._header_start, self._payload - self._header_start, "header"),
            Claim(self._payload, min(self._length, self.source.size - self._payload), "payload"),
        ]


def _place(locator: Locator) -> tuple[int, int]:
    assert isinstance(locator, list)
    offset, length = locator
    assert isinstance(offset, int)
    assert isinstance(length, int)
    return offset, length


def _hash(number: int | None) -> str | None:
    return None if number is None else HASHES.get(number, str(number))


def open_rpm(source: Source, limits: Limits) -> Reader:
    """Claim an RPM package; see `Format.open`."""
    lead = source.pread(0, LEAD + 4)
    # Section "Lead": major version 3 or 4, binary or source package, signature type 5 (a header follows).
    if lead[:4] != LEAD_MAGIC or lead[LEAD:] != MAGIC:
        raise NotThisFormat
    return Rpm(source, limits)


FORMAT = Format(
    name="rpm",
    title="RPM package",
    open=open_rpm,
    magics=((0, LEAD_MAGIC),),
    references=(
        Reference("RPM V4 package format", "https://rpm-software-management.github.io/rpm/manual/format_v4.html"),
        Reference("RPM header format", "https://rpm-software-management.github.io/rpm/manual/format_header.html"),
        Reference("RPM tags", "https://rpm-software-management.github.io/rpm/manual/tags.html"),
    ),
    limitations=(
        "delta packages (drpm)",
        "the packages of RPM before 3.0, which have no signature header",
        "OpenPGP signatures are named, not verified",
    ),
)
