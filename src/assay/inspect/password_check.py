"""Does a password fit a hash? crypt(3) for operating systems' schemes, hashlib for those of applications.

What one check costs is told from the hash before it is made: a hash can ask for hours, and crypt(3) cannot be stopped.

Reference: crypt(5), crypt_r(3) of libxcrypt; Apache HTTP Server, "Password Formats" (apr1); RFC 2307, RFC 3112; Django,
django.contrib.auth.hashers; Werkzeug, werkzeug.security; PostgreSQL manual, 21.5; MySQL manual, PASSWORD().
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import hmac
import re
from collections.abc import Callable

from .late import late

MOST_MILLISECONDS = 300
"""A check that would take longer is not made."""
_CRYPT_DATA = 1 << 18
"""Bytes of `struct crypt_data`: 32 KiB in libxcrypt, 128 KiB in glibc."""

CRYPT = {
    "descrypt", "bsdicrypt", "md5crypt", "bcrypt", "sha256crypt", "sha512crypt", "yescrypt", "scrypt", "gost-yescrypt",
    "nt", "sunmd5",
}  # fmt: skip
_LDAP = {
    "ldap-sha": ("sha1", False), "ldap-ssha": ("sha1", True), "ldap-md5": ("md5", False), "ldap-smd5": ("md5", True),
    "ldap-sha256": ("sha256", False), "ldap-ssha256": ("sha256", True),
    "ldap-sha512": ("sha512", False), "ldap-ssha512": ("sha512", True),
}  # fmt: skip
_PLAIN = {
    "hex-128": "md5", "hex-160": "sha1", "hex-224": "sha224", "hex-256": "sha256", "hex-384": "sha384",
    "hex-512": "sha512",
}  # fmt: skip
_MILLISECONDS = {
    "descrypt": 0.1, "md5crypt": 0.3, "nt": 0.1, "apr1": 2.0, "mysql41": 0.1, "postgres-md5": 0.1, "htdigest": 0.1,
    "salted-hex": 0.1, **dict.fromkeys((*_LDAP, *_PLAIN), 0.1),
}  # fmt: skip
_ITOA = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = late(r"rounds=([0-9]{1,10})")
_PBKDF2 = late(r"pbkdf2[_:](sha1|sha256|sha512)[$:]([0-9]+)\$([^$]*)\$(.+)")
_SCRYPT_PHC = late(r"scrypt:([0-9]+):([0-9]+):([0-9]+)\$([^$]*)\$([0-9a-f]+)")


class Crypt:
    """crypt(3) of the C library."""

    def __init__(self, function: Callable[[bytes, bytes, ctypes.Array[ctypes.c_char]], bytes | None]) -> None:
        self.function = function
        self.scratch: ctypes.Array[ctypes.c_char] | None = None

    def __call__(self, password: str, setting: str) -> str | None:
        """Return the hash of a password as a setting (a hash itself) asks for it; None if it is not understood."""
        if self.scratch is None:
            self.scratch = ctypes.create_string_buffer(_CRYPT_DATA)
        found = self.function(password.encode(), setting.encode(), self.scratch)
        return None if found is None or found[:1] == b"*" else found.decode("ascii", "replace")


_crypt: list[Crypt] = []


def prepare() -> None:
    """Load crypt(3), before workers are forked and confined."""
    if _crypt:
        return
    for name in ("libcrypt.so.1", "libcrypt.so.2", None):
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        _crypt.append(Crypt(function))
        return


def milliseconds(scheme: str, text: str) -> float | None:
    """Return about what one check of this hash costs; None if it cannot be checked here."""
    if scheme in CRYPT and not _crypt:
        return None
    fixed = _MILLISECONDS.get(scheme)
    if fixed is not None:
        return fixed
    if scheme in ("sha256crypt", "sha512crypt"):
        rounds = _ROUNDS.search(text)
        return 3.5 * int(rounds[1] if rounds else 5000) / 5000
    if scheme == "sunmd5":
        rounds = _ROUNDS.search(text)
        return 7.5 * (4096 + int(rounds[1] if rounds else 0)) / 5000
    if scheme == "bsdicrypt":
        return 0.2 * _little(text[1:5]) / 725
    if scheme == "bcrypt":
        return 0.06 * float(1 << int(text[4:6]))
    if scheme == "scrypt":
        size = 1 << _ITOA.index(text[3])
        return 170 * size * _little(text[4:9]) * _little(text[9:14]) / (1 << 19)
    if scheme in ("yescrypt", "gost-yescrypt"):
        # j: flavour; then log2(N) - 1 and r - 1, one character each up to 2^18 and r = 32 (the default: j9T).
        found = re.match(r"\$g?y\$j([./0-9A-F])([./0-9A-T])\$", text)
        return 27 * 2.0 ** (_ITOA.index(found[1]) - 11) if found else float("inf")
    if scheme == "pbkdf2" and (match := _PBKDF2.fullmatch(text)):
        return 0.001 * int(match[2])
    if scheme == "scrypt-phc" and (match := _SCRYPT_PHC.fullmatch(text)):
        return 60 * int(match[1]) * int(match[2]) * int(match[3]) / (1 << 18)
    return None


def _little(text: str) -> int:
    """Return the number that characters of crypt's alphabet make, least significant first."""
    return sum(max(_ITOA.find(char), 0) << (6 * at) for at, char in enumerate(text))


def fits(scheme: str, text: str, password: str, account: str = "", realm: str = "") -> bool:
    """Tell whether a hash is that of a password.

    Args:
        scheme: as `crypt_format` and `password_format` name it; `milliseconds` has said that it can be checked.
        text: the hash, as it stands.
        password: to try.
        account: whose hash it is, for schemes in which it counts.
        realm: of an htdigest entry.
    """
    try:
        return _fits(scheme, text, password, account, realm)
    except (ValueError, IndexError, OverflowError):  # its shape promised more than it holds
        return False


def _fits(scheme: str, text: str, password: str, account: str, realm: str) -> bool:
    secret = password.encode()
    if scheme in CRYPT:
        return _crypt[0](password, text) == text
    if scheme == "apr1":
        return _apr1(secret, text.split("$")[2].encode()) == text.split("$")[3]
    if scheme in _LDAP:
        name, salted = _LDAP[scheme]
        raw = base64.b64decode(text[text.index("}") + 1 :])
        salt = raw[hashlib.new(name, usedforsecurity=False).digest_size :] if salted else b""
        return raw == hashlib.new(name, secret + salt, usedforsecurity=False).digest() + salt
    if scheme == "mysql41":
        return text == "*" + _hex("sha1", hashlib.sha1(secret, usedforsecurity=False).digest()).upper()
    if scheme == "postgres-md5":
        return text == "md5" + _hex("md5", secret + account.encode())
    if scheme == "htdigest":
        return text == _hex("md5", f"{account}:{realm}:{password}".encode())
    if scheme == "salted-hex":
        name, salt_text, digest = text.split("$")
        return _hex(name, salt_text.encode() + secret) == digest
    if scheme == "pbkdf2" and (match := _PBKDF2.fullmatch(text)):
        digest_bytes = hashlib.pbkdf2_hmac(match[1], secret, match[3].encode(), int(match[2]))
        return match[4] in (base64.b64encode(digest_bytes).decode(), digest_bytes.hex())
    if scheme == "scrypt-phc" and (match := _SCRYPT_PHC.fullmatch(text)):
        n, r, p = (int(match[at]) for at in (1, 2, 3))
        out = hashlib.scrypt(secret, salt=match[4].encode(), n=n, r=r, p=p, maxmem=132 * n * r * p, dklen=64)
        return hmac.compare_digest(out.hex(), match[5])
    return scheme in _PLAIN and _hex(_PLAIN[scheme], secret) == text.lower()


def _hex(name: str, data: bytes) -> str:
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _apr1(secret: bytes, salt: bytes) -> str:
    """Return the digest of Apache's variant of md5crypt, which crypt(3) does not know."""
    inner = _md5(secret + salt + secret)
    text = secret + b"$apr1$" + salt
    text += (inner * (len(secret) // 16 + 1))[: len(secret)]
    count = len(secret)
    while count:
        text += b"\0" if count & 1 else secret[:1]
        count >>= 1
    digest = _md5(text)
    for turn in range(1000):
        text = secret if turn & 1 else digest
        text += salt if turn % 3 else b""
        text += secret if turn % 7 else b""
        text += digest if turn & 1 else secret
        digest = _md5(text)
    out = ""
    for a, b, c in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)):
        value = digest[a] << 16 | digest[b] << 8 | digest[c]
        out += "".join(_ITOA[value >> (6 * at) & 63] for at in range(4))
    return out + _ITOA[digest[11] & 63] + _ITOA[digest[11] >> 6]
