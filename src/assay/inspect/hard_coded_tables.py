"""What says that a literal is a credential: names, options, arguments of functions; and what speaks against it.

Source: the programs' manual pages (sshpass(1), curl(1), mysql(1), psql(1), wget(1), snmpcmd(1), ldapsearch(1),
openssl-passphrase-options(1), ipmitool(1), smbclient(1), redis-cli(1), mosquitto_pub(1), chpasswd(8), passwd(1),
htpasswd(1), 7z(1), zip(1)); the manuals of PHP and Python for functions; the libraries' headers for those of binaries.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

WORDS = (
    rb"(?:passw(?:or)?d|passphrase|passcode|pass|pwd|[^a-z]pw|secret|token|psk"
    rb"|(?:api|access|secret|private|auth|encryption|encrypt|crypt|aes|shared|master)[_-]?key|\.key)[0-9]{0,2}"
)
"""How the name of a secret ends, in either case."""

PASSWORD_NAME = re.compile(
    r"(?i:passw(?:or)?d|passphrase|passcode|psk|wireless\..{1,64}\.key|(?:db|user|admin|root|my|web|ftp|smtp|mail|sql|wifi"
    r"|login|auth|proxy|http|snmp|ssh|def|default|bind|ldap)pass|(?:\A|[_.$-])(?:pass|pwd|pw)|[a-z]_?pwd)[0-9]{0,2}\Z"
    r"|(?:[a-z]Pass|[A-Z]{2}PASS)[0-9]{0,2}\Z"
)
PLAIN_NAME = re.compile(r"(?:.*[.>$\[\"'_-])?(?:pw|pwd|passwd|password|passphrase|passcode)[0-9]?", re.IGNORECASE)
"""Names that hold nothing but a password: what they are compared with is one, if it is a plain word, too."""
SECRET_NAME = re.compile(r"secret[0-9]{0,2}\Z", re.IGNORECASE)
KEY_NAME = re.compile(r"(?:token|key)[0-9]{0,2}\Z", re.IGNORECASE)
_SWITCHES = (
    r"\A(?-i:(?:OLD)?PWD)\Z|(?:continuation|request|client|page|lifecycle|update|sync|resume)_?-?token\Z"
    r"|(?:\A|[_.-]|(?<=[a-z])(?=[A-Z]))(?:no|is|has|needs?|requires?d?|use|ask|show|hide|forgot(?:ten)?|reset|change|confirm"
    r"|verify|check|invalid|wrong|bad|missing|allow|enable|disable|with|without|repeat|retype|enter|lost|expired|next"
    r"|current|first|last|multi|two|single|one|csrf|xsrf|lex|parse|syntax|test|by|low|high|band|render|num|set|public|unix"
    r"|nsswitch|cancell?ation|cancel|stop|end|start|type|design|css)_?-?"
    r"(?:passw(?:or)?d|passphrase|pass|pwd|secret|token|key)[0-9]{0,2}\Z"
)


def is_a_secret(name: str) -> bool:
    """Tell the name of a secret from those of switches, questions, messages and parts of languages."""
    return _no_secret().search(name) is None


@cache
def _no_secret() -> re.Pattern[str]:
    return re.compile(_SWITCHES, re.IGNORECASE)


NOT_A_VALUE = frozenset(
    """none null nil nul true false yes no on off undefined unset empty default-value n/a na todo fixme tbd required
    optional sufficient requisite string str text bool boolean int integer char varchar bytes binary object array list
    dict any auto prompt ask interactive stdin file files env keyring external disabled enabled hidden mandatory
    compat db nis nisplus ldap sss winbind systemd hesiod pam sasl plain base64 hex ascii utf-8 utf8 md5 sha1 sha256
    sha512 crypt bcrypt sha-256 redacted omitted withheld removed masked example placeholder value your literal
    hashed encrypted unencrypted blank same inherit error failed failure success ok bad invalid wrong missing
    keychain secret-tool gnome-keyring kwallet input field label name title message description passwordbox
    define undef foo bar baz qux foobar blah dummy""".split()  # noqa: SIM905 - a list of words
)
"""Words that say how a password is had, or what kind of value it is, in lower case."""

PLACEHOLDER = re.compile(
    r"\A(?:[xX*.?#_=-]{2,}|(.)\1{3,})\Z"  # ****, xxxx, ----, aaaa
    r"|[<>]|\$[A-Za-z_({]|\{\{|\}\}|\{[\w.: ]*\}|%[sdiuvxq(@{]|%%|\[(?!\d)[\w -]+\]|\\[nrtu$]|\.\.\."
    r"|@[A-Z_]{3,}@|__[A-Z_]+__"
    r"|(?i:\Ayour|\Amy[-_ ]|your[-_ ]|\Aenter[-_ ]|\Ainsert[-_ ]|_here\Z|-here\Z|placeholder"
    r"|\Asome[-_]|\Athe[-_]|\Athis[-_]|\Aexample)"
)
"""A place to put a password."""

STRANGE = re.compile(
    r"\A(?:pass|env|file|fd|stdin):|\A[0-9]+/(?:tcp|udp|sctp)\Z|[^!-~]|\A[./\[(<*\\|=,;:&?+]|[(){}|]|\A--|\Ahttps?:|::|\A[0-9]+(?:\.[0-9]+)+\Z|\A[#@-][A-Za-z_-]+\Z|://|\\"
)
"""What hardly stands in a password, but in paths, selectors, patterns, calls and messages."""

NAME_LIKE = re.compile(
    r"[A-Za-z]+(?:[_.:/-][A-Za-z0-9]*)+|[a-z]+(?:[A-Z][a-z0-9]*)+|(?:[A-Z][a-z0-9]+){2,}|[A-Z][A-Z_0-9]*_[A-Z_0-9]*"
)
"""Names of variables, fields, modules, in all the usual ways."""

LABEL = re.compile(
    r"[A-Za-z_.-]*(?:pass(?:w(?:or)?d)?|pwd|passphrase|secret|token|key)[A-Za-z_.-]*[0-9]{0,2}", re.IGNORECASE
)
"""Names of a secret: newPassword1."""

AMBIGUOUS = frozenset(
    "password pass secret system default debug test service support public private setup user".split()  # noqa: SIM905 - a list of words
)
"""Default passwords that are everyday words of programs, too."""


class Option(NamedTuple):
    """A credential among the arguments of a program. What it compiles is compiled when first used."""

    name: str
    """What the fact tells as its subject."""
    trigger: bytes
    pattern: bytes

    @property
    def exact(self) -> re.Pattern[bytes]:
        """Matches from the trigger's start; has the group `secret`, quoted or not."""
        return compiled(self.pattern.replace(b"~ARG", _ARG).replace(b"~", _REST))

    @property
    def start(self) -> re.Pattern[bytes]:
        """Finds the trigger's start from its end."""
        return compiled(rb"(?<![\w./-])(?:" + self.trigger + rb")\Z")


@cache
def compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Return a compiled expression, kept."""
    return re.compile(pattern)


_ARG = rb"""(?P<secret>"[^"\r\n]{1,128}"|'[^'\r\n]{1,128}'|[^\s"'`;|&<>(),]{1,128})"""
_REST = rb"[^\r\n;|&]{0,300}?"


# In `pattern`, ~ stands for other arguments and ~ARG for the secret, quoted or not.
OPTIONS = (
    Option("sshpass -p", rb"sshpass ", rb"sshpass ~\s?-p\s{0,4}~ARG"),
    Option("curl -u", rb"curl ", rb"curl ~\s(?:-u\s{0,4}|--user[ =]|-U\s{0,4}|--proxy-user[ =])[\"']?[\w.@\\-]{1,64}:"
            rb"(?P<secret>[^\s\"'`;|&<>(),]{1,128})"),
    Option("mysql -p", rb"mysql(?:dump|admin|import)? ", rb"mysql(?:dump|admin|import)? ~\s?(?:-p|--password=)~ARG"),
    Option("mariadb -p", rb"mariadb(?:-dump|-admin)? ", rb"mariadb(?:-dump|-admin)? ~\s?(?:-p|--password=)~ARG"),
    Option("wget --password", rb"wget ", rb"wget ~\s?--(?:(?:http|ftp|proxy)-)?password[= ]~ARG"),
    Option("snmp -c", rb"snmp(?:get|getnext|walk|bulkget|bulkwalk|set|trap|inform|table|status|df) ",
            rb"snmp[a-z]{2,10} ~\s?-c\s{0,4}~ARG"),
    Option("snmp -A", rb"snmp(?:get|getnext|walk|bulkget|bulkwalk|set|trap|inform|table|status|df) ",
            rb"snmp[a-z]{2,10} ~\s?-A\s{0,4}~ARG"),
    Option("snmp -X", rb"snmp(?:get|getnext|walk|bulkget|bulkwalk|set|trap|inform|table|status|df) ",
            rb"snmp[a-z]{2,10} ~\s?-X\s{0,4}~ARG"),
    Option("ldap -w", rb"ldap(?:search|modify|add|delete|passwd|whoami|compare|modrdn) ",
            rb"ldap[a-z]{3,7} ~\s?-w\s{0,4}~ARG"),
    Option("openssl -k", rb"openssl enc ", rb"openssl enc ~\s?-k\s{1,4}~ARG"),
    Option("openssl pass:", rb"pass:[!-~]", rb"pass:~ARG"),
    Option("ipmitool -P", rb"ipmitool ", rb"ipmitool ~\s?-P\s{1,4}~ARG"),
    Option("smbclient -U", rb"smbclient ", rb"smbclient ~\s?(?:-U\s{0,4}|--user=)[\"']?[\w.\\/-]{1,64}%"
            rb"(?P<secret>[^\s\"'`;|&<>(),]{1,128})"),
    Option("redis-cli -a", rb"redis-cli ", rb"redis-cli ~\s?-a\s{1,4}~ARG"),
    Option("mosquitto -P", rb"mosquitto_(?:pub|sub|rr) ", rb"mosquitto_[a-z]{2,3} ~\s?-P\s{1,4}~ARG"),
    Option("lftp -u", rb"lftp ", rb"lftp ~\s?-u\s{1,4}[\"']?[\w.@-]{1,64},(?P<secret>[^\s\"'`;|&<>()]{1,128})"),
    Option("htpasswd -b", rb"htpasswd ", rb"htpasswd ~-[A-Za-z]{0,6}b[A-Za-z]{0,6}\s{1,4}"
            rb"(?:-\S+\s+){0,3}\S{1,200}\s{1,4}[\w.@-]{1,64}\s{1,4}~ARG"),
    Option("zip -P", rb"(?:zip|unzip) ", rb"(?:un)?zip ~\s?-P\s{1,4}~ARG"),
    Option("7z -p", rb"7z[ar]? ", rb"7z[ar]? ~\s-p~ARG"),
    Option("gpg --passphrase", rb"gpg2? ", rb"gpg2? ~\s?--passphrase[ =]~ARG"),
    Option("keytool -storepass", rb"keytool ", rb"keytool ~\s?-(?:store|key)pass\s{1,4}~ARG"),
    Option("wpa_passphrase", rb"wpa_passphrase ", rb"""wpa_passphrase (?:"[^"\r\n]{1,40}"|\S{1,40}) ~ARG"""),
    Option("useradd -p", rb"(?:useradd|usermod) ", rb"user(?:add|mod) ~\s?(?:-p|--password)\s{1,4}~ARG"),
    Option("openssl passwd", rb"openssl passwd ",
            rb"openssl passwd (?:-salt\s{1,4}\S{1,40}\s{1,4}|-\S{1,20}\s{1,4}){0,6}(?!-)~ARG"),
    Option("docker login -p", rb"docker login ", rb"docker login ~\s?(?:-p|--password)[ =]~ARG"),
)  # fmt: skip

_ECHO = rb"""(?:echo|printf)\s+(?:-[neE]+\s+)?["']?"""
_INTO = rb"""\s*\|\s*(?:/\S{0,40}/|sudo\s+|busybox\s+|chroot\s+\S+\s+)*"""

DOCUMENT = re.compile(
    rb"""chpasswd\b[^\n|;]{0,80}<<-?[ \t]{0,4}(["']?)\w{1,40}\1[^\n]{0,80}\n"""
    rb"""(?P<lines>(?:[ \t]{0,40}[\w.-]{1,32}:[^\s:]{1,128}\n){1,20})"""
)
"""Lines of a here-document that sets passwords."""

PIPES = (
    ("chpasswd", _ECHO + rb"""[\w.-]{1,32}:(?P<secret>[^\s"'`|:\\]{1,128})(?:\\n)?["']?""" + _INTO + rb"chpasswd\b"),
    (
        "chpasswd",
        rb"""printf\s+["']%s:%s(?:\\n)?["']\s+\S{1,34}\s+["']?(?P<secret>[^\s"'`|:\\]{1,128})["']?"""
        + _INTO
        + rb"chpasswd\b",
    ),
    ("chpasswd", rb"""passwd\b[^|;&<]{0,60}<<<\s*["']?[\w.-]{1,32}:(?P<secret>[^\s"'`|:\\]{1,128})"""),
    (
        "passwd --stdin",
        _ECHO + rb"""(?P<secret>[^\s"'`|\\]{1,128})(?:\\n[^\s"'|]{0,140})?["']?""" + _INTO + rb"passwd\b",
    ),
)
"""Credentials that are written to a program that sets passwords."""

FUNCTIONS = {
    "mysql_connect": 3, "mysql_pconnect": 3, "mysqli_connect": 3, "mysqli": 3, "PDO": 3, "ftp_login": 3,
    "ssh2_auth_password": 3, "ldap_bind": 3, "imap_open": 3, "HTTPBasicAuth": 2, "HTTPDigestAuth": 2, "login": 2,
    "username_pw_set": 2, "simple_bind_s": 2, "UsmUserData": 2, "set_password": 1, "setPassword": 1,
}  # fmt: skip
"""Functions of scripts: which argument is the secret, from 1."""

CALLS: dict[str, int] = {
    "mosquitto_username_pw_set": 3,
    "mysql_real_connect": 4,
    "mysql_change_user": 3,
    "ssh_userauth_password": 3,
    "libssh2_userauth_password_ex": 4,
    "ldap_simple_bind_s": 3,
    "ldap_simple_bind": 3,
    "ldap_bind_s": 3,
    "crypt": 1,
    "crypt_r": 1,
    "generate_Ku": 3,
    "pam_set_item": 3,
    "curl_easy_setopt": 3,
    "SSL_CTX_set_default_passwd_cb_userdata": 2,
    "PKCS12_parse": 2,
    "PEM_read_bio_PrivateKey": 4,
    "PEM_read_PrivateKey": 4,
    "PKCS5_PBKDF2_HMAC": 1,
    "PKCS5_PBKDF2_HMAC_SHA1": 1,
    "sqlite3_key": 2,
    "archive_read_add_passphrase": 2,
    "archive_write_set_passphrase": 2,
    "zip_set_default_password": 2,
    "unzOpenCurrentFilePassword": 2,
    "gnutls_x509_privkey_import2": 4,
    "gnutls_pkcs12_verify_mac": 2,
    "mbedtls_pk_parse_key": 4,
    "mbedtls_pk_parse_keyfile": 3,
}
"""Functions of libraries: which argument is the secret, from 1."""

SELECTED = {
    "curl_easy_setopt": {
        10005: "CURLOPT_USERPWD",
        10006: "CURLOPT_PROXYUSERPWD",
        10026: "CURLOPT_KEYPASSWD",
        10174: "CURLOPT_PASSWORD",
        10176: "CURLOPT_PROXYPASSWORD",
        10220: "CURLOPT_XOAUTH2_BEARER",
    },
    "pam_set_item": {6: "PAM_AUTHTOK", 7: "PAM_OLDAUTHTOK"},
}
"""Functions whose argument is a secret only if the second one says so: its values."""

COMPARING = ("strcmp", "strncmp", "strcasecmp", "strncasecmp", "memcmp")
PASSWORD_GIVING = ("getpass", "crypt", "crypt_r")
"""Functions that return a password, or the hash of one."""

ACCOUNTS = frozenset(
    """root admin administrator super superuser superadmin supervisor support service operator oper manager
    engineer maintenance maint technician tech debug factory telecomadmin telnetadmin user guest sysadmin cli
    installer diag ftpuser""".split()  # noqa: SIM905 - a list of words
)
"""Names of accounts, whose comparison says that what is compared beside it may be a password."""
