"""What is known about names and addresses: schemes, public suffixes, words that show what an address is for.

Sources: IANA, "Uniform Resource Identifier (URI) Schemes" and "Root Zone Database"; Public Suffix List (the data of the
package publicsuffixlist; its own reader takes a quarter of a second to load, a set of lines does not); RFC 2606 and
RFC 6761 (reserved names); RFC 5737, RFC 3849 (documentation addresses); IANA, "IPv4 Special-Purpose Address Registry".
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from .late import late


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SCHEMES = _set(
    "http https ftp ftps sftp tftp ssh scp telnet telnets ldap ldaps ldapi mqtt mqtts ws wss amqp amqps coap coaps "
    "rtsp rtsps rtmp rtmps rtp srt udp tcp tcp4 tcp6 tls ssl dtls sctp dccp sip sips nfs smb cifs afp redis rediss "
    "mongodb mongodb+srv postgres postgresql mysql mariadb kafka nats etcd git git+ssh git+https svn svn+ssh hg "
    "rsync webdav webdavs dav davs xmpp stun stuns turn turns snmp syslog grpc grpcs imap imaps pop3 pop3s smtp "
    "smtps nntp nntps news gopher ipp ipps zmq aaa aaas diameter radius dns ntp nts socks4 socks4a socks5 socks5h "
    "iscsi nbd rdp vnc spice finger dict s3 oci docker influxdb clickhouse consul zookeeper netconf gnmi"
)
"""Schemes of addresses in a network. With another scheme, an address counts if its host has a public suffix."""

NOT_NETWORK = _set("file data jar chrome resource about blob unix npipe package javascript moz-extension")

# Endings of bare names. A dot and letters are far more often a file, a member or a module than a host.
COMMON = "com net org edu gov mil"
COUNTRIES = (
    "ar au at be br ca ch cl cn co cz de dk ee es eu fi fr gr hk hr hu ie il io ir jp kr kz lt lu lv mx nl no nz pe ph "
    "pt ro ru se sg sk su th tr tw ua uk us vn za"
)
"""Country codes (and eu) that are not also a usual file ending, word or member name: a name in them counts as a host
where it is the whole of a text or quotation. Left out are, among others: so py sh pl rs md la in id is it my ai."""
KEYED = "info biz cloud tech online site xyz top aero mobi asia local lan localdomain"
"""These count only after a word that announces a host."""

LOCAL_ENDINGS = _set(
    "local lan localdomain localhost internal intranet home corp private svc cluster test example invalid"
)
"""Endings of names that are only known in a network of one's own."""

SUFFIXES = (*COMMON.split(), *COUNTRIES.split())

ANNOUNCE = (
    "servers?|hosts?|hostname|pools?|peers?|upstream|remote|gateway|nameserver|endpoint|domain|relay|relayhost|broker|"
    "registrar|proxy|url|uri|address|addr|fqdn|realm|mirror|ntp|dns|smtp|mx"
)
"""Words after which a host name stands."""

IMPORTS = _set(
    "github.com gitlab.com bitbucket.org golang.org google.golang.org gopkg.in go.uber.org k8s.io sigs.k8s.io "
    "go.etcd.io go.opentelemetry.io cloud.google.com gonum.org modernc.org go4.org git.sr.ht"
)
"""Hosts that, with a path and no scheme, name modules of Go rather than something that is called."""

MEMBERS = _set(
    "this self os sys java javax jdk sun android system window document process config request response req res "
    "logging log options opts args params data item obj object event node user app ctx context module exports require "
    "vb asp socket math string array regex date json std core"
)
"""First words of two that are a member of something in a program, not a host: java.net, asp.net, user.org."""

ALGORITHMS = _set(
    "openssh.com libssh.org lysator.liu.se ssh.com putty.projects.tartarus.org bitvise.com libassuan.net fileopen.com "
    "gssapi.org tinyssh.org"
)
"""Domains that extend names of algorithms and requests (RFC 4251 section 6) rather than being sent mail."""

UNIT_ENDINGS = _set(
    "service services target socket network netdev link mount timer path slice scope device swap so py sh pl rs md zip "
    "app run page map call host name ps cc ms st cat"
)
"""Endings after an at sign that are a unit of systemd or a file as often as a top-level domain."""

MAN = late(rb"\A(?:'\\\" [a-z]+\n|\.\\\".*\n|\s)*\.(?:TH|Dd) ")
HEADS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("changelog", late(rb"\A[a-z0-9+.-]+ \([^)\n]+\) [^;\n]+; urgency=")),
    ("changelog", late(rb"\A[^\n=]{0,40}C(?:hange[Ll]og|HANGE(?:S|LOG))\b")),
    ("copyright", late(rb"\AFormat(?:-Specification)?:|\AThis (?:package was|is the Debian)|\A\s*Copyright")),
    ("licence", late(rb"\A\s*[^=\n]{0,50}LICEN[SC]E\b[^=\n]*\n", re.IGNORECASE)),
    ("web page", late(rb"\A\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html)", re.IGNORECASE)),
    ("info manual", late(rb"\AThis is [^\n]{1,80}produced by")),
    ("translation", late(rb"\A(?:\xde\x12\x04\x95|\x95\x04\x12\xde)")),
    ("message of changes", late(rb"\A(?:commit [0-9a-f]{40}\n|\d{4}-\d\d-\d\d  [^<\n]+<)")),
)  # fmt: skip
"""Beginnings of contents that are read by people: what they name is not called by a program."""

NAMESPACE_BEFORE = late(
    r"""(?:xmlns(?::[\w.-]+)?|xsi:\w+|targetNamespace|namespace|\$schema|\$id|@context|schemaLocation|DOCTYPE|SYSTEM|PUBLIC)\b["']?[^<>]{0,60}$"""
)
# All in small letters, and so is what they are looked for in.
_NAMESPACE = (
    r"https?://(?:(?:www\.)?(?:w3\.org/(?:\d{4}|tr|xml|ns|graphics)\b|oasis-open\.org/docbook"
    r"|freedesktop\.org/standards|inkscape\.org/namespaces|purl\.org)|schemas\.|xmlns\.|ns\.adobe\.com|uri\.etsi\.org"
    r"|json-schema\.org|docs\.oasis-open\.org|docbook\.sourceforge\.net|docbook\.org|relaxng\.org)"
    r"|\.(?:dtd|xsd|rng|rdf|owl)$"
)
_CERTIFICATE = r"//(?:crl|ocsp|pki|cacerts?|aia)\d*[.-]|[./-](?:crl|ocsp)\d*[./]|\.(?:crl|crt|p7c)$|/(?:cps|rpa)(?:/|$)"
_PURPOSES = (
    (
        "time",
        r"\b(?:s?ntp(?:[_-]?\w+)?|chrony|time[_ -]?servers?|fallbackntp)\b",
        r"(?:^|[/.])(?:s?ntp\d*|pool\.ntp|time\d*)[.-]",
    ),
    (
        "telemetry",
        r"telemetry|analytics|crash[_ -]?(?:report|dump|upload)\w*|usage[_ -]?(?:stat|data|report)\w*"
        r"|phone[_ -]?home|heartbeat|beacon|statistics[_ -]?(?:url|host|server)",
        r"(?:^|[/.])(?:telemetry|analytics|crash(?:es|-?reports?)?|stats|metrics|sentry|beacon)(?:[./-]|$)",
    ),
    (
        "licence",
        r"licen[cs]e[_ -]?(?:server|key|url|check|host)|activation|entitlement",
        r"//(?:licen[cs]e|licensing|activation|activate|entitlement)s?[.-]",
    ),
    (
        "update",
        r"firmware|\b(?:auto|self)?[_-]?(?:update|upgrade)(?:s|r)?[_ -]?(?:url|uri|host|server|from|via|check|site)"
        r"|\bf?ota\b|^\s*deb(?:-src)?\s|baseurl|mirrorlist|metalink|^\s*src/gz",
        r"(?:^|[/._-])(?:updates?|upgrade|firmware|fota|ota)(?:[/._-]|$)|//(?:deb|repo|dl|archive|security)\.",
    ),
    ("test", r"\b(?:unit|self)?[_-]?test(?:s|ing)?[_ -]?(?:url|host|server)?\b\W*$", r"(?:^|[/.])tests?[.-]"),
    (
        "documentation",
        r"\b(?:see\b|bugs?\b|report\b|visit\b|refer|wiki\b|rfc\b)|home ?page|documentation|copyright|licen[cs]e"
        r"|more info|available (?:at|from|on)|written by|manual|reference|for details|author|maintainer|website",
        r"gnu\.org|//(?:bugs?|bugzilla|wiki|docs?|manual|man\d?|help|lists)\.|/(?:docs?|manual|bugs|issues|licen[cs]es?"
        r"|wiki|rfcs?|man|html)(?:/|$)|creativecommons\.org|ietf\.org|rfc-editor\.org|opensource\.org|launchpad\.net/bugs",
    ),
)


pattern = cache(re.compile)
"""Compiles an expression at its first use: most are never needed."""

WORDS_BEFORE = tuple((purpose, words) for purpose, words, _ in _PURPOSES)
"""(purpose, words in the line before the address), in order of purpose."""
STEMS = (
    "ntp", "chrony", "time", "telemetry", "analytics", "crash", "usage", "phone", "heartbeat", "beacon", "statistics",
    "licen", "activation", "entitlement", "firmware", "update", "upgrade", "ota", "deb", "baseurl", "mirrorlist",
    "metalink", "src/gz", "test", "see", "bug", "report", "visit", "refer", "wiki", "rfc", "home", "documentation",
    "copyright", "more info", "available", "written by", "manual", "for details", "author", "maintainer", "website",
)  # fmt: skip
"""One of these is in whatever those words match: most lines hold none, which is soon seen."""
_IN_VALUE = (("namespace", _NAMESPACE), ("certificate", _CERTIFICATE), *((name, value) for name, _, value in _PURPOSES))
_ANY_IN_VALUE = "|".join(part for _, part in _IN_VALUE)


@lru_cache(1 << 13)  # the same addresses stand in many contents
def shown_by(value: str) -> dict[str, str]:
    """Return what an address alone may be for, and the part of it that shows it."""
    small = value.lower() if value.isascii() else value.encode().lower().decode()
    if pattern(_ANY_IN_VALUE).search(small) is None:
        return {}
    found = ((name, pattern(part).search(small)) for name, part in _IN_VALUE)
    return {name: value[match.start() : match.end()] for name, match in found if match}


COMMENT = late(r"""\s*(#(?!!)|//|/\*|;|\.\\"|--|dnl\b|rem\b|<!--)""", re.IGNORECASE)


@cache
def _version() -> re.Pattern[str]:
    """Return what stands before a version, or the number of a section."""
    return re.compile(
        r"(?:\bv|\bver|\bvers|version|release|\brev|revision|build|firmware|since|until|\boid|section|\bsec|chapter|figure"
        r"|clause|\bTS|\bTR|\bRFC|upstream|upgrade to|update to|new|[<>~]|PublicKeyToken|assembly|§|libc|kernel"
        r"|linux)\Z",
        re.IGNORECASE,
    )


@cache
def _addressed() -> re.Pattern[str]:
    """Return what stands before an address: a word, whole or with more letters behind."""
    return re.compile(
        r"(?:addr(?:ess)?(?:es)?|\bip\b|ipv4|ipv6|ip6?_\w+|hosts?|servers?|\bdns\w*|nameservers?|gateways?|\bgw|bind|listen|route|peer"
        r"|remote|dest(?:ination)?|\bdst|\bsrc|source|subnet|network|\bnet|inet6?|ping6?|proxy|range|local|iface|interface|\bntp"
        r"|pool|forward(?:ers?)?|\burl|allow|deny|prefix|mask|broadcast|via|endpoint|upstream)\w{0,12}\Z",
        re.IGNORECASE,
    )


_SPACE = " \t\x85\xa0"
_VERSION_SIGNS = _SPACE + ":=\"'.(-"
_LAST_WORD = late(r"\w*")


def is_version_before(line: str) -> bool:
    """Tell whether a line (Latin-1, without control characters but the tab) announces a version at its end."""
    words = line.rstrip(_VERSION_SIGNS)
    return "(=" in line[len(words) :] or _is_version(words[-20:])


@lru_cache(1 << 12)
def _is_version(words: str) -> bool:
    return _version().search(words) is not None


def is_address_before(line: str) -> bool:
    """Tell whether a line (as for `is_version_before`) announces an address at its end."""
    word = _LAST_WORD.match(line.rstrip(_SPACE + ":=\"'[({,")[::-1])
    return word is not None and _is_addressed(word[0][::-1])


@lru_cache(1 << 12)
def _is_addressed(word: str) -> bool:
    return bool(word) and _addressed().search(word) is not None


def _scopes() -> Iterator[tuple[int, str]]:
    yield 0, "reserved"
    end = 1
    for line in _RANGES.split("\n"):
        network, length, scope = line.replace("/", " ").split()
        start = int.from_bytes(bytes(map(int, network.split("."))), "big")
        if start > end:
            yield end, "global"
        yield max(start, end), scope
        end = start + (1 << 32 - int(length))


_RANGES = """0.0.0.0/8 private
10.0.0.0/8 private
100.64.0.0/10 private
127.0.0.0/8 loopback
169.254.0.0/16 link-local
172.16.0.0/12 private
192.0.0.0/29 private
192.0.0.170/31 private
192.0.2.0/24 documentation
192.168.0.0/16 private
198.18.0.0/15 private
198.51.100.0/24 documentation
203.0.113.0/24 documentation
224.0.0.0/4 multicast
240.0.0.0/4 reserved"""
SCOPES = tuple(_scopes())
"""(first address, scope) of each range of IPv4 addresses, in order. 0.0.0.0 itself is reserved."""

WELL_KNOWN = _set(
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 208.67.222.222 208.67.220.220 114.114.114.114 223.5.5.5 223.6.6.6 "
    "119.29.29.29 180.76.76.76 77.88.8.8 4.2.2.2"
)
"""Public resolvers, whose addresses look like versions."""


def read_suffixes() -> None:
    """Read the Public Suffix List, before a worker is confined. It is put in order when a name is first looked up."""
    _text()


@cache
def _text() -> bytes:
    found = importlib.util.find_spec("publicsuffixlist")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package publicsuffixlist is not installed")
    return Path(found.origin).with_name("public_suffix_list.dat").read_bytes()


class Rules(NamedTuple):
    """The Public Suffix List."""

    names: frozenset[str]
    below: frozenset[str]
    """Names of which every label before them makes a suffix: *.NAME."""
    exceptions: frozenset[str]


@cache
def _rules(*, ascii_only: bool) -> Rules:
    """Return the rules. Few hosts need those that are not ASCII, which cost as much as all others."""
    lines = _text().decode("utf-8").split("\n")
    found = {line for line in lines if line.isascii() and line[:2] not in ("", "//")}
    if not ascii_only:
        for line in lines:
            if not line.isascii() and not line.startswith("//"):
                parts = line.split(".")  # as they stand in host names: RFC 3492
                found.add(".".join(p if p.isascii() else f"xn--{p.encode('punycode').decode()}" for p in parts))
    below = frozenset(line[2:] for line in found if line[0] == "*")
    return Rules(frozenset(found), below, frozenset(line[1:] for line in found if line[0] == "!"))


@lru_cache(1 << 14)  # the same few names come again and again
def suffix_of(host: str) -> tuple[str | None, str | None]:
    """Return (registrable domain, public suffix) of a host in lower case; None for what it has not.

    Source: https://publicsuffix.org/list/, "Algorithm": the longest rule wins, an exception (!) over all.
    """
    names, below, exceptions = _rules(ascii_only="xn--" not in host)
    labels = host.split(".")
    start, count = max(0, len(labels) - 8), len(labels)
    rest = ".".join(labels[start:]) if start else host
    while start < count:
        shorter = rest.partition(".")[2]
        if rest in exceptions:
            start += 1
            break
        if rest in names or (shorter in below and start + 1 < count):
            break
        rest = shorter
        start += 1
    if start >= count:
        return None, None
    suffix = ".".join(labels[start:])
    return (".".join(labels[start - 1 :]) if start else None), suffix
