"""No tool here writes files to exFAT without mounting it: mkfs.exfat makes the volume, a small writer from the
specification fills it, and fsck.exfat says if that was right."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Problem, Reader, Window
from assay.unpack.exfat import FORMAT, moment

from ..support.hostile import mangled, survives

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.exfat", path=TOOLS)
FSCK = shutil.which("fsck.exfat", path=TOOLS)
pytestmark = pytest.mark.skipif(None in (MKFS, FSCK), reason="needs mkfs.exfat and fsck.exfat (exfatprogs)")

NOISE = random.Random(6).randbytes(300_001)
FILES = {
    b"README.TXT": b"short",
    b"empty": b"",
    b"etc/gr\xc3\xb6\xc3\x9fer \xf0\x9f\x98\x80": b"beyond ASCII",
    b"etc/a name that needs more than one entry for it": b"long",
    b"bin/noise": NOISE,
    b"bin/fragments": NOISE[:50_000],
    b"bin/partly written": b"written" + bytes(20_000),
}
DATE = (2020 - 1980) << 9 | 9 << 5 | 13
TIME = 12 << 11 | 26 << 5 | 20
WHEN = 1_600_000_000 * 10**9


class Volume:
    """Writes files to an empty volume; sections are those of Microsoft's specification."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        table, heap, _, self.root = struct.unpack_from("<I4xIII", data, 80)
        sector = 1 << data[108]
        self.cluster = sector << data[109]
        self.table, self.heap = table * sector, heap * sector
        bitmap = next(at for at in range(self.place(self.root), len(data), 32) if data[at] == 0x81)
        self.bitmap = self.place(struct.unpack_from("<I", data, bitmap + 20)[0])
        self.next = self.root + 1
        self.ends = {self.root: self.place(self.root)}
        while self.data[self.ends[self.root]]:
            self.ends[self.root] += 32

    def place(self, cluster: int) -> int:
        return self.heap + (cluster - 2) * self.cluster

    def allocate(self, data: bytes, chained: bool) -> int:
        """Store data; chained: every other cluster, so that the allocation table is needed."""
        first = self.next
        count = -(-len(data) // self.cluster) or 1
        step = 2 if chained else 1
        numbers = [first + step * index for index in range(count)]
        for index, number in enumerate(numbers):
            part = data[index * self.cluster : (index + 1) * self.cluster]
            self.data[self.place(number) : self.place(number) + len(part)] = part
            self.data[self.bitmap + (number - 2) // 8] |= 1 << (number - 2) % 8
            if chained:
                following = numbers[index + 1] if index + 1 < count else 0xFFFFFFFF
                struct.pack_into("<I", self.data, self.table + 4 * number, following)
        self.next = numbers[-1] + 1
        return first

    def add(self, parent: int, name: str, data: bytes, *, attributes: int = 0x20, valid: int | None = None) -> int:
        chained = "fragments" in name
        cluster = self.allocate(data, chained) if data else 0
        raw = name.encode("utf-16-le")
        total = 0
        for byte in name.upper().encode("utf-16-le") if name.isascii() else self.upper(name):
            total = ((total & 1) << 15 | total >> 1) + byte & 0xFFFF
        parts = [raw[at : at + 30].ljust(30, b"\0") for at in range(0, len(raw), 30)]
        stamp = TIME | DATE << 16
        entry = bytearray(struct.pack("<BBHHHIIIBBBBB7x", 0x85, 1 + len(parts), 0, attributes, 0, *[stamp] * 3,
                                      150, 50, 0x88, 0x88, 0xF8))  # fmt: skip
        flags = 1 if chained or not data else 3
        written = len(data) if valid is None else valid
        entry += struct.pack("<BBxBHxxQxxxxIQ", 0xC0, flags, len(raw) // 2, total, written, cluster, len(data))
        for part in parts:
            entry += b"\xc1\0" + part
        checksum = 0
        for at, byte in enumerate(entry):
            if at not in (2, 3):
                checksum = ((checksum & 1) << 15 | checksum >> 1) + byte & 0xFFFF
        struct.pack_into("<H", entry, 2, checksum)
        at = self.ends[parent]
        self.data[at : at + len(entry)] = entry
        self.ends[parent] += len(entry)
        return cluster

    @staticmethod
    def upper(name: str) -> bytes:
        """The up-case table maps units of UTF-16, one to one; the sharp s has no upper case of one unit."""
        return "".join(char if char == "ß" else char.upper() for char in name).encode("utf-16-le")

    def directory(self, parent: int, name: str) -> int:
        cluster = self.add(parent, name, bytes(self.cluster), attributes=0x10)
        self.ends[cluster] = self.place(cluster)
        return cluster


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("exfat") / "image"
    subprocess.run(["truncate", "-s", "8M", path], check=True)
    subprocess.run([MKFS or "", "-L", "UPDATE", "-c", "4096", path], check=True, capture_output=True, timeout=30)
    volume = Volume(path.read_bytes())
    parents = {b"": volume.root}
    for name, data in FILES.items():
        folder, _, base = name.rpartition(b"/")
        if folder not in parents:
            parents[folder] = volume.directory(volume.root, folder.decode())
        attributes = 0x27 if name == b"README.TXT" else 0x20
        valid = 7 if b"partly" in name else None
        volume.add(parents[folder], base.decode(), data, attributes=attributes, valid=valid)
    path.write_bytes(volume.data)
    done = subprocess.run([FSCK or "", "-n", path], capture_output=True, text=True, timeout=30)
    assert "clean" in done.stdout, done.stdout + done.stderr
    assert "directories 3, files 7" in done.stdout, done.stdout
    return bytes(volume.data)


def opened(data: bytes) -> Reader:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(reader: Reader) -> dict[bytes, Entry]:
    found = {}
    for item in reader.entries():
        assert isinstance(item, Entry), item
        assert item.path not in found
        found[item.path] = item
    return found


def contents(reader: Reader, entries: dict[bytes, Entry]) -> dict[bytes, bytes]:
    return {name: b"".join(reader.open(entry.locator)) for name, entry in entries.items() if entry.locator is not None}


def test_everything_is_listed_and_read(image: bytes) -> None:
    found = listed(opened(image))
    assert contents(opened(image), found) == FILES
    assert {name for name, entry in found.items() if entry.type == "directory"} == {b"", b"etc", b"bin"}
    entry = found[b"README.TXT"]
    assert (entry.size, entry.mtime, entry.atime) == (
        5,
        WHEN - 7_200_000_000_000 + 5 * 10**8,
        WHEN + 7_200 * 10**9,
    )
    assert entry.xattrs == {
        "dos.attributes": b"read-only hidden system archive",
        "dos.created": b"%d" % (WHEN - 7_200_000_000_000 + 15 * 10**8),
    }
    spans = {name: opened(image).span(entry.locator) for name, entry in found.items() if entry.locator is not None}
    assert {name for name, span in spans.items() if span} == FILES.keys() - {
        b"empty", b"bin/fragments", b"bin/partly written",
    }  # fmt: skip
    for name, span in spans.items():
        assert span is None or image[span[0] : sum(span)] == FILES[name]


def test_header_is_kept(image: bytes) -> None:
    reader = opened(image)
    listed(reader)
    detail = reader.detail
    assert (detail["label"], detail["revision"], detail["state"]) == ("UPDATE", "1.00", "clean")
    assert (detail["boot_checksum"], detail["cluster_bytes"]) == ("ok", 4096)


def test_inside_something_larger_every_byte_is_explained(image: bytes) -> None:
    whole = b"\xaa" * 12_345 + image + b"\xbb" * 100_000
    reader = FORMAT.open(Window(BytesSource(whole), 12_345, len(whole)), Limits())
    found = listed(reader)
    assert found == listed(opened(image))
    assert contents(reader, found) == FILES
    covered = bytearray(len(whole))
    for claim in reader.claims():
        covered[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    assert covered.rstrip(b"\0") == b"\1" * len(image)


def test_faults_are_told(image: bytes) -> None:
    data = bytearray(image)
    data[512] ^= 1  # the boot sectors
    at = data.index("partly".encode("utf-16-le"))
    data[at] ^= 2
    told = {item.path: item.detail for item in opened(bytes(data)).entries() if isinstance(item, Problem)}
    assert told == {
        b"bin/rartly written": "the checksum of its directory entries differs",
        b"": "the checksum of the boot sectors differs",
    }


def test_cycles_end(image: bytes) -> None:
    data = bytearray(image)
    locator = listed(opened(image))[b"bin/fragments"].locator
    assert isinstance(locator, list)
    first = locator[0]
    assert isinstance(first, int)
    table = struct.unpack_from("<I", data, 80)[0] * 512
    struct.pack_into("<I", data, table + 4 * (first + 4), first)
    told = {item.path: item.detail for item in opened(bytes(data)).entries() if isinstance(item, Problem)}
    assert told == {b"bin/fragments": f"the chain returns to cluster {first}"}
    with pytest.raises(Malformed, match="returns"):
        list(opened(bytes(data)).open(locator))
    at = data.index("etc".encode("utf-16-le")) - 34
    struct.pack_into("<I", data, at + 20, struct.unpack_from("<I", image, 96)[0])
    told = {item.path: item.detail for item in opened(bytes(data)).entries() if isinstance(item, Problem)}
    assert "already listed" in told[b"etc"]


def test_a_cut_volume_lists_what_is_there(image: bytes) -> None:
    cut = image[: image.index(NOISE[-100:])]
    told = [item for item in opened(cut).entries() if isinstance(item, Problem)]
    assert told == [Problem("truncated", f"boot sector declares {len(image)} bytes, the source has {len(cut)}", b"", 0)]


def test_times() -> None:
    stamp = TIME | DATE << 16
    assert moment(stamp, 0, 0) == moment(stamp, 0, 0x80) == WHEN
    assert moment(stamp, 0, 0x80 | 4) == WHEN - 3600 * 10**9
    assert moment(stamp, 0, 0x80 | 0x7C) == WHEN + 3600 * 10**9
    assert moment(0, 0, 0) is None


def test_not_a_volume() -> None:
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(b"\xeb\x76\x90EXFAT   " + bytes(5000)), Limits())


def test_damaged_volumes(image: bytes) -> None:
    used = image.index(NOISE[-100:]) + 4096
    root = image.index("README".encode("utf-16-le")) - 200
    etc = image.index(b"beyond ASCII") - 8192
    for hot in (range(64, 120), range(root, root + 900), range(etc, etc + 8192)):
        for broken in mangled(image[:used], seed=hot.start, count=40, hot=hot):
            survives(FORMAT, broken)
