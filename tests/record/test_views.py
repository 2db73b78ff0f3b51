"""Views of the record on small releases, examined as any is."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from assay.examine import examine
from assay.record import query


def tree(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_places_of_tests_documentation_and_samples(tmp_path: Path) -> None:
    root = {"etc/passwd": b"root:x:0:0::/root:/bin/sh\n", "sbin/init": b"#!\n"}
    inner = {**root, "etc/inner.pem": b"inner\n", "usr/share/doc/a/key.gz": gzip.compress(b"zipped\n", mtime=0)}
    outer = {
        **root,
        "etc/a.pem": b"a\n",
        "usr/lib/python3/test/b.pem": b"b\n",
        "usr/share/man/c.pem": b"c\n",
        "opt/examples/d.pem": b"d\n",
        "opt/latest/e.pem": b"e\n",
        "test/root.tar": tree(inner),
    }
    (tmp_path / "r.tar").write_bytes(tree(outer))
    examine([tmp_path / "r.tar"], tmp_path / "r.assay")
    _, rows = query(tmp_path / "r.assay", "SELECT path, serves FROM sample_place ORDER BY path")
    assert list(rows) == [
        ("/opt/examples/d.pem", "sample"),
        ("/test/root.tar", "test"),
        ("/test/root.tar!/usr/share/doc/a/key.gz", "documentation"),
        ("/test/root.tar!/usr/share/doc/a/key.gz!/data", "documentation"),
        ("/usr/lib/python3/test/b.pem", "test"),
        ("/usr/share/man/c.pem", "documentation"),
    ]
