"""YAFFS. No tool here makes such images, so a small writer of the test's own does, from the specification."""

from __future__ import annotations

import random
import struct

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Truncated,
    Window,
)
from assay.unpack.yaffs import FORMAT

from ..support.hostile import mangled, survives

CHANCE = random.Random(5)
NOISE = CHANCE.randbytes(50_001)
FILE, SYMLINK, DIRECTORY, HARDLINK, SPECIAL = range(1, 6)


class Image:
    """An image that is being written, chunk by chunk."""

    def __init__(
        self, page: int = 2048, spare: int = 64, place: int = 2, order: str = "<", inband: bool = False
    ) -> None:
        self.page = page - 16 if inband else page
        self.spare = 16 if inband else spare
        self.place = 0 if inband else place
        self.order = order
        self.data = b""
        self.sequence = 0x1000
        self.serial = 0

    def chunk(self, data: bytes, number: int, piece: int, length: int, deleted: bool = False) -> None:
        if self.place < 0:
            serial, low, high = self.serial, length & 0x3FF, length >> 10 & 3
            if self.order == "<":
                words = piece | serial << 20 | low << 22, number | high << 30
            else:
                words = piece << 12 | serial << 10 | low, number << 14 | high
            tags = struct.pack(self.order + "II", *words)
            status = b"\0" if deleted else b"\xff"
            spare = tags[:4] + status + b"\xff" + tags[4:6] + b"\xff" * 3 + tags[6:] + b"\xff" * 3
        else:
            tags = struct.pack(self.order + "4I", self.sequence, number, piece, length)
            spare = b"\xff" * self.place + tags
        self.data += data.ljust(self.page, b"\xff") + spare.ljust(self.spare, b"\xff")

    def header(self, number: int, kind: int, parent: int, name: bytes, mode: int = 0, **fields: int | bytes) -> None:
        raw = struct.pack(
            self.order + "II2s256s2sIIIIIIIi160sI24sIIIIiI",
            kind,
            parent,
            b"\xff\xff",
            name,
            b"\xff\xff",
            mode,
            fields.get("uid", 0),
            fields.get("gid", 0),
            1_500_000_001,
            1_500_000_002,
            1_500_000_003,
            fields.get("size", 0xFFFFFFFF if kind != FILE else 0),
            fields.get("equivalent", -1),
            fields.get("alias", b"\xff" * 160),
            fields.get("device", 0xFFFFFFFF),
            b"\xff" * 24,
            0xFFFFFFFF,
            0xFFFFFFFF,
            0xFFFFFFFF,
            0xFFFFFFFF,
            fields.get("shadows", -1),
            fields.get("shrink", 0xFFFFFFFF),
        )
        assert len(raw) == 512
        extra = fields.get("extra", b"")
        assert isinstance(extra, bytes)
        piece, length = 0, 0xFFFF if self.place >= 0 else 0xFFF
        if fields.get("packed"):  # the tags of a header may have its parent and type
            piece, length = 0x80000000 | parent, 0
            number |= kind << 28
        self.chunk(raw + extra, number, piece, length)

    def file(self, number: int, parent: int, name: bytes, data: bytes, mode: int = 0o100644, **fields: int) -> None:
        self.header(number, FILE, parent, name, mode, size=len(data), **fields)
        self.pieces(number, data)

    def pieces(self, number: int, data: bytes, first: int = 1) -> None:
        for piece, at in enumerate(range(0, len(data), self.page), first):
            part = data[at : at + self.page]
            self.chunk(part, number, piece, len(part))


FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/noise": NOISE,
    b"etc/caf\xe9 \n": b"latin1",
    b"page": b"p" * 4096,
}
LAYOUTS = {
    "2048+64": Image(),
    "2048+64, at once": Image(place=0),
    "2048+64, big endian": Image(order=">"),
    "2048+128": Image(spare=128),
    "4096+128": Image(page=4096, spare=128),
    "4096+224": Image(page=4096, spare=224, place=0),
    "8192+448": Image(page=8192, spare=448),
    "16384+1280": Image(page=16384, spare=1280),
    "512+16, YAFFS1": Image(page=512, spare=16, place=-1),
    "512+16, YAFFS1, big endian": Image(page=512, spare=16, place=-1, order=">"),
    "512+32": Image(page=512, spare=32, place=2),
    "in-band": Image(page=2048, inband=True),
}


def filled(image: Image) -> bytes:
    """Return an image with one of everything, as the format's tools write it."""
    image.data = b""
    image.header(257, DIRECTORY, 1, b"bin", 0o040755)
    image.file(258, 257, b"su", FILES[b"bin/su"], 0o104755, uid=3, gid=70000)
    image.header(259, HARDLINK, 257, b"ls", equivalent=258)
    image.header(260, DIRECTORY, 1, b"etc", 0o040755)
    image.file(261, 260, b"empty", b"")
    image.file(262, 260, b"noise", NOISE)
    image.file(263, 260, b"caf\xe9 \n", b"latin1")
    image.header(264, SYMLINK, 260, b"link", 0o120777, alias=b"../../etc/shadow".ljust(160, b"\0"))
    image.file(265, 1, b"page", FILES[b"page"])
    image.header(266, SPECIAL, 1, b"tty", 0o020620, device=5 << 8 | 1)
    image.header(267, SPECIAL, 1, b"nvme", 0o060660, device=259 << 8 | 300 & 0xFF | (300 >> 8) << 20)
    image.header(268, SPECIAL, 1, b"pipe", 0o010622)
    return image.data


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    reader = identify(BytesSource(data), limits or Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(reader: Reader) -> dict[bytes, Entry]:
    found = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def content(data: bytes, path: bytes) -> bytes:
    locator = listed(opened(data))[path].locator
    assert locator is not None
    return b"".join(opened(data).open(locator))


@pytest.mark.parametrize("name", LAYOUTS)
def test_everything_is_kept_as_stated(name: str) -> None:
    layout = LAYOUTS[name]
    data = filled(layout)
    reader = opened(data)
    found = listed(reader)
    assert {key: reader.detail[key] for key in ("version", "byte_order", "page", "spare", "tags_at")} == {
        "version": "YAFFS1" if layout.place < 0 else "YAFFS2",
        "byte_order": "little" if layout.order == "<" else "big",
        "page": layout.page,
        "spare": layout.spare,
        "tags_at": layout.place if layout.place >= 0 else None,
    }
    kept = {n: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.device, e.inode) for n, e in found.items()}
    assert kept == {
        b"": ("directory", None, None, None, None, None, None, 1),
        b"bin": ("directory", 0o755, 0, 0, None, None, None, 257),
        b"bin/su": ("regular", 0o4755, 3, 70000, None, 1404, None, 258),
        b"bin/ls": ("regular", 0o4755, 3, 70000, None, 1404, None, 258),
        b"etc": ("directory", 0o755, 0, 0, None, None, None, 260),
        b"etc/empty": ("regular", 0o644, 0, 0, None, 0, None, 261),
        b"etc/noise": ("regular", 0o644, 0, 0, None, len(NOISE), None, 262),
        b"etc/caf\xe9 \n": ("regular", 0o644, 0, 0, None, 6, None, 263),
        b"etc/link": ("symlink", 0o777, 0, 0, b"../../etc/shadow", None, None, 264),
        b"page": ("regular", 0o644, 0, 0, None, 4096, None, 265),
        b"tty": ("chardev", 0o620, 0, 0, None, None, (5, 1), 266),
        b"nvme": ("blockdev", 0o660, 0, 0, None, None, (259, 300), 267),
        b"pipe": ("fifo", 0o622, 0, 0, None, None, None, 268),
    }
    times = (1_500_000_001_000_000_000, 1_500_000_002_000_000_000, 1_500_000_003_000_000_000)
    assert {(e.atime, e.mtime, e.ctime) for n, e in found.items() if n} == {times}
    assert found[b"bin/su"].locator == found[b"bin/ls"].locator
    for path, expected in FILES.items():
        locator = found[path].locator
        assert locator is not None
        chunks = list(opened(data).open(locator))
        assert b"".join(chunks) == expected
        span = opened(data).span(locator)
        assert span is None or data[span[0] : sum(span)] == expected
    for wrong in ("else", 7, [1], [5, -2, 1], [5, 0]):
        with pytest.raises(Malformed):
            list(opened(data).open(wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LAYOUTS)
def test_extent_is_exact_wherever_it_lies(name: str) -> None:
    layout = LAYOUTS[name]
    data = filled(layout) + b"\xff" * (layout.page + layout.spare) * 3
    alone = opened(data)
    whole = listed(alone)
    assert sum(claim.length for claim in alone.claims()) == len(data)
    bigger = BytesSource(b"\xff" * 1237 + data + b"\xa5" * 9_000_000 + b"\xff" * 100_000)
    reader = FORMAT.open(Window(bigger, 1237, bigger.size - 1237), Limits())
    assert listed(reader) == whole
    assert reader.claims() == alone.claims()


def test_what_was_written_last_counts() -> None:
    image = Image()
    image.file(257, 1, b"grown", b"a" * 5000)
    image.file(258, 1, b"old name", b"b" * 100)
    image.file(259, 1, b"gone", b"c" * 100)
    image.file(260, 1, b"cut", b"d" * 9000)
    image.file(261, 1, b"replaced", b"e" * 9)
    image.file(262, 1, b"replaced.new", b"f" * 10)
    image.sequence += 2
    image.pieces(257, b"A" * 2048, first=2)
    later = Image()
    later.sequence = image.sequence - 1
    later.pieces(257, b"X" * 2048, first=2)  # written before, and further back in the image
    image.data += later.data
    image.header(258, FILE, 1, b"new name", 0o100600, size=100)
    image.header(259, FILE, 4, b"deleted", 0o100644, size=0)
    image.header(260, FILE, 1, b"cut", 0o100644, size=3000, shrink=1)
    image.header(262, FILE, 1, b"replaced", 0o100644, size=10, shadows=261)
    reader = opened(image.data)
    found = listed(reader)
    assert found.keys() == {b"", b"grown", b"new name", b"cut", b"replaced"}
    assert reader.detail["deleted"] == 1
    assert content(image.data, b"grown") == b"a" * 2048 + b"A" * 2048 + b"a" * 904
    assert content(image.data, b"new name") == b"b" * 100
    assert content(image.data, b"cut") == b"d" * 3000
    assert content(image.data, b"replaced") == b"f" * 10


def test_serial_numbers_of_yaffs1() -> None:
    image = Image(page=512, spare=16, place=-1)
    image.file(257, 1, b"file", b"a" * 1000)
    image.serial = 1
    image.pieces(257, b"B" * 512)
    image.serial = 0
    image.pieces(257, b"c" * 512)
    image.chunk(b"dead", 257, 3, 4, deleted=True)
    assert content(image.data, b"file") == b"B" * 512 + b"a" * 488


def test_holes_and_packed_headers_and_attributes() -> None:
    image = Image()
    note = struct.pack("<i", 4 + 10 + 5) + b"user.note\0hello"
    label = struct.pack("<i", 4 + 17 + 2) + b"security.selinux\0ok"
    image.header(257, FILE, 1, b"sparse", 0o100644, size=10_000, packed=1, extra=note + label + bytes(4))
    image.pieces(257, b"x" * 2048, first=3)
    found = listed(opened(image.data))
    assert found[b"sparse"].xattrs == {"user.note": b"hello", "security.selinux": b"ok"}
    assert content(image.data, b"sparse") == bytes(4096) + b"x" * 2048 + bytes(10_000 - 6144)


def test_bad_chunks_cost_what_is_in_them() -> None:
    image = Image()
    data = bytearray(filled(image))
    stride = 2112
    broken = 5 * stride  # a piece of etc/noise, or near it
    data[broken : broken + stride] = CHANCE.randbytes(stride)
    data[broken + 2048 : broken + 2112] = b"\0" * 64
    items = list(opened(bytes(data)).entries())
    assert any(isinstance(item, Problem) and item.entries == 0 and "no good tags" in item.detail for item in items)
    assert b"pipe" in [item.path for item in items if isinstance(item, Entry)]


def test_cut_images() -> None:
    data = filled(Image())
    reader = opened(data)
    noise = listed(reader)[b"etc/noise"].locator
    assert isinstance(noise, list)
    assert isinstance(noise[1], int)
    with pytest.raises(Truncated):
        list(opened(data[: (noise[1] + 3) * 2112 + 5]).open(noise))
    short = opened(data[: (noise[1] + 3) * 2112 + 5])
    assert b"etc/noise" in listed(short)


def test_lost_objects_are_counted() -> None:
    image = Image()
    image.header(257, DIRECTORY, 1, b"dir", 0o040755)
    image.file(258, 999, b"orphan", b"text")
    image.chunk(b"no header", 270, 1, 9)
    image.header(300, DIRECTORY, 301, b"a", 0o040755)
    image.header(301, DIRECTORY, 300, b"b", 0o040755)
    image.header(302, HARDLINK, 257, b"dangling", equivalent=4000)
    problems = [item for item in opened(image.data).entries() if isinstance(item, Problem)]
    assert [(item.path, item.entries) for item in problems] == [(b"dir/dangling", 1), (b"", 4)]


def test_checkpoints_and_summaries_are_no_objects() -> None:
    image = Image()
    image.file(257, 1, b"file", b"text")
    image.chunk(b"summary", 16, 1, 100)
    image.sequence = 0x21
    image.chunk(b"checkpoint", 32, 1, 100)
    reader = opened(image.data)
    assert listed(reader).keys() == {b"", b"file"}
    assert {claim.what for claim in reader.claims()} == {"headers", "data", "summary", "checkpoint"}


def test_memory_is_bounded() -> None:
    data = filled(Image())
    with pytest.raises(LimitReached, match="metadata_bytes"):
        list(opened(data, Limits(metadata_bytes=1600)).entries())


def test_what_only_looks_like_it() -> None:
    for data in (
        b"\x03\0\0\0\x01\0\0\0\xff\xff" + bytes(10_000),
        b"\x01\0\0\0\x01\0\0\0\xff\xff" + b"\xff" * 10_000,
        b"\x03\0\0\0\x01\0\0\0\xff\xff" + CHANCE.randbytes(40_000),
        filled(Image())[:2048] + CHANCE.randbytes(40_000),
    ):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


@pytest.mark.parametrize("name", ["2048+64", "512+16, YAFFS1"])
def test_hostile(name: str) -> None:
    data = filled(LAYOUTS[name])
    for hot in (range(528), range(2048, 2112), range(len(data))):
        for broken in mangled(data, seed=hot.stop, count=50, hot=hot):
            survives(FORMAT, broken)
