"""polkit: actions and their implicit authorisations, local authorities, and what rules in JavaScript return.

Source: polkit(8), pklocalauthority(8), the document type definition policyconfig-1.dtd of polkit 122. Rules are
programs: they are not run. Where a line of one returns a result, a directive says so, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

import msgspec

from assay.facts.access import Escalation
from assay.facts.service import Directive
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late

POLICY, LOCAL, RULES = "polkit-policy", "pkla", "polkit-rules"

ALLOW = ("allow_any", "allow_inactive", "allow_active")
_RESULTS = {"ResultAny": "allow_any", "ResultInactive": "allow_inactive", "ResultActive": "allow_active"}

PATH = "org.freedesktop.policykit.exec.path"

MOST = 20_000
"""Escalations told of one tree."""

_RETURN = late(r"\bpolkit\.Result\.([A-Z_]+)")
_COMMENT = late(r"^\s*(?://|\*|/\*)")
_XML_DEPTH = 32


def wants_path(path: str) -> bool:
    """Tell whether a file is of polkit."""
    return "/polkit-1/" in path and path.endswith((".policy", ".pkla", ".rules"))


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a value.

    A policy: section the action, key allow_any, allow_inactive, allow_active or an annotation's name. A local
    authority: section the group, key and value as written. Rules: key `result`, value what a line returns.

    Raises:
        ValueError: a policy is not the XML that it should be; what stands before has been read.
    """
    start = content.head.lstrip()[:1]
    text = content.text()
    if start == b"<":
        yield from _policy(bytes(content.data))
        return
    section: str | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        if not _COMMENT.match(raw) and (found := _RETURN.search(raw)):
            yield Directive(dialect=RULES, key="result", value=found[1], line=number)
            continue
        line = raw.strip()
        key, equals, value = line.partition("=")
        if line[:1] == "[" and line[-1:] == "]":
            section = line[1:-1]
        elif equals and section is not None and line[0] not in "#;" and key.strip().isalpha():
            yield Directive(dialect=LOCAL, section=section, key=key.strip(), value=value.strip(), line=number)


def _policy(data: bytes) -> Iterator[Directive]:
    found: list[Directive] = []
    path: list[str] = []
    action = annotation = ""
    text: list[str] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal action, annotation
        path.append(name)
        text.clear()
        if len(path) > _XML_DEPTH:
            raise ValueError("elements are nested too deep")
        if name == "action":
            action = attributes.get("id", "")
        elif name == "annotate":
            annotation = attributes.get("key", "")

    def end(name: str) -> None:
        value = " ".join("".join(text).split())
        if action and path[-2:-1] == ["defaults"] and name in ALLOW:
            found.append(
                Directive(dialect=POLICY, section=action, key=name, value=value, line=parser.CurrentLineNumber)
            )
        elif action and name == "annotate" and path[-2:-1] == ["action"]:
            line = parser.CurrentLineNumber
            found.append(Directive(dialect=POLICY, section=action, key=annotation, value=value, line=line))
        path.pop()
        text.clear()

    def entity(*_: object) -> None:
        raise ValueError("a policy that defines entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.EntityDeclHandler = entity
    wrong = ""
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        wrong = str(error)
    yield from found
    if wrong:
        raise ValueError(wrong)


def escalations(tree: Tree) -> Iterator[Escalation]:
    """Yield what each action lets everyone do, and what local authorities let the named do.

    One escalation for each answer (`options`: yes, auth_self, auth_admin, ...) with the sessions that get it
    (`condition`); the answer `no` gives nothing and is in the directives only. Actions stand whether polkit's daemon is
    there or not: `installed` tells.

    Raises:
        LimitReached: there are more than are told.
    """
    installed = any(file.type in ("regular", "hardlink", "symlink") for file in tree.glob("*/polkitd"))
    for number, escalation in enumerate(_escalations(tree)):
        if number == MOST:
            raise LimitReached("polkit_escalations", MOST)
        yield msgspec.structs.replace(escalation, installed=installed)


def _escalations(tree: Tree) -> Iterator[Escalation]:
    for file in tree.listdir("/usr/share/polkit-1/actions"):
        actions: dict[str, list[Directive]] = {}
        for line in tree.facts(Directive, file):
            if line.dialect == POLICY and line.section:
                actions.setdefault(line.section, []).append(line)
        for action, lines in actions.items():
            answers = [(line.key, line.value, line.line) for line in lines if line.key in ALLOW]
            programs = [f"{PATH}={line.value}" for line in lines if line.key == PATH]
            yield from _answers(file, action, "everyone", answers, programs)
    for directory in ("/etc/polkit-1/localauthority", "/var/lib/polkit-1/localauthority"):
        for file in tree.glob(f"{directory}/*.pkla"):
            groups: dict[str, dict[str, Directive]] = {}
            for line in tree.facts(Directive, file):
                if line.dialect == LOCAL and line.section is not None:
                    groups.setdefault(line.section, {})[line.key] = line
            for keys in groups.values():
                answers = [(_RESULTS[key], line.value, line.line) for key, line in keys.items() if key in _RESULTS]
                who = keys["Identity"].value.split(";") if "Identity" in keys else []
                what = keys["Action"].value.split(";") if "Action" in keys else []
                for name in [name.strip() for name in who if name.strip()][:1000]:
                    for action in [action.strip() for action in what if action.strip()][:1000]:
                        yield from _answers(file, action, _who(name), answers, [])


def _who(identity: str) -> str:
    kind, _, name = identity.partition(":")
    if kind == "unix-user":
        return "everyone" if name == "*" else name
    return f"%{name}" if kind == "unix-group" else f"+{name}" if kind == "unix-netgroup" else identity


def _answers(
    file: TreeFile, action: str, who: str, answers: list[tuple[str, str, int | None]], more: list[str]
) -> Iterator[Escalation]:
    by: dict[str, list[tuple[str, int | None]]] = {}
    for session, answer, number in answers:
        if answer != "no":
            by.setdefault(answer, []).append((session, number))
    for answer, sessions in by.items():
        yield Escalation(
            mechanism="polkit",
            who=who,
            target="",
            command=action,
            password=False if answer == "yes" else True if answer.startswith("auth_") else None,
            condition=", ".join(session for session, _ in sessions),
            options=[answer, *more],
            path=file.path,
            line=sessions[0][1],
        )


INSPECTOR = ContentInspector(
    name="polkit",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/polkit-1/",),
    wants_path=wants_path,
    max_size=4 << 20,
    unseen=("what a rule in JavaScript decides for whom: rules are not run, only the results that they name are told",),
)

ESCALATIONS = TreeInspector(
    name="polkit-escalations",
    version=2,
    families=(Escalation,),
    inspect=escalations,
    unseen=(
        "rules in JavaScript (rules.d of /etc/polkit-1 and /usr/share/polkit-1), which can grant or refuse any action",
        "which of several local authorities holds, and a build of polkit that reads none",
        "who counts as an administrator for auth_admin",
        "as whom the program that asks polkit does what was asked for",
    ),
)
