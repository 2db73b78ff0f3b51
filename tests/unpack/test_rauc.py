"""Bundles as RAUC makes them, out of mksquashfs, veritysetup and openssl."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from assay.unpack import formats, identify
from assay.unpack.base import BytesSource, Encrypted, Entry, Limits, NotThisFormat, Window
from assay.unpack.rauc import FORMAT

from ..support.hostile import mangled, survives

TOOLS = ("mksquashfs", "openssl")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {' and '.join(TOOLS)}")

MANIFEST = b"[update]\ncompatible=Basestation\nversion=2024.1\n\n[image.rootfs]\nsha256=%s\n" % (b"0" * 64)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def key(folder: Path) -> None:
    subject = ("-subj", "/CN=release", "-days", "2", "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject)


def squash(folder: Path) -> bytes:
    tree = folder / "tree"
    tree.mkdir()
    (tree / "manifest.raucm").write_bytes(MANIFEST)
    (tree / "rootfs.img").write_bytes(bytes(range(256)) * 6000)
    run("mksquashfs", tree, folder / "bundle", "-all-root", "-noappend", "-noI", "-noD", "-noF")
    data = (folder / "bundle").read_bytes()
    assert len(data) % 4096 == 0
    return data


def signed(folder: Path, data: bytes, *options: str) -> bytes:
    (folder / "data").write_bytes(data)
    keys = ("-signer", folder / "cert.pem", "-inkey", folder / "key.pem", "-binary", "-outform", "DER")
    run("openssl", "cms", "-sign", "-in", folder / "data", "-out", folder / "cms", *keys, *options)
    return (folder / "cms").read_bytes()


def plain(folder: Path) -> bytes:
    key(folder)
    data = squash(folder)
    signature = signed(folder, data)
    return data + signature + struct.pack(">Q", len(signature))


def verity(folder: Path) -> bytes:
    key(folder)
    data = squash(folder)
    (folder / "image").write_bytes(data)
    tree = folder / "tree.verity"
    tree.touch()
    run("veritysetup", "format", "--no-superblock", folder / "image", tree)
    signature = signed(folder, MANIFEST, "-nodetach")
    return data + tree.read_bytes() + signature + struct.pack(">Q", len(signature))


def test_plain(tmp_path: Path) -> None:
    data = plain(tmp_path)
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.format is FORMAT
    payload = (tmp_path / "bundle").stat().st_size
    signature = (tmp_path / "cms").read_bytes()
    assert reader.detail == {"bundle": "plain", "payload_bytes": payload, "signature_bytes": len(signature)}
    bundle, cms = reader.entries()
    assert isinstance(bundle, Entry)
    assert isinstance(cms, Entry)
    assert (bundle.path, bundle.size, cms.path) == (b"bundle.squashfs", payload, b"signature.cms")
    assert b"".join(reader.open(cms.locator or 0)) == signature
    inner = identify(Window(BytesSource(data), 0, payload), Limits())
    assert inner is not None
    assert inner.format.name == "squashfs"
    assert [entry.path for entry in inner.entries()] == [b"", b"manifest.raucm", b"rootfs.img"]
    assert [(claim.offset, claim.length) for claim in reader.claims()] == [
        (0, payload),
        (payload, len(signature)),
        (len(data) - 8, 8),
    ]


@pytest.mark.skipif(not shutil.which("veritysetup"), reason="needs veritysetup")
def test_verity(tmp_path: Path) -> None:
    data = verity(tmp_path)
    reader = FORMAT.open(BytesSource(data), Limits())
    found = {entry.path: entry for entry in reader.entries() if isinstance(entry, Entry)}
    assert list(found) == [b"bundle.squashfs", b"signature.cms", b"manifest.raucm"]
    assert b"".join(reader.open(found[b"manifest.raucm"].locator or 0)) == MANIFEST
    assert reader.detail["bundle"] == "verity"
    tree = (tmp_path / "tree.verity").stat().st_size
    assert [claim.length for claim in reader.claims() if claim.what == "hash tree"] == [tree]
    assert sum(claim.length for claim in reader.claims()) == len(data)
    bigger = BytesSource(b"\xff" * 777 + data + b"\x01" * 5000)
    inside = FORMAT.open(Window(bigger, 777, bigger.size), Limits())
    assert inside.claims() == reader.claims()
    assert list(inside.entries()) == list(reader.entries())
    size = len((tmp_path / "cms").read_bytes())
    for broken in mangled(data, count=150, hot=range(len(data) - size - 8, len(data))):
        survives(FORMAT, broken)


def test_crypt_is_told(tmp_path: Path) -> None:
    key(tmp_path)
    (tmp_path / "manifest").write_bytes(MANIFEST)
    command = ("openssl", "cms", "-encrypt", "-aes-256-cbc", "-in", tmp_path / "manifest", "-outform", "DER")
    run(*command, "-out", tmp_path / "cms", tmp_path / "cert.pem")
    signature = (tmp_path / "cms").read_bytes()
    data = b"\x93" * 100_000 + signature + struct.pack(">Q", len(signature))
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    assert reader.detail == {"bundle": "crypt", "payload_bytes": 100_000, "signature_bytes": len(signature)}
    bundle, _ = reader.entries()
    with pytest.raises(Encrypted):
        list(reader.open(bundle.locator or 0))  # type: ignore[union-attr]


def test_a_squashfs_alone_is_none(tmp_path: Path) -> None:
    data = squash(tmp_path)
    for more in (b"", b"\0" * 100, b"\0" * 4088 + struct.pack(">Q", 300)):
        with pytest.raises(NotThisFormat):
            formats()["rauc"].open(BytesSource(data + more), Limits())
