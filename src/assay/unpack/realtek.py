"""Sections of Realtek's boot loader (RTL819x), big endian, one after another.

    char name[4] = "cs6c", "cr6c" (kernel), "w6cg" (pages), "r6cr" (root file system), ...; u32 start address; u32 flash
    address; u32 bytes; that many bytes, the last two of which make the sum of all 16-bit words zero

Edimax's older sections are of the same kind, with a model: char name[4] = "CSYS"; u32 start, flash address;
char model[4]; u32 bytes, in either byte order.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .base import Format, Limits, NotThisFormat, Reader, Reference, Source
from .parts import PartsReader, is_text, text, words

REALTEK = (b"cs6c", b"cr6c", b"cs6b", b"cr6b", b"csro", b"w6cg", b"w6cp", b"w6cv", b"r6cr", b"r6pr", b"boot", b"ALL1")
EDIMAX = b"CSYS"
SECTIONS = 64


class Section(NamedTuple):
    """One section's header."""

    name: bytes
    header: int
    size: int
    order: str
    detail: str


def _section(source: Source, at: int) -> Section | None:
    head = source.pread(at, 20)
    name = head[:4]
    if len(head) < 16:
        return None
    if name in REALTEK:
        start, flash, size = struct.unpack_from(">3L", head, 4)
        return Section(name, 16, size, "big", f"start={start:#010x} flash={flash:#010x}") if size > 2 else None
    if name == EDIMAX and len(head) == 20 and is_text(head[12:16]) and head[12]:
        for order, mark in (("little", "<"), ("big", ">")):
            start, flash, size = struct.unpack(f"{mark}LL4xL", head[4:])
            if 2 < size <= source.size - at - 20:
                detail = f"start={start:#010x} flash={flash:#010x} model={text(head[12:16])}"
                return Section(name, 20, size, order, detail)
    return None


def _open(source: Source, limits: Limits) -> Reader:
    reader = PartsReader(FORMAT, source, limits, 0, {})
    at = 0
    while len(reader.parts) < SECTIONS and (section := _section(source, at)):
        number, data = len(reader.parts), at + section.header
        whole = data + section.size <= source.size
        sound = whole and words(source, data, section.size, section.order) == 0
        if not sound and not (number and whole):
            break  # only the sum tells a section from text that begins like one
        reader.header(at, section.header, "section header")
        reader.part(section.name if number == 0 else b"%s.%d" % (section.name, number), data, section.size)
        reader.detail[f"section {number}"] = section.detail
        if not sound:
            reader.problem("the words of the section do not add up to zero", reader.parts[-1].name)
        at = data + section.size
    if not reader.parts:
        raise NotThisFormat
    reader.end = at
    return reader


FORMAT = Format(
    name="realtek",
    title="Realtek and Edimax firmware sections (cs6c, r6cr, CSYS, ...)",
    open=_open,
    magics=[(0, name) for name in (*REALTEK, EDIMAX)],
    references=[
        Reference("OpenWrt firmware-utils, mkedimaximg", "https://git.openwrt.org/project/firmware-utils.git"),
        Reference("OpenWrt wiki, Realtek RTL819x", "https://openwrt.org/docs/techref/hardware/soc/soc.realtek"),
    ],
    limitations=[
        "an image whose first section has a wrong sum or is cut is not recognised",
        "not looked for inside other data",
    ],
    anywhere=False,  # its names are words, and only the sum over a section tells them apart
)
