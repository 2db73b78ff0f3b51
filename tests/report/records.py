"""Judged records for tests: a small realistic one, one full of hostile text, and large ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from assay.facts.access import Account, Credential
from assay.facts.binary import Elf
from assay.facts.identity import Identity
from assay.facts.package import Ownership, Package
from assay.facts.service import Directive, Service, Setting
from assay.facts.structure import Artefact, Collector, Container, Content, Coverage, File, Region, Run, Unread
from assay.facts.verdict import Evidence, Finding, Rule, Verdict
from assay.record import Record

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "{{ 7*7 }}{% raw %}@@DATA@@",
    "nul\x00bell\x07esc\x1b[2Jdel\x7f",
    "c1\x9b31m next\u0085line",
    "line\nbreak\r\ttab",
    "bidi\u202egnp.exe zero\u200bwidth \u2028sep",
    "back\\slash \\xff \\ud800 'quote' `tick` ${x}",
    "[red]markup[/red] :warning: %s {0}",
    "ünïcödé 漢字 🎉",
    "../../../../etc/passwd",
    "a:b?c#d%2e%2e&e",
    "x" * 10_000,
]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def realistic(path: Path, *, vendor: str = "Example Works", name: str = "rtr-2.1.0.img") -> Path:
    """A router image: a disk with a boot loader, a SquashFS with a package database, keys, services, and gaps."""
    with Record(path, write=True) as r:
        run = r.add(
            Run(
                command="examine",
                version="0.1.0",
                started="2026-03-01T10:00:00Z",
                finished="2026-03-01T10:00:42Z",
                options={"limits": {"depth": 16, "ratio": 250}, "workers": 2},
                sandbox={"seccomp": True, "network": "none", "memory": 1 << 30},
            )
        )
        judging = r.add(
            Run(command="judge", version="0.1.0", started="2026-03-01T10:01:00Z", finished="2026-03-01T10:01:01Z")
        )
        elf_by, dpkg_by, keys_by, sshd_by, tree_by = (
            r.add(Collector(name=n, version=v, run=run))
            for n, v in (("elf", 3), ("dpkg", 1), ("keys", 2), ("sshd", 1), ("services", 1))
        )
        bytes_ = r.add(Content(sha256=sha("image"), size=8 << 20, kind="gpt"))
        artefact = r.add(Artefact(sha256=sha("image"), size=8 << 20, format="gpt", content=bytes_))
        r.add(Identity(subject="artefact:1", attribute="name", value=name), bytes_, elf_by)
        r.add(Identity(subject="artefact:1", attribute="vendor", value=vendor), bytes_, elf_by)
        disk = r.add(
            Container(artefact=artefact, parent=None, file=None, format="gpt", path="", depth=0, size=8 << 20,
                      declared=2, listed=2, complete=True)
        )  # fmt: skip
        part = r.add(File(container=disk, seq=0, path="/rootfs", raw_path=None, type="regular", size=5 << 20))
        root = r.add(
            Container(artefact=artefact, parent=disk, file=part, format="squashfs", path="/rootfs!", depth=1,
                      size=5 << 20, declared=12, listed=11, complete=False, detail={"compression": "xz"})
        )  # fmt: skip
        for container, offset, length, kind, by, entropy in (
            (None, 0, 17408, "explained", "gpt header and entries", None),
            (None, 17408, 1 << 20, "unknown", "", 7.98),
            (None, 17408 + (1 << 20), 900_000, "padding", "0xff", None),
            (None, 2 << 20, 5 << 20, "explained", "squashfs", None),
            (None, 7 << 20, (1 << 20) - 17408, "padding", "0x00", None),
            (None, (8 << 20) - 17408, 17408, "explained", "gpt backup header", None),
            (root, 0, 96, "explained", "squashfs superblock", None),
            (root, 96, 5_000_000, "explained", "squashfs data", None),
        ):
            r.add(
                Region(artefact=artefact, container=container, offset=offset, length=length, kind=kind, by=by,
                       entropy=entropy)
            )  # fmt: skip
        files: dict[str, tuple[int, int]] = {}

        def put(at: str, kind: str, size: int, text: str | None = None) -> tuple[int, int]:
            content = r.add(Content(sha256=sha(text or at), size=size, kind=kind))
            file = r.add(
                File(container=root, seq=len(files), path=at, raw_path=None, type="regular", mode=0o644, uid=0, gid=0,
                     size=size, content=content)
            )  # fmt: skip
            files[at] = (file, content)
            return file, content

        binaries = (
            ("/bin/busybox", {"pie": False, "nx": True, "relro": "none", "canary": False}, 0, 12),
            ("/usr/sbin/sshd", {"pie": True, "nx": True, "relro": "full", "canary": True}, 9, 0),
            ("/usr/bin/httpd", {"pie": False, "nx": False, "relro": "partial", "canary": None}, 2, 5),
            ("/lib/libc.so.6", {"nx": True, "relro": "partial", "canary": True}, 0, 0),
        )
        elves = []
        for at, states, checked, unchecked in binaries:
            file, content = put(at, "elf", 200_000)
            library = at.startswith("/lib/")
            elves.append(
                r.add(
                    Elf(bits=64, endian="little", machine="aarch64", type="DYN", osabi=0,
                        role="library" if library else "executable", soname="libc.so.6" if library else None,
                        fortify_checked=checked, fortify_unchecked=unchecked, needed=["libc.so.6"],
                        imports=["strcpy", "system"], **states),
                    content, elf_by,
                )
            )  # fmt: skip
            if at == "/usr/sbin/sshd":
                r.add(Ownership(path=at, package="openssh-server"), root, file, dpkg_by)
        _status, status_content = put("/var/lib/dpkg/status", "text", 5000)
        for line, package, version, depends in (
            (1, "openssh-server", "1:9.2p1-2+deb12u3", ["libc6", "libssl3"]),
            (20, "libc6", "2.36-9", []),
            (31, "libssl3", "3.0.11-1~deb12u2", ["libc6"]),
        ):
            r.add(
                Package(line=line, manager="dpkg", name=package, version=version, architecture="arm64",
                        licence="LGPL-2.1+" if package == "libc6" else None, depends=depends),
                status_content, dpkg_by,
            )  # fmt: skip
        r.add(Package(line=40, manager="dpkg", name="gone", version="1", status="removed"), status_content, dpkg_by)
        _, key_content = put("/etc/ssh/ssh_host_rsa_key", "text", 1700)
        key = r.add(
            Credential(offset=0, line=1, kind="private-key", scheme="RSA", fingerprint=sha("key"), bits=2048,
                       encrypted=False),
            key_content, keys_by,
        )  # fmt: skip
        sshd, sshd_content = put("/etc/ssh/sshd_config", "text", 900)
        r.add(Directive(line=33, dialect="sshd_config", section=None, key="permitrootlogin", value="yes"),
              sshd_content, sshd_by)  # fmt: skip
        setting = r.add(
            Setting(path="/etc/ssh/sshd_config", line=33, subsystem="sshd", key="permitrootlogin", value="yes",
                    origin="file"),
            root, sshd, tree_by,
        )  # fmt: skip
        r.add(
            Service(path="/etc/inittab", line=3, name="httpd", manager="inittab", enabled=True,
                    enabled_by="/etc/inittab", user="root", user_origin="default", command="/usr/bin/httpd -f"),
            root, None, tree_by,
        )  # fmt: skip
        r.add(
            Account(path="/etc/passwd", line=1, name="root", uid=0, gid=0, home="/root", shell="/bin/sh",
                    login_shell=True, shell_exists=True, password="hash", scheme="md5crypt"),
            root, None, tree_by,
        )  # fmt: skip
        broken = r.add(File(container=root, seq=90, path="/opt/data.bin", raw_path=None, type="regular", size=4096))
        r.add(
            Unread(artefact=artefact, container=root, file=broken, path="/rootfs!/opt/data.bin", scope="entry",
                   reason="malformed", detail="xz: data are corrupt at offset 131072")
        )  # fmt: skip
        r.add(
            Unread(artefact=artefact, container=root, file=None, path="/rootfs!", scope="rest", reason="truncated",
                   detail="inode table ends early", entries=1)
        )  # fmt: skip
        for family, collector, looked, facts in (("elf", elf_by, 4, 4), ("package", dpkg_by, 1, 4)):
            r.add(Coverage(family=family, collector=collector, tree=root, looked=looked, facts=facts))

        def rule(name: str, **values: object) -> int:
            pack = "3gpp-33.117-18.1"
            known = {"run": judging, "pack": pack, "name": f"{pack}/{name}", "digest": sha(name)}
            return r.add(Rule(**(known | values)))

        one = rule(
            "4.2.3.2.3", title="Stored credentials are protected", document="3GPP TS 33.117 18.1.0",
            clause="4.2.3.2.3", test_case="TC_PSW_STOR_SUPPORT", criteria=["national-security", "privacy"],
            classes=["S"], severity="high", check="Looks for private keys in readable files.",
            limits="Cannot see what is made at first boot.", remedy="Generate keys on the unit.",
            references=["TS 33.117 clause 4.2.3.2.3"],
        )  # fmt: skip
        two = rule("4.3.3.1.1", title="Root cannot log in directly", clause="4.3.3.1.1",
                   criteria=["national-security"], classes=["S", "C"], severity="critical")  # fmt: skip
        three = rule("4.2.6.2", title="Interface robustness", criteria=["economic-security"], classes=["L", "P"],
                     power="none")  # fmt: skip
        four = rule("4.2.2", title="No unused packages", criteria=["economic-security"], severity="low")
        five = rule("4.4.1", title="Web server", criteria=["privacy"], severity="low")
        six = rule("hardening", title="Binaries are hardened", criteria=["national-security"], severity="medium")
        verdicts = {
            number: r.add(Verdict(run=judging, rule=number, verdict=verdict, missing=missing, reason=reason,
                                  looked=looked, findings=count))
            for number, verdict, missing, reason, looked, count in (
                (one, "fail", [], "one private key lies in the image", 12, 1),
                (two, "fail", [], "sshd permits root", 1, 1),
                (three, "undetermined", ["L", "P"], "an image does not show it", 0, 0),
                (four, "pass", [], "every package is needed by another or starts", 3, 0),
                (five, "not-applicable", [], "no web server of that kind", 0, 0),
                (six, "fail", [], "two binaries lack measures", 4, 2),
            )
        }  # fmt: skip
        found = (
            (
                one,
                "Private key RSA, 2048 bits, not encrypted",
                "/rootfs!/etc/ssh/ssh_host_rsa_key",
                1,
                0,
                "credential",
                key,
            ),
            (two, "PermitRootLogin is yes", "/rootfs!/etc/ssh/sshd_config", 33, None, "setting", setting),
            (six, "No RELRO, no PIE", "/rootfs!/bin/busybox", None, None, "elf", elves[0]),
            (six, "Stack is executable", "/rootfs!/usr/bin/httpd", None, None, "elf", elves[2]),
        )
        for number, message, at, line, offset, family, fact in found:
            finding = r.add(
                Finding(verdict=verdicts[number], message=message, path=at, line=line, offset=offset, tree=root,
                        file=files[at.removeprefix("/rootfs!")][0])
            )  # fmt: skip
            r.add(Evidence(finding=finding, family=family, fact=fact))
        r.index()
    return path


def hostile(path: Path) -> Path:
    """The realistic record, and every column that an image can fill filled with hostile text."""
    realistic(path, vendor=HOSTILE[0], name=HOSTILE[0])
    with Record(path, write=True) as r:
        for i, text in enumerate(HOSTILE):
            content = r.add(Content(sha256=sha(f"hostile {i}"), size=10, kind=text[:40]))
            holder = r.add(File(container=2, seq=1000 + 2 * i, path=f"/{text}", raw_path=None, type="regular", size=10))
            tree = r.add(
                Container(
                    artefact=1, parent=2, file=holder, format=text[:40], path=f"/rootfs!/{text}!", depth=2, size=50
                )
            )
            file = r.add(
                File(container=tree, seq=0, path=f"/{text}", raw_path=text.encode(), type="regular", content=content)
            )
            r.add(Region(artefact=1, container=tree, offset=-5, length=1 << 62, kind="explained", by=text))
            r.add(
                Unread(artefact=1, container=tree, file=file, path=text, scope="entry", reason="malformed", detail=text)
            )
            elf = r.add(
                Elf(bits=64, endian="little", machine=text, type="DYN", role="executable", osabi=0, soname=text,
                    build_id=text, needed=[text] * 300, problems=[text]),
                content, 1,
            )  # fmt: skip
            r.add(Package(manager=("dpkg", "rpm", "apk", "opkg", "odd")[i % 5], name=text, version=text,
                          architecture=text, licence=text, depends=[text], source_name=text), content, 2)  # fmt: skip
            r.add(
                Service(name=text, manager=text, enabled=True, enabled_by=text, user="root", command=text),
                tree,
                file,
                5,
            )
            for kind in ("private-key", "authorized-key", text):
                r.add(
                    Credential(kind=kind, scheme=text, fingerprint=text if i % 2 else None, encrypted=True), content, 3
                )
            r.add(Identity(subject=f"artefact:{i + 1}", attribute="name", value=text), content, 1)
            rule = r.add(
                Rule(run=2, pack=text, name=text, digest=text, title=text, document=text, clause=text, test_case=text,
                     criteria=[text], classes=[text], severity=("high", text)[i % 2], check=text, limits=text,
                     remedy=text, references=[text])
            )  # fmt: skip
            verdict = r.add(
                Verdict(run=2, rule=rule, verdict=("fail", "undetermined", text)[i % 3], missing=[text], reason=text,
                        findings=1)
            )  # fmt: skip
            finding = r.add(
                Finding(
                    verdict=verdict,
                    message=text,
                    path=f"/rootfs!/{text}!/{text}",
                    line=-1,
                    offset=-1,
                    tree=tree,
                    file=file,
                )
            )
            r.add(Evidence(finding=finding, family="elf", fact=elf))
            r.add(Evidence(finding=finding, family='elf"; DROP TABLE elf; --', fact=1))
            r.add(Evidence(finding=finding, family="setting", fact=999_999))
    return path


def large(path: Path, findings: int, rules: int = 60) -> Path:
    """A record with many findings, each on its own fact in its own file."""
    realistic(path)
    words = ("telnet", "passwd", "shadow", "key", "config", "update", "cgi", "session", "modem", "radio")
    severities = ("critical", "high", "medium", "low", "info")
    criteria = ("national-security", "economic-security", "privacy", "intellectual-property", "human-rights")
    with Record(path, write=True) as r:
        verdicts = []
        for i in range(rules):
            rule = r.add(
                Rule(run=2, pack=f"pack-{i % 3}", name=f"pack-{i % 3}/rule-{i}", digest=sha(str(i)),
                     title=f"Requirement {i}", criteria=[criteria[i % 5]], severity=severities[i % 5],
                     check="Looks at settings.")
            )  # fmt: skip
            verdicts.append(
                r.add(Verdict(run=2, rule=rule, verdict="fail", reason="found", findings=findings // rules))
            )
        for i in range(findings):
            at = f"/usr/share/{words[i % 10]}/{words[i // 10 % 10]}/module-{i:06}.conf"
            content = r.add(Content(sha256=sha(str(i)), size=100, kind="text"))
            file = r.add(File(container=2, seq=i, path=at, raw_path=None, type="regular", size=100, content=content))
            fact = r.add(
                Directive(line=i % 500 + 1, dialect="ini", section="main", key=f"{words[i % 7]}.enabled", value="yes"),
                content, 4,
            )  # fmt: skip
            finding = r.add(
                Finding(verdict=verdicts[i % rules], message=f"{words[i % 7]}.enabled is yes in section main ({i})",
                        path=f"/rootfs!{at}", line=i % 500 + 1, tree=2, file=file)
            )  # fmt: skip
            r.add(Evidence(finding=finding, family="directive", fact=fact))
        r.index()
    return path
