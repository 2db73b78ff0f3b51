"""Android update payloads (payload.bin of an A/B update): partitions as operations on blocks.

Big-endian: "CrAU" u64 version = 2, manifest size; u32 size of the manifest's signature; then the manifest, a protocol
buffer (update_metadata.proto), its signature, and the data of all operations. Fields read of the manifest:

    DeltaArchiveManifest: 3 block_size, 4 signatures_offset, 5 signatures_size, 12 minor_version, 13 partitions,
        14 max_timestamp
    PartitionUpdate: 1 partition_name, 7 new_partition_info {1 size, 2 hash}, 8 operations
    InstallOperation: 1 type, 2 data_offset, 3 data_length, 6 dst_extents {1 start_block, 2 num_blocks},
        8 data_sha256_hash
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from .stream import Codec, decode
from .xz import codec

MAGIC = b"CrAU"
_BZIP2 = Codec(new=bz2.BZ2Decompressor, errors=(OSError, ValueError))
_HEADER = struct.Struct(">4sQQI")
_REPLACE, _REPLACE_BZ, _ZERO, _DISCARD, _REPLACE_XZ = 0, 1, 6, 7, 8
_DELTAS = {
    2: "MOVE",
    3: "BSDIFF",
    4: "SOURCE_COPY",
    5: "SOURCE_BSDIFF",
    9: "PUFFDIFF",
    10: "BROTLI_BSDIFF",
    11: "ZUCCHINI",
    12: "LZ4DIFF_BSDIFF",
    13: "LZ4DIFF_PUFFDIFF",
}
_OPERATION = 400
"""What is reckoned for one operation in memory, in bytes."""

_TIMES = 4
"""Operations may share data; so many times the file is read for one partition, at most."""


class Operation(NamedTuple):
    """What is to be done with some blocks."""

    type: int
    offset: int
    length: int
    extents: tuple[tuple[int, int], ...]
    """(first block, blocks) each."""
    sha256: bytes


@dataclass
class Partition:
    """A partition as the update leaves it."""

    name: str = ""
    size: int | None = None
    sha256: bytes = b""
    operations: list[Operation] = field(default_factory=list)


def fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message: an integer, or bytes.

    Raises:
        Malformed: it is no protocol buffer.
    """
    view = memoryview(data)
    at, end = 0, len(view)

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while at < end and shift < 64:
            byte = view[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise Malformed("a number in the manifest has no end")

    while at < end:
        key = varint()
        wire = key & 7
        if wire == 0:
            yield key >> 3, varint()
            continue
        length = varint() if wire == 2 else {1: 8, 5: 4}.get(wire, -1)
        if not 0 <= length <= end - at:
            raise Malformed("a field of the manifest goes on beyond its message")
        yield key >> 3, view[at : at + length]
        at += length


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise Malformed("a number of the manifest is none")
    return value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Malformed("a message or text of the manifest is a number")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8", "backslashreplace")


class PayloadReader(Reader):
    """See `Reader`. Lists `NAME.img` of each partition; a locator is its place in the manifest."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        head = source.pread(0, _HEADER.size)
        if len(head) < _HEADER.size:
            raise NotThisFormat
        _, version, size, signature = _HEADER.unpack(head)
        if version != 2 or not 0 < size < 1 << 32 or signature > 1 << 20:
            raise NotThisFormat
        if size > limits.metadata_bytes // 4:
            raise LimitReached("metadata_bytes", limits.metadata_bytes)
        raw = source.pread(_HEADER.size, size)
        if raw[:1] not in (b"\x18", b"\x20", b"\x28", b"\x60", b"\x6a"):  # the fields that come first
            raise NotThisFormat
        if len(raw) < size:
            raise Truncated(f"the manifest has {size} bytes, the file ends after {len(raw)}")
        self._data = _HEADER.size + size + signature
        self._left = limits.metadata_bytes // _OPERATION
        self._block = 4096
        self.partitions: list[Partition] = []
        signed = [0, 0]
        self.detail = {"version": version, "minor_version": 0, "manifest_signature_bytes": signature}
        for number, value in fields(raw):
            if number == 3:
                self._block = _number(value)
            elif number in (4, 5):
                signed[number - 4] = _number(value)
            elif number == 12:
                self.detail["minor_version"] = _number(value)
            elif number == 14:
                self.detail["time"] = _number(value) * 1_000_000_000
            elif number == 13:
                self.partitions.append(self._partition(_bytes(value)))
        if not 512 <= self._block <= 1 << 20:
            raise Malformed(f"blocks have {self._block} bytes")
        self.detail["block_bytes"] = self._block
        self.detail["full"] = not any(
            operation.type in _DELTAS for part in self.partitions for operation in part.operations
        )
        self.declared = len(self.partitions)
        ends = [op.offset + op.length for part in self.partitions for op in part.operations if op.length]
        self._structure = [
            Claim(0, _HEADER.size, "header"),
            Claim(_HEADER.size, size, "manifest"),
            Claim(_HEADER.size + size, signature, "signature of the manifest"),
            Claim(self._data, max(ends, default=0), "data"),
            Claim(self._data + signed[0], signed[1], "signatures"),
        ]

    def _partition(self, data: memoryview) -> Partition:
        part = Partition()
        self._left -= 1
        for number, value in fields(data):
            if number == 1:
                part.name = _text(value)
            elif number == 7:
                for inner, said in fields(_bytes(value)):
                    if inner == 1:
                        part.size = _number(said)
                    elif inner == 2:
                        part.sha256 = bytes(_bytes(said))
            elif number == 8:
                part.operations.append(self._operation(_bytes(value)))
        return part

    def _operation(self, data: memoryview) -> Operation:
        said = {1: 0, 2: 0, 3: 0}
        extents: list[tuple[int, int]] = []
        digest = b""
        for number, value in fields(data):
            if number in said:
                said[number] = _number(value)
            elif number == 6:
                extent = {1: 0, 2: 0}
                extent |= {inner: _number(part) for inner, part in fields(_bytes(value)) if inner in extent}
                extents.append((extent[1], extent[2]))
            elif number == 8:
                digest = bytes(_bytes(value))
        self._left -= 1 + len(extents) // 4
        if self._left < 0:
            raise LimitReached("metadata_bytes", self.limits.metadata_bytes)
        return Operation(said[1], said[2], said[3], tuple(extents), digest)

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`."""
        for number, part in enumerate(self.partitions):
            yield Entry(f"{part.name or number}.img".encode(), "regular", locator=number, size=part.size)

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`. Hashes of the operations and of the partition are checked.

        Raises:
            Unsupported: the partition is made from an earlier one that is not here.
        """
        if not isinstance(locator, int) or not 0 <= locator < len(self.partitions):
            raise Malformed(f"no such entry: {locator!r}")
        return guarded(self._image(self.partitions[locator]), self.limits, self.source.size)

    def _image(self, part: Partition) -> Iterator[bytes]:
        steps = []
        for operation in part.operations:
            if operation.type in _DELTAS:
                raise Unsupported(f"made from an earlier version of the partition ({_DELTAS[operation.type]})")
            if len(operation.extents) != 1 and operation.type not in (_ZERO, _DISCARD):
                raise Unsupported(f"an operation of type {operation.type} on {len(operation.extents)} extents")
            steps += [(start, blocks, operation) for start, blocks in operation.extents]
        if sum(operation.length for operation in part.operations) > _TIMES * self.source.size:
            raise Malformed(f"the operations read the file more than {_TIMES} times")
        running = hashlib.sha256()
        at = 0
        for start, blocks, operation in sorted(steps, key=lambda step: step[0]):
            if start * self._block < at:
                raise Malformed(f"two operations write block {start}")
            for chunk in self._exactly(_zeros(start * self._block - at), start * self._block - at):
                running.update(chunk)
                yield chunk
            size = blocks * self._block
            for chunk in self._exactly(self._result(operation, size), size):
                running.update(chunk)
                yield chunk
            at = start * self._block + size
        if part.sha256 and running.digest() != part.sha256:
            raise Malformed("the partition has another SHA-256 than the manifest states")

    def _exactly(self, chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
        """Yield chunks, and zeros where they are fewer bytes than `size`.

        Raises:
            Malformed: they are more.
        """
        left = size
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise Malformed(f"an operation gives more than the {size} bytes of its blocks")
            yield chunk
        yield from _zeros(left)

    def _result(self, operation: Operation, size: int) -> Iterator[bytes]:
        if operation.type in (_ZERO, _DISCARD):
            yield from _zeros(size)
            return
        blob = self.source.window(self._data + operation.offset, operation.length)
        if blob.size < operation.length:
            raise Truncated(f"the data of an operation at offset {operation.offset} are beyond the end")
        if operation.sha256:
            running = hashlib.sha256()
            for chunk in blob.chunks():
                running.update(chunk)
            if running.digest() != operation.sha256:
                raise Malformed(f"the data of the operation at offset {operation.offset} have another SHA-256")
        if operation.type == _REPLACE:
            yield from blob.chunks()
        elif operation.type == _REPLACE_BZ:
            yield from decode(blob, 0, _BZIP2)
        elif operation.type == _REPLACE_XZ:
            yield from decode(blob, 0, codec(lzma.FORMAT_XZ, self.limits))
        else:
            raise Unsupported(f"an operation of type {operation.type}")

    def claims(self) -> list[Claim]:
        """See `Reader.claims`. Only what the source has."""
        size = self.source.size
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in self._structure
            if claim.offset < size and claim.length
        ]


def _zeros(size: int) -> Iterator[bytes]:
    piece = bytes(min(size, CHUNK)) if size > 0 else b""
    while size > 0:
        yield piece[:size]
        size -= len(piece)


def _open(source: Source, limits: Limits) -> Reader:
    return PayloadReader(source, limits)


FORMAT = Format(
    name="android-payload",
    title="Android update payload (payload.bin)",
    open=_open,
    magics=[(0, MAGIC)],
    references=[
        Reference(
            "Android: update_engine/update_metadata.proto",
            "https://android.googlesource.com/platform/system/update_engine/+/refs/heads/main/update_metadata.proto",
        ),
    ],
    limitations=[
        "incremental updates: their partitions are made from earlier ones; they are listed, and said to be so",
        "signatures are not verified",
    ],
    smallest=_HEADER.size + 1,
)
