"""sshd_config: directives, effective settings, defaults by version; sshd -T as oracle where there is an sshd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from assay.facts.package import Package
from assay.facts.service import Directive, Setting
from assay.inspect import sshd, sshd_listeners
from assay.inspect.base import ContentInspector
from assay.inspect.sshd_defaults import DEFAULTS, defaults
from tests.support.memory_tree import MemoryTree, inspect

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")


def package(version: str) -> ContentInspector:
    return ContentInspector(
        name="test-package",
        version=1,
        families=(Package,),
        inspect=lambda _: [Package(manager="dpkg", name="openssh-server", version=version)],
        wants_path=lambda path: path == "/var/lib/dpkg/status",
    )


def tree(files: dict[str, str], *, unread: tuple[str, ...] = (), version: str | None = None) -> MemoryTree:
    inspectors = [sshd.INSPECTOR]
    specs = {path: (0o600, 0, 0, text.encode()) for path, text in files.items()}
    if version:
        inspectors.append(package(version))
        specs["/var/lib/dpkg/status"] = (0o644, 0, 0, b"status")
    return MemoryTree(specs, inspectors, unread=unread)


def from_files(tree: MemoryTree) -> list[Setting]:
    return [setting for setting in sshd.settings(tree) if setting.origin == "file"]


def row(key: str, value: str, line: int, path: str = "/etc/ssh/sshd_config", **more: str) -> Setting:
    return Setting(subsystem="sshd", key=key, value=value, origin="file", path=path, line=line, **more)


def test_directives_are_what_is_written() -> None:
    text = b"""# comment
Port 22
PermitRootLogin=yes   # trailing
  Banner "/etc/issue net"
Subsystem sftp "/usr/lib/sftp server" -f LOCAL0
AllowUsers a#b c

Match  User   root Address 10.0.0.0/8
\tPasswordAuthentication NO
!!! not a directive
Match all
X11Forwarding yes\r
"""

    def directive(key: str, value: str, line: int, section: str | None = None) -> Directive:
        return Directive(dialect="sshd_config", section=section, key=key, value=value, line=line)

    assert inspect(sshd.INSPECTOR, text) == [
        directive("port", "22", 2),
        directive("permitrootlogin", "yes", 3),
        directive("banner", "/etc/issue net", 4),
        directive("subsystem", 'sftp "/usr/lib/sftp server" -f LOCAL0', 5),
        directive("allowusers", "a#b c", 6),
        directive("match", "User   root Address 10.0.0.0/8", 8),
        directive("passwordauthentication", "NO", 9, "Match User root Address 10.0.0.0/8"),
        directive("match", "all", 11),
        directive("x11forwarding", "yes", 12, "Match all"),
    ]


def test_first_value_wins_and_includes_stand_in_place() -> None:
    found = tree(
        {
            "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\nPort 22\nPort 2222\n"
            "Match User ops\n  Include extra.conf\n  PasswordAuthentication no\n"
            "Match User ops\n  PasswordAuthentication yes\n",
            "/etc/ssh/sshd_config.d/10-a.conf": "PermitRootLogin without-password\nMatch Group g\nX11Forwarding yes\n",
            "/etc/ssh/sshd_config.d/20-b.conf": "PermitRootLogin no\nChallengeResponseAuthentication no\n",
            "/etc/ssh/sshd_config.d/.hidden.conf": "MaxAuthTries 1\n",
            "/etc/ssh/sshd_config.d/README": "MaxAuthTries 2\n",
            "/etc/ssh/extra.conf": "MaxSessions 3\nMatch Address 10.0.0.1\nMaxSessions 4\n",
        }
    )
    a, b = "/etc/ssh/sshd_config.d/10-a.conf", "/etc/ssh/sshd_config.d/20-b.conf"
    assert from_files(found) == [
        row("permitrootlogin", "prohibit-password", 1, a, basis=f"overrides {b}:1, /etc/ssh/sshd_config:2"),
        row("x11forwarding", "yes", 3, a, scope="Match Group g"),
        row("kbdinteractiveauthentication", "no", 2, b),
        row("port", "22", 3),
        row("port", "2222", 4),
        row("maxsessions", "3", 1, "/etc/ssh/extra.conf", scope="Match User ops"),
        row("maxsessions", "4", 3, "/etc/ssh/extra.conf", scope="Match User ops and Match Address 10.0.0.1"),
        row("passwordauthentication", "no", 7, scope="Match User ops", basis="overrides /etc/ssh/sshd_config:9"),
    ]


def test_defaults_fill_what_no_file_sets() -> None:
    every = list(sshd.settings(tree({"/etc/ssh/sshd_config": "X11Forwarding yes\nAddressFamily inet\n"})))
    basis = "sshd_config(5); version unknown, the same in OpenSSH 7.0 to 10.0"
    expected = [row("x11forwarding", "yes", 1), row("addressfamily", "inet", 2)]
    expected += [
        Setting(subsystem="sshd", key=default.key, value=default.value, origin="default", basis=basis)
        for default in DEFAULTS
        if default.since == (7, 0) and default.until is None and default.key not in ("x11forwarding", "addressfamily")
    ]
    expected.append(Setting(subsystem="sshd", key="listenaddress", value="0.0.0.0", origin="default", basis=basis))
    assert every == expected
    assert not {"ciphers", "macs", "kexalgorithms", "compression"} & {setting.key for setting in every}


@pytest.mark.parametrize(
    ("version", "key", "value"),
    [
        ("1:7.2p2-4", "compression", "delayed"),
        ("1:7.2p2-4", "macs", None),
        ("7.4p1-23.el7", "compression", "yes"),
        ("8.4p1-r0", "requiredrsasize", None),
        ("1:9.2p1-2+deb12u10", "requiredrsasize", "1024"),
        ("1:6.7p1-5", "permitrootlogin", None),
        ("11.0p1", "permitrootlogin", None),
    ],
)
def test_defaults_follow_the_version(version: str, key: str, value: str | None) -> None:
    found = sshd.settings(tree({"/etc/ssh/sshd_config": "Port 22\n"}, version=version))
    assert next((setting.value for setting in found if setting.key == key), None) == value


def test_every_version_has_one_value_of_each_keyword() -> None:
    for version in [(7, minor) for minor in range(10)] + [(8, n) for n in range(10)] + [(9, n) for n in range(10)]:
        keys = [default.key for default in defaults(version) if default.key != "hostkey"]
        assert len(keys) == len(set(keys)), version


def test_unreadable_include_leaves_open_what_it_could_set() -> None:
    found = tree(
        {
            "/etc/ssh/sshd_config": "StrictModes no\nInclude secret.conf\nPermitRootLogin no\nPort 23\n",
            "/etc/ssh/secret.conf": "PermitRootLogin yes\n",
        },
        unread=("/etc/ssh/secret.conf",),
    )
    assert list(sshd.settings(found)) == [row("strictmodes", "no", 1), row("port", "23", 4)]


def test_match_all_holds_always_and_wins() -> None:
    found = tree(
        {
            "/etc/ssh/sshd_config": "MaxSessions 9\nAllowUsers a b\nAllowUsers c\nMatch User x\nInclude x.conf\n"
            "Match All\nMaxSessions 2\nAllowUsers d\nPermitTTY no\n",
            "/etc/ssh/x.conf": "Match all\nMaxSessions 5\n",
        }
    )
    main = "/etc/ssh/sshd_config"
    assert from_files(found) == [
        row("maxsessions", "5", 2, "/etc/ssh/x.conf", scope="Match User x"),
        row("maxsessions", "2", 7, basis=f"overrides {main}:1"),
        row("allowusers", "d", 8, basis=f"overrides {main}:2, {main}:3"),
        row("permittty", "no", 9),
    ]


def test_other_configurations_hold_only_for_a_server_started_with_them() -> None:
    found = tree(
        {
            "/etc/ssh/sshd_config": "Port 22\n",
            "/opt/mgmt/sshd_config": "PermitRootLogin yes\n",
            "/usr/share/openssh/sshd_config": "PermitRootLogin yes\n",
        }
    )
    other = "sshd -f /opt/mgmt/sshd_config"
    settings = list(sshd.settings(found))
    assert [setting for setting in settings if setting.origin == "file"] == [
        row("port", "22", 1),
        row("permitrootlogin", "yes", 1, "/opt/mgmt/sshd_config", scope=other),
    ]
    assert {setting.scope for setting in settings} == {"", other}
    assert [(s.scope, s.value) for s in settings if s.key == "permitrootlogin"] == [
        ("", "prohibit-password"),
        (other, "yes"),
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/ssh/ssh_config": "Port 22\n"},
        {"/usr/local/sbin/sshd": "\x7fELF"},
        {"/usr/sbin/sshd": "\x7fELF", "/usr/share/openssh/sshd_config": "Port 22\n"},
    ],
)
def test_nothing_is_known_of_a_server_whose_configuration_is_elsewhere(files: dict[str, str]) -> None:
    assert list(sshd.settings(tree(files))) == []
    assert list(sshd_listeners.listeners(tree(files))) == []


def test_what_nobody_looked_at_leaves_open_what_it_could_set() -> None:
    found = tree({"/etc/ssh/sshd_config": "Include /opt/ssh.inc\nPermitRootLogin no\n", "/opt/ssh.inc": "Port 1\n"})
    assert list(sshd.settings(found)) == []
    long = tree({"/etc/ssh/sshd_config": "PermitRootLogin no\n" + "#" * (1 << 20)})
    assert list(sshd.settings(long)) == []


def test_bytes_that_are_no_text_hide_nothing() -> None:
    found = tree({"/etc/ssh/sshd_config": "# \0\nPermitRootLogin yes\n"})
    assert from_files(found) == [row("permitrootlogin", "yes", 2)]


def test_includes_that_include_themselves_end() -> None:
    loop = "Include sshd_config.d/*\n" * 8 + "Port 1\n"
    found = tree({"/etc/ssh/sshd_config": loop} | {f"/etc/ssh/sshd_config.d/{n}.conf": loop for n in range(8)})
    assert {setting.key for setting in sshd.settings(found)} == {"port"}


@pytest.mark.skipif(SSHD is None or shutil.which("ssh-keygen") is None, reason="no OpenSSH server on this machine")
def test_sshd_itself_agrees(tmp_path: Path) -> None:
    key, main, extra = tmp_path / "key", tmp_path / "sshd_config", tmp_path / "extra.conf"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    extra.write_text("MaxAuthTries 3\nMatch User nobody\nX11Forwarding yes\n")
    main.write_text(
        f"HostKey {key}\nInclude {extra}\nMaxAuthTries 4\nPermitRootLogin=NO # never\nClientAliveInterval 30\n"
        f'AllowUsers a b\nAllowUsers c\nBanner "{key}"\nMatch all\nMaxSessions 2\n'
    )
    done = subprocess.run([str(SSHD), "-T", "-f", main], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"sshd does not run here: {done.stderr.strip()}")
    said: dict[str, str] = {}
    for line in done.stdout.splitlines():
        word, _, value = line.partition(" ")
        said[word] = f"{said[word]} {value}" if word in said else value
    specs = {
        "/etc/ssh/sshd_config": (0o600, 0, 0, main.read_bytes()),
        str(extra): (0o600, 0, 0, extra.read_bytes()),
    }
    everywhere = ContentInspector(
        name="sshd-config", version=1, families=(Directive,), inspect=sshd.inspect, wants_path=lambda _: True
    )
    ours: dict[str, str] = {}
    for setting in sshd.settings(MemoryTree(specs, [everywhere])):
        if not setting.scope and setting.key != "listenaddress":
            ours[setting.key] = f"{ours[setting.key]} {setting.value}" if setting.key in ours else setting.value
    said["permitrootlogin"] = said["permitrootlogin"].replace("without-", "prohibit-")
    assert {word: value.lower() for word, value in ours.items()} == {word: said[word].lower() for word in ours}
