"""One tree of files, and how it is put into every format by that format's own tools.

Each `Plan` is shell text: how to make the image, and how the format's reference program gets the files out again.
Variables: TREE (the planted files), FLAT (the same, in one folder), KERNEL (the biggest program), EXT4 (a disk with
the tree), IMAGE, OUT and WORK. Only the standard library is used.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
SECOND = 1_700_000_000
PROGRAMS = 5_000_000
"""Bytes of programs that are taken from this machine."""


@dataclass(frozen=True)
class Plan:
    """How a format is made and read back.

    Args:
        make: shell text that makes IMAGE.
        back: shell text that extracts into OUT; empty: no free program does it without root.
        holds: what is planted: the tree, or KERNEL alone.
        needs: programs.
        by: the reference program's name in the table.
    """

    make: str
    back: str = ""
    holds: str = "tree"
    needs: tuple[str, ...] = ()
    by: str = ""


def _disk(kind: str, *options: str) -> Plan:
    return Plan(
        f"qemu-img convert -f raw -O {kind} {' '.join(options)} $EXT4 $IMAGE",
        f"qemu-img convert -f {kind} -O raw $IMAGE $WORK/raw && debugfs -R 'rdump / '$OUT $WORK/raw",
        needs=("qemu-img", "debugfs"),
        by="qemu-img, debugfs",
    )


def _tar(option: str, program: str) -> Plan:
    return Plan(
        f"tar -C $TREE --sort=name --owner=0 --group=0 {option} -cf $IMAGE .",
        f"tar -C $OUT {option} -xf $IMAGE",
        needs=("tar", program),
        by="tar",
    )


def _squashfs(name: str) -> Plan:
    return Plan(
        f"mksquashfs $TREE $IMAGE -noappend -no-progress -quiet -all-root -comp {name}",
        "unsquashfs -quiet -no-progress -force -dest $OUT $IMAGE",
        needs=("mksquashfs", "unsquashfs"),
        by="unsquashfs",
    )


def _ext(kind: str) -> Plan:
    return Plan(
        f"truncate -s 24M $IMAGE && mke2fs -q -F -t {kind} -d $TREE $IMAGE",
        "debugfs -R 'rdump / '$OUT $IMAGE",
        needs=("mke2fs", "debugfs"),
        by="debugfs",
    )


def _jffs2(order: str, options: str) -> Plan:
    return Plan(
        f"mkfs.jffs2 {order} -e 128KiB {options} -r $TREE -o $IMAGE",
        "jefferson -f -d $OUT $IMAGE",
        needs=("mkfs.jffs2",),
        by="jefferson",
    )


def _erofs(options: str) -> Plan:
    return Plan(
        f"mkfs.erofs --quiet {options} $IMAGE $TREE",
        "fsck.erofs --extract=$OUT --overwrite $IMAGE",
        needs=("mkfs.erofs", "fsck.erofs"),
        by="fsck.erofs",
    )


def _stream(program: str, back: str) -> Plan:
    return Plan(
        f"tar -C $TREE --sort=name -cf - . | {program} > $IMAGE",
        f"{back} < $IMAGE | tar -C $OUT -xf -",
        needs=(program.split(maxsplit=1)[0], "tar"),
        by=program.split(maxsplit=1)[0],
    )


_UBI = (
    "mkfs.ubifs -m 2048 -e 126976 -c 400 -x {x} -r $TREE -o $WORK/ubifs && printf '[v]\\nmode=ubi\\nimage=%s\\n"
    "vol_id=0\\nvol_type=dynamic\\nvol_name=rootfs\\nvol_flags=autoresize\\n' $WORK/ubifs > $WORK/ini && "
    "ubinize -p 128KiB -m 2048 -o $IMAGE $WORK/ini"
)
_SPEC = (
    "printf 'Name: planted\\nVersion: 1\\nRelease: 1\\nSummary: x\\nLicense: x\\nAutoReqProv: no\\n%%description\\nx\\n"
    "%%install\\nmkdir -p %%{buildroot}/p && cp -a %s/. %%{buildroot}/p/\\n%%files\\n/p\\n' $TREE > $WORK/spec && "
    "rpmbuild -bb --quiet --nodeps --define \"_topdir $WORK/top\" --define '__os_install_post %{nil}' "
    "--define '_build_id_links none' --define 'debug_package %{nil}' --define '_binary_payload {PAYLOAD}' "
    "$WORK/spec && mv $WORK/top/RPMS/*/*.rpm $IMAGE"
)
_DUMP = (
    "(dd if=/dev/zero bs=1k count=64 | tr '\\0' '\\377'; printf 'boot loader environment'; "
    "mkimage -A arm -O linux -T kernel -C none -n x -d $KERNEL $WORK/uimage >/dev/null; cat $WORK/uimage; "
    "dd if=/dev/zero bs=1000 count=77 | tr '\\0' '\\377'; "
    "mksquashfs $TREE $WORK/squash -noappend -no-progress -quiet -all-root -comp xz; cat $WORK/squash; "
    "printf 'vendor trailer %s' 123456789) > $IMAGE 2>/dev/null"
)

PLANS: dict[str, Plan] = {
    **{f"squashfs, {name}": _squashfs(name) for name in ("gzip", "lzo", "lz4", "xz", "zstd", "lzma")},
    "ext2": _ext("ext2"),
    "ext4": _ext("ext4"),
    **{
        f"UBI, UBIFS, {name}": Plan(
            _UBI.format(x=name),
            "ubireader_extract_files -o $OUT $IMAGE",
            needs=("mkfs.ubifs", "ubinize"),
            by="ubi_reader",
        )
        for name in ("lzo", "zlib", "zstd")
    },
    "JFFS2, zlib": _jffs2("-l", ""),
    "JFFS2, big endian": _jffs2("-b", ""),
    "JFFS2, lzo": _jffs2("-l", "-X lzo -y 90:lzo -x zlib"),
    "JFFS2, rtime": _jffs2("-l", "-x zlib -x lzo"),
    "FAT32": Plan(
        "truncate -s 48M $IMAGE && mkfs.fat -F32 -s1 $IMAGE && mcopy -s -Q -i $IMAGE $FLAT/* ::/",
        "mcopy -s -n -i $IMAGE '::/*' $OUT",
        needs=("mkfs.fat", "mcopy"),
        by="mcopy",
    ),
    "EROFS": _erofs(""),
    "EROFS, lz4hc": _erofs("-zlz4hc"),
    "F2FS": Plan(
        "truncate -s 80M $IMAGE && mkfs.f2fs -q -f $IMAGE && sload.f2fs -P -f $TREE $IMAGE",
        needs=("mkfs.f2fs", "sload.f2fs"),
    ),
    "btrfs": Plan(
        "truncate -s 128M $IMAGE && mkfs.btrfs -q -f --shrink -r $TREE $IMAGE",
        "btrfs restore $IMAGE $OUT",
        needs=("mkfs.btrfs", "btrfs"),
        by="btrfs restore",
    ),
    "XFS": Plan(
        "(printf '/dev/null\\n0 0\\nd--755 0 0\\n'; for f in $FLAT/*; do "
        "printf '%s ---755 0 0 %s\\n' ${f##*/} $f; done; echo '$') > $WORK/proto && "
        "truncate -s 300M $IMAGE && mkfs.xfs -q -f -p $WORK/proto $IMAGE",
        needs=("mkfs.xfs",),
    ),
    "NTFS": Plan(
        "truncate -s 24M $IMAGE && mkntfs -q -F $IMAGE && for f in $FLAT/*; do ntfscp -q $IMAGE $f ${f##*/}; done",
        "7z x -y -o$OUT $IMAGE",
        needs=("mkntfs", "ntfscp", "7z"),
        by="7z",
    ),
    "cramfs": Plan(
        "mkfs.cramfs -N little $TREE $IMAGE",
        "fsck.cramfs --extract=$OUT/x $IMAGE",
        needs=("mkfs.cramfs", "fsck.cramfs"),
        by="fsck.cramfs",
    ),
    "cramfs, big endian": Plan(
        "mkfs.cramfs -N little $TREE $WORK/little && cramfsswap $WORK/little $IMAGE",
        "7z x -y -o$OUT $IMAGE",
        needs=("mkfs.cramfs", "cramfsswap", "7z"),
        by="7z",
    ),
    "romfs": Plan("genromfs -f $IMAGE -d $TREE", needs=("genromfs",)),
    "ISO 9660, Rock Ridge, Joliet": Plan(
        "xorriso -as mkisofs -quiet -R -J -joliet-long -o $IMAGE $TREE",
        "xorriso -osirrox on -indev $IMAGE -extract / $OUT",
        needs=("xorriso",),
        by="xorriso",
    ),
    "UDF (bridge disc)": Plan(
        "genisoimage -quiet -udf -o $IMAGE $TREE", "7z x -y -tudf -o$OUT $IMAGE", needs=("genisoimage", "7z"), by="7z"
    ),
    "U-Boot image": Plan(
        "mkimage -A arm -O linux -T kernel -C none -n x -d $KERNEL $IMAGE",
        "dumpimage -T kernel -p 0 -o $OUT/kernel $IMAGE",
        holds="kernel",
        needs=("mkimage", "dumpimage"),
        by="dumpimage",
    ),
    "FIT image": Plan(
        "mkimage -f auto -A arm -O linux -T kernel -C none -n x -d $KERNEL $IMAGE",
        "dumpimage -T flat_dt -p 0 -o $OUT/kernel $IMAGE",
        holds="kernel",
        needs=("mkimage", "dumpimage", "dtc"),
        by="dumpimage",
    ),
    "Android boot image": Plan(
        "mkbootimg --header_version 2 --kernel $KERNEL --dtb $KERNEL --output $IMAGE",
        "unpack_bootimg --boot_img $IMAGE --out $OUT",
        holds="kernel",
        needs=("mkbootimg", "unpack_bootimg"),
        by="unpack_bootimg",
    ),
    "Android sparse image": Plan(
        "img2simg $EXT4 $IMAGE",
        "simg2img $IMAGE $WORK/raw && debugfs -R 'rdump / '$OUT $WORK/raw",
        needs=("img2simg", "simg2img", "debugfs"),
        by="simg2img, debugfs",
    ),
    "qcow2": _disk("qcow2"),
    "qcow2, compressed": _disk("qcow2", "-c"),
    "VMDK, streamOptimized": _disk("vmdk", "-o subformat=streamOptimized"),
    "VDI": _disk("vdi"),
    "VHD": _disk("vpc"),
    "VHDX": _disk("vhdx"),
    "GPT disk": Plan(
        "truncate -s 32M $IMAGE && printf 'label: gpt\\n2048,49152,L\\n' | sfdisk -q $IMAGE && "
        "dd if=$EXT4 of=$IMAGE bs=512 seek=2048 conv=notrunc,sparse",
        "debugfs -R 'rdump / '$OUT $IMAGE'?offset=1048576'",
        needs=("sfdisk", "debugfs"),
        by="debugfs, told where",
    ),
    "7z": Plan("7z a -t7z $IMAGE.7z $TREE/. && mv $IMAGE.7z $IMAGE", "7z x -y -o$OUT $IMAGE", needs=("7z",), by="7z"),
    "ZIP": Plan("cd $TREE && zip -q -r -y - . > $IMAGE", "7z x -y -o$OUT $IMAGE", needs=("zip", "7z"), by="7z"),
    "tar": _tar("", "tar"),
    "tar.gz": _tar("--gzip", "gzip"),
    "tar.bz2": _tar("--bzip2", "bzip2"),
    "tar.xz": _tar("--xz", "xz"),
    "tar.zst": _tar("--zstd", "zstd"),
    "tar.lz": _tar("--lzip", "lzip"),
    "tar.lzma": _tar("--lzma", "lzma"),
    "tar.lzo": _stream("lzop -c", "lzop -dc"),
    "tar.lz4": _stream("lz4 -c", "lz4 -dc"),
    "tar.Z": _stream("compress -cf", "compress -dc"),
    "cpio, newc": Plan(
        "cd $TREE && find . | LC_ALL=C sort | cpio --quiet -o -H newc > $IMAGE",
        "cd $OUT && cpio --quiet -idm < $IMAGE",
        needs=("cpio",),
        by="cpio",
    ),
    "RPM, xz": Plan(
        _SPEC.replace("{PAYLOAD}", "w6.xzdio"),
        "rpm2cpio $IMAGE | (cd $OUT && cpio --quiet -idm)",
        needs=("rpmbuild", "rpm2cpio", "cpio"),
        by="rpm2cpio, cpio",
    ),
    "RPM, zstd": Plan(
        _SPEC.replace("{PAYLOAD}", "w19.zstdio"),
        "rpm2cpio $IMAGE | (cd $OUT && cpio --quiet -idm)",
        needs=("rpmbuild", "rpm2cpio", "cpio"),
        by="rpm2cpio, cpio",
    ),
    "Debian package": Plan(
        "cp -a $TREE $WORK/deb && mkdir $WORK/deb/DEBIAN && printf 'Package: planted\\nVersion: 1\\n"
        "Architecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' > $WORK/deb/DEBIAN/control && "
        "dpkg-deb --root-owner-group -b $WORK/deb $IMAGE",
        "dpkg-deb -x $IMAGE $OUT",
        needs=("dpkg-deb",),
        by="dpkg-deb",
    ),
    "ARJ": Plan(
        "cd $FLAT && arj a -y $WORK/x.arj * >/dev/null && mv $WORK/x.arj $IMAGE",
        "cp $IMAGE $WORK/x.arj && cd $OUT && arj x -y $WORK/x.arj",
        needs=("arj",),
        by="arj",
    ),
    "LHA": Plan("cd $FLAT && jlha aq $IMAGE *", "lha xw=$OUT $IMAGE", needs=("jlha", "lha"), by="lhasa"),
    "makeself": Plan(
        "makeself --nox11 $TREE $IMAGE planted true",
        "sh $IMAGE --noexec --target $OUT --quiet",
        needs=("makeself",),
        by="itself",
    ),
    "Intel HEX": Plan(
        "srec_cat $KERNEL -binary -o $IMAGE -intel",
        "srec_cat $IMAGE -intel -o $OUT/kernel -binary",
        holds="kernel",
        needs=("srec_cat",),
        by="srec_cat",
    ),
    "flash dump (U-Boot image, SquashFS, erased bytes)": Plan(_DUMP, needs=("mkimage", "mksquashfs")),
}
"""By the name in the table."""

ABSENT = {
    "exFAT": "nothing fills it without mounting",
    "YAFFS": "no free program writes it",
    "RAR": "no free program writes it",
    "LVM2": "its tools work on block devices only",
    "Cabinet": "its writers (gcab, lcab) are not installed",
}
"""Formats that Assay reads and that are not measured, and why."""


class Missing(Exception):
    """An image cannot be made here; says why."""


def plant(folder: Path) -> tuple[Path, Path, Path]:
    """Write the files; return the tree, the flat folder of the same files, and the biggest program.

    The text, small and random files are the same everywhere; programs are this machine's, the same at every run.
    """
    chance = random.Random(5)  # noqa: S311 - the same at every run
    tree, flat = folder / "tree", folder / "flat"
    for name in ("bin", "etc", "lib", "share/text", "empty"):
        (tree / name).mkdir(parents=True)
    taken = 0
    for number, path in enumerate(_programs()):
        size = path.stat().st_size
        if taken + size <= PROGRAMS:
            taken += size
            shutil.copyfile(path, tree / ("bin" if number % 2 else "lib") / f"p{number}-{path.name[:20]}")
    words = ["".join(chance.choice("aeioubcdfglmnprst") for _ in range(chance.randrange(2, 9))) for _ in range(3000)]
    for number in range(12):
        text = "\n".join(" ".join(chance.choice(words) for _ in range(12)) for _ in range(1800))
        (tree / f"share/text/t{number}.txt").write_text(text)
    for number in range(200):
        line = " ".join(chance.choice(words) for _ in range(chance.randrange(5, 90)))
        (tree / f"etc/s{number}.conf").write_text(f"# {number}\n{line}\n")
    (tree / "share/random").write_bytes(chance.randbytes(1_500_000))
    (tree / "share/nothing").touch()
    flat.mkdir()
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            shutil.copyfile(path, flat / path.name)
    setuid = min((tree / "bin").iterdir())
    setuid.chmod(0o4755)
    (tree / "bin/link").symlink_to(setuid.name)
    (tree / "etc/absolute").symlink_to("/etc/passwd")
    for path in [*tree.rglob("*"), *flat.iterdir(), tree, flat]:
        os.utime(path, (SECOND, SECOND), follow_symlinks=False)
    programs = [path for name in ("bin", "lib") for path in (tree / name).iterdir() if not path.is_symlink()]
    kernel = max(programs, key=lambda path: path.stat().st_size)
    return tree, flat, kernel


def _programs() -> list[Path]:
    found = []
    for folder in ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"):
        for path in sorted(Path(folder).glob("*")) if Path(folder).is_dir() else ():
            known = path.lstat()
            if stat.S_ISREG(known.st_mode) and 50_000 < known.st_size < 900_000:
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        found.append(path)
    random.Random(7).shuffle(found)  # noqa: S311
    return found


def lacking(plan: Plan) -> list[str]:
    """Return the programs of a plan that are not installed."""
    return [name for name in plan.needs if shutil.which(name, path=PATH) is None]


def build(plan: Plan, places: dict[str, str], image: Path, work: Path) -> None:
    """Make the image of a plan.

    Args:
        plan: what to make.
        places: TREE, FLAT, KERNEL, EXT4.
        image: where.
        work: an empty folder for what is needed on the way.

    Raises:
        Missing: a program is not installed, or fails.
    """
    if absent := lacking(plan):
        raise Missing(f"{', '.join(absent)} not installed")
    env = {
        **os.environ,
        **places,
        "PATH": PATH,
        "IMAGE": str(image),
        "WORK": str(work),
        "SOURCE_DATE_EPOCH": str(SECOND),
    }
    done = subprocess.run(["sh", "-e", "-c", plan.make], env=env, cwd=work, capture_output=True, check=False)
    if done.returncode or not image.exists() or not image.stat().st_size:
        said = (done.stderr or done.stdout).decode(errors="replace").split()
        raise Missing(" ".join(said)[-200:] or "its tool makes nothing")
