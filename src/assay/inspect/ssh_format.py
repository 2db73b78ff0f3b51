"""SSH wire data: length-prefixed strings, public key blobs and what they say about a key.

Reference: RFC 4251 section 5 (string, mpint), RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709; OpenSSH
PROTOCOL.u2f and PROTOCOL.certkeys for the names ending in @openssh.com.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMES = {
    "ssh-rsa": "RSA",
    "ssh-dss": "DSA",
    "ssh-ed25519": "Ed25519",
    "ssh-ed448": "Ed448",
    "ecdsa-sha2-nistp256": "EC",
    "ecdsa-sha2-nistp384": "EC",
    "ecdsa-sha2-nistp521": "EC",
    "sk-ssh-ed25519@openssh.com": "Ed25519-SK",
    "sk-ecdsa-sha2-nistp256@openssh.com": "EC-SK",
}
_BITS = {"Ed25519": 256, "Ed25519-SK": 256, "Ed448": 448, "EC-SK": 256}
_CERTIFICATE = "-cert-v01@openssh.com"


class Described(NamedTuple):
    """What a public key blob says."""

    name: str
    scheme: str
    bits: int | None


def strings(blob: bytes, count: int, offset: int = 0) -> tuple[list[bytes], int]:
    """Return up to `count` consecutive strings (or mpints) from `offset`, and the offset behind them.

    Fewer come back if the blob ends or a length is impossible.
    """
    found: list[bytes] = []
    while len(found) < count and offset + 4 <= len(blob):
        end = offset + 4 + int.from_bytes(blob[offset : offset + 4], "big")
        if end > len(blob):
            break
        found.append(blob[offset + 4 : end])
        offset = end
    return found, offset


def describe(blob: bytes) -> Described | None:
    """Return name, scheme and size of a public key blob, None if it is not one that is known."""
    head, offset = strings(blob, 1)
    if not head:
        return None
    name = head[0].decode("ascii", "replace")
    plain = name.removesuffix(_CERTIFICATE)
    certified = plain != name
    if certified and plain.startswith("sk-"):
        plain += "@openssh.com"  # sk-ssh-ed25519-cert-v01@openssh.com
    scheme = SCHEMES.get(plain)
    if scheme is None:
        return None
    fields, _ = strings(blob, 3 if certified else 2, offset)
    if certified:
        fields = fields[1:]  # a nonce comes first
    if not fields:
        return None
    if scheme == "EC":
        return Described(name, scheme, int(plain[-3:]))
    if scheme == "RSA":
        return Described(name, scheme, _size(fields[1])) if len(fields) > 1 else None
    return Described(name, scheme, _size(fields[0]) if scheme == "DSA" else _BITS[scheme])


def _size(mpint: bytes) -> int:
    return int.from_bytes(mpint, "big").bit_length()
