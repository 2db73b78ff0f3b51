from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assay.record import Record
from assay.report import render
from assay.report.base import opened
from assay.report.html.payload import shown, shown_json
from assay.report.html.pictures import BINS, byte_maps
from assay.report.summary import summarise

from .records import HOSTILE, hostile, large, realistic, sha

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Tags with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "style"):
            self.raw.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            tag, attrs, text = self.raw[-1]
            self.raw[-1] = (tag, attrs, text + data)
        else:
            self.texts.append(data)


def page(record: Path) -> Page:
    stream = io.StringIO()
    render(record, "html", stream)
    return Page(stream.getvalue())


def payload(found: Page, name: str) -> Any:
    (text,) = [text for _, attrs, text in found.raw if attrs.get("id") == name]
    return json.loads(gzip.decompress(base64.b64decode(text, validate=True)))


def test_nothing_but_its_own_style_and_script_may_run_or_load(tmp_path: Path) -> None:
    found = page(realistic(tmp_path / "r.assay"))
    (policy,) = [
        a["content"] for t, a in found.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    digests = {
        tag: "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, attrs, text in found.raw
        if "type" not in attrs
    }
    assert policy == (
        f"default-src 'none'; style-src '{digests['style']}'; script-src '{digests['script']}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    script = next(text for tag, attrs, text in found.raw if tag == "script" and "type" not in attrs)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|https?:", script)


def test_hostile_text_is_only_ever_text(tmp_path: Path) -> None:
    clean = page(realistic(tmp_path / "clean.assay"))
    found = page(hostile(tmp_path / "hostile.assay"))
    assert {tag for tag, _ in found.tags} - {"details", "summary"} <= {tag for tag, _ in clean.tags}
    assert {(t, a) for t, attrs in found.tags for a in attrs} <= {(t, a) for t, attrs in clean.tags for a in attrs}
    assert [(tag, attrs) for tag, attrs, _ in found.raw] == [(tag, attrs) for tag, attrs, _ in clean.raw]
    assert [a["href"] for _, a in found.tags if "href" in a and not re.fullmatch(r"#[\w?=&%./~-]+", a["href"])] == []
    assert not [a for _, a in found.tags if "style" in a or "src" in a or any(name.startswith("on") for name in a)]
    text = "".join(found.texts)
    assert HOSTILE[0] in text
    assert HOSTILE[2] in text
    assert all(line.isprintable() for line in text.split("\n"))
    for name in ("index", "evidence"):
        rest = [payload(found, name)]
        while rest:
            value = rest.pop()
            if isinstance(value, dict):
                rest += [*value, *value.values()]
            elif isinstance(value, list):
                rest += value
            else:
                assert str(value).isprintable()


def test_the_lists_whole(tmp_path: Path) -> None:
    data = payload(page(realistic(tmp_path / "r.assay")), "index")
    number = {name: i for i, name in enumerate(data["families"])}
    assert data["findings"] == [
        [
            [1, 2, 3, 4],
            [1, 3, 5, 5],
            [
                "Private key RSA, 2048 bits, not encrypted",
                "PermitRootLogin is yes",
                "No RELRO, no PIE",
                "Stack is executable",
            ],
            [
                "/rootfs!/etc/ssh/ssh_host_rsa_key",
                "/rootfs!/etc/ssh/sshd_config",
                "/rootfs!/bin/busybox",
                "/rootfs!/usr/bin/httpd",
            ],
            [1, 33, None, None],
            [0, None, None, None],
            [2, 2, 2, 2],
            [7, 8, 2, 4],
            [[number["credential"], 1], [number["setting"], 1], [number["elf"], 1], [number["elf"], 3]],
        ]
    ]
    assert [rule["name"].rpartition("/")[2] for rule in data["rules"]] == [
        "4.2.2",
        "4.2.3.2.3",
        "4.2.6.2",
        "4.3.3.1.1",
        "4.4.1",
        "hardening",
    ]
    assert data["binaries"] == [
        ["/rootfs!/bin/busybox", "aarch64", "executable", "nynnn"],
        ["/rootfs!/lib/libc.so.6", "aarch64", "library", "uypyu"],
        ["/rootfs!/usr/bin/httpd", "aarch64", "executable", "nnpup"],
        ["/rootfs!/usr/sbin/sshd", "aarch64", "executable", "yyyyy"],
    ]


def test_the_evidence_whole(tmp_path: Path) -> None:
    data = payload(page(realistic(tmp_path / "r.assay")), "evidence")
    assert set(data["facts"]) == {"credential", "elf", "setting"}
    table = data["facts"]["credential"]
    assert dict(zip(table["columns"], table["rows"]["1"], strict=True)) == {
        "id": 1,
        "content": 7,
        "collector": 3,
        "offset": 0,
        "line": 1,
        "kind": "private-key",
        "scheme": "RSA",
        "fingerprint": sha("key"),
        "bits": 2048,
        "encrypted": False,
        "subject": None,
        "evidence": "parsed",
    }
    assert data["contents"]["7"] == [
        sha("/etc/ssh/ssh_host_rsa_key"),
        1700,
        "text",
        1,
        ["/rootfs!/etc/ssh/ssh_host_rsa_key"],
    ]
    assert data["collectors"]["3"] == ["keys", 2, 1]
    assert data["runs"]["1"] == ["examine", "0.1.0", "2026-03-01T10:00:00Z"]
    assert data["containers"] == {
        "1": ["", "gpt", None, 1, 2, 2, 1],
        "2": ["/rootfs!", "squashfs", 1, 1, 12, 11, 0],
    }
    assert [row[2:5] for row in data["unread"].values()] == [
        ["/rootfs!/opt/data.bin", "entry", "malformed"],
        ["/rootfs!", "rest", "truncated"],
    ]


def test_many_findings_come_in_chunks(tmp_path: Path) -> None:
    data = payload(page(large(tmp_path / "r.assay", 5_000)), "index")
    assert [len(chunk[0]) for chunk in data["findings"]] == [4096, 908]


def test_a_long_value_is_cut_and_says_so() -> None:
    assert shown("x" * 3000) == "x" * 667 + "…[1000 characters]…" + "x" * 1333
    assert shown(list(range(150)))[98:] == [98, 99, "… 50 more in the record"]
    assert shown(b"a\xff\0") == "a\\xff\\x00"
    assert shown({"a\n": "b\n"}) == {"a\\x0a": "b\\x0a"}
    for row in ([1, "plain", None, ["a"], True], [1, "a\u202eb"], ["tab\t"], ["back\\slash"], [b"raw"], ["y" * 5000]):
        assert json.loads(shown_json(row)) == shown(row)


def test_a_byte_map(tmp_path: Path) -> None:
    record = realistic(tmp_path / "r.assay")
    with opened(record) as db:
        image, root = byte_maps(db, summarise(db, record))
    assert [(s.style, s.x, s.width) for s in image.stretches] == [
        ("hue1", 0, 1),
        ("unknown", 1, 90),
        ("padding", 91, 78),
        ("hue0", 180, 450),
        ("padding", 630, 89),
        ("hue1", 719, 1),
    ]
    assert image.stretches[1].tip == "unknown: 1.0 MiB from offset 11,650 (0x2d82)"
    assert image.legend == [
        ("hue0", "squashfs", 5 << 20),
        ("padding", "padding", 900_000 + (1 << 20) - 17408),
        ("unknown", "unknown", 1 << 20),
        ("hue1", "gpt", 34816),
    ]
    assert image.unknown == [(17408, 1 << 20, 7.98)]
    assert (root.title, root.size, [s.style for s in root.stretches]) == ("/rootfs!", 5 << 20, ["hue0"])
    assert sum(s.width for s in image.stretches) <= BINS


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium to show the page in")
def test_a_browser_shows_it_and_runs_nothing_else(tmp_path: Path) -> None:
    record = hostile(tmp_path / "r.assay")
    render(record, "html", tmp_path / "r.html")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    done = subprocess.run(
        [
            CHROMIUM,
            *options.split(),
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{(tmp_path / 'r.html').as_uri()}#findings?q=alert",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not done.stdout:
        pytest.skip(f"Chromium does not run here: {done.stderr[-200:]}")
    assert 'data-ready-ms="' in done.stdout
    assert ">2 of 17 findings<" in done.stdout
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in done.stdout
    assert not re.search(r"<img|<svg onload|<iframe", done.stdout)


def test_an_empty_record(tmp_path: Path) -> None:
    Record(tmp_path / "r.assay", write=True).close()
    found = page(tmp_path / "r.assay")
    assert "Not judged: no rule has run on this record. What follows is what was observed." in found.texts
    assert payload(found, "index")["findings"] == []


def test_style_and_script_stand_beside_the_module() -> None:
    import assay.report.html as module

    assert {p.name for p in Path(module.__file__).parent.iterdir()} >= {"page.css", "page.html", "page.js"}
