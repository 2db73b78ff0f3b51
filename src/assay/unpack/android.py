"""Android boot images: kernel, RAM disks and device tree of a boot, recovery or vendor_boot partition.

All numbers are little-endian; every part begins at a page.

    boot 0 to 2: "ANDROID!" u32 kernel size, address, ramdisk size, address, second size, address, tags address, page
        size, version, os version; char name[16], command line[512]; u8 id[32]; char more of the command line[1024];
        1: u32 recovery_dtbo size; u64 its offset; u32 header size;  2: u32 dtb size; u64 dtb address
    boot 3 and 4, pages of 4096: "ANDROID!" u32 kernel size, ramdisk size, os version, header size, reserved[4],
        version; char command line[1536];  4: u32 signature size
    vendor_boot 3 and 4: "VNDRBOOT" u32 version, page size, kernel address, ramdisk address, ramdisk size; char command
        line[2048]; u32 tags address; char name[16]; u32 header size, dtb size; u64 dtb address;
        4: u32 size, entries, entry size of the table of RAM disks; u32 bootconfig size
    an entry of that table: u32 size, offset, type; char name[32]; u32 board id[16]

Before versions, some vendors kept the size of a device tree where the version is now.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from .avb import attach, hash_right
from .base import CHUNK, Claim, Entry, Format, Limits, NotThisFormat, Problem, Reader, Reference, Source
from .boot_image import BootImageReader, Part, text

BOOT, VENDOR = b"ANDROID!", b"VNDRBOOT"
_LEGACY = struct.Struct("<10I16s512s32s1024sIQIIQ")
_BOOT = struct.Struct("<4I16xI1536sI")
_VENDOR = struct.Struct("<5I2048sI16sIIQ4I")
_RAMDISK = struct.Struct("<3I32s64s")
_LEGACY_SIZES = {0: 1632, 1: 1648, 2: 1660}
_HEADERS = {3: 1580, 4: 1584}
_VENDOR_HEADERS = {3: 2108, 4: 2128}
"""Least length that a header states of itself: the first tools wrote other ones (1596, 2108) for the same fields."""
_RAMDISKS = {0: "none", 1: "platform", 2: "recovery", 3: "dlkm"}
_PAGES = [1 << n for n in range(9, 18)]
_MOST = 256
"""RAM disks of one vendor_boot image."""


class AndroidReader(BootImageReader):
    """See `Reader`. Lists the parts by the names of their fields; RAM disks of a table by theirs."""

    def __init__(self, source: Source) -> None:
        super().__init__(FORMAT, source)
        raw = source.pread(0, 4096)
        self._end = 0
        self._digested: list[Part | None] = []
        self._id = b""
        if raw[:8] == VENDOR:
            self._vendor(raw)
        elif len(raw) >= 44 and int.from_bytes(raw[40:44], "little") in _HEADERS:
            self._boot(raw)
        else:
            self._legacy(raw)
        self._signature()
        self._stated = attach(self)
        self.pad(self._end)

    def _add(self, name: str, size: int) -> Part | None:
        """Keep a part that begins at the next page."""
        part = Part(name.encode(), self._end, size) if size else None
        if part:
            self.parts.append(part)
        self._end += -(-size // self._page) * self._page
        return part

    def _header(self, length: int, page: int) -> None:
        self._page = page
        self.structure.append(Claim(0, length, "header"))
        self._end = -(-length // page) * page

    def _legacy(self, raw: bytes) -> None:
        if len(raw) < 8 + _LEGACY.size:
            raise NotThisFormat
        (
            kernel, kernel_at, ramdisk, ramdisk_at, second, second_at, tags_at, page, version, system, name, line,
            identity, more, dtbo, _, header_size, dtb, dtb_at,
        ) = _LEGACY.unpack_from(raw, 8)  # fmt: skip
        tree = 0 if version in _LEGACY_SIZES else version
        version = 0 if tree else version
        if page not in _PAGES or not kernel + ramdisk or tree > 64 << 20:
            raise NotThisFormat
        if version and header_size != _LEGACY_SIZES[version]:
            raise NotThisFormat
        if max(kernel, ramdisk, second, tree) > 1 << 30 or kernel + ramdisk > max(self.source.size, 64 << 20):
            raise NotThisFormat
        self.detail = {
            "version": version,
            "page_bytes": page,
            "name": text(name),
            "command_line": text(line) + text(more),
            "kernel_address": f"{kernel_at:#010x}",
            "ramdisk_address": f"{ramdisk_at:#010x}",
            "second_address": f"{second_at:#010x}" if second else None,
            "tags_address": f"{tags_at:#010x}",
            "id": identity.hex(),
            **_system(system),
        }
        self._header(_LEGACY_SIZES[version], page)
        self._digested = [self._add("kernel", kernel), self._add("ramdisk", ramdisk), self._add("second", second)]
        if version >= 1:
            self._digested.append(self._add("recovery_dtbo", dtbo))
        if version >= 2:
            self.detail["dtb_address"] = f"{dtb_at:#x}"
            self._digested.append(self._add("dtb", dtb))
        if tree:
            self._digested.append(self._add("dt", tree))
        self._id = identity[:20]

    def _boot(self, raw: bytes) -> None:
        if len(raw) < 8 + _BOOT.size:
            raise NotThisFormat
        kernel, ramdisk, system, header_size, version, line, signature = _BOOT.unpack_from(raw, 8)
        if not _HEADERS[version] <= header_size <= 4096:
            raise NotThisFormat
        self.detail = {"version": version, "page_bytes": 4096, "command_line": text(line), **_system(system)}
        self._header(header_size, 4096)
        self._add("kernel", kernel)
        self._add("ramdisk", ramdisk)
        if version >= 4:
            self._add("boot_signature", signature)

    def _vendor(self, raw: bytes) -> None:
        if len(raw) < 8 + _VENDOR.size:
            raise NotThisFormat
        (
            version, page, kernel_at, ramdisk_at, ramdisk, line, tags_at, name, header_size, dtb, dtb_at,
            table, count, entry, bootconfig,
        ) = _VENDOR.unpack_from(raw, 8)  # fmt: skip
        least = _VENDOR_HEADERS.get(version)
        if page not in _PAGES or least is None or not least <= header_size <= 4096:
            raise NotThisFormat
        self.detail = {
            "version": version,
            "page_bytes": page,
            "name": text(name),
            "command_line": text(line),
            "kernel_address": f"{kernel_at:#010x}",
            "ramdisk_address": f"{ramdisk_at:#010x}",
            "tags_address": f"{tags_at:#010x}",
            "dtb_address": f"{dtb_at:#x}",
        }
        self._header(header_size, page)
        disks = Part(b"vendor_ramdisk", self._end, ramdisk)
        self._add("vendor_ramdisk", ramdisk)
        self._add("dtb", dtb)
        if version >= 4:
            at = self._end
            self._end += -(-table // page) * page
            self._add("bootconfig", bootconfig)
            self._table(disks, at, table, count, entry)

    def _table(self, disks: Part, at: int, size: int, count: int, entry: int) -> None:
        """List the RAM disks of the table instead of all of them as one."""
        if entry < _RAMDISK.size or count * entry > size or count > _MOST or not count:
            self.malformed(f"the table of RAM disks has {count} entries of {entry} bytes in {size}")
            return
        raw = self.source.pread(at, count * entry)
        self.structure.append(Claim(at, size, "table of RAM disks"))
        if disks in self.parts:
            self.parts.remove(disks)
        listed = []
        for number in range(len(raw) // entry):
            length, offset, kind, name, board = _RAMDISK.unpack_from(raw, number * entry)
            path = b"vendor_ramdisk-%d" % number
            self.detail[path.decode()] = (
                f"type={_RAMDISKS.get(kind, kind)} name={text(name)} board_id={board.rstrip(bytes(1)).hex()}"
            )
            if offset + length > disks.size:
                self.malformed("goes on beyond the RAM disks", path, 1)
            else:
                listed.append(Part(path, disks.offset + offset, length))
        if len(raw) < count * entry:
            self.problems.append(
                Problem("truncated", "ends inside the table of RAM disks", entries=count - len(listed))
            )
        self.declared = count + len(self.parts)
        self.parts[:0] = listed

    def _signature(self) -> None:
        """Keep the signature of the first Android Verified Boot: DER, SEQUENCE { INTEGER 1, ... }, behind the image."""
        head = self.source.pread(self._end, 8)
        if head[:2] == b"\x30\x82" and head[4:7] == b"\x02\x01\x01":
            self.parts.append(Part(b"signature", self._end, 4 + int.from_bytes(head[2:4], "big")))

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Tells in `detail` if the id is the SHA-1 of the parts, and if AVB's hash is right."""
        yield from super().entries()
        if self._id and all(self.whole(part) for part in self.parts):
            digest = hashlib.sha1(usedforsecurity=False)
            for part in self._digested:
                if part:
                    for chunk in self.source.chunks(part.offset, part.size, CHUNK):
                        digest.update(chunk)
                digest.update((part.size if part else 0).to_bytes(4, "little"))
            self.detail["id_right"] = digest.digest() == self._id
        if self._stated:
            right = hash_right(self.source, self._stated)
            self.detail["avb_hash_right"] = right
            if right is False:
                yield Problem("malformed", "the image has another hash than its vbmeta image states", entries=0)


def _system(value: int) -> dict[str, str | int | bool | None]:
    """Return version and patch level: 7 bits each for a.b.c, 7 for the year from 2000, 4 for the month."""
    if not value:
        return {"os_version": None, "os_patch_level": None}
    version, level = value >> 11, value & 0x7FF
    return {
        "os_version": f"{version >> 14}.{version >> 7 & 0x7F}.{version & 0x7F}",
        "os_patch_level": f"{2000 + (level >> 4)}-{level & 15:02d}",
    }


def _open(source: Source, limits: Limits) -> Reader:  # noqa: ARG001 - the header is small
    return AndroidReader(source)


FORMAT = Format(
    name="android-boot",
    title="Android boot, recovery and vendor_boot images",
    open=_open,
    magics=[(0, BOOT), (0, VENDOR)],
    references=[
        Reference(
            "Android: boot image header",
            "https://source.android.com/docs/core/architecture/bootloader/boot-image-header",
        ),
        Reference(
            "Android: vendor boot partitions",
            "https://source.android.com/docs/core/architecture/partitions/vendor-boot-partitions",
        ),
    ],
    limitations=[
        "the footer of Android Verified Boot is looked for at the end of the source only, where a partition has it",
        "images of vendors with headers of their own in front (LOKI, Samsung, MediaTek)",
    ],
)
