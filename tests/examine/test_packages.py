"""Update and application packages end to end: what they hold is opened, stated digests are held against files."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from .support import examined, rows, unread

IMAGE = bytes(range(256)) * 40
OTHER = b"#!/bin/sh\necho other\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def states(record: Path) -> list[tuple[object, ...]]:
    return rows(record, "SELECT kind, name, state, path, line FROM manifest_check ORDER BY path, line")


def test_csar(tmp_path: Path) -> None:
    manifest = "metadata:\n  vnf_product_name: AMF\n  vnf_provider_id: Maker\n\n"
    for name, data in (("Definitions/a.yaml", IMAGE), ("./scripts/b.sh", IMAGE), ("none", IMAGE)):
        manifest += f"Source: {name}\nAlgorithm: SHA-256\nHash: {sha256(data)}\n\n"
    manifest += f"Source: scripts/b.sh\nAlgorithm: SHA-512\nHash: {'0' * 128}\n"
    package = tmp_path / "amf.csar"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("TOSCA-Metadata/TOSCA.meta", "TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\n")
        archive.writestr("amf.mf", manifest)
        archive.writestr("Definitions/a.yaml", IMAGE)
        archive.writestr("scripts/b.sh", OTHER)
    record = tmp_path / "record"
    examined(package, record)
    assert states(record) == [
        ("csar", "Definitions/a.yaml", "same", "/amf.mf", 5),
        ("csar", "./scripts/b.sh", "different", "/amf.mf", 9),
        ("csar", "none", "absent", "/amf.mf", 13),
        ("csar", "scripts/b.sh", "not compared", "/amf.mf", 17),
    ]
    stated = rows(record, "SELECT kind, name, provider, format FROM package_statement ORDER BY name")
    assert stated == [("csar", None, None, "1.1"), ("csar", "AMF", "Maker", None)]
    assert unread(record) == []


@pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")
def test_swupdate(tmp_path: Path) -> None:
    description = (
        'software = { version = "1"; images: ( { filename = "rootfs"; sha256 = "' + sha256(IMAGE) + '"; } );\n'
        'scripts: ( { filename = "post.sh"; } ); }\n'
    )
    for name, data in (("sw-description", description.encode()), ("rootfs", IMAGE), ("post.sh", OTHER)):
        (tmp_path / name).write_bytes(data)
    names = b"sw-description\nrootfs\npost.sh\n"
    done = subprocess.run(["cpio", "-oHcrc", "--quiet"], cwd=tmp_path, input=names, check=True, capture_output=True)
    (tmp_path / "update.swu").write_bytes(done.stdout)
    record = tmp_path / "record"
    examined(tmp_path / "update.swu", record)
    assert states(record) == [
        ("swupdate", "rootfs", "same", "/sw-description", 1),
        ("swupdate", "post.sh", "no digest stated", "/sw-description", 2),
    ]


def test_mender_and_ova(tmp_path: Path) -> None:
    data, header = tar({"rootfs.ext4": IMAGE}, "w:gz"), tar({"header-info": b'{"artifact_name": "r1"}'}, "w:gz")
    version = b'{"format":"mender","version":3}'
    lines = ((IMAGE, "data/0000/rootfs.ext4"), (header, "header.tar.gz"), (version, "version"))
    manifest = "".join(f"{sha256(body)}  {name}\n" for body, name in lines).encode()
    members = {"version": version, "manifest": manifest, "header.tar.gz": header, "data/0000.tar.gz": data}
    (tmp_path / "r.mender").write_bytes(tar(members))
    digests = f"SHA256(vm.ovf)= {sha256(OTHER)}\nSHA256(disk.vmdk)= {sha256(IMAGE)}\n".encode()
    (tmp_path / "vm.ova").write_bytes(tar({"vm.ovf": OTHER, "vm.mf": digests, "disk.vmdk": OTHER}))
    record = tmp_path / "record"
    examined([tmp_path / "r.mender", tmp_path / "vm.ova"], record)
    assert [row[:3] for row in states(record)] == [
        ("mender", "data/0000/rootfs.ext4", "same"),
        ("mender", "header.tar.gz", "same"),
        ("mender", "version", "same"),
        ("ovf", "vm.ovf", "same"),
        ("ovf", "disk.vmdk", "different"),
    ]
    assert rows(record, "SELECT kind, name FROM package_statement") == [("mender", "r1")]


@pytest.mark.skipif(not shutil.which("mksquashfs") or not shutil.which("openssl"), reason="needs mksquashfs, openssl")
@pytest.mark.parametrize("kind", ["plain", "verity"])
def test_rauc(kind: str, tmp_path: Path) -> None:
    manifest = f"[update]\ncompatible=bs\nversion=7\n\n[image.rootfs]\nfilename=rootfs.img\nsha256={sha256(IMAGE)}\n"
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "rootfs.img").write_bytes(IMAGE)
    (tmp_path / "manifest.raucm").write_text(manifest)
    if kind == "plain":
        (tree / "manifest.raucm").write_text(manifest)
    bundle = tmp_path / "bundle"
    subprocess.run(
        ["mksquashfs", tree, bundle, "-noappend", "-all-root", "-noI", "-noD", "-noF"], check=True, capture_output=True
    )
    size = bundle.stat().st_size
    assert 4096 < size <= 128 * 4096  # one block of hashes, whose content nothing here looks at
    request = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=r")
    files = ("-keyout", tmp_path / "key", "-out", tmp_path / "cert")
    subprocess.run(["openssl", *request, *files], check=True, capture_output=True)
    command: list[str | Path] = [
        "openssl",
        "cms",
        "-sign",
        "-binary",
        "-signer",
        tmp_path / "cert",
        "-inkey",
        tmp_path / "key",
    ]
    command += [
        "-outform",
        "DER",
        "-in",
        *([bundle] if kind == "plain" else [tmp_path / "manifest.raucm", "-nodetach"]),
    ]
    cms = subprocess.run(command, check=True, capture_output=True).stdout
    hashes = b"" if kind == "plain" else b"\x7b" * 4096
    whole = bundle.read_bytes() + hashes + cms + struct.pack(">Q", len(cms))
    (tmp_path / "update.raucb").write_bytes(whole)
    record = tmp_path / "record"
    examined(tmp_path / "update.raucb", record)
    ((*found, _, _),) = states(record)
    assert found == ["rauc", "rootfs.img", "same"]
    assert rows(record, "SELECT version, compatible FROM package_statement") == [("7", '["bs"]')]
    assert unread(record) == []
    assert rows(record, "SELECT * FROM region WHERE kind = 'unknown'") == []


@pytest.mark.skipif(not shutil.which("makeself"), reason="makeself is not installed")
def test_makeself_keeps_its_script(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "setup.sh").write_bytes(OTHER)
    out = tmp_path / "install.run"
    subprocess.run(["makeself", "--gzip", tree, out, "label", "./setup.sh"], check=True, capture_output=True)
    record = tmp_path / "record"
    examined(out, record)
    found = rows(
        record,
        """SELECT c.path || f.path, k.kind FROM file AS f JOIN container AS c ON c.id = f.container
             JOIN content AS k ON k.id = f.content WHERE f.type = 'regular' ORDER BY 1""",
    )
    assert found == [
        ("/archive", "gzip"),
        ("/archive!/data", "tar"),
        ("/archive!/data!/setup.sh", "script"),
        ("/script", "script"),
    ]
    assert unread(record) == []
