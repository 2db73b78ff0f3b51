"""FIT images made by mkimage, and the device trees that they are made of, held against fdtget."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
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
from assay.unpack.fdt import DeviceTree
from assay.unpack.fit import FORMAT

from ..support.hostile import bounded, mangled, survives

pytestmark = pytest.mark.skipif(
    not (shutil.which("mkimage") and shutil.which("dtc") and shutil.which("fdtget")),
    reason="needs mkimage (u-boot-tools), dtc and fdtget (device-tree-compiler)",
)
KERNEL = random.Random(1).randbytes(5001)
DISK = random.Random(2).randbytes(3003)
SOURCE = """/dts-v1/;
/ {
    description = "a test";
    images {
        kernel-1 {
            description = "the kernel"; data = /incbin/("kernel"); type = "kernel"; arch = "arm64"; os = "linux";
            compression = "none"; load = <0x80000>; entry = <0x80000>;
            hash-1 { algo = "sha256"; };
            hash-2 { algo = "crc32"; };
        };
        ramdisk-1 {
            description = "the RAM disk"; data = /incbin/("disk"); type = "ramdisk"; arch = "arm64"; os = "linux";
            compression = "none";
            hash-1 { algo = "sha1"; };
            hash-2 { algo = "md5"; };
        };
    };
    configurations {
        default = "conf-1";
        conf-1 { description = "the only one"; kernel = "kernel-1"; ramdisk = "ramdisk-1"; };
    };
};
"""


def mkimage(folder: Path, *options: str, source: str = SOURCE) -> bytes:
    (folder / "kernel").write_bytes(KERNEL)
    (folder / "disk").write_bytes(DISK)
    (folder / "source.its").write_text(source)
    subprocess.run(
        ["mkimage", *options, "-f", "source.its", "out.fit"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={"SOURCE_DATE_EPOCH": "1700000000", "PATH": "/usr/bin:/bin"},
    )
    return (folder / "out.fit").read_bytes()


def read(reader: Reader, entry: Entry | Problem) -> bytes:
    assert isinstance(entry, Entry)
    assert entry.locator is not None
    return b"".join(reader.open(entry.locator))


@pytest.mark.parametrize("options", [(), ("-E",), ("-E", "-p", "0x2000"), ("-E", "-B", "0x200")])
def test_what_mkimage_makes(options: tuple[str, ...], tmp_path: Path) -> None:
    data = mkimage(tmp_path, *options)
    for source in (BytesSource(data), Window(BytesSource(b"?" * 777 + data + b"\xa5" * 5000), 777, 1 << 40)):
        reader = identify(source, Limits())
        assert reader is not None
        assert reader.format is FORMAT
        found = list(reader.entries())
        assert [entry.path for entry in found] == [b"kernel-1", b"ramdisk-1"]
        assert [read(FORMAT.open(source, Limits()), entry) for entry in found] == [KERNEL, DISK]
        assert reader.declared == 2
        end = max(claim.offset + claim.length for claim in reader.claims())
        assert sum(claim.length for claim in reader.claims()) == end
        assert data[end:].strip(b"\0") == b""
        assert len(data) - end < 512
        shown = reader.detail
        stated = {key: shown[key] for key in ("version", "description", "time", "default")}
        assert stated == {
            "version": 17,
            "description": "a test",
            "time": 1_700_000_000_000_000_000,
            "default": "conf-1",
        }
        assert shown["configuration conf-1"] == "description=the only one, kernel=kernel-1, ramdisk=ramdisk-1"
        assert str(shown["image kernel-1"]).endswith(
            "description=the kernel, type=kernel, arch=arm64, os=linux, compression=none, load=0x80000, entry=0x80000, "
            "hash-1/algo=sha256, hash-2/algo=crc32"
        )
        assert {key: value for key, value in shown.items() if key.startswith("hash")} == {
            "hash kernel-1/hash-1": "sha256 right",
            "hash kernel-1/hash-2": "crc32 right",
            "hash ramdisk-1/hash-1": "sha1 right",
            "hash ramdisk-1/hash-2": "md5 right",
        }
    for number, part in enumerate((KERNEL, DISK)):
        out = tmp_path / "part"
        subprocess.run(
            ["dumpimage", "-T", "flat_dt", "-p", str(number), "-o", str(out), str(tmp_path / "out.fit")],
            check=True,
            capture_output=True,
        )
        assert out.read_bytes() == part


def test_a_signature_is_named(tmp_path: Path) -> None:
    signed = SOURCE.replace(
        'ramdisk = "ramdisk-1"; }',
        'ramdisk = "ramdisk-1"; signature-1 { algo = "sha256,rsa2048"; key-name-hint = "dev"; '
        'sign-images = "kernel", "ramdisk"; }; }',
    ).replace('{ algo = "sha1"; };', '{ algo = "sha1"; }; cipher { algo = "aes256"; };')
    (tmp_path / "source.dts").write_text(signed)
    (tmp_path / "kernel").write_bytes(KERNEL)
    (tmp_path / "disk").write_bytes(DISK)
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", "out", "source.dts"], cwd=tmp_path, check=True)
    reader = FORMAT.open(BytesSource((tmp_path / "out").read_bytes()), Limits())
    problems = [item for item in reader.entries() if isinstance(item, Problem)]
    assert problems == [
        Problem("encrypted", "the image's bytes are encrypted (aes256)", b"ramdisk-1", 0),
        Problem("malformed", "hash-1: the data have another sha256", b"kernel-1", 0),
        Problem("malformed", "hash-2: the data have another crc32", b"kernel-1", 0),
        Problem("malformed", "hash-1: the data have another sha1", b"ramdisk-1", 0),
        Problem("malformed", "hash-2: the data have another md5", b"ramdisk-1", 0),
    ]  # dtc computes no hashes: the nodes have no value
    assert reader.detail["configuration conf-1"] == (
        "description=the only one, kernel=kernel-1, ramdisk=ramdisk-1, signature-1/algo=sha256,rsa2048, "
        "signature-1/key-name-hint=dev, signature-1/sign-images=kernel, ramdisk"
    )


def test_one_wrong_byte_and_a_cut(tmp_path: Path) -> None:
    data = bytearray(mkimage(tmp_path, "-E"))
    data[data.index(DISK)] ^= 1
    reader = FORMAT.open(BytesSource(bytes(data)), Limits())
    problems = [item for item in reader.entries() if isinstance(item, Problem)]
    assert [(problem.path, problem.entries) for problem in problems] == [(b"ramdisk-1", 0)] * 2
    assert reader.detail["hash ramdisk-1/hash-2"] == "md5 wrong"
    reader = FORMAT.open(BytesSource(bytes(data[:-100])), Limits())
    kernel, disk = reader.entries()
    assert read(reader, kernel) == KERNEL
    with pytest.raises(Truncated):
        read(reader, disk)
    assert reader.detail["hash ramdisk-1/hash-1"] == "sha1 not checked"
    with pytest.raises(Truncated):
        FORMAT.open(BytesSource(mkimage(tmp_path)[:-1]), Limits())


HARDWARE = """/dts-v1/;
/memreserve/ 0x10000000 0x4000;
/ {
    model = "Vendor Board 5";
    compatible = "vendor,board5", "vendor,soc";
    #address-cells = <1>; #size-cells = <1>;
    chosen { bootargs = "console=ttyS0 root=/dev/mtdblock3"; rng-seed = [00 01 02 03]; };
    empty-property-node { flag; wide = <0x1 0x80000000>; narrow = <42>; bytes = [de ad]; };
    deep { deeper { deepest { name-of-it = "here"; }; }; };
};
"""


@pytest.mark.parametrize("version", ["3", "16", "17"])
def test_plain_device_trees_are_no_containers_but_are_parsed(version: str, tmp_path: Path) -> None:
    (tmp_path / "x.dts").write_text(HARDWARE)
    command = ["dtc", "-q", "-O", "dtb", "-V", version, "-o", "x.dtb", "x.dts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    if done.returncode:
        pytest.skip(f"this dtc writes no version {version}")
    data = (tmp_path / "x.dtb").read_bytes()
    assert identify(BytesSource(data), Limits()) is None
    if int(version) < 16:
        with pytest.raises(NotThisFormat):
            DeviceTree(BytesSource(data), Limits())
        return
    tree = DeviceTree(BytesSource(data + b"more"), Limits())
    assert tree.size == len(data)
    paths = [node.path for node in tree.root.walk()]
    assert paths == ["", "/chosen", "/empty-property-node", "/deep", "/deep/deeper", "/deep/deeper/deepest"]
    for node in tree.root.walk():
        listed = subprocess.run(
            ["fdtget", "-p", tmp_path / "x.dtb", node.path or "/"], check=True, capture_output=True, text=True
        ).stdout.split()
        assert list(node.values) == listed
    chosen = tree.root.find("chosen")
    odd = tree.root.find("empty-property-node")
    assert chosen is not None
    assert odd is not None
    assert chosen.text("bootargs") == "console=ttyS0 root=/dev/mtdblock3"
    assert tree.root.text("compatible") == "vendor,board5, vendor,soc"
    assert (odd.raw("flag"), odd.number("wide"), odd.number("narrow"), odd.number("bytes"), odd.number("none")) == (
        b"",
        0x180000000,
        42,
        None,
        None,
    )
    assert tree.root.find("deep/deeper/nothing") is None


def tree(body: bytes, names: bytes = b"data\0", *, version: int = 17) -> bytes:
    """Return a device tree around a structure block, written by hand."""
    start = 56
    size = start + len(body) + len(names)
    fields = (0xD00DFEED, size, start, start + len(body), 40, version, 16, 0, len(names), len(body))
    return struct.pack(">10I", *fields) + bytes(16) + body + names


def begin(name: bytes) -> bytes:
    return b"\0\0\0\1" + name + bytes(4 - len(name) % 4)


END, STOP = b"\0\0\0\2", b"\0\0\0\x09"


def test_broken_structures() -> None:
    good = tree(begin(b"") + begin(b"a") + END + b"\0\0\0\4" + END + STOP)
    assert [node.path for node in DeviceTree(BytesSource(good), Limits()).root.walk()] == ["", "/a"]
    for body in (
        begin(b""),  # no end
        begin(b"") + END,
        begin(b"") + STOP,
        begin(b"") + END + END + STOP,
        begin(b"") + END + begin(b"") + END + STOP,
        begin(b"") + b"\0\0\0\5" + END + STOP,
        begin(b"") + struct.pack(">3I", 3, 1000, 0) + END + STOP,
        begin(b"") + struct.pack(">3I", 3, 0, 1000) + END + STOP,
        begin(b"") + begin(b"n" * 300) + END + END + STOP,
        begin(b"") + begin(b"x") * 70 + END * 71 + STOP,
    ):
        with pytest.raises(Malformed):
            DeviceTree(BytesSource(tree(body)), Limits())
    many = tree(begin(b"") + b"".join(begin(b"%d" % n) + END for n in range(500)) + END + STOP)
    with pytest.raises(LimitReached):
        DeviceTree(BytesSource(many), Limits(metadata_bytes=1 << 16))
    for data in (
        b"\xd0\x0d\xfe\xed",
        b"\xd0\x0d\xfe\xed" + KERNEL,
        good[:20] + b"\xff" + good[21:],
        tree(b"", version=1),
    ):
        with pytest.raises(NotThisFormat):
            DeviceTree(BytesSource(data), Limits())


def test_images_without_bytes_or_beyond_everything(tmp_path: Path) -> None:
    (tmp_path / "x.dts").write_text(
        "/dts-v1/; / { images { none { }; far { data-size = <5>; data-offset = <0x10000>; }; "
        "huge { data-size = <0xffffffff 0xffffffff>; data-position = <0x7fffffff 0xffffffff>; }; "
        'same-1 { data = "twice"; }; }; };'
    )
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", "out", "x.dts"], cwd=tmp_path, check=True)
    data = (tmp_path / "out").read_bytes()
    reader = FORMAT.open(BytesSource(data), Limits())
    none, huge, far, same = reader.entries()
    assert none == Problem("malformed", "the image has no data", b"none")
    assert isinstance(huge, Problem)
    with pytest.raises(Truncated):
        read(reader, far)
    assert read(reader, same) == b"twice\0"
    assert reader.claims()[0] == Claim(0, data.index(b"twice"), "device tree")


def test_images_that_share_bytes_are_not_hashed_for_ever() -> None:
    """Thousands of images, each the whole of a big source: written by hand."""
    names = b"data-position\0data-size\0algo\0"
    node = b""
    for number in range(3000):
        node += begin(b"%d" % number) + struct.pack(">4I", 3, 4, 0, 0) + struct.pack(">4I", 3, 4, 14, 4 << 20)
        node += begin(b"hash") + struct.pack(">3I", 3, 7, 24) + b"sha512\0\0" + END + END
    data = tree(begin(b"") + begin(b"images") + node + END + END + STOP, names) + bytes(4 << 20)
    bounded(lambda: list(FORMAT.open(BytesSource(data), Limits()).entries()), 3)


def test_hostile(tmp_path: Path) -> None:
    for data in (mkimage(tmp_path), mkimage(tmp_path, "-E")):
        for broken in (*mangled(data, count=200), *mangled(data, count=400, hot=range(1000))):
            survives(FORMAT, broken)
