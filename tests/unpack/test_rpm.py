from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
)
from assay.unpack.rpm import FORMAT
from assay.unpack.rpmheader import NAME, read_header

from ..support.hostile import mangled, survives
from ..support.rpms import build, needs_rpmbuild


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build(tmp_path_factory.mktemp("rpm"))[0].read_bytes()


@needs_rpmbuild
def test_payload_is_one_entry_and_all_bytes_are_claimed(package: bytes) -> None:
    reader = identify(BytesSource(package), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    start = package.rindex(b"\x1f\x8b\x08")
    size = len(package) - start
    (entry,) = reader.entries()
    assert entry == Entry(b"payload.cpio.gz", "regular", [start, size], size)
    fresh = FORMAT.open(BytesSource(package), Limits())
    assert entry.locator is not None
    assert fresh.span(entry.locator) == (start, size)
    assert gzip.decompress(b"".join(fresh.open(entry.locator))).startswith(b"070701")
    assert reader.detail == {
        "version": "3.0",
        "source_package": False,
        "payload_format": "cpio",
        "payload_compressor": "gzip",
        "payload_flags": "9",
        "file_digests": "SHA-256",
        "payload_digest": "SHA-256",
        "digests": "MD5, SHA-1, SHA-256",
        "header_digest_matches": True,
        "signatures": "",
        "stripped_payload": False,
    }
    claims = reader.claims()
    header = claims[2].offset
    assert claims == [
        Claim(0, 96, "lead"),
        Claim(96, header - 96, "signature header"),
        Claim(header, start - header, "header"),
        Claim(start, size, "payload"),
    ]


@needs_rpmbuild
@pytest.mark.parametrize(("compressor", "name"), [("w2.xzdio", b"xz"), ("w3.zstdio", b"zst"), ("w9.bzdio", b"bz2")])
def test_other_compressors(tmp_path: Path, compressor: str, name: bytes) -> None:
    package = build(tmp_path, compressor)[0].read_bytes()
    (entry,) = FORMAT.open(BytesSource(package), Limits()).entries()
    assert entry.path == b"payload.cpio." + name


@needs_rpmbuild
def test_changed_header_bytes_behind_and_bytes_missing(package: bytes) -> None:
    changed = package.replace(b"A widget", b"B widget")
    assert FORMAT.open(BytesSource(changed), Limits()).detail["header_digest_matches"] is False

    longer = FORMAT.open(BytesSource(package + b"more"), Limits())
    (entry,) = longer.entries()
    assert isinstance(entry, Entry)
    assert max(claim.offset + claim.length for claim in longer.claims()) == len(package)

    shorter = FORMAT.open(BytesSource(package[:-10]), Limits())
    (cut,) = shorter.entries()
    assert cut == entry
    assert entry.locator is not None
    with pytest.raises(Truncated, match="10 bytes too early"):
        list(shorter.open(entry.locator))


@needs_rpmbuild
def test_length_that_cannot_be(package: bytes) -> None:
    signature, _ = read_header(BytesSource(package), 96, Limits())
    at = 96 + 16 + 16 * len(signature.index) + signature.index[1000].offset
    broken = package[:at] + struct.pack(">I", 5) + package[at + 4 :]
    found = list(FORMAT.open(BytesSource(broken), Limits()).entries())
    assert found[0] == Problem(
        "malformed", "signature header declares 5 bytes for header and payload", entries=0
    )  # fmt: skip
    assert len(found) == 2


def test_headers_with_impossible_numbers() -> None:
    magic = b"\x8e\xad\xe8\1" + bytes(4)
    for counts, error in (((0, 0), Malformed), ((70_000, 0), Malformed), ((1, 1 << 31), Truncated)):
        with pytest.raises(error):
            read_header(BytesSource(magic + struct.pack(">2I", *counts) + bytes(64)), 0, Limits())
    with pytest.raises(LimitReached):
        read_header(BytesSource(struct.pack(">2I", 1, 64) + bytes(80)), 0, Limits(metadata_bytes=10), magic=False)
    # values that point out of the store, and a count of four thousand million strings
    index = struct.pack(">12I", NAME, 8, 0, 0xFFFFFFFF, 1001, 4, 2, 0xFFFFFFFF, 1002, 6, 99, 1)
    header, end = read_header(BytesSource(struct.pack(">2I", 3, 4) + index + b"ab\0c"), 0, Limits(), magic=False)
    assert end == 60
    assert (header.texts(NAME), header.numbers(1001), header.texts(1002), header.text(9)) == (["ab"], (), [], None)


def test_lead_alone_is_no_package() -> None:
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(b"\xed\xab\xee\xdb" + bytes(200)), Limits())


@needs_rpmbuild
def test_broken_packages_are_survived(package: bytes) -> None:
    for broken in mangled(package, count=300, hot=range(4600)):
        survives(FORMAT, broken)
