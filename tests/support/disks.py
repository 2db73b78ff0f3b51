"""Virtual disks made by qemu-img, and what every reader of one has to do with them."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from assay.unpack.base import BytesSource, Entry, Format, Limits, Problem, Reader, Window

QEMU_IMG = shutil.which("qemu-img")
MIB = 1 << 20


def guest(size: int = 8 * MIB, seed: int = 1) -> bytes:
    """Return a disk with noise, text, zeros and single sectors, so that formats have something to leave out."""
    chance = random.Random(seed)
    data = bytearray(size)
    data[: MIB // 2] = chance.randbytes(MIB // 2)
    data[MIB : 2 * MIB] = b"compressible text, again and again. " * (MIB // 36) + bytes(MIB % 36)
    for _ in range(40):
        at = chance.randrange(2 * MIB, size - 512) // 512 * 512
        data[at : at + 512] = chance.randbytes(512)
    data[-512:] = b"\xaa" * 512
    return bytes(data)


def qemu(*arguments: str | Path) -> None:
    """Run qemu-img."""
    subprocess.run([QEMU_IMG or "qemu-img", *arguments], check=True, capture_output=True)


def made(folder: Path, data: bytes, kind: str, *options: str) -> bytes:
    """Return an image of a disk in a format of qemu-img."""
    raw, image = folder / "raw", folder / f"image.{kind}"
    raw.write_bytes(data)
    qemu("convert", "-f", "raw", "-O", kind, *options, raw, image)
    return image.read_bytes()


def raw_of(folder: Path, image: Path, kind: str, *options: str) -> bytes:
    """Return the disk of an image, as qemu-img reads it."""
    raw = folder / "back"
    qemu("convert", "-f", kind, "-O", "raw", *options, image, raw)
    return raw.read_bytes()


def contents(reader: Reader, path: bytes = b"disk") -> bytes:
    """Return an entry's bytes, whose chunks are not too long."""
    entry = next(item for item in reader.entries() if isinstance(item, Entry) and item.path == path)
    assert entry.locator is not None
    chunks = list(reader.open(entry.locator))
    assert all(len(chunk) <= MIB for chunk in chunks)
    return b"".join(chunks)


def holds(format: Format, image: bytes, expected: list[Entry], disks: dict[bytes, bytes], extent: int) -> None:
    """Check listing, contents, spans and claims of an image: alone, and inside a bigger file at an odd offset.

    Args:
        format: the format that has to claim it.
        image: the image.
        expected: its entries.
        disks: the bytes of each.
        extent: bytes of the image that the format has to claim, from the first to the last.
    """
    before = b"\x5a" * 1237
    around = before + image + b"other bytes" * 5_000
    for source in (BytesSource(image), Window(BytesSource(around), len(before), len(around))):
        reader = format.open(source, Limits())
        assert list(reader.entries()) == expected
        claims = reader.claims()
        assert min(claim.offset for claim in claims) == 0
        assert max(claim.offset + claim.length for claim in claims) == extent
        for entry in expected:
            assert entry.locator is not None
            fresh = format.open(source, Limits())
            assert b"".join(fresh.open(entry.locator)) == disks[entry.path]
            span = fresh.span(entry.locator)
            if span is not None:
                assert source.pread(*span) == disks[entry.path]


def problems(reader: Reader) -> list[Problem]:
    """Return what a listing could not list."""
    return [item for item in reader.entries() if isinstance(item, Problem)]
