"""Helm charts: default values, and the workloads of a packed chart as its plain templates render with them.

A template is rendered only if it is a manifest with values put in: `{{ .Values.a.b }}`, `.Release.Name`,
`.Release.Namespace`, `.Chart.Name`, `.Chart.Version`, `.Chart.AppVersion`, each with `default`, `quote`, `squote`,
`int` or `toString` behind it, and comments. Every other template (conditions, loops, includes) is named as unread: the
language is not run here.

Source: Helm 3 documentation, "Chart Template Guide", "Charts" (Chart.yaml, subcharts and values), `helm template` for
the names of release and namespace; Sprig 3 (default, quote, int).
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.unpack import tar
from assay.unpack.base import BytesSource, Entry, LimitReached, Limits, UnpackError, Unsupported

from . import kubernetes, yaml_format, yaml_values
from .base import Content, ContentInspector
from .known_passwords import known
from .kubernetes import Found
from .late import late
from .secrecy import WITHHELD, withhold
from .workload_secrets import is_literal, says_secret

if TYPE_CHECKING:
    from yaml import ScalarNode

MAX_PACKED = 16 << 20
MAX_UNPACKED = 64 << 20
MAX_FILES = 5_000
MAX_TEMPLATE = 1 << 20
MAX_FACTS = 20_000
NAMED = 10
"""Templates that are named in one line, of those that are not rendered."""

Values = dict[yaml_format.Path, "ScalarNode"]

_ACTION = late(r"\{\{(.*?)\}\}", re.DOTALL)
_COMMENT = late(r"-?\s*/\*.*\*/\s*-?", re.DOTALL)
_OPERAND = late(r"\.(Values|Release|Chart)((?:\.[A-Za-z_]\w*)+)")
_LITERAL = late(r'"([^"\\]*)"|(-?(?:0|[1-9]\d{0,5})|true|false)')
_PLAIN_NUMBER = late(r"-?(?:0|[1-9]\d{0,5})")
_ZERO = {"0", "false"}


class NotPlain(Exception):
    """A template uses what is not rendered here; the message names it."""


class Chart(msgspec.Struct):
    """A chart: what its names stand for, and its default values."""

    name: str
    version: str
    app_version: str
    values: Values
    prefixes: set[yaml_format.Path]
    """Paths that lead to a value, or to something that holds one."""


def render(text: str, chart: Chart) -> str:
    """Return a template with the default values put in.

    Raises:
        NotPlain: it has an action that is more than a value.
    """

    def action(match: re.Match[str]) -> str:
        inner = match[1]
        if _COMMENT.fullmatch(inner) and not inner.startswith("-") and not inner.endswith("-"):
            return ""
        try:
            return _pipeline(inner, chart)
        except NotPlain as error:
            line = text.count("\n", 0, match.start()) + 1
            raise NotPlain(f"line {line}: {error}") from None

    return _ACTION.sub(action, text)


def _pipeline(inner: str, chart: Chart) -> str:
    shown = "{{" + " ".join(inner.split())[:60] + "}}"
    first, *pipes = [part.strip() for part in inner.split("|")]
    value = _operand(first, chart)
    if value is None and _OPERAND.fullmatch(first) is None:
        raise NotPlain(shown)
    for pipe in pipes:
        name, _, argument = pipe.partition(" ")
        argument = argument.strip()
        if name == "default" and argument:
            literal = _LITERAL.fullmatch(argument)
            if literal is None and _OPERAND.fullmatch(argument) is None:
                raise NotPlain(shown)
            if value in _ZERO:  # empty as a number or boolean, but not as a text
                raise NotPlain(shown)
            if not value:
                value = (literal[1] or literal[2] or "") if literal else _operand(argument, chart)
        elif name == "quote" and not argument:
            value = '"' + (value or "").replace("\\", "\\\\").replace('"', '\\"') + '"'
        elif name == "squote" and not argument:
            value = f"'{value or ''}'"
        elif name == "int" and not argument and _PLAIN_NUMBER.fullmatch(value or "0"):
            value = value or "0"
        elif name == "toString" and not argument:
            value = value or ""
        else:
            raise NotPlain(shown)
    return value or ""


def _operand(text: str, chart: Chart) -> str | None:
    """Return what a name stands for; None for nothing, or for something else than a name."""
    match = _OPERAND.fullmatch(text)
    if match is None:
        return None
    path = tuple(match[2].split(".")[1:])
    if match[1] == "Values":
        return _value(path, chart)
    known_names = {
        ("Release", ("Name",)): "release-name",
        ("Release", ("Namespace",)): "default",
        ("Chart", ("Name",)): chart.name,
        ("Chart", ("Version",)): chart.version,
        ("Chart", ("AppVersion",)): chart.app_version,
    }
    if (match[1], path) not in known_names:
        raise NotPlain(text)
    return known_names[match[1], path]


def _value(path: tuple[str, ...], chart: Chart) -> str | None:
    node = chart.values.get(path)
    name = ".Values." + ".".join(path)
    if node is None:
        # A mapping or list prints as Go does; below nothing there is an error; beside something, nothing.
        if path in chart.prefixes:
            raise NotPlain(f"{name} is not a single value")
        if len(path) > 1 and path[:-1] not in chart.prefixes:
            raise NotPlain(f"{name} has no default")
        return None
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return "true" if node.value.lower() in ("true", "yes", "on", "y") else "false"
    if kind == "str" or (kind == "int" and _PLAIN_NUMBER.fullmatch(node.value)):
        return str(node.value)
    raise NotPlain(f"{name} is a number that may print otherwise")


def _flat(text: str) -> Values:
    found: Values = {}
    for document in yaml_format.documents(text):
        for path, node, _ in yaml_format.flatten(document):
            found[path] = node
    return found


def _begins_as_chart(head: bytes) -> bool:
    """Tell whether a compressed archive begins with Chart.yaml, which `helm package` writes first."""
    try:
        first = zlib.decompressobj(31).decompress(head, 512)
    except zlib.error:
        return False
    return first[:100].rstrip(b"\0").endswith(b"/Chart.yaml")


def _unpacked(content: Content) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of the files of a packed chart that matter; nothing for an archive of something else."""
    if not _begins_as_chart(content.head):
        return
    whole = zlib.decompressobj(31).decompress(bytes(content.data[:MAX_UNPACKED]), MAX_UNPACKED + 1)
    if len(whole) > MAX_UNPACKED:
        raise LimitReached("chart_bytes", MAX_UNPACKED)
    source = BytesSource(whole)
    reader = tar.FORMAT.open(source, Limits())
    for count, entry in enumerate(reader.entries()):
        if count >= MAX_FILES:
            raise LimitReached("chart_files", MAX_FILES)
        if not isinstance(entry, Entry) or entry.type != "regular" or entry.locator is None:
            continue
        path = entry.path.decode("utf-8", "backslashreplace").removeprefix("./")
        if path.endswith((".yaml", ".yml")) and (entry.size or 0) <= MAX_TEMPLATE:
            yield path, b"".join(reader.open(entry.locator))


def inspect_packed(content: Content) -> Iterator[ContentFact]:
    """Yield what the plain templates of a packed chart render to, with the chart's own default values.

    A directive `renders` names each template that was rendered, with the chart as section.

    Raises:
        Unsupported: templates that were not rendered, named with what stopped each.
        ValueError, UnpackError: the chart cannot be read.
        LimitReached: a chart of more bytes, files or facts than are looked at.
    """
    files: dict[str, str] = {}
    try:
        for path, raw in _unpacked(content):
            files[path] = raw.decode("utf-8", "backslashreplace")
    except zlib.error as error:
        raise UnpackError(f"packed chart: {error}") from None
    root = next(iter(files), "").partition("/")[0]
    if not root:
        return
    found = Found("helm")
    missed: list[str] = []
    count = 0
    for base, chart in _charts(root, files, missed):
        for path in sorted(files):
            inside = path.removeprefix(base + "/")
            if path == inside or not inside.startswith("templates/") or posixpath.basename(path).startswith("_"):
                continue
            try:
                text = render(files[path], chart)
                documents = [yaml_values.value(document) for document in yaml_format.documents(text)]
            except NotPlain as error:
                missed.append(f"{path} ({error})")
                continue
            except ValueError as error:
                missed.append(f"{path} ({error})")
                continue
            yield Directive(dialect="helm", section=chart.name, key="renders", value=path)
            for document in documents:
                for fact in kubernetes.facts(document, found):
                    count += 1
                    if count > MAX_FACTS:
                        raise LimitReached("helm_facts", MAX_FACTS)
                    yield msgspec.structs.replace(fact, line=None)
    yield from known(secret._replace(line=None) for secret in found.secrets)
    if missed:
        more = f" and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        raise Unsupported(f"{len(missed)} templates not rendered: {'; '.join(missed[:NAMED])}{more}")


def _charts(root: str, files: dict[str, str], missed: list[str]) -> Iterator[tuple[str, Chart]]:
    """Yield the chart and its unconditional subcharts, each with the folder that holds it."""
    main, described = _chart(root, files)
    if main is None:
        return
    yield root, main
    conditional = set()
    for entry in yaml_values.items(yaml_values.at(described, "dependencies")):
        if any(yaml_values.at(entry, key) for key in ("condition", "tags", "alias", "import-values")):
            conditional.add(yaml_values.scalar(yaml_values.at(entry, "name")))
    folders = {path.split("/")[2] for path in files if path.startswith(f"{root}/charts/") and path.count("/") > 2}
    for folder in sorted(folders):
        base = f"{root}/charts/{folder}"
        below, _ = _chart(base, files)
        if below is None:
            continue
        if below.name in conditional or any(path.startswith(f"{base}/charts/") for path in files):
            missed.append(f"{base} (a subchart with conditions, another name, or charts of its own)")
            continue
        for path, node in main.values.items():
            if path[0] == below.name and len(path) > 1:
                below.values[path[1:]] = node
            elif path[0] == "global":
                below.values[path] = node
        below.prefixes = _prefixes(below.values)
        yield base, below


def _chart(base: str, files: dict[str, str]) -> tuple[Chart | None, object]:
    described: object = None
    for document in yaml_format.documents(files.get(f"{base}/Chart.yaml", "")):
        described = yaml_values.value(document)
    name = yaml_values.scalar(yaml_values.at(described, "name"))
    if name is None or yaml_values.at(described, "type") == "library":
        return None, described
    version = yaml_values.scalar(yaml_values.at(described, "version")) or ""
    app_version = yaml_values.scalar(yaml_values.at(described, "appVersion")) or ""
    values = _flat(files.get(f"{base}/values.yaml", ""))
    return Chart(name, version, app_version, values, _prefixes(values)), described


def _prefixes(values: Values) -> set[yaml_format.Path]:
    return {path[:length] for path in values for length in range(1, len(path) + 1)}


def inspect_values(content: Content) -> Iterator[ContentFact]:
    """Yield each default value of a chart (secrets withheld), and the secrets in the clear.

    Raises:
        ValueError: the text is not YAML.
    """
    found = Found("helm-values")
    for document in yaml_format.documents(content.text()):
        for path, node, line in yaml_format.flatten(document):
            key = yaml_format.dotted(path)[:300]
            last = next((part for part in reversed(path) if isinstance(part, str)), "")
            text = node.value
            hidden = says_secret(last) and bool(text) and not node.tag.endswith((":bool", ":null"))
            yield Directive(
                dialect="helm-values", key=key, value=WITHHELD if hidden else withhold(text[:1000]), line=line
            )
            if hidden and is_literal(text):
                yield from found.secret("helm-values", "", key, text, line)
    yield from known(found.secrets)


def _is_values(path: str) -> bool:
    return path.endswith(("/values.yaml", "/values.yml"))


def prepare() -> None:
    """Load what parsing needs, before workers are forked and confined."""
    yaml_format.prepare()


PACKED = ContentInspector(
    name="helm-chart",
    version=1,
    families=(Workload, Directive, Credential, KnownPassword),
    inspect=inspect_packed,
    path_has=("gz",),
    wants_path=lambda path: path.endswith((".tgz", ".tar.gz")),
    max_size=MAX_PACKED,
    binary_only=True,
    containers=True,
    unseen=(
        "templates with conditions, loops, includes or functions: each is named as unread",
        "values that an operator gives at installation; workloads of charts that are not packed (values are told)",
        "the place inside the packed chart: the directive `renders` names the template",
    ),
)

VALUES = ContentInspector(
    name="helm-values",
    version=1,
    families=(Directive, Credential, KnownPassword),
    inspect=inspect_values,
    path_has=("/values.y",),
    wants_path=_is_values,
    max_size=yaml_format.MAX_TEXT,
    text_only=True,
    unseen=("which of the values a template uses, and what an operator sets instead",),
)
