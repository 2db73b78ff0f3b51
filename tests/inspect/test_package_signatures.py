"""Signatures of packages and boot images: by rpmsign, mkimage and openssl; Alpine's are put together as documented."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.facts.identity import Identity
from assay.facts.sealing import Signature
from assay.inspect import apk_signature, avb_signature, fit_signature, rauc_signature, rpm_signature
from assay.inspect.base import ContentInspector
from assay.unpack.base import UnpackError
from assay.unpack.secrets import Secrets, holding
from tests.support.hostile import mangled
from tests.support.memory_tree import inspect
from tests.support.rpms import build
from tests.unpack import test_android, test_rauc

from .test_signatures import fingerprint, made, only, openssl

__all__ = ["made"]


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@pytest.fixture
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    needs("gpg", "gpgconf")
    folder = tmp_path_factory.mktemp("ring", numbered=False)
    folder.chmod(0o700)
    command = ["gpg", "--homedir", folder, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run(
        [*command, "--quick-gen-key", "Builder", "rsa2048", "sign", "never"], check=True, capture_output=True
    )
    yield folder
    subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=True)  # its agent would stay


def test_an_rpm(tmp_path: Path, ring: Path) -> None:
    needs("rpmbuild", "rpmsign")
    package = build(tmp_path)[0]
    assert inspect(rpm_signature.INSPECTOR, package.read_bytes(), "rpm") == []
    done = subprocess.run(
        [
            "rpmsign", "--define", "_gpg_name Builder", "--define", f"_gpg_path {ring}", "--define",
            f"__gpg {shutil.which('gpg')}", "--addsign", package,
        ],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"rpmsign: {done.stderr}")
    data = package.read_bytes()
    listed = subprocess.run(
        ["gpg", "--homedir", ring, "--with-colons", "--fingerprint"], capture_output=True, text=True, check=True
    ).stdout
    (key,) = [line.split(":")[9].lower() for line in listed.splitlines() if line.startswith("fpr:")]
    found = inspect(rpm_signature.INSPECTOR, data, "rpm")
    assert {(f.format, f.kind, f.algorithm, f.key_id, f.verified) for f in found if isinstance(f, Signature)} == {
        ("rpm", "binary", "rsa", key, None)
    }
    first = found[0]
    assert isinstance(first, Signature)
    assert first.covers == "header"
    assert first.covers_offset is not None
    assert data[first.covers_offset :].startswith(b"\x8e\xad\xe8\x01")
    hostile(rpm_signature.INSPECTOR, data[:20_000])


def alpine(folder: Path) -> bytes:
    """A package as apk-package.5 has it: three gzip members, the first of them with the signature of the second."""

    def member(name: str, data: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        return gzip.compress(out.getvalue()[: 512 + -(-len(data) // 512) * 512])

    control = member(".PKGINFO", b"pkgname = widget\npkgver = 1.0-r0\n")
    (folder / "control").write_bytes(control)
    openssl(folder, "dgst", "-sha1", "-sign", "rsa.key", "-out", "value", "control")
    signature = member(".SIGN.RSA.builder@example.org-1.rsa.pub", (folder / "value").read_bytes())
    return signature + control + member("usr/bin/widget", b"x" * 5000)


def test_an_alpine_package(made: Path) -> None:
    data = alpine(made)
    assert apk_signature.INSPECTOR.wants_head is not None
    assert apk_signature.INSPECTOR.wants_head(data)
    assert not apk_signature.INSPECTOR.wants_head(gzip.compress(b"something else"))
    fact = only(inspect(apk_signature.INSPECTOR, data, "gzip"))
    control = (made / "control").read_bytes()
    assert (fact.algorithm, fact.digest, fact.verified) == ("rsa", "sha1", None)
    assert fact.covers_offset is not None
    assert data[fact.covers_offset :][: fact.covers_length] == control
    with holding(Secrets((), ((made / "ec.pem").read_bytes(), (made / "rsa.pub").read_bytes()))):
        found = inspect(apk_signature.INSPECTOR, data, "gzip")
        assert (only(found).verified, only(found).verified_with) == (True, fingerprint(made, "rsa")[1])
        assert [f.value for f in found if isinstance(f, Identity)] == ["builder@example.org-1.rsa.pub"]
        other = bytearray(data)
        other[fact.covers_offset + 4] ^= 1  # the time in the header of the gzip member
        assert only(inspect(apk_signature.INSPECTOR, bytes(other), "gzip")).verified is False
    hostile(apk_signature.INSPECTOR, data)
    bomb = gzip.compress(b".SIGN.RSA.x".ljust(100, b"\0") + bytes(64 << 20))
    with pytest.raises(UnpackError):
        inspect(apk_signature.INSPECTOR, bomb, "gzip")


def test_a_vbmeta_image() -> None:
    data = test_android.vbmeta(b"image")
    fact = only(inspect(avb_signature.INSPECTOR, data, "avb"))
    assert (fact.format, fact.algorithm, fact.digest, fact.verified, fact.key_place) == (
        "avb", "rsa", "sha256", True, "same content",
    )  # fmt: skip
    assert fact.verified_with is not None
    changed = bytearray(data)
    changed[130] ^= 1
    assert only(inspect(avb_signature.INSPECTOR, bytes(changed), "avb")).verified is False
    hostile(avb_signature.INSPECTOR, data)


@pytest.mark.parametrize("kind", ["plain", "verity"])
def test_a_rauc_bundle(tmp_path: Path, kind: str) -> None:
    needs("mksquashfs", "openssl", "veritysetup")
    data = getattr(test_rauc, kind)(tmp_path)
    fact = only(inspect(rauc_signature.INSPECTOR, data, "rauc"))
    assert (fact.format, fact.algorithm, fact.verified, fact.digest_right) == ("cms", "ecdsa", True, True)
    size = (tmp_path / "bundle").stat().st_size
    if kind == "plain":
        assert (fact.covers, fact.covers_offset, fact.covers_length) == ("payload", 0, size)
        assert (
            only(inspect(rauc_signature.INSPECTOR, b"hsqs" + data[4:90] + b"!" + data[91:], "rauc")).digest_right
            is False
        )
    else:
        assert fact.covers == "enclosed data"
        assert fact.covers_offset is not None
        assert data[fact.covers_offset :][: fact.covers_length] == test_rauc.MANIFEST
    assert inspect(rauc_signature.INSPECTOR, (tmp_path / "bundle").read_bytes(), "squashfs") == []


TREE = """/dts-v1/;
/ {
    description = "d";
    images {
        kernel { data = [01 02 03 04]; type = "kernel"; arch = "arm64"; os = "linux"; compression = "none";
                 hash-1 { algo = "sha256"; }; };
    };
    configurations {
        default = "conf";
        conf { kernel = "kernel";
               signature-1 { algo = "sha256,rsa2048"; key-name-hint = "rsa"; sign-images = "kernel"; }; };
    };
};
"""


def test_a_fit_image(made: Path) -> None:
    needs("mkimage", "dtc")
    (made / "rsa.crt").write_bytes((made / "rsa.pem").read_bytes())
    (made / "tree.its").write_text(TREE)
    subprocess.run(["mkimage", "-f", "tree.its", "-k", ".", "out.fit"], cwd=made, check=True, capture_output=True)
    data = (made / "out.fit").read_bytes()
    found = inspect(fit_signature.INSPECTOR, data, "fit")
    fact = only(found)
    assert (fact.kind, fact.algorithm, fact.digest, fact.verified) == ("configuration", "rsa", "sha256", None)
    assert fact.covers.startswith("configuration conf: /, /configurations/conf, /images/kernel")
    assert [each.value for each in found if isinstance(each, Identity)] == ["rsa"]
    assert fact.offset is not None
    (made / "hashed").write_bytes(data[fact.offset :][:256])
    shown = subprocess.run(
        ["openssl", "rsautl", "-verify", "-certin", "-inkey", "rsa.pem", "-in", "hashed", "-asn1parse"],
        cwd=made, capture_output=True, text=True,
    )  # fmt: skip
    assert "sha256" in shown.stdout  # what stands at the offset is a signature by that key
    hostile(fit_signature.INSPECTOR, data)


def hostile(inspector: ContentInspector, data: bytes) -> None:
    for broken in mangled(data, count=150):
        if inspector.wants_head is not None and not inspector.wants_head(broken):
            continue
        try:
            inspect(inspector, broken)
        except UnpackError:
            continue
