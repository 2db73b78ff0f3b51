from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Encrypted,
    Entry,
    LimitReached,
    Limits,
    Malformed,
    NotThisFormat,
    Truncated,
    UnpackError,
    Unsupported,
)
from assay.unpack.qcow2 import FORMAT

from ..support.disks import MIB, QEMU_IMG, contents, guest, holds, made, problems, qemu, raw_of
from ..support.hostile import mangled, survives

pytestmark = pytest.mark.skipif(QEMU_IMG is None, reason="needs qemu-img")

DISK = guest(5 * MIB)
VARIANTS: dict[str, tuple[str, ...]] = {
    "v3": (),
    "v2": ("-o", "compat=0.10"),
    "zlib": ("-c",),
    "zstd": ("-c", "-o", "compression_type=zstd"),
    "small": ("-o", "cluster_size=512"),
    "large": ("-o", "cluster_size=2M"),
    "extended": ("-o", "extended_l2=on,cluster_size=16k"),
    "extended-zlib": ("-c", "-o", "extended_l2=on,cluster_size=64k"),
    "refcounts": ("-o", "refcount_bits=1"),
    "preallocated": ("-o", "preallocation=metadata"),
    "full": ("-o", "preallocation=full"),
    "whole": ("-S", "0"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_disk_is_what_was_put_in(variant: str, tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "qcow2", *VARIANTS[variant])
    reader = FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    extent = max(claim.offset + claim.length for claim in reader.claims())
    # qemu-img check names the end of the last cluster in use.
    checked = subprocess.run(
        [QEMU_IMG or "", "check", "--output=json", tmp_path / "image.qcow2"], check=True, capture_output=True, text=True
    )
    end = int(checked.stdout.split('"image-end-offset":')[1].split(",")[0])
    assert 0 <= end - extent < max(65536, int(str(reader.detail["cluster_bytes"])))
    holds(FORMAT, data, [Entry(b"disk", "regular", 0, len(DISK))], {b"disk": DISK}, extent)


def test_nothing_is_left_unexplained(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "qcow2")
    reader = FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    claims = reader.claims()
    assert sum(claim.length for claim in claims) == len(data)
    assert {claim.what for claim in claims} == {"header", "L1 table", "L2 table", "reference counts", "data"}


def test_header_is_kept(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=32k")
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.detail == {
        "version": 3,
        "size": len(DISK),
        "cluster_bytes": 32768,
        "encryption": "none",
        "compression": "zstd",
        "incompatible_features": "compression type",
        "compatible_features": 0,
        "autoclear_features": 0,
        "refcount_bits": 16,
        "backing_file": None,
        "snapshots": 0,
    }


def test_snapshots_are_disks_of_their_own(tmp_path: Path) -> None:
    made(tmp_path, DISK, "qcow2")
    image = tmp_path / "image.qcow2"
    qemu("snapshot", "-c", "before", image)
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 0x42 65536 131072", image], check=True, capture_output=True
    )
    qemu("snapshot", "-c", "after", image)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0x43 4M 100", image], check=False, capture_output=True)
    data = image.read_bytes()
    reader = FORMAT.open(BytesSource(data), Limits())
    changed = DISK[:65536] + b"\x42" * 131072 + DISK[65536 + 131072 :]
    items = {item.path: item for item in reader.entries() if isinstance(item, Entry)}
    assert items.keys() == {b"disk", b"snapshot-1", b"snapshot-2"}
    assert {item.size for item in items.values()} == {len(DISK)}
    assert contents(reader, b"snapshot-1") == DISK == raw_of(tmp_path, image, "qcow2", "-l", "before")
    assert contents(reader, b"snapshot-2") == changed
    assert contents(reader) == raw_of(tmp_path, image, "qcow2")
    assert reader.detail["snapshot 2"] == "id=2 name=after vm_state_bytes=0"
    assert (items[b"snapshot-1"].mtime or 0) > 1_500_000_000 * 10**9
    assert "snapshot table" in {claim.what for claim in reader.claims()}


def test_a_backing_file_is_named_and_its_clusters_are_not_read(tmp_path: Path) -> None:
    made(tmp_path, DISK, "qcow2")
    top = tmp_path / "top.qcow2"
    qemu("create", "-f", "qcow2", "-F", "qcow2", "-b", "image.qcow2", top)
    reader = FORMAT.open(BytesSource(top.read_bytes()), Limits())
    assert [item.path for item in reader.entries() if isinstance(item, Entry)] == [b"disk"]
    assert (reader.detail["backing_file"], reader.detail["backing_format"]) == ("image.qcow2", "qcow2")
    assert reader.detail["disk: bytes elsewhere"] == len(DISK)
    with pytest.raises(Unsupported, match=r"lie in the backing file 'image.qcow2'"):
        list(reader.open(0))
    assert reader.span(0) is None


def test_an_external_data_file_is_named(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "qcow2", "-o", f"data_file={tmp_path}/data.raw")
    reader = FORMAT.open(BytesSource(data), Limits())
    list(reader.entries())
    assert reader.detail["data_file"] == f"{tmp_path}/data.raw"
    with pytest.raises(Unsupported, match="external data file"):
        list(reader.open(0))


def test_encrypted_disks_are_named(tmp_path: Path) -> None:
    image = tmp_path / "luks"
    secret = ("--object", "secret,id=s,data=abc")
    options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    qemu("create", *secret, "-f", "qcow2", "-o", options, image, "1M")
    reader = FORMAT.open(BytesSource(image.read_bytes()), Limits())
    assert [item.path for item in reader.entries() if isinstance(item, Entry)] == [b"disk"]
    assert reader.detail["encryption"] == "LUKS"
    with pytest.raises(Encrypted):
        list(reader.open(0))


def test_a_cut_image_gives_what_is_whole(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "qcow2")
    reader = FORMAT.open(BytesSource(data[: len(data) - 100_000]), Limits())
    out = b""
    assert problems(reader) == []
    with pytest.raises(Truncated):
        for chunk in reader.open(0):
            out += chunk
    assert len(out) > MIB
    assert DISK.startswith(out)


def test_an_endless_disk_is_stopped(tmp_path: Path) -> None:
    qemu("create", "-f", "qcow2", tmp_path / "huge", "64T")
    reader = FORMAT.open(BytesSource((tmp_path / "huge").read_bytes()), Limits(ratio_from=64 * MIB))
    assert len(list(reader.entries())) == 1
    with pytest.raises(LimitReached, match="ratio"):
        list(reader.open(0))


def broken(offset: int, layout: str, value: int, data: bytes) -> bytes:
    copy = bytearray(data)
    struct.pack_into(layout, copy, offset, value)
    return bytes(copy)


@pytest.mark.parametrize(
    ("offset", "layout", "value", "error"),
    [
        (4, ">I", 4, NotThisFormat),
        (4, ">I", 1, Unsupported),
        (20, ">I", 31, NotThisFormat),  # cluster bits
        (24, ">Q", 1 << 63, NotThisFormat),  # size
        (40, ">Q", 7, NotThisFormat),  # L1 table
        (72, ">Q", 1 << 20, Unsupported),  # a feature to come
        (100, ">I", 8, NotThisFormat),  # length of the header
    ],
)
def test_impossible_headers(offset: int, layout: str, value: int, error: type[Exception], tmp_path: Path) -> None:
    data = made(tmp_path, DISK[:MIB], "qcow2")
    with pytest.raises(error):
        FORMAT.open(BytesSource(broken(offset, layout, value, data)), Limits())


def test_maps_that_break_the_format(tmp_path: Path) -> None:
    data = made(tmp_path, DISK, "qcow2", "-o", "cluster_size=4k")
    l1 = int.from_bytes(data[40:48], "big")
    first = data[l1 : l1 + 8]
    twice = data[: l1 + 8] + first + data[l1 + 16 :]
    reader = FORMAT.open(BytesSource(twice), Limits())
    list(reader.entries())
    with pytest.raises(Malformed, match="more than one place"):
        list(reader.open(0))
    l2 = int.from_bytes(first, "big") & ((1 << 56) - 1)
    odd = broken(l2, ">Q", 0x1200, data)
    with pytest.raises(Malformed, match="cluster at 4608"):
        list(FORMAT.open(BytesSource(odd), Limits()).open(0))
    many = broken(36, ">I", 0xFFFFFFFF, data)
    with pytest.raises(LimitReached):
        list(FORMAT.open(BytesSource(many), Limits()).open(0))
    missing = FORMAT.open(BytesSource(broken(60, ">I", 3, data)), Limits())
    assert [(problem.reason, problem.entries) for problem in problems(missing)] != []


@pytest.mark.parametrize("variant", ["v3", "zstd", "extended", "small"])
def test_damaged_images(variant: str, tmp_path: Path) -> None:
    data = made(tmp_path, guest(3 * MIB), "qcow2", *VARIANTS[variant])
    for hot in (range(128), range(len(data) // 4)):
        for number, bad in enumerate(mangled(data, seed=hot.stop, count=12, hot=hot)):
            survives(FORMAT, bad)
            if number % 5 == 0:
                survives(FORMAT, bad[:200])


def test_other_bytes_are_refused() -> None:
    for data in (b"QFI\xfb", b"QFI\xfb" + b"\xff" * 200, b"QFI\xfb" + bytes(200)):
        with pytest.raises((NotThisFormat, UnpackError)):
            FORMAT.open(BytesSource(data), Limits())
