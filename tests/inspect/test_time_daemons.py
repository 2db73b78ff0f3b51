"""chronyd, ntpd, systemd-timesyncd, and journald and resolved, which are configured as timesyncd is."""

from __future__ import annotations

from assay.inspect import chrony, journald, ntpd, resolved, timesyncd
from assay.inspect.shared_secret import credential
from tests.support.daemons import built_in, rows, sockets, tree
from tests.support.memory_tree import inspect

MAIN = "/etc/chrony/chrony.conf"


def test_chrony() -> None:
    found = tree(
        {
            MAIN: "# c\n! c\nPool p.example iburst\nconfdir /etc/chrony/a /etc/chrony/b\nport 1123\nallow 10.0.0.0/8\n"
            "bindcmdaddress 0.0.0.0\nbindcmdaddress /run/x\nntsserverkey /k\nmaxdistance 5\nmaxdistance 4\n"
            "sourcedir /etc/chrony/sources.d\n",
            "/etc/chrony/a/1.conf": "cmdport 0\n",
            "/etc/chrony/b/1.conf": "cmdport 9\n",
            "/etc/chrony/b/2.conf": "rtcsync\n",
            "/etc/chrony/sources.d/x.sources": "server h nts\n",
        },
        chrony.INSPECTOR,
        programs=["/usr/sbin/chronyd"],
        installed=("chrony", "4.3-2"),
    )
    assert rows(chrony.SETTINGS, found) == [
        ("pool", "p.example iburst", "", f"{MAIN}:3"),
        ("cmdport", "0", "", "/etc/chrony/a/1.conf:1"),
        ("rtcsync", "", "", "/etc/chrony/b/2.conf:1"),
        ("port", "1123", "", f"{MAIN}:5"),
        ("allow", "10.0.0.0/8", "", f"{MAIN}:6"),
        ("bindcmdaddress", "0.0.0.0", "", f"{MAIN}:7"),
        ("bindcmdaddress", "/run/x", "", f"{MAIN}:8"),
        ("ntsserverkey", "/k", "", f"{MAIN}:9"),
        ("maxdistance", "4", "", f"{MAIN}:11"),
        ("server", "h nts", "", "/etc/chrony/sources.d/x.sources:1"),
    ]
    assert built_in(chrony.SETTINGS, found) == {
        "authselectmode": "mix",
        "clientloglimit": "524288",
        "leapsecmode": "system",
        "maxclockerror": "1",
        "maxjitter": "1",
        "minsources": "1",
        "ntsport": "4460",
        "reselectdist": "0.0001",
        "stratumweight": "0.001",
    }
    assert sockets(chrony.SETTINGS, found) == [
        "udp 0.0.0.0:1123 ntp",
        "udp :::1123 ntp",
        "tcp 0.0.0.0:4460 nts-ke tls",
        "tcp :::4460 nts-ke tls",
    ]


def test_chrony_as_a_client_listens_for_commands_only() -> None:
    found = tree({"/etc/chrony.conf": "server h\n"}, chrony.INSPECTOR, programs=["/usr/sbin/chronyd"])
    assert sockets(chrony.SETTINGS, found) == ["udp 127.0.0.1:323 command", "udp ::1:323 command"]
    assert list(chrony.SETTINGS.inspect(tree({}, programs=["/usr/sbin/chronyd"]))) == []


def test_ntpd() -> None:
    conf = "/etc/ntp.conf"
    files = {
        conf: "server h iburst # c\nrestrict default kod\nrestrict ::1\nincludefile ntp.d/y.conf\nkeys /etc/ntp.keys\n",
        "/etc/ntp.d/y.conf": "tos minclock 4\n",
    }
    found = tree(files, ntpd.INSPECTOR, programs=["/usr/sbin/ntpd"])
    assert rows(ntpd.SETTINGS, found) == [
        ("server", "h iburst", "", f"{conf}:1"),
        ("restrict", "default kod", "", f"{conf}:2"),
        ("restrict", "::1", "", f"{conf}:3"),
        ("tos", "minclock 4", "", "/etc/ntp.d/y.conf:1"),
        ("keys", "/etc/ntp.keys", "", f"{conf}:5"),
    ]
    assert sockets(ntpd.SETTINGS, found) == ["udp 0.0.0.0:123 ntp", "udp :::123 ntp"]
    found = tree(
        {conf: "interface ignore wildcard\ninterface listen 10.0.0.1\ninterface listen eth0\n"},
        ntpd.INSPECTOR,
        programs=["/usr/sbin/ntpd"],
    )
    assert sockets(ntpd.SETTINGS, found) == ["udp 10.0.0.1:123 ntp", "udp :123 ntp eth0"]


def test_keys_are_fingerprints() -> None:
    assert inspect(ntpd.KEYS, b"# c\n1 SHA1 HEX:AA\n 20  M  secret # c\nx\n") == [
        credential("HEX:AA", "shared-key", "ntp SHA1", 2, "1"),
        credential("secret", "shared-key", "ntp M", 3, "20"),
    ]


def test_journald_merges_by_file_name() -> None:
    found = tree(
        {
            "/etc/systemd/journald.conf": "[Journal]\nStorage=volatile\nCompress=no\n[Other]\nSeal=no\n",
            "/etc/systemd/journald.conf.d/20-a.conf": "[Journal]\nStorage=auto\nSeal=\n",
            "/usr/lib/systemd/journald.conf": "[Journal]\nSeal=no\n",
            "/usr/lib/systemd/journald.conf.d/20-a.conf": "[Journal]\nStorage=none\n",
            "/usr/lib/systemd/journald.conf.d/10-b.conf": "[Journal]\nCompress=yes\nForwardToSyslog=yes\n",
            "/etc/systemd/journald.conf.d/30-c.conf": "-> /dev/null",
            "/usr/lib/systemd/journald.conf.d/30-c.conf": "[Journal]\nStorage=none\n",
        },
        programs=["/usr/lib/systemd/systemd-journald"],
        installed=("systemd", "252.36-1"),
    )
    assert rows(journald.SETTINGS, found) == [
        ("Compress", "yes", "", "/usr/lib/systemd/journald.conf.d/10-b.conf:2"),
        ("ForwardToSyslog", "yes", "", "/usr/lib/systemd/journald.conf.d/10-b.conf:3"),
        ("Storage", "auto", "", "/etc/systemd/journald.conf.d/20-a.conf:2"),
    ]
    storage = next(row for row in journald.settings(found) if row.key == "Storage")
    assert storage.basis == (
        "overrides /etc/systemd/journald.conf:2; auto keeps logs over a restart only if /var/log/journal is there: "
        "it is not"
    )
    assert built_in(journald.SETTINGS, found) == {
        default.key: default.value for default in journald.DEFAULTS if default.key not in ("Compress", "Storage")
    }


def test_timesyncd_adds_up_servers() -> None:
    found = tree(
        {
            "/etc/systemd/timesyncd.conf": "[Time]\nNTP=a b\nRootDistanceMaxSec=9s\n",
            "/etc/systemd/timesyncd.conf.d/1.conf": "[Time]\nNTP=\nNTP=c\nNTP=d\nFallbackNTP=e\n",
        },
        programs=["/lib/systemd/systemd-timesyncd"],
    )
    place = "/etc/systemd/timesyncd.conf.d/1.conf"
    assert rows(timesyncd.SETTINGS, found) == [
        ("RootDistanceMaxSec", "9s", "", "/etc/systemd/timesyncd.conf:3"),
        ("NTP", "c", "", f"{place}:3"),
        ("NTP", "d", "", f"{place}:4"),
        ("FallbackNTP", "e", "", f"{place}:5"),
    ]
    assert built_in(timesyncd.SETTINGS, found) == {"PollIntervalMaxSec": "34min 8s", "PollIntervalMinSec": "32s"}


def test_resolved_states_the_sockets_that_are_certain() -> None:
    found = tree(
        {"/etc/systemd/resolved.conf": "[Resolve]\nDNSStubListener=udp\nLLMNR=yes\n"},
        programs=["/usr/lib/systemd/systemd-resolved"],
    )
    assert sockets(resolved.SETTINGS, found) == [
        "udp 127.0.0.53:53 dns stub",
        "udp 0.0.0.0:5355 llmnr",
        "udp :::5355 llmnr",
        "tcp 0.0.0.0:5355 llmnr",
        "tcp :::5355 llmnr",
    ]
