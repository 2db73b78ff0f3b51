"""Encrypted entries of ZIP archives: the traditional cipher (APPNOTE section 6.1) and WinZip's AES (AE-1, AE-2).

Traditional: 12 encrypted bytes, whose last one checks the password, and the data. AES: a salt of half the key's length,
2 bytes that check the password, the data in CTR mode (the counter is little endian and begins at 1), 10 bytes of
HMAC-SHA-1 over the encrypted data.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from array import array
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .base import Encrypted, Limits, Malformed, Source, UnpackError
from .secrets import Secret, held
from .zipdata import AES, decode
from .zipdirectory import DESCRIPTOR, STRONG, Central, extras

AES_FIELD = 0x9901
ITERATIONS, CHECK, MAC = 1000, 2, 10
HEADER = 12


class Seal(NamedTuple):
    """How an entry is encrypted; part of its locator."""

    strength: int
    """1, 2, 3 for AES of 128, 192, 256 bits; 0 for the traditional cipher; -1 for one that is not read."""
    method: int
    """Compression below the encryption."""
    check: int
    """Traditional: what the last byte of the header must be. AES: the vendor's version, 1 or 2."""

    @property
    def scheme(self) -> str:
        """Its name."""
        return "zip-strong" if self.strength < 0 else "zip-aes" if self.strength else "zip-crypto"


def seal(central: Central) -> Seal:
    """Return how an entry is encrypted, by its central directory header."""
    if central.flags & STRONG:
        return Seal(-1, central.method, 0)
    if central.method != AES:
        return Seal(0, central.method, central.time >> 8 if central.flags & DESCRIPTOR else central.crc >> 24)
    for kind, data in extras(central.extra):
        if kind == AES_FIELD and len(data) >= 7:
            version, vendor, strength, method = struct.unpack_from("<H2sBH", data)
            if vendor == b"AE" and version in (1, 2) and strength in (1, 2, 3):
                return Seal(strength, method, version)
    return Seal(-1, central.method, 0)


class _AesSource(Source):
    """What an entry's AES covers, decrypted where it is read."""

    def __init__(self, source: Source, key: bytes, mac: bytes, start: int) -> None:
        self.base = source
        self.start = start
        self.size = source.size - start - MAC
        self.cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - of the counter: its order is not the library's
        self.mac = hmac.new(mac, digestmod=hashlib.sha1)
        self.seen = 0

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        length = min(length, self.size - offset)
        if length <= 0 or offset < 0:
            return b""
        data = self.base.pread(self.start + offset, length)
        if offset == self.seen:
            self.mac.update(data)
            self.seen += len(data)
        first, skip = divmod(offset, 16)
        count = -(-(skip + len(data)) // 16)
        counters = array("Q", bytes(16 * count))
        counters[::2] = array("Q", range(first + 1, first + 1 + count))
        stream = self.cipher.encryptor().update(counters.tobytes())[skip : skip + len(data)]
        return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(len(data), "little")

    def authentic(self) -> bool:
        """Tell whether the HMAC is right."""
        for chunk in self.base.chunks(self.start + self.seen, self.size - self.seen):
            self.mac.update(chunk)
        self.seen = self.size
        return self.mac.digest()[:MAC] == self.base.pread(self.start + self.size, MAC)


@cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)  # noqa: PLW2901 - eight steps of it
        table.append(value)
    return table


class _Keys:
    """The three keys of the traditional cipher."""

    def __init__(self, password: bytes) -> None:
        self.state = 0x12345678, 0x23456789, 0x34567890
        table = _table()
        one, two, three = self.state
        for byte in password:
            one = one >> 8 ^ table[(one ^ byte) & 255]
            two = (two + (one & 255)) * 134775813 + 1 & 0xFFFFFFFF
            three = three >> 8 ^ table[(three ^ two >> 24) & 255]
        self.state = one, two, three

    def decrypt(self, data: bytes) -> bytes:
        """Return what follows, decrypted."""
        table = _table()
        one, two, three = self.state
        out = bytearray(len(data))
        for at, byte in enumerate(data):
            word = three | 2
            byte ^= word * (word ^ 1) >> 8 & 255  # noqa: PLW2901 - the plain byte goes into the keys
            out[at] = byte
            one = one >> 8 ^ table[(one ^ byte) & 255]
            two = (two + (one & 255)) * 134775813 + 1 & 0xFFFFFFFF
            three = three >> 8 ^ table[(three ^ two >> 24) & 255]
        self.state = one, two, three
        return bytes(out)


class _TraditionalSource(Source):
    """An entry's data behind the traditional header, decrypted as they are read, which is from first to last."""

    def __init__(self, source: Source, keys: _Keys) -> None:
        self.base = source
        self.size = source.size - HEADER
        self.keys = keys
        self.at = 0

    def pread(self, offset: int, length: int) -> bytes:
        """See `Source.pread`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if offset != self.at:
            raise Malformed("the traditional cipher is read from the first to the last byte only")
        data = self.keys.decrypt(self.base.pread(HEADER + offset, length))
        self.at += len(data)
        return data


def _unlock(source: Source, sealed: Seal, password: bytes) -> Source | None:
    """Return the data of an entry, decrypted; None if the password's check says that it is another one."""
    if sealed.strength:
        key = 8 + 8 * sealed.strength
        start = key // 2 + CHECK
        if source.size < start + MAC:
            raise Malformed("no room for salt and authentication code")
        head = source.exactly(0, start)
        made = hashlib.pbkdf2_hmac("sha1", password, head[: key // 2], ITERATIONS, 2 * key + CHECK)
        return _AesSource(source, made[:key], made[key : 2 * key], start) if made[2 * key :] == head[-CHECK:] else None
    keys = _Keys(password)
    if keys.decrypt(source.exactly(0, HEADER))[-1] != sealed.check & 255:
        return None
    return _TraditionalSource(source, keys)


def opened(
    source: Source, sealed: Seal, size: int, crc: int, limits: Limits, known: Secret | None
) -> tuple[Secret, Iterator[bytes]]:
    """Decrypt an entry with the first password that opens it.

    Args:
        source: the encrypted bytes, no more.
        sealed: how they are encrypted.
        size: length that the directory declares, in bytes.
        crc: CRC-32 that it declares; AE-2 has none.
        limits: limits in force.
        known: the password that opened another entry of the archive: it is tried first.

    Returns:
        The password, and the entry's bytes.

    Raises:
        Encrypted: none opens it, or it is encrypted in a way that is not read.
        UnpackError: see `zipdata.decode`, while reading.
    """
    how = {-1: "strong encryption", 0: "traditional encryption"}.get(sealed.strength, "AES")
    if sealed.strength < 0 or not held().passwords:
        raise Encrypted(f"{how}: {'not read here' if sealed.strength < 0 and held() else 'no secret was given'}")
    passwords = held().named_passwords()
    if known is not None:
        passwords.sort(key=lambda secret: secret != known)
    for secret in passwords:
        found = _unlock(source, sealed, secret.value)
        # One byte checks the traditional password: one of 256 wrong ones passes, and all of the data must tell.
        if found is None or (not sealed.strength and secret != known and not _proven(found, sealed, size, crc, limits)):
            continue
        if not sealed.strength and secret != known:
            found = _unlock(source, sealed, secret.value)
            assert found is not None
        return secret, _read(found, sealed, size, crc, limits)
    raise Encrypted(f"{how}: no secret opens it")


def _proven(source: Source, sealed: Seal, size: int, crc: int, limits: Limits) -> bool:
    try:
        for _ in decode(source, sealed.method, size, crc, limits):
            pass
    except UnpackError:
        return False
    return True


def _read(source: Source, sealed: Seal, size: int, crc: int, limits: Limits) -> Iterator[bytes]:
    yield from decode(source, sealed.method, size, None if sealed.strength and sealed.check == 2 else crc, limits)
    if isinstance(source, _AesSource) and not source.authentic():
        raise Malformed("the authentication code is wrong")
