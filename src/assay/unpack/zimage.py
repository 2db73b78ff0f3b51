"""zImage: the kernel of 32-bit ARM boards, a small program that unpacks the kernel behind it.

In the CPU's byte order: u32 016f2818 @24, start @28, end @2c, 04030201 @30. With 45454545 @34 (Linux 4.15), u32 @38 is
the offset of a table: u32 words, 5a534c4b, offset of the payload's last four bytes, its length when it is unpacked.
Where the payload begins is not said: it is the first place that looks like a compressed stream and can be decoded.
Device trees may be appended (CONFIG_ARM_APPENDED_DTB, and vendors that append several).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from . import formats
from .base import Claim, Entry, Format, Limits, NotThisFormat, Problem, Reader, Reference, Source, UnpackError
from .boot_image import BootImageReader, Part
from .fdt import MAGIC as DEVICE_TREE
from .fdt import DeviceTree
from .kernel_image import COMPRESSIONS, compression

_STUB = 1 << 18
"""Bytes from the start in which the payload begins: the program before it has some 20 KiB."""
_TRIED = 64
"""Places that look like a payload and are tried."""
_TREES = 256
"""Device trees at the end."""
_TRIAL = 1 << 12
"""Decoded bytes that a place must give."""
_STREAMS = re.compile(b"|".join(map(re.escape, COMPRESSIONS)))


class ZImageReader(BootImageReader):
    """See `Reader`. Lists the payload, and device trees behind it."""

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(FORMAT, source)
        self._limits = limits
        head = source.pread(0, 0x40)
        if len(head) < 0x40:
            raise NotThisFormat
        order = "<" if head[0x24] == 0x18 else ">"
        begin, end, mark, more, table = struct.unpack_from(order + "5I", head, 0x28)
        self._end = end - begin
        if not 0x40 < self._end <= 1 << 28 or mark not in (0x04030201, 0x01020304):
            raise NotThisFormat
        words = source.pread(table, 12) if more == 0x45454545 and table <= self._end - 12 else b""
        _, tag, last = struct.unpack(order + "3I", words) if len(words) == 12 else (0, 0, 0)
        self._stop = last + 4 if tag == 0x5A534C4B and last <= self._end - 4 else None
        """Where the payload ends, if the table says so; else only decoding finds it."""
        self.detail = {"byte_order": "little" if order == "<" else "big", "compression": None}
        self._payload = self._find()
        if self._payload is None:
            self.malformed("nothing that can be decoded was found in it", b"vmlinux", 1)
            self.structure.append(Claim(0, self._end, "decompressor"))
        self._trees()

    def _find(self) -> Part | None:
        """Return the payload, up to where it can go on at most: a place that decodes, else one that begins to."""
        size = min(self._stop or self._end, self.source.size)
        head = self.source.pread(0, min(_STUB, size))
        damaged: Part | None = None
        for found, _ in zip(_STREAMS.finditer(head, 0x40), range(_TRIED), strict=False):
            kind = COMPRESSIONS[found[0]]
            part = Part(f"vmlinux.{kind}".encode(), found.start(), size - found.start())
            got, whole = self._trial(part, kind)
            if got >= _TRIAL and whole:
                return self._cut(part, kind)
            if got >= _TRIAL and damaged is None:
                damaged = self._cut(part, kind)
        return damaged

    def _trial(self, part: Part, kind: str) -> tuple[int, bool]:
        """Return how many bytes two steps of decoding give, and if they met no error."""
        got = 0
        if kind not in formats():
            return _TRIAL, False
        try:
            reader = formats()[kind].open(self.source.window(part.offset, part.size), self._limits)
            for chunk, _ in zip(reader.open(0), range(2), strict=False):
                got += len(chunk)
        except (NotThisFormat, UnpackError):
            return got, False
        return got, True

    def _cut(self, part: Part, kind: str) -> Part:
        """Return the payload without the length behind it, which gzip has in itself."""
        self.detail["compression"] = kind
        if self._stop is None:
            return part
        stored = self.source.pread(self._stop - 4, 4)
        self.detail["uncompressed_bytes"] = int.from_bytes(stored, "little") if len(stored) == 4 else None
        return part if kind == "gzip" else part._replace(size=max(0, self._stop - 4 - part.offset))

    def _trees(self) -> None:
        at = self._end
        for number in range(_TREES):
            if self.source.pread(at, 4) != DEVICE_TREE:
                return
            try:
                tree = DeviceTree(self.source.window(at, self.source.size), self._limits)
            except (NotThisFormat, UnpackError):
                return
            self.parts.append(Part(b"appended-%d.dtb" % number, at, tree.size))
            at += tree.size

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. Decodes the payload, where only that tells its end."""
        if self._payload:
            if not self._stop:
                self._stop, wrong = self._decoded(self._payload)
                self._payload = self._payload._replace(size=self._stop - self._payload.offset)
                if wrong:
                    self.problems.append(wrong)
            end = self._payload.offset + self._payload.size
            if self._payload not in self.parts:
                self.parts.insert(0, self._payload)
                self.structure.append(Claim(0, self._payload.offset, "decompressor"))
                self.structure.append(Claim(end, max(0, self._end - end), "decompressor"))
        yield from super().entries()

    def _decoded(self, part: Part) -> tuple[int, Problem | None]:
        """Return where the payload ends, or what it is taken for, and why."""
        form = formats().get(compression(self.source.pread(part.offset, 16)) or "")
        end = part.offset + part.size
        if form is None:
            return end, None
        try:
            reader = form.open(self.source.window(part.offset, part.size), self._limits)
            for _ in reader.open(0):
                pass
        except (NotThisFormat, UnpackError) as error:
            return end, Problem("malformed", f"the payload cannot be decoded to its end: {error}", part.path, 0)
        return part.offset + reader.consumed if reader.consumed else end, None


def _open(source: Source, limits: Limits) -> Reader:
    return ZImageReader(source, limits)


FORMAT = Format(
    name="linux-zimage",
    title="zImage, the Linux kernel image of 32-bit ARM",
    open=_open,
    magics=[(0x24, b"\x18\x28\x6f\x01"), (0x24, b"\x01\x6f\x28\x18")],
    references=[
        Reference(
            "Linux: arch/arm/boot/compressed",
            "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/arch/arm/boot/compressed?h=v6.1",
        ),
        Reference("Linux: booting ARM", "https://docs.kernel.org/arch/arm/booting.html"),
    ],
    limitations=["a payload that is not compressed (CONFIG_KERNEL_UNCOMPRESSED)"],
    smallest=0x40,
)
