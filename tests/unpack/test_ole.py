"""OLE compound files: MSI packages made by msibuild; storages and large sectors by a writer of our own."""

from __future__ import annotations

import shutil
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from assay.unpack import identify, ole
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    UnpackError,
)
from assay.unpack.carved import Carved

from ..support.archives import NOISE, content, contents, stands
from ..support.hostile import mangled, survives

Tree = dict[str, "bytes | Tree"]
TIME = 116_444_736_000_000_000 + 1_700_000_000 * 10_000_000
TREE: Tree = {"big": NOISE, "empty": b"", "Storage ü": {"Deeper": {"exact": NOISE[:4096]}, "small": b"s" * 100}}


def compound(tree: Tree, *, major: int = 3, spare: int = 0) -> bytes:
    """A compound file. Entries of a storage lie to the right of one another; `spare` sectors at the end are free."""
    size = 512 if major == 3 else 4096
    records: list[list[object]] = []
    sectors: list[bytes] = []
    nexts: list[int] = []
    minis = bytearray()
    mini_nexts: list[int] = []

    def store(data: bytes, into: list[int], unit: int) -> int:
        number = (len(data) + unit - 1) // unit
        first = len(into)
        into.extend([*range(first + 1, first + number), 0xFFFFFFFE] if number else [])
        return first if number else 0xFFFFFFFE

    def put(data: bytes) -> int:
        first = store(data, nexts, size)
        sectors.extend(data[at : at + size].ljust(size, b"\0") for at in range(0, len(data), size))
        return first

    def add(name: str, kind: int, data: bytes = b"") -> int:
        first = 0
        if kind == 2 and len(data) >= 4096:
            first = put(data)
        elif kind == 2:
            first = store(data, mini_nexts, 64)
            minis.extend(data.ljust((len(data) + 63) // 64 * 64, b"\0"))
        records.append([name, kind, 0xFFFFFFFF, 0xFFFFFFFF, first, len(data)])
        return len(records) - 1

    def fill(parent: int, tree: Tree) -> None:
        before = None
        for name, what in tree.items():
            index = add(name, 1 if isinstance(what, dict) else 2, b"" if isinstance(what, dict) else what)
            if before is None:
                records[parent][3] = index
            else:
                records[before][2] = index
            before = index
            if isinstance(what, dict):
                fill(index, what)

    add("Root Entry", 5)
    fill(0, tree)
    records[0][4:] = [put(bytes(minis)), len(minis)]
    raw = b""
    for name, kind, right, child, first, length in records:
        text = str(name).encode("utf-16-le")
        times = (TIME, TIME + 1) if kind == 1 else (0, 0)
        raw += struct.pack(
            "<64sHBBIII16sIQQIQ", text, len(text) + 2, kind, 1, 0xFFFFFFFF, right, child, b"", 0, *times, first, length
        )
    directory = put(raw.ljust((len(raw) + size - 1) // size * size, b"\0"))
    smalls = put(struct.pack(f"<{len(mini_nexts)}I", *mini_nexts).ljust(size, b"\xff")) if mini_nexts else 0xFFFFFFFE
    used = len(sectors)
    tables = -(-(used + spare + 40) // (size // 4))
    fat = [*nexts, *[0xFFFFFFFD] * tables]
    fat += [0xFFFFFFFF] * (tables * size // 4 - len(fat))
    header = struct.pack("<8s16s5H6x", ole.MAGIC, b"", 0x3E, major, 0xFFFE, 9 if major == 3 else 12, 6)
    header += struct.pack(
        "<9I",
        0,
        tables,
        directory,
        0,
        4096,
        smalls,
        -(-len(mini_nexts) * 4 // size) if mini_nexts else 0,
        0xFFFFFFFE,
        0,
    )
    header += struct.pack("<109I", *range(used, used + tables), *[0xFFFFFFFF] * (109 - tables))
    body = b"".join(sectors) + struct.pack(f"<{len(fat)}I", *fat)
    return header.ljust(size, b"\0") + body + b"\xee" * size * spare


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MSI package with a table and two streams."""
    tool = shutil.which("msibuild")
    if tool is None:
        pytest.skip("msibuild (msitools) is not installed")
    folder = tmp_path_factory.mktemp("msi")
    (folder / "noise").write_bytes(NOISE)
    (folder / "small").write_bytes(b"small")
    query = "CREATE TABLE Property (Property CHAR(72) NOT NULL, Value CHAR(255) PRIMARY KEY Property)"
    insert = "INSERT INTO Property (Property, Value) VALUES ('ProductName', 'Thing')"
    who = ["-s", "Name", "Author", ";1033", "{11111111-2222-3333-4444-555555555555}"]
    for options in (who, ["-q", query, insert], ["-a", "data.cab", "noise"], ["-a", "Some.thing_1", "small"]):
        subprocess.run([tool, "made.msi", *options], cwd=folder, check=True, capture_output=True)
    return folder / "made.msi"


def test_an_installer_package(package: Path) -> None:
    data = package.read_bytes()
    found = contents(stands(ole.FORMAT, data))
    assert found[b"data.cab"] == NOISE
    assert found[b"Some.thing_1"] == b"small"
    assert {b"!_Tables", b"!_Columns", b"!_StringData", b"!_StringPool", b"!Property"} <= set(found)
    assert b"Thing" in (found[b"!_StringData"] or b"")
    if tool := shutil.which("msiinfo"):
        streams = subprocess.run([tool, "streams", package], check=True, capture_output=True, text=True).stdout.split()
        assert {name.encode() for name in streams} == {name for name in found if name[:1] != b"!"}
        for name in ("data.cab", "Some.thing_1"):
            done = subprocess.run([tool, "extract", package, name], check=True, capture_output=True)
            assert done.stdout == found[name.encode()]
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    list(reader.entries())
    assert reader.detail["kind"] == "Windows Installer package"
    assert reader.detail["class"] == str(uuid.UUID("000c1084-0000-0000-c000-000000000046"))


@pytest.mark.parametrize("major", [3, 4])
def test_storages(major: int) -> None:
    data = compound(TREE, major=major)
    found = stands(ole.FORMAT, data)
    when = 1_700_000_000 * 10**9
    assert [(item.path, item.type, body) for item, body in found if isinstance(item, Entry)] == [
        (b"big", "regular", NOISE),
        (b"empty", "regular", b""),
        ("Storage ü".encode(), "directory", None),
        ("Storage ü/Deeper".encode(), "directory", None),
        ("Storage ü/Deeper/exact".encode(), "regular", NOISE[:4096]),
        ("Storage ü/small".encode(), "regular", b"s" * 100),
    ]
    storage = found[2][0]
    assert isinstance(storage, Entry)
    assert (storage.mtime, storage.xattrs) == (when + 100, {"dos.created": b"%d" % when})


def test_free_sectors_are_not_explained() -> None:
    data = compound({"big": NOISE[:5000]}, spare=3)
    reader = ole.FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    claims = reader.claims()
    assert sum(claim.length for claim in claims) == len(data) - 3 * 512
    assert Claim(512, 5120, "streams") in claims


def test_names_of_packages() -> None:
    assert ole.installer_name("\u4840\u3f7f\u4164\u422f\u4836") == "!_Tables"
    assert ole.installer_name("\x05Summary") == "\x05Summary"


def sector_table(data: bytes) -> int:
    """Where the (first) table of sectors lies."""
    return int.from_bytes(data[76:80], "little") + 1 << 9


def test_broken_chains_cost_their_stream() -> None:
    data = bytearray(compound({"one": NOISE[:6000], "two": NOISE[:5000], "three": b"3"}))
    table = sector_table(data)
    struct.pack_into("<I", data, table + 4 * 14, 3)  # the second stream runs into the first
    reader = ole.FORMAT.open(BytesSource(bytes(data)), Limits())
    one, two, three = reader.entries()
    assert two == Problem("malformed", "sector 3 belongs to more than one stream", b"two")
    assert isinstance(one, Entry)
    assert content(reader, one) == NOISE[:6000]
    assert isinstance(three, Entry)
    assert content(reader, three) == b"3"
    struct.pack_into("<I", data, table + 4 * 3, 0xFFFFFFFE)  # and the first ends early
    reader = ole.FORMAT.open(BytesSource(bytes(data)), Limits())
    entry = next(item for item in reader.entries() if isinstance(item, Entry))
    chunks = []
    with pytest.raises(UnpackError, match="too early"):
        for chunk in reader.open(entry.locator or 0):
            chunks.append(chunk)  # noqa: PERF402
    assert b"".join(chunks) == NOISE[:2048]


def test_what_is_no_compound_file() -> None:
    data = compound(TREE)
    for broken in (data[:400], ole.MAGIC + NOISE[:600], ole.MAGIC + bytes(600), data[:30] + b"\x0a" + data[31:]):
        with pytest.raises(NotThisFormat):
            ole.FORMAT.open(BytesSource(broken), Limits())
    with pytest.raises(UnpackError):
        list(ole.FORMAT.open(BytesSource(data[:5000]), Limits()).entries())
    with pytest.raises(Malformed, match="no such entry"):
        ole.FORMAT.open(BytesSource(data), Limits()).open(77)
    with pytest.raises(LimitReached, match="entries"):
        list(ole.FORMAT.open(BytesSource(data), Limits(entries=2)).entries())


def test_one_inside_something_is_found() -> None:
    data = compound(TREE)
    image = NOISE[:1235] + data + NOISE[:2000]
    found = [
        (item.path, item.size) for item in Carved(BytesSource(image), Limits()).entries() if isinstance(item, Entry)
    ]
    assert (b"0x000004d3.ole", len(data)) in found


def test_whatever_is_broken_is_told() -> None:
    tree: Tree = {"one": NOISE[:6000], "two": b"2" * 300, "in": {"three": b"3" * 90, "four": NOISE[:5000]}}
    for major in (3, 4):
        data = compound(tree, major=major)
        for broken in mangled(data, seed=major, count=150, hot=range(24, 100)):
            survives(ole.FORMAT, broken)
        end = len(data)
        for broken in mangled(data, seed=major + 1, count=250, hot=range(end // 2, end)):
            survives(ole.FORMAT, broken)
