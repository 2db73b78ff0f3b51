"""One Apache configuration read as the server reads it: includes in place, variables, and the conditions of start-up.

Source: httpd.apache.org 2.4, core (Include, IncludeOptional, Define, UnDefine, IfDefine, IfFile, ServerRoot), mod_so
(LoadModule, IfModule), mod_version (IfVersion); the order is that of the file, as with the server's EXEC_ON_READ.
"""

from __future__ import annotations

import operator
import posixpath
import re
from collections.abc import Callable

from assay.facts.service import Directive
from assay.unpack.base import LimitReached

from .apache import DIALECT, ENVIRONMENT, INSPECTOR, words
from .apache_defaults import STATIC
from .base import Tree, TreeFile
from .blocks import DEPTH, Budget, Node, is_pattern, matches, opened
from .late import late
from .web_settings import Version

CONDITIONS = frozenset({"<ifdefine", "<iffile", "<ifmodule", "<ifversion", "<ifdirective", "<ifsection"})

_VARIABLE = late(r"\$\{([^}:\s]{1,100})\}")
_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "=": operator.eq, "==": operator.eq, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


class Reading:
    """A main file and what it includes.

    Args:
        tree: the tree.
        main: the main file.
        root: ServerRoot until the file states it.
        version: the server's, for IfVersion; None if unknown.
    """

    def __init__(self, tree: Tree, main: TreeFile, root: str, version: Version | None) -> None:
        self.tree = tree
        self.root = root
        self.version = version
        self.budget = Budget()
        self.missing: list[str] = []
        """Files that are included, and could not be read: a line each."""
        self.uncertain = False
        """A condition was met that could not be tried."""
        self.variables: dict[str, str] = {}
        self.modules: dict[str, Node] = {}
        """Modules that are loaded, by name (x_module)."""
        self.loaded: set[str] = set(STATIC)
        self._environment(posixpath.dirname(main.path))
        self.nodes: list[Node] = []
        """The configuration without includes and conditions; variables are filled in."""
        self._walk(self._file(main, None), self.nodes, None, 0)

    def lacks(self, module: str) -> bool:
        """Tell whether the server has no such module: it loads others, and all of the configuration could be read."""
        return bool(self.modules) and not self.missing and not self.uncertain and module not in self.modules

    def _environment(self, directory: str) -> None:
        file = self.tree.lookup(f"{directory}/envvars")
        if file is None:
            return
        for line in self.tree.facts(Directive, file):
            if line.dialect == ENVIRONMENT:
                filled = re.sub(r"\$(\w+)", lambda m: self.variables.get(m[1], ""), line.value)
                self.variables[line.key] = filled[:1000]

    def _file(self, file: TreeFile, by: Node | None) -> list[Node]:
        found, why = opened(self.tree, file, by, DIALECT, INSPECTOR, self.budget, "Apache")
        self.missing += [why] if why else []
        return found

    def _walk(self, given: list[Node], into: list[Node], note: str | None, depth: int) -> None:
        if depth > DEPTH:
            raise LimitReached("includes and sections in one another", DEPTH)
        for node in given:
            self.budget.spend(1)
            value = self._filled(node.value)
            if node.key in ("include", "includeoptional"):
                for included in self._included(node, value):
                    self._walk(self._file(included, node), into, note, depth + 1)
            elif node.key in CONDITIONS:
                holds = self._holds(node.key, value)
                if holds is None:
                    self.uncertain = True
                    self._walk(node.children, into, f"if {node.key[1:]} {value} holds", depth + 1)
                elif holds:
                    self._walk(node.children, into, note, depth + 1)
            else:
                self._early(node, value)
                new = Node(node.key, value, node.path, node.line, note)
                into.append(new)
                self._walk(node.children, new.children, note, depth + 1)

    def _early(self, node: Node, value: str) -> None:
        """Take what the server acts upon while it reads."""
        if node.key == "loadmodule":
            name, _, file = value.partition(" ")
            self.modules[name] = node
            stem = name.removesuffix("_module")
            base = posixpath.basename(file.strip().strip('"')).removesuffix(".so")
            self.loaded |= {name, f"mod_{stem}.c", f"{base}.c", f"{stem.removeprefix('mpm_')}.c"}
        elif node.key == "define":
            name, *rest = [*words(value, 2), ""]
            self.variables[name] = rest[0][:1000]
        elif node.key == "undefine":
            self.variables.pop(value, None)
        elif node.key == "serverroot":
            self.root = posixpath.join("/", (words(value, 1) or ["/"])[0])

    def _filled(self, value: str) -> str:
        if "${" not in value:
            return value
        return _VARIABLE.sub(lambda match: self.variables.get(match[1], match[0]), value)[:4000]

    def _loadable(self) -> bool:
        """Tell whether the tree has modules as files, as distributions build them."""
        return bool(self.tree.glob("/usr/lib*/*/modules/mod_*.so"))

    def _holds(self, key: str, value: str) -> bool | None:
        argument = (words(value, 1) or [""])[0]
        negated = argument.startswith("!")
        argument = argument.lstrip("!")
        holds: bool | None = None
        if key == "<ifmodule":
            # a server that loads no module and has none to load has them built in: which ones, it does not say
            holds = argument in self.loaded or (False if self.modules or self._loadable() else None)
        elif key == "<ifdefine":
            holds = argument in self.variables
        elif key == "<iffile":
            holds = self.tree.lookup(posixpath.join(self.root, argument)) is not None
        elif key == "<ifversion" and self.version is not None:
            parts = words(value, 2)
            sign, text = (parts[0], parts[1]) if len(parts) == 2 else ("=", argument)
            compare = _COMPARE.get(sign.lstrip("!"))
            negated = sign.startswith("!")
            if compare and re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,2}", text):
                asked = tuple(int(part) for part in text.split("."))
                holds = compare(self.version[: len(asked)] if sign.strip("!") in ("=", "==") else self.version, asked)
        return holds if holds is None else holds != negated

    def _included(self, node: Node, value: str) -> list[TreeFile]:
        pattern = posixpath.join("/", self.root, (words(value, 1) or [""])[0])
        found: list[TreeFile] = []
        for file in matches(self.tree, pattern, self.budget):
            target = self.tree.lookup(file.path)
            if target is not None and target.type == "directory":
                inside = self.tree.glob("".join(f"[{c}]" if c in "*?[" else c for c in target.path) + "/*")
                self.budget.spend(len(inside) + 1)
                found += [entry for entry in inside if entry.type != "directory"]
            else:
                found.append(file)
        if not found and node.key == "include" and not is_pattern(pattern):
            self.missing.append(f"{node.path}:{node.line}: {pattern} is not in this tree")
        if "${" in pattern:
            self.missing.append(f"{node.path}:{node.line}: {pattern} holds a variable that nothing sets")
        return found
