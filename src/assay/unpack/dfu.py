"""USB firmware files: the suffix of the Device Firmware Upgrade class, and ST's DfuSe files with several images.

All numbers are little-endian. The last 16 bytes (DFU 1.1, appendix B):

    u16 device release, product, vendor, DFU version (0100, or 011a for DfuSe); "UFD"; u8 length = 16; u32 CRC
the CRC-32 of all bytes before it, without the inversion at its end. DfuSe (ST, UM0391) adds in front:

    "DfuSe" u8 version = 1; u32 bytes up to the suffix; u8 targets
    target: "Target" u8 alternate setting; u32 named; char name[255]; u32 size, elements
    element: u32 address, size; data
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from .base import Claim, Entry, Format, Limits, NotThisFormat, Problem, Reader, Reference, Source
from .boot_image import BootImageReader, Part, text

_SUFFIX = struct.Struct("<4H3sBI")
_PREFIX = struct.Struct("<5sBIB")
_TARGET = struct.Struct("<6sBI255sII")
_ELEMENT = struct.Struct("<II")
_ELEMENTS = 4096
"""Elements of all targets."""


class DfuReader(BootImageReader):
    """See `Reader`. Lists `firmware`; of DfuSe the elements, as `target-0/0x08000000.bin`."""

    def __init__(self, source: Source) -> None:
        super().__init__(FORMAT, source)
        head = source.pread(0, _PREFIX.size)
        extended = head[:6] == b"DfuSe\x01" and len(head) == _PREFIX.size
        size = int.from_bytes(head[6:10], "little") if extended else source.size - _SUFFIX.size
        suffix = source.pread(size, _SUFFIX.size)
        there = suffix[8:12] == b"UFD\x10" and len(suffix) == _SUFFIX.size
        if (size < _PREFIX.size + _TARGET.size) if extended else (not there or size <= 0):
            raise NotThisFormat
        self._size = size
        self._crc: int | None = None
        if there:
            release, product, vendor, version, _, _, self._crc = _SUFFIX.unpack(suffix)
            if version not in (0x0100, 0x0101, 0x0110, 0x011A):
                raise NotThisFormat
            self.detail = {
                "dfu_version": f"{version:#06x}",
                "usb_vendor": f"{vendor:#06x}",
                "usb_product": f"{product:#06x}",
                "usb_release": f"{release:#06x}",
                "crc_right": None,
            }
            self.structure.append(Claim(size, _SUFFIX.size, "suffix"))
        if extended:
            self._targets(head[10])
        else:
            self.parts.append(Part(b"firmware", 0, size))

    def _targets(self, count: int) -> None:
        at = _PREFIX.size
        self.structure.append(Claim(0, at, "prefix"))
        self.detail["targets"] = count
        if self._crc is None and self._size >= self.source.size:
            self.problems.append(Problem("truncated", "the file ends before its suffix", entries=0))
        left = _ELEMENTS
        for number in range(count):
            raw = self.source.pread(at, _TARGET.size)
            if len(raw) < _TARGET.size or raw[:6] != b"Target":
                if number == 0:
                    raise NotThisFormat
                self.malformed(f"no target {number} of {count} at offset {at}", entries=1)
                return
            _, setting, named, name, size, elements = _TARGET.unpack(raw)
            self.detail[f"target_{number}"] = f"alternate={setting} name={text(name) if named else ''} bytes={size}"
            self.structure.append(Claim(at, _TARGET.size, "target"))
            at += _TARGET.size
            end = at + size
            for _ in range(elements):
                left -= 1
                raw = self.source.pread(at, _ELEMENT.size)
                if len(raw) < _ELEMENT.size or left < 0:
                    self.malformed(f"target {number} ends inside its {elements} elements", b"target-%d" % number, 1)
                    return
                address, length = _ELEMENT.unpack(raw)
                path = b"target-%d/0x%08x.bin" % (number, address)
                if at + _ELEMENT.size + length > min(end, self._size):
                    self.malformed(f"the element's {length} bytes go on beyond its target", path, 1)
                    break
                self.structure.append(Claim(at, _ELEMENT.size, "element"))
                self.parts.append(Part(path, at + _ELEMENT.size, length))
                at += _ELEMENT.size + length
            at = end

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. All bytes are read for the CRC."""
        yield from super().entries()
        if self._crc is not None:
            crc = 0
            for chunk in self.source.chunks(0, self._size + _SUFFIX.size - 4):
                crc = zlib.crc32(chunk, crc)
            self.detail["crc_right"] = crc ^ 0xFFFFFFFF == self._crc
            if crc ^ 0xFFFFFFFF != self._crc:
                said = f"the file has CRC {crc ^ 0xFFFFFFFF:#010x}, its suffix says {self._crc:#010x}"
                yield Problem("malformed", said, entries=0)


def _open(source: Source, limits: Limits) -> Reader:  # noqa: ARG001 - headers are small
    return DfuReader(source)


FORMAT = Format(
    name="dfu",
    title="USB DFU firmware file, also DfuSe",
    open=_open,
    magics=[(0, b"DfuSe\x01")],
    references=[
        Reference("USB Device Firmware Upgrade 1.1, appendix B", "https://www.usb.org/sites/default/files/DFU_1.1.pdf"),
        Reference("ST UM0391: DfuSe file format", "https://dfu-util.sourceforge.net/UM0391.pdf"),
    ],
    limitations=["a suffix behind a file that is another format by its first bytes: that format lists it"],
    tail=b"UFD\x10",
    smallest=_SUFFIX.size + 1,
)
