"""TLS as servers are told to speak it, in words of no dialect. The facts stand under the subsystem `tls`.

| key | value |
| --- | --- |
| protocols | versions offered, oldest first: SSLv2 SSLv3 TLSv1 TLSv1.1 TLSv1.2 TLSv1.3 |
| ciphers | cipher list of TLS 1.2 and before, as written |
| ciphersuites | cipher suites of TLS 1.3, as written |
| groups | key-exchange groups or curves, as written |
| prefer-server-ciphers | on, off |
| certificate, key | path of the file; nothing of what stands in it |
| verify-client | off, optional, on, and other words of the program |
| client-ca | file or directory of the authorities that clients' certificates are checked with |
| session-tickets | on, off |
| compression | on, off |
| early-data | on, off |

A protocol that is offered may still be refused by the TLS library: its own configuration (MinProtocol, security level,
a system-wide policy) is not part of these settings.

Source: SSL_CONF_cmd(3), SSL_CTX_set_min_proto_version(3) of OpenSSL 3; each server's manual.
"""

from __future__ import annotations

from collections.abc import Iterable

PROTOCOLS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

UNSEEN = (
    "what the TLS library itself refuses: openssl.cnf, a system-wide policy, how it was compiled",
    "certificates, keys and parameters are named by path, not opened here",
)
"""What no reading of a server's configuration shows of TLS."""

_KNOWN = {name.lower(): name for name in PROTOCOLS} | {"tlsv1.0": "TLSv1", "tls1": "TLSv1", "tlsv10": "TLSv1"}
_KNOWN |= {"tlsv11": "TLSv1.1", "tlsv12": "TLSv1.2", "tlsv13": "TLSv1.3"}


def protocol(word: str) -> str | None:
    """Return a protocol's name as in PROTOCOLS, however it is spelt; None if it is none."""
    return _KNOWN.get(word.lower())


def protocols(names: Iterable[str]) -> str:
    """Return protocols as one text, oldest first; names that are none are left out."""
    known = {protocol(name) for name in names}
    return " ".join(name for name in PROTOCOLS if name in known)


def between(oldest: str | None, newest: str | None, most: Iterable[str] = PROTOCOLS) -> set[str]:
    """Return the protocols from one to another, both included; None for no bound.

    Args:
        oldest: name of the oldest, in any spelling; one that is none does not bound.
        newest: name of the newest.
        most: protocols that the program can speak at all.
    """
    low = PROTOCOLS.index(protocol(oldest or "") or PROTOCOLS[0])
    high = PROTOCOLS.index(protocol(newest or "") or PROTOCOLS[-1])
    return set(PROTOCOLS[low : high + 1]) & set(most)


def changed(words: Iterable[str], everything: Iterable[str], *, replace: bool = False) -> set[str]:
    """Return what a list of changes comes to: `all -SSLv3 +TLSv1.3`.

    Args:
        words: protocols, each with + or - (or !) or none; `all` for everything.
        everything: protocols that `all` stands for.
        replace: a word without a sign replaces what stands before it (Apache), and is not added to it (SSL_CONF_cmd).
    """
    chosen: set[str] = set()
    for word in words:
        sign, name = (word[0], word[1:]) if word[:1] in ("+", "-", "!") else ("", word)
        known = protocol(name)
        which = set(everything) if name.lower() == "all" else {known} if known else set()
        kept = set() if replace and not sign else chosen
        chosen = kept - which if sign in ("-", "!") else kept | which
    return chosen
