"""The least that any examination must do: decompress every file of an image, hash it, and search it once.

    python benchmarks/bound.py IMAGE

One process, Assay's own reader for the outermost container (what is nested in it is hashed and searched as it is),
SHA-256, and one Hyperscan pass with a handful of patterns of the kinds that inspectors look for. Nothing is kept.
Prints files, bytes and matches.
"""

import hashlib
import os
import sys

import hyperscan  # type: ignore[import-not-found]

from assay.unpack import identify
from assay.unpack.base import Entry, FileSource, Limits

PATTERNS = (
    rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
    rb"-----BEGIN CERTIFICATE-----",
    rb"\$(1|2[aby]|5|6|y)\$[./A-Za-z0-9$=,]{8,90}",
    rb"AKIA[0-9A-Z]{16}",
    rb"gh[pousr]_[A-Za-z0-9]{36}",
    rb"eyJ[A-Za-z0-9_-]{10,200}\.eyJ[A-Za-z0-9_-]{10,200}",
    rb"OpenSSL [0-9]\.[0-9]\.[0-9]{1,2}[a-z]?",
    rb"BusyBox v[0-9]{1,2}\.[0-9]{1,3}\.[0-9]{1,3}",
    rb"Linux version [0-9]{1,2}\.[0-9]{1,3}",
    rb"(inflate|deflate) [0-9]\.[0-9]{1,2}\.[0-9]{1,3}",
    rb"https?://[a-z0-9.-]{4,100}",
    rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
)


def main() -> None:
    """Read the image given as the first argument and print what was read."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = hyperscan.HS_FLAG_SINGLEMATCH
    database.compile(expressions=PATTERNS, ids=range(len(PATTERNS)), flags=[flags] * len(PATTERNS))
    matches = files = total = 0

    def found(*_: object) -> None:
        nonlocal matches
        matches += 1

    handle = os.open(sys.argv[1], os.O_RDONLY)
    reader = identify(FileSource(handle), Limits())
    if reader is None:
        sys.exit("no container")
    locators = {}
    for entry in reader.entries():
        if isinstance(entry, Entry) and entry.type == "regular" and entry.locator is not None:
            locators[repr(entry.locator)] = entry.locator
    for locator in locators.values():
        digest = hashlib.sha256()
        for chunk in reader.open(locator):
            digest.update(chunk)
            database.scan(chunk, match_event_handler=found)
            total += len(chunk)
        files += 1
    print(files, total, matches)


if __name__ == "__main__":
    main()
