"""DNI: firmware of Netgear's routers by Delta Networks: 128 bytes of text, the image, one byte of sum.

The text has lines `device:`, `version:`, `region:`, `hd_id:` and is filled with NULs. The sum makes all bytes of the
file add up to 255 (modulo 256). The header states no length.
"""

from __future__ import annotations

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import PartsReader
from .stretch import byte_sum

HEADER = 128


def _sum(source: Source) -> str:
    return f"{sum(map(byte_sum, source.chunks(0, source.size))) & 0xFF:02x}"


def _open(source: Source, limits: Limits) -> Reader:
    head = source.pread(0, HEADER)
    if source.size <= HEADER + 1 or not head.startswith(b"device:"):
        raise NotThisFormat
    said = head.rstrip(b"\0")
    if not said.isascii() or not said.replace(b"\n", b"").decode("ascii").isprintable() or len(said) == HEADER:
        raise NotThisFormat
    lines = [line.split(":", 1) for line in said.decode("ascii").split("\n") if line]
    if any(len(line) != 2 for line in lines) or not any(line[0] == "version" for line in lines):
        raise NotThisFormat
    reader = PartsReader(FORMAT, source, limits, source.size, {key: value.strip() for key, value in lines})
    reader.header(0, HEADER)
    reader.part(b"image", HEADER, source.size - HEADER - 1)
    reader.header(source.size - 1, 1, "sum")
    reader.check("sum of all bytes", "ff", lambda: _sum(source))
    return reader


FORMAT = Format(
    name="dni",
    title="DNI firmware image (Netgear)",
    open=_open,
    magics=[(0, b"device:")],
    references=[Reference("OpenWrt firmware-utils, mkdniimg", "https://git.openwrt.org/project/firmware-utils.git")],
    limitations=["the header states no length: an image is taken to end where the file does"],
    smallest=HEADER + 2,
    anywhere=False,
)
