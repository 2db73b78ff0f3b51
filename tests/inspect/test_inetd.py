"""inetd.conf and xinetd: directives and services, and their dependence on the super-server's own start."""

from __future__ import annotations

from typing import Any

from assay.facts.service import Directive, Service
from assay.inspect import inetd, initscript, inittab, systemd, xinetd
from tests.support.memory_tree import MemoryTree, inspect

UNITS = {
    "/usr/lib/systemd/systemd": "\x7fELF",
    "/usr/lib/systemd/system/default.target": "[Unit]\nWants={0}.service\n",
    "/usr/lib/systemd/system/{0}.service": "[Service]\nExecStart=/usr/sbin/{0}\n",
}


def started(name: str) -> dict[str, str]:
    return {path.format(name): text.format(name) for path, text in UNITS.items()}


def tree(files: dict[str, str]) -> MemoryTree:
    inspectors = [inetd.INSPECTOR, xinetd.INSPECTOR, systemd.INSPECTOR, initscript.INSPECTOR, inittab.INSPECTOR]
    specs: dict[str, Any] = {path: (0o755, 0, 0, text.encode()) for path, text in files.items()}
    return MemoryTree(specs, inspectors)


INETD = """# comment
#<off># ftp stream tcp nowait root /usr/sbin/ftpd ftpd
telnet\tstream\ttcp\tnowait\troot\t/usr/sbin/tcpd\t/usr/sbin/in.telnetd -d
127.0.0.1:tftp dgram udp wait nobody.tftp /usr/sbin/in.tftpd in.tftpd --password x
discard stream tcp6 nowait root internal
broken stream
"""


def test_inetd() -> None:
    files = {"/etc/inetd.conf": INETD, "/usr/sbin/in.telnetd": "\x7fELF", "/usr/sbin/tcpd": "\x7fELF"}

    def rows(enabled: bool | None, by: str | None) -> list[Service]:
        def row(name: str, line: int, user: str, command: str, **more: Any) -> Service:
            return Service(
                name=name,
                manager="inetd",
                enabled=enabled,
                enabled_by=f"/etc/inetd.conf:{line}, {by}" if by else None,
                trigger="socket",
                user=user,
                user_origin="line",
                command=command,
                path="/etc/inetd.conf",
                line=line,
                **more,
            )

        return [
            row("telnet/tcp", 3, "root", "/usr/sbin/tcpd\t/usr/sbin/in.telnetd -d", executable="/usr/sbin/in.telnetd"),
            row(
                "127.0.0.1:tftp/udp",
                4,
                "nobody",
                "/usr/sbin/in.tftpd in.tftpd --password [withheld]",
                group_name="tftp",
            ),
            row("discard/tcp6", 5, "root", "internal"),
        ]

    assert list(inetd.services(tree(files))) == rows(None, None)
    assert list(inetd.services(tree(files | started("inetd")))) == rows(True, "inetd.service")
    idle = started("inetd") | {"/usr/lib/systemd/system/default.target": "[Unit]\n"}
    assert list(inetd.services(tree(files | idle))) == rows(False, None)
    busybox = {"/sbin/init": "\x7fELF", "/etc/inittab": "::respawn:/bin/busybox inetd -f\n"}
    assert list(inetd.services(tree(files | busybox))) == rows(True, "busybox")


XINETD = """defaults
{
    disabled = chargen
    disabled += echo-dgram
}
includedir /etc/xinetd.d
service telnet
{
    # comment
    user = root
    server = /usr/sbin/in.telnetd
    server_args = -h -p secret=abc
    env = KEY=value
}
"""


def test_xinetd() -> None:
    def directive(key: str, value: str, line: int, section: str | None) -> Directive:
        return Directive(dialect="xinetd", section=section, key=key, value=value, line=line)

    assert inspect(xinetd.INSPECTOR, XINETD.encode()) == [
        directive("defaults", "defaults", 1, "defaults"),
        directive("disabled", "chargen", 3, "defaults"),
        directive("disabled", "+= echo-dgram", 4, "defaults"),
        directive("includedir", "/etc/xinetd.d", 6, None),
        directive("service", "telnet", 7, "telnet"),
        directive("user", "root", 10, "telnet"),
        directive("server", "/usr/sbin/in.telnetd", 11, "telnet"),
        directive("server_args", "-h -p secret=[withheld]", 12, "telnet"),
        directive("env", "KEY=", 13, "telnet"),
    ]
    files = {
        "/etc/xinetd.conf": XINETD,
        "/etc/xinetd.d/chargen": "service chargen\n{\n type = INTERNAL\n}\n",
        "/etc/xinetd.d/echo": "service echo {\n type = INTERNAL\n id = echo-dgram\n}\n",
        "/etc/xinetd.d/time": "service time\n{\n disable = yes\n user = nobody\n group = g\n server = /bin/time\n}\n",
        "/etc/xinetd.d/time.bak": "service never\n{\n}\n",
        "/usr/sbin/in.telnetd": "\x7fELF",
    }

    def row(name: str, path: str, line: int = 1, **more: Any) -> Service:
        return Service(
            **(
                {
                    "name": name,
                    "manager": "xinetd",
                    "enabled": False,
                    "enabled_by": None,
                    "trigger": "socket",
                    "user": "root",
                    "user_origin": "default",
                    "path": path,
                    "line": line,
                }
                | more
            )
        )

    def rows(enabled: bool | None, by: str | None) -> list[Service]:
        return [
            row(
                "telnet",
                "/etc/xinetd.conf",
                7,
                enabled=enabled,
                enabled_by=by,
                user_origin="directive",
                command="/usr/sbin/in.telnetd -h -p secret=[withheld]",
                executable="/usr/sbin/in.telnetd",
            ),
            row("chargen", "/etc/xinetd.d/chargen"),
            row("echo-dgram", "/etc/xinetd.d/echo"),
            row(
                "time",
                "/etc/xinetd.d/time",
                user="nobody",
                user_origin="directive",
                group_name="g",
                command="/bin/time",
            ),
        ]

    assert list(xinetd.services(tree(files))) == rows(None, None)
    assert list(xinetd.services(tree(files | started("xinetd")))) == rows(True, "/etc/xinetd.conf:7, xinetd.service")
