"""Published projects, and texts that only their own code holds.

A mark stands in the project's read-only data: a message, a path of its source, a list. It is never the name of a
function that others call, so that a program which only uses a shared library does not bear it. Marks are taken from the
projects' published sources; expressions are what their licence files state, for the library where the project has both
a library and programs.
"""

from __future__ import annotations

from typing import NamedTuple


class Project(NamedTuple):
    """A project."""

    name: str
    expression: str
    marks: tuple[str, ...]
    """In the engine's syntax."""
    needs: int = 1
    """How many of the marks have to be there."""
    soname: str = ""
    """Beginning of the shared object's name that the project itself builds."""
    program: bool = False
    """The marks stand in the project's own program."""
    owner: str = ""
    """Words of its copyright notice, where the project's name is not among them."""


GPL2, GPL2L, GPL3L = "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-or-later"
LGPL2L, LGPL21L, LGPL3L = "LGPL-2.0-or-later", "LGPL-2.1-or-later", "LGPL-3.0-or-later"
AGPL3L, BSD2, BSD3, MIT, APACHE = "AGPL-3.0-or-later", "BSD-2-Clause", "BSD-3-Clause", "MIT", "Apache-2.0"
FSF = "Free Software Foundation"

PROJECTS = (
    # compression
    Project("zlib", "Zlib", (r"(?:in|de)flate 1\.[0-9.]{1,9} Copyright 1995-",), soname="libz.so", owner="Mark Adler"),
    Project("bzip2", "bzip2-1.0.6", (r"bzip2/libbzip2: internal error number",), soname="libbz2.so"),
    Project("lzo", GPL2L, (r"LZO real-time data compression library", r"\$Id: LZO version"), soname="liblzo2"),
    Project("ucl", GPL2L, (r"UCL data compression library",), soname="libucl.so"),
    Project(
        "zstd",
        "BSD-3-Clause OR GPL-2.0-only",
        (r"Frame requires too much memory for decoding", r"tableLog requires too much memory"),
        2,
        "libzstd.so",
    ),
    # cryptography
    Project(
        "openssl",
        "OpenSSL",
        (
            r"OpenSSL [01]\.[0-9.]{3,6}[a-z]{0,2}[^\n\x00]{0,12} [0-9]{1,2} [A-Z][a-z]{2} 20[0-9]{2}",
            r"crypto/(?:bn|evp|rsa|asn1|x509)/[a-z0-9_]{3,20}\.c",
        ),
        2,
        "libcrypto.so",
    ),
    Project(
        "openssl",
        APACHE,
        (
            r"OpenSSL [3-9]\.[0-9.]{3,6}[^\n\x00]{0,12} [0-9]{1,2} [A-Z][a-z]{2} 20[0-9]{2}",
            r"crypto/(?:bn|evp|rsa|asn1|x509)/[a-z0-9_]{3,20}\.c",
        ),
        2,
        "libcrypto.so",
    ),
    Project("libressl", "OpenSSL", (r"LibreSSL [2-9]\.[0-9.]{3,5}",), soname="libcrypto.so"),
    Project(
        "mbedtls",
        "Apache-2.0 OR GPL-2.0-or-later",
        (
            r"X509 - Allocation of memory failed",
            r"SSL - Our own certificate\(s\) is/are too large",
            r"BIGNUM - An error occurred while reading from or writing to a file",
            r"ECP - Bad input parameters to function",
        ),
        1,
        "libmbed",
    ),
    Project("wolfssl", GPL2L, (r"ASN no signer error to confirm failure",), soname="libwolfssl"),
    Project(
        "gnutls",
        LGPL21L,
        (r"The TLS connection was non-properly terminated\.", r"GnuTLS internal error\."),
        2,
        "libgnutls.so",
        owner=FSF,
    ),
    Project("libgcrypt", LGPL21L, (r"This is Libgcrypt ",), soname="libgcrypt.so"),
    Project("libssh2", BSD3, (r"Unable to exchange encryption keys", r"libssh2_[0-9]\.[0-9]"), 2, "libssh2.so"),
    Project("p11-kit", BSD3, (r"p11-kit: ", r"couldn't load file into objects"), 2, "libp11-kit.so"),
    # GNU
    Project(
        "readline",
        GPL3L,
        (r"readline_callback_read_char\(\) called with no handler",),
        soname="libreadline.so",
        owner=FSF,
    ),
    Project(
        "gmp",
        "LGPL-3.0-or-later OR GPL-2.0-or-later",
        (r"GNU MP: Cannot allocate memory",),
        soname="libgmp.so",
        owner=FSF,
    ),
    Project("gdbm", GPL3L, (r"gdbm fatal: ",), soname="libgdbm.so", owner=FSF),
    Project(
        "ncurses",
        "X11-distribute-modifications-variant",
        (r"terminals database is inaccessible",),
        soname="libtinfo.so",
        owner=FSF,
    ),
    Project(
        "glibc",
        LGPL21L,
        (r"GNU C Library \([^\n\x00]{1,60}\) (?:stable|development) release version",),
        soname="libc.so.6",
        owner=FSF,
    ),
    Project("bash", GPL3L, (r"GNU bash, version %s",), program=True, owner=FSF),
    Project("coreutils", GPL3L, (r"GNU coreutils",), program=True, owner=FSF),
    Project("grub", GPL3L, (r"GNU GRUB  version %s",), program=True, owner=FSF),
    Project("libmicrohttpd", LGPL21L, (r"Fatal error in GNU libmicrohttpd",), soname="libmicrohttpd.so"),
    Project(
        "libidn2",
        "LGPL-3.0-or-later OR GPL-2.0-or-later",
        (r"string could not be NFC normalized", r"domain label has character forbidden in"),
        2,
        "libidn2.so",
    ),
    # C libraries, kernel, boot, base system
    Project("musl", MIT, (r"musl libc \(",), soname="ld-musl"),
    Project("uclibc", LGPL21L, (r"uClibc(?:-ng)?[ -][01]\.[0-9.]{3,6}",), soname="libc.so.0"),
    Project(
        "linux",
        "GPL-2.0-only WITH Linux-syscall-note",
        (r"Linux version [2-9]\.[0-9]{1,3}\.[0-9]{1,3}[^\n\x00 ]{0,64} \([^\n\x00]{3,60}@",),
        program=True,
    ),
    Project("u-boot", GPL2L, (r"U-Boot (?:SPL |TPL )?20[0-9]{2}\.[0-9]{2}",), program=True),
    Project(
        "busybox", GPL2, (r"BusyBox is a multi-call binary", r"BusyBox is copyrighted by many authors"), program=True
    ),
    Project("util-linux", GPL2L, (r"util-linux 2\.[0-9]{2}",), soname="libmount.so"),
    Project("e2fsprogs", LGPL2L, (r"EXT2FS Library version",), soname="libext2fs.so"),
    Project("systemd", LGPL21L, (r"src/basic/[a-z-]{3,30}\.c", r"src/shared/[a-z-]{3,30}\.c"), 2, "libsystemd"),
    Project("dbus", "AFL-2.1 OR GPL-2.0-or-later", (r"D-Bus not built with -rdynamic",), soname="libdbus-1.so"),
    Project("dropbear", MIT, (r"Dropbear server v",), program=True),
    Project("openssh", "SSH-OpenSSH", (r"OpenSSH_[0-9]{1,2}\.[0-9]p[0-9]",), program=True),
    # networks
    Project("libpcap", BSD3, (r"can't mmap rx ring", r"libpcap version [01]\."), soname="libpcap.so"),
    Project("iptables", GPL2L, (r"iptables who\? \(do you need to insmod\?\)",), soname="libip4tc.so"),
    Project("iproute2", GPL2L, (r"Usage: ip \[ OPTIONS \] OBJECT",), program=True),
    Project(
        "libnl",
        LGPL21L,
        (r"Unspecific failure", r"Attribute type mismatch|Netlink message type is not supported"),
        2,
        "libnl-3.so",
    ),
    Project("dnsmasq", "GPL-2.0-only OR GPL-3.0-only", (r"Dnsmasq version %s",), program=True, owner="Simon Kelley"),
    Project(
        "hostap", BSD3, (r"hostapd v[0-9]\.[0-9]", r"wpa_supplicant v[0-9]\.[0-9]"), program=True, owner="Jouni Malinen"
    ),
    Project("net-snmp", "BSD-3-Clause AND MIT-CMU", (r"NET-SNMP version",), soname="libnetsnmp"),
    Project("strongswan", GPL2L, (r"Starting IKE charon daemon \(strongSwan",), program=True),
    Project("frr", GPL2L, (r"FRRouting \(%s\)|Hello, this is FRRouting",), soname="libfrr.so"),
    Project("quagga", GPL2L, (r"Hello, this is Quagga",), soname="libzebra.so"),
    Project("curl", "curl", (r"A libcurl function was given a bad argument",), soname="libcurl"),
    Project("nghttp2", MIT, (r"Another DATA frame has already been deferred",), soname="libnghttp2.so"),
    Project(
        "c-ares",
        MIT,
        (r"DNS server returned answer with no data", r"c-ares library initialization not yet performed"),
        2,
        "libcares.so",
    ),
    Project("libevent", BSD3, (r"event_base_loop: reentrant invocation",), soname="libevent"),
    Project("dpdk", BSD3, (r"EAL: Detected (?:NUMA|CPU|shared|static)",), soname="librte_eal"),
    Project("usrsctp", BSD3, (r"usrsctplib/netinet/", r"SCTP: ran out of memory in"), soname="libusrsctp"),
    Project("lighttpd", BSD3, (r"lighttpd/1\.[0-9.]{1,6} \((?:ssl\) )?-",), program=True),
    Project("nginx", BSD2, (r"nginx version: nginx/[01]\.",), program=True),
    # telephony and mobile networks
    Project(
        "libosmocore",
        GPL2L,
        (r"Unable to allocate a msgb: name=", r"osmo_log_info == NULL! You must call log_init"),
        1,
        "libosmocore.so",
    ),
    Project("asn1c", BSD2, (r"%s: value not given \(%s:%d\)", r"%s: constraint failed \(%s:%d\)"), 1, "libasn1c"),
    Project("open5gs", AGPL3L, (r"Open5GS daemon ", r"\.\./lib/(?:core|sbi|app|gtp|pfcp)/ogs-"), 1, "libogs"),
    Project("nextepc", AGPL3L, (r"NextEPC daemon ",)),
    Project("free5gc", APACHE, (r"github\.com/free5gc/",), program=True),
    Project("omec", APACHE, (r"github\.com/omec-project/",), program=True),
    Project("magma", BSD3, (r"magma/lte/gateway/c/",)),
    Project("srsran", "AGPL-3.0-only", (r"Software Radio Systems Limited", r"srsran_|srsRAN"), 2, "libsrsran"),
    Project(
        "openairinterface", "LicenseRef-OAI-Public-License-1.1", (r"/openair[123]/", r"OAILOG|OpenAirInterface"), 2
    ),
    Project("freediameter", BSD3, (r"freeDiameterd daemon", r"libfd(?:core|proto)/[a-z_]{2,20}\.c"), 1, "libfd"),
    Project("kamailio", GPL2L, (r"<core> \[core/[a-z_/]{2,40}\.c:",), program=True),
    Project("asterisk", GPL2, (r"Asterisk comes with ABSOLUTELY NO WARRANTY",), program=True),
    Project("freeswitch", "MPL-1.1", (r"FreeSWITCH Version %s",), soname="libfreeswitch"),
    Project("pjproject", GPL2L, (r"pjlib %s for POSIX initialized",), soname="libpj.so"),
    Project("sofia-sip", LGPL21L, (r"sofia-sip/1\.",), soname="libsofia-sip"),
    Project("talloc", LGPL3L, (r"talloc: access after free error",), soname="libtalloc.so"),
    # media
    Project("ffmpeg", LGPL21L, (r"lib(?:avcodec|avutil|avformat|swscale|swresample) license: LGPL",), soname="libav"),
    Project("ffmpeg", GPL2L, (r"lib(?:avcodec|avutil|avformat|swscale|swresample) license: GPL",), soname="libav"),
    Project("x264", GPL2L, (r"x264 - core [0-9]",), soname="libx264.so", owner="x264"),
    Project("x265", GPL2L, (r"x265 \(build [0-9]",), soname="libx265.so"),
    Project("opencv", APACHE, (r"OpenCV\(%s\) Error: %s",), soname="libopencv_core"),
    Project("ghostscript", AGPL3L, (r"GPL Ghostscript",), soname="libgs.so"),
    # data and languages
    Project("sqlite", "blessing", (r"unable to close due to unfinalized statements",), soname="libsqlite3.so"),
    Project("berkeley-db", "Sleepycat", (r"Berkeley DB [2-5]\.[0-9]{1,2}\.[0-9]{1,2}:",), soname="libdb-"),
    Project(
        "berkeley-db", "AGPL-3.0-only", (r"Berkeley DB (?:[6-9]|1[0-9])\.[0-9]{1,2}\.[0-9]{1,2}:",), soname="libdb-"
    ),
    Project("mongodb", "SSPL-1.0", (r"src/mongo/db/[a-z_/]{3,40}\.cpp",), program=True),
    Project("libxml2", MIT, (r"Start tag expected, '<' not found",), soname="libxml2.so"),
    Project("expat", MIT, (r"reference to invalid character number", r"unclosed CDATA section"), 2, "libexpat.so"),
    Project("libyaml", MIT, (r"did not find expected <document start>",), soname="libyaml-0.so"),
    Project("pcre", BSD3, (r"two named subpatterns have the same name \(PCRE_DUPNAMES",), soname="libpcre.so"),
    Project(
        "pcre2",
        "BSD-3-Clause WITH PCRE2-exception",
        (r"two named subpatterns have the same name \(PCRE2_DUPNAMES",),
        soname="libpcre2",
    ),
    Project("glib", LGPL21L, (r"GLib: Cannot convert message: %s",), soname="libglib-2.0.so"),
    Project("boost", "BSL-1.0", (r"N5boost(?:[1-9]|[12][0-9])[a-z]",), soname="libboost"),
    Project("protobuf", BSD3, (r"\[libprotobuf %s %s:%d\]",), soname="libprotobuf.so"),
    Project("protobuf-c", BSD2, (r"protobuf-c/protobuf-c\.c",), soname="libprotobuf-c.so"),
    Project("grpc", APACHE, (r"src/core/(?:lib|ext)/[a-z_/]{3,60}\.cc",), soname="libgrpc"),
    Project("jemalloc", BSD2, (r"<jemalloc>: ",), soname="libjemalloc.so"),
    Project("gperftools", BSD3, (r"tcmalloc: large alloc",), soname="libtcmalloc"),
    Project(
        "lua",
        MIT,
        (r"\$LuaVersion: Lua 5|Lua 5\.[0-9.]{1,4}  Copyright \(C\) 1994-",),
        soname="liblua",
        owner="PUC-Rio",
    ),
    Project("python", "PSF-2.0", (r"Could not find platform independent libraries <prefix>",), soname="libpython"),
    Project("perl", "Artistic-1.0-Perl OR GPL-1.0-or-later", (r"Can't locate object method %",), soname="libperl.so"),
    Project(
        "qt",
        "LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only",
        (r"QThread: Destroyed while thread is still running",),
        soname="libQt",
    ),
)
