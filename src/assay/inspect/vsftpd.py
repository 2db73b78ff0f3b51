"""vsftpd: anonymous and local access, encryption, and where it listens.

Looks at vsftpd.conf. Source: vsftpd.conf(5) and the built-in values of vsftpd 3.0.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .effective import Default, Effective, configured
from .starting import ANY, served

DIALECT = "vsftpd"

MAIN = ("/etc/vsftpd.conf", "/etc/vsftpd/vsftpd.conf")

PACKAGES = ("vsftpd",)

BUILT_IN = {
    "allow_anon_ssl": "NO",
    "anon_mkdir_write_enable": "NO",
    "anon_other_write_enable": "NO",
    "anon_root": "",
    "anon_upload_enable": "NO",
    "anon_world_readable_only": "YES",
    "anonymous_enable": "YES",
    "check_shell": "YES",
    "chroot_list_enable": "NO",
    "chroot_local_user": "NO",
    "file_open_mode": "0666",
    "force_local_data_ssl": "YES",
    "force_local_logins_ssl": "YES",
    "ftp_username": "ftp",
    "guest_enable": "NO",
    "listen_ipv6": "NO",
    "listen_port": "21",
    "local_enable": "NO",
    "local_umask": "077",
    "log_ftp_protocol": "NO",
    "max_login_fails": "3",
    "no_anon_password": "NO",
    "pasv_promiscuous": "NO",
    "port_promiscuous": "NO",
    "require_ssl_reuse": "YES",
    "secure_email_list_enable": "NO",
    "ssl_enable": "NO",
    "ssl_sslv2": "NO",
    "ssl_sslv3": "NO",
    "ssl_tlsv1": "YES",
    "syslog_enable": "NO",
    "tcp_wrappers": "NO",
    "userlist_enable": "NO",
    "write_enable": "NO",
    "xferlog_enable": "NO",
}

DEFAULTS = (
    *(Default(key, value) for key, value in BUILT_IN.items()),
    Default("listen", "NO", (), (3, 0)),
    Default("listen", "YES", (3, 0)),
)


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment."""
    for number, raw in enumerate(content.text().split("\n"), 1):
        key, equals, value = raw.strip().partition("=")
        if equals and key[:1] != "#":
            yield Directive(dialect=DIALECT, key=key.lower(), value=value, line=number)


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield the effective settings, and the socket of a server that listens by itself."""
    main = next((file for path in MAIN if (file := tree.lookup(path))), None)
    if main is None or not configured(tree, "vsftpd", beside=MAIN):
        return
    reading = Effective(tree, "vsftpd", DIALECT, wants=INSPECTOR.wants_path)
    for line in reading.lines(main):
        value = {"true": "YES", "1": "YES", "yes": "YES", "false": "NO", "0": "NO", "no": "NO"}.get(line.value.lower())
        reading.put(line.key, line.value if line.value.isdecimal() else value or line.value, main, line.line)
    yield from reading.settings()
    yield from reading.defaults(DEFAULTS, "vsftpd.conf(5)", PACKAGES)
    yield from served(tree, ("vsftpd",), _listeners(reading))


def _listeners(reading: Effective) -> Iterator[Listener]:
    on = ("YES", "1")
    port = reading.value("listen_port") or "21"
    for key, address, any_address in (
        ("listen", "listen_address", ANY[0][0]),
        ("listen_ipv6", "listen_address6", ANY[1][0]),
    ):
        for setting in reading.every(key):
            if setting.value in on:
                yield Listener(
                    program="vsftpd", protocol="tcp", address=reading.value(address) or any_address,
                    port=int(port) if port.isdecimal() else None, purpose="ftp",
                    # The TLS of FTP begins inside the session, unless implicit_ssl is set.
                    tls=reading.value("implicit_ssl") in on, path=setting.path, line=setting.line,
                )  # fmt: skip


INSPECTOR = ContentInspector(
    name="vsftpd",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/vsftpd",),
    wants_path=lambda path: path.endswith(".conf") and "/etc/vsftpd" in path,
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="vsftpd-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "Further configurations and options named on the command line, files for single users (user_config_dir).",
        "The socket where neither listen nor listen_ipv6 is set: whether it listens by default depends on the version.",
    ),
)
