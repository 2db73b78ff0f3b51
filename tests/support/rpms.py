"""Build an RPM package with rpmbuild."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_rpmbuild = pytest.mark.skipif(not shutil.which("rpmbuild"), reason="rpmbuild is not installed")

SPEC = """
Name: widget
Epoch: 2
Version: 1.4
Release: 7
Summary: A widget
License: MIT and BSD
Vendor: Example Vendor
Packager: Someone <someone@example.org>
URL: https://example.org/widget
Requires: libfoo >= 3, /bin/sh
AutoReqProv: no
%description
Text.
%package doc
Summary: Words
Version: 1.5
%description doc
Text.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc
echo tool > %{buildroot}/usr/bin/widget
chmod 4755 %{buildroot}/usr/bin/widget
ln -s widget %{buildroot}/usr/bin/link
echo a=b > %{buildroot}/etc/widget.conf
echo words > %{buildroot}/etc/words
%files
/usr/bin/widget
/usr/bin/link
%config /etc/widget.conf
%files doc
/etc/words
"""


def build(folder: Path, compressor: str = "w9.gzdio") -> list[Path]:
    """Return the package files that rpmbuild makes of `SPEC`, by name."""
    spec = folder / "widget.spec"
    spec.write_text(SPEC)
    subprocess.run(
        [
            "rpmbuild", "-bb", "--quiet", "--target", "aarch64", "--nodeps",
            "--define", f"_topdir {folder}/top",
            "--define", f"_binary_payload {compressor}",
            "--define", "_buildhost builder.example.org",
            "--define", "__strip /bin/true",
            spec,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return sorted((folder / "top/RPMS").rglob("*.rpm"))
