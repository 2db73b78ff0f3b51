"""Linux kernel images: what boot loaders load, with the kernel itself inside.

    bzImage (x86; little-endian): u8 setup_sects @1f1; u32 syssize @1f4 (in 16 bytes); "HdrS" @202; u16 protocol @206,
        kernel_version @20e; u32 cmdline_size @238, payload_offset @248, payload_length @24c
    Image (arm64): u64 text_offset @8, image_size @10, flags @18; "ARM" 'd' @38.  (RISC-V): "RISCV" @30, "RSC" 05 @38
    EFI zboot: "MZ" 0 0 "zimg" u32 payload_offset, payload_size; char compression[32] @18

The payload stays compressed: the next level opens it. An image that is not compressed is one entry behind its header,
so that all that is looked for in contents is looked for in the kernel. What an EFI stub adds (a PE header, signatures)
is told.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .base import Claim, Format, Limits, NotThisFormat, Reader, Reference, Source, Truncated
from .boot_image import BootImageReader, Part, text

COMPRESSIONS = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"]\0\0": "lzma",
    b"\x89LZO\0\r\n\x1a\n": "lzop",
    b"\x02!L\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_SIGNATURES = 16


class Pe(NamedTuple):
    """What an EFI stub's PE header says of the file's extent."""

    end: int
    """Where the last section ends."""
    signatures: list[tuple[int, int]]
    """Offset and length of each entry of the certificate table, with its header of 8 bytes."""


def read_pe(source: Source) -> Pe | None:
    """Return what the PE header of an EFI stub says, or None if there is none."""
    if source.pread(0, 2) != b"MZ":
        return None
    at = int.from_bytes(source.pread(0x3C, 4), "little")
    head = source.pread(at, 24 + 240 + 40 * 16)
    if head[:4] != b"PE\0\0" or len(head) < 24 + 152:
        return None
    count, optional = struct.unpack_from("<6xH12xH", head, 0)
    wide = head[24:26] == b"\x0b\x02"
    directory = 24 + (112 if wide else 96)
    end = 0
    for number in range(min(count, 16)):
        section = 24 + optional + 40 * number
        if section + 40 > len(head):
            break
        size, start = struct.unpack_from("<II", head, section + 16)
        end = max(end, start + size)
    (directories,) = struct.unpack_from("<I", head, directory - 4)
    table, size = struct.unpack_from("<II", head, directory + 32) if directories > 4 else (0, 0)
    signatures: list[tuple[int, int]] = []
    stop = min(table + size, source.size)
    while table and table + 8 <= stop and len(signatures) < _SIGNATURES:
        length = int.from_bytes(source.pread(table, 4), "little")
        if not 8 < length <= stop - table:
            break
        signatures.append((table, length))
        table += length + -length % 8
    return Pe(end, signatures)


def compression(head: bytes) -> str | None:
    """Return how something is compressed, by its first bytes; None if by no way that kernels know."""
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)


class KernelReader(BootImageReader):
    """See `Reader`."""

    def __init__(self, source: Source) -> None:
        super().__init__(FORMAT, source)
        self._endless: Part | None = None
        self._head = head = source.pread(0, 1024)
        self._pe = read_pe(source)
        if head[0x202:0x206] == b"HdrS":
            self._bzimage()
        elif head[4:8] == b"zimg" and head[:2] == b"MZ":
            self._zboot()
        elif head[0x38:0x3C] in (b"ARMd", b"RSC\x05"):
            self._image()
        else:
            raise NotThisFormat
        self.detail["efi_stub"] = self._pe is not None
        for at, length in self._pe.signatures if self._pe else ():
            self.structure.append(Claim(at, 8, "certificate table"))
            number = b"-%d" % len(self.parts) if any(part.path == b"signature" for part in self.parts) else b""
            self.parts.append(Part(b"signature" + number, at + 8, length - 8))

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. A kernel whose end the header does not state is not claimed."""
        return [claim for claim in super().claims() if not self._endless or claim.what != "kernel"]

    def _payload(self, start: int, length: int) -> None:
        """Keep the payload; behind all but gzip's stands its length when it is not compressed."""
        kind = compression(self.source.pread(start, 16))
        path = f"vmlinux.{kind}" if kind else "vmlinux"
        self.detail["compression"] = kind
        if kind and length > 4:
            self.detail["uncompressed_bytes"] = int.from_bytes(self.source.pread(start + length - 4, 4), "little")
            if kind != "gzip":
                length -= 4
                self.structure.append(Claim(start + length, 4, "uncompressed size"))
        self.parts.append(Part(path.encode(), start, length))

    def _bzimage(self) -> None:
        head = self._head
        if head[0x1FE:0x200] != b"\x55\xaa":
            raise NotThisFormat
        if len(head) < 0x250:
            raise Truncated("ends within its header")
        sectors, size = head[0x1F1] or 4, 16 * int.from_bytes(head[0x1F4:0x1F8], "little")
        protocol, version, flags = struct.unpack_from("<H6xHxB", head, 0x206)
        if not 0x200 <= protocol < 0x300 or not size:
            raise NotThisFormat
        start = 512 * (sectors + 1)
        self.detail = {
            "image": "bzImage" if flags & 1 else "zImage (x86)",
            "version": text(self.source.pread(0x200 + version, 256)) if version else None,
            "protocol": f"{protocol >> 8}.{protocol & 255:02d}",
            "command_line_bytes": int.from_bytes(head[0x238:0x23C], "little") if protocol >= 0x206 else None,
        }
        self.structure.append(Claim(0, start, "setup"))
        at, length = struct.unpack_from("<II", head, 0x248) if protocol >= 0x208 else (0, 0)
        if not length:
            self.malformed("the header does not say where the payload is", entries=1)
            self.structure.append(Claim(start, size, "kernel"))
            return
        if at + length > size:
            self.malformed(f"the payload goes on {at + length - size} bytes beyond the image", b"vmlinux", 1)
            return
        self.structure.append(Claim(start, at, "decompressor"))
        self._payload(start + at, length)
        self.structure.append(Claim(start + at + length, size - at - length, "decompressor"))

    def _zboot(self) -> None:
        start, length = struct.unpack_from("<II", self._head, 8)
        if not self._pe or not 64 <= start <= start + length <= self._pe.end:
            raise NotThisFormat
        self.detail = {"image": "EFI zboot", "stated_compression": text(self._head[0x18:0x38])}
        self.structure.append(Claim(0, start, "EFI stub"))
        self._payload(start, length)
        self.structure.append(Claim(start + length, self._pe.end - start - length, "EFI stub"))

    def _image(self) -> None:
        place, size, flags = struct.unpack_from("<3Q", self._head, 8)
        arm = self._head[0x38:0x3C] == b"ARMd"
        spare = self._head[0x20:0x38] if arm else self._head[0x28:0x30]
        if (
            not any(self._head[:8])
            or size >> 32
            or flags >> 8
            or place >> 32
            or any(spare)
            or (not arm and self._head[0x30:0x35] != b"RISCV")
        ):
            raise NotThisFormat
        self.detail = {
            "image": "Image (arm64)" if arm else "Image (RISC-V)",
            "text_offset": f"{place:#x}",
            "memory_bytes": size,
            "byte_order": "big" if flags & 1 else "little",
            "page_bytes": {1: 4096, 2: 16384, 3: 65536}.get(flags >> 1 & 3) if arm else None,
        }
        self.structure.append(Claim(0, 64, "header"))
        if self._pe and self._pe.end > 64:
            self.parts.append(Part(b"kernel", 64, self._pe.end - 64))
        else:
            # In memory it is longer than in the file, by what is zeros there: where the file ends is not said.
            self._endless = Part(b"kernel", 64, max(0, min(size or self.source.size, self.source.size) - 64))
            self.parts.append(self._endless)


def _open(source: Source, limits: Limits) -> Reader:  # noqa: ARG001 - headers are small
    return KernelReader(source)


FORMAT = Format(
    name="linux-kernel",
    title="Linux kernel images: bzImage (x86), Image (arm64, RISC-V), EFI zboot",
    open=_open,
    magics=[(0x202, b"HdrS"), (0x38, b"ARMd"), (0x38, b"RSC\x05"), (4, b"zimg")],
    references=[
        Reference("Linux: the x86 boot protocol", "https://docs.kernel.org/arch/x86/boot.html"),
        Reference("Linux: booting AArch64", "https://docs.kernel.org/arch/arm64/booting.html"),
        Reference("Linux: boot image header in RISC-V", "https://docs.kernel.org/arch/riscv/boot-image-header.html"),
    ],
    limitations=[
        "a bzImage of a boot protocol before 2.08 (Linux 2.6.24): its header does not say where the payload is",
        "the end of an Image without an EFI stub: the header does not say how long the file is",
        "signatures are listed, not verified",
    ],
    smallest=1024,
)
