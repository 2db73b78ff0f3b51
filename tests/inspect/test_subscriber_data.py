"""Subscriber data: formats, columns, samples; no fact holds a number."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.privacy import SubscriberSink
from assay.inspect import scan, subscriber_data
from assay.inspect.subscriber_data import MCC
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

IMSI = "262019876543210"
IMEI = "490154203237518"  # 3GPP TS 23.003 annex B has its check digit


def find(data: bytes | str, kind: str | None = None) -> list[SubscriberSink]:
    return inspect(subscriber_data.INSPECTOR, data.encode() if isinstance(data, str) else data, kind)  # type: ignore[return-value]


def test_formats_in_a_binary() -> None:
    data = b"\0attach of IMSI=%s from 12345\0\0\1MSISDN: %-15s\0"
    assert find(data, "elf") == [
        SubscriberSink(offset=11, identifier="imsi", sink="log-format", text="attach of IMSI=%s from #"),
        SubscriberSink(offset=data.index(b"MSIS"), identifier="msisdn", sink="log-format", text="MSISDN: %-15s"),
    ]


@pytest.mark.parametrize(
    ("text", "identifier", "sink"),
    [
        ('log.info(f"SUPI: {ue.supi} is in")', "supi", "log-format"),
        ('println!("suci {}", x)', "suci", "log-format"),
        ('logger.info("imei=%(imei)s")', "imei", "log-format"),
        ('echo "IMSI is: $imsi"'.replace("is", ""), "imsi", "log-format"),
        ('fmt.Printf("PEI[%v]")'.replace("%v", "%s"), "pei", "log-format"),
        ("GUTI = {{.Guti}}".replace("{{", "{").replace("}}", "}"), "guti", "log-format"),
        ("tmsi 0x%08x", None, None),
        ("TMSI: %08X", "tmsi", "log-format"),
        ("user location: %s", "location", "log-format"),
        ("Ki=%s", "ki", "log-format"),
        ("OPc: %s", "opc", "log-format"),
        ("SELECT * FROM s WHERE imsi='%s'", "imsi", "query"),
        ('ue_info{imsi="%s"} 1', "imsi", "metric"),
        ("Location: %s", None, None),
        ("wiki=%s", None, None),
        ("Kp=%f Ki=%f", None, None),
        ("bad IMSI", None, None),
        ("imsi length, count %d", None, None),
        ("'msisdn': 'tel'", None, None),
    ],
)
def test_formats(text: str, identifier: str | None, sink: str | None) -> None:
    found = [(fact.identifier, fact.sink) for fact in find(text, "text")]
    assert found == ([(identifier, sink)] if identifier else [])


def test_columns(tmp_path: Path) -> None:
    sql = "CREATE TABLE subscriber (\n id INTEGER,\n imsi VARCHAR(15) UNIQUE,\n ki TEXT, `opc` text\n);\n"
    assert [(f.identifier, f.sink, f.line, f.evidence) for f in find(sql, "text")] == [
        ("imsi", "database-column", 3, "schema"),
        ("ki", "database-column", 4, "schema"),
        ("opc", "database-column", 4, "schema"),
    ]
    path = tmp_path / "hlr.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(sql)
        database.commit()
    assert {f.identifier for f in find(path.read_bytes())} == {"imsi", "ki", "opc"}
    assert find("struct { imsi text; }", "text") == []
    (fact,) = find("imsi: { type: String, required: true }", "text")
    assert (fact.identifier, fact.sink, fact.evidence) == ("imsi", "database-column", "schema")


def test_samples() -> None:
    text = f"start\n2024-01-01 10:00:00 INFO attach imsi={IMSI} ok\nimei: {IMEI}\n"
    assert find(text, "text") == [
        SubscriberSink(
            offset=text.index(IMSI),
            line=2,
            identifier="imsi",
            sink="log-sample",
            text="2024-01-01 10:00:00 INFO attach imsi=# ok",
            evidence="log",
            fingerprint=hashlib.sha256(IMSI.encode()).hexdigest(),
        ),
        SubscriberSink(
            offset=text.index(IMEI),
            line=3,
            identifier="imei",
            sink="file",
            text="imei: #",
            fingerprint=hashlib.sha256(IMEI.encode()).hexdigest(),
        ),
    ]
    told = msgspec.json.encode(find(text, "text")).decode()
    assert IMSI not in told
    assert IMEI not in told


@pytest.mark.parametrize(
    "text",
    [
        "imsi=001019876543210", "imsi=999709876543210", "imsi=123456789012345", "imsi=262011111111111", "imsi=26201987",
        f"imsi={IMSI}4", f"imsi={IMSI}a", "imei=490154203237519", "msisdn=0123456789", "iccid=12345678901234567890",
        f"number={IMSI}", "tmsi=12345678",
    ],
)  # fmt: skip
def test_numbers_that_are_no_identity(text: str) -> None:
    assert find(text, "text") == []


def test_numbers_of_other_kinds() -> None:
    assert [f.identifier for f in find(f"supi: imsi-{IMSI}", "text")] == ["imsi"]
    assert [f.identifier for f in find("msisdn=491721234567", "text")] == ["msisdn"]
    assert [f.identifier for f in find("ICCID: 8949017240312345670", "text")] in ([], ["iccid"])


def test_country_codes() -> None:
    assert {262, 310, 460, 208, 901} <= MCC
    assert not {1, 999, 0, 123} & MCC
    assert 200 < len(MCC) < 330


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_data, "MAX_FACTS", 3)
    kept: list[SubscriberSink] = []
    data = b"".join(b"%d imsi=%%s\n" % n for n in range(9))
    with pytest.raises(LimitReached):
        kept.extend(subscriber_data.INSPECTOR.inspect(content_of(subscriber_data.INSPECTOR, data)))
    assert len(kept) == 3
    monkeypatch.setattr(scan, "MAX_HITS", 2)
    with pytest.raises(LimitReached):
        find(data)


@pytest.mark.parametrize(
    "unit", [b"imsi=%s", b"imsi=26201987", b"ki text ", b"create table imsi text ", b"imsi ", b"{imsi={"]
)
def test_repetition_stays_cheap(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_HITS", 2_000)
    for kind in ("text", "elf"):
        begun = time.process_time()
        with contextlib.suppress(LimitReached):
            find(unit * (200_000 // len(unit)), kind)
        assert time.process_time() - begun < 2


def test_broken_contents_end_well() -> None:
    data = f"\x7fELF\0IMSI=%s\0create table a (imsi text)\0imsi={IMSI}\0".encode()
    for variant in mangled(data, count=200):
        find(variant, "elf")


@settings(deadline=None)  # the first call compiles the expressions
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    find(b"imsi=" + data + b"imsi=%s", "text")
