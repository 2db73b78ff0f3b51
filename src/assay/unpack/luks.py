"""LUKS volumes: what the header states, and with a secret that opens a key slot the volume itself.

A passphrase becomes a key (PBKDF2 or Argon2) that decrypts the slot's key material; that is merged from its stripes
(anti-forensic splitting) to the volume key, which a digest proves right. All of it is done only if secrets were given.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i, Argon2id

from . import secrets
from .base import (
    CHUNK,
    Claim,
    Encrypted,
    Entry,
    Format,
    LimitReached,
    Limits,
    Locator,
    Malformed,
    Problem,
    Reader,
    Reference,
    Source,
    Unsupported,
    guarded,
)
from .luks_structures import MAGIC, SECTOR, Header, Kdf, KeyDigest, Segment, Slot, read_header

ITERATIONS = 100_000_000
"""Iterations of PBKDF2 beyond which no key is derived: a minute."""
WORK = 64 << 20
"""KiB times passes of Argon2 beyond which no key is derived: a minute."""
MATERIAL = 4 << 20
"""Bytes of one slot's key material."""
HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")


def _cut(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(data), size):
        yield at, data[at : at + size]


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


def decryptor(encryption: str, key: bytes, sector: int = SECTOR) -> Callable[[bytes, int], bytes]:
    """Return what decrypts whole sectors.

    Args:
        encryption: cipher-mode-iv, as in dm-crypt: aes-xts-plain64, aes-cbc-essiv:sha256, ...
        key: the key.
        sector: bytes of one sector.

    Returns:
        A function of the encrypted sectors and the number of the first, counted in sectors of 512 bytes.

    Raises:
        Unsupported: a cipher, mode or initialisation vector that is not known here.
        Malformed: a key of a length that the cipher does not have.
    """
    cipher, _, rest = encryption.partition("-")
    mode, _, vector = rest.partition("-")
    if cipher != "aes" or mode not in ("xts", "cbc") or len(encryption) > 60:
        raise Unsupported(f"encryption {encryption[:60]!r}")
    step = sector // SECTOR
    narrow = vector == "plain"

    def numbers(first: int, count: int) -> bytes:
        return b"".join(
            struct.pack("<Q8x", number & (0xFFFFFFFF if narrow else 0xFFFFFFFFFFFFFFFF))
            for number in range(first, first + count * step, step)
        )

    if vector in ("plain", "plain64"):
        vectors = numbers
    elif vector.startswith("essiv:") and vector[6:] in HASHES:
        salted = Cipher(AES(hashlib.new(vector[6:], key, usedforsecurity=False).digest()), modes.ECB())  # noqa: S305

        def vectors(first: int, count: int) -> bytes:
            return salted.encryptor().update(numbers(first, count))
    else:
        raise Unsupported(f"initialisation vector {vector[:40]!r}")
    try:
        algorithm = AES(key)
        if mode == "xts":
            Cipher(algorithm, modes.XTS(bytes(16))).decryptor()
    except ValueError as error:
        raise Malformed(f"a key of {len(key) * 8} bits for {encryption}") from error

    def xts(data: bytes, first: int) -> bytes:
        tweaks = vectors(first, len(data) // sector)
        return b"".join(
            Cipher(algorithm, modes.XTS(tweaks[at // sector * 16 :][:16])).decryptor().update(piece)
            for at, piece in _cut(data, sector)
        )

    def cbc(data: bytes, first: int) -> bytes:
        starts = vectors(first, len(data) // sector)
        # All blocks in one call; what chaining adds to each is the block before it, or the sector's vector.
        before = b"".join(starts[at // sector * 16 :][:16] + piece[:-16] for at, piece in _cut(data, sector))
        return _xor(Cipher(algorithm, modes.ECB()).decryptor().update(data), before)  # noqa: S305 - see above

    return xts if mode == "xts" else cbc


def derive(kdf: Kdf, phrase: bytes, size: int, limits: Limits) -> bytes:
    """Return the key of a passphrase.

    Args:
        kdf: function and costs.
        phrase: the passphrase.
        size: bytes of the key.
        limits: `memory` is kept to.

    Raises:
        LimitReached: it would cost too much.
        Unsupported: a function that is not known here.
        Malformed: impossible costs.
    """
    try:
        salt = binascii.a2b_base64(kdf.salt)
        if kdf.type == "pbkdf2" and kdf.hash in HASHES:
            if not 0 < (kdf.iterations or 0) <= ITERATIONS:
                raise LimitReached("iterations", ITERATIONS)
            return hashlib.pbkdf2_hmac(kdf.hash, phrase, salt, kdf.iterations or 0, size)
        if kdf.type in ("argon2i", "argon2id"):
            passes, memory = kdf.time or 0, kdf.memory or 0
            if not 0 <= memory << 10 <= limits.memory // 4 * 3:
                raise LimitReached("memory", limits.memory)
            if passes * memory > WORK:
                raise LimitReached("work", WORK)
            function = Argon2i if kdf.type == "argon2i" else Argon2id
            return function(salt=salt, length=size, iterations=passes, lanes=kdf.cpus or 1, memory_cost=memory).derive(
                phrase
            )
    except MemoryError as error:
        raise LimitReached("memory", limits.memory) from error
    except (ValueError, OverflowError) as error:
        raise Malformed(f"key derivation: {error}") from error
    raise Unsupported(f"key derivation by {kdf.type[:40]!r} {(kdf.hash or '')[:40]}".rstrip())


def merge(data: bytes, stripes: int, hash: str) -> bytes:
    """Return what anti-forensic splitting has spread over stripes (LUKS1 specification, section 2.4)."""
    size = len(data) // stripes
    width = hashlib.new(hash, usedforsecurity=False).digest_size
    block = bytes(size)
    for at in range(0, (stripes - 1) * size, size):
        block = _xor(block, data[at : at + size])
        block = b"".join(
            hashlib.new(hash, struct.pack(">L", number) + piece, usedforsecurity=False).digest()[: len(piece)]
            for number, (_, piece) in enumerate(_cut(block, width))
        )
    return _xor(block, data[(stripes - 1) * size : stripes * size])


class Luks(Reader):
    """See `Reader`."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        self.header: Header = read_header(source)
        self.detail = self.header.detail | {"key_slots": len(self.header.slots)}

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`. With secrets, keys are derived here."""
        yield from self.header.problems
        if secrets.held():
            why = [str(problem.detail) for problem in self.unlock()] if self.key() is None else []
            opened = self.key()
            if opened is not None:
                self.detail["opened"] = f"with {opened[0]}"
            elif self.header.slots:
                yield Problem("encrypted", "; ".join(dict.fromkeys(["no secret opens it", *why])), b"", 0)
        if not self.header.segments:
            yield Problem("unsupported", "a header alone: its data are in another place", b"", 0)
        for segment in self.header.segments:
            yield Entry(segment.name.encode(), "regular", segment.name, self.extent(segment))

    def extent(self, segment: Segment) -> int:
        """Return how many bytes a segment has here."""
        there = max(0, self.source.size - segment.offset)
        length = there if segment.size is None else segment.size
        return length - length % segment.sector

    def key(self) -> tuple[str, bytes] | None:
        """Return which secret opens the volume, and the volume key, if that has been found."""
        return secrets.held().opened.get(self.header.identity)

    def unlock(self) -> list[Problem]:
        """Try all secrets on all slots; return what kept some from being tried."""
        held = secrets.held()
        begun = time.process_time()
        problems = []
        for secret in held.named_keys():
            if len(secret.value) == self.header.key_bytes and self.proven(secret.value, None):
                held.opened[self.header.identity] = f"{secret.name}, the volume key", secret.value
                return []
        for secret in [*held.named_passwords(), *held.named_keys()]:
            for slot in self.header.slots:
                if time.process_time() - begun > self.limits.cpu_seconds / 2:
                    return [Problem("limit", f"trying ended before {secret.name} by the limit cpu_seconds")]
                try:
                    key = self.try_slot(slot, secret.value)
                except LimitReached as error:
                    problems.append(
                        Problem(
                            "limit",
                            f"key slot {slot.number}: its derivation exceeds the limit {error}",
                            limit=error.name,
                        )
                    )
                    continue
                except (Malformed, Unsupported) as error:
                    problems.append(Problem(error.reason, f"key slot {slot.number}: {error}"))
                    continue
                if self.proven(key, slot.number):
                    held.opened[self.header.identity] = f"{secret.name}, key slot {slot.number}", key
                    return []
        return problems

    def try_slot(self, slot: Slot, phrase: bytes) -> bytes:
        """Return the volume key that a slot holds, right only if the passphrase is."""
        size = slot.key * slot.stripes
        if not 0 < slot.key <= 512 or not 0 < size <= MATERIAL or not 0 < slot.area_key <= 512:
            raise Malformed(f"a key of {slot.key} bytes in {slot.stripes} stripes")
        if slot.split_hash not in HASHES:
            raise Unsupported(f"splitting by {slot.split_hash[:40]!r}")
        padded = -(-size // SECTOR) * SECTOR
        material = self.source.pread(slot.offset, padded)
        if len(material) < padded:
            raise Malformed("its key material is not there")
        wrapped = derive(slot.kdf, phrase, slot.area_key, self.limits)
        return merge(decryptor(slot.encryption, wrapped)(material, 0)[:size], slot.stripes, slot.split_hash)

    def proven(self, key: bytes, slot: int | None) -> bool:
        """Tell whether a digest says that this is the volume key."""
        return any(self.matches(digest, key) for digest in self.header.digests if slot is None or slot in digest.slots)

    def matches(self, digest: KeyDigest, key: bytes) -> bool:
        """Tell whether a digest is the key's."""
        if digest.hash not in HASHES or not 0 < digest.iterations <= ITERATIONS or not digest.digest:
            return False
        made = hashlib.pbkdf2_hmac(digest.hash, key, digest.salt, digest.iterations, len(digest.digest))
        return made == digest.digest

    def open(self, locator: Locator) -> Iterator[bytes]:
        """See `Reader.open`.

        Raises:
            Encrypted: no secret opens it, or none was given.
            Unsupported: a cipher that is not known here, or data with authentication.
        """
        segment = next((each for each in self.header.segments if each.name == locator), None)
        if segment is None:
            raise Malformed("no such segment")
        if not segment.encryption:
            return self.source.chunks(segment.offset, self.extent(segment))
        if secrets.held() and self.key() is None:
            self.unlock()
        opened = self.key()
        if opened is None:
            tried = "no secret opens it" if secrets.held() else "no secret was given"
            raise Encrypted(f"{segment.encryption[:60]}: {tried}")
        if segment.integrity:
            raise Unsupported("data with authentication (dm-integrity)")
        decrypt = decryptor(segment.encryption, opened[1], segment.sector)
        return guarded(self._decrypted(segment, decrypt), self.limits, self.source.size)

    def _decrypted(self, segment: Segment, decrypt: Callable[[bytes, int], bytes]) -> Iterator[bytes]:
        number = segment.tweak
        for chunk in self.source.chunks(segment.offset, self.extent(segment)):
            yield decrypt(chunk, number)
            number += CHUNK // SECTOR

    def span(self, locator: Locator) -> tuple[int, int] | None:
        """See `Reader.span`: only of a segment that is not encrypted."""
        for each in self.header.segments:
            if each.name == locator and not each.encryption:
                length = self.extent(each)
                return (each.offset, length) if each.offset + length <= self.source.size else None
        return None

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        size = self.source.size
        found = [*self.header.claims]
        found += [Claim(each.offset, self.extent(each), "encrypted volume") for each in self.header.segments]
        return [
            Claim(claim.offset, min(claim.length, size - claim.offset), claim.what)
            for claim in found
            if claim.length > 0 and claim.offset < size
        ]


FORMAT = Format(
    name="luks",
    title="LUKS encrypted volume, versions 1 and 2",
    open=Luks,
    magics=[(0, MAGIC)],
    references=[
        Reference(
            "LUKS2 On-Disk Format Specification 1.1.1",
            "https://gitlab.com/cryptsetup/LUKS2-docs/-/blob/main/luks2_doc_wip.pdf",
        ),
        Reference(
            "LUKS1 On-Disk Format Specification 1.2.3",
            "https://gitlab.com/cryptsetup/cryptsetup/-/wikis/LUKS-standard/on-disk-format.pdf",
        ),
    ],
    limitations=[
        "without a passphrase, key file or volume key that opens it, the volume is named as encrypted",
        "ciphers other than AES in XTS or CBC mode, hashes other than SHA-1 and SHA-2, tokens (TPM, FIDO2)",
        "data with authentication, detached headers",
        "a volume that is just being re-encrypted is read only where a segment is not",
        "a volume that fills its device has no stated end: it is taken to go on to the end of the bytes",
        "found only where a file or partition begins",
    ],
    anywhere=False,
    smallest=592,
)
