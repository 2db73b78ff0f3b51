"""Android boot images: what mkbootimg makes, versions that it does not make yet (written by hand), and AVB behind them.

No tool here makes vbmeta images: `vbmeta` below writes them as avb's README describes them, with a key of its own.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from assay.unpack.android import FORMAT
from assay.unpack.avb import FORMAT as AVB
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
    Window,
)

from ..support.hostile import mangled, survives

needs_mkbootimg = pytest.mark.skipif(
    not (shutil.which("mkbootimg") and shutil.which("unpack_bootimg")), reason="mkbootimg is not installed"
)
CHANCE = random.Random(9)
KERNEL, DISK, SECOND, TREE = (CHANCE.randbytes(size) for size in (70_001, 3003, 36, 5000))
LINE = "console=ttyS0 androidboot.hardware=board " + "x=" + "y" * 600
KEY = rsa.generate_private_key(65537, 2048)


def mkbootimg(folder: Path, version: int, **options: str) -> tuple[bytes, bytes]:
    """Return what mkbootimg makes: the boot image, and the vendor_boot image."""
    command = ["mkbootimg", "--header_version", str(version), "--cmdline", LINE]
    parts = {"kernel": KERNEL, "ramdisk": DISK}
    parts |= {0: {"second": SECOND}, 1: {"second": SECOND}, 2: {"second": SECOND, "dtb": TREE}}.get(version, {})
    for name, data in parts.items():
        (folder / name).write_bytes(data)
        command += [f"--{name}", name]
    command += [word for key, value in options.items() for word in (f"--{key}", value)]
    subprocess.run([*command, "-o", "boot"], cwd=folder, check=True, capture_output=True)
    if version == 3:
        (folder / "dtb").write_bytes(TREE)
        command = ["mkbootimg", "--header_version", "3", "--vendor_ramdisk", "ramdisk", "--dtb", "dtb", "--board", "b5"]
        command += ["--vendor_cmdline", LINE, "--vendor_boot", "vendor"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (folder / "boot").read_bytes(), (folder / "vendor").read_bytes()
    return (folder / "boot").read_bytes(), b""


def contents(reader: Reader) -> dict[bytes, bytes]:
    out = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry)
        assert entry.locator is not None
        out[entry.path] = b"".join(reader.open(entry.locator))
        assert entry.size == len(out[entry.path])
    return out


def whole(data: bytes) -> Reader:
    """Open an image alone and inside something bigger; check that both claim all of it."""
    alone = FORMAT.open(BytesSource(data), Limits())
    inside = FORMAT.open(Window(BytesSource(b"A" * 99 + data + b"\xee" * 9999), 99, 1 << 40), Limits())
    assert contents(alone) == contents(inside)
    assert alone.claims() == inside.claims()
    assert sum(claim.length for claim in alone.claims()) == len(data)
    assert max(claim.offset + claim.length for claim in alone.claims()) == len(data)
    return alone


@needs_mkbootimg
@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("page", [2048, 16384])
def test_boot(version: int, page: int, tmp_path: Path) -> None:
    data, _ = mkbootimg(
        tmp_path, version, pagesize=str(page), board="b5", os_version="11.0.3", os_patch_level="2023-05"
    )
    reader = whole(data)
    parts = {b"kernel": KERNEL, b"ramdisk": DISK, b"second": SECOND}
    assert contents(reader) == parts | ({b"dtb": TREE} if version == 2 else {})
    identity = reader.detail.pop("id")
    assert reader.detail == {
        "version": version,
        "page_bytes": page,
        "name": "b5",
        "command_line": LINE,
        "kernel_address": "0x10008000",
        "ramdisk_address": "0x11000000",
        "second_address": "0x10f00000",
        "tags_address": "0x10000100",
        "os_version": "11.0.3",
        "os_patch_level": "2023-05",
        "id_right": True,
        **({"dtb_address": "0x11f00000"} if version == 2 else {}),
    }
    assert isinstance(identity, str)
    assert len(identity) == 64
    subprocess.run(
        ["unpack_bootimg", "--boot_img", "boot", "--out", "out"], cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "out/kernel").read_bytes() == KERNEL
    assert (tmp_path / "out/ramdisk").read_bytes() == DISK


@needs_mkbootimg
def test_boot_and_vendor_boot_3(tmp_path: Path) -> None:
    boot, vendor = mkbootimg(tmp_path, 3)
    reader = whole(boot)
    assert contents(reader) == {b"kernel": KERNEL, b"ramdisk": DISK}
    assert reader.detail["command_line"] == LINE
    reader = whole(vendor)
    assert contents(reader) == {b"vendor_ramdisk": DISK, b"dtb": TREE}
    assert reader.detail == {
        "version": 3,
        "page_bytes": 2048,
        "name": "b5",
        "command_line": LINE,
        "kernel_address": "0x10008000",
        "ramdisk_address": "0x11000000",
        "tags_address": "0x10000100",
        "dtb_address": "0x11f00000",
    }


def padded(data: bytes, page: int = 4096) -> bytes:
    return data + bytes(-len(data) % page)


def boot4(signature: bytes = b"") -> bytes:
    head = struct.pack("<8s4I16xI1536sI", b"ANDROID!", len(KERNEL), len(DISK), 0, 1584, 4, b"quiet", len(signature))
    return padded(head) + padded(KERNEL) + padded(DISK) + padded(signature)


def vendor4(*, offset: int = 3003, entry: int = 108) -> bytes:
    table = struct.pack("<3I32s64s", 3003, 0, 1, b"", b"\x05\0\0\0")
    table += struct.pack("<3I32s64s", 36, offset, 3, b"dlkm", b"")
    config = b'androidboot.serialno = "1"\n'
    head = struct.pack(
        "<8s5I2048sI16sIIQ4I",
        b"VNDRBOOT", 4, 4096, 0, 0, 3039, b"quiet", 0, b"b5", 2128, len(TREE), 0, len(table), 2, entry, len(config),
    )  # fmt: skip
    return padded(head) + padded(DISK + SECOND) + padded(TREE) + padded(table) + padded(config)


def test_version_4() -> None:
    reader = whole(boot4(b"signature"))
    assert contents(reader) == {b"kernel": KERNEL, b"ramdisk": DISK, b"boot_signature": b"signature"}
    assert reader.detail == {
        "version": 4,
        "page_bytes": 4096,
        "command_line": "quiet",
        "os_version": None,
        "os_patch_level": None,
    }
    reader = whole(vendor4())
    assert contents(reader) == {
        b"vendor_ramdisk-0": DISK,
        b"vendor_ramdisk-1": SECOND,
        b"dtb": TREE,
        b"bootconfig": b'androidboot.serialno = "1"\n',
    }
    assert reader.declared == 4
    assert reader.detail["vendor_ramdisk-0"] == "type=platform name= board_id=05"
    assert reader.detail["vendor_ramdisk-1"] == "type=dlkm name=dlkm board_id="
    first, *rest = FORMAT.open(BytesSource(vendor4(offset=3004)), Limits()).entries()
    assert first == Problem("malformed", "goes on beyond the RAM disks", b"vendor_ramdisk-1")
    assert [entry.path for entry in rest] == [b"vendor_ramdisk-0", b"dtb", b"bootconfig"]
    first, *rest = FORMAT.open(BytesSource(vendor4(entry=4)), Limits()).entries()
    assert isinstance(first, Problem)
    assert [entry.path for entry in rest] == [b"vendor_ramdisk", b"dtb", b"bootconfig"]


def legacy(version: int, *, page: int = 2048, dtbo: bytes = b"") -> bytes:
    head = struct.pack(
        "<8s10I16s512s32s1024sIQI",
        b"ANDROID!", len(KERNEL), 0, 0, 0, 0, 0, 0, page, version, 0, b"", b"", b"", b"", len(dtbo), 0, 1648,
    )  # fmt: skip
    head = head if version == 1 else head[:1632]
    return padded(head, page) + padded(KERNEL, page) + padded(dtbo, page)


def test_a_recovery_overlay_and_the_tree_of_a_vendor_without_versions() -> None:
    reader = whole(legacy(1, dtbo=SECOND))
    assert contents(reader) == {b"kernel": KERNEL, b"recovery_dtbo": SECOND}
    assert reader.detail["id_right"] is False
    reader = whole(legacy(5000) + padded(TREE, 2048))
    assert contents(reader) == {b"kernel": KERNEL, b"dt": TREE}
    assert reader.detail["version"] == 0


def vbmeta(image: bytes, *, flags: int = 0, salt: bytes = b"salt") -> bytes:
    """Make a vbmeta image for `image`: a hash descriptor, a property, a chain, a command line, all signed."""
    numbers = KEY.public_key().public_numbers()
    key = struct.pack(">2I", 2048, 0) + numbers.n.to_bytes(256, "big") + bytes(256)

    def descriptor(tag: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 8)
        return struct.pack(">2Q", tag, len(body)) + body

    digest = hashlib.sha256(salt + image).digest()
    said = descriptor(
        2, struct.pack(">Q32s4L60x", len(image), b"sha256", 4, len(salt), 32, 0) + b"boot" + salt + digest
    )
    said += descriptor(0, struct.pack(">2Q", 4, 5) + b"name\0value\0")
    said += descriptor(4, struct.pack(">4L60x", 2, 6, 3, 0) + b"vendor" + b"key")
    said += descriptor(3, struct.pack(">2L", 1, 9) + b"dm=verity")
    said += descriptor(
        1,
        struct.pack(">L3Q3L2Q32s4L60x", 1, 8192, 8192, 4096, 4096, 4096, 0, 0, 0, b"sha1", 6, 2, 3, 0)
        + b"system"
        + b"!!abc",
    )
    aux = said + key
    aux += bytes(-len(aux) % 64)
    head = struct.pack(
        ">4s2L2QL10QQ2L48s80x",
        b"AVB0", 1, 0, 320, len(aux), 1, 0, 32, 32, 256, len(said), len(key), 0, 0, 0, len(said), 7, flags, 0,
        b"tool 1",
    )  # fmt: skip
    signature = KEY.sign(head + aux, padding.PKCS1v15(), SHA256())
    authentication = hashlib.sha256(head + aux).digest() + signature
    return head + authentication + bytes(-len(authentication) % 64) + aux


def footed(image: bytes, meta: bytes, size: int) -> bytes:
    footer = struct.pack(">4s2L3Q28x", b"AVBf", 1, 0, len(image), len(image), len(meta))
    return image + meta + bytes(size - len(image) - len(meta) - 64) + footer


def test_a_partition_with_a_footer() -> None:
    image = boot4()
    meta = vbmeta(image)
    data = footed(image, meta, 1 << 17)
    reader = FORMAT.open(BytesSource(data), Limits())
    assert contents(reader) == {b"kernel": KERNEL, b"ramdisk": DISK}
    chained = hashlib.sha1(b"key").hexdigest()
    shown = {key: value for key, value in reader.detail.items() if key.startswith("avb")}
    digest = hashlib.sha256(b"salt" + image).hexdigest()
    public = KEY.public_key().public_numbers().n.to_bytes(256, "big")
    assert shown == {
        "avb_version": "1.0",
        "avb_algorithm": "SHA256_RSA2048",
        "avb_flags": "",
        "avb_rollback_index": 7,
        "avb_rollback_index_location": 0,
        "avb_release": "tool 1",
        "avb_public_key_sha1": hashlib.sha1(struct.pack(">2I", 2048, 0) + public + bytes(256)).hexdigest(),
        "avb_signature": "right for the key in it",
        "avb_descriptor_0": f"hash boot: {len(image)} bytes, sha256, {digest}, flags 0",
        "avb_descriptor_1": "property name=value",
        "avb_descriptor_2": f"chain vendor: rollback index location 2, public key SHA-1 {chained}",
        "avb_descriptor_3": "kernel command line: dm=verity, flags 1",
        "avb_descriptor_4": "hashtree system: 8192 bytes, sha1, root 616263, flags 0",
        "avb_hash_right": True,
    }
    claims = {claim.what: (claim.offset, claim.length) for claim in reader.claims()}
    assert claims["vbmeta"] == (len(image), len(meta))
    assert claims["AVB footer"] == ((1 << 17) - 64, 64)

    changed = bytearray(data)
    changed[5000] ^= 1
    changed[len(image) + 300] ^= 1
    reader = FORMAT.open(BytesSource(bytes(changed)), Limits())
    problems = [item.detail for item in reader.entries() if isinstance(item, Problem)]
    assert problems == [
        "the signature of the vbmeta image is wrong",
        "the image has another hash than its vbmeta image states",
    ]
    reader = FORMAT.open(BytesSource(data[: len(image)] + bytes(len(meta)) + data[len(image) + len(meta) :]), Limits())
    assert isinstance(next(reader.entries()), Problem)


def test_a_vbmeta_image_alone() -> None:
    meta = vbmeta(b"image", flags=2)
    reader = AVB.open(Window(BytesSource(b"1" * 5 + meta + b"2" * 500), 5, 1 << 30), Limits())
    assert [(path, len(data)) for path, data in contents(reader).items()] == [(b"public_key", 520)]
    assert reader.detail["avb_flags"] == "verification disabled"
    assert sum(claim.length for claim in reader.claims()) == len(meta)
    wrong = meta[:900] + bytes([meta[900] ^ 1]) + meta[901:]
    assert [item.detail for item in AVB.open(BytesSource(wrong), Limits()).entries() if isinstance(item, Problem)] == [
        "the hash of the vbmeta image is wrong"
    ]
    with pytest.raises(Truncated):
        AVB.open(BytesSource(meta[:-1]), Limits())
    with pytest.raises(Malformed):
        AVB.open(BytesSource(meta[:40] + b"\x01" + meta[41:]), Limits())
    with pytest.raises(NotThisFormat):
        AVB.open(BytesSource(b"AVB0" + KERNEL), Limits())


def test_the_first_android_verified_boot() -> None:
    signature = b"\x30\x82" + struct.pack(">H", 300) + b"\x02\x01\x01" + bytes(297)
    reader = FORMAT.open(BytesSource(boot4() + signature + bytes(999)), Limits())
    assert contents(reader)[b"signature"] == signature


def test_cut_short() -> None:
    data = boot4()
    reader = FORMAT.open(BytesSource(data[: 4096 + 100]), Limits())
    assert [entry.path for entry in reader.entries()] == [b"kernel", b"ramdisk"]
    assert reader.claims() == [Claim(0, 1584, "header"), Claim(1584, 2512, "padding"), Claim(4096, 100, "kernel")]


def test_only_the_magic() -> None:
    for data in (b"ANDROID!", b"VNDRBOOT", b"ANDROID!" + KERNEL, b"VNDRBOOT" + KERNEL, b"ANDROID!" + bytes(5000)):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(data), Limits())


def test_hostile() -> None:
    for data in (legacy(1, dtbo=SECOND), boot4(b"signature"), vendor4(), footed(boot4(), vbmeta(boot4()), 1 << 17)):
        for broken in (*mangled(data, count=50), *mangled(data, count=150, hot=range(60))):
            survives(FORMAT, broken)
    table = len(vendor4()) - 8192
    for broken in mangled(vendor4(), count=200, hot=range(table, table + 216)):
        survives(FORMAT, broken)
    for broken in mangled(vbmeta(b"image"), count=500):
        survives(AVB, broken)
