"""What building left in binaries: paths of the machine that built, compilers, dates, sanitizers, coverage, assertions.

A path is taken for one of a build if it leads to source code, stands in DWARF, or begins as build systems' folders do;
/home/... alone may be where a program works. A source file's path is told up to its last directory, with how many texts
lead there.

Reference: DWARF 5, 3.1.1 (DW_AT_comp_dir, DW_AT_producer); GCC, "Standard Predefined Macros" (__FILE__, __DATE__);
Clang's and GCC's sanitizers and gcov; Linux init/version.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from assay.facts.code import BuildTrace
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Expression
from .elf_format import ET_CORE
from .elf_program import Program, program
from .late import late
from .scan import MAX_HITS

MAX_FACTS = 1_000
MAX_VALUE = 300

_SOURCE = rb"\.(?:c|cc|cpp|cxx|h|hh|hpp|rs|go|S)"

SOURCE_FILE = late(rb"(?:[A-Za-z]:[\\/]|\.{0,2}/)?[\w.+~@-][\w.+~@=,/\\-]{0,399}?" + _SOURCE + rb"\Z")
FOLDER = late(
    rb"(?<![\w./-])(?:/(?:build|builds|buildroot|buildbot|jenkins|workspace|var/lib/(?:jenkins|buildkite)[\w.-]{0,20}"
    rb"|home/[\w.-]+|root|Users/[\w.-]+)(?:/[\w.+~@=,-]+){1,40}"
    rb"|[A-Za-z]:\\\\?(?:[\w.+~@ -]+\\\\?){1,40})"
)
ALWAYS = late(rb"/(?:build|builds|buildroot|buildbot|jenkins|var/lib/jenkins|var/lib/buildkite)[^/]*/")
BANNER = late(rb"Linux version \S+ \(([\w.-]{1,64}@[\w.-]{1,128})\)(?: \((.{1,200}?)\))? ?#")
BANNER_DATE = late(rb"((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d [A-Z]{3,5} \d{4})")
DATE = late(
    rb"(?<![\w ])((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 1-3]\d (?:19|20)\d\d)"
    rb"(?:[ ,]{0,2}(\d\d:\d\d:\d\d))?(?!\w)"
)
PRODUCER = late(
    rb"(?:GNU (?:C|C\+\+|Fortran|AS|GIMPLE)\d* \d+\.\d[^\0]{0,280}|(?:[A-Za-z]+ )?clang version \d+\.\d[^\0]{0,280})"
)

# What each place in the content may be: (kind, trigger).
EXPRESSIONS = (
    ("source", _SOURCE + rb"\x00"),
    ("folder", rb"/(?:build|builds|buildroot|jenkins)/[\w.+-]"),
    ("folder", rb"/var/lib/(?:jenkins|buildkite)[\w.-]{0,10}/"),
    ("folder", rb"[\x00= ]/(?:home/[\w.-]{1,32}|root|Users/[\w.-]{1,32})/[\w.+-]"),
    ("folder", rb"[\x00= ][A-Za-z]:\\[\w.]"),
    ("banner", rb"Linux version [2-9]\."),
    ("producer", rb"GNU (?:C|C\+\+|Fortran|AS|GIMPLE)[0-9]{0,2} [0-9]{1,2}\.[0-9]"),
    ("producer", rb"clang version [0-9]{1,2}\.[0-9]"),
    ("date", rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 1-3][0-9] (?:19|20)[0-9]{2}"),
    ("gcda", rb"\.gcda\x00"),
)

SANITIZERS = late(r"__(asan|hwasan|msan|tsan|ubsan|lsan|sanitizer|sancov|memprof)_")
COVERAGE = late(r"_*(?:gcov_|llvm_gcov_|llvm_profile_|llvm_gcda_)")
ASSERTS = frozenset(("__assert_fail", "__assert", "__assert2", "__assert_rtn", "__assert_perror_fail", "__assert_c99"))
HINTS = ("san_", "sanitizer_", "sancov_", "memprof_", "gcov_", "llvm_profile", "llvm_gcda", "__assert")


class Traces:
    """Traces by kind and value, with the first place and the number of each."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[int | None]] = {}
        self.cut = False

    def add(self, kind: str, value: bytes | str, offset: int | None) -> None:
        """Count one."""
        text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
        key = kind, text[:MAX_VALUE]
        held = self.found.get(key)
        if held is not None:
            held[1] = (held[1] or 0) + 1
        elif len(self.found) < MAX_FACTS:
            self.found[key] = [offset, 1]
        else:
            self.cut = True


class Stretch(NamedTuple):
    """Where DWARF's strings stand."""

    start: int
    end: int


def inspect(content: Content) -> Iterator[BuildTrace]:
    """Yield the traces, by kind and place; the same one once, with a count.

    Raises:
        LimitReached: there are more traces than are told.
    """
    it = program(content.data)
    if it is None or it.elf.type == ET_CORE:
        return
    dwarf = [
        Stretch(s.offset, s.offset + s.size)
        for s in it.elf.sections or ()
        if s.name in (".debug_str", ".debug_line_str", ".debug_info")
    ]
    traces = Traces()
    comment = it.elf.section(".comment")
    if comment:
        at = comment.offset
        for text in it.elf.contents(comment, 1 << 16).split(b"\0"):
            if text.strip():
                traces.add("compiler", text, at)
            at += len(text) + 1
    _symbols(it, traces)
    seen: set[tuple[int, str]] = set()
    for end, number in content.hits.places:
        what = EXPRESSIONS[number][0]
        place = end - 1 if what in ("source", "gcda") else end
        start, text = content.string(place)
        if (start, what) not in seen or what == "folder":
            seen.add((start, what))
            _text(what, start, text, place, dwarf, traces)
    for (kind, value), (offset, count) in sorted(traces.found.items(), key=lambda item: (item[0][0], item[1][0] or 0)):
        yield BuildTrace(offset=offset, kind=kind, value=value, count=count or 1)
    if traces.cut or content.hits.cut:
        raise LimitReached("build traces", MAX_HITS if content.hits.cut else MAX_FACTS)


def _text(what: str, start: int, text: bytes, place: int, dwarf: list[Stretch], traces: Traces) -> None:
    """Add what a text says."""
    if what == "source":
        match = SOURCE_FILE.match(text)
        if match is None:
            return
        folder, separator, name = text.rpartition(b"/") if b"/" in text else text.rpartition(b"\\")
        if separator and (folder[:1] == b"/" or folder[1:2] == b":"):
            traces.add("build-path", folder or b"/", start)
        else:
            traces.add("source-file", folder or name, start)
    elif what == "folder":
        match = next((m for m in FOLDER.finditer(text) if m.start() < place - start <= m.end()), None)
        if match is None or SOURCE_FILE.match(text):
            return  # a source file's path is told as such
        path = match[0]
        in_dwarf = any(stretch.start <= start < stretch.end for stretch in dwarf)
        if in_dwarf or ALWAYS.match(path) or re.search(_SOURCE + rb"\b", path):
            leaf = path.rpartition(b"/")[2] if b"/" in path else path.rpartition(b"\\")[2]
            folder = path[: -len(leaf) - 1] if b"." in leaf.lstrip(b".") and not in_dwarf else path
            traces.add("build-path", folder, start + match.start())
    elif what == "banner":
        banner = BANNER.search(text)
        if banner:
            traces.add("build-host", banner[1], start + banner.start(1))
            if banner[2]:
                traces.add("compiler", banner[2], start + banner.start(2))
            date = BANNER_DATE.search(text, banner.end())
            if date:
                traces.add("build-date", date[1], start + date.start(1))
    elif what == "producer":
        producer = PRODUCER.search(text)
        if producer:
            traces.add("compiler", producer[0], start + producer.start())
    elif what == "gcda":
        traces.add("coverage", text, start)
    elif len(text) <= 120:
        date = DATE.search(text)
        if date and (date[2] or len(text) <= 24 or re.search(rb"(?i)built|build|compiled", text)):
            traces.add("build-date", date[0], start + date.start())


def _symbols(it: Program, traces: Traces) -> None:
    for table in (it.dynamic, it.static):
        for symbol, kind in table.find(HINTS, _kind):
            name = symbol.name.split("@", 1)[0]
            # A sanitizer's functions are told by what their names have in common: its own library has thousands.
            prefix = SANITIZERS.match(name) if kind == "sanitizer" else None
            traces.add(kind, prefix[0] if prefix else name, symbol.place)
        if traces.found and table.names:
            break


def _kind(name: str) -> str | None:
    plain = name.split("@", 1)[0]
    if SANITIZERS.match(plain):
        return "sanitizer"
    if COVERAGE.match(plain):
        return "coverage"
    return "assert" if plain in ASSERTS else None


INSPECTOR = ContentInspector(
    name="build_traces",
    version=1,
    families=(BuildTrace,),
    inspect=inspect,
    head_begins=(b"\x7fELF",),
    wants_head=lambda head: head[:4] == b"\x7fELF",
    containers=True,
    expressions=tuple(Expression(trigger) for _, trigger in EXPRESSIONS),
    unseen=(
        "compressed DWARF, and kernels inside their own compressed image",
        "files that are not ELF: class files, compiled Python, scripts",
        "paths that were mapped to others when building (-ffile-prefix-map)",
    ),
)
