r"""U-Boot: environment images, boot scripts, uEnv.txt.

Source: U-Boot 2023.01: env/common.c, include/env_internal.h, tools/env/fw_env.c; include/image.h (legacy image,
script); doc/README.distro and board documentation for uEnv.txt.

    struct environment_s {          // little or big endian
        uint32_t crc;               // CRC-32 of data
        uint8_t  flags;             // only of redundant environments: 1 active (or a counter)
        uint8_t  data[SIZE - 4 - redundant];    // "name=value\0" ... "\0", then padding
    };

    struct image_header {           // big endian, 64 bytes
        uint32_t magic, hcrc, time, size, load, ep, dcrc;  uint8_t os, arch, type, comp;  uint8_t name[32];
    };                              // type 6: script; then uint32_t lengths[], 0; then the text

The default environment that is compiled into U-Boot has no checksum: it is told apart by its section.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from assay.facts.service import Directive
from assay.unpack.base import LimitReached

from .base import Buffer, Content, ContentInspector, Expression
from .dropins import joined
from .late import late
from .scan import MAX_HITS
from .secrecy import withhold

ENVIRONMENT = "u-boot-environment"
SCRIPT = "u-boot-script"
TEXT = "u-boot-text"

SIZES = tuple(1 << n for n in range(10, 19))
"""Sizes of environments, header included: powers of two up to 256 KiB are what boards use."""

MOST = 1 << 18
"""Bytes of one environment, at most."""

REACH = 1 << 14
"""Bytes before a place in which the first variable is looked for."""

TRIES = 64
"""Places in a content at which an environment may be looked for: each costs some checksums."""

_MAGIC = b"\x27\x05\x19\x56"
_NAME = rb"[A-Za-z_.][\w.#-]{0,63}="
_ENTRY = late(_NAME + rb"[\t-\r\x1b -~\x80-\xff]*")
_STRINGS = late(rb"(?:" + _NAME + rb"[\t-\r\x1b -~\x80-\xff]{0,16384}\0)+")
_FIRST = late(_NAME)
_WORDS_END = late(rb"[\w.#-]{0,64}\Z")
_PRINTABLE = bytes(32 <= byte < 127 for byte in range(256))
_WORD = late(r"(\w+)\s+(.*)", re.DOTALL)


def _start(data: Buffer, at: int) -> int:
    """Return where the variables begin among which a place is."""
    low = max(0, at - REACH)
    before = bytes(data[low:at])
    end = len(before) - len(_WORDS_END.search(before)[0])  # type: ignore[index]  # it matches an empty text, too
    while end and before[end - 1] == 0:
        cut = before.rfind(b"\0", 0, end - 1)
        entry = before[cut + 1 : end - 1]
        if not _ENTRY.fullmatch(entry):
            # The first variable follows a checksum without a NUL.
            text = entry[entry.translate(_PRINTABLE).rfind(0) + 1 :]
            found = _FIRST.search(text)
            return low + (end - 1 - len(text) + found.start() if found else end)
        end = cut + 1
    return low + end


def _checked(data: Buffer, first: int) -> tuple[int, int, int | None] | None:
    """Return (offset, size, flag) of the environment whose variables begin at `first`, if a checksum shows it."""
    whole = len(data)
    for header in (4, 5):
        base = first - header
        if base < 0:
            continue
        stored = bytes(data[base : base + 4])
        wanted = {int.from_bytes(stored, "little"), int.from_bytes(stored, "big")}
        crc, done = 0, first
        sizes = sorted({size for size in (*SIZES, whole - base) if header < size <= min(whole - base, MOST)})
        for size in sizes:
            crc = zlib.crc32(data[done : base + size], crc)
            done = base + size
            if crc in wanted:
                return base, size, data[base + 4] if header == 5 else None
    return None


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a variable, with its offset; its section says which environment, and what shows it to be one.

    Raises:
        LimitReached: there are more places at which one could be than any real content has.
    """
    data = content.data
    done = tried = 0
    places, cut = content.hits
    for end, _ in places:
        if end <= done:
            continue
        tried += 1
        if tried > TRIES:
            raise LimitReached("places", TRIES)
        first = _start(data, end - len(b"bootcmd="))
        found = None
        for near in range(first, min(first + 6, end)):
            # Bytes of the checksum can look like letters of a name.
            if found := _checked(data, near):
                first = near
                break
        strings = _STRINGS.match(bytes(data[first : first + MOST]))
        if strings is None or strings[0].count(b"\0") < 3:
            continue
        done = first + strings.end()
        if found:
            base, size, flag = found
            done = max(done, base + size)
            section = f"environment at {base}, {size} bytes, CRC-32 right"
            section += "" if flag is None else f", redundant, flag {flag}"
        else:
            section = f"variables at {first}, no CRC-32 fits"
        at = first
        for entry in strings[0].split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals:
                key = name.decode("ascii", "backslashreplace")
                said = withhold(f"{key}={value.decode('utf-8', 'backslashreplace')}")
                yield Directive(dialect=ENVIRONMENT, section=section, key=key, value=said[len(key) + 1 :], offset=at)
            at += len(entry) + 1
    if cut:
        raise LimitReached("places", MAX_HITS)


def inspect_script(content: Content) -> Iterator[Directive]:
    """Yield one directive a command of a boot script: its first word as key, the rest as value.

    Raises:
        ValueError: the header promises more than there is.
    """
    head = content.head
    if head[30:31] != b"\x06":
        return  # a kernel, a RAM disk, ...
    size = int.from_bytes(head[12:16], "big")
    if 64 + size > content.size:
        raise ValueError(f"the image header promises {size} bytes, there are {content.size - 64}")
    body = bytes(content.data[64 : 64 + min(size, 1 << 20)])
    position = 0
    while int.from_bytes(body[position : position + 4], "big"):
        position += 4
    yield from _commands(body[position + 4 :].decode("utf-8", "backslashreplace"))


def _commands(text: str) -> Iterator[Directive]:
    for number, line in joined(text.rstrip("\0")):
        for part in line.split(";"):
            if found := _WORD.match(part.strip()):
                yield Directive(dialect=SCRIPT, key=found[1], value=withhold(found[2].strip()), line=number)


def inspect_text(content: Content) -> Iterator[Directive]:
    """Yield one directive a variable of a text environment (uEnv.txt), or a command of a script's source (boot.cmd)."""
    text = content.text()
    names = 0
    for number, line in joined(text):
        name, equals, value = line.partition("=")
        if equals and re.fullmatch(r"\w+", name):
            names += 1
            said = withhold(f"{name}={value}")
            yield Directive(dialect=TEXT, key=name, value=said[len(name) + 1 :], line=number)
    if not names:
        yield from _commands(text)


INSPECTOR = ContentInspector(
    name="u-boot-environment",
    version=1,
    families=(Directive,),
    inspect=inspect,
    binary_only=True,
    only_hits=True,
    expressions=(Expression(rb"bootcmd="),),
    containers=True,
    unseen=(
        "environments without a variable bootcmd, larger than 256 KiB, or encrypted",
        "which of two redundant environments is in force, where the flags do not tell",
    ),
)

SCRIPTS = ContentInspector(
    name="u-boot-script",
    version=1,
    families=(Directive,),
    inspect=inspect_script,
    head_begins=(b"\x27\x05\x19\x56",),
    wants_head=lambda head: head.startswith(_MAGIC) and head[30:31] == b"\x06",
    max_size=1 << 20,
    containers=True,
    unseen=("scripts inside a FIT image", "values of variables that a script only uses"),
)

TEXTS = ContentInspector(
    name="u-boot-text",
    version=1,
    families=(Directive,),
    inspect=inspect_text,
    path_has=("Env.txt", "/boot.cmd"),
    wants_path=lambda path: path.endswith(("/uEnv.txt", "/boot.cmd", "/armbianEnv.txt", "/orangepiEnv.txt")),
    max_size=1 << 20,
    text_only=True,
    unseen=("text environments of other names, and what a script makes of their variables",),
)
