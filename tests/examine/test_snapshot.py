"""A whole record and its verdicts, as a snapshot: a change of any fact, verdict or message shows in review.

`pytest tests/examine/test_snapshot.py --snapshot-update` accepts a change.
"""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

from syrupy.assertion import SnapshotAssertion

from assay.judge import judge
from tests.examine.support import dump, examined, rows

KEY = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIEZThlLbxIOvK+EbGYxOQkSYOO8CXyIEYuHOzj2dlyUHoAoGCCqGSM49
AwEHoUQDQgAEjSrSU/LYXzrSr5Gq5xs8gu9BTO3sXhOZQcWOmsuxJ3Pu0UyEgk9u
-----END EC PRIVATE KEY-----
"""
"""The shape of a key, with a body that does not parse: what is seen of it rests on the header."""

ELF = (
    b"\x7fELF\x02\x01\x01\0" + bytes(8)
    + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x401000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120, 120, 0x1000)
)  # fmt: skip
"""A statically linked executable of two headers and nothing to run."""

FILES: dict[str, tuple[int, int, str | bytes]] = {
    "etc/passwd": (0o644, 0, "root:x:0:0::/root:/bin/sh\nspare:x:0:0::/root:/bin/sh\ndaemon:*:1:1::/:/bin/false\n"),
    "etc/shadow": (0o640, 0, "root:$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/:19000:0:99999:7:::\nspare::19000::::::\n"),
    "etc/ssh/sshd_config": (0o600, 0, "Port 22\nPermitRootLogin yes\nMatch User ops\n  X11Forwarding no\n"),
    "etc/sysctl.d/10-net.conf": (0o644, 0, "net.ipv4.tcp_syncookies = 0\nnet/ipv4/conf/all/rp_filter=1\n"),
    "usr/lib/systemd/system/core.service": (0o644, 0, "[Service]\nExecStart=/usr/bin/core -d\n"),
    "usr/bin/core": (0o777, 0, ELF),
    "usr/bin/helper": (0o4755, 0, ELF + b"\n"),
    "bin/sh": (0o755, 0, ELF + b"\n\n"),
    "etc/core/key.pem": (0o644, 0, KEY),
    "var/lib/dpkg/status": (
        0o644,
        0,
        "Package: core\nStatus: install ok installed\nVersion: 2:1.4-1\nArchitecture: amd64\n"
        "Maintainer: Somebody <somebody@example.org>\nDepends: libc6 (>= 2.36), libtalloc2\nDescription: a core\n",
    ),
    "var/lib/dpkg/info/core.list": (0o644, 0, "/.\n/usr\n/usr/bin\n/usr/bin/core\n"),
    "var/log/auth.log": (0o644, 0, "nothing yet\n"),
}


def release(path: Path) -> Path:
    """Write the release: a tar with the same bytes at every run."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, (mode, uid, text) in FILES.items():
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid, member.mtime = len(data), mode, uid, uid, 1_700_000_000
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("etc/systemd/system/multi-user.target.wants/core.service")
        link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "/usr/lib/systemd/system/core.service", 1_700_000_000
        tar.addfile(link)
    return path


def test_the_whole_record(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    record = tmp_path / "r.assay"
    examined(release(tmp_path / "release.tar"), record)
    assert dump(record) == snapshot


def test_the_verdicts(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    record = tmp_path / "r.assay"
    examined(release(tmp_path / "release.tar"), record)
    judge(record, ["3gpp-33.117-18.1", "beyond-scas"])
    verdicts = rows(record, "SELECT name, verdict, missing, reason FROM latest_verdict ORDER BY name")
    findings = rows(
        record,
        """SELECT r.name, f.path, f.line, f.message FROM finding AS f JOIN verdict AS v ON v.id = f.verdict
           JOIN rule AS r ON r.id = v.rule ORDER BY 1, 2, 3, 4""",
    )
    assert {"verdicts": verdicts, "findings": findings} == snapshot
