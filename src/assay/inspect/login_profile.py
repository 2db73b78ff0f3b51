"""What the start files of shells set for everybody: TMOUT and the mask of new files, read without running them.

Source: bash(1) 5.2, INVOCATION; POSIX.1-2017 XCU 2 (shell command language), umask(1). A login shell reads
/etc/profile, which usually reads /etc/profile.d/*.sh; an interactive one /etc/bash.bashrc or /etc/bashrc, as built.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.service import Directive, Setting
from assay.unpack.base import LimitReached

from .base import Content, ContentInspector, Tree, TreeFile, TreeInspector
from .late import late

DIALECT = "profile"

CONDITION = "if"
"""Section of an assignment inside if, case, a loop, a function, or behind && or ||."""

LINE = 1024
"""Characters of a line that are looked at: expressions must not take the square of a long one's time."""

MOST = 1000
"""Settings told of one kind of shell."""

_ASSIGNED = late(
    r"(?P<before>.*?)(?:^|[\s;&|({])(?:(?:export|readonly|declare|typeset|local)\s+(?P<option>(?:-\w+\s+)*))?"
    r"TMOUT=(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|)}]*)"
)
_READONLY = late(r"(?:^|[\s;&|({])(?:readonly|(?:declare|typeset)\s+-\w*r\w*)\s[^;&|#]*\bTMOUT\b")
_UMASK = late(
    r"(?P<before>.*?)(?:^|[\s;&|({])umask\s+(?!-)(?P<value>\"[^\"]*\"|'[^']*'|[0-7]{1,4}|[ugoa]*[+=-][\w,+=-]*)"
)
_SOURCES = late(r"/etc/profile\.d\b")
_OPEN = late(r"(?:^|[\s;&|(])(?:if|case|for|while|until|select)\s|\{\s*$")
_CLOSE = late(r"(?:^|[\s;&|])(?:fi|esac|done)(?=$|[\s;&|)#])|^\s*\}")
_NEAR = late(r"&&|\|\||\bthen\b|\belse\b|\bdo\b")
_QUOTED = late(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|(?<!\S)#.*")


def wants_path(path: str) -> bool:
    """Tell whether a file is a start file of shells for everybody."""
    return "/etc/" in path and (
        path.endswith(("/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/bash/bashrc"))
        or ("/etc/profile.d/" in path and path.endswith(".sh"))
    )


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive an assignment of TMOUT, a `umask`, or a `readonly TMOUT`; section `if` under a condition.

    A line that reads /etc/profile.d is one, too (key `source`).
    """
    depth = 0
    for number, line in enumerate(content.text(1 << 20).split("\n"), 1):
        raw = line[:LINE]
        bare = _QUOTED.sub(lambda found: "" if found[0][0] == "#" else '""', raw)
        opened, closed = len(_OPEN.findall(bare)), len(_CLOSE.findall(bare))
        inside = depth > 0 or opened > 0
        if "TMOUT" in bare or "umask" in bare:
            for key, pattern in (("TMOUT", _ASSIGNED), ("umask", _UMASK)):
                if (key in bare) and (found := pattern.match(raw)) and pattern.match(bare):
                    section = CONDITION if inside or _NEAR.search(found["before"]) else None
                    value = found["value"].strip("\"'")
                    yield Directive(dialect=DIALECT, section=section, key=key, value=value, line=number)
            if _READONLY.search(bare):
                section = CONDITION if inside or _NEAR.search(bare) else None
                yield Directive(dialect=DIALECT, section=section, key="readonly", value="TMOUT", line=number)
        if "profile.d" in raw and not raw.lstrip().startswith("#") and _SOURCES.search(raw):
            yield Directive(dialect=DIALECT, key="source", value="/etc/profile.d", line=number)
        depth = max(0, depth + opened - closed)


def settings(tree: Tree) -> Iterator[Setting]:
    """Yield every value that a start file sets (subsystem profile; keys TMOUT, umask, `readonly TMOUT`).

    The scope says for which shells, and whether under a condition; which of several holds is not told: `basis` names
    the other places. Files of /etc/profile.d count only if /etc/profile reads them.

    Raises:
        LimitReached: there are more than are told.
    """
    main = tree.lookup("/etc/profile")
    login = [main] if main else []
    if main and any(line.key == "source" for line in _lines(tree, main)):
        login += [file for file in tree.listdir("/etc/profile.d") if file.path.endswith(".sh")]
    interactive = [f for path in ("/etc/bash.bashrc", "/etc/bash/bashrc", "/etc/bashrc") if (f := tree.lookup(path))]
    for scope, files in (("login shells", login), ("interactive bash", interactive)):
        found = [(file, line) for file in files for line in _lines(tree, file) if line.key != "source"]
        more, found = len(found) > MOST, found[:MOST]
        for file, line in found:
            others = [f"{f.path}:{at.line}" for f, at in found if at.key == line.key and (f, at) != (file, line)][:100]
            yield Setting(
                subsystem="profile",
                key="readonly TMOUT" if line.key == "readonly" else line.key,
                value="yes" if line.key == "readonly" else line.value,
                origin="file",
                scope=f"{scope}, under a condition" if line.section else scope,
                basis=f"also set at {', '.join(others)}" if others else None,
                path=file.path,
                line=line.line,
            )
        if more:
            raise LimitReached("profile_settings", MOST)


def _lines(tree: Tree, file: TreeFile) -> list[Directive]:
    return [line for line in tree.facts(Directive, file) if line.dialect == DIALECT]


INSPECTOR = ContentInspector(
    name="login-profile",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("/etc/profile", "/etc/bash"),
    wants_path=wants_path,
    max_size=1 << 20,
    unseen=("values that a command makes, files that a start file reads by a name of its own making",),
)

SETTINGS = TreeInspector(
    name="login-profile-settings",
    version=1,
    families=(Setting,),
    inspect=settings,
    unseen=(
        "start files of a person (~/.profile), of other shells (csh, zsh, fish), and pam_umask",
        "which of several values holds, and whether a condition is met",
    ),
)
