"""Built-in defaults of the OpenSSH server, by version: data only.

From sshd_config(5) and the algorithm lists of the portable releases 7.0 to 10.0. A distribution may patch its own; what
is known of such patches is not in here.
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, int]

FIRST: Version = (7, 0)
"""Oldest version that the table speaks of."""

LAST: Version = (10, 0)
"""Newest version that the table speaks of."""


class Default(NamedTuple):
    """What a keyword is when no file sets it."""

    key: str
    value: str
    since: Version = FIRST
    """First version of which the value is stated here."""
    until: Version | None = None
    """First version of which it is no longer stated; None if it holds in the newest."""


_CIPHERS = "chacha20-poly1305@openssh.com,{}"
_CTR = "aes128-ctr,aes192-ctr,aes256-ctr"
_GCM = "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
_MACS = (
    "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
    "hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1"
)
_CURVES = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521"
_GROUPS = (
    "diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,"
    "diffie-hellman-group14-sha256"
)
_SNTRUP = "sntrup761x25519-sha512@openssh.com"
_MLKEM = "mlkem768x25519-sha256"

_SIGNATURES = (
    "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,"
    "ecdsa-sha2-nistp521-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com,"
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,"
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,"
    "sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"
)

_AUTHORITIES = (
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,"
    "sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"
)

DEFAULTS = (
    Default("addressfamily", "any"),
    Default("allowagentforwarding", "yes"),
    Default("allowstreamlocalforwarding", "yes"),
    Default("allowtcpforwarding", "yes"),
    Default("authenticationmethods", "any"),
    Default("authorizedkeyscommand", "none"),
    Default("authorizedkeyscommanduser", "none"),
    Default("authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
    Default("authorizedprincipalscommand", "none"),
    Default("authorizedprincipalscommanduser", "none"),
    Default("authorizedprincipalsfile", "none"),
    Default("banner", "none"),
    Default("casignaturealgorithms", _AUTHORITIES, (9, 0)),
    Default("chrootdirectory", "none"),
    Default("ciphers", _CIPHERS.format(f"{_CTR},{_GCM}"), (7, 0), (10, 0)),
    Default("ciphers", _CIPHERS.format(f"{_GCM},{_CTR}"), (10, 0)),
    Default("clientalivecountmax", "3"),
    Default("clientaliveinterval", "0"),
    Default("compression", "delayed", (7, 0), (7, 4)),
    Default("compression", "yes", (7, 4)),
    Default("disableforwarding", "no", (7, 4)),
    Default("exposeauthinfo", "no", (7, 6)),
    Default("fingerprinthash", "sha256"),
    Default("forcecommand", "none"),
    Default("gatewayports", "no"),
    Default("gssapiauthentication", "no"),
    Default("hostbasedacceptedalgorithms", _SIGNATURES, (8, 8)),
    Default("hostbasedauthentication", "no"),
    Default("hostbasedusesnamefrompacketonly", "no"),
    Default("hostkey", "/etc/ssh/ssh_host_rsa_key", (7, 8)),
    Default("hostkey", "/etc/ssh/ssh_host_ecdsa_key", (7, 8)),
    Default("hostkey", "/etc/ssh/ssh_host_ed25519_key", (7, 8)),
    Default("hostkeyagent", "none"),
    Default("hostkeyalgorithms", _SIGNATURES, (8, 8)),
    Default("ignorerhosts", "yes"),
    Default("ignoreuserknownhosts", "no"),
    Default("kbdinteractiveauthentication", "yes"),
    Default("kerberosauthentication", "no"),
    Default("kexalgorithms", f"{_CURVES},{_GROUPS},diffie-hellman-group14-sha1", (7, 4), (8, 2)),
    Default("kexalgorithms", f"{_CURVES},{_GROUPS}", (8, 2), (8, 9)),
    Default("kexalgorithms", f"{_CURVES},{_SNTRUP},{_GROUPS}", (8, 9), (9, 0)),
    Default("kexalgorithms", f"{_SNTRUP},{_CURVES},{_GROUPS}", (9, 0), (9, 9)),
    Default("kexalgorithms", f"sntrup761x25519-sha512,{_SNTRUP},{_MLKEM},{_CURVES},{_GROUPS}", (9, 9), (10, 0)),
    Default("kexalgorithms", f"{_MLKEM},sntrup761x25519-sha512,{_SNTRUP},{_CURVES}", (10, 0)),
    Default("logingracetime", "120"),
    Default("loglevel", "INFO"),
    Default("macs", _MACS, (7, 4)),
    Default("maxauthtries", "6"),
    Default("maxsessions", "10"),
    Default("maxstartups", "10:30:100"),
    Default("passwordauthentication", "yes"),
    Default("permitemptypasswords", "no"),
    Default("permitlisten", "any", (7, 8)),
    Default("permitopen", "any"),
    Default("permitrootlogin", "prohibit-password"),
    Default("permittty", "yes"),
    Default("permittunnel", "no"),
    Default("permituserenvironment", "no"),
    Default("permituserrc", "yes"),
    Default("persourcemaxstartups", "none", (8, 5)),
    Default("persourcenetblocksize", "32:128", (8, 5)),
    Default("port", "22"),
    Default("printlastlog", "yes"),
    Default("printmotd", "yes"),
    Default("pubkeyacceptedalgorithms", _SIGNATURES, (8, 8)),
    Default("pubkeyauthentication", "yes"),
    Default("pubkeyauthoptions", "none", (8, 2)),
    Default("rekeylimit", "default none"),
    Default("requiredrsasize", "1024", (9, 1)),
    Default("revokedkeys", "none"),
    Default("securitykeyprovider", "internal", (8, 2)),
    Default("streamlocalbindmask", "0177"),
    Default("streamlocalbindunlink", "no"),
    Default("strictmodes", "yes"),
    Default("syslogfacility", "AUTH"),
    Default("tcpkeepalive", "yes"),
    Default("trustedusercakeys", "none"),
    Default("unusedconnectiontimeout", "none", (9, 2)),
    Default("usedns", "no"),
    Default("usepam", "no"),
    Default("versionaddendum", "none"),
    Default("x11displayoffset", "10"),
    Default("x11forwarding", "no"),
    Default("x11uselocalhost", "yes"),
)


def defaults(version: Version | None) -> list[Default]:
    """Return the defaults that hold in a version, or, where it is not known, those that hold in all from FIRST to LAST.

    A version outside the table gives none: what is not known is not claimed.
    """
    if version is None:
        return [default for default in DEFAULTS if default.since == FIRST and default.until is None]
    if not FIRST <= version <= LAST:
        return []
    return [
        default
        for default in DEFAULTS
        if default.since <= version and (default.until is None or version < default.until)
    ]
