"""RAR archives, written here from the specifications: nothing free writes them. 7-Zip reads them too.

The compressed streams are what RAR made of the numbers from 000 to 511, one a line.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from assay.unpack import identify, rar
from assay.unpack.base import (
    BytesSource,
    Claim,
    Encrypted,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    Unsupported,
)
from assay.unpack.carved import Carved

from ..support.archives import NOISE, content, contents, stands
from ..support.hostile import mangled, survives
from ..support.sevenzip import listing

LINES = b"".join(b"%03d\n" % number for number in range(512))
PACKED5 = bytes.fromhex(
    "c1ac37444423fa23f697fd625351be4c918141028cc103795cbf47a3aa2da03693dda05800400200d4500476f6c47f32ea9f32a5c4ccd783"
    "df00"
)
AGAIN5 = bytes.fromhex("45150a6001000803dfb7fbf6fc")
"""The same once more, in a solid archive."""
PACKED4 = bytes.fromhex(
    "110cccfe8c9eb0fe3181abacb1bb4077a80a64d64b3783c107bc01e08592eefbb61d000820000888e9780cd20c07613a41784bb36e9f520a"
    "daca2740bae70b648a6271fbb800919e502fd855fffac658ebebc4d7887e5496871f4dec"
)
AGAIN4 = bytes.fromhex("b120008807ebf20a69fafc94ded0")
TIME = 1_700_000_000


def block4(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + data


def file4(name: bytes, data: bytes, **more: Any) -> bytes:
    """A file: `packed` if it is compressed, and fields that differ from those of a plain one."""
    packed = more.get("packed", data)
    flags = 0x8000 | more.get("flags", 0)
    times = more.get("times", b"")
    body = struct.pack(
        "<IIBIIBBHI",
        len(packed),
        len(data),
        more.get("host", 3),
        zlib.crc32(data),
        0x58_6F_6B_20,
        more.get("version", 29),
        more.get("method", 0x33 if "packed" in more else 0x30),
        len(name),
        more.get("attributes", 0o100644),
    )
    return block4(0x74, flags, body + name + times, packed)


def archive4(*blocks: bytes, flags: int = 0, end: bytes | None = None) -> bytes:
    return (
        b"Rar!\x1a\7\0"
        + block4(0x73, flags, bytes(6))
        + b"".join(blocks)
        + (block4(0x7B, 0x4000, b"") if end is None else end)
    )


def vint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes((value & 127 | 128,))
        value >>= 7
    return out + bytes((value,))


def block5(kind: int, body: bytes, data: bytes | None = None, extra: bytes = b"", flags: int = 0) -> bytes:
    flags |= (1 if extra else 0) | (0 if data is None else 2)
    head = vint(kind) + vint(flags) + (vint(len(extra)) if extra else b"")
    head += (vint(len(data)) if data is not None else b"") + body + extra
    head = vint(len(head)) + head
    return struct.pack("<I", zlib.crc32(head)) + head + (data or b"")


def record(kind: int, body: bytes) -> bytes:
    return vint(len(vint(kind) + body)) + vint(kind) + body


def file5(name: bytes, data: bytes, **more: Any) -> bytes:
    """A file: `packed` if it is compressed, `solid`, `folder`, and what else differs from a plain one."""
    packed = more.get("packed", data)
    compression = (3 << 7 | 3 << 10 if "packed" in more else 0) | (0x40 if more.get("solid") else 0)
    folder = more.get("folder", False)
    body = vint((1 if folder else 0) | 2 | 4) + vint(len(data)) + vint(more.get("attributes", 0o100644))
    body += struct.pack("<II", TIME, more.get("crc", zlib.crc32(data))) + vint(compression) + vint(more.get("host", 1))
    return block5(
        more.get("kind", 2), body + vint(len(name)) + name, packed, more.get("extra", b""), more.get("flags", 0)
    )


def archive5(*blocks: bytes, flags: int = 0, end: bytes | None = None) -> bytes:
    head = b"Rar!\x1a\7\1\0" + block5(1, vint(flags))
    return head + b"".join(blocks) + (block5(5, vint(0)) if end is None else end)


ARCHIVES = {
    "4": archive4(
        file4(b"stored", NOISE[:5000]),
        file4(b"packed", LINES, packed=PACKED4),
        file4(b"dir\\empty", b""),
        file4(b"dir", b"", flags=0xE0, attributes=0o40755),
    ),
    "5": archive5(
        file5(b"stored", NOISE[:5000]),
        file5(b"packed", LINES, packed=PACKED5),
        file5(b"dir/empty", b""),
        file5(b"dir", b"", folder=True, attributes=0o40755),
    ),
}
both = pytest.mark.parametrize("generation", ["4", "5"])


@both
def test_what_an_archive_holds(tmp_path: Path, generation: str) -> None:
    data = ARCHIVES[generation]
    found = stands(rar.FORMAT, data)
    assert contents(found) == {b"stored": NOISE[:5000], b"packed": LINES, b"dir/empty": b"", b"dir": None}
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is rar.FORMAT
    list(reader.entries())
    signature = 7 if generation == "4" else 8
    assert reader.claims() == [Claim(0, signature, "signature"), Claim(signature, len(data) - signature, "blocks")]
    image = tmp_path / "made.rar"
    image.write_bytes(data)
    assert listing(image) == {"stored": 5000, "packed": 2048, "dir/empty": 0, "dir": None}


def test_a_solid_archive_in_any_order() -> None:
    data = archive5(
        file5(b"one", LINES, packed=PACKED5),
        file5(b"two", LINES, packed=AGAIN5, solid=True),
        file5(b"stored", b"as it is", solid=True),
        file5(b"three", LINES, packed=AGAIN5, solid=True),
        flags=4,
    )
    assert contents(stands(rar.FORMAT, data)) == {b"one": LINES, b"two": LINES, b"stored": b"as it is", b"three": LINES}
    reader = rar.FORMAT.open(BytesSource(data), Limits())
    assert reader.detail["solid"] is True
    entries = [item for item in reader.entries() if isinstance(item, Entry) and item.size == 2048]
    opened = [reader.open(entry.locator) for entry in entries if entry.locator is not None]
    first = [next(chunks) for chunks in opened]
    assert [piece + b"".join(rest) for piece, rest in zip(first, opened, strict=True)] == [LINES] * 3


def test_a_solid_archive_of_before() -> None:
    data = archive4(file4(b"one", LINES, packed=PACKED4), file4(b"two", LINES, packed=AGAIN4, flags=0x10), flags=8)
    reader = rar.FORMAT.open(BytesSource(data), Limits())
    one, two = (item for item in reader.entries() if isinstance(item, Entry))
    assert content(reader, one) == LINES
    with pytest.raises(Unsupported, match="solid"):
        content(reader, two)


def test_what_is_stated_is_kept_4() -> None:
    precise = struct.pack("<H", 0xB << 12 | 0x9 << 8) + b"\x80\x96\x98" + struct.pack("<I", 0x58_6F_6B_21) + b"\1"
    data = archive4(
        file4(b"script", b"#!", attributes=0o104755, flags=0x1000, times=precise),
        block4(0x7A, 0x8000, struct.pack("<IIBIIBBHI", 0, 0, 3, 0, 0, 29, 0x30, 3, 0) + b"UOWroot\0wheel"),
        file4(b"link", b"../else where", attributes=0o120777),
        file4(b"a\\win", b"x", host=2, attributes=0x21),
        file4(b"\xd0\xbf\xd1\x80", b"", flags=0x200),
        file4(b"??.txt\0\x04\x50\x3f\x40.t\xc0\x00", b"", flags=0x200),
    )
    script, link, win, *names = (item for item, _ in stands(rar.FORMAT, data) if isinstance(item, Entry))
    assert (script.mode, script.owner, script.group) == (0o4755, "root", "wheel")
    assert script.mtime == 1_710_509_101 * 10**9  # ten million tenths of a microsecond after 13:25, read as UTC
    assert script.xattrs == {"dos.created": b"1710509102006553600"}
    assert (link.type, link.link, link.mode) == ("symlink", b"../else where", 0o777)
    assert (win.path, win.mode, win.xattrs) == (b"a/win", None, {"dos.attributes": b"read-only archive"})
    assert [entry.path.decode() for entry in names] == ["пр", "пр.txt"]


def test_what_is_stated_is_kept_5() -> None:
    times = record(3, vint(1 | 2 | 4 | 8 | 16) + struct.pack("<6I", TIME, TIME + 1, TIME + 2, 7, 8, 9))
    owner = record(6, vint(15) + vint(4) + b"root" + vint(5) + b"wheel" + vint(1000) + vint(100))
    windows = record(3, vint(2) + struct.pack("<Q", 116_444_736_000_000_000 + TIME * 10_000_000 + 1))
    data = archive5(
        file5(b"script", b"#!", attributes=0o104755, extra=times + owner),
        file5(b"link", b"", attributes=0o120777, extra=record(5, vint(1) + vint(0) + vint(6) + b"../and")),
        file5(b"hard", b"", extra=record(5, vint(4) + vint(0) + vint(6) + b"script")),
        file5(b"copy", b"", extra=record(5, vint(5) + vint(0) + vint(6) + b"script")),
        file5(b"none", b"", extra=record(5, vint(5) + vint(0) + vint(4) + b"lost")),
        file5(b"win", b"x", host=0, attributes=0x23, extra=windows),
        file5(b"old", b"1", extra=record(4, vint(0) + vint(3))),
    )
    found = [item for item, _ in stands(rar.FORMAT, data)]
    script = Entry(
        b"script",
        "regular",
        locator=16,
        size=2,
        mode=0o4755,
        uid=1000,
        gid=100,
        owner="root",
        group="wheel",
        mtime=TIME * 10**9 + 7,
        atime=(TIME + 2) * 10**9 + 9,
        xattrs={"dos.created": b"%d" % ((TIME + 1) * 10**9 + 8)},
    )
    assert isinstance(found[0], Entry)
    script.locator = found[0].locator
    when = TIME * 10**9
    assert found[0] == script
    assert found[1] == Entry(b"link", "symlink", mode=0o777, mtime=when, link=b"../and")
    assert found[2] == Entry(b"hard", "hardlink", mode=0o644, mtime=when, link=b"script")
    assert isinstance(found[3], Entry)
    assert found[3].locator == script.locator
    assert found[4] == Problem("malformed", "a copy of b'lost', which there is not", b"none")
    assert isinstance(found[5], Entry)
    assert (found[5].mtime, found[5].xattrs) == (when + 100, {"dos.attributes": b"read-only hidden archive"})
    assert isinstance(found[6], Entry)
    assert found[6].xattrs == {"rar.version": b"3"}


def test_service_blocks_are_told() -> None:
    stream = file5(b"STM", b"zone", kind=3, flags=0x20)
    comment = file5(b"CMT", b"a comment", kind=3)
    data = archive5(comment, file5(b"file", b"bytes"), stream)
    found = stands(rar.FORMAT, data)
    assert found[0][1] == b"bytes"
    assert found[1] == (Problem("unsupported", "an alternate data stream", b"file"), None)
    reader = rar.FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    assert reader.detail == {"version": "5", "volume": False, "volume_number": None, "solid": False, "comment": True}


@both
def test_encryption_is_told(generation: str) -> None:
    if generation == "4":
        headers = archive4(NOISE[:100], flags=0x80)
        file = archive4(file4(b"secret", b"bytes", flags=4))
    else:
        headers = b"Rar!\x1a\7\1\0" + block5(4, vint(0) + vint(0) + vint(15) + NOISE[:16]) + NOISE[:100]
        file = archive5(file5(b"secret", b"bytes", extra=record(1, vint(0) + vint(0) + vint(15) + bytes(32))))
    reader = rar.FORMAT.open(BytesSource(headers), Limits())
    assert list(reader.entries()) == [Problem("encrypted", "the headers")]
    reader = rar.FORMAT.open(BytesSource(file), Limits())
    (entry,) = reader.entries()
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    assert reader.span(entry.locator) is None
    with pytest.raises(Encrypted):
        content(reader, entry)


@both
def test_volumes_are_told(generation: str) -> None:
    if generation == "4":
        data = archive4(
            file4(b"a", b"bytes", flags=1), file4(b"b", b"bytes", flags=2), flags=1, end=block4(0x7B, 0x4001, b"")
        )
    else:
        first, last = file5(b"a", b"bytes", flags=8), file5(b"b", b"bytes", flags=16)
        data = archive5(first, last, flags=1, end=block5(5, vint(1)))
    assert [item for item, _ in stands(rar.FORMAT, data)] == [
        Problem("unsupported", "its bytes begin in the volume before", b"a"),
        Problem("unsupported", "its bytes go on in the next volume", b"b"),
        Problem("unsupported", "the archive goes on in the next volume", entries=0),
    ]


def test_old_compression_is_told() -> None:
    reader = rar.FORMAT.open(BytesSource(archive4(file4(b"a", LINES, packed=PACKED4, version=20), end=b"")), Limits())
    (entry,) = reader.entries()
    assert isinstance(entry, Entry)
    with pytest.raises(Unsupported, match=r"compression of RAR 2\.0"):
        content(reader, entry)


@both
def test_damage_and_cuts(generation: str) -> None:
    data = bytearray(ARCHIVES[generation])
    at = data.index(PACKED4 if generation == "4" else PACKED5)
    with pytest.raises(Truncated):
        list(rar.FORMAT.open(BytesSource(bytes(data[: at + 3])), Limits()).entries())
    cut = rar.FORMAT.open(BytesSource(bytes(data[: at + 3])), Limits())
    listed = []
    with pytest.raises(Truncated):
        for item in cut.entries():
            listed.append(item)  # noqa: PERF402
    assert [item.path for item in listed] == [b"stored", b"packed"]
    assert content(cut, listed[0]) == NOISE[:5000]  # type: ignore[arg-type]
    with pytest.raises(Truncated):
        content(cut, listed[1])  # type: ignore[arg-type]
    data[at - 2000] ^= 1
    data[at + 20] ^= 0xFF
    reader = rar.FORMAT.open(BytesSource(bytes(data)), Limits())
    for item in reader.entries():
        assert isinstance(item, Entry)
        if item.size:
            with pytest.raises(Malformed):
                content(reader, item)


def test_chance_matches() -> None:
    for start in (b"Rar!\x1a\7\0", b"Rar!\x1a\7\1\0"):
        with pytest.raises(NotThisFormat):
            rar.FORMAT.open(BytesSource(start + NOISE[:100]), Limits())


@both
def test_a_self_extracting_program_is_found(generation: str) -> None:
    program = Path("/bin/true").read_bytes()
    data = program + ARCHIVES[generation] + NOISE[:400]
    found = [item for item in Carved(BytesSource(data), Limits()).entries() if isinstance(item, Entry)]
    assert (b"%#010x.rar" % len(program), len(ARCHIVES[generation])) in [(item.path, item.size) for item in found]


@both
def test_whatever_is_broken_is_told(generation: str) -> None:
    data = ARCHIVES[generation]
    for broken in mangled(data, count=150):
        survives(rar.FORMAT, broken)
    body = {"4": file4, "5": file5}[generation]
    for seed in range(3):  # checksums hide most damage of headers, so it is done before they are made
        for broken in mangled(
            body(b"name", LINES, packed=PACKED4 if generation == "4" else PACKED5), seed=seed, count=100
        ):
            if generation == "4" and len(broken) > 7:
                size = max(7, int.from_bytes(broken[5:7], "little") % (len(broken) + 1))
                head = broken[2:5] + struct.pack("<H", size) + broken[7:size]
                block = struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + broken[size:]
                survives(rar.FORMAT, archive4(block))
            elif len(broken) > 8:
                size = min(len(broken) - 5, 40)
                head = bytes((size,)) + broken[5 : 5 + size]
                survives(rar.FORMAT, archive5(struct.pack("<I", zlib.crc32(head)) + head + broken[5 + size :]))
