"""Who can get in, and with what."""

from typing import Annotated, ClassVar

from .base import ContentFact, TreeFact, doc


class AccountEntry(ContentFact, frozen=True, kw_only=True, array_like=True):
    """One line of an account database, without any secret."""

    source: ClassVar = "passwd(5), shadow(5), group(5), gshadow(5), crypt(5)"

    database: Annotated[str, doc("passwd, shadow, group, gshadow")]
    name: Annotated[str, doc("account or group")]
    uid: Annotated[int | None, doc("user number")] = None
    gid: Annotated[int | None, doc("group number")] = None
    home: Annotated[str | None, doc("home directory")] = None
    shell: Annotated[str | None, doc("login shell as written; an empty field means /bin/sh")] = None
    password: Annotated[
        str, doc("state of the field: empty, locked (! or *), elsewhere (x), hash, none (no such field), invalid")
    ] = "none"
    scheme: Annotated[
        str | None,
        doc(
            "hash scheme: descrypt, bsdicrypt, md5crypt, bcrypt, sha256crypt, sha512crypt, yescrypt, scrypt, gost-yescrypt, nt, sunmd5, unknown"
        ),
    ] = None
    locked: Annotated[bool, doc("a hash is there but disabled by a leading '!'")] = False
    members: Annotated[list[str], doc("members of a group, as JSON array")] = []
    last_change: Annotated[int | None, doc("last password change", unit="days since 1970-01-01")] = None
    max_days: Annotated[int | None, doc("maximum password age", unit="days")] = None
    expires: Annotated[int | None, doc("account expiry", unit="days since 1970-01-01")] = None


class Account(TreeFact, frozen=True, kw_only=True, array_like=True):
    """One operating-system account, as passwd, shadow and group together make it."""

    source: ClassVar = "passwd(5), shadow(5), group(5)"

    name: Annotated[str, doc("account")]
    uid: Annotated[int | None, doc("user number")]
    gid: Annotated[int | None, doc("primary group")]
    home: Annotated[str | None, doc("home directory")]
    shell: Annotated[str | None, doc("login shell, with the default /bin/sh where the field is empty")]
    login_shell: Annotated[bool, doc("the shell lets a person in: not nologin, false, sync, halt, shutdown")]
    shell_exists: Annotated[bool | None, doc("the shell is a file of this tree; empty if the tree could not tell")]
    password: Annotated[
        str, doc("empty, locked, hash, missing (no shadow entry), invalid, unknown (shadow not readable)")
    ]
    scheme: Annotated[str | None, doc("hash scheme")] = None
    groups: Annotated[list[str], doc("supplementary groups, as JSON array")] = []
    authorized_keys: Annotated[int, doc("keys in the account's ~/.ssh/authorized_keys")] = 0
    shadow_path: Annotated[str | None, doc("file that held the password field, if not the passwd file")] = None
    shadow_line: Annotated[int | None, doc("line there")] = None


class Credential(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A secret or verifier found in a content: its kind, place and fingerprint. Never the secret."""

    source: ClassVar = "RFC 7468, RFC 5958, RFC 4716, PROTOCOL.key (OpenSSH), crypt(5)"
    index: ClassVar = ("kind", "fingerprint")

    kind: Annotated[
        str,
        doc(
            "private-key, password-hash, token, authorized-key, subscriber-key (K, OP, OPc), community, passphrase, "
            "shared-key, secret (a value whose name says so), hard-coded (a literal used as one in a script, configuration "
            "or program)"
        ),
    ]
    scheme: Annotated[
        str,
        doc(
            "RSA, EC, Ed25519, DSA, ...; a hash scheme; the issuer format of a token; of a hard-coded one how it stands: "
            "assignment, default, comparison, element, connection-string, argument, expect, http-basic, netrc, pgpass, call"
        ),
    ]
    fingerprint: Annotated[
        str | None,
        doc(
            "SHA-256: of the public key (SubjectPublicKeyInfo) where the key can be read, else of the exact secret text"
        ),
    ] = None
    bits: Annotated[int | None, doc("key size", unit="bits")] = None
    encrypted: Annotated[bool | None, doc("the key is protected by a passphrase; empty if it cannot be told")] = None
    subject: Annotated[
        str | None,
        doc("account that a hash belongs to; comment of a key; variable, option or function of a hard-coded one"),
    ] = None
    evidence: Annotated[str, doc("what the observation rests on: parsed, pem-header, pattern, field, call")] = "parsed"


class RequestCommand(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A place in a script where text of a request reaches a command or an interpreter, within a few statements."""

    source: ClassVar = "RFC 3875 (CGI); the manuals of PHP, Python, Perl, Lua, shells, Jakarta Servlet, Node.js"
    index: ClassVar = ("sink",)

    language: Annotated[str, doc("php, python, perl, lua, sh, java, javascript")]
    sink: Annotated[
        str,
        doc(
            "what it reaches: the function (system, eval, popen, exec, include, assert, os.execute, ...), backtick, "
            "call (the name of the function itself comes from it), command (a shell's word that is run), argument (an "
            "unquoted word behind a command)"
        ),
    ]
    request: Annotated[str, doc("where it comes from: $_GET, QUERY_STRING, getParameter, formvalue, req.query, ...")]
    variable: Annotated[str | None, doc("the variable that carries it from one statement to the other")] = None
    text: Annotated[str, doc("the statement of the sink, at most 200 characters, secrets withheld")] = ""


class ProductAccount(ContentFact, frozen=True, kw_only=True, array_like=True):
    """An account of an application, in its own store: a database, a password file, a seed. Never a secret."""

    source: ClassVar = "htpasswd(1), RFC 2849 (LDIF), sqlite.org/fileformat2, BSON 1.1; column and key names"

    store: Annotated[str, doc("htpasswd, ldif, sqlite, bson, json, yaml, sql, ...")]
    container: Annotated[str | None, doc("table, collection, object or section it stands in")] = None
    name: Annotated[str, doc("account name; empty if the entry has none")]
    role: Annotated[str | None, doc("role, group or privilege as written")] = None
    password: Annotated[str, doc("empty, clear, hash, locked, absent, unknown")] = "unknown"
    scheme: Annotated[str | None, doc("hash scheme")] = None
    fingerprint: Annotated[str | None, doc("SHA-256 of the exact password or hash text")] = None
    enabled: Annotated[bool | None, doc("whether the entry says that the account is active")] = None


class KnownPassword(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A password or hash that is one of a published list of defaults. Shows which entry of the list, not the password."""

    source: ClassVar = "the list named in `origin`"

    account: Annotated[str, doc("account that has it; empty if it stands alone")]
    scheme: Annotated[str, doc("clear, or the hash scheme")]
    fingerprint: Annotated[str, doc("SHA-256 of the exact password or hash text, as in credential and product_account")]
    origin: Annotated[str, doc("which list, and its version")]
    entry: Annotated[int, doc("line of that list")]
    empty: Annotated[bool, doc("it is the hash of an empty password")] = False


class Escalation(TreeFact, frozen=True, kw_only=True, array_like=True):
    """A configured means to act with other rights than one's own."""

    source: ClassVar = "sudoers(5), doas.conf(5), polkit(8), pam_wheel(8), su(1), capabilities(7)"

    mechanism: Annotated[str, doc("sudo, doas, polkit, su, setuid, file-capability")]
    who: Annotated[str, doc("account, %group, #uid, ALL, or everyone")]
    target: Annotated[
        str, doc("account whose rights it gives; root, ALL; empty if none is named (a group only, an action of polkit)")
    ]
    command: Annotated[str, doc("command or action, as written; ALL")]
    password: Annotated[
        bool | None, doc("asks for a password; empty if it cannot be told. Root is asked for none by sudo and su")
    ] = None
    target_group: Annotated[str | None, doc("group whose rights it gives, where one is named")] = None
    condition: Annotated[
        str | None, doc("where or when it holds: on HOSTS; allow_any, allow_inactive, allow_active (polkit's sessions)")
    ] = None
    options: Annotated[
        list[str], doc("tags, options and digests in force, as written (NOEXEC, keepenv, auth_admin_keep); JSON array")
    ] = []
    excepting: Annotated[
        list[str], doc("what is taken out again, each behind user, target, host or command; JSON array")
    ] = []
    installed: Annotated[
        bool | None,
        doc(
            "the program that gives the rights by this policy (sudo, doas, polkitd, su) is in this tree; empty: not looked for"
        ),
    ] = None


class Entrance(TreeFact, frozen=True, kw_only=True, array_like=True):
    """One way in: an account, key, console, listener, agent or page through which somebody could act on the system."""

    source: ClassVar = "the inspector's reference page; the fact that it rests on is named by path and line"
    index: ClassVar = ("kind",)

    kind: Annotated[
        str,
        doc(
            "os-account, ssh-key, console, debug-shell, remote-management, support-tunnel, web-script; the view way_in has the other families' ways in"
        ),
    ]
    name: Annotated[str, doc("account, key comment, terminal, agent or script")]
    detail: Annotated[str, doc("one line: what it gives, under which condition")] = ""
    active: Annotated[bool | None, doc("open as the image starts; empty if it cannot be told")] = None
    evidence: Annotated[
        str, doc("what it rests on: parsed (a database or setting read), unit, name (a program's name), text")
    ]
