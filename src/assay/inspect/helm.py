"""Helm charts: default values, and the workloads of a packed chart as its templates render with them.

Templates are run as far as `helm_language` and `helm_functions` know their language, with the chart's own values, its
named templates, and its subcharts where their conditions hold. A template that needs more (files, the cluster, the
time, chance) is named as unread.

Source: Helm 3 documentation, "Chart Template Guide", "Charts" (Chart.yaml, dependencies, subcharts and values),
`helm template` for the names of release and namespace.
"""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from assay.facts import ContentFact
from assay.facts.access import Credential, KnownPassword
from assay.facts.network import ExposedPort
from assay.facts.service import Directive
from assay.facts.workload import Workload
from assay.unpack import tar
from assay.unpack.base import BytesSource, Entry, LimitReached, Limits, UnpackError, Unsupported

from . import kubernetes, yaml_format, yaml_values
from .base import Content, ContentInspector
from .helm_language import Statement, Templates
from .helm_template import Run
from .helm_values import NotRendered, Unseen, decoded, merged
from .known_passwords import known
from .kubernetes import Found
from .secrecy import WITHHELD, withhold
from .workload_secrets import is_literal, says_secret
from .yaml_values import items, mapping

MAX_PACKED = 16 << 20
MAX_UNPACKED = 64 << 20
MAX_FILES = 5_000
MAX_TEMPLATE = 1 << 20
MAX_FACTS = 20_000
MAX_WORK = 3_000_000
"""Steps of all templates of a chart."""
MAX_CHARTS = 5
"""Charts in one another."""
MAX_INSTANCES = 200
"""Subcharts of a chart, those in them included."""
NAMED = 10
"""Templates that are named in one line, of those that are not rendered."""

KUBERNETES = (1, 31)
"""Version of the cluster that a chart is told of."""
API_GROUPS = frozenset(
    """v1 apps/v1 batch/v1 autoscaling/v1 autoscaling/v2 networking.k8s.io/v1 policy/v1 rbac.authorization.k8s.io/v1
    storage.k8s.io/v1 apiextensions.k8s.io/v1 admissionregistration.k8s.io/v1 apiregistration.k8s.io/v1
    coordination.k8s.io/v1 scheduling.k8s.io/v1 discovery.k8s.io/v1 events.k8s.io/v1 certificates.k8s.io/v1
    authentication.k8s.io/v1 authorization.k8s.io/v1 node.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1""".split()  # noqa: SIM905
)
"""Of the cluster that a chart is told of: what every one of that version has (API reference, "API Groups")."""

Values = dict[str, Any]


class Chart(msgspec.Struct):
    """A chart as it would be installed: where it lies, what its names stand for, its values."""

    base: str
    name: str
    described: object
    """Chart.yaml."""
    values: Values


def root(chart: Chart, path: str) -> Values:
    """Return what the dot of a template is: the built-in objects that are known before an installation."""
    described = {
        ("APIVersion" if key == "apiVersion" else key[:1].upper() + key[1:]): value
        for key, value in mapping(chart.described).items()
    }
    version = f"v{KUBERNETES[0]}.{KUBERNETES[1]}.0"
    return {
        "Values": chart.values,
        "Chart": {**described, "Name": chart.name, "IsRoot": "/charts/" not in chart.base},
        "Release": {
            "Name": "release-name",
            "Namespace": "default",
            "Service": "Helm",
            "Revision": 1,
            "IsInstall": True,
            "IsUpgrade": False,
        },
        "Capabilities": {
            "KubeVersion": {
                "Version": version,
                "GitVersion": version,
                "Major": str(KUBERNETES[0]),
                "Minor": str(KUBERNETES[1]),
            },
            "APIVersions": {"Has": _has},
            "HelmVersion": Unseen(".Capabilities.HelmVersion"),
        },
        "Template": {"Name": path, "BasePath": f"{chart.base}/templates"},
        "Files": Unseen(".Files"),
        "Subcharts": Unseen(".Subcharts"),
    }


def _has(version: object) -> bool:
    """Tell whether the cluster that a chart is told of has a version of an interface, or a kind in it."""
    return isinstance(version, str) and (version in API_GROUPS or version.rpartition("/")[0] in API_GROUPS)


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
        if path.endswith((".yaml", ".yml", ".tpl")) and (entry.size or 0) <= MAX_TEMPLATE:
            yield path, b"".join(reader.open(entry.locator))


def inspect_packed(content: Content) -> Iterator[ContentFact]:
    """Yield what the templates of a packed chart render to, with the chart's own default values.

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
    top = next(iter(files), "").partition("/")[0]
    if top:
        yield from rendered(top, files)


def rendered(top: str, files: dict[str, str]) -> Iterator[ContentFact]:
    """Yield what the templates of a chart in the folder `top` render to; see `inspect_packed`."""
    missed: list[str] = []
    charts = list(_charts(top, files, None, missed, 0))
    templates = Templates()
    bodies: dict[str, list[Statement]] = {}
    # The same name defined twice is the one that is read last: a chart's own before those of its subcharts.
    for path in sorted((path for path in files if "/templates/" in path), key=lambda path: (-path.count("/"), path)):
        try:
            bodies[path] = templates.read(files[path])
        except NotRendered as error:
            missed.append(f"{path} ({error})")
    found = Found("helm")
    count = steps = 0
    for chart in charts:
        if yaml_values.at(chart.described, "type") == "library":
            continue
        for path in sorted(bodies):
            inside = path.removeprefix(f"{chart.base}/templates/")
            if path == inside or posixpath.basename(path).startswith("_") or path.endswith(".tpl"):
                continue
            run = Run(templates, root(chart, path))
            try:
                if steps > MAX_WORK:
                    raise NotRendered(f"the chart takes more than {MAX_WORK} steps")
                text = run.render(bodies[path])
                documents = [yaml_values.value(document) for document in yaml_format.documents(text)]
            except (NotRendered, ValueError) as error:
                missed.append(f"{path} ({error})")
                continue
            finally:
                steps += run.steps
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


def _charts(
    base: str, files: dict[str, str], given: Values | None, missed: list[str], depth: int, name: str = ""
) -> Iterator[Chart]:
    """Yield a chart and those of its subcharts whose conditions hold, a chart before its subcharts.

    Args:
        base: the folder that holds it.
        files: all files.
        given: values that the chart around it gives it.
        missed: takes what is not followed.
        depth: charts around it.
        name: under which the chart around it knows it.
    """
    described: object = None
    for document in yaml_format.documents(files.get(f"{base}/Chart.yaml", "")):
        described = yaml_values.value(document)
    name = name or yaml_values.scalar(yaml_values.at(described, "name")) or ""
    if not name:
        return
    own = decoded(files.get(f"{base}/values.yaml", ""))
    chart = Chart(base, name, described, _given(own, given or {}))
    below: list[Chart] = []
    folders = {path[len(base) + 8 :].split("/")[0] for path in files if path.startswith(f"{base}/charts/")}
    for folder in sorted(folders):
        place = f"{base}/charts/{folder}"
        if f"{place}/Chart.yaml" not in files:
            continue
        if depth >= MAX_CHARTS:
            missed.append(f"{place} (subcharts in one another, deeper than {MAX_CHARTS})")
            continue
        for alias in _instances(files[f"{place}/Chart.yaml"], chart, missed):
            inner = chart.values.get(alias)
            handed = dict(inner) if isinstance(inner, dict) else {}
            shared = chart.values.get("global")
            mine = handed.get("global")
            if isinstance(shared, dict):
                handed["global"] = _given(mine, shared)
            more = list(_charts(place, files, handed, missed, depth + 1, alias))
            if more and len(below) + len(more) <= MAX_INSTANCES:
                chart.values[alias] = more[0].values
                below += more
    yield chart
    yield from below


def _given(own: object, given: Values) -> Values:
    """Return a chart's own values with what is given for it in their place."""
    try:
        return merged(mapping(own), given, "given")  # type: ignore[no-any-return] # mappings make one
    except NotRendered as error:
        raise ValueError(str(error)) from None


def _instances(text: str, parent: Chart, missed: list[str]) -> Iterator[str]:
    """Yield the names under which a chart takes a subchart in: none if its conditions or tags do not hold."""
    described: object = None
    for document in yaml_format.documents(text):
        described = yaml_values.value(document)
    name = yaml_values.scalar(yaml_values.at(described, "name")) or ""
    wanted = [
        entry
        for entry in items(yaml_values.at(parent.described, "dependencies"))
        if yaml_values.at(entry, "name") == name
    ]
    if not wanted and name:
        yield name
    for entry in wanted[:MAX_INSTANCES]:
        if yaml_values.at(entry, "import-values"):
            missed.append(f"{parent.base} (the values that it imports from {name})")
        if _is_on(entry, parent.values):
            yield yaml_values.scalar(yaml_values.at(entry, "alias")) or name


def _is_on(entry: object, values: Values) -> bool:
    """Tell whether a dependency is taken in: by the first of its conditions that has a value, else by its tags."""
    for condition in (yaml_values.scalar(yaml_values.at(entry, "condition")) or "").split(","):
        value = yaml_values.at(values, *condition.strip().split("."))
        if isinstance(value, bool):
            return value
    tags = [
        yaml_values.at(values, "tags", tag)
        for tag in map(yaml_values.scalar, items(yaml_values.at(entry, "tags")))
        if tag
    ]
    stated = [tag for tag in tags if isinstance(tag, bool)]
    return any(stated) if stated else True


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
    version=3,
    families=(Workload, Directive, Credential, KnownPassword, ExposedPort),
    inspect=inspect_packed,
    path_has=("gz",),
    wants_path=lambda path: path.endswith((".tgz", ".tar.gz")),
    max_size=MAX_PACKED,
    binary_only=True,
    containers=True,
    unseen=(
        "templates that need the chart's files, the cluster, the time, chance or unknown functions: each is named",
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
