"""What the record shows, as lists that every evaluation asks for: ways in and out, what starts, calls, people's data.

Each is one question in SQL, mostly on a view of the same name; reports show them, `assay query` can ask more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any


@dataclass(frozen=True)
class Listing:
    """A list of facts."""

    name: str
    title: str
    text: str
    """What a row is."""
    families: tuple[str, ...]
    """Families that it is made of: it can be empty because nobody looked."""
    columns: tuple[str, ...]
    sql: str
    truths: tuple[str, ...] = ()
    """Columns that are truth values: shown as yes, no, unknown."""

    def rows(self, db: Connection) -> Iterator[list[Any]]:
        """Yield its rows."""
        if self._empty(db):
            return
        places = [self.columns.index(name) for name in self.truths]
        for row in db.execute(self.sql):
            shown = list(row)
            for at in places:
                shown[at] = TRUTH.get(shown[at], "unknown")
            yield shown

    def count(self, db: Connection) -> int:
        """Return how many rows it has."""
        return 0 if self._empty(db) else int(db.execute(f"SELECT count(*) FROM ({self.sql})").fetchone()[0])  # noqa: S608

    def _empty(self, db: Connection) -> bool:
        """Tell whether none of its families has a fact: the places of all contents need not be asked for then."""
        return not any(db.execute(f'SELECT EXISTS (SELECT 1 FROM "{name}")').fetchone()[0] for name in self.families)  # noqa: S608

    def looked(self, db: Connection) -> int:
        """Return how many contents and trees were looked at for it."""
        marks = ",".join("?" * len(self.families))
        sql = f"SELECT coalesce(sum(looked), 0) FROM coverage WHERE family IN ({marks})"  # noqa: S608
        return int(db.execute(sql, self.families).fetchone()[0])


TRUTH = {1: "yes", 0: "no"}

LISTS = (
    Listing(
        "way-in",
        "Ways in",
        "An account, key, console, listener, agent or page through which somebody could act on the system.",
        ("entrance", "listener", "exposed_port", "product_account", "known_password", "credential", "request_command"),
        ("kind", "name", "detail", "open at start", "rests on", "place"),
        """SELECT kind, name, detail, active, evidence, path || coalesce(':' || line, '')
              FROM way_in ORDER BY active IS 0, kind, name, path""",
        truths=("open at start",),
    ),
    Listing(
        "credential",
        "Credentials",
        "A secret or verifier: its kind, place and fingerprint, never the secret. Those of samples come last.",
        ("credential",),
        ("kind", "scheme", "of", "bits", "encrypted", "rests on", "fingerprint", "place serves", "place"),
        """SELECT c.kind, c.scheme, coalesce(c.subject, ''), c.bits, c.encrypted, c.evidence,
                  coalesce(c.fingerprint, ''),
                  coalesce((SELECT s.serves FROM sample_place AS s WHERE s.content = c.content AND s.file = w.file), '')
                    AS serves,
                  w.path || coalesce(':' || c.line, '')
             FROM credential AS c JOIN place AS w ON w.content = c.content
            ORDER BY serves != '', c.kind, c.scheme, w.path, c.line""",
        truths=("encrypted",),
    ),
    Listing(
        "way-out",
        "Ways out",
        "A host or address outside that contents name, with the purpose that the words around it show.",
        ("endpoint",),
        ("host", "port", "scope", "purpose", "found", "contents", "for example", "place"),
        """SELECT host, group_concat(DISTINCT port), min(scope), coalesce(group_concat(DISTINCT purpose), ''),
                  group_concat(DISTINCT kind), count(DISTINCT path), min(value),
                  coalesce(min(iif(path GLOB '*/share/doc/*', NULL, path)), min(path))
             FROM way_out WHERE kind != 'mail' GROUP BY host
            ORDER BY min(scope) != 'global', min(path GLOB '*/share/doc/*' OR path GLOB '*/share/man/*'),
                     min(coalesce(purpose, '') IN ('documentation', 'namespace')), count(*) DESC, host""",
    ),
    Listing(
        "start",
        "What starts",
        "A service that is enabled, or of which the image cannot tell.",
        ("service",),
        ("name", "manager", "starts", "trigger", "as", "command", "place"),
        """SELECT name, manager, enabled, trigger, coalesce(user, 'unknown'), command, path
              FROM start ORDER BY enabled IS NULL, name""",
        truths=("starts",),
    ),
    Listing(
        "unsafe-call",
        "Calls",
        "Direct calls of the memory and string families in one binary, by variant.",
        ("call_sites",),
        ("family", "variant", "sites", "functions", "binary"),
        """SELECT calls, variant, sites, functions, path FROM unsafe_call
            ORDER BY CASE variant WHEN 'unbounded' THEN 0 WHEN 'bounded' THEN 1 ELSE 2 END, sites DESC, path""",
    ),
    Listing(
        "subscriber-data",
        "People's data",
        "A place where a subscriber's or device's identity is written or kept, or a function on people's traffic.",
        ("subscriber_sink", "capability"),
        ("of", "how", "text", "rests on", "place"),
        """SELECT identifier, sink, text, evidence, path || coalesce(':' || line, '') FROM subscriber_data
           UNION ALL
           SELECT c.kind || coalesce(' ' || c.interface, ''), 'function', c.text, c.evidence, w.path
             FROM capability AS c JOIN place AS w ON w.content = c.content
            ORDER BY 2, 1, 5""",
    ),
    Listing(
        "escalation",
        "Rights",
        "A means to act with other rights than one's own.",
        ("escalation", "file"),
        ("mechanism", "who", "as", "what", "password", "program there", "place"),
        """SELECT e.mechanism, e.who, e.target, e.command, e.password, e.installed, c.path || coalesce(e.path, '')
              FROM escalation AS e JOIN container AS c ON c.id = e.tree
            UNION ALL
            SELECT iif(f.mode & 2048, 'setuid', 'setgid'), 'everyone', coalesce(f.owner, f.uid, ''), f.path, 0,
                   1, c.path || f.path
              FROM file AS f JOIN container AS c ON c.id = f.container
             WHERE f.type IN ('regular', 'hardlink') AND f.mode & 3072 AND f.mode & 73
            UNION ALL
            SELECT 'file-capability', 'everyone', f.capabilities, f.path, 0, 1, c.path || f.path
              FROM file AS f JOIN container AS c ON c.id = f.container WHERE f.capabilities IS NOT NULL
             ORDER BY 1, 2, 4""",
        truths=("password", "program there"),
    ),
    Listing(
        "setting",
        "Settings",
        "The effective value of a setting, and where it comes from.",
        ("setting",),
        ("of", "key", "value", "under", "from", "place"),
        """SELECT s.subsystem, s.key, s.value, s.scope, s.origin,
                  c.path || coalesce(s.path, '') || coalesce(':' || s.line, '')
             FROM setting AS s JOIN container AS c ON c.id = s.tree ORDER BY s.subsystem, s.key, s.scope""",
    ),
    Listing(
        "certificate",
        "Certificates",
        "An X.509 certificate; the names in it are in the record's family identity.",
        ("certificate",),
        ("key", "bits", "signed with", "from", "until", "CA", "self-signed", "fingerprint", "place"),
        """SELECT t.key, coalesce(t.curve, t.bits), t.signature, substr(t.not_before, 1, 10),
                   substr(t.not_after, 1, 10),
                   t.ca, t.self_signed, t.fingerprint, w.path
              FROM certificate AS t JOIN place AS w ON w.content = t.content ORDER BY t.not_after, t.fingerprint""",
        truths=("CA", "self-signed"),
    ),
    Listing(
        "cryptography",
        "Cryptography",
        "An algorithm's constants, a library, or a source of random numbers in a content.",
        ("cipher_table", "crypto_library", "random_source"),
        ("what", "which", "detail", "place"),
        """SELECT 'algorithm', t.algorithm, t.constant || coalesce(' in ' || t.function, ''), w.path
             FROM cipher_table AS t JOIN place AS w ON w.content = t.content
           UNION ALL
           SELECT 'library', l.library || coalesce(' ' || l.version, ''), l.role, w.path
             FROM crypto_library AS l JOIN place AS w ON w.content = l.content
           UNION ALL
           SELECT 'random numbers', r.name, r.kind, w.path
             FROM random_source AS r JOIN place AS w ON w.content = r.content
            ORDER BY 1, 2, 4""",
    ),
    Listing(
        "licence",
        "Licences",
        "A licence that a content states or that published code found in it has.",
        ("licence", "known_code"),
        ("expression", "rests on", "of", "place"),
        """SELECT l.expression, l.evidence, coalesce(l.scope, l.stated, ''), w.path
             FROM licence AS l JOIN place AS w ON w.content = l.content
           UNION ALL
           SELECT k.expression, 'code of ' || k.project || iif(k.notice, '', ', without its notice'), k.role, w.path
             FROM known_code AS k JOIN place AS w ON w.content = k.content
            ORDER BY 1, 4""",
    ),
    Listing(
        "workload",
        "Workloads",
        "A container that an orchestrator is told to run.",
        ("workload",),
        ("kind", "name", "container", "image", "privileged", "user", "host", "mounts", "capabilities", "place"),
        """SELECT k.kind, k.name, k.container, k.image, k.privileged, k.user, k.host, k.mounts, k.capabilities,
                   w.path
              FROM workload AS k JOIN place AS w ON w.content = k.content ORDER BY 1, 2, 3""",
        truths=("privileged",),
    ),
    Listing(
        "left-over",
        "Leftovers",
        "Something that serves building, testing or finding faults, or that building left.",
        ("leftover", "build_trace"),
        ("kind", "what", "rests on", "place"),
        """SELECT l.kind, '', l.evidence, c.path || coalesce(l.path, '')
             FROM leftover AS l JOIN container AS c ON c.id = l.tree
           UNION ALL
           SELECT b.kind, b.value, 'text', w.path FROM build_trace AS b JOIN place AS w ON w.content = b.content
            ORDER BY 1, 4""",
    ),
    Listing(
        "declared",
        "Declared and found",
        "What a statement declares, what was found, in what they differ, and which of them the other does not have.",
        ("declared",),
        ("topic", "key", "state", "differs", "declared as", "found as"),
        """SELECT d.topic, d.key, d.state, coalesce(d.differs, ''), s.value, d.family || ' ' || d.fact
             FROM declared_found AS d LEFT JOIN declared AS s ON s.id = d.declared ORDER BY d.topic, d.state, d.key""",
    ),
)
"""The lists, in the order in which they are shown."""
