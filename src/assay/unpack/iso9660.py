"""ISO 9660, the file system of CDs, DVDs and of most images for installation and recovery, with its extensions.

A disc may tell its files in up to three ways: in the names of ISO 9660, with Rock Ridge (names and rights of Unix), and
in a second tree with Joliet's names. One is listed: Rock Ridge if it is there, else Joliet. A file's locator is the
place and size of each of its parts. Images from which a machine starts (El Torito) are listed besides, in a directory
`[boot]`.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .base import (
    Claim,
    Entry,
    EntryType,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    UnpackError,
    Unsupported,
    guarded,
)
from .dos import CREATED
from .fat_structures import parse_boot
from .iso9660_structures import (
    ASSOCIATED,
    DIRECTORY,
    FLOPPIES,
    MORE,
    PLATFORMS,
    SECTOR,
    BootImage,
    Descriptor,
    Record,
    RockRidge,
    boot_catalogue,
    descriptor,
    long_time,
    record,
    rock_ridge,
    short_time,
    susp,
)
from .tree import walk

TYPES: dict[int, EntryType] = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
DESCRIPTORS = 64
"""Volume descriptors read."""
PARTS = 4096
"""Most parts of one file."""
ZISOFS = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
_VERSION = re.compile(rb"\.?;1$|\.$")
FIELDS = {
    "system": (8, 40), "volume": (40, 72), "volume_set": (190, 318), "publisher": (318, 446), "preparer": (446, 574),
    "application": (574, 702),
}  # fmt: skip
"""Texts of the volume descriptor that are kept as evidence (section 8.4)."""


class Found(NamedTuple):
    """What a directory says of a file, between its name and its description."""

    own: Record
    more: tuple[Record, ...] = ()
    """The file's other parts."""
    rock: RockRidge = RockRidge()
    error: UnpackError | None = None


class IsoReader(Reader):
    """An opened disc."""

    def __init__(self, source: Source, limits: Limits, descriptors: list[bytes], volumes: list[Descriptor]) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.descriptors = descriptors
        self.volumes = volumes
        self.main = volumes[0]
        self.skip = self._rock_ridge()
        joliet = next((volume for volume in volumes if volume.joliet), None)
        if self.skip is None and joliet:
            self.main = joliet
        self.block = self.main.block
        primary = volumes[0]
        self.detail = {
            name: primary.raw[begin:end].decode("ascii", "backslashreplace").rstrip(" \0")
            for name, (begin, end) in FIELDS.items()
        }
        self.detail |= {
            "listed": "Joliet" if self.main.joliet else "ISO 9660" if self.skip is None else "Rock Ridge",
            "rock_ridge": self.skip is not None,
            "joliet": joliet is not None,
            "block_bytes": self.block,
            "blocks": primary.blocks,
            "created": long_time(primary.raw[813:830]),
            "modified": long_time(primary.raw[830:847]),
        }
        self._catalogue = 0
        self.boot = self._boot()
        self._pending: Found | None = None
        self._extents: list[tuple[int, int]] = []
        self._sizes: dict[int, int] = {}
        self._directories: dict[int, int] = {}
        self._boot_sizes: dict[int, int] = {}
        self._top: set[bytes] = set()
        self._room = 0

    def _rock_ridge(self) -> int | None:
        """Return the bytes to skip in system use (SUSP section 5.3), or None if there is no Rock Ridge."""
        primary = self.volumes[0]
        own = record(self.source.pread(primary.root.block * primary.block, 256), 0)
        use = own.system_use if own else b""
        for at in (0, 14):  # with XA, its own 14 bytes come first
            if use[at : at + 2] == b"SP" and use[at + 4 : at + 6] == b"\xbe\xef" and len(use) >= at + 7:
                return use[at + 6]
        return None

    def _boot(self) -> list[BootImage]:
        for raw in self.descriptors:
            if raw[0] == 0 and raw[7:39].rstrip(b"\0") == b"EL TORITO SPECIFICATION":
                self._catalogue = int.from_bytes(raw[71:75], "little")
                found = boot_catalogue(self.source.pread(self._catalogue * SECTOR, SECTOR))
                self.detail["boot_images"] = None if found is None else len(found)
                return found or []
        return []

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List the tree in preorder, directories in their stored order, the root first with an empty path."""
        root = self.main.root
        self._extents, self._sizes, self._directories = [], {}, {root.block: root.size}
        self._boot_sizes, self._top, self._room = {image.block: 0 for image in self.boot}, set(), self.source.size
        own = record(self.source.pread(root.block * self.block, 256), 0) or root
        self._pending = self._found(own, ())
        yield from walk(root.block, self._describe, self._children, self.limits)
        end = self.volumes[0].blocks * self.block
        if end > self.source.size:
            text = f"volume descriptor declares {end} bytes, the source has {self.source.size}"
            yield Problem("truncated", text, b"", 0)
        if self._catalogue and self.detail.get("boot_images") is None:
            yield Problem("malformed", f"no boot catalogue at block {self._catalogue}", b"", 0)
        yield from self._boot_entries()

    def _boot_entries(self) -> Iterator[Entry]:
        name, number = b"[boot]", 1
        while name in self._top:
            number += 1
            name = b"[boot %d]" % number
        for number, image in enumerate(self.boot, 1):
            size = self._boot_sizes.get(image.block) or self._boot_size(image)
            platform = PLATFORMS.get(image.platform, f"platform-{image.platform:#04x}")
            path = name + b"/%d-%s.img" % (number, platform.encode())
            xattrs = {
                "eltorito.bootable": b"yes" if image.bootable else b"no",
                "eltorito.media": b"%d" % image.media,
                "eltorito.sectors": b"%d" % image.sectors,
            }
            parts: Locator = [image.block * SECTOR, size]
            self._extents.append((image.block * SECTOR, size))
            yield Entry(path, "regular", parts, size, xattrs=xattrs)

    def _boot_size(self, image: BootImage) -> int:
        """Return the bytes of an image that no file is: by its medium, its own file system, or what is loaded of it."""
        start = image.block * SECTOR
        loaded = FLOPPIES.get(image.media, image.sectors * 512)
        volume = parse_boot(self.source.pread(start, 512))
        if volume and start + volume.end <= self.source.size:
            return max(loaded, volume.end)
        return loaded

    def _describe(self, node: int, path: bytes) -> tuple[Entry, Problem | None]:
        found, self._pending = self._pending, None
        if found is None:
            raise Malformed(f"no record for block {node}")
        own, rock = found.own, found.rock
        if rock.child is not None:
            child = record(self.source.exactly(node * self.block, 256), 0)
            if child is None or not child.flags & DIRECTORY or child.block != node:
                raise Malformed(f"no directory at block {node}, to which it was moved")
            own, rock = child, self._rock(child)
        kind: EntryType = "directory" if own.flags & DIRECTORY else "regular"
        if rock.mode is not None and kind == "regular" and not stat.S_ISDIR(rock.mode):
            kind = TYPES.get(stat.S_IFMT(rock.mode), kind)
        entry = Entry(
            path,
            kind,
            mode=None if rock.mode is None else stat.S_IMODE(rock.mode),
            uid=rock.uid,
            gid=rock.gid,
            mtime=short_time(own.time) if rock.mtime is None else rock.mtime,
            atime=rock.atime,
            ctime=rock.ctime,
            inode=rock.inode,
            nlink=rock.nlink,
        )
        if rock.created is not None:
            entry.xattrs = {CREATED: b"%d" % rock.created}
        problem = Problem(found.error.reason, str(found.error), path, 0) if found.error else None
        if own.flags & ASSOCIATED:
            entry.xattrs = entry.xattrs | {"iso9660.associated": b"yes"}
        if rock.unknown:
            names = b" ".join(rock.unknown).decode("ascii", "backslashreplace")
            problem = Problem("unsupported", f"system use entries {names}", path, 0)
        if kind == "directory":
            if own.block in self._directories and path:
                return entry, problem  # walk sees that it was listed
            self._directories[own.block] = own.size
        elif kind == "regular":
            entry.locator, entry.size = self._place(found)
        elif kind == "symlink":
            entry.link = rock.link
        elif kind in ("chardev", "blockdev"):
            entry.device = rock.device
        return entry, problem

    def _rock(self, own: Record) -> RockRidge:
        return rock_ridge(susp(self.source, self.block, own.system_use, self.skip or 0))

    def _found(self, own: Record, more: tuple[Record, ...]) -> Found:
        if self.skip is None:
            return Found(own, more)
        try:
            return Found(own, more, self._rock(own))
        except UnpackError as error:
            return Found(own, more, error=error)

    def _place(self, found: Found) -> tuple[Locator, int]:
        own, rock = found.own, found.rock
        parts: list[int | bytes | str | None] = [own.block * self.block, own.size]
        if own.interleaved:
            raise Unsupported("interleaved")
        for more in found.more:
            parts += [more.block * self.block, more.size]
        total = 0
        for at in range(0, len(parts), 2):
            start, size = parts[at], parts[at + 1]
            assert isinstance(start, int)
            assert isinstance(size, int)
            total += size
            self._extents.append((start, size))
            if start // SECTOR in self._boot_sizes and len(parts) == 2:
                self._boot_sizes[start // SECTOR] = size
        if rock.zisofs:
            return ["zisofs", *rock.zisofs, *parts], rock.zisofs[1]
        return parts, total

    def _children(self, node: int) -> Iterator[tuple[int, bytes]]:
        at, size = node * self.block, self._directories[node]
        self._room -= size
        if self._room < 0:
            raise Malformed("directories share blocks: together they are longer than the disc")
        parts: list[Record] = []
        fault = None
        for chunk in self.source.chunks(at, size):
            for begin in range(0, len(chunk), SECTOR):
                sector = chunk[begin : begin + SECTOR]
                place = 0
                while place < len(sector) and sector[place]:
                    found = record(sector, place)
                    if found is None:
                        fault = f"no record at {begin + place} of the directory at block {node}"
                        break
                    place += sector[place]
                    if found.name in (b"\0", b"\1"):
                        continue
                    parts.append(found)
                    if found.flags & MORE and len(parts) < PARTS:
                        continue
                    if any(part.name != parts[0].name for part in parts):
                        fault = f"parts of a file at block {parts[0].block} do not follow each other"
                    yield from self._child(self._found(parts[0], tuple(parts[1:])))
                    parts = []
        if fault or parts:
            raise Malformed(fault or "the last part of a file is missing")

    def _child(self, found: Found) -> Iterator[tuple[int, bytes]]:
        rock = found.rock
        if rock.moved:
            return
        node = found.own.block if rock.child is None else rock.child
        name = self._name(found.own) if rock.name is None else rock.name
        self._pending = found
        if len(self._top) < 65536 and name.startswith(b"[boot"):
            self._top.add(name)
        yield node, name

    def _name(self, found: Record) -> bytes:
        name = found.name
        if self.main.joliet:
            name = name.decode("utf-16-be", "surrogatepass" if not len(name) & 1 else "replace").encode(
                "utf-8", "surrogatepass"
            )
        return _VERSION.sub(b"", name) or name if not found.flags & DIRECTORY else name

    # Contents

    def _parts(self, locator: Locator) -> tuple[tuple[int, int] | None, list[tuple[int, int]]]:
        zisofs = None
        if isinstance(locator, list) and locator[:1] == ["zisofs"]:
            match locator[1:3]:
                case [int(log), int(size)]:
                    zisofs, locator = (log, size), locator[3:]
        numbers = [part for part in locator if isinstance(part, int)] if isinstance(locator, list) else []
        if not isinstance(locator, list) or len(numbers) != len(locator) or len(numbers) % 2 or not numbers:
            raise Malformed("not the places and sizes of a file's parts")
        return zisofs, list(zip(numbers[::2], numbers[1::2], strict=True))

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most 1 MiB. See `Reader.open`."""
        zisofs, parts = self._parts(locator)
        if zisofs:
            if len(parts) > 1:
                raise Unsupported("compressed, and in more than one part")
            yield from guarded(self._inflated(*zisofs, *parts[0]), self.limits, self.source.size)
            return
        for start, size in parts:
            yield from self.source.chunks(start, size)

    def _inflated(self, log: int, size: int, start: int, stored: int) -> Iterator[bytes]:
        """Yield a file compressed with zisofs: a header of 16 bytes, offsets of the blocks, blocks in zlib's format."""
        head = self.source.exactly(start, 16)
        if head[:8] != ZISOFS or head[13] != log or not 15 <= log <= 20 or int.from_bytes(head[8:12], "little") != size:
            raise Malformed("no zisofs header, or one that differs from the directory's")
        block = 1 << log
        count = -(-size // block)
        if head[12] * 4 + 4 * (count + 1) > stored:
            raise Malformed(f"no room for the offsets of {count} blocks in {stored} bytes")
        step = 1 << 14
        for first in range(0, count, step):
            number = min(step, count - first)
            at = start + head[12] * 4 + 4 * first
            offsets = struct.unpack(f"<{number + 1}I", self.source.exactly(at, 4 * (number + 1)))
            for index in range(number):
                begin, end = offsets[index], offsets[index + 1]
                expected = min(block, size - (first + index) * block)
                if not 0 <= end - begin <= 2 * block or end > stored:
                    raise Malformed(f"block {first + index} from {begin} to {end}")
                if begin == end:
                    yield bytes(expected)
                    continue
                decoder = zlib.decompressobj()
                try:
                    data = decoder.decompress(self.source.exactly(start + begin, end - begin), expected)
                except zlib.error as error:
                    raise Malformed(f"block {first + index}: {error}") from None
                if len(data) != expected:
                    raise Malformed(f"block {first + index} has {len(data)} bytes instead of {expected}")
                yield data

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """Return where a file lies whose parts follow each other. See `Reader.span`."""
        try:
            zisofs, parts = self._parts(locator)
        except UnpackError:
            return None
        start, end = parts[0][0], parts[0][0]
        for at, size in parts:
            if zisofs or at != end:
                return None
            end = at + size
        return (start, end - start) if end <= self.source.size else None

    # Claims

    def claims(self) -> list[Claim]:
        """Return what listing has explained, by whole blocks, and zeros up to the end that the volume declares."""
        claims = [
            Claim(0, 16 * SECTOR, "system area"),
            Claim(16 * SECTOR, len(self.descriptors) * SECTOR, "volume descriptors"),
        ]
        if self._catalogue and self.detail.get("boot_images") is not None:
            claims.append(Claim(self._catalogue * SECTOR, SECTOR, "boot catalogue"))
        for volume in self.volumes:
            size, tables = volume.path_tables
            claims += [Claim(at * volume.block, size, "path table") for at in tables if at]
            if volume is not self.main:
                claims += self._other(volume)
        claims += [Claim(block * self.block, size, "directories") for block, size in self._directories.items()]
        claims += [Claim(start, size + -size % SECTOR, "files") for start, size in self._extents]
        limit = min(self.source.size, max(self.volumes[0].blocks * self.block, 17 * SECTOR))
        claims = [
            Claim(claim.offset, min(claim.length + -claim.length % SECTOR, limit - claim.offset), claim.what)
            for claim in claims
            if 0 <= claim.offset < limit and claim.length
        ]
        end = max(claim.offset + claim.length for claim in claims)
        try:
            if all(not chunk.strip(b"\0") for chunk in self.source.chunks(end, limit - end)):
                claims.append(Claim(end, limit - end, "padding"))
        except Truncated:
            pass
        return claims

    def _other(self, volume: Descriptor) -> list[Claim]:
        """Return where the directories of a tree are that is not listed, from its path table (section 9.4)."""
        size, tables = volume.path_tables
        raw = self.source.pread(tables[0] * volume.block, min(size, self.limits.metadata_bytes))
        claims = []
        at = 0
        while at + 8 <= len(raw) and raw[at]:
            block = int.from_bytes(raw[at + 2 : at + 6], "little")
            own = record(self.source.pread(block * volume.block, 256), 0)
            if own and own.name == b"\0" and own.block == block:
                claims.append(Claim(block * volume.block, own.size, "directories of another tree"))
            at += 8 + raw[at] + (raw[at] & 1)
        return claims


def _open(source: Source, limits: Limits) -> IsoReader:
    descriptors: list[bytes] = []
    for number in range(DESCRIPTORS):
        raw = source.pread((16 + number) * SECTOR, SECTOR)
        if len(raw) < SECTOR or raw[1:6] != b"CD001" or raw[6] not in (1, 2):
            break
        descriptors.append(raw)
        if raw[0] == 255:
            break
    volumes = [found for raw in descriptors if raw[0] in (1, 2) and (found := descriptor(raw))]
    volumes.sort(key=lambda volume: volume.raw[0])
    if not volumes or volumes[0].raw[0] != 1:
        if any(raw[0] == 1 for raw in descriptors):
            raise Malformed("the primary volume descriptor makes no sense")
        raise NotThisFormat
    return IsoReader(source, limits, descriptors, volumes)


FORMAT = Format(
    name="iso9660",
    title="ISO 9660 with Rock Ridge, Joliet, El Torito, zisofs",
    open=_open,
    magics=[(16 * SECTOR + 1, b"CD001")],
    references=[
        Reference(
            "ECMA-119: volume and file structure of CD-ROM",
            "https://ecma-international.org/publications-and-standards/standards/ecma-119/",
        ),
        Reference(
            "Linux, fs/isofs (Rock Ridge, Joliet, zisofs)", "https://github.com/torvalds/linux/tree/master/fs/isofs"
        ),
        Reference(
            "El Torito bootable CD-ROM format specification 1.0",
            "https://pdos.csail.mit.edu/6.828/2014/readings/boot-cdrom.pdf",
        ),
    ],
    limitations=[
        "one tree is listed: Rock Ridge, else Joliet, else plain; what only another one lists is not explained",
        "version 1 and a final dot are left out of names that are not from Rock Ridge",
        "sparse files (SF), attribute lists (AL, AAIP) and interleaved files are named, not read",
        "zisofs version 2, and images of raw sectors (2352 bytes), are not read",
        "a boot image that is no file has the size of its floppy or its FAT volume, else what is loaded of it",
        "the system area (first 32 KiB) is explained as such, whatever it holds",
    ],
)
