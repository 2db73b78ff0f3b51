"""UBI, the volume layer that Linux puts on raw flash: volumes in logical eraseblocks, spread over physical ones.

Each physical eraseblock (PEB) begins with an erase counter header (EC); a used one has a volume identifier header (VID)
that says which logical eraseblock (LEB) of which volume it holds. All numbers are big endian, all CRC-32 without the
final inversion. Two LEBs of an internal volume each hold the volume table.

    EC:    "UBI#" u8 version, 3 unused; u64 erase counter; u32 VID offset, data offset, image sequence; 32 unused; CRC
    VID:   "UBI!" u8 version, type, copy, compat; u32 volume, LEB; 4 unused; u32 data size, used LEBs, padding,
           CRC of the data; 4 unused; u64 sequence; 12 unused; CRC
    table: u32 reserved LEBs, alignment, padding; u8 type, update marker; u16 name length; name[128]; u8 flags;
           23 unused; CRC

The size of a PEB is not written anywhere: it is what the places of EC headers have in common.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .base import (
    CHUNK,
    Claim,
    Entry,
    Format,
    LimitReached,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    Unsupported,
    guarded,
)
from .stretch import Stretches

_EC = struct.Struct(">4sB3xQLLL32xL")
_VID = struct.Struct(">4sBBBBLL4xLLLL4xQ12xL")
_RECORD = struct.Struct(">LLLBBH128sB23xL")
_HEADER = 64
_MAGIC = b"UBI#"
_SMALLEST, _LARGEST = 2048, 16 << 20
"""Sizes of a PEB that are believed, in bytes."""
_TRIED = 48 << 20
"""Bytes in which EC headers are looked for to find the size of a PEB: at least two of the largest."""
_HITS = 64
_DATA = 256 << 10
"""Furthest place in a block at which data are believed to begin."""
_GAP = 64
"""Blocks in a row without a header (bad, erased or overwritten ones) after which the image is over."""
_RECORDS = 128
_INTERNAL = 0x7FFFFFFF - 4096
_LAYOUT = _INTERNAL
_STATIC = 2
_TYPES = {1: "dynamic", _STATIC: "static"}
_PEB_BYTES = 512
"""What is reckoned for one block in memory."""
_ERASED = b"\xff" * CHUNK


class _Geometry(NamedTuple):
    """What the EC headers of one image have in common."""

    vid: int
    data: int
    sequence: int


class _Leb(NamedTuple):
    """A physical eraseblock that holds a logical one."""

    peb: int
    volume: int
    number: int
    kind: int
    copy: int
    size: int
    used: int
    pad: int
    crc: int
    sequence: int


class _Volume(NamedTuple):
    """A record of the volume table."""

    reserved: int
    alignment: int
    pad: int
    kind: int
    updating: int
    name: bytes
    flags: int


def _crc(data: bytes, start: int = 0) -> int:
    return zlib.crc32(data, start) ^ 0xFFFFFFFF


def _ec(raw: bytes) -> tuple[int, _Geometry] | None:
    """Return erase counter and geometry from an EC header, or None if it is none."""
    if len(raw) < _HEADER or raw[:4] != _MAGIC or _crc(raw[: _HEADER - 4]) != int.from_bytes(raw[60:64]):
        return None
    _, _, counter, vid, data, sequence, _ = _EC.unpack_from(raw)
    if vid < _HEADER or not vid + _HEADER <= data <= _DATA:
        return None
    return counter, _Geometry(vid, data, sequence)


def _same(one: _Geometry, other: _Geometry) -> bool:
    # Images from before there was a sequence number have 0 there, also in blocks written later.
    return one[:2] == other[:2] and (one.sequence == other.sequence or not one.sequence or not other.sequence)


def _peb_size(source: Source, geometry: _Geometry) -> int:
    """Return the size of a PEB: the largest distance at whose multiples most of the EC headers lie.

    A volume may hold an image of UBI: a distance at half of whose multiples there is no header is not believed.

    Raises:
        Truncated: there is no other header.
    """
    hits: list[int] = []
    end = min(source.size, _TRIED)
    at = 0
    while at < end and len(hits) < _HITS:
        data = source.pread(at, CHUNK + _HEADER)
        found = data.find(_MAGIC)
        while 0 <= found < CHUNK and len(hits) < _HITS:
            place = at + found
            # 512 is the least distance of headers: nothing smaller can be erased or written.
            if (
                place
                and place % 512 == 0
                and (other := _ec(data[found : found + _HEADER]))
                and _same(other[1], geometry)
            ):
                hits.append(place)
            found = data.find(_MAGIC, found + 4)
        at += CHUNK
    distances = set(hits) | {after - before for before, after in itertools.pairwise(hits)}
    fit = {
        distance: sum(1 for hit in hits if hit % distance == 0)
        for distance in distances
        if max(_SMALLEST, geometry.data + 1) <= distance <= _LARGEST
    }
    if not fit:
        raise Truncated("no second erase counter header, so the size of an eraseblock is not known")
    dense = {distance: fits for distance, fits in fit.items() if 2 * fits > hits[-1] // distance}
    return max(dense or fit, key=lambda distance: (fit[distance], distance))


class UbiReader(Reader):
    """An opened UBI image. `declared` is the number of volumes in the volume table."""

    def __init__(self, source: Source, limits: Limits, geometry: _Geometry) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.geometry = geometry
        self.peb_size = _peb_size(source, geometry)
        self.leb_size = self.peb_size - geometry.data
        self.pebs = 0
        self.counters: list[int] = []
        self.lebs: dict[int, dict[int, list[_Leb]]] = {}
        self.broken: dict[str, list[int]] = {}
        """Blocks without a right header, by what is wrong with them."""
        self.free: list[int] = []
        self.problems: list[Problem] = []
        self._scan()
        self._choose()
        self.volumes = self._table()
        self.declared = len(self.volumes)
        self.detail = self._details()

    # Blocks

    def _scan(self) -> None:
        """Read the headers of all blocks of this image."""
        size, last, room = self.peb_size, 0, self.limits.metadata_bytes // _PEB_BYTES
        waiting: list[tuple[int, str]] = []
        for peb in range(-(-self.source.size // size)):
            if peb >= room:
                raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
            raw = self.source.pread(peb * size, self.geometry.vid + _HEADER)
            found = _ec(raw)
            if found is None:
                if peb - last > _GAP:
                    break
                erased = raw[:_HEADER] == _ERASED[:_HEADER]
                waiting.append((peb, "" if erased else "erase counter header"))
                continue
            counter, geometry = found
            leb, wrong = self._vid(peb, raw[self.geometry.vid :])
            if not _same(geometry, self.geometry) or (leb and self._begins_another(leb)):
                break
            for before, what in waiting:
                if what:
                    self.broken.setdefault(what, []).append(before)
            waiting.clear()
            last = peb
            self.pebs = peb + 1
            self.counters.append(counter)
            if leb:
                self.lebs.setdefault(leb.volume, {}).setdefault(leb.number, []).append(leb)
            elif wrong:
                self.broken.setdefault("volume identifier header", []).append(peb)
            else:
                self.free.append(peb)

    def _vid(self, peb: int, raw: bytes) -> tuple[_Leb | None, bool]:
        """Return the LEB that a block holds, and whether its VID header is neither right nor erased."""
        if raw == _ERASED[:_HEADER]:
            return None, False
        if len(raw) < _HEADER or raw[:4] != b"UBI!" or _crc(raw[: _HEADER - 4]) != int.from_bytes(raw[60:64]):
            return None, True
        _, _, kind, copy, _, volume, number, size, used, pad, crc, sequence, _ = _VID.unpack_from(raw)
        if size + pad > self.leb_size or pad == self.leb_size or kind not in _TYPES:
            return None, True
        return _Leb(peb, volume, number, kind, copy, size, used, pad, crc, sequence), False

    def _begins_another(self, leb: _Leb) -> bool:
        """Tell whether a block is the first one of another image: one LEB is never written twice with one sequence."""
        before = self.lebs.get(leb.volume, {}).get(leb.number, ())
        return leb.volume == _LAYOUT and any(leb.sequence == other.sequence for other in before)

    def _choose(self) -> None:
        """Put the generation of each LEB that is in force first: the newest one that is not a broken copy."""
        for lebs in self.lebs.values():
            for number, several in lebs.items():
                if len(several) > 1:
                    several.sort(key=lambda leb: -leb.sequence)
                    chosen = next((leb for leb in several if not leb.copy or self._intact(leb)), several[0])
                    lebs[number] = [chosen, *(leb for leb in several if leb is not chosen)]

    def _place(self, leb: _Leb) -> int:
        return leb.peb * self.peb_size + self.geometry.data

    def _intact(self, leb: _Leb) -> bool:
        total = 0
        try:
            for chunk in self.source.chunks(self._place(leb), leb.size):
                total = zlib.crc32(chunk, total)
        except Truncated:
            return False
        return total ^ 0xFFFFFFFF == leb.crc

    # Volume table

    def _table(self) -> dict[int, _Volume]:
        """Return the volumes by id, from the first copy of the table that is whole, else what both have left."""
        count = min(_RECORDS, self.leb_size // _RECORD.size)
        found: dict[int, _Volume] = {}
        states = []
        for number in (0, 1):
            lebs = self.lebs.get(_LAYOUT, {}).get(number)
            raw = self.source.pread(self._place(lebs[0]), count * _RECORD.size) if lebs else b""
            broken = 0
            for index in range(count):
                record = raw[index * _RECORD.size : (index + 1) * _RECORD.size]
                if len(record) < _RECORD.size or _crc(record[:-4]) != int.from_bytes(record[-4:]):
                    broken += 1
                    continue
                reserved, alignment, pad, kind, updating, length, name, flags, _ = _RECORD.unpack(record)
                if reserved and length < 128 and kind in _TYPES and pad < self.leb_size:
                    volume = _Volume(reserved, alignment, pad, kind, updating, name[:length], flags)
                    found.setdefault(index, volume)
            states.append("missing" if not lebs else f"{broken} broken records" if broken else "ok")
            if lebs and not broken:
                break
        if states[-1] != "ok":
            text = f"volume table: first copy {states[0]}, second copy {states[1]}"
            self.problems.append(Problem("malformed", text, b"", 0))
        self.table_state = ", ".join(states)
        return found

    def _details(self) -> dict[str, str | int | bool | None]:
        counters = self.counters
        detail: dict[str, str | int | bool | None] = {
            "version": 1,
            "peb_size": self.peb_size,
            "leb_size": self.leb_size,
            "vid_offset": self.geometry.vid,
            "data_offset": self.geometry.data,
            "image_sequence": self.geometry.sequence,
            "blocks": self.pebs,
            "free_blocks": len(self.free),
            "erase_counter_min": min(counters),
            "erase_counter_max": max(counters),
            "erase_counter_mean": sum(counters) // len(counters),
            "volume_table": self.table_state,
            "highest_sequence": max((leb.sequence for leb in self._all()), default=0),
            "older_generations": sum(len(several) - 1 for lebs in self.lebs.values() for several in lebs.values()),
            "fastmap": any(volume in self.lebs for volume in (_LAYOUT + 1, _LAYOUT + 2)),
        }
        for number, volume in self.volumes.items():
            detail[str(number)] = (
                f"name={volume.name.decode('utf-8', 'backslashreplace')} type={_TYPES[volume.kind]} "
                f"reserved={volume.reserved} mapped={len(self.lebs.get(number, {}))} alignment={volume.alignment} "
                f"padding={volume.pad} update_marker={volume.updating} flags={volume.flags:#x}"
                + (" autoresize" if volume.flags & 1 else "")
            )
        return detail

    def _all(self) -> Iterator[_Leb]:
        return (leb for lebs in self.lebs.values() for several in lebs.values() for leb in several)

    # Listing

    def entries(self) -> Iterator[Entry | Problem]:
        """List volumes by their number, then those that only blocks tell of, named by their number."""
        yield from self.problems
        for what, blocks in self.broken.items():
            text = f"{what} broken in {len(blocks)} of {self.pebs} blocks, the first one is block {blocks[0]}"
            yield Problem("malformed", text, b"", 0)
        for number, volume in self.volumes.items():
            # An empty name would be that of the image itself.
            path = volume.name or b"%d" % number
            yield Entry(path=path, type="regular", locator=number, size=self._size(number))
            if volume.updating:
                yield Problem("malformed", "an update of the volume was begun and not finished", path, 0)
            if missing := self._missing(number):
                yield Problem("malformed", f"{missing} of its logical eraseblocks are missing", path, 0)
        for number, lebs in self.lebs.items():
            if number < _INTERNAL and number not in self.volumes:
                path = b"%d" % number
                yield Entry(path=path, type="regular", locator=number, size=self._size(number))
                text = f"volume {number} is not in the volume table, {len(lebs)} logical eraseblocks are there"
                yield Problem("malformed", text, path, 0)

    def _kind(self, number: int) -> int:
        volume = self.volumes.get(number)
        return volume.kind if volume else next(iter(self.lebs[number].values()))[0].kind

    def _used(self, number: int) -> int:
        """Return how many LEBs a volume's bytes take."""
        lebs = self.lebs.get(number, {})
        if not lebs:
            return 0
        used = max(lebs) + 1
        if self._kind(number) == _STATIC:
            used = max(used, *(several[0].used for several in lebs.values()))
        return min(used, self._most(number))

    def _most(self, number: int) -> int:
        """Return the most LEBs a volume can have: what it reserved, or 16 times as many blocks as there are."""
        volume = self.volumes.get(number)
        return min(volume.reserved if volume else 1 << 32, 16 * self.pebs + 1024)

    def _missing(self, number: int) -> int:
        if self._kind_if_any(number) != _STATIC:
            return 0
        lebs = self.lebs.get(number, {})
        used = self._used(number)
        return used - sum(1 for leb in lebs if leb < used)

    def _kind_if_any(self, number: int) -> int:
        return self._kind(number) if number in self.volumes or number in self.lebs else 0

    def _length(self, number: int) -> int:
        """Return the bytes that a full LEB of a volume has."""
        volume = self.volumes.get(number)
        pad = volume.pad if volume else next(iter(self.lebs[number].values()))[0].pad
        return self.leb_size - pad

    def _size(self, number: int) -> int | None:
        lebs = self.lebs.get(number)
        if not lebs:
            return 0
        used = self._used(number)
        if self._kind(number) != _STATIC:
            return used * self._length(number)
        if self._missing(number):
            return None
        return sum(lebs[leb][0].size for leb in range(used))

    # Contents

    def open(self, locator: Locator) -> Iterator[bytes]:
        """Yield a volume's bytes in pieces of at most 1 MiB, up to its last LEB that is mapped.

        A LEB of a dynamic volume that is not mapped reads as 0xFF, as on flash. See `Reader.open`.
        """
        if not isinstance(locator, int) or locator >= _INTERNAL or not self._kind_if_any(locator):
            raise Malformed(f"no such volume: {locator!r}")
        return guarded(self._data(locator), self.limits, self.source.size)

    def _data(self, number: int) -> Iterator[bytes]:
        lebs, length, static = self.lebs.get(number, {}), 0, self._kind(number) == _STATIC
        if lebs:
            length = self._length(number)
        used = self._used(number)
        for index in range(used):
            several = lebs.get(index)
            if several and static:
                yield from self._checked(several[0])
            elif several:
                yield from self.source.chunks(self._place(several[0]), length)
            elif static:
                raise Malformed(f"LEB {index} of {used} is missing")
            else:
                for at in range(0, length, CHUNK):
                    yield _ERASED[: min(CHUNK, length - at)]

    def _checked(self, leb: _Leb) -> list[bytes]:
        chunks = list(self.source.chunks(self._place(leb), leb.size))
        total = 0
        for chunk in chunks:
            total = zlib.crc32(chunk, total)
        if total ^ 0xFFFFFFFF != leb.crc:
            raise Malformed(f"LEB {leb.number} in block {leb.peb}: the CRC-32 of its data differs")
        return chunks

    # Claims

    def claims(self) -> list[Claim]:
        """Return what the blocks are. Bytes that should be erased are padding if they are, and else not claimed."""
        explained = Stretches()
        holders = {
            leb.peb: (leb, several[0]) for lebs in self.lebs.values() for several in lebs.values() for leb in several
        }
        without = {peb for blocks in self.broken.values() for peb in blocks}
        size, headers = self.peb_size, self.geometry
        for peb in range(self.pebs):
            start, end = peb * size, min((peb + 1) * size, self.source.size)
            data = min(start + headers.data, end)
            if peb in without:
                continue
            if peb in holders:
                leb, chosen = holders[peb]
                self._headers(explained, start, data)
                length = leb.size if leb.kind == _STATIC and leb.volume < _INTERNAL else self.leb_size - leb.pad
                stop = min(data + length, end)
                explained.add(data, stop, self._part(leb, chosen))
                self._padding(explained, stop, end)
            elif self.source.pread(start, 4) == _MAGIC:
                self._headers(explained, start, data)
                self._padding(explained, data, end)
            else:
                self._padding(explained, start, end)
        return explained.claims()

    def _part(self, leb: _Leb, chosen: _Leb) -> str:
        if leb is not chosen:
            return "older generation of an eraseblock"
        if leb.volume == _LAYOUT:
            return "volume table"
        return "fastmap" if leb.volume >= _INTERNAL else f"volume {leb.volume}"

    def _headers(self, explained: Stretches, start: int, end: int) -> None:
        """Explain the bytes before the data: two headers, and padding where it is what it should be."""
        raw = self.source.pread(start, end - start)
        vid = self.geometry.vid
        between, after = raw[_HEADER:vid], raw[vid + _HEADER :]
        if not between.strip(b"\xff") or not between.strip(b"\0"):
            explained.add(start, start + vid, "headers")
        else:
            explained.add(start, start + _HEADER, "headers")
        clean = not after.strip(b"\xff") or not after.strip(b"\0")
        explained.add(start + vid, end if clean else min(start + vid + _HEADER, end), "headers")

    def _padding(self, explained: Stretches, start: int, end: int) -> None:
        try:
            if all(not chunk.strip(b"\xff") for chunk in self.source.chunks(start, end - start)):
                explained.add(start, end, "padding")
        except Truncated:
            return


def _open(source: Source, limits: Limits) -> Reader:
    raw = source.pread(0, _HEADER)
    found = _ec(raw)
    if found is None:
        raise NotThisFormat
    if raw[4] != 1:
        raise Unsupported(f"UBI version {raw[4]}")
    return UbiReader(source, limits, found[1])


FORMAT = Format(
    name="ubi",
    title="UBI, volumes on raw flash (Linux)",
    open=_open,
    magics=[(0, _MAGIC)],
    references=[
        Reference("Linux MTD, UBI documentation", "http://www.linux-mtd.infradead.org/doc/ubi.html"),
        Reference("Linux MTD, UBI design", "http://www.linux-mtd.infradead.org/doc/ubidesign/ubidesign.pdf"),
    ],
    limitations=[
        "flash dumps with out-of-band data between pages are not read; take them out first",
        "a dynamic volume ends with its last mapped eraseblock: reserved ones after it, all erased, are not added",
        "data of dynamic volumes have no check; that of a moved block is used only to choose between its copies",
        "older generations of eraseblocks are explained, not listed",
        "the fastmap is not used: all headers are read",
    ],
)
