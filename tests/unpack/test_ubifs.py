from __future__ import annotations

import os
import random
import re
import shutil
import stat
import struct
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Encrypted,
    Entry,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    UnpackError,
    Unsupported,
    Window,
)
from assay.unpack.ubifs import FORMAT
from assay.unpack.ubifs_structures import COMPRESSIONS

from ..support.hostile import bounded, mangled, survives

MKFS = shutil.which("mkfs.ubifs", path="/usr/sbin:/sbin:/usr/bin:/bin")
pytestmark = pytest.mark.skipif(MKFS is None, reason="mkfs.ubifs is not installed")

LEB, PAGE = 15872, 512
NOISE = random.Random(4).randbytes(50_001)
FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 9000,
    b"etc/empty": b"",
    b"etc/short": b"short",
    b"etc/caf\xe9": b"latin1",
    b"etc/line\nbreak": b"newline",
    b"usr/noise": NOISE,
    b"usr/hole": b"begin" + bytes(300_000) + b"end",
    b"usr/even": b"even " * 819 + b"x" + b"more" * 1024,
}
DEVICES = """/dev d 750 12 13 - - - - -
/dev/console c 600 0 5 5 1 0 0 -
/dev/nvme b 660 0 6 259 300 0 0 -
/dev/pipe p 622 0 0 - - - - -
/bin/su f 4755 1234 70000 - - - - -
/tmp d 1777 0 0 - - - - -
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    with (home / "usr/hole").open("wb") as file:
        file.write(b"begin")
        file.seek(300_005)
        file.write(b"end")
    (home / "many").mkdir()
    for number in range(150):
        (home / "many" / f"a-file-with-a-rather-long-name-{number:04}").touch()
    os.link(home / "bin/su", home / "bin/ls")
    (home / "usr/abs").symlink_to("/etc/shadow")
    (home / "usr/escape").symlink_to("../../../../etc/passwd")
    (home / "usr/long").symlink_to("/" + "x" * 900)
    (home / "tmp").mkdir()
    for path in [*home.rglob("*"), home]:
        os.utime(path, ns=(1_000_000_000, 77_000_000_000), follow_symlinks=False)
    return home


def mkfs(tree: Path, folder: Path, *options: str) -> bytes:
    (folder / "devices").write_text(DEVICES)
    layout = [
        "-m",
        str(PAGE),
        "-e",
        str(LEB),
        "-c",
        "400",
        "-D",
        folder / "devices",
        "-r",
        tree,
        "-o",
        folder / "image",
    ]
    subprocess.run([MKFS or "", *layout, *options], check=True, capture_output=True)  # type: ignore[list-item]
    return (folder / "image").read_bytes()


@pytest.fixture(scope="module")
def image(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return mkfs(tree, tmp_path_factory.mktemp("image"))


def opened(data: bytes, limits: Limits | None = None) -> Reader:
    reader = identify(BytesSource(data), limits or Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(data: bytes) -> dict[bytes, Entry]:
    return {item.path: item for item in opened(data).entries() if isinstance(item, Entry)}


def problems(data: bytes) -> list[Problem]:
    return [item for item in opened(data).entries() if isinstance(item, Problem)]


def body(data: bytes, entry: Entry) -> bytes:
    assert entry.locator is not None
    return b"".join(opened(data).open(entry.locator))


def crc(data: bytes) -> int:
    return zlib.crc32(data) ^ 0xFFFFFFFF


# mkfs.ubifs writes no journal, and as Debian builds it no extended attributes: the functions from here write those.


def node(kind: int, payload: bytes, sequence: int, group: int = 0) -> bytes:
    """Return a node, padded to a multiple of 8."""
    raw = struct.pack("<QIBB2x", sequence, 24 + len(payload), kind, group) + payload
    raw = b"\x31\x18\x10\x06" + struct.pack("<I", crc(raw)) + raw
    return raw + b"\0" * (-len(raw) % 8)


def nodes(data: bytes, kind: int) -> list[tuple[int, bytes]]:
    """Return (offset, node) of all nodes of a type."""
    found = []
    for match in re.finditer(rb"\x31\x18\x10\x06", data):
        at = match.start()
        length, type = struct.unpack_from("<IB", data, at + 16)
        if at % 8 == 0 and type == kind:
            found.append((at, data[at : at + length]))
    return found


def inode_number(data: bytes, path: bytes) -> int:
    number = listed(data)[path].inode
    assert number is not None
    return number


def journalled(image: bytes, *written: bytes, first: int = 0) -> bytes:
    """Return the image with nodes in its journal: a reference in the log, and the nodes in an eraseblock at the end."""
    data = bytearray(image)
    (leb_count,) = struct.unpack_from("<I", data, 40)
    superblock = bytearray(data[:4096])
    struct.pack_into("<I", superblock, 40, leb_count + 1)
    struct.pack_into("<I", superblock, 4, crc(bytes(superblock[8:])))
    data[:4096] = superblock
    data[leb_count * LEB :] = (b"\xff" * first + b"".join(written)).ljust(LEB, b"\xff")
    reference = node(8, struct.pack("<III28x", leb_count, first, 1), 1 << 40)
    data[3 * LEB + PAGE : 3 * LEB + PAGE + 64] = reference
    return bytes(data)


def key(number: int, kind: int, rest: int = 0) -> bytes:
    return struct.pack("<II8x", number, kind << 29 | rest)


def inode(
    number: int,
    sequence: int,
    *,
    size: int = 0,
    nlink: int = 1,
    mode: int = 0o100644,
    data: bytes = b"",
    flags: int = 0,
) -> bytes:
    fields = struct.pack(
        "<QQqqqIIIIIIIIIII4xIH26x", 0, size, 1, 2, 3, 4, 5, 6, nlink, 8, 9, mode, flags, len(data), 0, 0, 0, 0
    )
    return node(0, key(number, 0) + fields + data, sequence, 1)


def entry(parent: int, name: bytes, number: int, sequence: int, *, kind: int = 2, hash: int = 5) -> bytes:
    fields = struct.pack("<QxBHI", number, 0, len(name), 0)
    return node(kind, key(parent, kind, hash) + fields + name + b"\0", sequence, 1)


def data_node(number: int, at: int, content: bytes, sequence: int) -> bytes:
    return node(1, key(number, 1, at) + struct.pack("<IHH", len(content), 0, 0) + content, sequence)


@pytest.mark.parametrize(
    "options", [("-x", "lzo"), ("-x", "zlib"), ("-x", "zstd"), ("-x", "none"), ("-k", "test", "-f", "16")]
)
def test_everything_is_kept_as_stated(options: tuple[str, ...], tree: Path, tmp_path: Path) -> None:
    data = mkfs(tree, tmp_path, *options)
    assert problems(data) == []
    found = listed(data)
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
    size = len(FILES[b"bin/su"])
    expected[b"bin/su"] = expected[b"bin/ls"] = ("regular", 0o4755, 1234, 70000, None, size, None)
    expected[b"tmp"] = ("directory", 0o1777, 0, 0, None, None, None)
    expected[b"dev"] = ("directory", 0o750, 12, 13, None, None, None)
    expected[b"dev/console"] = ("chardev", 0o600, 0, 5, None, None, (5, 1))
    expected[b"dev/nvme"] = ("blockdev", 0o660, 0, 6, None, None, (259, 300))
    expected[b"dev/pipe"] = ("fifo", 0o622, 0, 0, None, None, None)
    kept = {path: (e.type, e.mode, e.uid, e.gid, e.link, e.size, e.device) for path, e in found.items()}
    assert kept == expected
    assert found[b"bin/su"].locator == found[b"bin/ls"].locator
    assert (found[b"bin/su"].nlink, found[b"bin/su"].mtime) == (2, 77 * 10**9)
    for name, content in FILES.items():
        assert body(data, found[name]) == content
    reader = opened(data)
    assert reader.detail["compression"] == options[1] if options[0] == "-x" else "lzo"
    assert sum(claim.length for claim in reader.claims()) == len(data)
    used = {struct.unpack_from("<H", raw, 44)[0] for _, raw in nodes(data, 1)}
    assert COMPRESSIONS.index(options[1] if options[0] == "-x" else "lzo") in used


def test_inside_something_bigger_it_claims_its_own_extent(image: bytes) -> None:
    for after in (bytes(50_000), NOISE, b"\xff" * 50_000, image):
        whole = b"\x5a" * 333 + image + after
        reader = FORMAT.open(Window(BytesSource(whole), 333, len(whole)), Limits())
        assert list(reader.entries()) == list(opened(image).entries())
        claims = reader.claims()
        assert claims == opened(image).claims()
        assert max(claim.offset + claim.length for claim in claims) == len(image)


def test_encrypted_names_and_files_are_named(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(64)))
    data = mkfs(tree, tmp_path, "-K", str(tmp_path / "key"), "-b", "0011223344556677", "-C", "AES-256-XTS")
    root, problem = list(opened(data).entries())[:2]
    assert isinstance(root, Entry)
    assert list(root.xattrs) == ["c"]
    assert problem == Problem("encrypted", "the names in this directory are encrypted", b"", 0)
    found = [item for item in listed(data).values() if item.type == "regular"]
    assert len(found) == len(FILES) + 151
    assert {item.size for item in found} >= {len(content) for content in FILES.values()}
    for item in found:
        if item.nlink == 1:  # mkfs.ubifs does not encrypt what has two names
            with pytest.raises(Encrypted):
                body(data, item)
    assert sum(problem.detail == "the target is encrypted" for problem in problems(data)) == 3
    assert opened(data).detail["flags"] == "double_hash encryption"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_authenticated(tree: Path, tmp_path: Path) -> None:
    pair = ["-keyout", tmp_path / "key", "-out", tmp_path / "cert", "-subj", "/CN=test", "-days", "9"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *map(str, pair)], check=True, capture_output=True
    )
    options = ["--hash-algo", "sha512", "--auth-key", str(tmp_path / "key"), "--auth-cert", str(tmp_path / "cert")]
    data = mkfs(tree, tmp_path, *options)
    assert problems(data) == []
    assert {path: body(data, listed(data)[path]) for path in FILES} == FILES
    detail = opened(data).detail
    assert (detail["hash"], detail["flags"]) == ("sha512", "authentication")
    assert isinstance(detail["signature_bytes"], int)
    assert detail["signature_bytes"] > 256


def test_the_journal_is_applied(image: bytes) -> None:
    found = listed(image)
    etc, su, noise = (inode_number(image, path) for path in (b"etc", b"bin/su", b"usr/noise"))
    short, empty, bin = (inode_number(image, path) for path in (b"etc/short", b"etc/empty", b"bin"))
    removed = {name: raw for _, raw in nodes(image, 2) for name in [raw[56:-1]]}
    (hash,) = struct.unpack_from("<I", removed[b"short"], 28)
    (collides,) = struct.unpack_from("<I", removed[b"empty"], 28)
    data = journalled(
        image,
        # A new file with a hole and an extended attribute, in the last group; out of order, which numbers put right.
        data_node(999, 2, b"third", 1003),
        data_node(999, 0, b"first", 1002),
        inode(999, 1001, size=8197),
        entry(etc, b"new", 999, 1000),
        inode(998, 1004, data=b"value", flags=0x20),
        entry(999, b"user.x", 998, 1005, kind=3),
        inode(997, 1006, data=bytes(range(256)) * 16, flags=0x20),
        entry(999, b"user.\xff", 997, 1007, kind=3),
        # Removed: a name, its inode, and what is its own.
        entry(etc, b"short", 0, 1010, hash=hash & 0x1FFFFFFF),
        inode(short, 1011, nlink=0),
        # A name whose hash is that of another one.
        entry(etc, b"alias", su, 1020, hash=collides & 0x1FFFFFFF),
        # Cut to 5000 bytes: the second block is written again, the rest goes.
        node(4, struct.pack("<I12xQQ", noise, 50_001, 5000), 1030),
        inode(noise, 1031, size=5000),
        data_node(noise, 1, NOISE[4096:5000], 1029),
        # Deleted while open and then linked again.
        inode(empty, 1040, nlink=0),
        inode(empty, 1041, nlink=1, mode=0o100600),
        node(5, struct.pack("<I", 4), 0),
    )
    assert problems(data) == []
    after = listed(data)
    assert set(after) == set(found) - {b"etc/short"} | {b"etc/new", b"etc/alias"}
    assert body(data, after[b"etc/new"]) == b"first".ljust(8192, b"\0") + b"third"
    assert after[b"etc/new"].xattrs == {"user.x": b"value", "user.\\xff": bytes(range(256)) * 16}
    assert (after[b"etc/new"].mtime, after[b"etc/new"].uid, after[b"etc/new"].gid) == (3 * 10**9 + 6, 8, 9)
    assert body(data, after[b"usr/noise"]) == NOISE[:5000]
    assert after[b"etc/empty"].mode == 0o600
    assert after[b"etc/alias"].locator == after[b"bin/su"].locator
    assert bin == after[b"bin"].inode
    assert opened(data).detail["journal_nodes"] == 16
    obsolete = [claim for claim in opened(data).claims() if claim.what == "obsolete nodes"]
    assert obsolete
    assert sum(claim.length for claim in opened(data).claims()) == len(data)


def test_a_group_that_was_not_written_to_its_end_never_was(image: bytes) -> None:
    etc = inode_number(image, b"etc")
    data = journalled(image, entry(etc, b"new", 999, 1000), inode(999, 1001))
    assert set(listed(data)) == set(listed(image))
    last = inode(999, 1001)
    raw = bytearray(last)
    raw[21] = 2
    struct.pack_into("<I", raw, 4, crc(bytes(raw[8:])))
    assert set(listed(journalled(image, entry(etc, b"new", 999, 1000), bytes(raw)))) == set(listed(image)) | {
        b"etc/new"
    }


def test_a_log_of_another_commit_says_so(image: bytes) -> None:
    data = bytearray(image)
    data[3 * LEB : 3 * LEB + 32] = node(10, struct.pack("<Q", 77), 1 << 30)
    (problem,) = problems(bytes(data))
    assert problem.detail == (
        "the log: it is of commit 77, the master node is of 0; what was written after the last commit is missing"
    )
    assert set(listed(bytes(data))) == set(listed(image))


@pytest.mark.parametrize("lost", ["root", "leaf", "all", "master"])
def test_lost_parts_of_the_index_are_made_good_by_a_search(image: bytes, lost: str) -> None:
    data = bytearray(image)
    index = nodes(image, 9)
    for at, _ in {"root": index[-1:], "leaf": index[:1], "all": index, "master": nodes(image, 7)}[lost]:
        data[at + 30] ^= 0x40
    (problem,) = problems(bytes(data))
    assert re.search("the newest nodes found of (its|all) keys stand in", problem.detail)
    kept = listed(bytes(data))
    assert kept == listed(image)
    assert {path: body(bytes(data), kept[path]) for path in FILES} == FILES


def test_a_broken_node_costs_what_it_holds(image: bytes) -> None:
    number = inode_number(image, b"usr/noise")
    at = next(at for at, raw in nodes(image, 1) if raw[24:32] == key(number, 1, 5)[:8])
    data = bytearray(image)
    data[at + 100] ^= 1
    out = []
    with pytest.raises(Malformed, match="block 5: the CRC-32 of the node differs"):
        for chunk in opened(bytes(data)).open(number):
            out.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert b"".join(out) == NOISE[: 5 * 4096]
    data = bytearray(image)
    at = next(at for at, raw in nodes(image, 0) if raw[24:32] == key(number, 0)[:8])
    data[at + 60] ^= 1
    (problem, _) = found = problems(bytes(data))
    assert (problem.path, problem.entries) == (b"usr/noise", 1)
    assert found[1].detail == "1 inodes not found in any directory"
    assert set(listed(bytes(data))) == set(listed(image)) - {b"usr/noise"}


def test_cut_short_yields_what_is_whole(image: bytes) -> None:
    whole = listed(image)
    for size in range(4 * LEB, len(image), 7 * LEB + 1234):
        cut = image[:size]
        try:
            found = listed(cut)
        except UnpackError:
            continue
        assert any(problem.reason in ("truncated", "malformed") for problem in problems(cut)) or found == whole
        for path, content in FILES.items():
            if path in found:
                with suppress(UnpackError):
                    assert body(cut, found[path]) == content
    # A volume of UBI ends with the last eraseblock that was written: that is not cut short.
    (leb_count,) = struct.unpack_from("<I", image, 40)
    grown = bytearray(image[:4096])
    struct.pack_into("<I", grown, 40, leb_count * 2)
    struct.pack_into("<I", grown, 4, crc(bytes(grown[8:])))
    assert problems(bytes(grown) + image[4096:]) == []


def test_what_is_not_read_says_so(image: bytes) -> None:
    def with_field(at: int, value: int) -> bytes:
        data = bytearray(image)
        struct.pack_into("<I", data, at, value)
        struct.pack_into("<I", data, 4, crc(bytes(data[8:4096])))
        return bytes(data)

    for at, value in ((36, 100), (36, 1 << 30), (40, 2), (56, 1 << 31), (32, 7)):
        with pytest.raises(Malformed):
            FORMAT.open(BytesSource(with_field(at, value)), Limits())
    with pytest.raises(Unsupported, match="to be read as 1"):
        FORMAT.open(BytesSource(with_field(124, 1)), Limits())
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(image[:3000]), Limits())
    with pytest.raises(NotThisFormat):
        FORMAT.open(BytesSource(image[3 * LEB :]), Limits())
    for locator in (None, "x", [0], 1, -1, 1 << 40, 99999):
        with pytest.raises(Malformed):
            list(opened(image).open(locator))  # type: ignore[arg-type]


def small(tree: Path, folder: Path) -> bytes:
    little = folder / "little"
    little.mkdir()
    (little / "a").write_bytes(b"a" * 9000)
    (little / "b").symlink_to("a")
    (folder / "devices").write_text("/c c 600 0 5 5 1 0 0 -\n")
    layout = ["-m", "512", "-e", str(LEB), "-c", "30", "-D", folder / "devices", "-r", little]
    subprocess.run([MKFS or "", *layout, "-o", folder / "image"], check=True, capture_output=True)  # type: ignore[list-item]
    return (folder / "image").read_bytes()


def test_hostile(tree: Path, tmp_path: Path) -> None:
    data = small(tree, tmp_path)
    for broken in mangled(data, count=150):
        survives(FORMAT, broken)
    places = [at for kind in range(12) for at, _ in nodes(data, kind)]
    chance = random.Random(7)
    for _ in range(500):
        fuzzed = bytearray(data)
        for at in chance.sample(places, 4):  # with right sums, so that the damage is believed
            (length,) = struct.unpack_from("<I", fuzzed, at + 16)
            spot = at + chance.randrange(24, length)
            fuzzed[spot] = chance.choice((0, 1, 255, chance.randrange(256)))
            struct.pack_into("<I", fuzzed, at + 4, crc(bytes(fuzzed[at + 8 : at + length])))
        survives(FORMAT, bytes(fuzzed))


def test_loops_in_index_and_tree_end(tree: Path, tmp_path: Path) -> None:
    data = bytearray(small(tree, tmp_path))
    # An index whose root names itself eight times.
    at, _ = nodes(bytes(data), 9)[-1]
    leb, offset = divmod(at, LEB)
    branch = struct.pack("<IIIII", leb, offset, 28 + 160, 1, 0)
    data[at : at + 192] = node(9, struct.pack("<HH", 8, 3) + branch * 8, 50)
    for place, raw in nodes(bytes(data), 7):
        root = bytearray(raw)
        struct.pack_into("<III", root, 48, leb, offset, 188)
        struct.pack_into("<I", root, 4, crc(bytes(root[8:])))
        data[place : place + 512] = root
    bounded(lambda: survives(FORMAT, bytes(data)), 2)
    assert (
        "more than one place" in problems(bytes(data))[0].detail
        or "branches at level" in problems(bytes(data))[0].detail
    )
    # A directory in itself.
    image = small_loop(tree, tmp_path)
    assert [item.detail for item in problems(image)] == ["directory inode 1 was already listed at another place"]


def small_loop(tree: Path, folder: Path) -> bytes:
    shutil.rmtree(folder / "little")
    raw = bytearray(entry(1, b"self", 1, 1000))
    raw[21] = 0
    struct.pack_into("<I", raw, 4, crc(bytes(raw[8 : 24 + 16 + 16 + 5])))
    return journalled(small(tree, folder), bytes(raw))
