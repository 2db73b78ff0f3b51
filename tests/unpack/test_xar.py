"""xar archives, made by bsdtar; what it does not write, by a writer of our own."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify, xar
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
    UnpackError,
    Unsupported,
)
from assay.unpack.carved import Carved

from ..support.archives import NOISE, content, contents, stands, tree
from ..support.hostile import mangled, survives
from ..support.sevenzip import listing


def packed(folder: Path, compression: str = "gzip") -> bytes:
    tool = shutil.which("bsdtar")
    if tool is None:
        pytest.skip("bsdtar (libarchive-tools) is not installed")
    options = ["--format=xar", "--options", f"compression={compression}"]
    subprocess.run([tool, "-cf", "made.xar", *options, "dir"], cwd=folder, check=True)
    data = (folder / "made.xar").read_bytes()
    assert data[-20:] == data[28:48]  # libarchive appends the table's first 20 bytes, which nothing points to
    return data[:-20]


def archive(toc: str, heap: bytes = b"", *, total: bytes | None = None) -> bytes:
    """An archive with a table of contents of which the inside is given; its SHA-1 comes first in the heap."""
    head = '<checksum style="sha1"><offset>0</offset><size>20</size></checksum>'
    body = f'<?xml version="1.0" encoding="UTF-8"?><xar><toc>{head}{toc}</toc></xar>'.encode()
    table = zlib.compress(body)
    sha1 = hashlib.sha1(table).digest() if total is None else total
    return struct.pack(">4sHHQQI", b"xar!", 28, 1, len(table), len(body), 1) + table + sha1 + heap


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "none", "lzma", "xz"])
def test_what_libarchive_writes(tmp_path: Path, compression: str) -> None:
    expected = tree(tmp_path)
    data = packed(tmp_path, compression)
    assert contents(stands(xar.FORMAT, data)) == expected
    sizes = listing(tmp_path / "made.xar", "xar")
    for path, body in expected.items():
        assert (sizes[path.decode()] or 0) == len(body or b"")
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    list(reader.entries())
    assert reader.declared == len(expected)


def test_what_is_stated_is_kept(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    script = tmp_path / "dir" / "script"
    script.write_bytes(b"#!/bin/sh\n")
    script.chmod(0o750)
    os.utime(script, (1_600_000_000, 1_600_000_000))
    (tmp_path / "dir" / "link").symlink_to("../else where")
    (tmp_path / "dir" / "zhard").hardlink_to(script)
    (tmp_path / "dir" / "ümläut").write_bytes(b"")
    os.mkfifo(tmp_path / "dir" / "pipe")
    found = {item.path: item for item, _ in stands(xar.FORMAT, packed(tmp_path)) if isinstance(item, Entry)}
    hard = [item for item in found.values() if item.type == "hardlink"]
    assert [(item.path, item.link) for item in hard] in (
        [(b"dir/zhard", b"dir/script")],
        [(b"dir/script", b"dir/zhard")],
    )
    kept = found[hard[0].link or b""]
    assert (kept.mode, kept.uid, kept.gid, kept.mtime) == (0o750, os.getuid(), os.getgid(), 1_600_000_000 * 10**9)
    assert (found[b"dir/link"].type, found[b"dir/link"].link) == ("symlink", b"../else where")
    assert found[b"dir/pipe"].type == "fifo"
    assert found["dir/ümläut".encode()].size == 0


def test_what_only_others_write() -> None:
    name = base64.b64encode(b"na\xffme").decode()
    heap = b"value" + zlib.compress(b"bytes")
    toc = f"""
      <creation-time>2026-01-02T03:04:05</creation-time>
      <signature style="RSA"><offset>20</offset><size>0</size><KeyInfo><X>&amp;</X></KeyInfo></signature>
      <file id="1"><name enctype="base64">{name}</name><type>file</type><mode>04755</mode>
        <ea id="5"><name>user.a</name><offset>20</offset><length>5</length><size>5</size>
          <encoding style="application/octet-stream"/></ea>
        <data><offset>25</offset><length>{len(heap) - 5}</length><size>5</size>
          <encoding style="application/x-gzip"/>
          <extracted-checksum style="sha256">{hashlib.sha256(b"bytes").hexdigest()}</extracted-checksum></data></file>
      <file id="2"><name>tty</name><type>character special</type><mode>0620</mode>
        <device><major>4</major><minor>64</minor></device></file>
      <file id="3"><name>lost</name><type link="99">hardlink</type></file>
      <file id="4"><name>odd</name><type>file</type>
        <data><offset>20</offset><length>5</length><size>5</size><encoding style="application/x-odd"/></data></file>
    """
    data = archive(toc, heap)
    reader = xar.FORMAT.open(BytesSource(data), Limits())
    one, tty, lost, odd = reader.entries()
    assert isinstance(one, Entry)
    assert (one.path, one.mode, one.xattrs) == (b"na\xffme", 0o4755, {"user.a": b"value"})
    assert content(reader, one) == b"bytes"
    assert tty == Entry(b"tty", "chardev", mode=0o620, device=(4, 64))
    assert lost == Problem("malformed", "a hard link to a file that there is not", b"lost")
    assert isinstance(odd, Entry)
    with pytest.raises(Unsupported, match="application/x-odd"):
        content(reader, odd)
    assert reader.detail == {"version": 1, "created": "2026-01-02T03:04:05", "checksum": "sha1", "signature": "RSA"}
    start = len(data) - len(heap) - 20
    assert sorted((claim.offset, claim.length, claim.what) for claim in reader.claims()) == [
        (0, 28, "header"),
        (28, start - 28, "table of contents"),
        (start, 20, "checksum"),
        (start + 20, 5, "extended attributes"),
        (start + 20, len(heap), "files"),
    ]
    assert reader.claims()[0] == Claim(0, 28, "header")


def test_damage_costs_what_it_hits(tmp_path: Path) -> None:
    tree(tmp_path)
    data = bytearray(packed(tmp_path, "none"))
    at = data.index(NOISE[:100])
    data[at + 50] ^= 1
    reader = xar.FORMAT.open(BytesSource(bytes(data)), Limits())
    for item in reader.entries():
        assert isinstance(item, Entry)
        if item.path == b"dir/deeper/noise":
            with pytest.raises(Malformed, match="another sha1"):
                content(reader, item)
        else:
            content(reader, item)
    assert list(xar.FORMAT.open(BytesSource(archive("", total=bytes(20))), Limits()).entries()) == [
        Problem("malformed", "the table of contents has another sha1 than is stated", entries=0)
    ]


def test_cuts(tmp_path: Path) -> None:
    tree(tmp_path)
    data = packed(tmp_path)
    with pytest.raises(NotThisFormat):
        xar.FORMAT.open(BytesSource(data[:20]), Limits())
    with pytest.raises(Truncated):
        list(xar.FORMAT.open(BytesSource(data[:100]), Limits()).entries())
    reader = xar.FORMAT.open(BytesSource(data[:-1]), Limits())
    failed = []
    for item in reader.entries():
        assert isinstance(item, Entry)
        try:
            content(reader, item)
        except UnpackError as error:
            failed.append(error.reason)
    assert failed == ["truncated"]


def test_tables_that_are_meant_to_harm() -> None:
    entity = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><xar><toc>&a;</toc></xar>'
    deep = b"<xar><toc>" + b"<file>" * 5000
    many = b"<xar><toc>" + b"<file/>" * 20_000 + b"</toc></xar>"
    for body, message in ((entity, "document type"), (deep, "inside one another"), (b"<xar", "table of contents")):
        table = zlib.compress(body)
        data = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(table), len(body), 0) + table
        with pytest.raises(Malformed, match=message):
            list(xar.FORMAT.open(BytesSource(data), Limits()).entries())
    table = zlib.compress(many)
    data = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(table), len(many), 0) + table
    with pytest.raises(LimitReached, match="entries"):
        list(xar.FORMAT.open(BytesSource(data), Limits(entries=1000)).entries())
    bomb = zlib.compress(bytes(20 << 20))
    data = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(bomb), 100, 0) + bomb
    with pytest.raises(Malformed, match="more than the 100 bytes"):
        list(xar.FORMAT.open(BytesSource(data), Limits()).entries())


def test_one_inside_something_is_found(tmp_path: Path) -> None:
    tree(tmp_path)
    data = packed(tmp_path)
    image = NOISE[:777] + data + NOISE[:5000]
    found = [
        (item.path, item.size) for item in Carved(BytesSource(image), Limits()).entries() if isinstance(item, Entry)
    ]
    assert (b"0x00000309.xar", len(data)) in found
    assert identify(BytesSource(b"xar!" + NOISE[:100]), Limits()) is None


def test_whatever_is_broken_is_told(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    for number in range(4):
        (tmp_path / "dir" / f"{number}").write_bytes(b"line %d\n" % number * 500)
    data = packed(tmp_path)
    for broken in mangled(data, count=150):
        survives(xar.FORMAT, broken)
    length = int.from_bytes(data[8:16], "big")
    toc = zlib.decompress(data[28 : 28 + length])
    for broken in mangled(toc, seed=2, count=150):
        table = zlib.compress(broken)
        head = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(table), len(broken), 1)
        survives(xar.FORMAT, head + table + data[28 + length :])
