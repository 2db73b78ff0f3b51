"""Small good images of every format, from which the fuzzer makes its inputs.

Where a tool makes the format, the tool makes the seed; a format that no tool makes is written by the writer of its own
tests. A seed whose tool is absent is left out and named by `seeds`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import zstandard

NOISE = random.Random(1).randbytes(3001)
TEXT = b"The quick brown fox jumps over the lazy dog. " * 400
FILES = {
    "bin/su": b"\x7fELF" + b"su" * 700,
    "etc/empty": b"",
    "etc/short": b"short\n",
    "usr/noise": NOISE,
    "usr/text": TEXT,
}
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
KIB, MIB = 1 << 10, 1 << 20

Make = Callable[[Path], bytes]


class Absent(Exception):
    """A seed cannot be made here; says why."""


def run(
    *command: str | Path, cwd: Path | None = None, data: bytes | None = None, more: Mapping[str, str] | None = None
) -> bytes:
    """Run a tool, return its standard output.

    Raises:
        Absent: it is not installed, or fails.
    """
    tool = shutil.which(str(command[0]), path=PATH)
    if tool is None:
        raise Absent(f"{command[0]} is not installed")
    env = {"PATH": PATH, "SOURCE_DATE_EPOCH": "1700000000", "LC_ALL": "C.UTF-8", "HOME": str(cwd or "/nonexistent")}
    env |= more or {}
    done = subprocess.run([tool, *command[1:]], cwd=cwd, input=data, capture_output=True, env=env, timeout=120)
    if done.returncode:
        raise Absent(f"{command[0]}: {(done.stderr or done.stdout).decode(errors='replace').strip()[-200:]}")
    return done.stdout


def tree(folder: Path) -> Path:
    """Return a folder with `FILES`, a link of each kind, a set-uid program."""
    home = folder / "tree"
    if not home.exists():
        for name, data in FILES.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(data)
        (home / "bin/su").chmod(0o4755)
        os.link(home / "bin/su", home / "bin/ls")
        (home / "etc/link").symlink_to("../usr/text")
        (home / "many").mkdir()
        for number in range(40):
            (home / f"many/a-rather-long-name-{number:03}").write_bytes(b"%d" % number)
        for path in [*home.rglob("*"), home]:
            os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    return home


def written(*command: str, size: int = 0) -> Make:
    """Return how to make an image: the words IMAGE and TREE stand for paths, and `size` bytes are there before."""

    def make(folder: Path) -> bytes:
        image = folder / "image"
        if size:
            with image.open("wb") as file:
                file.truncate(size)
        places = {"IMAGE": str(image), "TREE": str(tree(folder))}
        run(*(places.get(word, word) for word in command), cwd=folder)
        return image.read_bytes()

    return make


def piped(*command: str, data: bytes = TEXT + NOISE) -> Make:
    """Return how to make a stream: a compressor with the bytes as its input."""
    return lambda folder: run(*command, cwd=folder, data=data)


def value(make: Callable[[], bytes]) -> Make:
    """Return how to make what needs no folder."""
    return lambda _: make()


def tar(format: int) -> bytes:
    """Return a tar archive with links, and a name too long for the header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in {**FILES, "d" * 90 + "/" + "f" * 120: b"long"}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = len(data), 1_700_000_000, 70_000
            archive.addfile(info, io.BytesIO(data))
        for kind, name in ((tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "hard"), (tarfile.CHRTYPE, "device")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor = kind, "bin/su", 5
            archive.addfile(info)
    return out.getvalue()


def tar_sparse(folder: Path) -> bytes:
    """Return a tar archive of a file with holes."""
    with (folder / "holes").open("wb") as file:
        for at in range(0, 200_000, 50_000):
            file.seek(at)
            file.write(b"data here")
    return run("tar", "-cS", "--format=posix", "-f", "-", "holes", cwd=folder)


def zipped(method: int) -> bytes:
    """Return a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in FILES.items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = method, 0o104755 << 16
            archive.writestr(info, data)
        archive.comment = b"a comment"
    return out.getvalue()


def debian(folder: Path) -> bytes:
    """Return an ar archive: a Debian package with a long name beside."""
    (folder / "control.tar.gz").write_bytes(gzip.compress(tar(tarfile.GNU_FORMAT), mtime=0))
    (folder / "a name that is longer than sixteen bytes").write_bytes(NOISE)
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != "image")
    run("ar", "rcD", "image", *names, cwd=folder)
    return (folder / "image").read_bytes()


def cpio(kind: str) -> Make:
    """Return how cpio makes an archive of a format."""

    def make(folder: Path) -> bytes:
        home = tree(folder)
        names = "\n".join(sorted(str(path.relative_to(home)) for path in home.rglob("*")))
        return run("cpio", "-o", "-H", kind, "--reproducible", cwd=home, data=names.encode())

    return make


def ext(*options: str) -> Make:
    """Return how mke2fs makes a file system."""
    uuid = "3a6bd0b5-0000-4000-8000-000000000001"
    return written("mke2fs", "-q", "-F", "-U", uuid, "-d", "TREE", *options, "IMAGE", size=512 * KIB)


def f2fs(*options: str) -> Make:
    """Return how mkfs.f2fs and sload.f2fs make a file system."""

    def make(folder: Path) -> bytes:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(80 * MIB)
        run("mkfs.f2fs", "-q", "-f", *options, image)
        run("sload.f2fs", "-P", "-f", tree(folder), image)
        return image.read_bytes()

    return make


def fat(*options: str, size: int) -> Make:
    """Return how mkfs.fat and mtools make a volume."""

    def make(folder: Path) -> bytes:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(size)
        run("mkfs.fat", "--invariant", *options, image)
        run("mcopy", "-s", "-i", image, *(path for path in sorted(tree(folder).iterdir()) if path.name != "etc"), "::/")
        run("mcopy", "-i", image, tree(folder) / "etc/short", "::/a long name, with a comma.txt")
        return image.read_bytes()

    return make


def exfat(folder: Path) -> bytes:
    """Return a volume of mkfs.exfat, filled by the writer of exFAT's tests."""
    from ..unpack.test_exfat import Volume

    volume = Volume(written("mkfs.exfat", "-c", "4096", "IMAGE", size=8 * MIB)(folder))
    inside = volume.directory(volume.root, "folder")
    volume.add(volume.root, "README.TXT", TEXT)
    volume.add(inside, "a name that needs more than one entry for it", NOISE, valid=7)
    volume.add(inside, "fragments", TEXT)
    return bytes(volume.data)


def ntfs(folder: Path) -> bytes:
    """Return a volume of mkntfs, filled by ntfscp."""
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(2 * MIB)
    run("mkntfs", "-q", "-F", "-L", "UPDATE", image)
    for name, data in FILES.items():
        (folder / "data").write_bytes(data)
        run("ntfscp", "-q", image, folder / "data", Path(name).name)
    run("ntfscp", "-q", "-N", "stream", image, folder / "data", "short")
    return image.read_bytes()


def xfs(*options: str) -> Make:
    """Return how mkfs.xfs makes a file system from a prototype."""

    def make(folder: Path) -> bytes:
        home = tree(folder)
        many = "".join(f"a-rather-long-name-{number:03} ---644 0 0 {home}/etc/short\n" for number in range(60))
        (folder / "proto").write_text(
            f"/dev/null\n0 0\nd--755 0 0\nsu -u-755 0 0 {home}/bin/su\ntext ---644 7 8 {home}/usr/text\n"
            f"link l--777 0 0 su\ndevice c--600 0 0 5 1\nmany d--755 0 0\n{many}$\n$\n"
        )
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(24 * MIB)
        # Without these mkfs.xfs makes nothing below 300 MB; they are what its own tests use.
        small = dict.fromkeys(("TEST_DIR", "TEST_DEV", "QA_CHECK_FS"), "1")
        run("mkfs.xfs", "-q", "-f", *options, "-p", folder / "proto", image, more=small)
        return image.read_bytes()

    return make


def ubi(folder: Path) -> bytes:
    """Return a UBI image of two volumes."""
    (folder / "data").write_bytes(NOISE * 8)
    text = ""
    for number, kind in enumerate(("static", "dynamic")):
        text += f"[{kind}]\nmode=ubi\nimage={folder}/data\nvol_id={number}\nvol_type={kind}\nvol_name={kind}\n"
        text += "vol_size=64KiB\n"
    (folder / "ini").write_text(text)
    run("ubinize", "-p", "16384", "-m", "512", "-Q", "99", "-o", folder / "image", folder / "ini")
    return (folder / "image").read_bytes()


def disk(script: str) -> Make:
    """Return how sfdisk makes a partitioned disk."""

    def make(folder: Path) -> bytes:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(256 * KIB)
        run("sfdisk", "-q", image, data=script.encode())
        return image.read_bytes()

    return make


def virtual(kind: str, *options: str) -> Make:
    """Return how qemu-img makes a virtual disk."""

    def make(folder: Path) -> bytes:
        raw = NOISE[:512] + bytes(64 * KIB - 512) + (TEXT * 4)[: 64 * KIB] + bytes(64 * KIB)
        (folder / "raw").write_bytes(raw)
        run("qemu-img", "convert", "-f", "raw", "-O", kind, *options, folder / "raw", folder / "image")
        return (folder / "image").read_bytes()

    return make


def rpm(folder: Path) -> bytes:
    """Return an RPM package."""
    from ..support.rpms import build

    try:
        return build(folder)[0].read_bytes()
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise Absent(f"rpmbuild: {error}") from None


def rauc(folder: Path) -> bytes:
    """Return a RAUC bundle: SquashFS, a signature, its length."""
    from ..unpack.test_rauc import key, signed

    (folder / "tree").mkdir()
    (folder / "tree/manifest.raucm").write_bytes(b"[update]\ncompatible=x\n")
    (folder / "tree/rootfs.img").write_bytes(NOISE)
    data = written("mksquashfs", "TREE", "IMAGE", "-all-root", "-noappend", "-quiet", "-no-progress")(folder)
    try:
        key(folder)
        signature = signed(folder, data)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Absent(f"openssl: {error}") from None
    return data + signature + struct.pack(">Q", len(signature))


def old_squashfs(version: tuple[int, int], order: str) -> Make:
    """Return how the tests' own writer makes SquashFS of a version."""

    def make(_: Path) -> bytes:
        from ..support.squashfs_images import Image, Node

        children = [
            Node(b"noise", data=NOISE),
            Node(b"text", data=TEXT, mode=0o4755, uid=3),
            Node(b"link", "symlink", 0o777, data=b"../text"),
            Node(b"device", "chardev", 0o600, device=(5, 1)),
        ]
        return Image(version, order).write(Node(b"", "directory", 0o755, children=children))

    return make


def fit(folder: Path) -> bytes:
    """Return a FIT image, with hashes."""
    from ..unpack.test_fit import SOURCE

    (folder / "kernel").write_bytes(NOISE)
    (folder / "disk").write_bytes(TEXT)
    (folder / "source.its").write_text(SOURCE)
    run("mkimage", "-f", "source.its", "out.fit", cwd=folder)
    return (folder / "out.fit").read_bytes()


def uimage() -> bytes:
    """Return a U-Boot image of several files, by the writer of its tests."""
    from ..unpack.test_uimage import header

    return header(struct.pack(">4I", len(NOISE), 7, 0, 0)[:12] + NOISE + b"\0" * (-len(NOISE) % 4) + b"7 bytes", kind=4)


def android_sparse() -> bytes:
    """Return a sparse image with every kind of chunk."""
    from ..unpack.test_sparse import chunk, sparse

    chunks = (chunk(0xCAC1, 2, TEXT[:8192]), chunk(0xCAC3, 9), chunk(0xCAC2, 4, b"fill"), chunk(0xCAC1, 1, bytes(4096)))
    return sparse(*chunks, blocks=16)


def android_super() -> bytes:
    """Return a super partition."""
    from ..unpack.test_super import MOST, A, B, disk, metadata

    return disk(metadata(A), metadata(B))[: 12288 + 8 * MOST]


def android_boot(kind: str) -> Make:
    """Return how the tests' own writers make a boot image."""

    def make(_: Path) -> bytes:
        from ..unpack import test_android as own

        match kind:
            case "4":
                return own.boot4(b"signature")
            case "vendor":
                return own.vendor4()
            case _:
                return own.legacy(1, dtbo=TEXT)

    return make


def avb() -> bytes:
    """Return signed vbmeta."""
    from ..unpack.test_android import vbmeta

    return vbmeta(NOISE)


def footed() -> bytes:
    """Return an image with vbmeta and a footer behind it."""
    from ..unpack import test_android as own

    image = own.boot4()
    return own.footed(image, own.vbmeta(image), len(image) + 16384)


def payload() -> bytes:
    """Return an Android update with every operation."""
    from ..unpack.test_payload import GOOD

    return GOOD


def lvm2() -> bytes:
    """Return a physical volume with volumes of many kinds."""
    from ..unpack.test_lvm2 import IMAGE

    return IMAGE[: (1 << 20) + (64 << 10)]


def md(version: str) -> Make:
    """Return how the tests' own writer makes a member of an array."""

    def make(_: Path) -> bytes:
        from ..unpack.test_md import member

        return member(version)

    return make


def dfu(kind: str) -> Make:
    """Return how the tests' own writer makes a DFU file."""

    def make(_: Path) -> bytes:
        from ..unpack.test_dfu import dfuse, suffixed

        return suffixed(NOISE) if kind == "plain" else dfuse({0x08000000: NOISE, 0x08010000: b"x"}, {0: b"second"})

    return make


def yaffs(name: str) -> Make:
    """Return how the tests' own writer makes a YAFFS image of a layout."""

    def make(_: Path) -> bytes:
        from ..unpack.test_yaffs import LAYOUTS, filled

        return filled(LAYOUTS[name])

    return make


def kernel(kind: str) -> Make:
    """Return how the tests' own writers make a kernel image."""

    def make(_: Path) -> bytes:
        from ..unpack import test_kernel_image as own

        packed = gzip.compress(TEXT, mtime=0)
        match kind:
            case "bzimage":
                return own.bzimage(packed)
            case "efi":
                return own.bzimage(packed, pe=True, certificates=struct.pack("<IHH", 13, 0x200, 2) + b"first")
            case "arm64":
                return own.image(pe=True)[:8192]
            case _:
                return own.arm(packed, trees=own.TREE)

    return make


def vendor(name: str) -> Make:
    """Return how the tests' own writer makes a vendor's image."""

    def make(_: Path) -> bytes:
        from ..unpack.test_vendor_images import IMAGES

        return IMAGES[name][1]()

    return make


def hex_records(format: str) -> Make:
    """Return how srec_cat writes records."""

    def make(folder: Path) -> bytes:
        (folder / "data").write_bytes(NOISE)
        command = ("srec_cat", "data", "-binary", "-offset", "0xfe00", "-o", "image", format)
        run(*command, cwd=folder)
        return (folder / "image").read_bytes()

    return make


def installer(folder: Path) -> bytes:
    """Return a self-extracting script of makeself."""
    run("makeself", "--gzip", tree(folder), folder / "image", "Base station 5.1", "./bin/su", cwd=folder)
    return (folder / "image").read_bytes()


def dump() -> bytes:
    """Return a flash dump: containers between erased bytes and others."""
    parts = (
        b"boot loader" * 50,
        gzip.compress(TEXT, mtime=0),
        zipped(zipfile.ZIP_DEFLATED),
        NOISE,
        vendor("trx-1")(Path()),
    )
    return b"".join(part + b"\xff" * (4096 - len(part) % 4096) for part in parts)


def cab(method: int) -> Make:
    """Return how the tests' own writer makes a cabinet."""

    def make(_: Path) -> bytes:
        from ..unpack.test_cab import cabinet

        files = {name.encode(): data for name, data in FILES.items()}
        return cabinet([(method, files), (0, {b"second\\folder": NOISE})], reserve=(20, 4, 4), signature=b"signature")

    return make


def rar(generation: str) -> Make:
    """Return how the tests' own writer makes a RAR archive."""

    def make(_: Path) -> bytes:
        from ..unpack.test_rar import ARCHIVES

        return ARCHIVES[generation]

    return make


def arj(folder: Path) -> bytes:
    """Return an ARJ archive."""
    run("arj", "a", "-r", "-y", folder / "image.arj", ".", cwd=tree(folder))
    return (folder / "image.arj").read_bytes()


def lha(options: str) -> Make:
    """Return how jlha makes an LHA archive."""

    def make(folder: Path) -> bytes:
        run("jlha", options, folder / "image.lzh", "bin", "etc", "usr", cwd=tree(folder))
        return (folder / "image.lzh").read_bytes()

    return make


def ole(major: int) -> Make:
    """Return how the tests' own writer makes a compound file."""

    def make(_: Path) -> bytes:
        from ..unpack.test_ole import TREE, compound

        return compound(TREE, major=major)

    return make


def luks(*options: str) -> Make:
    """Return how cryptsetup makes a volume; its keys are derived in no time."""

    def make(folder: Path) -> bytes:
        (folder / "phrase").write_bytes(b"phrase")
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(17 * MIB)
        derive = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", folder / "phrase")
        run("cryptsetup", "-q", "luksFormat", *options, *derive, image)
        return image.read_bytes()

    return make


def archive(*options: str) -> Make:
    """Return how 7z makes an archive."""

    def make(folder: Path) -> bytes:
        run("7z", "a", *options, folder / "image.7z", tree(folder))
        return (folder / "image.7z").read_bytes()

    return make


SQUASH = ("-noappend", "-no-progress", "-quiet", "-b", "4096", "-all-root")
LZMA_ALONE = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}]

SEEDS: dict[str, dict[str, Make]] = {
    "7z": {
        "solid": archive("-m0=LZMA2", "-mhc=off"),
        "packed header": archive("-ms=off"),
        "other methods": archive("-m0=BCJ2", "-m1=LZMA", "-mhc=off"),
    },
    "android-boot": {**{kind: android_boot(kind) for kind in ("1", "4", "vendor")}, "footer": value(footed)},
    "android-payload": {"written": value(payload)},
    "android-sparse": {"written": value(android_sparse)},
    "android-super": {"written": value(android_super)},
    "ar": {"deb": debian},
    "arj": {"arj": arj},
    "avb": {"vbmeta": value(avb)},
    "btrfs": {
        name: written(
            "mkfs.btrfs",
            "-q",
            "-f",
            "-n",
            "4096",
            "--shrink",
            "-m",
            "single",
            *options,
            "-r",
            "TREE",
            "IMAGE",
            size=64 * MIB,
        )
        for name, options in {"crc32c": (), "mixed": ("--mixed",)}.items()
    },
    "bzip2": {"stream": value(lambda: bz2.compress(TEXT + NOISE)), "two": value(lambda: bz2.compress(TEXT) * 2)},
    "cab": {str(method): cab(method) for method in (1, 0, 0x0F03)},
    "carved": {"dump": value(dump)},
    "cfe-tag": {"written": vendor("cfe-tag")},
    "chk": {"written": vendor("chk")},
    "compress": {"stream": piped("compress", "-cf")},
    "cpio": {kind: cpio(kind) for kind in ("newc", "crc", "odc", "bin")},
    "cramfs": {
        "little": written("mkfs.cramfs", "-N", "little", "TREE", "IMAGE"),
        "big": written("mkfs.cramfs", "-N", "big", "TREE", "IMAGE"),
    },
    "dfu": {kind: dfu(kind) for kind in ("plain", "DfuSe")},
    "dni": {"written": vendor("dni")},
    "encrpted-img": {"written": vendor("encrpted")},
    "engenius": {"written": vendor("engenius")},
    "erofs": {
        name: written("mkfs.erofs", "--quiet", "-T", "1700000000", *options, "IMAGE", "TREE")
        for name, options in {
            "plain": (),
            "lz4": ("-zlz4",),
            "big": ("-zlz4hc", "-C16384"),
            "lzma": ("-zlzma",),
        }.items()
    },
    "exfat": {"written": exfat},
    "ext": {
        "ext2": ext("-t", "ext2"),
        "ext4": ext("-t", "ext4", "-O", "^has_journal,^metadata_csum"),
        "ext4 with sums": ext("-t", "ext4", "-O", "^has_journal,metadata_csum,inline_data", "-I", "256"),
    },
    "f2fs": {"plain": f2fs()},
    "fat": {
        "12": fat("-F12", size=256 * KIB),
        "16": fat("-F16", "-s1", size=3 * MIB),
        "32": fat("-F32", "-s1", size=34 * MIB),
    },
    "fat-plain": {"no type": lambda folder: (d := fat("-F12", size=256 * KIB)(folder))[:54] + bytes(8) + d[62:]},
    "fit": {"mkimage": fit},
    "gpt": {"sfdisk": disk("label: gpt\nfirst-lba: 64\n64,64,L\n128,32,U\n")},
    "gzip": {
        "stream": value(lambda: gzip.compress(TEXT + NOISE, mtime=0)),
        "two": value(lambda: gzip.compress(TEXT, mtime=0) * 2),
    },
    "hwnp": {"written": vendor("hwnp")},
    "ihex": {"srec_cat": hex_records("-intel")},
    "iso9660": {
        "Rock Ridge, Joliet": written("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", "IMAGE", "TREE"),
        "plain": written("xorriso", "-as", "mkisofs", "-quiet", "-o", "IMAGE", "TREE"),
    },
    "jffs2": {
        "little": written("mkfs.jffs2", "-l", "-e", "16KiB", "-r", "TREE", "-o", "IMAGE"),
        "big": written("mkfs.jffs2", "-b", "-e", "16KiB", "-r", "TREE", "-o", "IMAGE"),
        "lzo": written("mkfs.jffs2", "-l", "-e", "16KiB", "-X", "lzo", "-y", "90:lzo", "-r", "TREE", "-o", "IMAGE"),
    },
    "lha": {"level 1": lha("aq1"), "level 2": lha("aq2"), "level 0": lha("aq0")},
    "linux-kernel": {kind: kernel(kind) for kind in ("bzimage", "efi", "arm64")},
    "linux-zimage": {"arm": kernel("arm")},
    "luks": {"2": luks("--type", "luks2"), "1": luks("--type", "luks1")},
    "lvm2": {"written": value(lvm2)},
    "lz4": {
        "frame": piped("lz4", "-c"),
        "blocks": piped("lz4", "-c", "-B4", "-BX"),
        "legacy": piped("lz4", "-l", "-c"),
    },
    "lzip": {"stream": piped("lzip", "-c")},
    "lzma": {"alone": value(lambda: lzma.compress(TEXT + NOISE, lzma.FORMAT_ALONE, filters=LZMA_ALONE))},
    "lzop": {"stream": piped("lzop", "-c")},
    "mbr": {"sfdisk": disk("label: dos\n16,64,L\n96,128,E\n104,32,L\n144,32,L\n")},
    "md": {version: md(version) for version in ("1.2", "1.0", "0.90")},
    "npk": {"written": vendor("npk")},
    "ntfs": {"mkntfs": ntfs},
    "ole": {"3": ole(3), "4": ole(4)},
    "openssl-enc": {"salted": piped("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "1", "-pass", "pass:x")},
    "qcow2": {
        "plain": virtual("qcow2"),
        "compressed": virtual("qcow2", "-c"),
        "old": virtual("qcow2", "-o", "compat=0.10"),
    },
    "qnap": {"written": vendor("qnap")},
    "rar": {generation: rar(generation) for generation in "45"},
    "rauc": {"plain": rauc},
    "realtek": {name: vendor(name) for name in ("realtek", "edimax", "edimax-big")},
    "romfs": {"genromfs": written("genromfs", "-f", "IMAGE", "-d", "TREE", "-V", "boot")},
    "rpm": {"rpmbuild": rpm},
    "safeloader": {"written": vendor("safeloader")},
    "seama": {name: vendor(name) for name in ("seama", "seama-little", "seama-in-flash")},
    "shell-archive": {"makeself": installer},
    "shrs": {"written": vendor("shrs")},
    "squashfs": {
        **{
            f"4, {name}": written("mksquashfs", "TREE", "IMAGE", *SQUASH, "-comp", name)
            for name in ("gzip", "xz", "lzo", "lz4", "zstd")
        },
        **{
            f"{major}.{minor} {order}": old_squashfs((major, minor), order)
            for major, minor in ((1, 0), (2, 1), (3, 1))
            for order in "<>"
        },
    },
    "srec": {"srec_cat": hex_records("-motorola")},
    "tar": {
        "gnu": value(lambda: tar(tarfile.GNU_FORMAT)),
        "pax": value(lambda: tar(tarfile.PAX_FORMAT)),
        "sparse": tar_sparse,
    },
    "tplink": {name: vendor(name) for name in ("tplink", "tplink-marked")},
    "trx": {name: vendor(name) for name in ("trx-1", "trx-2")},
    "ubi": {"ubinize": ubi},
    "ubifs": {
        name: written("mkfs.ubifs", "-m", "512", "-e", "15872", "-c", "100", "-x", name, "-r", "TREE", "-o", "IMAGE")
        for name in ("lzo", "zlib", "none")
    },
    "ubnt": {name: vendor(name) for name in ("ubnt", "ubnt-signed")},
    "uimage": {"multi": value(uimage)},
    "udf": {
        "bridge": written("genisoimage", "-quiet", "-udf", "-o", "IMAGE", "TREE"),
        "empty": written("mkudffs", "--utf8", "--media-type=hd", "--blocksize=2048", "IMAGE", size=2 * MIB),
    },
    "vdi": {"dynamic": virtual("vdi")},
    "vhd": {"dynamic": virtual("vpc", "-o", "subformat=dynamic"), "fixed": virtual("vpc", "-o", "subformat=fixed")},
    "vhdx": {"dynamic": virtual("vhdx", "-o", "block_size=1M")},
    "vmdk": {"sparse": virtual("vmdk"), "stream": virtual("vmdk", "-o", "subformat=streamOptimized")},
    "wrgg": {name: vendor(name) for name in ("wrgg", "wrg-big")},
    "xar": {"bsdtar": written("bsdtar", "--format=xar", "-cf", "IMAGE", "-C", "TREE", ".")},
    "xfs": {"4": xfs("-m", "crc=0", "-n", "ftype=1", "-b", "size=1024"), "5": xfs()},
    "xiaomi": {name: vendor(name) for name in ("xiaomi-1", "xiaomi-2")},
    "xz": {
        "stream": value(lambda: lzma.compress(TEXT + NOISE)),
        "two": value(lambda: lzma.compress(TEXT) * 2 + bytes(4)),
    },
    "yaffs": {name: yaffs(name) for name in ("2048+64", "512+16, YAFFS1", "in-band")},
    "zip": {"deflated": value(lambda: zipped(zipfile.ZIP_DEFLATED)), "lzma": value(lambda: zipped(zipfile.ZIP_LZMA))},
    "zstd": {"stream": value(lambda: zstandard.ZstdCompressor(write_checksum=True).compress(TEXT + NOISE))},
    "zynos": {"written": vendor("zynos")},
}
"""How to make the seeds of each format, by a name of each."""


def seeds(format: str, folder: Path) -> Iterator[tuple[str, bytes | Absent]]:
    """Yield each seed of a format by its name, or why it is absent; none for a format that has no builder."""
    for number, (name, make) in enumerate(SEEDS.get(format, {}).items()):
        place = folder / f"{format}-{number}"
        place.mkdir()
        try:
            yield name, make(place)
        except Absent as error:
            yield name, error
        finally:
            shutil.rmtree(place, ignore_errors=True)
