"""Secrets of command lines stay out of the facts; everything else stays in."""

from __future__ import annotations

import pytest

from assay.inspect.secrecy import withhold


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/bin/x --password hunter2 -v", "/bin/x --password [withheld] -v"),
        ("/bin/x --db-passwd='a b' y", "/bin/x --db-passwd=[withheld] y"),
        ('x -passphrase "a b"', "x -passphrase [withheld]"),
        ("DB_PASSWORD=hunter2 /bin/x", "DB_PASSWORD=[withheld] /bin/x"),
        ("api_key: abc", "api_key: [withheld]"),
        ("mysql://root:toor@db/x", "mysql://root:[withheld]@db/x"),
        ("/usr/bin/passwd root", "/usr/bin/passwd root"),
        ("/bin/x --password-file /etc/x", "/bin/x --password-file /etc/x"),
        ("/bin/compass=1 http://host:80/a@b", "/bin/compass=1 http://host:80/a@b"),
        ("--token=a,b", "--token=[withheld],b"),
    ],
)
def test_only_the_secret_goes(text: str, kept: str) -> None:
    assert withhold(text) == kept
