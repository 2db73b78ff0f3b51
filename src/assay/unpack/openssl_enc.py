"""Files of `openssl enc`: "Salted__", a salt of 8 bytes, and the encrypted bytes; all of it as base64 with -a.

Neither the cipher nor how the key is made of the password is stated. With passwords the usual ones are tried: what has
right padding and begins like something known, or like text, is taken to be opened.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from .base import (
    Claim,
    Encrypted,
    Entry,
    Format,
    Limits,
    Locator,
    Malformed,
    NotThisFormat,
    Problem,
    Reader,
    Reference,
    Source,
    Truncated,
    UnpackError,
    guarded,
)
from .secrets import held

MAGIC, ENCODED = b"Salted__", b"U2FsdGVkX1"
BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*")
TEXT = re.compile(rb"[\t\n\r -~]{16,}")
HEADER = 16
HEAD = 4096
LONG = 3
"""Bytes of a magic that tell something known from chance."""
KNOWN = (b"\x7fELF", b"\x89PNG", b"%PDF", b"SQLite format 3", b"\xff\xd8\xff")


class Kind(NamedTuple):
    """A cipher that is tried."""

    name: str
    key: int
    block: int
    chained: bool
    """In CBC mode, with padding; else in CTR mode."""


CIPHERS = (
    Kind("aes-256-cbc", 32, 16, chained=True),
    Kind("aes-128-cbc", 16, 16, chained=True),
    Kind("aes-192-cbc", 24, 16, chained=True),
    Kind("des-ede3-cbc", 24, 8, chained=True),
    Kind("aes-256-ctr", 32, 16, chained=False),
    Kind("aes-128-ctr", 16, 16, chained=False),
)
DERIVATIONS = (
    ("sha256", 10_000),  # -pbkdf2
    ("sha256", 0),  # the default since OpenSSL 1.1.0: one round, no PBKDF2
    ("md5", 0),  # the default before
    ("sha1", 0),
    ("sha512", 0),
    ("sha512", 10_000),
    ("sha256", 1_000),
    ("sha256", 100_000),
    ("sha1", 10_000),
)
"""(hash, iterations of PBKDF2); 0 iterations: EVP_BytesToKey with one round."""
LONGEST = 48


def derive(password: bytes, salt: bytes, hash: str, iterations: int) -> bytes:
    """Return 48 bytes, of which key and initialisation vector are the first."""
    if iterations:
        return hashlib.pbkdf2_hmac(hash, password, salt, iterations, LONGEST)
    made = last = b""
    while len(made) < LONGEST:
        last = hashlib.new(hash, last + password + salt, usedforsecurity=False).digest()
        made += last
    return made[:LONGEST]


def decryption(kind: Kind, material: bytes, vector: bytes | None = None) -> CipherContext:
    """Return what decrypts: from the beginning, or from the block that follows a given one."""
    key, start = material[: kind.key], vector or material[kind.key : kind.key + kind.block]
    if kind.block == 8:
        return Cipher(TripleDES(key), modes.CBC(start)).decryptor()
    algorithm = algorithms.AES(key)
    return (Cipher(algorithm, modes.CBC(start)) if kind.chained else Cipher(algorithm, modes.CTR(start))).decryptor()


def recognised(head: bytes) -> bool:
    """Tell whether bytes are the beginning of text, or of something known by three bytes or more."""
    from . import candidates

    if TEXT.fullmatch(head) or head.startswith(KNOWN):
        return True
    return any(
        len(magic) >= LONG and head[offset : offset + len(magic)] == magic
        for format in candidates(head)
        for offset, magic in format.magics
    )


class OpensslEnc(Reader):
    """See `Reader`."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.format = FORMAT
        self.source = source
        self.limits = limits
        head = source.pread(0, HEAD)
        self.encoded = head.startswith(ENCODED)
        if self.encoded and BASE64.fullmatch(head):
            try:
                self.salt = binascii.a2b_base64(head[:24])[8:HEADER]
            except binascii.Error as error:
                raise NotThisFormat from error
        elif head.startswith(MAGIC) and source.size > HEADER:
            self.salt = head[8:HEADER]
        else:
            raise NotThisFormat
        if len(self.salt) != 8:
            raise NotThisFormat
        self.detail = {"encoding": "base64" if self.encoded else "binary", "salt": self.salt.hex()}

    def _bytes(self) -> Iterator[bytes]:
        """Yield the encrypted bytes, without the header."""
        if not self.encoded:
            yield from self.source.chunks(HEADER)
            return
        held, skip = b"", HEADER
        for chunk in self.source.chunks():
            held += chunk.translate(None, b" \t\r\n")
            whole = len(held) & ~3
            try:
                out = binascii.a2b_base64(held[:whole], strict_mode=True)
            except binascii.Error as error:
                raise Malformed(f"base64: {error}") from None
            held = held[whole:]
            if out[skip:]:
                yield out[skip:]
            skip = max(0, skip - len(out))
        if held:
            raise Truncated(f"base64 ends inside a group of {len(held)} characters")

    def entries(self) -> Iterator[Entry | Problem]:
        """See `Reader.entries`."""
        if held():
            try:
                told = self._unlock()[0]
                self.detail["opened"] = f"with {told}"
            except Encrypted:
                pass  # told when it is opened
            except UnpackError as error:
                yield Problem(error.reason, str(error), b"", 0)
        yield Entry(b"data", "regular", 0)

    def _unlock(self) -> tuple[str, bytes]:
        """Return which secret opens it and how, and the number of the cipher with key and initialisation vector."""
        secrets = held()
        first, last, size, identity = b"", b"", 0, hashlib.sha256(b"openssl-enc" + self.salt)
        for chunk in self._bytes():
            first = first or chunk[:HEAD]
            last = (last + chunk[-32:])[-32:]
            size += len(chunk)
        identity.update(first + last + size.to_bytes(8, "little"))
        key = identity.digest()
        if key in secrets.opened:
            return secrets.opened[key]
        lines = [secret._replace(value=secret.value.split(b"\n", 1)[0]) for secret in secrets.named_keys()]
        begun = time.process_time()
        for secret in [*secrets.named_passwords(), *lines]:
            if time.process_time() - begun > self.limits.cpu_seconds / 2:
                raise Encrypted(f"trying ended before {secret.name} by the limit cpu_seconds")
            for hash, iterations in DERIVATIONS:
                material = derive(secret.value, self.salt, hash, iterations)
                for number, kind in enumerate(CIPHERS):
                    if self._fits(kind, material, first, last, size):
                        how = f"PBKDF2 with {hash}, {iterations} iterations" if iterations else f"one round of {hash}"
                        found = f"{secret.name}, taken to be {kind.name}, {how}", bytes([number]) + material
                        secrets.opened[key] = found
                        return found
        raise Encrypted("no secret opens it" if secrets else "no secret was given")

    def _fits(self, kind: Kind, material: bytes, first: bytes, last: bytes, size: int) -> bool:
        block = kind.block
        start = first[: len(first) - len(first) % block]
        if kind.chained:
            if not size or size % block:
                return False
            before = last[-2 * block : -block]
            end = decryption(kind, material, before or None).update(last[-block:])
            if not 1 <= end[-1] <= block or end[-end[-1] :] != end[-1:] * end[-1]:
                return False
            head = decryption(kind, material).update(start)
            return recognised(head[: -end[-1]] if size == len(first) else head)
        return recognised(decryption(kind, material).update(first))

    def open(self, locator: Locator) -> Iterator[bytes]:  # noqa: ARG002 - there is one entry
        """See `Reader.open`.

        Raises:
            Encrypted: no secret opens it, or none was given.
            Malformed: base64 that is none, or wrong padding.
        """
        _, found = self._unlock()
        return guarded(self._decrypted(CIPHERS[found[0]], found[1:]), self.limits, self.source.size)

    def _decrypted(self, kind: Kind, material: bytes) -> Iterator[bytes]:
        context = decryption(kind, material)
        kept = b""
        for chunk in self._bytes():
            plain = kept + context.update(chunk)
            hold = kind.block if kind.chained else 0
            kept = plain[len(plain) - hold :] if hold else b""
            if out := plain[: len(plain) - hold]:
                yield out
        if kind.chained and kept:
            if not 1 <= kept[-1] <= kind.block:
                raise Malformed("the padding at the end is wrong")
            if out := kept[: -kept[-1]]:
                yield out

    def claims(self) -> list[Claim]:
        """See `Reader.claims`."""
        if self.encoded:
            return [Claim(0, self.source.size, "base64 of header and encrypted data")]
        return [Claim(0, HEADER, "header"), Claim(HEADER, self.source.size - HEADER, "encrypted data")]


FORMAT = Format(
    name="openssl-enc",
    title="openssl enc: a file encrypted with a password",
    open=OpensslEnc,
    magics=[(0, MAGIC), (0, ENCODED)],
    references=[Reference("openssl-enc(1)", "https://docs.openssl.org/3.0/man1/openssl-enc/")],
    limitations=[
        "neither cipher nor key derivation is stated: AES in CBC and CTR mode and triple DES are tried, with PBKDF2 of "
        "the usual iterations and the derivations that were the default",
        "what is not text and begins like nothing known cannot be told from a wrong guess, and stays encrypted",
        "encrypted without a salt it looks like random bytes; where it ends is not stated, so that it goes to the end",
    ],
    anywhere=False,
    smallest=HEADER + 1,
)
