from __future__ import annotations

import os
import random
import re
import shutil
import stat
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
    Problem,
    Reader,
    UnpackError,
    Unsupported,
)
from assay.unpack.ext import FORMAT

from ..support.hostile import bounded, mangled, survives

TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
MKFS = shutil.which("mkfs.ext4", path=TOOLS)
DEBUGFS = shutil.which("debugfs", path=TOOLS)

pytestmark = pytest.mark.skipif(MKFS is None or DEBUGFS is None, reason="needs mkfs.ext4 and debugfs")

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
NOISE = random.Random(8).randbytes(700_000)
EPOCH2 = 0x83AA7E80
"""2040-01-01, beyond 32 bits with a sign."""

FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/secret": b"not for everyone",
    b"etc/empty": b"",
    b"etc/inline": b"i" * 120,
    b"usr/noise": NOISE,
    b"usr/hole": b"begin" + bytes(3 << 20) + b"end",
    b"usr/line\nbreak": b"newline",
    b"usr/caf\xe9": b"latin1",
}

LAYOUTS = {
    "ext2": ("-t", "ext2", "-b", "1024"),
    "ext2-rev0": ("-t", "ext2", "-b", "1024", "-r", "0", "-O", "none"),
    "ext3": ("-t", "ext3", "-b", "1024", "-I", "128"),
    "ext4": ("-t", "ext4", "-b", "4096"),
    "ext4-1k": ("-t", "ext4", "-b", "1024", "-O", "^64bit"),
    "inline": ("-t", "ext4", "-b", "1024", "-I", "256", "-O", "inline_data,ea_inode,quota,project,orphan_file"),
    "meta_bg": ("-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg", "-g", "1024"),
    "bigalloc": ("-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"),
    "sparse2": ("-t", "ext4", "-b", "1024", "-O", "sparse_super2,^resize_inode", "-g", "2048"),
    "uninit": ("-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg", "-E", "lazy_itable_init=1"),
}


def debugfs(image: Path, *commands: str) -> str:
    """Run commands on an image and return what they print on standard output."""
    done = subprocess.run(
        [DEBUGFS or "", "-w", "-f", "-", image],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        errors="replace",
    )
    return done.stdout


def mkfs(image: Path, tree: Path, *options: str, size: str = "12M") -> None:
    subprocess.run(["truncate", "-s", size, image], check=True)
    subprocess.run([MKFS or "", "-q", "-F", "-d", tree, *options, image], check=True, capture_output=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        if name == b"usr/hole":
            with path.open("wb") as file:
                file.write(data[:5])
                file.seek(len(data) - 3)
                file.write(data[-3:])
        else:
            path.write_bytes(data)
    (home / "many").mkdir()
    for number in range(120):
        (home / "many" / f"a-file-with-a-rather-long-name-{number:04}").touch()
    (home / "bin/su").chmod(0o4755)
    os.link(home / "bin/su", home / "bin/ls")
    (home / "usr/abs").symlink_to("/etc/shadow")
    (home / "usr/escape").symlink_to("../../../../etc/passwd")
    (home / "usr/loop").symlink_to("loop")
    (home / "usr/long").symlink_to("/" + "x" * 200)
    (home / "tmp").mkdir()
    (home / "tmp").chmod(0o1777)
    (home / "dev").mkdir()
    return home


def dressed(image: Path, folder: Path, attributes: bool = True) -> None:
    """Add to an image what an ordinary user cannot have in a tree."""
    (folder / "capability").write_bytes(CAPABILITY)
    commands = [
        "cd /dev", "mknod console c 5 1", "mknod nvme b 259 300", "mknod pipe p", "cd /",
        "sif dev/console mode 020600", "sif dev/nvme mode 060660", "sif dev/nvme gid 6", "sif dev/pipe mode 010622",
        "sif etc/secret mode 0100000", "sif etc/secret uid 1234", "sif etc/secret gid 70000",
        f"sif etc/empty mtime @0x{EPOCH2:x}",
    ]  # fmt: skip
    if attributes:
        commands += [f"ea_set -f {folder}/capability bin/su security.capability", "ea_set bin/su user.note hello"]
        commands += [f"ea_set etc/inline user.n{number} {'v' * 150}" for number in range(4)]
    debugfs(image, *commands)


@pytest.fixture(scope="module")
def images(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("ext")
    found = {}
    for name, options in LAYOUTS.items():
        image = home / name
        try:
            mkfs(image, tree, *options)
        except subprocess.CalledProcessError:  # an older mkfs without this feature
            continue
        dressed(image, home, attributes=name != "ext2-rev0")
        found[name] = image.read_bytes()
    return found


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    reader = identify(BytesSource(data), limits or Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(data: bytes) -> dict[bytes, Entry]:
    found = {}
    for entry in opened(data).entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def problems(data: bytes) -> list[Problem]:
    return [item for item in opened(data).entries() if isinstance(item, Problem)]


@pytest.fixture(params=LAYOUTS)
def image(request: pytest.FixtureRequest, images: dict[str, bytes]) -> bytes:
    if request.param not in images:
        pytest.skip(f"mkfs.ext4 cannot make {request.param}")
    return images[request.param]


def test_everything_is_kept_as_stated(image: bytes, tree: Path) -> None:
    found = listed(image)
    rich = opened(image).detail["revision"] == 1
    expected: dict[bytes, tuple[object, ...]] = {}
    for path in [tree, *tree.rglob("*")]:
        status = path.lstat()
        kind = {stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}[
            stat.S_IFMT(status.st_mode)
        ]
        expected[os.fsencode(path.relative_to(tree)) if path != tree else b""] = (
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            os.fsencode(path.readlink()) if kind == "symlink" else None,
            status.st_size if kind == "regular" else None,
            None,
        )
    owner = os.getuid(), os.getgid()
    expected[b"etc/secret"] = ("regular", 0, 1234, 70000, None, 16, None)
    # debugfs makes nodes as user 0
    expected[b"dev/console"] = ("chardev", 0o600, 0, 0, None, None, (5, 1))
    expected[b"dev/nvme"] = ("blockdev", 0o660, 0, 6, None, None, (259, 300))
    expected[b"dev/pipe"] = ("fifo", 0o622, 0, 0, None, None, None)
    kept = {name: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.device) for name, e in found.items()}
    assert kept.pop(b"lost+found")[:2] == ("directory", 0o700)
    root = kept.pop(b"")
    assert root[0] == "directory"
    del expected[b""]
    assert kept == expected, owner
    assert found[b"bin/su"].inode == found[b"bin/ls"].inode
    assert found[b"bin/su"].nlink == 2
    if rich:
        assert found[b"bin/ls"].xattrs == {"security.capability": CAPABILITY, "user.note": b"hello"}
        assert found[b"etc/inline"].xattrs == {f"user.n{number}": b"v" * 150 for number in range(4)}
    assert {name for name, entry in found.items() if entry.xattrs} <= {b"bin/su", b"bin/ls", b"etc/inline"}


def test_contents_need_no_listing(image: bytes) -> None:
    found = listed(image)
    for name, data in (FILES | {b"bin/ls": FILES[b"bin/su"]}).items():
        entry = found[name]
        assert entry.locator is not None
        chunks = list(opened(image).open(entry.locator))
        assert b"".join(chunks) == data
        assert all(len(chunk) <= 1 << 20 for chunk in chunks)
        span = opened(image).span(entry.locator)
        assert span is None or image[span[0] : sum(span)] == data


def test_declared_is_what_is_listed(image: bytes) -> None:
    found = listed(image)
    assert opened(image).declared == len({entry.inode for entry in found.values()})
    assert problems(image) == []


def test_all_blocks_in_use_are_explained_and_no_free_one(image: bytes, tmp_path: Path) -> None:
    """Hold the claims against the block bitmaps, as debugfs reads them."""
    path = tmp_path / "image"
    path.write_bytes(image)
    reader = opened(image)
    list(reader.entries())
    size = reader.detail["block_size"]
    assert isinstance(size, int)
    claimed = set()
    for claim in reader.claims():
        claimed.update(range(claim.offset // size, -(-(claim.offset + claim.length) // size)))
    cluster = 16 if "bigalloc" in str(reader.detail["features"]) else 1
    begin = 1 if size == 1024 and cluster == 1 else 0
    blocks = range(begin, len(image) // size // cluster)
    taken = {block // cluster for block in claimed if block >= begin}
    count = re.search(r"Free blocks: +(\d+)", debugfs(path, "stats"))
    assert count is not None
    assert len(blocks) - len(taken) == int(count[1]) // cluster
    if cluster == 1:  # debugfs stops at the first free cluster otherwise
        free = set(map(int, re.findall(r"\d+", debugfs(path, "ffb 100000").partition("found:")[2])))
        assert taken == set(blocks) - free


def test_times_beyond_2038(images: dict[str, bytes]) -> None:
    assert listed(images["ext4"])[b"etc/empty"].mtime == EPOCH2 * 10**9
    assert listed(images["ext3"])[b"etc/empty"].mtime == (EPOCH2 - (1 << 32)) * 10**9  # no room for more bits


def test_nanoseconds(images: dict[str, bytes], tree: Path) -> None:
    """mkfs keeps whole seconds only, so the field is set in place: it follows from the inode's place in its table."""
    data = bytearray(images["ext4"])
    inode = listed(bytes(data))[b"usr/noise"].inode or 0
    (table,) = struct.unpack_from("<I", data, 4096 + 8)
    at = table * 4096 + (inode - 1) * 256
    struct.pack_into("<i", data, at + 16, -1)
    struct.pack_into("<I", data, at + 136, 999_999_999 << 2 | 3)
    assert listed(bytes(data))[b"usr/noise"].mtime == ((3 << 32) - 1) * 10**9 + 999_999_999


def test_header_is_kept(images: dict[str, bytes]) -> None:
    details = {name: opened(data).detail for name, data in images.items()}
    assert {name: (detail["version"], detail["block_size"]) for name, detail in details.items()} == {
        name: (name[:4] if name in ("ext2", "ext3", "ext4", "ext2-rev0") else "ext4", 4096 if name == "ext4" else 1024)
        for name in images
    }
    assert {detail["state"] for detail in details.values()} == {"clean"}
    assert {detail["needs_recovery"] for detail in details.values()} == {False}


def test_a_journal_to_replay_is_named(images: dict[str, bytes]) -> None:
    data = bytearray(images["ext3"])
    data[1024 + 96] |= 4
    assert opened(bytes(data)).detail["needs_recovery"] is True
    assert listed(bytes(data)).keys() == listed(images["ext3"]).keys()


def altered(data: bytes, folder: Path, *commands: str) -> bytes:
    path = folder / "altered"
    path.write_bytes(data)
    debugfs(path, *commands)
    return path.read_bytes()


def test_deleted_files_are_not_listed(images: dict[str, bytes], tmp_path: Path) -> None:
    before = listed(images["ext4"]).keys()
    data = altered(images["ext4"], tmp_path, "rm usr/noise", "rm many/a-file-with-a-rather-long-name-0003")
    assert before - listed(data).keys() == {b"usr/noise", b"many/a-file-with-a-rather-long-name-0003"}
    assert problems(data) == []


def test_inodes_in_use_without_a_name_are_counted(images: dict[str, bytes], tmp_path: Path) -> None:
    data = altered(images["ext4"], tmp_path, "unlink usr/noise", "unlink etc/empty")
    declared = opened(data).declared
    assert problems(data) == [
        Problem("malformed", f"2 of {declared} inodes in use not found in any directory", b"", 2),
    ]


def test_cycles_end(images: dict[str, bytes], tmp_path: Path) -> None:
    data = altered(images["ext4"], tmp_path, "ln usr many/loop", "ln usr usr/self")
    items = list(opened(data).entries())
    inode = next(item.inode for item in items if isinstance(item, Entry) and item.path == b"usr")
    text = f"directory inode {inode} was already listed at another place"
    found = {item.path: item for item in items if isinstance(item, Problem)}
    # Which of the names is met first depends on the order of the directories.
    assert {b"usr/self", b"many/loop/self"} & found.keys()
    assert {b"usr", b"many/loop"} & found.keys()
    assert list(found.values()) == [Problem("malformed", text, path, 0) for path in found]


def test_encrypted_files_are_named(images: dict[str, bytes], tmp_path: Path) -> None:
    data = altered(
        images["ext4"], tmp_path, "sif usr/noise flags 0x80800", "sif usr/long flags 0x80800", "sif tmp flags 0x80800"
    )
    reader = opened(data)
    items = list(reader.entries())
    entry = next(item for item in items if isinstance(item, Entry) and item.path == b"usr/noise")
    assert entry.size == len(NOISE)
    with pytest.raises(Encrypted):
        list(reader.open(entry.locator or 0))
    assert reader.span(entry.locator or 0) is None
    assert {item.path: (item.reason, item.entries) for item in items if isinstance(item, Problem)} == {
        b"usr/long": ("encrypted", 0),
        b"tmp": ("encrypted", 0),
    }


def test_unwritten_blocks_are_zeros(images: dict[str, bytes], tmp_path: Path) -> None:
    data = altered(images["ext4"], tmp_path, "cd etc", "fallocate empty 0 9", "sif empty size 40000")
    entry = listed(data)[b"etc/empty"]
    reader = opened(data)
    assert b"".join(reader.open(entry.locator or 0)) == bytes(40000)
    assert reader.span(entry.locator or 0) is None
    list(reader.entries())
    assert [claim.length for claim in reader.claims() if "not written" in claim.what] == [40960]


def test_deep_extent_trees_and_triple_indirect_blocks(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    path = tree / "swiss"
    expected = bytearray(70 << 20)
    with path.open("wb") as file:
        for number in range(700):
            at = number * 100_000
            file.seek(at)
            file.write(b"%08d" % number)
            expected[at : at + 8] = b"%08d" % number
        file.truncate(len(expected))
    for kind in ("ext2", "ext4"):
        image = tmp_path / kind
        mkfs(image, tree, "-t", kind, "-b", "1024", size="16M")
        data = image.read_bytes()
        entry = listed(data)[b"swiss"]
        assert b"".join(opened(data).open(entry.locator or 0)) == expected
        # a part of the file is not made real to read its beginning
        assert len(next(opened(data).open(entry.locator or 0))) <= 1 << 20
        assert opened(data).span(entry.locator or 0) is None


def test_a_sparse_giant_is_not_made_real(images: dict[str, bytes], tmp_path: Path) -> None:
    data = altered(images["ext4"], tmp_path, f"sif etc/empty size {1 << 43}")
    entry = listed(data)[b"etc/empty"]
    assert entry.size == 1 << 43
    reader = opened(data, Limits(ratio=10, ratio_from=64 << 20))
    with pytest.raises(LimitReached, match="ratio"):
        for chunk in reader.open(entry.locator or 0):
            assert len(chunk) <= 1 << 20


def test_a_cut_image_lists_what_is_there(images: dict[str, bytes]) -> None:
    data = images["ext4"]
    whole = listed(data)
    reader = opened(data)
    list(reader.entries())
    end = max(claim.offset + claim.length for claim in reader.claims())
    cut = data[:end]  # only free blocks are missing
    expected = Problem("truncated", f"superblock declares {len(data)} bytes, the source has {len(cut)}", b"", 0)
    assert problems(cut) == [expected]
    assert {item.path for item in opened(cut).entries() if isinstance(item, Entry)} == whole.keys()
    spans = {name: reader.span(entry.locator) for name, entry in whole.items() if entry.locator is not None}
    last, (offset, _) = max(((name, span) for name, span in spans.items() if span), key=lambda item: item[1])
    short = data[: offset + 1]
    lost = {}
    for name, entry in whole.items():
        if entry.locator is not None:
            try:
                list(opened(short).open(entry.locator))
            except UnpackError as error:
                lost[name] = error.reason
    assert lost[last] == "truncated"
    assert set(lost.values()) == {"truncated"}
    assert FILES.keys() - lost.keys()


def superblock(**fields: int) -> bytes:
    """Return the head of a volume with a plausible superblock, some fields (by offset) overwritten."""
    data = bytearray(4096)
    struct.pack_into("<IIIII", data, 1024, 16, 64, 0, 0, 0)
    struct.pack_into("<IIIIII", data, 1024 + 20, 1, 0, 0, 8192, 8192, 16)
    struct.pack_into("<HH", data, 1024 + 56, 0xEF53, 1)
    struct.pack_into("<I", data, 1024 + 76, 1)
    struct.pack_into("<IH", data, 1024 + 84, 11, 128)
    for name, value in fields.items():
        struct.pack_into("<I", data, 1024 + int(name[1:]), value)
    return bytes(data)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, None),
        ({"_24": 31}, NotThisFormat),  # block size
        ({"_40": 0}, NotThisFormat),  # inodes in a group
        ({"_32": 0}, NotThisFormat),  # blocks in a group
        ({"_76": 2}, NotThisFormat),  # revision
        ({"_88": 100}, Malformed),  # inode size
        ({"_88": 2048}, Malformed),
        ({"_40": 1 << 20}, Malformed),
        ({"_20": 64}, Malformed),  # first block
        ({"_96": 0x8}, Unsupported),  # a journal device
        ({"_96": 0x80000}, Unsupported),  # a feature to come
    ],
)
def test_impossible_superblocks(fields: dict[str, int], error: type[Exception] | None) -> None:
    if error is None:
        assert FORMAT.open(BytesSource(superblock()), Limits()).declared is not None
    else:
        with pytest.raises(error):
            FORMAT.open(BytesSource(superblock(**fields)), Limits())


@pytest.mark.parametrize("offset", [0, 4, 20, 24, 32, 40, 76, 84, 88, 96, 100, 206, 254, 260, 336])
@pytest.mark.parametrize("value", [0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x10000])
def test_extreme_superblock_fields(images: dict[str, bytes], offset: int, value: int) -> None:
    data = bytearray(images["ext4-1k"])
    struct.pack_into("<I", data, 1024 + offset, value)
    survives(FORMAT, bytes(data))


def test_a_map_that_names_itself_ends(images: dict[str, bytes], tmp_path: Path) -> None:
    data = bytearray(images["ext2"])
    reader = opened(bytes(data))
    entry = next(e for e in reader.entries() if isinstance(e, Entry) and e.path == b"usr/noise")
    (table,) = struct.unpack_from("<I", data, 2048 + 8)
    per_group = int.from_bytes(data[1024 + 40 : 1024 + 44], "little")
    group, index = divmod((entry.inode or 0) - 1, per_group)
    (table,) = struct.unpack_from("<I", data, 2048 + 32 * group + 8)
    size = int.from_bytes(data[1024 + 88 : 1024 + 90], "little")
    at = table * 1024 + index * size
    (double,) = struct.unpack_from("<I", data, at + 40 + 13 * 4)
    data[double * 1024 : (double + 1) * 1024] = struct.pack("<I", double) * 256
    struct.pack_into("<I", data, at + 40 + 14 * 4, double)
    with pytest.raises(Malformed, match="more than one place"):
        list(opened(bytes(data)).open(entry.locator or 0))
    bounded(lambda: survives(FORMAT, bytes(data)), 2.0)


@pytest.mark.parametrize("name", ["ext2", "ext4-1k", "inline", "meta_bg"])
def test_damaged_images(images: dict[str, bytes], name: str) -> None:
    if name not in images:
        pytest.skip(f"mkfs.ext4 cannot make {name}")
    data = images[name]
    reader = opened(data)
    list(reader.entries())
    end = max(claim.offset + claim.length for claim in reader.claims())
    small = data[:end]
    tables = next(claim for claim in reader.claims() if claim.what == "inode table")
    inodes = range(tables.offset, tables.offset + 200 * 256)
    directories = range(tables.offset + tables.length, min(end, tables.offset + tables.length + 40_000))
    for hot in (range(1024, 2048 + 256), inodes, directories):
        for broken in mangled(small, seed=hot.start, count=24, hot=hot):
            survives(FORMAT, broken)
