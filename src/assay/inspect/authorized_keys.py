"""Keys that may log in over SSH without a password: authorized_keys of OpenSSH and Dropbear.

Reference: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; Dropbear README, "Server public key auth".
"""

from __future__ import annotations

import binascii
import hashlib
import io
from collections.abc import Iterator

from assay.facts.access import Credential
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector
from .late import late
from .ssh_format import describe

MAX_BYTES = 16 << 20

_KEY = late(rb"(?:^|[ \t])((?:sk-)?(?:ssh-|ecdsa-)[a-z0-9@.-]{2,60})[ \t]+([A-Za-z0-9+/]{16,}={0,2})(?:[ \t]+|$)")


def inspect(content: Content) -> Iterator[Credential]:
    """Yield one credential for each line with a key that can be read; other lines let nobody in.

    The fingerprint is SHA-256 of the key blob, as OpenSSH shows it, but in hexadecimal.

    Raises:
        LimitReached: the content is longer than `MAX_BYTES`; what is before has been read.
    """
    offset = 0
    for number, raw in enumerate(io.BytesIO(bytes(content.data[:MAX_BYTES])), 1):
        start, offset = offset, offset + len(raw)
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        at = start + len(raw) - len(raw.lstrip())
        for match in _KEY.finditer(line):
            if line.count(b'"', 0, match.start()) % 2:
                continue  # inside a quoted option, as command="..."
            try:
                blob = binascii.a2b_base64(match[2])
            except binascii.Error:
                continue
            key = describe(blob)
            if key is None or key.name.encode() != match[1]:
                continue
            comment = line[match.end() :].strip().decode("utf-8", "backslashreplace")
            yield Credential(
                kind="authorized-key",
                scheme=key.scheme,
                fingerprint=hashlib.sha256(blob).hexdigest(),
                bits=key.bits,
                subject=comment or None,
                offset=at + match.start(1),
                line=number,
            )
            break
    if content.size > MAX_BYTES:
        raise LimitReached("authorized_keys_bytes", MAX_BYTES)


INSPECTOR = ContentInspector(
    name="authorized_keys",
    version=1,
    families=(Credential,),
    inspect=inspect,
    path_has=("/authorized_keys",),
    wants_path=lambda path: path.endswith(
        ("/.ssh/authorized_keys", "/.ssh/authorized_keys2", "/etc/dropbear/authorized_keys")
    ),
)
