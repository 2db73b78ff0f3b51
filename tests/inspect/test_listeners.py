"""Sockets of sshd, of systemd's socket units, of inetd and xinetd."""

from __future__ import annotations

from assay.facts.network import Listener
from assay.inspect import inetd, sshd, sshd_listeners, superserver_listeners, systemd_sockets, xinetd
from tests.support.daemons import sockets, tree

UNITS = "/usr/lib/systemd/system"


def test_sshd() -> None:
    found = tree(
        {
            "/etc/ssh/sshd_config": "Port 22\nPort 2200\nListenAddress 10.0.0.1\nListenAddress [fe80::1]:2022\n"
            "ListenAddress ::1\nMatch User a\nX11Forwarding no\n",
            "/opt/m/sshd_config": "Port 830\nAddressFamily inet\n",
        },
        sshd.INSPECTOR,
    )
    assert sockets(sshd_listeners.LISTENERS, found) == [
        "tcp 10.0.0.1:22 ssh tls",
        "tcp 10.0.0.1:2200 ssh tls",
        "tcp fe80::1:2022 ssh tls",
        "tcp ::1:22 ssh tls",
        "tcp ::1:2200 ssh tls",
        "tcp 0.0.0.0:830 ssh tls",
    ]


def test_sshd_by_default() -> None:
    found = tree(
        {
            f"{UNITS}/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd -D\n",
            "/etc/ssh/sshd_config": "PermitRootLogin no\n",
        },
        sshd.INSPECTOR,
        programs=["/usr/sbin/sshd"],
    )
    assert list(sshd_listeners.LISTENERS.inspect(found)) == [
        Listener(
            program="sshd", protocol="tcp", address=address, port=22, purpose="ssh", tls=True, service="ssh.service",
            origin="default", installed=True,
        )
        for address in ("0.0.0.0", "::")
    ]  # fmt: skip


def test_socket_units() -> None:
    found = tree(
        {
            f"{UNITS}/a.socket": "[Socket]\nListenStream=22\nListenStream=127.0.0.1:23\nListenDatagram=[::1]:24\n"
            "ListenStream=/run/a\nListenStream=vsock::5\nListenNetlink=audit 1\n",
            f"{UNITS}/a.service": "[Service]\nExecStart=-/usr/sbin/prog -x\n",
            "/etc/systemd/system/a.socket.d/x.conf": "[Socket]\nListenStream=\nListenStream=2222\n"
            "BindIPv6Only=ipv6-only\nBindToDevice=eth0\n",
            f"{UNITS}/b@.socket": "[Socket]\nListenStream=99\n",
            f"{UNITS}/c.socket": "-> /dev/null",
            f"{UNITS}/default.target": "[Unit]\nWants=a.socket\n",
        },
        programs=["/usr/lib/systemd/systemd", "/usr/sbin/prog"],
    )
    dropin = "/etc/systemd/system/a.socket.d/x.conf"

    def row(protocol: str, address: str, port: int | None, interface: str | None, path: str, line: int) -> Listener:
        return Listener(
            program="prog", service="a.service", enabled=True, origin="unit", protocol=protocol, address=address,
            port=port, interface=interface, path=path, line=line,
        )  # fmt: skip

    assert list(systemd_sockets.LISTENERS.inspect(found)) == [
        row("tcp", "::", 2222, "eth0", dropin, 3),
        row("udp", "::1", 24, "eth0", f"{UNITS}/a.socket", 4),
        row("netlink", "audit 1", None, None, f"{UNITS}/a.socket", 7),
    ]


def test_super_servers() -> None:
    found = tree(
        {
            "/etc/inetd.conf": "telnet stream tcp nowait root /usr/sbin/tcpd /usr/sbin/in.telnetd\n"
            "127.0.0.1:8080 stream tcp nowait nobody /bin/x x\nrstatd/1-5 dgram rpc/udp wait root /bin/r r\n"
            "vendor dgram udp6 wait root /bin/v v\n",
            "/etc/xinetd.conf": "includedir /etc/xinetd.d\n",
            "/etc/xinetd.d/ftp": "service ftp\n{\n socket_type = stream\n wait = no\n server = /usr/sbin/ftpd\n"
            " bind = 10.0.0.1\n disable = yes\n}\nservice x\n{\n port = 99\n protocol = udp\n socket_type = dgram\n}\n",
        },
        inetd.INSPECTOR,
        xinetd.INSPECTOR,
    )
    assert [
        (row.program, row.protocol, row.address, row.port, row.service, row.enabled, f"{row.path}:{row.line}")
        for row in superserver_listeners.LISTENERS.inspect(found)
        if isinstance(row, Listener)
    ] == [
        ("in.telnetd", "tcp", "0.0.0.0", 23, "telnet/tcp", None, "/etc/inetd.conf:1"),
        ("x", "tcp", "127.0.0.1", 8080, "127.0.0.1:8080/tcp", None, "/etc/inetd.conf:2"),
        ("v", "udp", "::", None, "vendor/udp6", None, "/etc/inetd.conf:4"),
        ("ftpd", "tcp", "10.0.0.1", 21, "ftp", False, "/etc/xinetd.d/ftp:1"),
        ("x", "udp", "0.0.0.0", 99, "x", None, "/etc/xinetd.d/ftp:9"),
    ]
