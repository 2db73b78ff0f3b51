"""What the fuzzer does with one input, and what it expects of a reader."""

from __future__ import annotations

import signal
import time
import traceback
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from types import FrameType

import msgspec

from assay.examine.listing import fitted, stated
from assay.unpack.base import CHUNK, Entry, Format, Limits, Locator, NotThisFormat, Reader, Source, UnpackError

LIMITS = Limits(entries=10_000, entry_bytes=64 << 20, ratio_from=1 << 20, metadata_bytes=16 << 20)
ENTRIES = 4_000
OPENED = 60
"""Entries whose bytes are read."""
READ = 16 << 20
"""Bytes read in all."""
SECONDS = 2.0
"""CPU time that an input may take."""

_encode = msgspec.msgpack.Encoder().encode


class TooSlow(BaseException):
    """The input took too long. No Exception, so that no reader takes it for a fault of the image."""


class Wrong(Exception):
    """A reader broke the contract without raising."""


@dataclass(frozen=True)
class Finding:
    """What a reader must not do."""

    kind: str
    """Name of the exception, or what else happened."""
    place: str
    """The innermost line of Assay's, as module.py:line."""
    said: str


def limited(seconds: float = SECONDS) -> None:
    """Make every later `attempt` of this process end after so many CPU seconds."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} s of CPU")

    signal.signal(signal.SIGPROF, late)


def attempt(format: Format, source: Source, seconds: float = SECONDS) -> tuple[str, Finding | None]:
    """Read an input as far as it goes.

    Args:
        format: whose reader it is given to.
        source: the input.
        seconds: CPU time after which it counts as too slow.

    Returns:
        "other" (not claimed), "refused" (an UnpackError of `open`) or "read", and a finding if there is one.
    """
    outcome = "read"
    begun = time.process_time()
    armed = signal.getsignal(signal.SIGPROF) not in (signal.SIG_DFL, signal.SIG_IGN, None)
    if armed:
        signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        try:
            reader = format.open(source, LIMITS)
        except NotThisFormat:
            outcome = "other"
        except UnpackError:
            outcome = "refused"
        else:
            _everything(reader, source)
        if time.process_time() - begun > seconds:
            raise TooSlow(f"more than {seconds:g} s of CPU")
    except (Exception, TooSlow) as error:
        return outcome, Finding(type(error).__name__, _place(error), str(error)[:200])
    finally:
        if armed:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome, None


def _everything(reader: Reader, source: Source) -> None:
    found: list[Entry] = []
    _encode(stated(reader.detail))
    try:
        for item in islice(reader.entries(), ENTRIES):
            if isinstance(item, Entry):
                fitted(item)
                found.append(item)
            _encode(item)
    except UnpackError:
        pass
    left = READ
    for entry in found[:: max(1, len(found) // OPENED)]:
        if entry.locator is not None and left > 0:
            left -= _file(reader, source, entry.locator, left)
    for claim in reader.claims():
        if claim.offset < 0 or claim.length < 0 or claim.offset + claim.length > source.size:
            raise Wrong(f"the claim {claim.what} is {claim.offset}+{claim.length} in {source.size} bytes")
    _encode(stated(reader.detail))


def _file(reader: Reader, source: Source, locator: Locator, most: int) -> int:
    """Read an entry's bytes, which have to be those of its span; return how many."""
    size = 0
    try:
        span = reader.span(locator)
        if span is not None and min(span) < 0:
            raise Wrong(f"the span of an entry is {span}")
        reader.stored(locator)
        for chunk in reader.open(locator):
            if len(chunk) > CHUNK:
                raise Wrong(f"a chunk of {len(chunk)} bytes")
            if span is not None and source.pread(span[0] + size, len(chunk)) != chunk:
                raise Wrong(f"the span {span} holds other bytes than the entry, from {size} on")
            size += len(chunk)
            if size > most:
                break
    except UnpackError:
        pass
    return size


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/assay/unpack/" in frame.filename] or frames
    return f"{PurePath(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
