"""Cases of the rules: for each rule trees that break it and trees that do not, with what the rule has to say.

A tree is a table: path to (permissions, user, group, what), where `what` is the bytes of a file, the target of a link,
None for a directory, or a word in angle brackets: a file that the test makes with a real tool (`MADE`). Parent
directories need not be named. A case's findings are (message, path, line), in the order of the record; of a case that
is not `fail` the verdict and the whole reason are given.
"""

# ruff: noqa: E501 - sentences of verdicts stand whole

from __future__ import annotations

from dataclasses import dataclass, field

What = bytes | str | None
Tree = dict[str, tuple[int, int, int, What]]
Found = list[tuple[str, str, int | None]]

MADE = ("<canary>", "<no canary>", "<executable stack>", "<static>", "<key>", "<ec key>", "<encrypted key>")


@dataclass(frozen=True)
class Case:
    """Trees, each delivered as one tar, and what a rule says of them."""

    tree: Tree
    verdict: str = "fail"
    findings: Found = field(default_factory=list)
    reason: str = ""
    image: bool = False
    """Delivered as a container image instead."""


def text(content: str, mode: int = 0o644) -> tuple[int, int, int, What]:
    return (mode, 0, 0, content.encode())


PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\n"
SHA512 = "$6$rounds=5000$saltsaltsalt$" + "a" * 86
MD5 = "$1$saltsalt$" + "b" * 22
INIT: Tree = {"/sbin/init": text("#!/bin/sh\n", 0o755), "/bin/sh": text("#!\n", 0o755)}
OS: Tree = {
    **INIT,
    "/etc/passwd": text(PASSWD),
    "/etc/shadow": text(f"root:{SHA512}:19000::::::\ndaemon:*::::::\n", 0o640),
}
SYSTEMD: Tree = {
    "/lib/systemd/systemd": text("#!\n", 0o755),
    "/sbin/init": (0o777, 0, 0, "/lib/systemd/systemd"),
    "/bin/sh": text("#!\n", 0o755),
}


def unit(name: str, command: str, extra: str = "") -> Tree:
    body = f"[Service]\nExecStart={command}\n{extra}[Install]\nWantedBy=multi-user.target\n"
    place = f"/etc/systemd/system/multi-user.target.wants/{name}.service"
    return {
        f"/lib/systemd/system/{name}.service": text(body),
        place: (0o777, 0, 0, f"/lib/systemd/system/{name}.service"),
        "/lib/systemd/system/multi-user.target": text("[Unit]\n"),
        "/etc/systemd/system/default.target": (0o777, 0, 0, "/lib/systemd/system/multi-user.target"),
    }


def sysctl(*lines: str) -> Tree:
    return {**INIT, "/etc/sysctl.d/10-net.conf": text("".join(f"{line}\n" for line in lines))}


def sshd(config: str) -> Tree:
    return {**OS, "/usr/sbin/sshd": text("#!\n", 0o755), "/etc/ssh/sshd_config": text(config)}


DPKG: Tree = {
    **OS,
    "/var/lib/dpkg/status": text(
        "Package: su\nStatus: install ok installed\nMaintainer: A <a@example.org>\nArchitecture: all\nVersion: 1\n"
        "Description: x\n\n"
    ),
    "/var/lib/dpkg/info/su.list": text("/.\n/usr\n/usr/bin\n/usr/bin/su\n"),
    "/usr/bin/su": text("#!su\n", 0o4755),
}

IMAGE_ONLY = "no tree starts as a system with a kernel of its own; container images use their host's."

SCAS = "3gpp-33.117-18.1/"
BEYOND = "beyond-scas/"

CASES: dict[str, dict[str, Case]] = {
    SCAS + "4.2.3.2.3-password-hashes": {
        "md5": Case(
            {**OS, "/etc/shadow": text(f"root:{MD5}:19000::::::\n", 0o600)},
            findings=[("The password of account root is stored as md5crypt", "/etc/shadow", 1)],
        ),
        "hash that everyone can read": Case(
            {**OS, "/etc/shadow-": text(f"root:{SHA512}:19000::::::\n", 0o644)},
            findings=[
                ("Everyone can read this file (mode 0644), and it holds password hashes: 1", "/etc/shadow-", None)
            ],
        ),
        "strong": Case(OS, "pass", reason="4 entries of account databases looked at, nothing found."),
        "no password at all": Case(
            {**OS, "/etc/shadow": text("root:*::::::\n", 0o600)},
            "undetermined",
            reason="3 entries of account databases looked at, nothing found. Undecided: account databases hold no password, so "
            "nothing shows how one would be stored. Missing L: Set a password on the running product and read what is stored; "
            "set the same password again and compare. Missing D: A statement of every place in which the product stores "
            "passwords, and by which scheme.",
        ),
    },
    SCAS + "4.2.3.4.2.1-account-without-password": {
        "empty": Case(
            {**OS, "/etc/shadow": text("root::19000::::::\n", 0o600)},
            findings=[
                ("Account root has a login shell (/bin/sh) and an empty password", "/etc/passwd", 1),
            ],
        ),
        "trusted hosts": Case(
            {**OS, "/root/.rhosts": text("+ +\n")},
            findings=[
                ("Hosts or users are trusted by name, without a password, in /root/.rhosts", "/root/.rhosts", None)
            ],
        ),
        "protected": Case(
            OS,
            "undetermined",
            reason="2 accounts looked at, nothing found. Missing L: Log in to every account without its attribute, on every "
            "interface; each attempt has to be refused.",
        ),
    },
    SCAS + "4.2.3.6.3-log-files": {
        "open": Case(
            {**INIT, "/var/log": (0o777, 0, 0, None), "/var/log/auth.log": text("x\n")},
            findings=[
                ("Everyone can write this directory of logs (mode 0777)", "/var/log", None),
                ("Everyone can read this security log (mode 0644)", "/var/log/auth.log", None),
            ],
        ),
        "closed": Case(
            {**INIT, "/var/log": (0o755, 0, 0, None), "/var/log/auth.log": text("x\n", 0o640)},
            "pass",
            reason="2 files and directories under /var/log looked at, nothing found.",
        ),
    },
    SCAS + "4.2.4.1.1.3-source-routing": {
        "on": Case(
            sysctl("net.ipv4.conf.all.accept_source_route=1"),
            findings=[
                (
                    "The kernel accepts source-routed IPv4 packets: net.ipv4.conf.all.accept_source_route is 1, "
                    "net.ipv4.conf.default.accept_source_route is 1 by the kernel's default, which no file changes",
                    "/etc/sysctl.d/10-net.conf",
                    1,
                )
            ],
        ),
        "off": Case(
            sysctl("net.ipv4.conf.all.accept_source_route=0"),
            "undetermined",
            reason="4 values of accept_source_route looked at, nothing found. Missing L: Send packets with each IP option and "
            "extension header to the running product; only the documented ones are processed. Missing C: The packet filter's "
            "rules for IP options and extension headers.",
        ),
        "container image": Case(
            sysctl("net.ipv4.conf.all.accept_source_route=1"), "not-applicable", image=True, reason=IMAGE_ONLY
        ),
    },
    SCAS + "4.2.4.2.2-unique-uid": {
        "two with 0": Case(
            {**OS, "/etc/passwd": text(PASSWD + "toor:x:0:0::/root:/bin/sh\n")},
            findings=[("User number 0 stands for 2 accounts: root, toor", "/etc/passwd", 1)],
        ),
        "0 under another name": Case(
            {**OS, "/etc/passwd": text("toor:x:0:0::/root:/bin/sh\n"), "/etc/shadow": text("toor:*::::::\n", 0o600)},
            findings=[("Account toor has the user number 0", "/etc/passwd", 1)],
        ),
        "own numbers": Case(OS, "pass", reason="2 accounts looked at, nothing found."),
    },
    SCAS + "4.3.2.1-insecure-services": {
        "telnet": Case(
            {**SYSTEMD, **unit("telnet", "/usr/sbin/telnetd -F"), "/usr/sbin/telnetd": text("#!\n", 0o755)},
            findings=[
                (
                    "The service telnet.service is enabled and starts telnetd "
                    "(/etc/systemd/system/multi-user.target.wants/telnet.service)",
                    "/lib/systemd/system/telnet.service",
                    2,
                )
            ],
        ),
        "inetd": Case(
            {
                **INIT,
                "/etc/inetd.conf": text(
                    "ftp stream tcp nowait root /usr/sbin/tcpd in.ftpd\necho stream tcp nowait root internal\n"
                ),
                "/usr/sbin/tcpd": text("#!\n", 0o755),
                "/usr/sbin/in.ftpd": text("#!\n", 0o755),
                "/usr/sbin/inetd": text("#!\n", 0o755),
                "/etc/inittab": text("::respawn:/usr/sbin/inetd -f\n"),
            },
            findings=[
                (
                    "The service ftp/tcp is enabled and starts in.ftpd (/etc/inetd.conf:1, inetd)",
                    "/etc/inetd.conf",
                    1,
                ),
                ("The internal service echo/tcp of inetd is enabled", "/etc/inetd.conf", 2),
            ],
        ),
        "defined but off": Case(
            {
                **SYSTEMD,
                **unit("other", "/usr/sbin/other"),
                "/lib/systemd/system/telnet.service": text("[Service]\nExecStart=/usr/sbin/telnetd\n"),
                "/usr/sbin/telnetd": text("#!\n", 0o755),
            },
            "undetermined",
            reason="2 services looked at, nothing found. Missing D: The list of services that the product needs, with port, "
            "protocol and purpose of each. Missing L: Scan all TCP and UDP ports of the running product on every interface, "
            "and compare with that list.",
        ),
    },
    SCAS + "4.3.2.6-remote-root-login": {
        "by key": Case(
            sshd("PermitRootLogin prohibit-password\n"),
            findings=[
                ("Root can log in over SSH: PermitRootLogin is prohibit-password", "/etc/ssh/sshd_config", 1),
            ],
        ),
        "by default": Case(
            sshd("Port 22\n"),
            findings=[
                (
                    "Root can log in over SSH: PermitRootLogin is prohibit-password, the server's default, since no line sets "
                    "it",
                    "",
                    None,
                )
            ],
        ),
        "in a match": Case(
            sshd("PermitRootLogin no\nMatch Address 10.0.0.0/8\n  PermitRootLogin yes\n"),
            findings=[
                (
                    "Root can log in over SSH: PermitRootLogin is yes (Match Address 10.0.0.0/8)",
                    "/etc/ssh/sshd_config",
                    3,
                )
            ],
        ),
        "no": Case(
            sshd("PermitRootLogin no\n"), "pass", reason="1 servers for remote log-in looked at, nothing found."
        ),
        "configuration not delivered": Case(
            {**OS, "/usr/sbin/sshd": text("#!\n", 0o755)},
            "undetermined",
            reason="1 servers for remote log-in looked at, nothing found. Undecided: the SSH server /usr/sbin/sshd is there, and "
            "its configuration /etc/ssh/sshd_config is not in its tree or was not read. Missing L: Try to log in as root over "
            "every remote interface of the running product, with password and with key. Missing C: The configuration of "
            "each remote log-in service as it is used, options on command lines included.",
        ),
        "another configuration only": Case(
            {
                **SYSTEMD,
                **unit("mgmt", "/usr/sbin/sshd -D -f /opt/mgmt/sshd_config"),
                "/usr/sbin/sshd": text("#!\n", 0o755),
                "/opt/mgmt/sshd_config": text("PermitRootLogin no\n"),
            },
            "pass",
            reason="1 servers for remote log-in looked at, nothing found.",
        ),
        "root is denied": Case(
            sshd("PermitRootLogin yes\nDenyUsers root\n"),
            "pass",
            reason="1 servers for remote log-in looked at, nothing found.",
        ),
    },
    SCAS + "4.3.2.7-file-permissions": {
        "open": Case(
            {
                **OS,
                "/etc/motd": text("x\n", 0o666),
                "/var/spool": (0o777, 0, 0, None),
                "/usr/lib/x": (0o644, 1000, 1000, b"x"),
                "/usr/lib/y": (0o644, 1000, 1000, b"y"),
            },
            findings=[
                ("Everyone can write this file (mode 0666)", "/etc/motd", None),
                ("User number 1000 has no account and owns 2 of the files", "/usr/lib/x", None),
                (
                    "Everyone can add, rename and delete in this directory, which has no sticky bit (mode 0777)",
                    "/var/spool",
                    None,
                ),
            ],
        ),
        "closed": Case(
            {**OS, "/tmp": (0o1777, 0, 0, None)}, "pass", reason="5 files and directories looked at, nothing found."
        ),
    },
    SCAS + "4.3.3.1.1-reverse-path-filter": {
        "off": Case(
            sysctl("net.ipv4.conf.all.rp_filter = 0", "net.ipv4.conf.default.rp_filter = 0"),
            findings=[
                (
                    "The kernel does not filter by reverse path: net.ipv4.conf.all.rp_filter is 0, "
                    "net.ipv4.conf.default.rp_filter is 0",
                    "/etc/sysctl.d/10-net.conf",
                    1,
                )
            ],
        ),
        "on": Case(
            sysctl("net.ipv4.conf.all.rp_filter = 1"),
            "undetermined",
            reason="2 values of rp_filter looked at, nothing found. Missing L: Send packets with a source address that is "
            "routed to another interface; each has to be dropped. Missing P: A capture on both sides of the product while such "
            "packets are sent.",
        ),
        "packet filter": Case(
            {**sysctl("net.ipv4.conf.all.rp_filter = 0"), "/etc/nftables.conf": text("table inet f {}\n")},
            "undetermined",
            reason="2 values of rp_filter looked at, nothing found. Undecided: rp_filter is 0, and whether the packet filter "
            "does its work is not known. Missing L: Send packets with a source address that is routed to another interface; "
            "each has to be dropped. Missing P: A capture on both sides of the product while such packets are sent.",
        ),
        "container image": Case(
            sysctl("net.ipv4.conf.all.rp_filter = 0"), "not-applicable", image=True, reason=IMAGE_ONLY
        ),
    },
    SCAS + "4.3.3.1.2-kernel-network-functions": {
        "on": Case(
            sysctl("net.ipv4.conf.all.proxy_arp = 1", "net.ipv4.icmp_echo_ignore_broadcasts = 0"),
            findings=[
                (
                    "The kernel answers ARP requests for other hosts: net.ipv4.conf.all.proxy_arp is 1",
                    "/etc/sysctl.d/10-net.conf",
                    1,
                ),
                (
                    "The kernel answers echo requests to broadcast addresses: net.ipv4.icmp_echo_ignore_broadcasts is 0",
                    "/etc/sysctl.d/10-net.conf",
                    2,
                ),
            ],
        ),
        "defaults": Case(
            INIT,
            "undetermined",
            reason="3 kernel parameters looked at, nothing found. Missing L: Send echo and timestamp requests to broadcast and "
            "multicast addresses, and ARP requests for other hosts. Missing P: A capture of the product's interfaces while "
            "these are sent.",
        ),
    },
    SCAS + "4.3.3.1.4-syn-cookies": {
        "off": Case(
            sysctl("net.ipv4.tcp_syncookies = 0"),
            findings=[("net.ipv4.tcp_syncookies is 0", "/etc/sysctl.d/10-net.conf", 1)],
        ),
        "not built": Case(
            {**INIT, "/boot/config-6.1": text("CONFIG_NET=y\n# CONFIG_SYN_COOKIES is not set\n")},
            findings=[("The kernel is built without SYN cookies", "/boot/config-6.1", 2)],
        ),
        "a later file turns it on": Case(
            {
                **sysctl("net.ipv4.tcp_syncookies = 0"),
                "/usr/lib/sysctl.d/50-x.conf": text("net/ipv4/tcp_syncookies=1\n"),
            },
            "pass",
            reason="1 systems looked at, nothing found.",
        ),
        "by default": Case(
            {**INIT, "/boot/config-6.1": text("CONFIG_NET=y\nCONFIG_SYN_COOKIES=y\n")},
            "pass",
            reason="1 systems looked at, nothing found.",
        ),
        "container image": Case(sysctl("net.ipv4.tcp_syncookies = 0"), "not-applicable", image=True, reason=IMAGE_ONLY),
    },
    SCAS + "4.3.3.1.5-buffer-overflow-protection": {
        "without": Case(
            {**OS, "/usr/bin/a": (0o755, 0, 0, "<no canary>"), "/usr/bin/b": (0o755, 0, 0, "<executable stack>")},
            findings=[
                ("This program copies without a bound (strcpy) and has no stack canary", "/usr/bin/a", None),
                ("The stack of this program is executable", "/usr/bin/b", None),
            ],
        ),
        "with": Case(
            {**OS, "/usr/bin/a": (0o755, 0, 0, "<canary>"), "/usr/bin/b": (0o755, 0, 0, "<static>")},
            "undetermined",
            reason="2 distinct programs and libraries looked at, nothing found. Undecided: canaries in 1 of the 1 that can "
            "show them, position-independent 1 of 2 programs, full RELRO in 1 of 2. Missing D: The vendor's description of the "
            "mechanisms that are in use, of the programs that go without, and of how to check.",
        ),
    },
    BEYOND + "private-key": {
        "plain": Case(
            {**OS, "/etc/ssl/private/a.pem": (0o600, 0, 0, "<key>"), "/opt/b.pem": (0o600, 0, 0, "<key>")},
            findings=[
                (
                    "A private key (RSA, 1024 bits) that is not encrypted, in 2 places",
                    "/etc/ssl/private/a.pem",
                    1,
                )
            ],
        ),
        "the product's own first": Case(
            {
                **OS,
                "/a/tests/k.pem": (0o600, 0, 0, "<key>"),
                "/usr/share/doc/x/b.pem": (0o600, 0, 0, "<ec key>"),
                "/z.pem": (0o600, 0, 0, "<key>"),
            },
            findings=[
                ("A private key (RSA, 1024 bits) that is not encrypted, in 2 places", "/z.pem", 1),
                (
                    "A private key (EC, 256 bits) that is not encrypted, by its path of documentation",
                    "/usr/share/doc/x/b.pem",
                    1,
                ),
            ],
        ),
        "none": Case(
            {**OS, "/etc/a.pem": (0o600, 0, 0, "<encrypted key>")},
            "undetermined",
            reason="5 distinct contents looked at, nothing found. Missing D: A statement of all keys that are part of the "
            "delivery, with the purpose of each.",
        ),
    },
    BEYOND + "encrypted-private-key": {
        "encrypted": Case(
            {**OS, "/etc/a.pem": (0o600, 0, 0, "<encrypted key>")},
            findings=[("A private key (PKCS8) that is encrypted", "/etc/a.pem", 1)],
        ),
        "plain is another rule's": Case(
            {**OS, "/etc/a.pem": (0o600, 0, 0, "<key>")},
            "undetermined",
            reason="5 distinct contents looked at, nothing found. Missing D: A statement of all keys that are part of the "
            "delivery, with the purpose of each.",
        ),
    },
    BEYOND + "hidden-account": {
        "password": Case(
            {
                **OS,
                "/etc/passwd": text(PASSWD + "support:x:99:99::/:/bin/sh\n"),
                "/etc/shadow": text(f"root:*::::::\nsupport:{SHA512}:1::::::\n", 0o600),
            },
            findings=[
                ("System account support (user number 99) has a login shell and a password", "/etc/passwd", 3),
            ],
        ),
        "declared ways only": Case(
            {
                **OS,
                "/etc/passwd": text(PASSWD + "user:x:1000:1000::/:/bin/sh\n"),
                "/etc/shadow": text(f"root:{SHA512}:1::::::\nuser:{SHA512}:1::::::\n", 0o600),
            },
            "undetermined",
            reason="3 accounts looked at, nothing found. Missing D: The list of all predefined accounts, with the purpose and "
            "the way in of each. Missing L: The accounts of the running product, its own user databases included.",
        ),
    },
    BEYOND + "unowned-set-uid": {
        "dropped in": Case(
            {**DPKG, "/usr/bin/helper": text("#!h\n", 0o6755)},
            findings=[
                (
                    "This set-uid file (mode 6755, user 0, group 0) belongs to no package",
                    "/usr/bin/helper",
                    None,
                )
            ],
        ),
        "owned": Case(DPKG, "pass", reason="1 set-uid and set-gid files looked at, nothing found."),
        "no database": Case(
            {**OS, "/usr/bin/su": text("#!su\n", 0o4755)},
            "not-applicable",
            reason="no tree with a package database has a set-uid or set-gid file.",
        ),
    },
    BEYOND + "root-service-writable": {
        "writable": Case(
            {
                **SYSTEMD,
                **unit("agent", "/opt/agent/run --all"),
                "/opt/agent": (0o775, 0, 50, None),
                "/opt/agent/run": text("#!\n", 0o757),
            },
            findings=[
                (
                    "The service agent.service runs as root, and group 50 can replace its program through this directory (mode "
                    "0775)",
                    "/opt/agent",
                    None,
                ),
                (
                    "The service agent.service runs as root, and everyone can write its program (mode 0757)",
                    "/opt/agent/run",
                    None,
                ),
            ],
        ),
        "another account": Case(
            {
                **SYSTEMD,
                **unit("agent", "/opt/agent/run", "User=agent\n"),
                **unit("other", "/opt/other", ""),
                "/opt/agent/run": text("#!\n", 0o757),
                "/opt/other": text("#!\n", 0o755),
            },
            "pass",
            reason="1 enabled services that run as root looked at, nothing found.",
        ),
    },
}
