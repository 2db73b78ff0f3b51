"""GRUB: menu entries with their command lines, users and passwords, the defaults that menus are made from.

Source: GNU GRUB manual 2.06 ("Shell-like scripting", "Simple configuration handling", "Authentication and
authorisation", "The GRUB environment block"); GNU GRUB Legacy manual 0.97 for menu.lst.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from assay.facts.access import ProductAccount
from assay.facts.service import Directive

from .assignment import assignments
from .base import Content, ContentInspector
from .crypt_format import scheme
from .dropins import joined
from .late import late
from .secrecy import WITHHELD, withhold

DIALECT = "grub"
DEFAULT = "grub-default"
LEGACY = "grub-legacy"
ENVIRONMENT = "grubenv"

LINUX = ("linux", "linuxefi", "linux16")
"""Commands that load a kernel: its file, then its command line."""

_KEPT = frozenset(
    {
        *LINUX,
        "initrd", "initrdefi", "initrd16", "multiboot", "multiboot2", "module", "module2",
        "xen_hypervisor", "xen_module",
        "chainloader", "configfile", "source", "blscfg", "trust", "devicetree", "acpi", "insmod", "loadfont",
    }
)  # fmt: skip
_SCRIPT = frozenset({"password", "password_pbkdf2"})
_WORD = late(r"""(?:[^\s"'\\{};]|\\.|"(?:[^"\\]|\\.)*"|'[^']*'|\{\w*\}|\$\{\w+\})+|[{}]""")
_QUOTES = late(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)""")
_SET = late(r"""([A-Za-z_]\w{0,63})=(.*)""", re.DOTALL)
_PBKDF2 = late(r"grub\.pbkdf2\.(\w{1,16})\.(\d{1,10})\.")
_HEAD_ENVIRONMENT = b"# GRUB Environment Block\n"

DEPTH = 16
"""Submenus whose titles are kept."""

WORDS = 400
"""Words of one line that are looked at."""


def unquote(word: str) -> str:
    """Return a word without its quotes."""
    if "'" not in word and '"' not in word and "\\" not in word:
        return word
    return _QUOTES.sub(lambda found: next(group for group in found.groups() if group is not None), word)


def wants_path(path: str) -> bool:
    """Tell whether a path is one of GRUB's."""
    if "grub" not in path and not path.endswith("/menu.lst"):
        return False
    return (
        path.endswith(("/grub.cfg", "/grub.conf", "/menu.lst", "/user.cfg", "/custom.cfg", "/default/grub", "/grubenv"))
        or "/etc/grub.d/" in path
        or "/default/grub.d/" in path
    )


def inspect(content: Content) -> Iterator[Directive | ProductAccount]:
    """Yield what a menu, the defaults, the environment block or a part of a menu say.

    Menu: the first word of a command as key, its words as value, the titles of the entry (and its submenus, joined by
    `>`) as section; `set` only with its assignment. Defaults, environment block: one directive an assignment.
    Passwords are accounts of store "grub"; their lines have the user's name, and the scheme of a hash.
    """
    text = content.text()
    if content.head.startswith(_HEAD_ENVIRONMENT):
        for number, line in enumerate(text.split("\n"), 1):
            name, equals, value = line.partition("=")
            if equals and name[:1] != "#":
                yield Directive(
                    dialect=ENVIRONMENT, key=name, value=withhold(f"{name}={value}")[len(name) + 1 :], line=number
                )
        return
    head = content.head[:65536]
    if b"\ntitle " in head or b"\ntitle\t" in head:
        yield from _legacy(text)
    elif re.search(rb"(?m)^[ \t]{0,64}(?:export )?GRUB2?_\w{1,64}=", head) and b"menuentry" not in head:
        yield from _defaults(text)
    else:
        yield from _menu(text, script=content.kind == "script")


def _defaults(text: str) -> Iterator[Directive | ProductAccount]:
    for number, name, value in assignments(text):
        if name == "GRUB2_PASSWORD":
            yield _account("", value, number, hashed=True)
        shown = _shown(value) if name == "GRUB2_PASSWORD" else withhold(f"{name}={value}").partition("=")[2]
        yield Directive(dialect=DEFAULT, key=name, value=shown, line=number)


def _account(name: str, secret: str, line: int, *, hashed: bool) -> ProductAccount:
    found = _PBKDF2.match(secret)
    return ProductAccount(
        store="grub",
        name=name,
        password="hash" if hashed else "clear",
        scheme=f"grub.pbkdf2.{found[1]}" if found else scheme(secret) or "unknown" if hashed else None,
        fingerprint=hashlib.sha256(secret.encode()).hexdigest(),
        line=line,
    )


def _shown(secret: str) -> str:
    """Return what may be shown of a hash: scheme and rounds."""
    found = _PBKDF2.match(secret)
    return f"grub.pbkdf2.{found[1]}.{found[2]}" if found else WITHHELD


def _menu(text: str, *, script: bool) -> Iterator[Directive | ProductAccount]:
    titles: list[str | None] = []
    for number, line in joined(text):
        words = [found[0] for found, _ in zip(_WORD.finditer(line), range(WORDS), strict=False)]
        if not words:
            continue
        section = ">".join(title for title in titles if title is not None) or None
        key = words[0]
        if key in ("menuentry", "submenu") and len(words) > 1 and not script:
            title = unquote(words[1])
            options = " ".join(word for word in words[2:] if word != "{")
            yield Directive(
                dialect=DIALECT, section=f"{section}>{title}" if section else title, key=key, value=options, line=number
            )
            if words[-1] != "}":
                titles.append(title if len(titles) < DEPTH else None)
            continue
        if key == "set" and len(words) > 1 and (found := _SET.fullmatch(words[1])):
            if not script or found[1] == "superusers":
                value = withhold(f"{found[1]}={unquote(found[2])}")
                yield Directive(dialect=DIALECT, section=section, key="set", value=value, line=number)
        elif key in _SCRIPT and len(words) > 2:
            user, secret = unquote(words[1]), unquote(words[2])
            hashed = key == "password_pbkdf2"
            shown = f"{user} {_shown(secret) if hashed else WITHHELD}"
            if secret[:1] != "$":
                yield _account(user, secret, number, hashed=hashed)
            else:
                shown = f"{user} {secret}"  # a variable
            yield Directive(dialect=DIALECT, section=section, key=key, value=shown, line=number)
        elif key in _KEPT and not script:
            value = " ".join(unquote(word) for word in words[1:])
            yield Directive(dialect=DIALECT, section=section, key=key, value=withhold(value), line=number)
        if words[-1] == "{":
            titles.append(None)
        elif key == "}" and titles:
            titles.pop()


def _legacy(text: str) -> Iterator[Directive | ProductAccount]:
    """Yield the lines of GRUB Legacy's menu: below a title, they are the entry's."""
    section = None
    for number, line in joined(text):
        key, _, value = (
            line.replace("\t", " ").replace("=", " ", 1 if " " not in line.split("=")[0] else 0).partition(" ")
        )
        value = value.strip()
        if key == "title":
            section = value
        if key in ("password", "lock") and value:
            words = value.split()
            secret = words[-1] if words[0].startswith("--") else words[0]
            yield _account("", secret, number, hashed=words[0].startswith("--"))
            value = f"{words[0]} {WITHHELD}" if words[0].startswith("--") else WITHHELD
        yield Directive(dialect=LEGACY, section=section, key=key, value=withhold(value), line=number)


INSPECTOR = ContentInspector(
    name="grub",
    version=1,
    families=(Directive, ProductAccount),
    inspect=inspect,
    path_has=("grub", "/menu.lst"),
    wants_path=wants_path,
    max_size=4 << 20,
    text_only=True,
    unseen=(
        "what conditions (if) in a menu would choose, and what grub-mkconfig would make of scripts in /etc/grub.d",
        "GRUB's core image with a configuration built in, and what UEFI Secure Boot makes GRUB refuse",
    ),
)
