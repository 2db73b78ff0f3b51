"""The headers of LUKS volumes: version 1 in one binary block, version 2 as a binary header and JSON, kept twice.

LUKS1 (On-Disk Format Specification 1.2.3, section 2), big endian, 592 bytes; offsets in sectors of 512 bytes:

    char magic[6] = "LUKS" BA BE; u16 version; char cipher[32], mode[32], hash[32]; u32 payload, key bytes;
    u8 digest[20], digest's salt[32]; u32 digest's iterations; char uuid[40];
    { u32 active, iterations; u8 salt[32]; u32 key material, stripes; } slots[8];

LUKS2 (On-Disk Format Specification 1.1.1, section 2), big endian, 4096 bytes, then JSON up to the header's size:

    char magic[6], the second copy "SKUL" BA BE; u16 version; u64 header's size, sequence; char label[48],
    checksum's algorithm[32]; u8 salt[64]; char uuid[40], subsystem[48]; u64 offset; u8 pad[184], checksum[64];
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from dataclasses import dataclass, field

import msgspec

from .base import Claim, Malformed, NotThisFormat, Problem, Source, Truncated, Unsupported
from .parts import Detail, text

MAGIC, SECOND = b"LUKS\xba\xbe", b"SKUL\xba\xbe"
HEADER1 = struct.Struct(">6xH32s32s32sLL20s32sL40s")
SLOT1 = struct.Struct(">LL32sLL")
ACTIVE, DISABLED = 0x00AC71F3, 0x0000DEAD
SIZE1 = 592
HEADER2 = struct.Struct(">6sHQQ48s32s64s40s48sQ184x64s")
BINARY2 = 4096
SIZES2 = tuple(1 << bits for bits in range(14, 23))
"""Sizes that a LUKS2 header may have: 16 KiB to 4 MiB."""
CHECKSUM_AT = 0x1C0
SECTOR = 512
SLOTS = 32
"""Key slots of LUKS2 (its reference implementation's limit)."""


class Kdf(msgspec.Struct, frozen=True):
    """How a passphrase becomes a key."""

    type: str
    """pbkdf2, argon2i, argon2id."""
    salt: str
    """In base64."""
    hash: str | None = None
    iterations: int | None = None
    time: int | None = None
    """Passes of Argon2."""
    memory: int | None = None
    """KiB."""
    cpus: int | None = None


class _Area(msgspec.Struct, frozen=True):
    offset: int
    size: int
    type: str = ""
    encryption: str = ""
    key_size: int = 0


class _Split(msgspec.Struct, frozen=True):
    stripes: int
    hash: str


class _Slot(msgspec.Struct, frozen=True):
    type: str
    key_size: int = 0
    area: _Area | None = None
    kdf: Kdf | None = None
    af: _Split | None = None


class _Segment(msgspec.Struct, frozen=True):
    type: str
    offset: int
    size: str
    iv_tweak: int = 0
    encryption: str = ""
    sector_size: int = SECTOR
    integrity: dict[str, object] | None = None
    flags: list[str] = []


class _Digest(msgspec.Struct, frozen=True):
    type: str
    keyslots: list[str]
    segments: list[str]
    salt: str
    digest: str
    hash: str = ""
    iterations: int = 0


class _Token(msgspec.Struct, frozen=True):
    type: str


class _Config(msgspec.Struct, frozen=True):
    json_size: int
    keyslots_size: int = 0


class _Json(msgspec.Struct, frozen=True):
    keyslots: dict[str, _Slot]
    segments: dict[str, _Segment]
    digests: dict[str, _Digest]
    config: _Config
    tokens: dict[str, _Token] = {}


_decode = msgspec.json.Decoder(_Json, strict=False).decode


@dataclass(frozen=True)
class Slot:
    """A key slot in use."""

    number: int
    kdf: Kdf
    offset: int
    encryption: str
    """Of the key material: cipher-mode-iv."""
    area_key: int
    """Bytes of the key that the passphrase becomes."""
    stripes: int
    split_hash: str
    key: int
    """Bytes of the key that the slot holds."""


@dataclass(frozen=True)
class Segment:
    """Where data lie."""

    name: str
    offset: int
    size: int | None
    """Bytes; None: to the end of the device."""
    encryption: str
    """cipher-mode-iv; empty if it is not encrypted."""
    sector: int
    tweak: int
    """Number of its first sector for the initialisation vector, in sectors of 512 bytes."""
    integrity: bool


@dataclass(frozen=True)
class KeyDigest:
    """By what a volume key is known to be right."""

    hash: str
    salt: bytes
    iterations: int
    digest: bytes
    slots: frozenset[int]
    segments: frozenset[str]


@dataclass
class Header:
    """What a LUKS header states."""

    version: int
    identity: bytes
    """SHA-256 of the header's bytes."""
    detail: Detail
    slots: list[Slot] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    digests: list[KeyDigest] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def encryption(self) -> str:
        """How the data are encrypted: cipher-mode-iv of the first segment that is."""
        return next((segment.encryption for segment in self.segments if segment.encryption), "")

    @property
    def key_bytes(self) -> int | None:
        """Length of the volume key."""
        return next((slot.key for slot in self.slots if slot.key), None)


def read_header(source: Source) -> Header:
    """Read the header of a volume.

    Raises:
        NotThisFormat: there is none.
        Truncated: the source ends inside it.
        Malformed: it contradicts itself or its checksum.
        Unsupported: a version that is not known here.
    """
    head = source.pread(0, BINARY2)
    if len(head) < 8 or head[:6] not in (MAGIC, SECOND):
        raise NotThisFormat
    version = int.from_bytes(head[6:8], "big")
    if version == 1 and head[:6] == MAGIC:
        return _read1(head)
    if version == 2:
        return _read2(source)
    raise NotThisFormat


def _read1(head: bytes) -> Header:
    if len(head) < SIZE1:
        raise Truncated(f"a LUKS1 header has {SIZE1} bytes, the source {len(head)}")
    version, cipher, mode, hash, payload, size, digest, salt, iterations, uuid = HEADER1.unpack_from(head)
    if not text(cipher) or not text(mode) or not 8 <= size <= 512:
        raise NotThisFormat
    detail: Detail = {"version": version, "uuid": text(uuid), "cipher": text(cipher), "mode": text(mode),
                      "hash": text(hash), "key_bits": size * 8}  # fmt: skip
    header = Header(1, hashlib.sha256(head[:SIZE1]).digest(), detail)
    end = SIZE1
    encryption = f"{text(cipher)}-{text(mode)}"
    for number in range(8):
        active, rounds, slot_salt, at, stripes = SLOT1.unpack_from(head, HEADER1.size + number * SLOT1.size)
        if active not in (ACTIVE, DISABLED):
            raise Malformed(f"key slot {number} is neither active nor disabled: {active:#010x}")
        if active == ACTIVE:
            if not stripes or at * SECTOR < SIZE1:
                raise Malformed(f"key slot {number} has {stripes} stripes at sector {at}")
            kdf = Kdf("pbkdf2", binascii.b2a_base64(slot_salt).decode(), text(hash), rounds)
            header.slots.append(Slot(number, kdf, at * SECTOR, encryption, size, stripes, text(hash), size))
            end = max(end, at * SECTOR + size * stripes)
    start = payload * SECTOR
    if start:
        if start < end:
            raise Malformed(f"the data begin at offset {start}, inside of key material that ends at {end}")
        header.segments.append(Segment("volume", start, None, encryption, SECTOR, 0, integrity=False))
    header.digests.append(KeyDigest(text(hash), salt, iterations, digest, frozenset(range(8)), frozenset({"volume"})))
    header.claims = [Claim(0, SIZE1, "header"), Claim(SIZE1, max(start, end) - SIZE1, "key material")]
    return header


def _read2(source: Source) -> Header:
    damage = ""
    for at in (0, *SIZES2):
        raw = source.pread(at, BINARY2)
        if len(raw) < BINARY2 or raw[:6] != (SECOND if at else MAGIC):
            damage = damage or "the first binary header is cut off or gone"
            continue
        _, version, size, sequence, label, algorithm, _, uuid, subsystem, offset, checksum = HEADER2.unpack_from(raw)
        if version != 2 or size not in SIZES2 or offset != at:
            damage = damage or f"a header of version {version} with {size} bytes at offset {offset}"
            continue
        whole = source.pread(at, size)
        name = text(algorithm)
        if name not in ("sha256", "sha512", "sha1", "sha384", "sha224"):
            raise Unsupported(f"checksum by {name!r}")
        running = hashlib.new(name, whole[:CHECKSUM_AT] + bytes(64) + whole[CHECKSUM_AT + 64 :], usedforsecurity=False)
        if running.digest() != checksum[: running.digest_size]:
            damage = damage or f"the checksum of the header at offset {at} is wrong"
            continue
        detail: Detail = {"version": 2, "uuid": text(uuid), "label": text(label), "subsystem": text(subsystem),
                          "sequence": sequence}  # fmt: skip
        header = Header(2, hashlib.sha256(whole).digest(), detail)
        if at:
            header.problems.append(Problem("malformed", f"{damage}; its second copy was used", b"", 0))
        _json(header, whole[BINARY2:], size)
        return header
    raise Malformed(f"no whole header: {damage}")


def _json(header: Header, raw: bytes, size: int) -> None:
    try:
        stated = _decode(raw.split(b"\0", 1)[0])
        header.digests = [
            KeyDigest(
                each.hash, binascii.a2b_base64(each.salt), each.iterations, binascii.a2b_base64(each.digest),
                frozenset(map(int, each.keyslots)), frozenset(each.segments),
            )
            for each in stated.digests.values()
            if each.type == "pbkdf2"
        ]  # fmt: skip
        for name, slot in sorted(stated.keyslots.items()):
            number = int(name)
            if slot.type != "luks2" or slot.area is None or slot.kdf is None or slot.af is None:
                header.problems.append(Problem("unsupported", f"key slot {number} of type {slot.type[:50]!r}", b"", 0))
                continue
            area = slot.area
            header.slots.append(
                Slot(number, slot.kdf, area.offset, area.encryption, area.key_size, slot.af.stripes, slot.af.hash,
                     slot.key_size)
            )  # fmt: skip
        only = sum("backup" not in "".join(segment.flags) for segment in stated.segments.values()) == 1
        for name, segment in sorted(stated.segments.items()):
            if segment.type not in ("crypt", "linear"):
                header.problems.append(Problem("unsupported", f"segment of type {segment.type[:50]!r}", b"", 1))
                continue
            if any(flag.startswith("backup") for flag in segment.flags):
                continue
            length = None if segment.size == "dynamic" else int(segment.size)
            header.segments.append(
                Segment(
                    "volume" if only else f"volume-{int(name)}", segment.offset, length,
                    segment.encryption if segment.type == "crypt" else "", segment.sector_size, segment.iv_tweak,
                    segment.integrity is not None,
                )
            )  # fmt: skip
    except (ValueError, RecursionError) as error:
        raise Malformed(f"its JSON: {' '.join(str(error).split())[:200]}") from error
    if len(header.slots) > SLOTS or len(header.segments) > SLOTS or len(header.digests) > SLOTS:
        raise Malformed("more key slots, segments or digests than 32")
    if any(s.offset < 0 or (s.size or 0) < 0 or s.sector not in (512, 1024, 2048, 4096) for s in header.segments):
        raise Malformed("a segment at a negative offset, or of impossible sectors")
    header.detail |= {
        "cipher": header.encryption,
        "key_bits": None if header.key_bytes is None else header.key_bytes * 8,
        "tokens": ", ".join(token.type[:50] for token in list(stated.tokens.values())[:32]),
    }
    slots = max(0, min(stated.config.keyslots_size, 128 << 20))
    header.claims = [Claim(0, size, "header"), Claim(size, size, "second header"), Claim(2 * size, slots, "key slots")]
