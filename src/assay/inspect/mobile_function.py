"""What inspectors of mobile core and radio software share: files as trees of keys, one set of words for settings.

Each software names the same thing otherwise (`ciphering_order`, `cipheringOrder`, `supported_encryption_algorithms`).
Their `Directive` facts keep the words of the file; their `Setting` facts have the keys below, and the basis names the
word of the file. Sources: 3GPP TS 33.501 5.5 and 13, TS 33.401 5.1 and 7.2, TS 23.501 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from assay.facts.network import Listener
from assay.facts.package import Package
from assay.facts.service import Directive, Setting

from .base import Content, Tree, TreeFile
from .late import late
from .secrecy import WITHHELD, withhold
from .yaml_format import documents, dotted, flatten

KEYS = {
    "nas.ciphering": "algorithms for ciphering between terminal and core, first preferred: NEA0, EEA2, ...",
    "nas.integrity": "algorithms for integrity between terminal and core, first preferred: NIA2, EIA0, ...",
    "as.ciphering": "algorithms for ciphering between terminal and radio station, first preferred",
    "as.integrity": "algorithms for integrity between terminal and radio station, first preferred",
    "up.ciphering": "whether bearers of user data are ciphered: yes, no, required, preferred, not_needed",
    "up.integrity": "whether bearers of user data are protected in integrity: the same words",
    "sbi.scheme": "http or https of the service-based interface; one for each of its servers",
    "sbi.client-scheme": "http or https where the function calls others, if it states it apart from addresses",
    "sbi.verify-client": "whether its server asks callers for a certificate: yes or no",
    "sbi.verify-server": "whether it verifies the certificate of those that it calls: yes or no",
    "sbi.oauth2": "whether access tokens (TS 33.501 13.4) are asked for: yes or no",
    "sbi.key-log": "file that TLS session keys are written to",
    "n32.scheme": "http or https between networks (SEPP)",
    "nrf": "address of the repository function as written",
    "plmn": "networks served, as MCC-MNC",
    "tac": "tracking areas served, as written",
    "database": "address of the database as written, without its password",
    "log.level": "level of logging as written; with the domain behind a colon where it holds for one",
    "log.file": "file that is logged to",
    "capture": "file that messages are captured to",
    "unauthenticated": "whether terminals without authentication are let in (emergency): yes or no",
}
"""Words for settings, and what each says."""

SAMPLES = ("/usr/share/doc/", "/usr/share/examples/", "/usr/src/")

MAX_KEY = 256
"""Characters of a value's path."""
MAX_SCALARS = 50_000

_STEP = late(r"\[(\d+)\]|([^.\[]+)")
_SECRET = late(r"(?:^|[._-])(?:\w*pass(?:wd|word|phrase)?|pwd|\w*secret|psk|community|token)$", re.IGNORECASE)
_SUBSCRIBER = late(
    r"(?:k|ki|key|op|opc|\w*permanent_?key\w*|\w*opc?_?(?:key|value)|usim_key|operator_key)$", re.IGNORECASE
)
_HEXADECIMAL = late(r"(?:0x)?(?:[0-9A-Fa-f]{2}[ :]?){16,32}")
_VERSION = late(r"(?:\d+:)?([0-9][0-9.]*[0-9]|[0-9])")


def is_sample(path: str) -> bool:
    """Tell whether a file is documentation of how a configuration may look."""
    return path.startswith(SAMPLES) or "/examples/" in path or path.endswith((".in", ".example", ".sample"))


def shown(key: str, value: str) -> str:
    """Return a value as a fact may hold it: what its key names as a secret, or a subscriber's key, is left out."""
    last = key.rpartition(".")[2]
    if value and (_SECRET.search(last) or (_SUBSCRIBER.match(last) and _HEXADECIMAL.fullmatch(value))):
        return WITHHELD
    return withhold(value)


def yaml_directives(dialect: str, content: Content) -> Iterator[Directive]:
    """Yield one directive a scalar of a YAML text; its key is the path, `amf.sbi.server[0].address`.

    Raises:
        ValueError: the text is not YAML, or larger than a limit.
    """
    count = 0
    for number, root in enumerate(documents(content.text()), 1):
        section = f"document {number}" if number > 1 else None
        for path, scalar, line in flatten(root):
            key = dotted(path)
            count += 1
            if len(key) > MAX_KEY or count > MAX_SCALARS:  # aliases and long keys multiply
                raise ValueError(f"more than {MAX_SCALARS} values, or a path of more than {MAX_KEY} characters")
            yield Directive(dialect=dialect, section=section, key=key, value=shown(key, scalar.value), line=line)


class View:
    """Directives as the tree that their keys describe. Missing parts are empty views."""

    def __init__(self) -> None:
        self.below: dict[str, View] = {}
        self.leaf: Directive | None = None

    @classmethod
    def of(cls, directives: Iterable[Directive]) -> View:
        """Return the tree of some directives; the last one of a key counts."""
        root = cls()
        for directive in directives:
            here = root
            for position, name in _STEP.findall(directive.key):
                here = here.below.setdefault(position or name, cls())
            here.leaf = directive
        return root

    def at(self, *names: str) -> View:
        """Return what stands under a path of names."""
        here = self
        for name in names:
            found = here.below.get(name)
            if found is None:
                return View()
            here = found
        return here

    def first(self, *names: str) -> View:
        """Return what stands under the first of some names that is there."""
        return next((self.below[name] for name in names if name in self.below), View())

    def each(self) -> list[View]:
        """Return the elements of a list; what is no list is its own only element, nothing has none."""
        if self.below and all(name.isdecimal() for name in self.below):
            return list(self.below.values())
        return [self] if self else []

    def leaves(self) -> list[Directive]:
        """Return the scalar, or the scalars of a list."""
        return [item.leaf for item in self.each() if item.leaf is not None]

    @property
    def text(self) -> str:
        """The scalar; empty if there is none."""
        return self.leaf.value.strip() if self.leaf else ""

    def __bool__(self) -> bool:
        return bool(self.below) or self.leaf is not None


class Function:
    """Facts on one configuration of one network function.

    Args:
        subsystem: as in `Setting.subsystem`, which is also the listeners' program.
        file: the configuration.
        usual: the program reads the file without being told to; else the scope names it.
        document: whose defaults are told, and of which version.
    """

    def __init__(self, subsystem: str, file: TreeFile, *, usual: bool, document: str) -> None:
        self.subsystem = subsystem
        self.file = file
        self.scope = "" if usual else f"configuration {file.path}"
        self.document = document

    def setting(self, key: str, leaves: Iterable[Directive | None], value: str | None = None) -> Iterator[Setting]:
        """Yield a setting of one or more lines (the values of a list in their order); none for no lines."""
        found = [leaf for leaf in leaves if leaf is not None]
        if found:
            yield Setting(
                subsystem=self.subsystem,
                key=key,
                value=" ".join(leaf.value.strip() for leaf in found) if value is None else value,
                origin="file",
                scope=self.scope,
                basis=found[0].key,
                path=self.file.path,
                line=found[0].line,
            )

    def default(self, key: str, value: str) -> Setting:
        """Return a setting that the program has built in."""
        return Setting(
            subsystem=self.subsystem, key=key, value=value, origin="default", scope=self.scope, basis=self.document
        )

    def listener(
        self,
        protocol: str,
        address: str,
        port: int | None,
        purpose: str,
        line: int | None,
        *,
        tls: bool | None = None,
        interface: str | None = None,
    ) -> Listener:
        """Return a listener that the configuration asks for. Port and protocol may be the program's own.

        What a template fills in at run time is not known, and left empty.
        """
        return Listener(
            program=self.subsystem,
            protocol=protocol,
            address="" if "{{" in address else address,
            port=port,
            interface=None if interface and "{{" in interface else interface,
            purpose=purpose,
            tls=tls,
            path=self.file.path,
            line=line,
        )


def configurations(tree: Tree, dialect: str) -> Iterator[tuple[TreeFile, View]]:
    """Yield every file with directives of a dialect, samples left out, and what stands in it; by path."""
    files: dict[str, tuple[TreeFile, list[Directive]]] = {}
    for file, directive in tree.all(Directive):
        if directive.dialect == dialect and not is_sample(file.path):
            files.setdefault(file.path, (file, []))[1].append(directive)
    for file, directives in files.values():
        yield file, View.of(directives)


def complete(tree: Tree, file: TreeFile) -> bool:
    """Tell whether all of a configuration was read, so that what is not in it is not set."""
    target = tree.lookup(file.path)
    return not tree.unread(file.path) and (target is None or not tree.unread(target.path))


def port(text: str, default: int | None = None) -> int | None:
    """Return a port number as written; the default if nothing is written, None if it is no port."""
    if not text:
        return default
    return int(text) if text.isdecimal() and len(text) <= 5 and int(text) < 65536 else None


def installed(tree: Tree, *names: str) -> str | None:
    """Return the upstream version of the installed package that has one of some names; None if none or several do."""
    found = set()
    for _, package in tree.all(Package):
        if package.name in names and package.status == "installed" and (match := _VERSION.match(package.version)):
            found.add(match[1])
    return found.pop() if len(found) == 1 else None


def plmn(mcc: str, mnc: str) -> str:
    """Return a network's identity as MCC-MNC."""
    return f"{mcc}-{mnc}"


def said(text: str) -> str | None:
    """Return yes or no for a word of a boolean; None if it is none."""
    word = text.lower()
    return "yes" if word in ("true", "yes", "on", "1") else "no" if word in ("false", "no", "off", "0") else None
