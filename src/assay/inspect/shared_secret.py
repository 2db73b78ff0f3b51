"""Secrets that stand in a configuration by themselves, as a community or a key: a fingerprint in their place.

The fingerprint is the SHA-256 of the exact text, the same in the `credential` fact and in the directive, so that the
two can be joined and equal secrets be seen. It hides a long secret; a short one could be guessed from it.
"""

from __future__ import annotations

import hashlib

from assay.facts.access import Credential

PREFIX = "sha256:"


def fingerprint(secret: str) -> str:
    """Return the SHA-256 of a secret's exact text (UTF-8), in lower-case hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def mark(secret: str) -> str:
    """Return what stands in a directive in place of a secret; nothing in place of nothing."""
    return PREFIX + fingerprint(secret) if secret else ""


def credential(secret: str, kind: str, scheme: str, line: int, subject: str | None = None) -> Credential:
    """Return the fact on a secret that a line states.

    Args:
        secret: its exact text.
        kind: community, passphrase, shared-key.
        scheme: what it is used by.
        line: where it stands.
        subject: whose it is.
    """
    return Credential(
        kind=kind, scheme=scheme, fingerprint=fingerprint(secret), subject=subject, evidence="field", line=line
    )
