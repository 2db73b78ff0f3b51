from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Truncated,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.ubi import FORMAT

from ..support.hostile import bounded, mangled, survives

UBINIZE = shutil.which("ubinize", path="/usr/sbin:/sbin:/usr/bin:/bin")
needs_ubinize = pytest.mark.skipif(UBINIZE is None, reason="ubinize is not installed")

PEB, VID, DATA = 16384, 512, 1024
LEB = PEB - DATA
STATIC = random.Random(1).randbytes(40_000)
DYNAMIC = random.Random(2).randbytes(2 * LEB) + b"end"


def ubinized(folder: Path, *, peb: int = PEB, page: int = 512, sub: int = 512) -> bytes:
    """Return an image of three volumes: static, dynamic with alignment, dynamic that grows; none is volume 0."""
    (folder / "static").write_bytes(STATIC)
    (folder / "dynamic").write_bytes(DYNAMIC)
    (folder / "ini").write_text(
        f"""[one]
mode=ubi
image={folder}/static
vol_id=1
vol_size=256KiB
vol_type=static
vol_name=kernel
[two]
mode=ubi
image={folder}/dynamic
vol_id=5
vol_size=1MiB
vol_type=dynamic
vol_name=rootfs data
vol_alignment=4096
[three]
mode=ubi
vol_id=7
vol_size=64KiB
vol_type=dynamic
vol_name=empty
vol_flags=autoresize
"""
    )
    sizes = ["-p", str(peb), "-m", str(page), "-s", str(sub), "-e", "7", "-Q", "99"]
    subprocess.run([UBINIZE or "", *sizes, "-o", folder / "ubi", folder / "ini"], check=True, capture_output=True)
    return (folder / "ubi").read_bytes()


def crc(data: bytes) -> int:
    return zlib.crc32(data) ^ 0xFFFFFFFF


def ec(counter: int = 3, *, sequence: int = 5, vid: int = VID, data: int = DATA, version: int = 1) -> bytes:
    raw = struct.pack(">4sB3xQLLL32x", b"UBI#", version, counter, vid, data, sequence)
    return raw + struct.pack(">L", crc(raw))


def vid(volume: int, leb: int, content: bytes, sequence: int, *, kind: int = 1, copy: int = 0, used: int = 0) -> bytes:
    checked = kind == 2 or copy
    numbers = (len(content) if checked else 0, used, 0, crc(content) if checked else 0)
    raw = struct.pack(">4sBBBBLL4xLLLL4xQ12x", b"UBI!", 1, kind, copy, 0, volume, leb, *numbers, sequence)
    return raw + struct.pack(">L", crc(raw))


def peb(header: bytes = b"", content: bytes = b"", *, counter: int = 3, image: int = 5) -> bytes:
    block = ec(counter, sequence=image).ljust(VID, b"\xff") + header
    return (block.ljust(DATA, b"\xff") + content).ljust(PEB, b"\xff")


def table(*volumes: tuple[int, bytes, int]) -> bytes:
    """Return a volume table from (id, name, type)."""
    records = [bytes(168)] * (LEB // 172)
    for number, name, kind in volumes:
        records[number] = struct.pack(">LLLBBH128sB23x", 50, 1, 0, kind, 0, len(name), name, 0)
    return b"".join(record + struct.pack(">L", crc(record)) for record in records)


LAYOUT = 0x7FFFFFFF - 4096


def layout(*volumes: tuple[int, bytes, int], image: int = 5) -> bytes:
    content = table(*volumes)
    return b"".join(peb(vid(LAYOUT, leb, content, leb), content, image=image) for leb in (0, 1))


def opened(data: bytes) -> Reader:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def volumes(data: bytes) -> dict[bytes, bytes]:
    reader = opened(data)
    found = {}
    for item in reader.entries():
        assert isinstance(item, Entry), item
        assert item.locator is not None
        found[item.path] = b"".join(opened(data).open(item.locator))
        assert len(found[item.path]) == item.size
    return found


def problems(data: bytes) -> list[str]:
    return [f"{item.path.decode()}: {item.detail}" for item in opened(data).entries() if isinstance(item, Problem)]


@needs_ubinize
@pytest.mark.parametrize("geometry", [(16384, 512, 512), (131072, 2048, 2048), (131072, 2048, 512), (262144, 1, 1)])
def test_what_ubinize_makes(geometry: tuple[int, int, int], tmp_path: Path) -> None:
    peb, page, sub = geometry
    data = ubinized(tmp_path, peb=peb, page=page, sub=sub)
    reader = opened(data)
    leb = reader.detail["leb_size"]
    assert isinstance(leb, int)
    aligned = leb // 4096 * 4096
    found = volumes(data)
    assert list(found) == [b"kernel", b"rootfs data", b"empty"]
    assert found[b"kernel"] == STATIC
    used = -(-len(DYNAMIC) // aligned)
    assert found[b"rootfs data"] == DYNAMIC.ljust(used * aligned, b"\xff")
    assert found[b"empty"] == b""
    assert reader.declared == 3
    assert (reader.detail["peb_size"], reader.detail["image_sequence"], reader.detail["volume_table"]) == (
        peb,
        99,
        "ok",
    )
    assert reader.detail["erase_counter_mean"] == 7
    reserved = -(-(1 << 20) // leb)
    assert reader.detail["5"] == (
        f"name=rootfs data type=dynamic reserved={reserved} mapped={used} alignment=4096 padding={leb - aligned} "
        "update_marker=0 flags=0x0"
    )
    assert str(reader.detail["7"]).endswith("flags=0x1 autoresize")
    assert sum(claim.length for claim in reader.claims()) == len(data)


@needs_ubinize
def test_inside_something_bigger_it_claims_its_own_extent(tmp_path: Path) -> None:
    data = ubinized(tmp_path)
    for after in (
        b"\x00" * 100_000,
        random.Random(3).randbytes(90_000),
        b"\xff" * 200_000,
        layout((0, b"x", 1)) * 2,
        data,
    ):
        whole = b"\x5a" * 777 + data + after
        reader = FORMAT.open(Window(BytesSource(whole), 777, len(whole)), Limits())
        assert list(reader.entries()) == list(opened(data).entries())
        claims = reader.claims()
        assert claims == opened(data).claims()
        assert max(claim.offset + claim.length for claim in claims) == len(data)


def test_the_newest_generation_is_read_unless_it_is_a_broken_copy() -> None:
    old, new, moved = b"old" * 100, b"new" * 100, b"moved" * 60
    data = layout((0, b"v", 1))
    data += peb(vid(0, 0, new, 12), new) + peb(vid(0, 0, old, 11), old)
    data += peb(vid(0, 1, old, 11), old) + peb(vid(0, 1, moved, 12, copy=1), moved)
    data += peb(vid(0, 2, old, 11), old) + peb(vid(0, 2, moved, 12, copy=1), b"half" + bytes(300))
    data += peb(counter=9)
    reader = opened(data)
    assert volumes(data) == {b"v": b"".join(part.ljust(LEB, b"\xff") for part in (new, moved, old))}
    assert reader.detail["older_generations"] == 3
    assert reader.detail["free_blocks"] == 1
    assert (reader.detail["erase_counter_min"], reader.detail["erase_counter_max"]) == (3, 9)
    older = [claim for claim in reader.claims() if claim.what == "older generation of an eraseblock"]
    assert [claim.offset // PEB for claim in older] == [3, 4, 7]
    assert sum(claim.length for claim in reader.claims()) == len(data)


def test_unmapped_blocks_of_a_dynamic_volume_read_as_erased() -> None:
    data = layout((3, b"v", 1)) + peb(vid(3, 2, b"", 5), b"C" * LEB) + peb(vid(3, 0, b"", 6), b"A" * LEB)
    assert volumes(data) == {b"v": b"A" * LEB + b"\xff" * LEB + b"C" * LEB}


def test_a_static_volume_is_checked() -> None:
    first, last = b"1" * LEB, b"2" * 99
    blocks = [peb(vid(0, n, part, 5 + n, kind=2, used=2), part) for n, part in enumerate((first, last))]
    data = layout((0, b"v", 2)) + blocks[0] + blocks[1]
    assert volumes(data) == {b"v": first + last}
    missing = layout((0, b"v", 2)) + blocks[0] + peb()
    assert problems(missing) == ["v: 1 of its logical eraseblocks are missing"]
    out = []
    with pytest.raises(Malformed, match="LEB 1 of 2 is missing"):
        for chunk in opened(missing).open(0):
            out.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert b"".join(out) == first
    damaged = bytearray(data)
    damaged[3 * PEB + DATA] ^= 1
    with pytest.raises(Malformed, match="CRC-32 of its data"):
        list(opened(bytes(damaged)).open(0))


def test_either_copy_of_the_volume_table_will_do() -> None:
    whole = layout((0, b"v", 1)) + peb(vid(0, 0, b"", 5), b"A" * LEB)
    first = bytearray(whole)
    first[DATA + 20] ^= 1
    assert volumes(bytes(first)) == {b"v": b"A" * LEB}
    assert opened(bytes(first)).detail["volume_table"] == "1 broken records, ok"
    both = bytearray(first)
    both[PEB + DATA + 200] ^= 1
    assert problems(bytes(both)) == [": volume table: first copy 1 broken records, second copy 1 broken records"]
    both[PEB + DATA + 20] ^= 1
    assert problems(bytes(both)) == [
        ": volume table: first copy 1 broken records, second copy 2 broken records",
        "0: volume 0 is not in the volume table, 1 logical eraseblocks are there",
    ]
    (entry,) = [item for item in opened(bytes(both)).entries() if isinstance(item, Entry)]
    assert b"".join(opened(bytes(both)).open(entry.locator or 0)) == b"A" * LEB


def test_bad_and_erased_blocks_cost_themselves_only() -> None:
    good = [peb(vid(0, n, b"", 5 + n), bytes([65 + n]) * LEB) for n in range(4)]
    broken = bytearray(good[1])
    broken[VID + 9] ^= 1
    bad = bytes(PEB)
    data = layout((0, b"v", 1)) + good[0] + bytes(broken) + bad + b"\xff" * PEB + good[3]
    assert problems(data) == [
        ": volume identifier header broken in 1 of 7 blocks, the first one is block 3",
        ": erase counter header broken in 1 of 7 blocks, the first one is block 4",
    ]
    (entry,) = [item for item in opened(data).entries() if isinstance(item, Entry)]
    assert b"".join(opened(data).open(entry.locator or 0)) == b"A" * LEB + b"\xff" * 2 * LEB + b"D" * LEB
    assert sum(claim.length for claim in opened(data).claims()) == len(data) - 2 * PEB


def test_the_size_of_a_block_is_found_though_its_neighbour_is_lost() -> None:
    blocks = [peb(vid(0, n, b"", 5 + n), b"x" * LEB) for n in range(9)]
    start = layout((0, b"v", 1))
    assert opened(start[:PEB] + b"\xff" * PEB + b"".join(blocks)).detail["peb_size"] == PEB
    inner = b"".join(peb(vid(0, n, b"", 5 + n), b"") for n in range(2))
    nested = start + b"".join(peb(vid(0, n, b"", 5 + n), (bytes(3072) + inner)[:LEB]) for n in range(9))
    assert opened(nested).detail["peb_size"] == PEB


def test_bytes_where_there_should_be_none_are_not_claimed() -> None:
    hidden = bytearray(peb(counter=4))
    hidden[DATA + 5000] = 1
    data = layout((0, b"v", 1)) + bytes(hidden) + peb(vid(0, 0, b"s", 5, kind=2, used=1), b"s" + b"\xff" * 50 + b"t")
    claims = opened(data).claims()
    assert Claim(2 * PEB, DATA, "headers") in claims
    assert sum(claim.length for claim in claims) == len(data) - 2 * LEB + 1


def test_what_is_not_read_says_so() -> None:
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(b"UBI#" + bytes(60)), Limits())
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(ec()[:40]), Limits())
    with pytest.raises(Unsupported, match="version 2"):
        FORMAT.open(BytesSource(ec(version=2) + bytes(99999)), Limits())
    with pytest.raises(Truncated, match="size of an eraseblock"):
        FORMAT.open(BytesSource(peb()), Limits())
    reader = opened(layout((0, b"v", 1)) + peb())
    for locator in (None, "x", [0], 5, LAYOUT, -1):
        with pytest.raises(Malformed):
            list(reader.open(locator))  # type: ignore[arg-type]


def test_cut_anywhere_yields_what_is_whole() -> None:
    parts = [bytes([65 + n]) * LEB for n in range(4)]
    data = layout((0, b"v", 1)) + b"".join(peb(vid(0, n, b"", 5 + n), part) for n, part in enumerate(parts))
    for size in range(3 * PEB, len(data), 3001):
        out = b""
        try:
            for chunk in opened(data[:size]).open(0):
                out += chunk
        except UnpackError:
            pass
        whole = (size - 2 * PEB) // PEB
        assert out.startswith(b"".join(parts[:whole])), size


def test_hostile() -> None:
    content = b"static"
    data = layout((0, b"v", 1), (1, b"s", 2)) + peb(vid(1, 0, content, 9, kind=2, used=1), content)
    data += peb(vid(0, 7, b"", 5), b"x" * 100) + peb(vid(0, 7, b"x", 6, copy=1), b"x") + peb()
    hot = [place for block in range(6) for place in range(block * PEB, block * PEB + 64)]
    hot += [place + VID for place in hot] + list(range(DATA, DATA + 400))
    for broken in mangled(data, count=400):
        survives(FORMAT, broken)
    chance = random.Random(5)
    for _ in range(400):
        fuzzed = bytearray(data)
        for place in chance.sample(hot, 3):
            fuzzed[place] = chance.randrange(256)
        for block in range(6):  # with right sums, so that the damage is believed
            for at in (block * PEB, block * PEB + VID):
                if chance.random() < 0.9 and fuzzed[at : at + 3] == b"UBI":
                    fuzzed[at + 60 : at + 64] = struct.pack(">L", crc(bytes(fuzzed[at : at + 60])))
        survives(FORMAT, bytes(fuzzed))


def test_endless_looking_inputs_end() -> None:
    bounded(lambda: survives(FORMAT, ec() * (1 << 15)), 3)
    bounded(lambda: survives(FORMAT, layout((0, b"v", 1)) + b"UBI#" * (2 << 20)), 3)
    far = (
        layout((0, b"v", 1))
        + peb(vid(9, (1 << 32) - 1, b"", 3), b"x")
        + peb(vid(0, 1 << 31, b"s", 3, kind=2, used=1 << 31))
    )
    bounded(lambda: survives(FORMAT, far), 3)
