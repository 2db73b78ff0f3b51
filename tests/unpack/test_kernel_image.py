"""Linux kernel images, written by hand as the boot protocols have them: only the kernel's own build makes them."""

from __future__ import annotations

import gzip
import lzma
import random
import shutil
import struct
import subprocess

import pytest

from assay.unpack import kernel_image, zimage
from assay.unpack.base import (
    BytesSource,
    Claim,
    Entry,
    Limits,
    NotThisFormat,
    Problem,
    Reader,
    Source,
    Truncated,
    Window,
)

from ..support.hostile import bounded, mangled, survives

CODE = random.Random(3).randbytes(9000)
VMLINUX = b"\x7fELF" + random.Random(4).randbytes(40_000)
VERSION = b"6.1.0 (builder@host) #1 SMP\0"
TREE = struct.pack(">10I", 0xD00DFEED, 72, 56, 72, 40, 17, 16, 0, 0, 16) + bytes(16) + struct.pack(">4I", 1, 0, 2, 9)


def contents(reader: Reader) -> dict[bytes, bytes]:
    out = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry)
        assert entry.locator is not None
        out[entry.path] = b"".join(reader.open(entry.locator))
    return out


def both(data: bytes) -> list[Source]:
    """Return an image alone, and inside something bigger."""
    return [BytesSource(data), Window(BytesSource(b"M" * 333 + data + b"\xaa" * 70_000), 333, 1 << 40)]


def bzimage(payload: bytes, *, pe: bool = False, protocol: int = 0x20F, certificates: bytes = b"") -> bytes:
    setup = bytearray(512 * 4)
    body = CODE[:716] + payload + CODE[:1000]
    body += bytes(-len(body) % 16)
    setup[0x1F1] = 3
    struct.pack_into("<I", setup, 0x1F4, len(body) // 16)
    setup[0x1FE:0x200] = b"\x55\xaa"
    struct.pack_into("<4sH6xHxB", setup, 0x202, b"HdrS", protocol, 0x300, 1)
    struct.pack_into("<I", setup, 0x238, 2047)
    struct.pack_into("<II", setup, 0x248, 716, len(payload))
    setup[0x500 : 0x500 + len(VERSION)] = VERSION
    end = len(setup) + len(body)
    if pe:
        setup[:2] = b"MZ"
        struct.pack_into("<I", setup, 0x3C, 0x40)
        struct.pack_into("<4sHHIIIHHH", setup, 0x40, b"PE\0\0", 0x8664, 1, 0, 0, 0, 160, 0, 0x20B)
        struct.pack_into("<I", setup, 0x40 + 24 + 108, 6)
        struct.pack_into("<II", setup, 0x40 + 24 + 112 + 32, end if certificates else 0, len(certificates))
        struct.pack_into("<8sIIII", setup, 0x40 + 24 + 160, b".text", 0, 0, len(body), len(setup))
    return bytes(setup) + body + certificates


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_bzimage(kind: str) -> None:
    packed = gzip.compress(VMLINUX) if kind == "gzip" else lzma.compress(VMLINUX)
    payload = packed if kind == "gzip" else packed + struct.pack("<I", len(VMLINUX))
    data = bzimage(payload)
    for source in both(data):
        reader = kernel_image.FORMAT.open(source, Limits())
        assert contents(reader) == {f"vmlinux.{kind}".encode(): packed}
        assert reader.detail == {
            "image": "bzImage",
            "version": "6.1.0 (builder@host) #1 SMP",
            "protocol": "2.15",
            "command_line_bytes": 2047,
            "compression": kind,
            "uncompressed_bytes": len(VMLINUX),
            "efi_stub": False,
        }
        assert sum(claim.length for claim in reader.claims()) == len(data)
        assert max(claim.offset + claim.length for claim in reader.claims()) == len(data)


def test_bzimage_with_signatures() -> None:
    certificates = (
        struct.pack("<IHH", 13, 0x200, 2) + b"first" + bytes(3) + struct.pack("<IHH", 14, 0x200, 2) + b"second"
    )
    data = bzimage(gzip.compress(VMLINUX), pe=True, certificates=certificates)
    for source in both(data):
        reader = kernel_image.FORMAT.open(source, Limits())
        found = contents(reader)
        assert reader.detail["efi_stub"] is True
        assert (found[b"signature"], found[b"signature-2"]) == (b"first", b"second")
        assert max(claim.offset + claim.length for claim in reader.claims()) == len(data)


def test_bzimage_without_a_payload() -> None:
    reader = kernel_image.FORMAT.open(BytesSource(bzimage(b"x" * 100, protocol=0x207)), Limits())
    assert [item.detail for item in reader.entries() if isinstance(item, Problem)] == [
        "the header does not say where the payload is"
    ]
    data = bytearray(bzimage(gzip.compress(VMLINUX)))
    struct.pack_into("<I", data, 0x24C, 1 << 30)
    (problem,) = kernel_image.FORMAT.open(BytesSource(bytes(data)), Limits()).entries()
    assert isinstance(problem, Problem)


def test_bzimage_cut_in_its_header() -> None:
    for size in (519, 577):
        with pytest.raises(Truncated):
            kernel_image.FORMAT.open(BytesSource(bzimage(gzip.compress(VMLINUX))[:size]), Limits())


def image(*, pe: bool, riscv: bool = False) -> bytes:
    head = bytearray(struct.pack("<II3Q", 0x14000000, 0, 0x80000, 1 << 20, 0 if riscv else 0b1010))
    head += (
        struct.pack("<IIQ8s4sI", 2, 0, 0, b"RISCV", b"RSC\5", 0x40)
        if riscv
        else struct.pack("<3Q4sI", 0, 0, 0, b"ARMd", 0x40)
    )
    body = bytearray(VMLINUX)
    if pe:
        head[:4] = b"MZ\0\0"
        struct.pack_into("<4sHHIIIHHH", body, 0, b"PE\0\0", 0xAA64, 1, 0, 0, 0, 160, 0, 0x20B)
        struct.pack_into("<I", body, 24 + 108, 0)
        struct.pack_into("<8sIIII", body, 24 + 160, b".text", 0, 0, len(body) - 936, 1000)
    return bytes(head + body)


def test_image() -> None:
    for riscv in (False, True):
        data = image(pe=True, riscv=riscv)
        for source in both(data):
            reader = kernel_image.FORMAT.open(source, Limits())
            assert contents(reader) == {b"kernel": data[64:]}
            assert reader.claims() == [Claim(0, 64, "header"), Claim(64, len(data) - 64, "kernel")]
    assert kernel_image.FORMAT.open(BytesSource(image(pe=True)), Limits()).detail == {
        "image": "Image (arm64)",
        "text_offset": "0x80000",
        "memory_bytes": 1 << 20,
        "byte_order": "little",
        "page_bytes": 4096,
        "efi_stub": True,
    }
    data = image(pe=False)
    reader = kernel_image.FORMAT.open(BytesSource(data), Limits())
    assert contents(reader) == {b"kernel": data[64:]}
    assert reader.claims() == [Claim(0, 64, "header")]  # how long the file is, its header does not say


def test_zboot() -> None:
    packed = gzip.compress(VMLINUX)
    head = bytearray(1024)
    struct.pack_into("<4s4sII8x32sI", head, 0, b"MZ\0\0", b"zimg", 1024, len(packed), b"gzip", 0x818223CD)
    struct.pack_into("<I", head, 0x3C, 0x40)
    struct.pack_into("<4sHHIIIHHH", head, 0x40, b"PE\0\0", 0xAA64, 1, 0, 0, 0, 160, 0, 0x20B)
    struct.pack_into("<8sIIII", head, 0x40 + 24 + 160, b".gzdata", 0, 0, len(packed) + 8, 1024)
    data = bytes(head) + packed + bytes(8)
    for source in both(data):
        reader = kernel_image.FORMAT.open(source, Limits())
        assert contents(reader) == {b"vmlinux.gzip": packed}
        assert reader.detail["stated_compression"] == "gzip"
        assert sum(claim.length for claim in reader.claims()) == len(data)


def arm(payload: bytes, *, order: str = "<", table: bool = True, trees: bytes = b"") -> bytes:
    # A payload that is none stands in the code before the real one.
    stub = bytes(0x40) + CODE[:5000] + b"\x1f\x8b\x08" + CODE[5000:8000]
    stub += bytes(-len(stub) % 4)
    body = stub + payload + CODE[:400]
    body += bytes(-len(body) % 4)
    rows = struct.pack(order + "4I", 4, 0x5A534C4B, len(stub) + len(payload) - 4, 0)
    data = bytearray(body + rows)
    struct.pack_into(order + "3I", data, 0x24, 0x016F2818, 0x8000, 0x8000 + len(data))
    struct.pack_into(order + "3I", data, 0x30, 0x04030201, 0x45454545 if table else 0, len(body))
    return bytes(data) + trees


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_zimage(order: str, table: bool, kind: str) -> None:
    packed = gzip.compress(VMLINUX) if kind == "gzip" else lzma.compress(VMLINUX)
    payload = packed if kind == "gzip" else packed + struct.pack("<I", len(VMLINUX))
    data = arm(payload, order=order, table=table)
    for source in both(data):
        reader = zimage.FORMAT.open(source, Limits())
        assert contents(reader) == {f"vmlinux.{kind}".encode(): packed}
        assert contents(reader) == {f"vmlinux.{kind}".encode(): packed}
        claims = reader.claims()
        assert max(claim.offset + claim.length for claim in claims) == len(data)
        assert sum(claim.length for claim in claims) in (len(data), len(data) - 4)
        assert reader.detail["compression"] == kind


@pytest.mark.skipif(not shutil.which("lzop"), reason="lzop is not installed")
def test_zimage_of_lzop() -> None:
    packed = subprocess.run(["lzop", "-c"], input=VMLINUX, check=True, capture_output=True).stdout
    for table in (True, False):
        data = arm(packed + struct.pack("<I", len(VMLINUX)), table=table)
        assert contents(zimage.FORMAT.open(BytesSource(data), Limits())) == {b"vmlinux.lzop": packed}


def test_zimage_with_device_trees_behind_it() -> None:
    data = arm(gzip.compress(VMLINUX), trees=TREE * 2)
    reader = zimage.FORMAT.open(BytesSource(data + b"more"), Limits())
    found = contents(reader)
    assert (found[b"appended-0.dtb"], found[b"appended-1.dtb"], len(found)) == (TREE, TREE, 3)
    assert max(claim.offset + claim.length for claim in reader.claims()) == len(data)


def test_zimage_damaged() -> None:
    packed = bytearray(gzip.compress(VMLINUX))
    packed[-6] ^= 1
    found = list(zimage.FORMAT.open(BytesSource(arm(bytes(packed), table=False)), Limits()).entries())
    assert [item.path for item in found] == [b"vmlinux.gzip", b"vmlinux.gzip"]
    assert isinstance(found[0], Problem)
    (problem,) = zimage.FORMAT.open(BytesSource(arm(CODE)), Limits()).entries()
    assert problem == Problem("malformed", "nothing that can be decoded was found in it", b"vmlinux")


def test_only_the_magic() -> None:
    for data in (bytes(0x202) + b"HdrS" + CODE, bytes(0x38) + b"ARMd" + CODE, b"MZ\0\0zimg" + CODE):
        with pytest.raises(NotThisFormat):
            kernel_image.FORMAT.open(BytesSource(data), Limits())
    for data in (bytes(0x24) + b"\x18\x28\x6f\x01", bytes(0x24) + b"\x18\x28\x6f\x01" + CODE):
        with pytest.raises(NotThisFormat):
            zimage.FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    packed = gzip.compress(VMLINUX[:3000])
    for data in (bzimage(packed, pe=True, certificates=bytes(40)), image(pe=True), image(pe=False)):
        for broken in (*mangled(data, count=100), *mangled(data, count=300, hot=range(0x270))):
            survives(kernel_image.FORMAT, broken)
    for table in (True, False):
        data = arm(packed, table=table, trees=TREE)
        for broken in (*mangled(data, count=100), *mangled(data, count=200, hot=range(0x40))):
            survives(zimage.FORMAT, broken)
    many = bytearray(arm(b""))
    many[0x40:] = b"\x1f\x8b\x08\0" * (1 << 18)
    struct.pack_into("<I", many, 0x2C, 0x8000 + len(many))
    bounded(lambda: survives(zimage.FORMAT, bytes(many)), 2)
