from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Problem, Reader, Window
from assay.unpack.iso9660 import FORMAT
from assay.unpack.iso9660_structures import SymbolicLink, device, long_time, short_time

from ..support.hostile import mangled, survives
from ..support.sevenzip import listing

XORRISO = shutil.which("xorriso")
GENISOIMAGE = shutil.which("genisoimage")
pytestmark = pytest.mark.skipif(None in (XORRISO, GENISOIMAGE), reason="needs xorriso and genisoimage")

NOISE = random.Random(5).randbytes(300_001)
WHEN = 1_600_000_001
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/" + b"long" * 40: b"a name so long that it needs a continuation area",
    b"etc/caf\xc3\xa9": b"UTF-8",
    b"usr/noise": NOISE,
    b"boot/boot.img": b"\xeb\x3c" + bytes(6000),
    b"boot/efi.img": b"efi" * 2000,
    b"1/2/3/4/5/6/7/8/9/deep": b"deeper than eight levels",
}
LINKS = {b"usr/link": b"../bin/su", b"usr/root": b"/", b"usr/long": b"/" + b"x" * 200 + b"/../" + b"y" * 100}
LAYOUTS = {
    "rock": (GENISOIMAGE, "-quiet", "-R"),
    "rock-joliet": (GENISOIMAGE, "-quiet", "-R", "-J", "-joliet-long"),
    "joliet": (GENISOIMAGE, "-quiet", "-J", "-joliet-long", "-iso-level", "3"),
    "plain": (GENISOIMAGE, "-quiet", "-iso-level", "3", "-D"),
    "xorriso": (XORRISO, "-as", "mkisofs", "-R", "-J"),
    "el-torito": (
        XORRISO, "-as", "mkisofs", "-R", "-c", "boot/boot.cat", "-b", "boot/boot.img", "-no-emul-boot",
        "-boot-load-size", "4", "-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (WHEN, WHEN))
    for name, target in LINKS.items():
        (home / os.fsdecode(name)).symlink_to(os.fsdecode(target))
    (home / "bin/su").chmod(0o4755)
    (home / "etc/empty").chmod(0o600)
    os.mkfifo(home / "etc/fifo")
    return home


@pytest.fixture(scope="module")
def images(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("iso")
    found = {}
    for name, (tool, *options) in LAYOUTS.items():
        path = home / name
        command = [tool or "", *options, "-V", "UPDATE", "-o", path, tree]
        subprocess.run(command, check=True, timeout=30, capture_output=True)
        found[name] = path.read_bytes()
    return found


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


def contents(reader: Reader, entries: dict[bytes, Entry]) -> dict[bytes, bytes]:
    return {name: b"".join(reader.open(entry.locator)) for name, entry in entries.items() if entry.locator is not None}


@pytest.mark.parametrize("name", ["rock", "rock-joliet", "xorriso"])
def test_rock_ridge_keeps_everything(images: dict[str, bytes], tree: Path, name: str) -> None:
    found = listed(opened(images[name]))
    expected = {}
    for path in tree.rglob("*"):
        status = path.lstat()
        kind = {stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}[
            stat.S_IFMT(status.st_mode)
        ]
        link = os.fsencode(path.readlink()) if kind == "symlink" else None
        regular = kind == "regular"
        mode = stat.S_IMODE(status.st_mode)
        owner = (status.st_uid, status.st_gid)
        if name.startswith("rock"):  # -R is not -rational-rock: genisoimage keeps rights, xorriso too
            owner = (status.st_uid, status.st_gid)
        expected[os.fsencode(path.relative_to(tree))] = (
            kind, mode, *owner, link, status.st_size if regular else None, WHEN * 10**9 if regular else None,
        )  # fmt: skip
    kept = {
        path: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.mtime if e.type == "regular" else None)
        for path, e in found.items()
    }
    moved = [path for path in kept if path.startswith(b"rr_moved")]
    assert moved in ([], [b"rr_moved"])
    for path in (b"", *moved):
        assert kept.pop(path)[0] == "directory"
    assert kept == expected
    assert contents(opened(images[name]), found) == FILES
    assert opened(images[name]).detail["listed"] == "Rock Ridge"
    reader = opened(images[name])
    for path, data in FILES.items():
        span = reader.span(found[path].locator or 0)
        assert span is not None
        assert images[name][span[0] : sum(span)] == data


def test_joliet(images: dict[str, bytes]) -> None:
    reader = opened(images["joliet"])
    found = listed(reader)
    read = contents(reader, found)
    short = b"etc/" + (b"long" * 40)[:103]
    # genisoimage writes a FIFO as an empty file here, and leaves out what is deeper than eight levels.
    assert {name: data for name, data in read.items() if b"longlong" not in name and data} == {
        name: data for name, data in FILES.items() if b"longlong" not in name and b"deep" not in name and data
    }
    assert read.get(short) == FILES[b"etc/" + b"long" * 40]
    assert reader.detail["listed"] == "Joliet"


def test_plain_names(images: dict[str, bytes], tmp_path: Path) -> None:
    reader = opened(images["plain"])
    found = listed(reader)
    assert found[b"USR/NOISE"].size == len(NOISE)
    assert found[b"BOOT/BOOT.IMG"].mode is None
    assert b"".join(reader.open(found[b"USR/NOISE"].locator or 0)) == NOISE
    path = tmp_path / "image"
    path.write_bytes(images["plain"])
    theirs = {name.rstrip("."): size for name, size in listing(path, "iso").items()}
    assert {name.decode(): entry.size for name, entry in found.items() if name} == theirs


def test_el_torito(images: dict[str, bytes], tmp_path: Path) -> None:
    reader = opened(images["el-torito"])
    found = listed(reader)
    read = contents(reader, found)
    assert read[b"[boot]/1-x86.img"] == FILES[b"boot/boot.img"]
    assert read[b"[boot]/2-efi.img"] == FILES[b"boot/efi.img"]
    assert found[b"[boot]/1-x86.img"].locator == found[b"boot/boot.img"].locator
    assert found[b"[boot]/2-efi.img"].xattrs == {
        "eltorito.bootable": b"yes", "eltorito.media": b"0", "eltorito.sectors": b"12",
    }  # fmt: skip
    assert reader.detail["boot_images"] == 2


def test_boot_directory_does_not_collide(tree: Path, images: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "tree/[boot]").mkdir(parents=True)
    (tmp_path / "tree/boot.img").write_bytes(b"x" * 2048)
    command = [XORRISO or "", "-as", "mkisofs", "-R", "-b", "boot.img", "-no-emul-boot", "-o", tmp_path / "image"]
    subprocess.run([*command, tmp_path / "tree"], check=True, timeout=30, capture_output=True)
    found = listed(opened((tmp_path / "image").read_bytes()))
    assert b"[boot 2]/1-x86.img" in found


def test_devices_and_owners(tmp_path: Path) -> None:
    """Made from a device table of cpio's, which an ordinary user can have too."""
    if os.getuid():
        pytest.skip("only root makes devices for genisoimage to store")
    tree = tmp_path / "tree"
    tree.mkdir()
    try:
        os.mknod(tree / "null", 0o020666, os.makedev(1, 3))
        os.mknod(tree / "nvme", 0o060660, os.makedev(259, 300))
    except PermissionError:
        pytest.skip("no mknod here")
    os.chown(tree / "null", 1234, 70000)
    for tool in ([GENISOIMAGE or "", "-quiet"], [XORRISO or "", "-as", "mkisofs"]):
        subprocess.run([*tool, "-R", "-o", tmp_path / "image", tree], check=True, timeout=30, capture_output=True)
        found = listed(opened((tmp_path / "image").read_bytes()))
        assert (found[b"null"].type, found[b"null"].device) == ("chardev", (1, 3))
        assert (found[b"null"].uid, found[b"null"].gid) == (1234, 70000)
        assert (found[b"nvme"].type, found[b"nvme"].device) == ("blockdev", (259, 300))


def test_hard_links_share_a_locator(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one").write_bytes(b"data" * 1000)
    os.link(tree / "one", tree / "two")
    subprocess.run(
        [GENISOIMAGE or "", "-quiet", "-R", "-cache-inodes", "-o", tmp_path / "image", tree], check=True, timeout=30
    )
    found = listed(opened((tmp_path / "image").read_bytes()))
    assert found[b"one"].locator == found[b"two"].locator
    assert found[b"one"].nlink == 2


def test_zisofs(tmp_path: Path) -> None:
    tool = shutil.which("mkzftree")
    if tool is None:
        pytest.skip("needs mkzftree (zisofs-tools)")
    tree = tmp_path / "tree"
    tree.mkdir()
    data = b"text that repeats " * 20_000 + bytes(200_000)
    (tree / "text").write_bytes(data)
    (tree / "noise").write_bytes(NOISE)
    subprocess.run([tool, tree, tmp_path / "compressed"], check=True, timeout=30)
    subprocess.run(
        [GENISOIMAGE or "", "-quiet", "-R", "-z", "-o", tmp_path / "image", tmp_path / "compressed"],
        check=True,
        timeout=30,
    )
    image = (tmp_path / "image").read_bytes()
    assert len(image) < len(data) + len(NOISE)
    found = listed(opened(image))
    assert found[b"text"].size == len(data)
    assert opened(image).span(found[b"text"].locator or 0) is None
    assert contents(opened(image), found) == {b"text": data, b"noise": NOISE}
    at = image.index(b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07")
    for broken in mangled(image, count=40, hot=range(at, at + 200)):
        survives(FORMAT, broken)


def test_files_in_several_parts(tmp_path: Path, images: dict[str, bytes]) -> None:
    """What only files of 4 GiB have is made here by splitting the record of a small one in two."""
    data = bytearray(images["plain"])
    reader = opened(bytes(data))
    found = listed(reader)
    start, size = found[b"USR/NOISE"].locator or (0, 0)  # type: ignore[misc]
    at = data.index(b"NOISE.;1") - 33
    length = data[at]
    one, two = bytearray(data[at : at + length]), bytearray(data[at : at + length])
    struct.pack_into("<I", one, 10, 2048)
    one[25] |= 0x80
    struct.pack_into("<I", two, 2, start // 2048 + 1)
    struct.pack_into("<I", two, 10, size - 2048)
    data[at : at + 2 * length] = one + two
    found = listed(opened(bytes(data)))
    assert found[b"USR/NOISE"].locator == [start, 2048, start + 2048, size - 2048]
    assert b"".join(opened(bytes(data)).open(found[b"USR/NOISE"].locator)) == NOISE
    assert opened(bytes(data)).span(found[b"USR/NOISE"].locator) == (start, size)


@pytest.mark.parametrize("name", LAYOUTS)
def test_inside_something_larger_every_byte_is_explained(images: dict[str, bytes], name: str) -> None:
    image = images[name]
    whole = b"\xaa" * 12_345 + image + b"\xbb" * 100_000
    reader = FORMAT.open(Window(BytesSource(whole), 12_345, len(whole)), Limits())
    found = listed(reader)
    assert found == listed(opened(image))
    covered = bytearray(len(whole))
    for claim in reader.claims():
        covered[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    blocks = reader.detail["blocks"]
    assert isinstance(blocks, int)
    assert len(covered.rstrip(b"\0")) == blocks * 2048
    gaps = b"".join(image[at : at + 2048] for at in range(0, blocks * 2048, 2048) if not covered[at])
    # A disc may have blocks that no tree speaks of: the tool's own mark, and file names of the other tree.
    assert len(gaps) <= 4 * 2048 or name in ("joliet", "rock-joliet", "xorriso", "rock")


def test_header_is_kept(images: dict[str, bytes]) -> None:
    detail = opened(images["xorriso"]).detail
    assert (detail["volume"], detail["rock_ridge"], detail["joliet"]) == ("UPDATE", True, True)


def test_cycles_end(images: dict[str, bytes]) -> None:
    data = bytearray(images["plain"])
    blocks = {name: entry for name, entry in listed(opened(bytes(data))).items() if entry.type == "directory"}
    assert blocks
    at = data.index(b"\x01" + b"5") - 32
    parent = data.index(b"\x01" + b"2") - 32
    data[at + 2 : at + 10] = data[parent + 2 : parent + 10]
    told = [item for item in opened(bytes(data)).entries() if isinstance(item, Problem)]
    assert [item.detail.partition("inode")[0] for item in told] == ["directory "]


def test_a_continuation_that_names_itself_ends(images: dict[str, bytes]) -> None:
    data = bytearray(images["rock"])
    at = 0
    while (at := data.find(b"CE\x1c\x01", at)) != -1:
        place = data[at + 4 : at + 28]
        block, offset = struct.unpack_from("<I4xI", place)
        data[block * 2048 + offset : block * 2048 + offset + 28] = b"CE\x1c\x01" + place
        at += 4
    told = [item for item in opened(bytes(data)).entries() if isinstance(item, Problem)]
    assert "continuations of system use are a cycle, or too long" in {item.detail for item in told}


def test_a_cut_disc_lists_what_is_there(images: dict[str, bytes]) -> None:
    data = images["rock"]
    cut = data[: len(data) - 400_000]
    items = list(opened(cut).entries())
    assert {item.path for item in items if isinstance(item, Entry)} == listed(opened(data)).keys()
    assert [item.reason for item in items if isinstance(item, Problem)] == ["truncated"]


def test_small_parts() -> None:
    assert short_time(bytes([120, 9, 13, 14, 26, 41, 8])) == WHEN * 10**9
    assert short_time(bytes(7)) is None
    assert long_time(b"2020091312264100\0") == WHEN * 10**9
    assert long_time(b"0" * 16 + b"\0") is None
    assert device(0, 0x10303) == (259, 3) or device(0, 0x10303) == (0x103, 3)
    assert device(8, 1) == (8, 1)
    link = SymbolicLink()
    link.add(b"\x08\0\x01\x03usr")
    link.add(b"\0\x04/lib\x04\0\x02\0")
    assert link.path == b"/usr/lib/../."


def test_not_a_disc() -> None:
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(bytes(40_000)), Limits())
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(bytes(32769) + b"CD001\1" + bytes(4000)), Limits())
    with pytest.raises(Malformed):
        FORMAT.open(BytesSource(bytes(32768) + b"\1CD001\1" + bytes(4000)), Limits())


@pytest.mark.parametrize("name", ["rock-joliet", "joliet", "el-torito"])
def test_damaged_discs(images: dict[str, bytes], name: str) -> None:
    data = images[name]
    reader = opened(data)
    listed(reader)
    directory = next(claim for claim in reader.claims() if claim.what == "directories").offset
    for hot in (range(32768, 32768 + 4000), range(directory, directory + 30_000)):
        for broken in mangled(data, seed=hot.start, count=40, hot=hot):
            survives(FORMAT, broken)
