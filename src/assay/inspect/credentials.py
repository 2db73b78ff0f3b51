"""Secrets in any content: private keys, tokens and password hashes, found in one pass over the bytes.

Hyperscan finds where a shape ends; a bounded expression then gets the exact text around that place, and keys are read.
A fact holds the kind, the place and a fingerprint. What is found is what stands there: examples from documentation and
test keys are facts like others.

Reference: the issuers' own descriptions of their tokens; RFC 7519 (JWT); RFC 3986 section 3.2.1 (user information);
crypt(5); `key_format` for keys.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from assay.facts.access import Credential
from assay.unpack.base import LimitReached

from .accounts import is_passwd, is_shadow
from .base import Buffer, Content, ContentInspector, Expression, numbered
from .crypt_format import SHAPES
from .key_format import (
    DROPBEAR_HEADER,
    PEM_HEADER,
    PUTTY_HEADER,
    WINDOW,
    Key,
    read_der,
    read_dropbear,
    read_encrypted_der,
    read_pem,
    read_putty,
)
from .late import late
from .scan import MAX_HITS

MAX_FACTS = 10_000
"""Credentials from one content."""
BEFORE, AFTER = 1 << 13, 1 << 10
"""Bytes around a place in which the exact text is looked for, at most."""


class Shape(NamedTuple):
    """Something to find."""

    kind: str
    scheme: str
    trigger: bytes
    """Expression for the engine; its end is what the engine tells."""
    exact: re.Pattern[bytes]
    """Expression for the whole; group `secret` is the secret where it is not the whole, `subject` whose it is."""
    read: Callable[[bytes], Key | None] | None = None
    """For keys: reads from the start of `exact`."""
    reach: int = 512
    """How far before the trigger's end the whole can begin."""
    valid: Callable[[re.Match[bytes]], bool] | None = None


def _token(scheme: str, shape: bytes) -> Shape:
    exact = late(rb"(?<![A-Za-z0-9_-])" + shape + rb"(?![A-Za-z0-9_-])")
    return Shape("token", scheme, shape, exact, valid=_is_varied)


def _is_varied(match: re.Match[bytes]) -> bool:
    """Tell a token from a row of x: eight different characters in its last twenty."""
    return len(set(match[0][-20:])) >= 8


def _is_jwt(match: re.Match[bytes]) -> bool:
    try:
        header = match[0].split(b".", 1)[0]
        return "alg" in json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (ValueError, TypeError, RecursionError):
        return False


_TEMPLATE = late(rb"[${}<>*\\^|`()\[\]]|%[sdiuvx(@]|\.\.\.")


def _is_literal(match: re.Match[bytes]) -> bool:
    """Tell a password from a place to put one: %s, ${PASSWORD}, <password>, ..."""
    return not _TEMPLATE.search(match["subject"]) and not _TEMPLATE.search(match["secret"])


def _hash(scheme: str, shape: str) -> Shape:
    whole = shape.encode()
    return Shape("password-hash", scheme, whole, late(whole + rb"(?![./0-9A-Za-z$])", re.ASCII))


_OWNER = late(rb"(?<![\w.@-])([\w.@-]{1,64}):\Z", re.ASCII)
"""Whose hash it is, where a name and a colon stand before it, as in htpasswd."""


def _der(trigger: bytes, read: Callable[[bytes], Key | None] = read_der, before: bytes = b"") -> Shape:
    return Shape("private-key", "DER", trigger, late(before + trigger, re.DOTALL), read, reach=64)


_SEQUENCE = rb"\x30(?:\x82[\x00-\x40].|\x81.|[\x20-\x7f])"

SHAPES_FOUND = [
    Shape("private-key", "PEM", PEM_HEADER, late(PEM_HEADER), read_pem, reach=96),
    Shape("private-key", "PuTTY", PUTTY_HEADER, late(PUTTY_HEADER), read_putty, reach=32),
    Shape("private-key", "Dropbear", DROPBEAR_HEADER, late(DROPBEAR_HEADER), read_dropbear, reach=32),
    # PKCS #1: version 0, then a modulus of 512 bits or more
    _der(rb"\x30\x82[\x01-\x40].\x02\x01\x00\x02[\x40-\x82]"),
    # PKCS #8: version, then the algorithm: rsaEncryption or RSASSA-PSS; id-ecPublicKey; X25519 to Ed448; id-dsa
    _der(rb"\x02\x01[\x00\x01]\x30.\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01[\x01\x0a]", before=_SEQUENCE),
    _der(rb"\x02\x01[\x00\x01]\x30.\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", before=_SEQUENCE),
    _der(rb"\x02\x01[\x00\x01]\x30\x05\x06\x03\x2b\x65[\x6e-\x71]\x04", before=_SEQUENCE),
    _der(rb"\x02\x01[\x00\x01]\x30(?:\x82..|\x81.)\x06\x07\x2a\x86\x48\xce\x38\x04\x01", before=_SEQUENCE),
    # SEC 1: version 1, then a scalar of 192 to 521 bits, then parameters
    _der(rb"\x30(?:\x81[\x80-\xff]|[\x20-\x7f])\x02\x01\x01\x04[\x18\x1c\x20\x28\x30\x40\x42]"),
    # DSA: version 0, then p of 512 bits or more, is the same as PKCS #1 to the scan; encrypted PKCS #8 with PBES2
    _der(rb"\x30(?:\x81.|.)\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d\x30", read_encrypted_der, _SEQUENCE),
    _token("aws-access-key-id", rb"A[KS]IA[A-Z2-7]{16}"),
    _token("github", rb"gh[opsur]_[A-Za-z0-9]{36}"),
    _token("github-fine-grained", rb"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _token("gitlab", rb"glpat-[A-Za-z0-9_-]{20,64}"),
    _token("slack", rb"xox[abeoprs]-(?:[0-9]{8,14}-){1,3}[A-Za-z0-9]{16,64}"),
    _token("google-api-key", rb"AIza[A-Za-z0-9_-]{35}"),
    _token("stripe", rb"[rs]k_(?:live|test)_[A-Za-z0-9]{24,128}"),
    _token("npm", rb"npm_[A-Za-z0-9]{36}"),
    _token("pypi", rb"pypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{50,512}"),
    _token("telegram-bot", rb"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    _token("sendgrid", rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    Shape(
        "token",
        "azure-storage",
        rb"AccountKey=[A-Za-z0-9+/]{86}==",
        late(rb"AccountKey=(?P<secret>[A-Za-z0-9+/]{86}==)"),
        valid=_is_varied,
    ),
    Shape(
        "token",
        "jwt",
        rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16}",
        late(rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{16,1024}"),
        reach=BEFORE,
        valid=_is_jwt,
    ),
    Shape(
        "token",
        "url-credentials",
        rb"[A-Za-z]://[!#-&(-.0-9;=?A-Z\[-~]{1,64}:[!#-&(-.0-;=?A-Z\[-~]{1,128}@[A-Za-z0-9\[]",
        late(
            rb"[A-Za-z][A-Za-z0-9+.-]{1,15}://(?P<subject>[!#-&(-.0-9;=?A-Z\[-~]{1,64}):"
            rb"(?P<secret>[!#-&(-.0-;=?A-Z\[-~]{1,128})@[A-Za-z0-9\[]"
        ),
        valid=_is_literal,
    ),
    *(_hash(name, shape) for name, shape in SHAPES.items()),
]


def prepare() -> None:
    """Load what keys need, before workers are forked and confined."""
    import cryptography.hazmat.primitives.asymmetric.dsa
    import cryptography.hazmat.primitives.asymmetric.ec
    import cryptography.hazmat.primitives.asymmetric.ed25519
    import cryptography.hazmat.primitives.asymmetric.rsa
    import cryptography.hazmat.primitives.serialization  # noqa: F401 - loaded, not used


def inspect(content: Content) -> Iterator[Credential]:
    """Yield what is found, in order of place.

    Raises:
        LimitReached: more candidates or credentials than one content may have; the first ones stand.
    """
    candidates, cut = content.hits
    if not candidates:
        return
    data = content.data
    # In account databases, hashes are fields of a line; the inspectors of those see them there.
    fields = is_passwd(content.head) or is_shadow(content.head)
    found: dict[tuple[str, int], Credential] = {}
    taken = 0
    for end, number in candidates:
        shape = SHAPES_FOUND[number]
        if shape.read:
            if end <= taken:
                continue  # inside a key that has been read
            start = max(0, end - shape.reach)
            for match in shape.exact.finditer(bytes(data[start:end])):
                at = start + match.start()
                key = shape.read(bytes(data[at : at + WINDOW]))
                if key is not None and match.end() == end - start:
                    found[shape.kind, at] = Credential(
                        offset=at,
                        kind=shape.kind,
                        scheme=key.scheme,
                        fingerprint=key.fingerprint,
                        bits=key.bits,
                        encrypted=key.encrypted,
                        subject=key.subject,
                        evidence=key.evidence,
                    )
                    taken = at + key.length
        elif not (fields and shape.kind == "password-hash"):
            _text(data, end, shape, found)
        if len(found) >= MAX_FACTS:
            cut = True
            break
    yield from numbered(content, [fact for _, fact in sorted(found.items(), key=lambda item: item[0][1])])
    if cut:
        raise LimitReached("credentials", MAX_FACTS if len(found) >= MAX_FACTS else MAX_HITS)


def _text(data: Buffer, end: int, shape: Shape, found: dict[tuple[str, int], Credential]) -> None:
    start = max(0, end - shape.reach)
    for match in shape.exact.finditer(bytes(data[start : end + AFTER])):
        if match.start() >= end - start:
            return
        if match.end() < end - start or (shape.valid and not shape.valid(match)):
            continue
        groups = match.groupdict()
        secret, subject = groups.get("secret"), groups.get("subject")
        at = start + (match.start("secret") if secret is not None else match.start())
        if shape.kind == "password-hash":
            owner = _OWNER.search(bytes(data[max(0, at - 66) : at]))
            subject = owner[1] if owner else None
        found.setdefault(
            (shape.kind, at),
            Credential(
                offset=at,
                kind=shape.kind,
                scheme=shape.scheme,
                fingerprint=hashlib.sha256(secret or match[0]).hexdigest(),
                subject=None if subject is None else subject.decode("utf-8", "backslashreplace"),
                evidence="pattern",
            ),
        )


INSPECTOR = ContentInspector(
    name="credentials",
    version=1,
    families=(Credential,),
    inspect=inspect,
    only_hits=True,
    expressions=tuple(Expression(shape.trigger) for shape in SHAPES_FOUND),
)
