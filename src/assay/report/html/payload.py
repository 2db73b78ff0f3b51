"""The data that the page's own script shows: compressed JSON, written as it is read from the record."""

from __future__ import annotations

import base64
import zlib
from itertools import islice
from sqlite3 import Connection
from typing import Any, TextIO

from assay.facts import families
from assay.report.base import SEVERITIES, dumps, shortened, visible
from assay.report.evidence import decoded, fields, findings, selection
from assay.report.lists import LISTS
from assay.report.summary import MEASURES, Summary, binaries

TEXT, ITEMS = 2_000, 100
"""Characters of a text and items of a list that the page has; where there are more it says so, the record has them."""
CHUNK = 4_096
PLACES = 5
UNREAD = 5_000
MOST = 20_000
"""Rows of a list that the page has; the record has the others."""


class Packed:
    """A text stream that writes what it is given as base64 of gzip."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        self.rest = b""

    def write(self, text: str) -> None:
        """Take a piece."""
        self._put(self.compressor.compress(text.encode()))

    def close(self) -> None:
        """Write what is left."""
        self._put(self.compressor.flush())
        self.out.write(base64.b64encode(self.rest).decode())

    def _put(self, data: bytes) -> None:
        self.rest += data
        whole = len(self.rest) // 3 * 3
        if whole >= 1 << 16:
            self.out.write(base64.b64encode(self.rest[:whole]).decode())
            self.rest = self.rest[whole:]


def shown(value: Any) -> Any:  # noqa: ANN401 - any column's value
    """Return a column's value as the page shows it: harmless text, and no more of it than a person reads."""
    if type(value) is str:
        return visible(value) if len(value) <= TEXT else shortened(value, TEXT)
    if type(value) is bytes:
        return shown(value[: TEXT + 1].decode("utf-8", "backslashreplace"))
    if type(value) is list:
        more = [f"… {len(value) - ITEMS:,} more in the record"] if len(value) > ITEMS else []
        return [shown(item) for item in value[:ITEMS]] + more
    if type(value) is dict:
        return {shown(str(key)): shown(item) for key, item in islice(value.items(), ITEMS)}
    return value


def shown_json(values: list[Any]) -> str:
    """Return a row of values as JSON, each as `shown` has it. A row that has nothing to change is quick."""
    if bytes not in map(type, values):
        text = dumps(values)
        # JSON writes a control character with a backslash; any other harmful one is not printable.
        if len(text) <= TEXT and "\\" not in text and text.isprintable():
            return text
    return dumps(shown(values))


def prose(text: str) -> str:
    """Return a rule's text as one paragraph."""
    return visible(" ".join(text.split()))


def write_index(db: Connection, summary: Summary, out: TextIO) -> None:
    """Write what the lists need: rules, findings as columns (in chunks), binaries as columns."""
    packed = Packed(out)
    rules = [
        {
            "id": rule.id,
            "pack": rule.pack,
            "name": rule.name,
            "title": prose(rule.title),
            "document": rule.document,
            "clause": rule.clause,
            "criteria": rule.criteria or ["none stated"],
            "severity": rule.severity if rule.severity in SEVERITIES else "info",
            "verdict": rule.verdict,
            "reason": prose(rule.reason),
            "missing": rule.missing,
            "check": prose(rule.check),
            "limits": prose(rule.limits),
            "remedy": prose(rule.remedy),
            "references": rule.references,
            "run": rule.run,
        }
        for rule in summary.rules
    ]
    index = {rule.id: i for i, rule in enumerate(summary.rules)}
    names = list(families())
    number_of = {name: i for i, name in enumerate(names)}
    packed.write(f'{{"rules":{dumps(shown(rules))},"families":{dumps(names)},"findings":[')
    stream = findings(db)
    separator = ""
    while chunk := list(islice(stream, CHUNK)):
        columns = zip(
            *(
                (
                    number,
                    index[rule],
                    shown(message),
                    shown(path),
                    line,
                    offset,
                    tree,
                    file,
                    [part for family, fact in facts if family in number_of for part in (number_of[family], fact)],
                )
                for (number, rule, message, path, line, offset, tree, file), facts in chunk
            ),
            strict=True,
        )
        packed.write(separator + dumps(list(columns)))
        separator = ","
    packed.write('],"binaries":[')
    separator = ""
    for binary in binaries(db):
        states = "".join(getattr(binary, measure)[0] for measure in MEASURES)  # one letter each: y, p, n, u
        packed.write(f"{separator}{dumps([shown(binary.path), shown(binary.machine), binary.role, states])}")
        separator = ","
    packed.write('],"lists":[')
    separator = ""
    for listing in LISTS:
        head = {
            "name": listing.name,
            "title": listing.title,
            "text": listing.text,
            "columns": listing.columns,
            "total": listing.count(db),
            "looked": listing.looked(db),
        }
        packed.write(f'{separator}{dumps(head)[:-1]},"rows":[')
        between = ""
        for row in islice(listing.rows(db), MOST):
            packed.write(between + shown_json(row))
            between = ","
        packed.write("]}")
        separator = ","
    packed.write("]}")
    packed.close()


def write_facts(db: Connection, out: TextIO) -> None:
    """Write what one finding's page needs: facts, their contents, containers and collectors, unread places."""
    db.execute(
        """CREATE TEMP TABLE wanted AS SELECT DISTINCT e.family, e.fact
             FROM evidence AS e JOIN finding AS f ON f.id = e.finding JOIN current AS c ON c.verdict = f.verdict"""
    )
    db.execute("CREATE TEMP TABLE wanted_content (id INTEGER PRIMARY KEY)")
    packed = Packed(out)
    packed.write('{"facts":{')
    separator = ""
    for (family,) in db.execute("SELECT DISTINCT family FROM wanted ORDER BY family").fetchall():
        if family not in families():
            continue
        packed.write(f'{separator}{dumps(family)}:{{"columns":{dumps(fields(family))},"rows":{{')
        separator = ","
        wanted = "(SELECT fact FROM wanted WHERE family = ?)"
        between = ""
        for row in db.execute(f"{selection(family)} WHERE id IN {wanted} ORDER BY id", (family,)):
            packed.write(f'{between}"{row[0]}":{shown_json(decoded(family, row))}')
            between = ","
        if "content" in fields(family):
            db.execute(
                f"""INSERT OR IGNORE INTO wanted_content
                    SELECT content FROM "{family}" WHERE content IS NOT NULL AND id IN {wanted}""",  # noqa: S608
                (family,),
            )
        packed.write("}}")
    packed.write('},"contents":{')
    _contents(db, packed)
    for name, sql in TABLES.items():
        packed.write(f'}},"{name}":{{')
        separator = ""
        for number, *values in db.execute(sql):
            packed.write(f'{separator}"{number}":{shown_json(values)}')
            separator = ","
    packed.write("}}")
    packed.close()


TABLES = {
    "collectors": "SELECT id, name, version, run FROM collector",
    "runs": "SELECT id, command, version, started FROM run",
    "containers": f"""
        WITH RECURSIVE around (id) AS (
            SELECT f.tree FROM finding AS f JOIN current AS c ON c.verdict = f.verdict WHERE f.tree IS NOT NULL
            UNION SELECT container FROM (SELECT container FROM unread WHERE container IS NOT NULL
                                          ORDER BY scope = 'inspection', id LIMIT {UNREAD})
            UNION SELECT parent FROM container JOIN around ON around.id = container.id WHERE parent IS NOT NULL)
        SELECT id, path, format, parent, artefact, declared, listed, complete FROM container WHERE id IN around""",  # noqa: S608
    "unread": f"""
        SELECT id, container, file, path, scope, reason, "limit", detail, entries FROM unread
         ORDER BY scope = 'inspection', id LIMIT {UNREAD}""",  # noqa: S608
}
"""Tables of the page: name to a SELECT whose first column is the id."""


def _contents(db: Connection, packed: Packed) -> None:
    """Write the wanted contents: digest, size, kind, number of places, the first places."""
    places: dict[int, list[str]] = {}
    counts: dict[int, int] = {}
    for content, path in db.execute(
        "SELECT p.content, p.path FROM place AS p JOIN wanted_content AS w ON w.id = p.content"
    ):
        counts[content] = counts.get(content, 0) + 1
        if len(places.setdefault(content, [])) < PLACES:
            places[content].append(path)
    separator = ""
    for number, sha256, size, kind in db.execute(
        "SELECT id, sha256, size, kind FROM content WHERE id IN (SELECT id FROM wanted_content)"
    ):
        row = [sha256, size, kind, counts.get(number, 0), places.get(number, [])]
        packed.write(f'{separator}"{number}":{shown_json(row)}')
        separator = ","
