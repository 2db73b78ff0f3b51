"""NFS: what is exported to whom, with which rights.

Looks at /etc/exports and /etc/exports.d/*.exports. Source: exports(5) of nfs-utils 1.2 to 2.8.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting

from .base import Content, ContentInspector, Tree, TreeInspector
from .effective import Effective, configured
from .late import late
from .starting import ANY, served

DIALECT = "exports"

DEFAULTS = {
    # of each group of options that exclude one another, the one that holds where none is stated
    ("ro", "rw"): "ro",
    ("sync", "async"): "sync",
    ("root_squash", "no_root_squash", "all_squash"): "root_squash",
    ("secure", "insecure"): "secure",
    ("subtree_check", "no_subtree_check"): "no_subtree_check",
    ("wdelay", "no_wdelay"): "wdelay",
    ("hide", "nohide"): "hide",
}

_WORD = late(r'"([^"]*)"(\S*)|(\S+)')
_CLIENT = late(r"([^(]*)(?:\(([^)]*)\))?")


def inspect(content: Content) -> Iterator[Directive]:
    """Yield one directive a client of an export: section the directory, key the client, value the options written."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(content.text().split("\n"), 1):
        line = raw.split("#", 1)[0].strip()
        if not parts:
            first = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        whole, parts = " ".join([*parts, line]), []
        words = [match[1] + match[2] if match[3] is None else match[3] for match in _WORD.finditer(whole)]
        if not words:
            continue
        directory, *clients = words
        general = ""
        for client in clients or [""]:
            if client.startswith("-"):
                general = client[1:]
                continue
            match = _CLIENT.match(client)
            assert match is not None
            options = ",".join(filter(None, (general, match[2])))
            yield Directive(dialect=DIALECT, section=directory, key=match[1] or "*", value=options, line=first)


def effective(written: str) -> str:
    """Return all options that hold, given those written: the last of those that exclude one another wins."""
    stated = [option.strip() for option in written.split(",") if option.strip()]
    found = []
    for group, default in DEFAULTS.items():
        found.append(next((option for option in reversed(stated) if option in group), default))
    if "all_squash" in stated and "no_root_squash" in stated:
        found.append("no_root_squash")
    known = {option for group in DEFAULTS for option in group}
    rest = [option for option in stated if option not in known]
    if not any(option.startswith("sec=") for option in rest):
        rest.append("sec=sys")
    return ",".join([*found, *dict.fromkeys(rest)])


def settings(tree: Tree) -> Iterator[Setting | Listener]:
    """Yield one setting an export and client: key the directory, scope the client, value all options that hold."""
    if not configured(tree, "exportfs", "rpc.nfsd", beside=("/etc/exports",)):
        return
    reading = Effective(tree, "exports", DIALECT, wants=INSPECTOR.wants_path)
    main = tree.lookup("/etc/exports")
    for file in [*([main] if main else []), *reading.directory("/etc/exports.d", (".exports",))]:
        for line in reading.lines(file):
            value = effective(line.value)
            reading.put(line.section or "", value, file, line.line, scope=line.key, which=f"{file.path}:{line.line}")
    yield from reading.settings()
    if any(reading.settings()):
        yield from served(tree, ("rpc.nfsd", "nfsdctl"), _listeners(reading))


def _listeners(reading: Effective) -> Iterator[Listener]:
    if reading.tree.lookup("/etc/nfs.conf") is None and not reading.tree.listdir("/etc/nfs.conf.d"):
        for address, _ in ANY:
            yield Listener(
                program="nfsd", protocol="tcp", address=address, port=2049, purpose="nfs", tls=False, origin="default"
            )


INSPECTOR = ContentInspector(
    name="exports",
    version=1,
    families=(Directive,),
    inspect=inspect,
    path_has=("exports",),
    wants_path=lambda path: path.endswith((".exports", "/etc/exports")),
    max_size=1 << 20,
    text_only=True,
)

SETTINGS = TreeInspector(
    name="exports-settings",
    version=2,
    families=(Setting, Listener),
    inspect=settings,
    unseen=(
        "What is exported at run time by exportfs; user-space servers (ganesha, unfs3).",
        "nfs.conf: where it is there, it may set hosts, ports and versions, and no socket is stated.",
    ),
)
