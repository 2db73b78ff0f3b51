"""stunnel: TLS in front of services that do not speak it, by service.

Source: stunnel(8) 4.50 to 5.73. Options before the first [service] are the program's; those of a service's kind there
hold in every service that does not state them. The scope is `FILE [service]`.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .blocks import MOST, is_foreign, is_secret
from .late import late
from .secrecy import WITHHELD, withhold
from .superserver import started
from .tls_settings import UNSEEN, between, protocol, protocols
from .web_settings import Item, Rows, Values

DIALECT = "stunnel"

PLAIN = {
    "cert": "tls certificate",
    "key": "tls key",
    "ciphers": "tls ciphers",
    "ciphersuites": "tls ciphersuites",
    "curve": "tls groups",
    "curves": "tls groups",
    "cafile": "tls client-ca",
    "capath": "tls client-ca",
}

GLOBAL = frozenset({
    "chroot", "compression", "debug", "egd", "engine", "fips", "foreground", "include", "log", "output", "pid",
    "rndbytes", "rndfile", "service", "setgid", "setuid", "syslog",
})  # fmt: skip
"""Options of the program, which are no service's."""

_SECTION = late(r"\[\s*([^\]]+?)\s*\]$")


def wants_path(path: str) -> bool:
    """Tell whether a file is a configuration of the program."""
    return "stunnel" in path and path.endswith(".conf") and not is_foreign(path) and not path.startswith("/usr/share/")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an option, its key in lower case, with its service as section.

    Raises:
        ValueError: a line is none, or there are too many; what stands before it has been yielded.
    """
    section, made = None, 0
    for number, raw in enumerate(content.text().removeprefix("\ufeff").split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        made += 1
        if found := _SECTION.match(line):
            section = found[1][:200]
            continue
        key, equals, value = line.partition("=")
        if not equals or made > MOST:
            raise ValueError(f"line {number}: {'not an option' if made <= MOST else f'more than {MOST} options'}")
        name, text = key.strip().lower(), value.strip()
        shown = WITHHELD if is_secret(name) and not text.startswith("/") else withhold(text)
        yield Directive(dialect=DIALECT, section=section, key=name, value=shown, line=number)


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield settings and listeners of every configuration.

    Raises:
        ValueError: a configuration includes others, or could not be read as a whole; the rest has been yielded.
    """
    rows = Rows(DIALECT)
    problems: list[str] = []
    service: str | None = None
    enabled: bool | None = None
    asked = False
    for file in tree.glob("*stunnel*.conf")[:200]:
        if file.type == "directory" or not wants_path(file.path):
            continue
        sections: dict[str | None, Values] = {}
        for fact in tree.facts(Directive, file):
            if fact.dialect == DIALECT:
                item = Item(fact.value, file.path, fact.line)
                sections.setdefault(fact.section, {}).setdefault(fact.key, []).append(item)
        if tree.unread(file.path):
            problems.append(f"{file.path} could not be read as a whole")
        general = sections.pop(None, {})
        if "include" in general:
            problems.append(f"{file.path}: what it includes is not followed")
        own = {key: items for key, items in general.items() if key in GLOBAL or not sections}
        yield from rows.own(file.path, own, {})
        account = {word: general[key] for key, word in (("setuid", "user"), ("setgid", "group")) if key in general}
        yield from rows.common(file.path, account, {})
        shared = {key: items for key, items in general.items() if key not in GLOBAL}
        if sections and not asked:
            enabled, service = started(tree, frozenset({"stunnel", "stunnel4"}))
            asked = True
        for name, stated in sections.items():
            values = shared | stated
            scope = f"{file.path} [{name}]"
            yield from rows.own(scope, values, {})
            yield from rows.common(scope, _common(values, [*_versions(shared), *_versions(stated)]), {})
            for item in values.get("accept", ()):
                client = any(said.value.lower() == "yes" for said in values.get("client", ()))
                address, _, port = item.value.rpartition(":")
                yield Listener(
                    program=DIALECT,
                    protocol="tcp",
                    address=address.strip("[]") or "0.0.0.0",  # noqa: S104 - what it does, not what we do
                    port=int(port) if port.isdigit() and len(port) < 6 and int(port) < 65536 else None,
                    purpose=name,
                    tls=not client,
                    service=service,
                    enabled=enabled,
                    path=item.path,
                    line=item.line,
                )
    if problems:
        raise ValueError("; ".join(problems[:10]))


def _versions(values: Values) -> list[tuple[Item, str]]:
    keys = ("sslversion", "sslversionmin", "sslversionmax")
    return [(item, key) for key in keys for item in values.get(key, ())]


def _common(values: Values, versions: list[tuple[Item, str]]) -> Values:
    found = {word: [values[key][-1]] for key, word in PLAIN.items() if key in values}
    oldest = newest = last = None
    for item, key in sorted(versions, key=lambda pair: pair[0].line or 0):  # what is general stands before all services
        last, bound = item, protocol(item.value)
        oldest = bound if key in ("sslversion", "sslversionmin") else oldest
        newest = bound if key in ("sslversion", "sslversionmax") else newest
    if last is not None and oldest is not None:  # without an oldest one, the library decides
        found["tls protocols"] = [last._replace(value=protocols(between(oldest, newest)))]
    for item in values.get("verify", ()):
        said = {"0": "off", "1": "optional"}.get(item.value, "on")
        found["tls verify-client"] = [item._replace(value=said)]
    for key in ("verifychain", "verifypeer"):
        for item in values.get(key, ()):
            if item.value.lower() == "yes":
                found["tls verify-client"] = [item._replace(value="on")]
    return found


INSPECTOR = ContentInspector(
    name="stunnel-config",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("stunnel",),
    wants_path=wants_path,
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="stunnel-settings",
    version=1,
    families=(Setting, Listener),
    inspect=settings,
    unseen=("files of an include folder", "which protocols hold where none is stated: the library decides", *UNSEEN),
)
