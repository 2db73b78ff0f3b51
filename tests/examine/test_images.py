"""Container images: layers on each other, with what they delete, as OCI layout and as docker archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import time
from pathlib import Path

import pytest

from assay.record import Record

from .support import assert_accounted, examined, rows

Layer = list[tuple[str, str, bytes | str]]

LOWER: Layer = [
    ("bin", "dir", b""),
    ("bin/tool", "file", b"tool 1"),
    ("etc", "dir", b""),
    ("etc/passwd", "file", b"root:x:0:0::/root:/bin/sh\n"),
    ("etc/old", "file", b"old"),
    ("etc/dir", "dir", b""),
    ("etc/dir/a", "file", b"a"),
    ("etc/dir/b", "file", b"b"),
    ("etc/gone", "dir", b""),
    ("etc/gone/deep", "dir", b""),
    ("etc/gone/deep/file", "file", b"deep"),
    ("lib", "symlink", "usr/lib"),
    ("var", "dir", b""),
    ("var/run", "dir", b""),
    ("var/run/pid", "file", b"1"),
]
UPPER: Layer = [
    ("bin", "dir", b""),
    ("bin/tool", "file", b"tool 2"),
    ("etc", "dir", b""),
    ("etc/.wh.old", "file", b""),
    ("etc/.wh.gone", "file", b""),
    ("etc/dir", "dir", b""),
    ("etc/dir/.wh..wh..opq", "file", b""),
    ("etc/dir/c", "file", b"c"),
    ("lib", "dir", b""),
    ("lib/new", "file", b"new"),
    ("var", "dir", b""),
    ("var/run", "symlink", "/run"),
    ("new", "file", b"new"),
]
MERGED = [
    ("/bin", "directory", None), ("/bin/tool", "regular", b"tool 2"),
    ("/etc", "directory", None), ("/etc/dir", "directory", None), ("/etc/dir/c", "regular", b"c"),
    ("/etc/passwd", "regular", b"root:x:0:0::/root:/bin/sh\n"),
    ("/lib", "directory", None), ("/lib/new", "regular", b"new"),
    ("/new", "regular", b"new"),
    ("/var", "directory", None), ("/var/run", "symlink", None),
]  # fmt: skip

TYPES = {"dir": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "symlink": tarfile.SYMTYPE}


def tar(layer: Layer) -> bytes:
    """Return a layer as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, type, body in layer:
            entry = tarfile.TarInfo(name)
            entry.type = TYPES[type]
            data = body if isinstance(body, bytes) else b""
            entry.linkname = "" if isinstance(body, bytes) else body
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def oci(path: Path, layers: list[bytes]) -> Path:
    """Write an OCI image layout, as a directory, with gzip layers."""
    (path / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (path / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    packed = [blob(gzip.compress(layer, mtime=0), "layer.v1.tar+gzip") for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]}
    config = {"architecture": "arm64", "os": "linux", "rootfs": rootfs, "config": {}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": packed,
    }
    listed = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    (path / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return path


def docker(path: Path, layers: list[bytes]) -> Path:
    """Write what `docker save` made before it wrote OCI layouts too."""
    config = json.dumps({"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    names = [f"{hashlib.sha256(layer).hexdigest()}/layer.tar" for layer in layers]
    manifest = [{"Config": "config.json", "RepoTags": ["maker/thing:1"], "Layers": names}]
    files = {
        "manifest.json": json.dumps(manifest).encode(),
        "config.json": config,
        **dict(zip(names, layers, strict=True)),
    }
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("build", [oci, docker])
def test_layers_make_one_tree(tmp_path: Path, build: type) -> None:
    image = build(tmp_path / "image", [tar(LOWER), tar(UPPER)])
    record = tmp_path / "r.assay"
    outcome = examined(image, record)
    assert outcome.unread == 0
    assert_accounted(record)
    merged = rows(
        record,
        """SELECT f.path, f.type, c.sha256 FROM file AS f JOIN container AS k ON k.id = f.container
           LEFT JOIN content AS c ON c.id = f.content WHERE k.format = 'image' ORDER BY f.path""",
    )
    assert merged == [(p, t, None if b is None else hashlib.sha256(b).hexdigest()) for p, t, b in MERGED]
    layers = rows(record, "SELECT path, whiteout FROM file WHERE whiteout IS NOT NULL ORDER BY path")
    assert layers == [
        ("/etc/.wh.gone", "file"), ("/etc/.wh.old", "file"), ("/etc/dir/.wh..wh..opq", "opaque"),
    ]  # fmt: skip
    ((tree,),) = rows(record, "SELECT id FROM container WHERE format = 'image'")
    accounts = rows(record, "SELECT name, shell, shell_exists FROM account WHERE tree = ?", tree)
    assert accounts == [("root", "/bin/sh", 0)]


def test_many_whiteouts_in_a_layer_take_time_in_proportion(tmp_path: Path) -> None:
    number = 6_000
    lower: Layer = [(f"d/{i}/f", "file", b"") for i in range(number)]
    upper: Layer = [(f"d/.wh.{i}", "file", b"") for i in range(number)]
    upper += [(f"e/{i}/.wh..wh..opq", "file", b"") for i in range(number)]
    image = docker(tmp_path / "image", [tar(lower), tar(upper)])
    record = tmp_path / "r.assay"
    examined(image, record)
    from assay.examine.images import compose_images

    with Record(record, write=True) as opened:
        opened.db.execute("DELETE FROM file WHERE container = (SELECT id FROM container WHERE format = 'image')")
        opened.db.execute("DELETE FROM container WHERE format = 'image'")
        begun = time.process_time()
        compose_images(opened)
        assert time.process_time() - begun < 2
        assert opened.db.execute("SELECT listed FROM container WHERE format = 'image'").fetchall() == [(0,)]
