from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Problem, Reader, Window
from assay.unpack.dos import dos_time
from assay.unpack.fat import FORMAT, PLAIN
from assay.unpack.fat_structures import LongName, short_name

from ..support.hostile import bounded, mangled, survives
from ..support.sevenzip import listing

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.fat", path=TOOLS)
MTOOLS = {name: shutil.which(name) for name in ("mcopy", "mattrib", "mmd", "mdel", "mlabel")}

pytestmark = pytest.mark.skipif(
    MKFS is None or None in MTOOLS.values(), reason="needs mkfs.fat (dosfstools) and mtools"
)

NOISE = random.Random(3).randbytes(300_001)
FILES = {
    b"README.TXT": b"short name",
    b"empty": b"",
    b"etc/a long name with spaces.conf": b"key = value\n",
    "etc/größere Änderungen – Ωmega.txt".encode(): b"beyond ASCII",
    b"etc/exactly13char": b"13 characters fill a record",
    b"bin/noise": NOISE,
    b"bin/deep/er/still/file": b"deep",
} | {b"many/file number %04d" % n: b"%d" % n for n in range(150)}

# A date that all parts of the format can hold.
WHEN = 1_600_000_002
LAYOUTS = {
    "fat12": ("-F", "12", "-s", "8", "4M"),
    "fat16": ("-F", "16", "-s", "1", "16M"),
    "fat32": ("-F", "32", "-s", "1", "40M"),
    "fat12-4k": ("-F", "12", "-S", "4096", "-s", "1", "8M"),
    "fat16-1": ("-F", "16", "-f", "1", "-s", "2", "-R", "8", "20M"),
}


def mtools(name: str, image: Path, *args: str | Path) -> None:
    settings = os.environ | {"MTOOLS_SKIP_CHECK": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    subprocess.run([MTOOLS[name] or "", "-i", image, *args], check=True, capture_output=True, env=settings)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("fat")
    tree = home / "tree"
    for name, data in FILES.items():
        path = tree / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (WHEN, WHEN))
    found = {}
    for name, (*options, size) in LAYOUTS.items():
        image = home / name
        subprocess.run(["truncate", "-s", size, image], check=True)
        subprocess.run([MKFS or "", "-n", "UPDATE", "-i", "cafe1234", *options, image], check=True, capture_output=True)
        mtools("mcopy", image, "-s", "-m", "-o", *sorted(tree.iterdir()), "::")
        mtools("mattrib", image, "+r", "+h", "+s", "::README.TXT")
        found[name] = image.read_bytes()
    return found


@pytest.fixture(params=LAYOUTS)
def image(request: pytest.FixtureRequest, images: dict[str, bytes]) -> bytes:
    return images[request.param]


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


def problems(data: bytes) -> list[Problem]:
    return [item for item in opened(data).entries() if isinstance(item, Problem)]


def contents(reader: Reader, entries: dict[bytes, Entry]) -> dict[bytes, bytes]:
    return {name: b"".join(reader.open(entry.locator)) for name, entry in entries.items() if entry.locator is not None}


def test_everything_is_listed_and_read(image: bytes) -> None:
    found = listed(opened(image))
    directories = {b"", b"etc", b"bin", b"bin/deep", b"bin/deep/er", b"bin/deep/er/still", b"many"}
    assert {name for name, entry in found.items() if entry.type == "directory"} == directories
    assert contents(opened(image), found) == FILES
    assert {found[name].mtime for name in FILES if name != b"README.TXT"} == {WHEN * 10**9}
    assert {found[name].atime for name in FILES} != {None}
    assert {found[name].size == len(data) for name, data in FILES.items()} == {True}
    assert found[b"README.TXT"].xattrs["dos.attributes"] == b"read-only hidden system archive"
    assert found[b"empty"].xattrs["dos.attributes"] == b"archive"
    for name, data in FILES.items():
        span = opened(image).span(found[name].locator or 0)
        assert span is None if not data else span is None or image[span[0] : sum(span)] == data
    assert opened(image).span(found[b"bin/noise"].locator or 0) is not None


def test_the_same_as_7z(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(image)
    ours = {name.decode(): entry.size for name, entry in listed(opened(image)).items() if name}
    assert ours == listing(path, "fat")


def test_header_is_kept(images: dict[str, bytes]) -> None:
    for name, data in images.items():
        reader = opened(data)
        listed(reader)
        assert reader.detail["version"] == name[:5].upper()
        assert reader.detail["serial"] == "cafe1234"
        assert reader.detail["label"] == reader.detail["boot_label"] == "UPDATE"
        assert reader.detail["sector_bytes"] == (4096 if name.endswith("4k") else 512)


def test_inside_something_larger_every_byte_is_explained(image: bytes) -> None:
    whole = b"\xaa" * 12_345 + image + b"\xbb" * 100_000
    reader = FORMAT.open(Window(BytesSource(whole), 12_345, len(whole)), Limits())
    found = listed(reader)
    assert found == listed(opened(image))
    assert contents(reader, found) == FILES
    covered = bytearray(len(whole))
    for claim in reader.claims():
        covered[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    assert len(covered) == len(whole)
    assert covered.rstrip(b"\0") == b"\1" * len(image)


def test_without_a_type_name(images: dict[str, bytes]) -> None:
    data = bytearray(images["fat12"])
    data[54:62] = bytes(8)
    assert listed(opened(bytes(data))).keys() == listed(opened(images["fat12"])).keys()
    assert not PLAIN.anywhere
    data[images["fat12"].index(b"\xf8\xff\xff")] = 7
    assert identify(BytesSource(bytes(data)), Limits()) is None
    broken = bytearray(images["fat12"])
    broken[broken.index(b"\xf8\xff\xff")] = 7
    with pytest.raises(Malformed, match="begins with 0x7"):
        FORMAT.open(BytesSource(bytes(broken)), Limits())


def test_deleted_files_are_not_listed_and_their_clusters_are_free(images: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(images["fat16"])
    span = opened(images["fat16"]).span(listed(opened(images["fat16"]))[b"bin/noise"].locator or 0)
    assert span is not None
    mtools("mdel", path, "::bin/noise")
    reader = opened(path.read_bytes())
    assert listed(opened(images["fat16"])).keys() - listed(reader).keys() == {b"bin/noise"}
    free = [claim for claim in reader.claims() if claim.what == "free cluster"]
    assert any(claim.offset <= span[0] and sum(span) <= claim.offset + claim.length for claim in free)


def fat16_entry(data: bytes, number: int) -> int:
    reserved = struct.unpack_from("<H", data, 14)[0]
    return reserved * 512 + 2 * number


def test_cycles_and_cross_links_are_told_and_end(images: dict[str, bytes]) -> None:
    data = bytearray(images["fat16"])
    found = listed(opened(bytes(data)))
    locator = found[b"bin/noise"].locator
    assert isinstance(locator, list)
    first = locator[0]
    assert isinstance(first, int)
    for copy in (0, len(data)):
        if not copy:
            struct.pack_into("<H", data, fat16_entry(data, first + 9), first + 3)
    told = {item.path: item.detail for item in problems(bytes(data))}
    assert told == {
        b"bin/noise": f"cluster {first + 3} is also of another file or place",
        b"": "file allocation table 1 differs from the one in use",
    }
    out = bytearray()
    with pytest.raises(Malformed, match=f"the chain returns to cluster {first + 3}"):
        for chunk in opened(bytes(data)).open(locator):
            out += chunk
    assert NOISE.startswith(out[: 10 * 512])


def test_a_directory_that_holds_itself_ends(images: dict[str, bytes]) -> None:
    data = bytearray(images["fat16"])
    at = data.index(b"STILL      \x10") if b"STILL      \x10" in data else data.index(b"still".upper().ljust(11))
    parent = struct.unpack_from("<H", data, data.index(b"DEEP       ") + 26)[0]
    struct.pack_into("<H", data, at + 26, parent)
    told = [item.detail for item in problems(bytes(data)) if item.path]
    assert told == [f"directory inode {parent} was already listed at another place"]


def test_a_long_name_that_does_not_belong(images: dict[str, bytes]) -> None:
    data = bytearray(images["fat16"])
    at = data.index("exactly13char"[:5].encode("utf-16-le"))
    data[at + 12] ^= 0x55  # its sum
    items = [item for item in opened(bytes(data)).entries() if item.path.startswith(b"etc/EXACTL")]
    assert [type(item) for item in items] == [Entry, Problem]
    assert items[0].path == b"etc/EXACTL~1"


def test_a_cut_volume_lists_what_is_there(images: dict[str, bytes]) -> None:
    data = images["fat16"]
    span = opened(data).span(listed(opened(data))[b"bin/noise"].locator or 0)
    assert span is not None
    cut = data[: sum(span) - 1000]
    told = [item for item in opened(cut).entries() if isinstance(item, Problem)]
    assert Problem("truncated", f"boot sector declares {len(data)} bytes, the source has {len(cut)}", b"", 0) in told


def test_names_and_times() -> None:
    assert short_name(b"README  TXT") == b"README.TXT"
    assert short_name(b"NOEXT      ", 8) == b"noext"
    assert short_name(b"\x05ABC    \xe9  ") == b"\xe5ABC.\xe9"
    assert dos_time(0x21, 0) == 315_532_800 * 10**9  # 1 January 1980
    assert dos_time(0, 0) is None
    assert dos_time(0x21, 0xFFFF) is None
    assert dos_time(0x21, 1, 199) == (315_532_800 + 2) * 10**9 + 1_990_000_000


def long_records(text: str, short: bytes) -> list[bytes]:
    """Return the records of a long name, in the order of the disk; written from section 7 of the specification."""
    raw = text.encode("utf-16-le", "surrogatepass")
    parts = [raw[at : at + 26] for at in range(0, len(raw), 26)]
    if len(parts[-1]) < 26:
        parts[-1] = (parts[-1] + b"\0\0").ljust(26, b"\xff")
    total = 0
    for byte in short:
        total = (((total & 1) << 7) | (total >> 1)) + byte & 0xFF
    out = []
    for number, part in enumerate(parts, 1):
        order = number | (0x40 if number == len(parts) else 0)
        head = bytes([order]) + part[:10] + b"\x0f\0" + bytes([total])
        out.append(head + part[10:22] + b"\0\0" + part[22:])
    return out[::-1]


@pytest.mark.parametrize("text", ["x", "exactly13char", "a" * 255, "\U0001f600 beyond the first plane", "lone \ud800"])
def test_long_names(text: str) -> None:
    short = b"SHORT~1 TXT"
    long = LongName()
    for record in long_records(text, short):
        long.add(record)
    assert long.take(short) == (text.encode("utf-8", "surrogatepass"), False)
    assert long.take(short) == (None, False)


def test_long_names_that_are_not_whole() -> None:
    short = b"SHORT~1 TXT"
    good = long_records("a name of three records, that is more than 26", short)
    assert len(good) == 4
    for bad in (good[1:], good[:-1], [good[0], good[2], good[3]], [*good[:2], good[0], *good[2:]]):
        long = LongName()
        for record in bad:
            long.add(record)
        assert long.take(short) == (None, True)
    long = LongName()
    for record in good:
        long.add(record)
    assert long.take(b"OTHER   TXT") == (None, True)


def test_not_a_volume() -> None:
    for data in (bytes(512), b"\xeb\x3c\x90" + bytes(507) + b"\x55\xaa", b"\xeb"):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


@pytest.mark.parametrize("name", ["fat12", "fat16", "fat32"])
def test_damaged_volumes(images: dict[str, bytes], name: str) -> None:
    data = images[name]
    reader = opened(data)
    listed(reader)
    used = max(claim.offset + claim.length for claim in reader.claims() if claim.what == "files and directories")
    small = data[:used]
    root = next(claim for claim in reader.claims() if claim.what == "files and directories").offset
    for hot in (range(90), range(512, 20_000), range(root, root + 20_000)):
        for broken in mangled(small, seed=hot.start, count=16, hot=hot):
            survives(FORMAT, broken)


def test_many_files_on_one_chain_do_not_take_long(images: dict[str, bytes]) -> None:
    """Every record names the same chain, the longest there can be."""
    data = bytearray(images["fat16"])
    geometry = struct.unpack_from("<HB", data, 11), struct.unpack_from("<HBH", data, 14)
    reserved, tables, root = geometry[1]
    length = struct.unpack_from("<H", data, 22)[0]
    clusters = length * 256 - 40
    struct.pack_into(f"<{clusters - 2}H", data, reserved * 512 + 4, *range(3, clusters), 0xFFFF)
    start = (reserved + tables * length) * 512
    for number in range(root):
        record = b"F%07d   " % number + bytes(15) + struct.pack("<HI", 2, clusters * 512)
        data[start + 32 * number : start + 32 * number + 32] = record
    bounded(lambda: list(opened(bytes(data)).entries()), 2.0)
