"""Capabilities: distinct terms, short terms with company, names of an ELF file, and what merely looks alike."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.privacy import Capability
from assay.inspect import capabilities, scan
from assay.inspect.capabilities_tables import TERMS
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect


def find(data: bytes | str, kind: str | None = None) -> list[Capability]:
    return inspect(capabilities.INSPECTOR, data.encode() if isinstance(data, str) else data, kind)  # type: ignore[return-value]


def test_a_text() -> None:
    text = "first\nmsg = <ActivateTaskRequest xmlns='http://uri.etsi.org/03221/X1'>\nActivateTaskRequest password=abc\n"
    assert find(text) == [
        Capability(
            offset=13,
            line=2,
            kind="lawful-interception",
            interface="X1",
            term="ActivateTaskRequest",
            text="msg = <ActivateTaskRequest xmlns='http://uri.etsi.org/03221/X1'>",
            evidence="string",
            count=2,
        ),
        Capability(
            offset=text.index("uri."),
            line=2,
            kind="lawful-interception",
            interface="X1",
            term="uri.etsi.org/03221",
            text="msg = <ActivateTaskRequest xmlns='http://uri.etsi.org/03221/X1'>",
            evidence="string",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lawful Interception is on", ("lawful-interception", None, "lawful intercept")),
        ("LI_X2 and more", ("lawful-interception", "LI_X2", "LI_X2")),
        ("EpsHI2Operations.asn", ("lawful-interception", "HI2", "HI2Operations")),
        ("ndpi_init_detection_module_ext", ("deep-packet-inspection", None, "ndpi_init_detection_module")),
        ("deep packet inspection", ("deep-packet-inspection", None, "deep packet inspection")),
        ("exec /usr/sbin/tcpdump -w", ("packet-capture", None, "tcpdump")),
        ("Trace-Collection-Entity", ("subscriber-trace", None, "Trace-Collection-Entity")),
        ("asn_DEF_InterfacesToTrace", ("subscriber-trace", None, "InterfacesToTrace")),
        ("/nlmf-loc/v1", ("location", "Nlmf", "nlmf-loc")),
        ("AnyTimeInterrogationArg", ("location", "MAP", "AnyTimeInterrogation")),
        ("haarcascade_frontalface_alt.xml", ("face-analysis", None, "haarcascade_frontalface")),
        ("voiceprint", ("voice-analysis", None, "voiceprint")),
        ("load keyword_filter.so", ("keyword-filter", None, "keyword filter")),
        ("敏感词 list", ("keyword-filter", None, "关键词, 敏感词")),
    ],
)
def test_terms(text: str, expected: tuple[str, str | None, str]) -> None:
    for kind in ("text", "elf"):
        (fact,) = find(text, kind)
        assert (fact.kind, fact.interface, fact.term, fact.evidence) == (*expected, "string")


@pytest.mark.parametrize(
    "text",
    [
        "X1 X2 X3", "the MDF board", "TDF", "LCS", "AF_PACKET", "pcap_loop", "mypcap_open_live", "pcap_open_live2",
        "LI_X10", "network io intercept callback", "SUPL", "surface recognition", "D$X1\0X2\0X3", "PRE_CALEAB",
    ],
)  # fmt: skip
def test_what_does_not_count(text: str) -> None:
    assert find(text, "text") == []


def test_short_terms_in_company() -> None:
    found = find("The ADMF talks X1 to the MDF2, by lawful interception", "text")
    assert [(fact.term, fact.interface) for fact in found] == [
        ("ADMF", None), ("X1", "X1"), ("MDF2", None), ("lawful intercept", None)
    ]  # fmt: skip
    assert find("X1" + " " * 1000 + "lawful interception", "text")[0].term == "lawful intercept"


def test_secrets_and_numbers_are_withheld() -> None:
    (fact,) = find("trace by imsi 001010123456789 password=hunter2", "text")
    assert fact.text == "trace by imsi # password=[withheld]"


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_names_of_an_elf_file(tmp_path: Path) -> None:
    source, library = tmp_path / "a.c", tmp_path / "a.so"
    source.write_text("int pcap_open_live(void); int ndpi_finalize_initialization(void) { return pcap_open_live(); }")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    found = {(fact.term, fact.evidence) for fact in find(library.read_bytes(), "elf")}
    assert found == {("pcap_open_live", "import"), ("ndpi_finalize_initialization", "symbol")}


def test_the_table() -> None:
    for term in TERMS:
        re.compile(term.text)
    assert len({(term.kind, term.text) for term in TERMS}) == len(TERMS)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HITS", 5)
    with pytest.raises(LimitReached):
        find("NRPPa " * 10)


@pytest.mark.parametrize("unit", [b"X1 ", b"ADMF ", b"NRPPa", b"lawful intercept", b"keyword" * 8 + b"filter"])
def test_repetition_stays_cheap(unit: bytes) -> None:
    begun = time.process_time()
    with contextlib.suppress(LimitReached):
        find(unit * (300_000 // len(unit)), "elf")
    assert time.process_time() - begun < 3


def test_broken_contents_end_well() -> None:
    for variant in mangled(b"\x7fELF\0NRPPa\0ADMF X1 lawful interception\0AF_PACKET pcap_loop", count=200):
        find(variant, "elf")


@settings(deadline=None)  # the first call compiles the expressions
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    find(b"NRPPa" + data + b"X1 ADMF")
