"""How code was made, and what was left in it: calls, wrappers, build traces, leftovers."""

from typing import Annotated, ClassVar

from .base import ContentFact, TreeFact, doc


class CallSites(ContentFact, frozen=True, kw_only=True, array_like=True):
    """How often a binary calls one function of the memory and string families directly."""

    source: ClassVar = "ISO C Annex K, POSIX, HCSEC Oversight Board reports 2018 to 2021"
    index: ClassVar = ("family",)

    function: Annotated[str, doc("symbol as called, as memcpy, __memcpy_chk, memcpy_s; with any prefix and letters")]
    family: Annotated[str, doc("memcpy, strcpy, strcat, sprintf, scanf, gets")]
    variant: Annotated[
        str,
        doc(
            "unbounded (no length of the target), bounded (strncpy, memcpy with a length), checked (*_chk), safe (*_s, strlcpy)"
        ),
    ]
    sites: Annotated[
        int | None, doc("direct calls and tail jumps in executable segments; empty if code could not be read")
    ] = None
    imported: Annotated[bool, doc("comes from another object; else defined here")] = True
    method: Annotated[
        str,
        doc("how sites were counted: plt, got, symbol, relocation, joined by + where several; none if there are none"),
    ] = "none"


class Wrapper(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A function named as a safe variant (*_s), and what its code does with the size of its target."""

    source: ClassVar = "ISO C Annex K; HCSEC Oversight Board report 2019, 3.27"

    name: Annotated[str, doc("symbol")]
    calls: Annotated[list[str], doc("functions that it calls or jumps to, as JSON array")] = []
    uses_size: Annotated[
        bool | None,
        doc("reads the argument that is the target's size before calling on; empty if the code does not show it"),
    ] = None
    size: Annotated[int, doc("length of its code", unit="bytes")] = 0


class BuildTrace(ContentFact, frozen=True, kw_only=True, array_like=True):
    """Something that building left in a content."""

    source: ClassVar = "DWARF, ELF .comment and notes; conventions of build systems"

    kind: Annotated[str, doc("build-path, source-file, compiler, build-host, build-date, sanitizer, coverage, assert")]
    value: Annotated[str, doc("as it stands there; a path up to its last directory; at most 300 characters")]
    count: Annotated[int, doc("how often it stands in this content")] = 1


class Leftover(TreeFact, frozen=True, kw_only=True, array_like=True):
    """A file that serves building, testing or finding faults, not running."""

    source: ClassVar = "core(5), git-init(1), Filesystem Hierarchy Standard 3.0; conventions of build systems"

    kind: Annotated[
        str,
        doc(
            "core-file, source-control, source-code, object-file, debug-symbols, test, sample, editor-backup, build-system, compiler, debugger"
        ),
    ]
    evidence: Annotated[str, doc("name, content, elf")] = "name"
