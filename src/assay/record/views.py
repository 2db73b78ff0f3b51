"""Views: questions that are asked of every record, answered once, for SQL and reports alike."""

from __future__ import annotations

SERVING = {
    "test": """*/test/* */tests/* */testsuite/* */testdata/* */test-data/* */test_data/* */testing/* */selftest/*
        */selftests/* */unittest/* */unittests/* */unit-tests/* */__tests__/* */fixtures/* */test_*.py *_test.go
        *_test.py""",
    "documentation": "*/share/doc/* */share/man/* */share/info/* */share/gtk-doc/* */docs/* */doc/*",
    "sample": "*/example/* */examples/* */sample/* */samples/* */demo/* */demos/* */demoCA/*",
}
"""Patterns of paths by what is kept there: conventions of build systems and test frameworks, FHS 3.0 (4.11)."""

_SERVES = " ".join(
    f"WHEN {' OR '.join(f'p GLOB {chr(39)}{pattern}{chr(39)}' for pattern in patterns.split())} THEN '{word}'"
    for word, patterns in SERVING.items()
)

_LISTENER = "(SELECT {} FROM listener AS x WHERE f.family = 'listener' AND x.id = f.fact)"
_SERVICE = "(SELECT {} FROM service AS x WHERE f.family = 'service' AND x.id = f.fact)"
_ACCOUNT = "(SELECT {} FROM account AS x WHERE f.family = 'account' AND x.id = f.fact)"
_PACKAGE = "(SELECT {} FROM package AS x WHERE f.family = 'package' AND x.id = f.fact)"
_ENDPOINT = "(SELECT {} FROM endpoint AS x WHERE f.family = 'endpoint' AND x.id = f.fact)"
_LOGS_IN = """CASE WHEN NOT x.login_shell OR x.password IN ('locked', 'invalid', 'missing') THEN x.authorized_keys > 0
                    WHEN x.password IN ('empty', 'hash') THEN 1 END"""


def _declared(field: str) -> str:
    # json_extract is not to be had in views of a file that may be hostile; json_each is.
    return f"(SELECT j.value FROM json_each(d.value) AS j WHERE j.key = '{field}')"  # noqa: S608


def _yes(value: str) -> str:
    return f"CASE {value} WHEN 1 THEN 'yes' WHEN 0 THEN 'no' END"


def _plain(value: str) -> str:
    return f"replace({value}, '.service', '')"


COMPARED = (
    ("port", "tls", _yes(_declared("tls")), _yes(_LISTENER.format("x.tls")), "="),
    ("port", "service", _plain(_declared("service")), _LISTENER.format(_plain("x.service")), "="),
    ("port", "purpose", f"lower({_declared('purpose')})", _LISTENER.format("lower(x.purpose)"), "in"),
    ("account", "login", _yes(_declared("login")), _yes(_ACCOUNT.format(_LOGS_IN)), "="),
    ("service", "user", _declared("user"), _SERVICE.format("iif(x.user = '0', 'root', x.user)"), "="),
    ("software", "version", _declared("version"), _PACKAGE.format("x.version"), "="),
    ("egress", "port", _declared("port"), _ENDPOINT.format("x.port"), "="),
)
"""Fields that a declaration and a fact both can state: topic, field, the two as SQL, and when they agree: the same, or
one text in the other."""

_OTHER_PROTOCOL = f"""(SELECT group_concat(DISTINCT x.protocol) FROM listener AS x
                       WHERE d.topic = 'port' AND f.fact IS NULL AND x.port = {_declared("port")}
                         AND x.enabled IS NOT 0 AND x.protocol IN ('tcp', 'udp', 'sctp'))"""  # noqa: S608


def _differs() -> str:
    """Return SQL that names the fields in which a declaration and what was found are not the same; NULL if in none."""
    parts = [f"coalesce('; protocol: declared ' || {_declared('protocol')} || ', found ' || {_OTHER_PROTOCOL}, '')"]
    for topic, field, declared, found, agree in COMPARED:
        same = f"{declared} = {found}" if agree == "=" else f"instr({declared}, {found}) OR instr({found}, {declared})"
        said = f"'; {field}: declared ' || {declared} || ', found ' || {found}"
        parts.append(f"CASE WHEN d.topic = '{topic}' AND NOT ({same}) THEN {said} ELSE '' END")
    return f"nullif(substr({' || '.join(parts)}, 3), '')"


_DIFFERS = _differs()

VIEWS = {
    "symbol": (
        "Dynamic symbols of ELF files, one row each, out of elf.imports and elf.exports.",
        """SELECT elf.id AS elf, elf.content AS content, 'import' AS kind, j.value AS name
             FROM elf, json_each(elf.imports) AS j
           UNION ALL
           SELECT elf.id, elf.content, 'export', j.value FROM elf, json_each(elf.exports) AS j""",
    ),
    "accounted": (
        "Every stretch of an artefact's or container's bytes; searched ones are shown as what was found in them.",
        """SELECT artefact, container, "offset", length, kind, "by", entropy
             FROM region WHERE "by" NOT GLOB 'carved: @*'
           UNION ALL
           SELECT r.artefact, CASE WHEN p.parent IS NOT NULL THEN p.id END, k."offset" + r."offset", r.length, r.kind,
                  r."by", r.entropy
             FROM container AS k JOIN container AS p ON p.id = k.parent JOIN region AS r ON r.container = k.id
            WHERE k."offset" IS NOT NULL""",
    ),
    "place": (
        "Every place of every content: full path through the containers, down to the file.",
        """SELECT f.content AS content, f.id AS file, f.container AS container, c.path || f.path AS path
             FROM file AS f JOIN container AS c ON c.id = f.container WHERE f.content IS NOT NULL
           UNION ALL
           SELECT a.content, NULL, NULL, 'artefact:' || a.id FROM artefact AS a WHERE a.content IS NOT NULL""",
    ),
    "sample_place": (
        "Places that serve tests, documentation or as samples, by their path or that of the archive around them.",
        f"""SELECT content, file, container, path, CASE {_SERVES} END AS serves
             FROM (SELECT f.content AS content, f.id AS file, f.container AS container, c.path || f.path AS path,
                          iif(c.id IN (SELECT tree FROM coverage), '', coalesce(h.path, '')) || f.path AS p
                     FROM file AS f JOIN container AS c ON c.id = f.container LEFT JOIN file AS h ON h.id = c.file
                    WHERE f.content IS NOT NULL)
            WHERE serves IS NOT NULL""",  # noqa: S608 - words of our own
    ),
    "way_in": (
        "Every way in: accounts, keys, consoles, listeners, ports, agents, product accounts, written passwords, calls.",
        """SELECT e.kind, e.name, e.detail, e.active, e.evidence, c.path || coalesce(e.path, '') AS path, e.line,
                  'entrance' AS family, e.id AS fact
             FROM entrance AS e JOIN container AS c ON c.id = e.tree
           UNION ALL
           SELECT 'listener', l.program,
                  l.protocol || coalesce('/' || l.port, '') || ' on ' || coalesce(nullif(l.address, ''), '(not stated)')
                  || coalesce(' for ' || l.purpose, '')
                  || CASE l.tls WHEN 1 THEN ', protected' WHEN 0 THEN ', in clear' ELSE '' END
                  || iif(l.installed = 0, '; configured, but its program is not in this tree', ''),
                  iif(l.installed = 0, nullif(l.enabled, 1), coalesce(l.enabled,
                    (SELECT max(s.enabled) FROM service AS s
                    WHERE s.tree = l.tree AND l.origin <> 'unit'
                      AND (s.name IN (l.program, l.program || '.service') OR s.executable GLOB '*/' || l.program)))),
                  l.origin, c.path || coalesce(l.path, ''), l.line, 'listener', l.id
             FROM listener AS l JOIN container AS c ON c.id = l.tree
           UNION ALL
           SELECT 'exposed-port', x.of,
                  x.protocol || coalesce('/' || x.port || coalesce('-' || x.until, ''), '')
                  || CASE x.how WHEN 'image' THEN ', declared by the image' WHEN 'container' THEN ' of the container'
                                WHEN 'service' THEN ' of the service' WHEN 'node' THEN ' on every node'
                                ELSE ' on the host' END
                  || iif(x.address = '', '', ' at ' || x.address) || coalesce(' for ' || x.name, ''),
                  NULL, x.dialect, w.path, x.line, 'exposed_port', x.id
             FROM exposed_port AS x JOIN place AS w ON w.content = x.content
           UNION ALL
           SELECT 'product-account', p.name, 'password ' || p.password || coalesce(', role ' || p.role, ''), p.enabled,
                  p.store, w.path, p.line, 'product_account', p.id
             FROM product_account AS p JOIN place AS w ON w.content = p.content
           UNION ALL
           SELECT 'known-password', k.account, 'entry ' || k.entry || ' of ' || k.origin, NULL,
                  k.scheme, w.path, k.line, 'known_password', k.id
             FROM known_password AS k JOIN place AS w ON w.content = k.content
           UNION ALL
           SELECT 'hard-coded-credential', coalesce(h.subject, ''), h.scheme, NULL, h.evidence, w.path, h.line,
                  'credential', h.id
             FROM credential AS h JOIN place AS w ON w.content = h.content WHERE h.kind = 'hard-coded'
           UNION ALL
           SELECT 'request-command', r.sink, r.text, NULL, r.language, w.path, r.line, 'request_command', r.id
             FROM request_command AS r JOIN place AS w ON w.content = r.content""",
    ),
    "way_out": (
        "Every way out: hosts and addresses that contents name, with the purpose that the words around them show.",
        """SELECT coalesce(e.host, e.value) AS host, e.port, e.kind, e.scope, e.purpose, e.value, e.context, e.count,
                  w.path, e.line, e."offset", 'endpoint' AS family, e.id AS fact
             FROM endpoint AS e JOIN place AS w ON w.content = e.content""",
    ),
    "start": (
        "Everything that starts, when and as whom: services that are enabled, or of which that cannot be told.",
        """SELECT s.name, s.manager, s.enabled, s.trigger, s.user, s.command, s.enabled_by,
                  c.path || coalesce(s.path, '') AS path, s.line, 'service' AS family, s.id AS fact
             FROM service AS s JOIN container AS c ON c.id = s.tree WHERE s.enabled IS NOT 0""",
    ),
    "unsafe_call": (
        "Direct calls by binary, family and variant: call sites of unbounded, bounded, checked and safe functions.",
        """SELECT w.path, s.family AS calls, s.variant, group_concat(DISTINCT s.function) AS functions,
                  sum(s.sites) AS sites, sum(s.sites IS NULL) AS uncounted, 'call_sites' AS family, min(s.id) AS fact
             FROM call_sites AS s JOIN place AS w ON w.content = s.content GROUP BY w.path, s.family, s.variant""",
    ),
    "library_copy": (
        "Shared libraries by DT_SONAME: how many distinct contents, builds and places bear the name.",
        """SELECT e.soname, count(DISTINCT e.content) AS contents, count(DISTINCT e.build_id) AS builds,
                  count(w.path) AS places, group_concat(DISTINCT e.machine) AS machines, min(w.path) AS example
             FROM elf AS e JOIN place AS w ON w.content = e.content WHERE e.soname IS NOT NULL GROUP BY e.soname""",
    ),
    "manifest_check": (
        "Each file that a package's manifest names: whether it is there, and whether it has the stated SHA-256.",
        """SELECT m.kind, m.name, m.algorithm, m.digest, k.sha256 AS found,
                  CASE WHEN f.id IS NULL THEN 'absent' WHEN m.digest IS NULL THEN 'no digest stated'
                       WHEN m.algorithm IS NOT 'sha256' THEN 'not compared' WHEN k.id IS NULL THEN 'not read'
                       WHEN k.sha256 = m.digest THEN 'same' ELSE 'different' END AS state,
                  m.path, m.line, f.id AS file, 'manifest_entry' AS family, m.id AS fact
             FROM (SELECT e.*, c.path || own.path AS path,
                          coalesce((SELECT max(n.id) FROM file AS n WHERE n.container = own.container AND n.path =
                                           rtrim(own.path, replace(own.path, '/', '')) || ltrim(e.name, './')),
                                   (SELECT max(n.id) FROM file AS n WHERE n.container = own.container
                                       AND n.path = '/' || ltrim(e.name, './')),
                                   (SELECT max(n.id) FROM file AS h JOIN container AS b ON b.file = h.id
                                      JOIN file AS n ON n.container = b.id AND n.path = '/' || ltrim(e.name, './')
                                     WHERE e.kind = 'rauc' AND h.container = own.container
                                       AND h.path = '/bundle.squashfs'),
                                   (SELECT max(n.id) FROM file AS h JOIN container AS b ON b.file = h.id
                                      JOIN file AS i ON i.container = b.id LEFT JOIN container AS t ON t.file = i.id
                                      JOIN file AS n ON n.container IN (b.id, t.id)
                                           AND n.path = '/' || substr(e.name, 11)
                                     WHERE e.kind = 'mender' AND e.name GLOB 'data/[0-9][0-9][0-9][0-9]/*'
                                       AND h.container = own.container
                                       AND h.path GLOB '/' || substr(e.name, 1, 9) || '.tar*')) AS named
                     FROM manifest_entry AS e JOIN file AS own ON own.content = e.content
                     JOIN container AS c ON c.id = own.container) AS m
             LEFT JOIN file AS f ON f.id = m.named LEFT JOIN content AS k ON k.id = f.content""",
    ),
    "subscriber_data": (
        "Every place where a subscriber's or device's identity would be written or kept.",
        """SELECT s.identifier, s.sink, s.text, s.evidence, w.path, s.line, s."offset",
                  'subscriber_sink' AS family, s.id AS fact
             FROM subscriber_sink AS s JOIN place AS w ON w.content = s.content""",
    ),
    "found": (
        "What the release shows of each topic that a statement can declare, by the key that a declaration would have.",
        """SELECT 'port' AS topic, protocol || '/' || port AS key, 'listener' AS family, id AS fact FROM listener
            WHERE port IS NOT NULL AND protocol IN ('tcp', 'udp', 'sctp') AND enabled IS NOT 0
           UNION ALL SELECT 'port', protocol || '/' || port, 'exposed_port', id FROM exposed_port WHERE port IS NOT NULL
           UNION ALL SELECT 'account', 'os/' || name, 'account', id FROM account
           UNION ALL SELECT 'account', 'product/' || name, 'product_account', id FROM product_account
           UNION ALL SELECT 'service', iif(name GLOB '*.service', substr(name, 1, length(name) - 8), name),
                            'service', id FROM service WHERE enabled = 1
           UNION ALL SELECT 'software', name, 'package', id FROM package WHERE status != 'removed'
           UNION ALL SELECT 'role', role, 'product_account', id FROM product_account WHERE role IS NOT NULL
           UNION ALL SELECT 'escalation', mechanism || ':' || CASE mechanism
                                   WHEN 'polkit' THEN command || iif(who = 'everyone', '', ' ' || who) ELSE who END,
                            'escalation', id FROM escalation
           UNION ALL SELECT 'escalation', 'setuid:' || path, 'file', id FROM file
                      WHERE type IN ('regular', 'hardlink') AND mode & 3072 AND mode & 73
           UNION ALL SELECT 'escalation', 'file-capability:' || path, 'file', id
                       FROM file WHERE capabilities IS NOT NULL
           UNION ALL SELECT 'egress', host, 'endpoint', id FROM endpoint AS e
                      WHERE host IS NOT NULL AND scope = 'global' AND kind != 'mail'
                        AND coalesce(purpose, '') NOT IN ('documentation', 'namespace', 'test', 'certificate')
                        AND EXISTS (SELECT 1 FROM place AS w WHERE w.content = e.content
                                       AND NOT (w.path GLOB '*/share/doc/*' OR w.path GLOB '*/share/man/*'
                                                OR w.path GLOB '*/share/info/*' OR w.path GLOB '*/locale/*'
                                                OR w.path GLOB '*/hwdb.d/*'))
           UNION ALL SELECT 'sbom', name || '@' || version, 'package', id FROM package WHERE status != 'removed'""",
    ),
    "declared_found": (
        "Declared and found by topic: both, and in what they differ; declared only; found only (of declared topics).",
        f"""SELECT d.topic, d.key, iif(f.fact IS NULL, 'declared only', 'both') AS state,
                  d.id AS declared, f.family, f.fact, {_DIFFERS} AS differs
             FROM declared AS d LEFT JOIN found AS f ON f.topic = d.topic AND f.key = d.key
           UNION ALL
           SELECT f.topic, f.key, 'found only', NULL, f.family, f.fact, NULL FROM found AS f
            WHERE f.topic IN (SELECT topic FROM declared
                              UNION SELECT j.value FROM statement AS s, json_each(s.topics) AS j)
              AND NOT EXISTS (SELECT 1 FROM declared AS d WHERE d.topic = f.topic AND d.key = f.key)""",  # noqa: S608
    ),
    "latest_verdict": (
        "The newest verdict of each rule, with the rule's text.",
        """SELECT v.id AS verdict_id, r.pack, r.name, r.clause, r.title, r.criteria, r.severity, r.power,
                  v.verdict, v.missing, v.reason, v.looked, v.findings
             FROM verdict AS v JOIN rule AS r ON r.id = v.rule
            WHERE v.id IN (SELECT max(v2.id) FROM verdict AS v2 JOIN rule AS r2 ON r2.id = v2.rule GROUP BY r2.name)""",
    ),
}
"""Views of the record: name to (description, SELECT)."""
