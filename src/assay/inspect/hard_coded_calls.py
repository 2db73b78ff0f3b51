"""Passwords in binaries: constant texts that code hands to functions as a password, or compares with one.

For x86-64 and AArch64. Told are: a constant in the register of an argument that is a password (`hard_coded_tables`),
where each instruction between its loading and the call is understood; a constant compared with what getpass or crypt
has just returned; a constant whose comparison is made only when a comparison with the name of an account has come out
equal. Whether the code is ever run is not seen.

Reference: System V ABI, AMD64 supplement, 3.2.3; Procedure Call Standard for the Arm 64-bit Architecture, 6.4; Intel
SDM, volume 2; Arm ARM, C4; the libraries' headers for the functions.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from struct import Struct

from assay.facts.access import Credential
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression
from .calls import Counts, Piece, direct, stubs
from .calls_x86 import spans
from .elf_format import ET_DYN, ET_EXEC
from .elf_program import EM_AARCH64, EM_X86_64, Program, program
from .hard_coded_readers import known, plausible
from .hard_coded_tables import ACCOUNTS, CALLS, COMPARING, PASSWORD_GIVING, SELECTED

MAX_FACTS, MAX_SITES = 500, 50_000
CHUNK = 1 << 17
WINDOW, WORDS = 72, 20
"""Bytes of x86 code, and instructions of AArch64, before a call in which its arguments are loaded."""
APART = 96
"""Bytes between a comparison with an account's name and that of its password."""

ARGUMENTS = (7, 6, 2, 1, 8, 9)
"""Numbers of the x86 registers rdi, rsi, rdx, rcx, r8, r9."""

_INT = Struct("<i").unpack_from
_UNSIGNED = Struct("<I").unpack_from
_START = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]|[\xb9\xba\xbe\xbf]", re.DOTALL)
_EQUAL = re.compile(
    rb"(?:\xe8....|\xff\x15....)(?:\x85\xc0|\x89[\xc1\xc2]\x31\xc0\x85[\xc9\xd2])(?:\x75.|\x0f\x85....)", re.DOTALL
)
"""A call, then (in eax, ecx or edx) test and jne."""
_HINTS = tuple(sorted({name.lower() for name in (*CALLS, *COMPARING, *PASSWORD_GIVING)}))
_NAMES = frozenset((*CALLS, *COMPARING, *PASSWORD_GIVING))

Constants = dict[int, int]
"""What registers hold, by number."""


class Sites(Counts):
    """Calls through a slot of the GOT, by place."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, str] = {}

    def add(self, name: str, offset: int, method: str) -> None:  # noqa: ARG002 - all are of one method
        """Keep a call at an offset of the file."""
        self.places[offset] = name


def prepare() -> None:
    """Load the list of known defaults, before workers are forked and confined."""
    known()


def inspect(content: Content) -> Iterator[Credential]:
    """Yield the passwords, by place of the text.

    Raises:
        LimitReached: more calls or passwords than are looked at.
    """
    it = program(content.data)
    if it is None or it.machine not in (EM_X86_64, EM_AARCH64) or it.elf.type not in (ET_EXEC, ET_DYN):
        return
    names = it.names[0] & _NAMES if it.elf.little and it.elf.wide else frozenset()
    giving = names & frozenset(PASSWORD_GIVING)
    if not (giving or content.hits.places):
        names -= frozenset(COMPARING)
    if not names - giving and not names & CALLS.keys():
        return
    sites = _sites(it, names)
    order = sorted(sites)
    found: dict[int, tuple[bytes, str]] = {}
    for number, at in enumerate(order[:MAX_SITES]):
        name = sites[at]
        if name in CALLS:
            found.update(_handed(it, at, name))
        elif name in COMPARING and number:
            found.update(_compared(it, order[number - 1], at, sites))
        if len(found) >= MAX_FACTS:
            break
    for offset, (secret, subject) in sorted(found.items()):
        yield Credential(
            offset=offset,
            kind="hard-coded",
            scheme="call",
            fingerprint=hashlib.sha256(secret).hexdigest(),
            subject=subject,
            evidence="call",
        )
    if len(order) > MAX_SITES or len(found) >= MAX_FACTS:
        raise LimitReached("calls with passwords", MAX_FACTS if len(found) >= MAX_FACTS else MAX_SITES)


def _sites(it: Program, names: frozenset[str]) -> dict[int, str]:
    """Return the calls of imported functions by their offset in the file."""
    symbols = {s.number: s.name for s, _ in it.dynamic.find(_HINTS, lambda name: name if name in names else None)}
    plt, got = it.slots(symbols, {})
    through = Sites()
    callees = {address: (name, "plt") for address, name in stubs(it, plt | got, through).items()}
    groups = spans(callees)
    found = through.places
    for offset, address, size in it.code if callees else ():
        for start in range(-address % 4 if it.machine == EM_AARCH64 else 0, size, CHUNK):
            end = min(start + CHUNK, size)
            code = bytes(it.data[offset + start : min(offset + end + 16, offset + size)])
            piece = Piece(code, end - start, offset + start, address + start, 0)
            for at, (name, _) in direct(it, piece, callees, groups):
                found[offset + start + at] = name
    return found


def _handed(it: Program, at: int, name: str) -> Iterator[tuple[int, tuple[bytes, str]]]:
    """Yield the constant that a call hands over as a password: where it is, and what."""
    constants = _constants(it, at)
    subject = name
    if name in SELECTED:
        selector = SELECTED[name].get(constants.get(_register(it, 2), 0))
        if selector is None:
            return
        subject = f"{name} {selector}"
    place, text = _text(it, constants.get(_register(it, CALLS[name])))
    if subject.endswith("USERPWD"):
        user, colon, secret = text.partition(b":")
        place, text = place + len(user) + 1, secret if colon else b""
    if plausible(text.decode("latin-1"), "password", code=False):
        yield place, (text, subject)


def _compared(it: Program, before: int, at: int, sites: Mapping[int, str]) -> Iterator[tuple[int, tuple[bytes, str]]]:
    """Yield the constant that is compared after a password was asked for, or an account was found to be meant."""
    if at - before > APART:
        return
    previous, name = sites[before], sites[at]
    if previous in PASSWORD_GIVING:
        subject = f"{name} of {previous}"
    elif previous in COMPARING and _when_equal(it, before):
        account = next(
            (text for _, text in _texts(it, _constants(it, before)) if text.decode("latin-1") in ACCOUNTS), b""
        )
        if not account:
            return
        subject = f"{name} after {account.decode()}"
    else:
        return
    for place, text in _texts(it, _constants(it, at, floor=_behind(it, before))):
        value = text.decode("latin-1")
        if plausible(value, "password", code=previous not in PASSWORD_GIVING):
            yield place, (text, subject)


def _register(it: Program, argument: int) -> int:
    return ARGUMENTS[argument - 1] if it.machine == EM_X86_64 else argument - 1


def _texts(it: Program, constants: Constants) -> Iterator[tuple[int, bytes]]:
    """Yield the texts that the first two arguments are."""
    for argument in (1, 2):
        place, text = _text(it, constants.get(_register(it, argument)))
        if text:
            yield place, text


def _text(it: Program, address: int | None) -> tuple[int, bytes]:
    """Return the offset and bytes of the printable text at an address; nothing if there is none."""
    place = None if address is None else it.offset(address)
    if place is None:
        return 0, b""
    text, end, _ = bytes(it.data[place : place + 130]).partition(b"\0")
    return (place, text) if end and text.isascii() and text.decode("ascii").isprintable() else (0, b"")


def _when_equal(it: Program, at: int) -> bool:
    """Tell whether the code goes on behind a comparison only if it came out equal."""
    code = bytes(it.data[at : at + 20])
    if it.machine == EM_X86_64:
        return _EQUAL.match(code) is not None
    return len(code) >= 8 and _UNSIGNED(code, 4)[0] & 0xFF00_001F == 0x3500_0000  # cbnz w0


def _behind(it: Program, at: int) -> int:
    """Return the offset behind a call."""
    return at + (4 if it.machine == EM_AARCH64 else 5 if it.data[at] == 0xE8 else 6)


def _constants(it: Program, at: int, floor: int = 0) -> Constants:
    """Return the constants in registers when a call at an offset is made.

    Args:
        it: the program.
        at: offset of the call.
        floor: offset behind an earlier call; there must be one straight way from there.
    """
    index = bisect_right(it.code, at, key=lambda stretch: stretch.offset) - 1
    offset, address, _ = it.code[index]
    step = WINDOW if it.machine == EM_X86_64 else 4 * WORDS
    start = floor or max(offset, at - step)
    code = bytes(it.data[start:at])
    if it.machine == EM_AARCH64:
        return _constants_aarch64(code, address + start - offset, straight=floor > 0)
    if floor:
        return _constants_x86(code, 0, address + start - offset) or {}
    for match in _START.finditer(code):
        found = _constants_x86(code, match.start(), address + start - offset)
        if found is not None:
            return found
    return {}


def _constants_x86(code: bytes, at: int, address: int) -> Constants | None:
    """Follow instructions from a place to the end of the code; None if one is not understood or leads away."""
    held: Constants = {}
    size = len(code)
    while at < size:
        begin = at
        at += code[at] == 0x66
        rex = code[at] if at < size and 0x40 <= code[at] <= 0x4F else 0
        at += 1 if rex else 0
        if at >= size:
            return None
        opcode = code[at]
        at += 1
        if 0x50 <= opcode <= 0x57 or opcode == 0x90:  # push, nop
            continue
        if 0x58 <= opcode <= 0x5F:  # pop
            held.pop(opcode & 7 | (rex & 1) << 3, None)
            continue
        if opcode in (0x68, 0x6A):  # push, immediate
            at += 4 if opcode == 0x68 else 1
            continue
        if 0x70 <= opcode <= 0x7F:  # a jump that is not taken
            at += 1
            continue
        if 0xB8 <= opcode <= 0xBF:  # mov, immediate
            if at + 4 > size or rex & 8:
                return None
            held[opcode & 7 | (rex & 1) << 3] = _UNSIGNED(code, at)[0]
            at += 4
            continue
        two = opcode == 0x0F
        if two:
            opcode = code[at] if at < size else 0
            at += 1
            if 0x80 <= opcode <= 0x8F:
                at += 4
                continue
            if opcode not in (0x10, 0x11, 0x1F, 0x28, 0x29, 0x57, 0x6F, 0x7F, 0xB6, 0xB7, 0xBE, 0xBF, 0xEF):
                return None
        elif opcode not in (0x01, 0x03, 0x29, 0x2B, 0x31, 0x33, 0x39, 0x3B, 0x63, 0x83, 0x84, 0x85, 0x88, 0x89, 0x8A,
                            0x8B, 0x8D, 0xC6, 0xC7):  # fmt: skip
            return None
        if at >= size:
            return None
        modrm = code[at]
        at += 1
        mode, register, low = modrm >> 6, modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7
        displacement = 4 if mode == 2 or (mode == 0 and low == 5) else mode == 1
        if mode != 3 and low == 4:
            displacement = 4 if mode == 0 and at < size and code[at] & 7 == 5 else displacement
            at += 1
        value = _INT(code, at)[0] if displacement == 4 and at + 4 <= size else 0
        at += displacement
        at += 1 if opcode in (0x83, 0xC6) and not two else 4 if opcode == 0xC7 and not two else 0
        target = low | (rex & 1) << 3
        if two:
            if opcode in (0xB6, 0xB7, 0xBE, 0xBF):
                held.pop(register, None)
        elif opcode == 0x8D and mode == 0 and low == 5:
            held[register] = address + at + value
        elif opcode in (0x89, 0x8B) and mode == 3:
            source, sink = (register, target) if opcode == 0x89 else (target, register)
            if source in held and (rex & 8 or held[source] < 1 << 32):
                held[sink] = held[source]
            else:
                held.pop(sink, None)
        elif opcode in (0x03, 0x2B, 0x33, 0x63, 0x8A, 0x8B, 0x8D):
            held.pop(register, None)
        elif mode == 3 and opcode not in (0x39, 0x3B, 0x84, 0x85):
            held.pop(target, None)
        if at <= begin:
            return None
    return held if at == size else None


def _constants_aarch64(code: bytes, address: int, *, straight: bool = False) -> Constants:
    """Follow instructions to the end of the code; what stands before a branch does not count.

    Args:
        code: whole instructions.
        address: of the first.
        straight: nothing counts if there is a branch that is always taken.
    """
    held: Constants = {}
    for at in range(0, len(code) & ~3, 4):
        word = _UNSIGNED(code, at)[0]
        target, source = word & 31, word >> 5 & 31
        if word & 0x7E00_0000 == 0x3400_0000 or word & 0x7E00_0000 == 0x3600_0000 or word & 0xFF00_0010 == 0x5400_0000:
            continue  # cbz, tbz, b.cond: not taken
        if word & 0x1C00_0000 == 0x1400_0000:  # b, bl, br, blr, ret, exceptions
            held = {}
            if straight and word & 0xFFFF_F01F != 0xD503_201F:  # a hint leads nowhere
                return held
        elif word & 0x9F00_0000 == 0x9000_0000:  # adrp
            pages = ((word >> 5 & 0x7_FFFF) << 2 | word >> 29 & 3) ^ 0x10_0000
            held[target] = (address + at & ~0xFFF) + (pages - 0x10_0000 << 12)
        elif word & 0x9F00_0000 == 0x1000_0000:  # adr
            held[target] = address + at + (((word >> 5 & 0x7_FFFF) << 2 | word >> 29 & 3) ^ 0x10_0000) - 0x10_0000
        elif word & 0xFFC0_0000 == 0x9100_0000 and source in held:  # add, immediate
            held[target] = held[source] + (word >> 10 & 0xFFF)
        elif word & 0x7FE0_FFE0 == 0x2A00_03E0 and word >> 16 & 31 in held:  # mov, register
            held[target] = held[word >> 16 & 31]
        elif word & 0x7FE0_0000 == 0x5280_0000:  # mov, immediate
            held[target] = word >> 5 & 0xFFFF
        else:
            held.pop(target, None)
            if word & 0x3A00_0000 == 0x2800_0000:  # pairs
                held.pop(word >> 10 & 31, None)
            if word & 0x3800_0000 == 0x2800_0000 or word & 0x3B00_0000 == 0x3800_0000:
                held.pop(source, None)  # the address may be written back
    return held


INSPECTOR = ContentInspector(
    name="hard-coded-calls",
    version=1,
    families=(Credential,),
    inspect=inspect,
    head_begins=(b"\x7fELF",),
    wants_head=lambda head: head[:4] == b"\x7fELF",
    containers=True,
    only_hits=True,
    expressions=(Expression(rb"\x00(?:" + "|".join(sorted(ACCOUNTS)).encode() + rb")\x00"),),
    unseen=(
        "machines other than x86-64 and AArch64; objects, kernel modules, static programs; Go, Rust and Java programs",
        "passwords that are plain words, unless a published default, where they are compared after an account's name",
        "comparisons that the compiler has put in line, and those with what was not just returned by getpass or crypt",
        "arguments on the stack, in structures and tables, or loaded before another call or a branch; texts made up",
        "functions under other names than the table has",
    ),
)
