"""Cabinets, written here from [MS-CAB] (no tool that writes them is at hand) and read by cabextract and 7-Zip too."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.unpack import cab, identify
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

from ..support.archives import NOISE, content, contents, stands
from ..support.hostile import mangled, survives
from ..support.sevenzip import listing

NONE, MSZIP, QUANTUM, LZX = 0, 1, 0x1472, 0x0F03
TEXT = b"".join(b"line %d of a text\n" % number for number in range(20_000))
FILES = {b"dir\\text": TEXT, b"dir\\empty": b"", b"noise": NOISE, b"zeros": bytes(100_000)}


def words(data: bytes, seed: int = 0) -> int:
    """The checksum, word by word as the specification has it."""
    for at in range(0, len(data) - 3, 4):
        seed ^= int.from_bytes(data[at : at + 4], "little")
    tail = data[len(data) & ~3 :]
    return seed ^ int.from_bytes(tail, "big")


def pieces(data: bytes, method: int) -> list[tuple[bytes, int]]:
    """Stored blocks and the size of what each gives."""
    found = []
    before = b""
    for at in range(0, len(data), 32768):
        piece = data[at : at + 32768]
        if method == MSZIP:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=before)
            packed = b"CK" + packer.compress(piece) + packer.flush()
            before = piece
        elif method == LZX:  # blocks of the kind that LZX calls uncompressed, each with its header
            bits = (3 << 24 | len(piece)) << (5 if at else 4)
            head = bits.to_bytes(4, "big")
            packed = head[1::-1] + head[3:1:-1] + struct.pack("<III", 1, 1, 1) + piece + b"\0" * (len(piece) & 1)
        else:
            packed = piece
        found.append((packed, len(piece)))
    return found


def cabinet(
    folders: Sequence[tuple[int, dict[bytes, bytes]]],
    *,
    reserve: tuple[int, int, int] | None = None,
    signature: bytes = b"",
    place: int | None = None,
    flags: int = 0,
    sums: bool = True,
) -> bytes:
    """A cabinet: for each folder the method and the files by name."""
    in_header, in_folder, in_block = reserve or (0, 0, 0)
    names = (b"one.cab\0disk 1\0" if flags & 1 else b"") + (b"two.cab\0disk 2\0" if flags & 2 else b"")
    table_at = 36 + (4 + in_header if reserve else 0) + len(names)
    files_at = table_at + len(folders) * (8 + in_folder)
    files = b""
    for number, (_, held) in enumerate(folders):
        offset = 0
        for name, data in held.items():
            utf = 0x80 if not name.isascii() else 0
            files += struct.pack(
                "<IIHHHH", len(data), offset, number if place is None else place, 0x5A21, 0x6000, 0x21 | utf
            )
            files += name + b"\0"
            offset += len(data)
    table, blocks = b"", b""
    for method, held in folders:
        packed = pieces(b"".join(held.values()), method)
        table += struct.pack("<IHH", files_at + len(files) + len(blocks), len(packed), method) + b"R" * in_folder
        for data, size in packed:
            tail = struct.pack("<HH", len(data), size) + b"r" * in_block
            blocks += struct.pack("<I", words(data, words(tail[:4])) if sums else 0) + tail + data
    total = files_at + len(files) + len(blocks)
    header = b"MSCF" + struct.pack("<5I", 0, total, 0, files_at, 0)
    count = sum(len(held) for _, held in folders)
    header += struct.pack("<BBHHHHH", 3, 1, len(folders), count, flags | (4 if reserve else 0), 77, 0)
    if reserve:
        extra = struct.pack("<III", 0x100000, total, len(signature)) if signature else b""
        header += struct.pack("<HBB", *reserve) + extra.ljust(in_header, b"\0")
    return header + names + table + files + blocks + signature


def slashed(files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name.replace(b"\\", b"/"): data for name, data in files.items()}


@pytest.mark.parametrize("method", [NONE, MSZIP, LZX])
@pytest.mark.parametrize("reserve", [None, (0, 0, 0), (10, 4, 6)])
def test_every_method(tmp_path: Path, method: int, reserve: tuple[int, int, int] | None) -> None:
    data = cabinet(
        [(method, FILES), (NONE, {b"last \xc3\xbc": b"x" * 40_000})],
        reserve=reserve,
        sums=not (method == LZX and reserve),
    )
    expected = slashed(FILES) | {b"last \xc3\xbc": b"x" * 40_000}
    found = stands(cab.FORMAT, data)
    assert contents(found) == expected
    image = tmp_path / "made.cab"
    image.write_bytes(data)
    assert listing(image, "cab") == {name.decode(): len(body) for name, body in expected.items()}
    if tool := shutil.which("cabextract"):
        subprocess.run([tool, "-q", "-d", tmp_path / "out", image], check=True)
        for name, body in expected.items():
            assert (tmp_path / "out" / name.decode()).read_bytes() == body


def test_what_is_stated_is_kept() -> None:
    data = cabinet([(MSZIP, {b"a\\b": b"bytes"})], flags=1)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert list(reader.entries()) == [
        Entry(
            b"a/b",
            "regular",
            locator=[0, 0, 5],
            size=5,
            mtime=1_735_732_800 * 10**9,
            xattrs={"dos.attributes": b"read-only archive"},
        )
    ]
    assert reader.declared == 1
    assert reader.detail == {
        "version": "1.3",
        "compression": "MSZIP",
        "set": 77,
        "number_in_set": 0,
        "previous_cabinet": "one.cab",
        "next_cabinet": None,
        "signature_bytes": None,
    }
    table = 36 + len(b"one.cab\0disk 1\0")
    assert reader.claims() == [
        Claim(0, table + 8, "header"),
        Claim(table + 8, 20, "files"),
        Claim(table + 28, len(data) - table - 28, "blocks"),
    ]


def test_a_signature_belongs_to_its_cabinet() -> None:
    data = cabinet([(NONE, {b"a": b"bytes"})], reserve=(20, 0, 0), signature=b"\x30\x82" + NOISE[:500])
    assert contents(stands(cab.FORMAT, data)) == {b"a": b"bytes"}
    reader = cab.FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    assert reader.claims()[-1] == Claim(len(data) - 502, 502, "signature")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0xFFFD, "begin in the previous"),
        (0xFFFE, "go on in the next"),
        (0xFFFF, "begin in the previous and go on in the next"),
    ],
)
def test_files_of_several_cabinets_are_told(place: int, words: str) -> None:
    data = cabinet([(NONE, {b"a": b"bytes"})], place=place, flags=3)
    assert stands(cab.FORMAT, data) == [(Problem("unsupported", f"its bytes {words} cabinet", b"a"), None)]


def test_quantum_is_told() -> None:
    reader = cab.FORMAT.open(BytesSource(cabinet([(QUANTUM, {b"a": b"bytes"})])), Limits())
    with pytest.raises(Unsupported, match="compression Quantum:20"):
        list(reader.open([0, 0, 5]))


@pytest.mark.parametrize("method", [NONE, MSZIP, LZX])
def test_damage_is_told_and_what_came_before_stands(method: int) -> None:
    data = bytearray(cabinet([(method, {b"a": NOISE[:32768], b"b": NOISE[32768:90000]})]))
    data[-10_000] ^= 1
    reader = cab.FORMAT.open(BytesSource(bytes(data)), Limits())
    one, two = (item for item in reader.entries() if isinstance(item, Entry))
    assert content(reader, one) == NOISE[:32768]
    with pytest.raises(UnpackError):
        content(reader, two)
    assert content(reader, one) == NOISE[:32768]


def test_cut_cabinets() -> None:
    data = cabinet([(MSZIP, FILES)])
    with pytest.raises(NotThisFormat):
        cab.FORMAT.open(BytesSource(data[:30]), Limits())
    reader = cab.FORMAT.open(BytesSource(data[:-1000]), Limits())
    *entries, problem = reader.entries()
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.entries) == ("truncated", 0)
    assert content(reader, entries[0]) == TEXT  # type: ignore[arg-type]
    with pytest.raises(Truncated):
        list(cab.FORMAT.open(BytesSource(data[:50]), Limits()).entries())


def test_chance_matches() -> None:
    for broken in (b"MSCF" + NOISE[:200], b"MSCF" + bytes(200), b"MSCF\0\0\0\0" + NOISE[:200]):
        assert identify(BytesSource(broken), Limits()) is None


def test_limits() -> None:
    data = cabinet([(MSZIP, {b"zeros": bytes(4 << 20)})])
    reader = cab.FORMAT.open(BytesSource(data), Limits(ratio=10, ratio_from=1 << 20))
    with pytest.raises(LimitReached, match="ratio"):
        list(reader.open([0, 0, 4 << 20]))


def test_folders_that_share_blocks_cost_no_more_than_the_cabinet_has() -> None:
    data = bytearray(cabinet([(NONE, {b"%d" % number: b""}) for number in range(3000)]))
    offset = len(data)
    data += struct.pack("<IHH", 0, 0, 0) * 60_000
    struct.pack_into("<I", data, 8, len(data))
    for number in range(3000):
        struct.pack_into("<IH", data, 36 + 8 * number, offset, 60_000)
    survives(cab.FORMAT, bytes(data))


def test_one_in_a_program_is_found() -> None:
    program = Path("/bin/true").read_bytes()
    data = program + cabinet([(MSZIP, FILES)]) + NOISE[:300]
    found = [item.path for item in Carved(BytesSource(data), Limits()).entries() if isinstance(item, Entry)]
    assert b"%#010x.cab" % len(program) in found


def test_checksums_by_another_way() -> None:
    for length in (*range(40), 1000, 32768):
        assert cab.checksum(NOISE[:length], 5) == words(NOISE[:length], 5)
    with pytest.raises(Malformed, match="no such entry"):
        cab.FORMAT.open(BytesSource(cabinet([(NONE, FILES)])), Limits()).open([7, 0, 1])


def test_whatever_is_broken_is_told() -> None:
    small = {b"one": TEXT[:3000], b"two": NOISE[:500], b"three": TEXT[:40_000]}
    for method in (NONE, MSZIP, LZX):
        data = cabinet([(method, small), (MSZIP, small)], reserve=(4, 2, 2), sums=False)
        for broken in mangled(data, seed=method, count=150, hot=range(200)):
            survives(cab.FORMAT, broken)
        for broken in mangled(data, seed=method + 1, count=100):
            survives(cab.FORMAT, broken)
