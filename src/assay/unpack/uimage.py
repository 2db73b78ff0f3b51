"""U-Boot legacy images (uImage): a header with two checksums before a kernel, a RAM disk, a script or several of them.

    struct image_header {           // big endian, 64 bytes; include/image.h
        uint32_t magic, hcrc, time, size, load, ep, dcrc;  uint8_t os, arch, type, comp;  uint8_t name[32];
    };

The data of types multi and script begin with a table of lengths, u32 each, a zero last; each part but the last is
padded to 4 bytes. What is compressed stays so: the next level opens it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

from .base import Claim, Entry, Format, Limits, NotThisFormat, Problem, Reader, Reference, Source, ns
from .boot_image import BootImageReader, Part, text

MAGIC = b"\x27\x05\x19\x56"
_HEADER = struct.Struct(">7I4B32s")
_MULTI, _SCRIPT = 4, 6
_MOST = 256
"""Parts of one image; U-Boot's own tools use three."""

_SYSTEMS = (
    "invalid openbsd netbsd freebsd 4_4bsd linux svr4 esix solaris irix sco dell ncr lynxos vxworks psos qnx u-boot "
    "rtems artos unity integrity ose plan9 openrtos arm-trusted-firmware tee opensbi efi elf"
)
_ARCHITECTURES = (
    "invalid alpha arm x86 ia64 mips mips64 powerpc s390 sh sparc sparc64 m68k nios microblaze nios2 blackfin avr32 "
    "st200 sandbox nds32 or1k arm64 arc x86_64 xtensa riscv"
)
_TYPES = (
    "invalid standalone kernel ramdisk multi firmware script filesystem flat_dt kwbimage imximage ublimage omapimage "
    "aisimage kernel_noload pblimage mxsimage gpimage atmelimage socfpgaimage x86_setup lpc32xximage loadable rkimage "
    "rksd rkspi zynqimage zynqmpimage zynqmpbif fpga vybridimage tee firmware_ivt pmmc stm32image socfpgaimage_v1 "
    "mtk_image imx8mimage imx8image copro sunxi_egon sunxi_toc0 fdt_legacy renesas_spkg starfive_spl tfa_bl31"
)
_COMPRESSIONS = "none gzip bzip2 lzma lzo lz4 zstd"


def _named(names: str, number: int) -> str:
    known = names.split()
    return known[number] if number < len(known) else str(number)


class UImage(BootImageReader):
    """See `Reader`. Lists one entry named by the image's type, or `TYPE-0`, `TYPE-1`, ... where there is a table."""

    def __init__(self, source: Source) -> None:
        super().__init__(FORMAT, source)
        raw = source.exactly(0, _HEADER.size)
        fields = _HEADER.unpack(raw)
        _, stated, time, size, load, start, self._crc, system, machine, kind, compression, name = fields
        header_right = zlib.crc32(raw[:4] + bytes(4) + raw[8:]) == stated
        if not header_right:
            self._plausible(fields)
            self.problems.append(Problem("malformed", "the header has another CRC-32 than it states", entries=0))
        self.detail = {
            "name": text(name),
            "os": _named(_SYSTEMS, system),
            "arch": _named(_ARCHITECTURES, machine),
            "type": _named(_TYPES, kind),
            "compression": _named(_COMPRESSIONS, compression),
            "time": ns(time),
            "load": f"{load:#010x}",
            "entry": f"{start:#010x}",
            "header_crc_right": header_right,
            "data_crc_right": None,
        }
        self._data = Part(_named(_TYPES, kind).encode(), _HEADER.size, size)
        self.structure.append(Claim(0, _HEADER.size, "header"))
        self.parts = [self._data]
        if kind in (_MULTI, _SCRIPT):
            self._table()

    def _plausible(self, fields: tuple[Any, ...]) -> None:
        """Pass an image whose header was damaged.

        Raises:
            NotThisFormat: nothing but the magic speaks for an image.
        """
        size, (system, machine, kind, compression), name = fields[3], fields[7:11], text(fields[11])
        numbers = ((_SYSTEMS, system), (_ARCHITECTURES, machine), (_TYPES, kind), (_COMPRESSIONS, compression))
        known = not any(_named(names, number).isdigit() for names, number in numbers) and system and kind
        if not (known and 0 < size <= self.source.size - _HEADER.size and name.isprintable()):
            raise NotThisFormat

    def _table(self) -> None:
        """Replace the one part by those of the table; a table that does not fit is told, and the data stay one part."""
        first, end = _HEADER.size, _HEADER.size + self._data.size
        raw = self.source.pread(first, min(4 * (_MOST + 1), self._data.size))
        sizes = []
        for (size,) in struct.iter_unpack(">I", raw[: len(raw) & ~3]):
            if not size:
                break
            sizes.append(size)
        else:
            self.problems.append(Problem("malformed", "the table of parts has no end", entries=0))
            return
        at = first + 4 * (len(sizes) + 1)
        self.structure.append(Claim(first, at - first, "table of parts"))
        self.declared = len(sizes)
        self.parts = []
        for number, size in enumerate(sizes):
            path = b"%s-%d" % (self._data.path, number)
            if at + size > end:
                self.problems.append(Problem("malformed", f"part {number} goes on beyond the image's data", path))
                continue
            self.parts.append(Part(path, at, size))
            at += size + -size % 4
        self.pad(end)

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. All data are read for their CRC-32; `detail["data_crc_right"]` says what came out."""
        if self.whole(self._data):
            crc = 0
            for chunk in self.source.chunks(self._data.offset, self._data.size):
                crc = zlib.crc32(chunk, crc)
            self.detail["data_crc_right"] = crc == self._crc
            if crc != self._crc:
                yield Problem(
                    "malformed", f"the data have CRC-32 {crc:#010x}, the header says {self._crc:#010x}", entries=0
                )
        elif self.parts != [self._data]:
            missing = self._data.offset + self._data.size - self.source.size
            yield Problem("truncated", f"the source ends {missing} bytes before the image does", entries=0)
        yield from super().entries()


def _open(source: Source, limits: Limits) -> Reader:  # noqa: ARG001 - needs no memory to speak of
    if source.size < _HEADER.size:
        raise NotThisFormat
    return UImage(source)


FORMAT = Format(
    name="uimage",
    title="U-Boot legacy image (uImage): kernel, RAM disk, script, or several parts",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference("U-Boot: include/image.h", "https://source.denx.de/u-boot/u-boot/-/blob/v2024.01/include/image.h"),
        Reference("mkimage(1)", "https://manpages.debian.org/bookworm/u-boot-tools/mkimage.1.en.html"),
    ],
    limitations=["images of vendors that use another magic, or a header of their own with this one"],
)
