from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess

import pytest

from assay.unpack import identify
from assay.unpack.base import BytesSource, Entry, Limits, Malformed, NotThisFormat, Problem, Reader, Truncated, Window
from assay.unpack.romfs import FORMAT

from ..support.hostile import mangled, survives

GENROMFS = shutil.which("genromfs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

pytestmark = pytest.mark.skipif(GENROMFS is None, reason="genromfs is not installed")

FILES = {
    b"bin/su": b"\x7fELF" + b"su" * 700,
    b"etc/empty": b"",
    b"etc/noise": random.Random(3).randbytes(30_001),
    b"etc/a-name-that-is-longer-than-sixteen-bytes": b"long",
    b"etc/caf\xe9": b"latin1",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = tmp_path_factory.mktemp("romfs")
    for name, data in FILES.items():
        path = home / "tree" / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        path.chmod(0o644)
    (home / "tree/bin/su").chmod(0o4755)
    os.link(home / "tree/bin/su", home / "tree/bin/ls")
    (home / "tree/etc/link").symlink_to("../../../etc/shadow")
    (home / "tree/none").mkdir()
    # The tool makes devices of empty files with such names.
    (home / "tree/@console,c,5,1").touch()
    (home / "tree/@sda1,b,8,17").touch()
    os.mkfifo(home / "tree/pipe")
    subprocess.run([GENROMFS or "", "-f", home / "image", "-d", home / "tree", "-V", "volume"], check=True)
    return (home / "image").read_bytes()


def opened(data: bytes) -> Reader:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    return reader


def listed(reader: Reader) -> dict[bytes, Entry]:
    found = {}
    for entry in reader.entries():
        assert isinstance(entry, Entry), entry
        found[entry.path] = entry
    return found


def test_everything_is_kept_as_stated(image: bytes) -> None:
    reader = opened(image)
    found = listed(reader)
    plain = ("regular", 0o644, None, None)
    assert {name: (e.type, e.mode, e.link, e.device) for name, e in found.items()} == {
        b"": ("directory", 0o755, None, None),
        b"bin": ("directory", 0o755, None, None),
        b"etc": ("directory", 0o755, None, None),
        b"none": ("directory", 0o755, None, None),
        b"bin/ls": ("regular", 0o755, None, None),
        b"console": ("chardev", 0o600, None, (5, 1)),
        b"sda1": ("blockdev", 0o600, None, (8, 17)),
        b"pipe": ("fifo", 0o644, None, None),
        b"etc/link": ("symlink", 0o777, b"../../../etc/shadow", None),
    } | dict.fromkeys(FILES, plain) | {b"bin/su": ("regular", 0o755, None, None)}
    assert found[b"bin/su"].inode == found[b"bin/ls"].inode
    assert found[b"bin/su"].locator == found[b"bin/ls"].locator
    assert len({e.inode for e in found.values()}) == len(found) - 1
    assert {e.uid for e in found.values()} | {e.gid for e in found.values()} == {0}
    assert reader.detail["label"] == "volume"


def test_contents_need_no_listing(image: bytes) -> None:
    found = listed(opened(image))
    for name, data in FILES.items():
        locator = found[name].locator
        assert locator is not None
        assert b"".join(opened(image).open(locator)) == data
        span = opened(image).span(locator)
        assert span is not None
        assert image[span[0] : sum(span)] == data
    for wrong in ("else", 17, 1 << 40, found[b"etc"].inode or 0):
        with pytest.raises(Malformed):
            list(opened(image).open(wrong))


def test_extent_is_exact_wherever_it_lies(image: bytes) -> None:
    alone = opened(image)
    whole = listed(alone)
    assert sum(claim.length for claim in alone.claims()) == len(image)
    bigger = BytesSource(b"\xff" * 1237 + image + b"\xa5" * 5000)
    reader = FORMAT.open(Window(bigger, 1237, bigger.size - 1237), Limits())
    assert listed(reader) == whole
    assert reader.claims() == alone.claims()
    size = alone.detail["size"]
    assert isinstance(size, int)
    tight = FORMAT.open(BytesSource(image[:size] + b"\xa5" * 5000), Limits())
    assert listed(tight) == whole
    assert sum(claim.length for claim in tight.claims()) == size


def test_a_wrong_checksum_is_told_and_the_entry_kept(image: bytes) -> None:
    noise = listed(opened(image))[b"etc/noise"].locator
    assert isinstance(noise, int)
    data = bytearray(image)
    data[noise + 12] ^= 1
    found = list(opened(bytes(data)).entries())
    assert [item for item in found if isinstance(item, Problem)][-1 if noise > 512 else 0] == Problem(
        "malformed", f"the header at offset {noise} has a wrong checksum", b"etc/noise", 0
    )
    assert len([item for item in found if isinstance(item, Entry)]) == len(listed(opened(image)))


def test_a_cut_image_lists_what_is_there(image: bytes) -> None:
    noise = listed(opened(image))[b"etc/noise"].locator
    assert isinstance(noise, int)
    cut = image[: noise + 10_000]
    reader = opened(cut)
    items = list(reader.entries())
    assert isinstance(items[-1], Problem)
    assert items[-1].reason == "truncated"
    for item in items:
        if isinstance(item, Entry) and isinstance(item.locator, int):
            if item.locator == noise:
                assert reader.span(noise) is None
                with pytest.raises(Truncated):
                    list(reader.open(noise))
            else:
                assert b"".join(reader.open(item.locator)) == FILES[item.path.replace(b"bin/ls", b"bin/su")]
    assert b"etc/noise" in [item.path for item in items if isinstance(item, Entry)]


def header(offset: int, following: int, kind: int, spec: int, size: int, name: bytes) -> bytes:
    padded = name + bytes(16 - len(name) % 16)
    fields = struct.pack(">III", following | kind, spec, size)
    words = struct.unpack(f">{len(padded) // 4 + 3}I", fields + padded)
    return fields + struct.pack(">I", -sum(words) & 0xFFFFFFFF) + padded


def written(*headers: bytes) -> bytes:
    """Return an image of headers that follow each other, written from the format's description."""
    body = bytes(16) + b"".join(headers)
    fields = b"-rom1fs-" + struct.pack(">I", 16 + len(body))
    words = struct.unpack(f">{len(fields + body) // 4}I", fields + body)
    return fields + struct.pack(">I", -sum(words) & 0xFFFFFFFF) + body


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([header(32, 32, 2, 0, 0, b"me")], "come back to offset 32"),
        ([header(32, 64, 2, 0, 0, b"a"), header(64, 32, 2, 0, 0, b"b")], "come back to offset 32"),
        ([header(32, 0, 0, 32, 0, b"link")], "more than 16 hard links"),
        ([header(32, 64, 0, 64, 0, b"x"), header(64, 0, 0, 32, 0, b"y")], "more than 16 hard links"),
        ([header(32, 0, 1, 32, 0, b"dir")], "hard link to a directory|already listed|come back"),
        ([header(32, 64, 1, 0, 0, b"dir"), header(64, 0, 0, 32, 0, b"again")], "hard link to a directory"),
        ([header(32, 4096, 2, 0, 0, b"far")], "a header at offset 4096"),
        ([header(32, 0, 2, 0, 1 << 31, b"long")], "2147483648 bytes"),
        ([header(32, 0, 3, 0, 1 << 20, b"target")], "1048576 bytes"),
        ([header(32, 0, 2, 0, 0, b"a/b")], "has the name"),
    ],
)
def test_what_leads_nowhere_ends(headers: list[bytes], said: str) -> None:
    data = written(*headers)
    found = [item for item in opened(data).entries() if isinstance(item, Problem)]
    assert any(part in item.detail for item in found for part in said.split("|")), found
    survives(FORMAT, data)


def test_text_that_speaks_of_the_magic() -> None:
    for after in (b" is the magic of romfs, as everybody knows. " * 30, bytes(1000), b"\xff" * 1000):
        with pytest.raises(NotThisFormat):
            FORMAT.open(BytesSource(b"-rom1fs-" + after), Limits())


def test_hostile(image: bytes) -> None:
    for hot in (range(32), range(32, 600), range(len(image))):
        for broken in mangled(image, seed=hot.stop, count=80, hot=hot):
            survives(FORMAT, broken)
