"""Secrets that the user gave to open what is encrypted: passwords and keys, held by the process that reads.

They are set before workers are forked and never leave memory: no record, cache, report or message has them. A reader
that can use one asks `held`, and tells by number only which one opened something.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Secret(NamedTuple):
    """One secret to be tried."""

    name: str
    """What may be told of it: its kind and number, as "password 2 of 3"."""
    value: bytes

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Secrets:
    """What was given.

    Args:
        passwords: passwords and passphrases, without a line end.
        keys: contents of key files: private, public and symmetric keys, certificates.
    """

    def __init__(self, passwords: tuple[bytes, ...] = (), keys: tuple[bytes, ...] = ()) -> None:
        self.passwords = passwords
        self.keys = keys
        self.opened: dict[bytes, tuple[str, bytes]] = {}
        """What has been opened, by a digest of what was sealed: which secret did it, and the key that came of it. A
        reader that opens the same thing again need not derive it again."""

    def __bool__(self) -> bool:
        return bool(self.passwords or self.keys)

    def __repr__(self) -> str:
        return f"<{len(self.passwords)} passwords, {len(self.keys)} keys>"

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind, which is all that may be kept; empty if there are none."""
        return {"passwords": len(self.passwords), "keys": len(self.keys)} if self else {}

    def named_passwords(self) -> list[Secret]:
        """Return the passwords with what may be told of each."""
        total = len(self.passwords)
        return [Secret(f"password {at} of {total}", value) for at, value in enumerate(self.passwords, 1)]

    def named_keys(self) -> list[Secret]:
        """Return the keys with what may be told of each."""
        total = len(self.keys)
        return [Secret(f"key {at} of {total}", value) for at, value in enumerate(self.keys, 1)]


_held = [Secrets()]


def held() -> Secrets:
    """Return the secrets of this run; none unless some were given."""
    return _held[-1]


@contextmanager
def holding(secrets: Secrets) -> Iterator[None]:
    """Hold secrets for what is done, and for what is forked, inside the `with`."""
    _held.append(secrets)
    try:
        yield
    finally:
        _held.pop()
