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
        ("RUN echo root:hunter2 | chpasswd", "RUN echo root:[withheld] | chpasswd"),
        ('echo "a:b" | sudo chpasswd -c SHA512', 'echo "a:[withheld]" | sudo chpasswd -c SHA512'),
        ("printf '%s:%s' a hunter2 | chpasswd", "printf '%s:%s' a [withheld] | chpasswd"),
        ("usermod -p hunter2 root", "usermod -p [withheld] root"),
        ("useradd -p $(openssl passwd -1 hunter2) x", "useradd -p $(openssl passwd -1 [withheld] x"),
        ("usermod -aG wheel x; echo a:b | cat", "usermod -aG wheel x; echo a:b | cat"),
    ],
)
def test_only_the_secret_goes(text: str, kept: str) -> None:
    assert withhold(text) == kept
