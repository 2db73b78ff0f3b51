"""Text of a request that reaches a command or an interpreter, in scripts: within one statement, or through a variable.

Hyperscan finds where a script reads a request, outside of comments, of strings that nothing is filled into, and of the
page around the script. From there, the functions whose arguments it stands in are read
outwards; where it is put into a variable, so are the places of that variable in the next lines. What passes a function
that quotes, converts or checks it is not told. It says what reaches what; not who can call the script,
nor what happens then.

Reference: RFC 3875, 4.1 (CGI meta-variables); the manuals of PHP (superglobals, program execution), Python (subprocess,
cgi; Flask, Django), Perl (CGI, perlipc), Lua (LuCI, lua-nginx-module), POSIX sh (2.6.5, field splitting), Jakarta
Servlet, Node.js (child_process; Express).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from assay.facts.access import RequestCommand
from assay.unpack.base import LimitReached

from .base import Buffer, Content, ContentInspector, Expression, numbered
from .scan import MAX_HITS
from .script_text import MAX_BYTES, Kind, ScriptText
from .secrecy import withhold

MAX_FACTS = 1_000
MAX_SOURCES = 5_000
"""Places of one content that are looked at."""
BACK, AHEAD = 400, 700
"""Bytes before a place in which the call begins; bytes behind an assignment in which its variable is followed."""
LINES = 6
"""Lines behind an assignment in which its variable is followed."""
MAX_TEXT = 200


class Source(NamedTuple):
    """How a script reads a request."""

    language: str
    trigger: bytes


SOURCES = (
    Source("php", rb"\$_(?:GET|POST|REQUEST|COOKIE|FILES)"),
    Source("php", rb"\$_SERVER\[[\"'](?:HTTP_|QUERY_STRING|REQUEST_URI|PATH_INFO|PHP_AUTH)"),
    Source("php", rb"php://input"),
    Source("php", rb"\$HTTP_(?:GET|POST)_VARS"),
    Source("sh", rb"\$\{?(?:QUERY_STRING|HTTP_[A-Z]{4,12}|REQUEST_URI|PATH_INFO)"),
    Source("python", rb"(?:request|req)\.(?:args|form|values|json|GET|POST|get_json|cookies|headers)"),
    Source("python", rb"\.get(?:value|first|list|_argument)\([\"']"),
    Source("python", rb"environ(?:\.get\(|\[)[\"'](?:QUERY_STRING|HTTP_|PATH_INFO|REQUEST_URI)"),
    Source("perl", rb"param\([\"']"),
    Source("perl", rb"\$ENV\{[\"']?(?:QUERY_STRING|HTTP_|PATH_INFO|REQUEST_URI)"),
    Source("lua", rb"formvalue\("),
    Source("lua", rb"ngx\.(?:var\.arg_|req\.get_(?:uri_args|post_args|body_data|headers))"),
    Source("lua", rb"os\.getenv\([\"'](?:QUERY_STRING|HTTP_|PATH_INFO|REQUEST_URI)"),
    Source("java", rb"\.get(?:Parameter|Header|QueryString)\("),
    Source("javascript", rb"(?:req|request|ctx)\.(?:query|body|params|headers|cookies)"),
)

SINKS = {
    "php": """system exec shell_exec passthru popen proc_open pcntl_exec eval assert create_function call_user_func
        call_user_func_array include include_once require require_once preg_replace""",
    "python": """os.system os.popen eval exec commands.getoutput commands.getstatusoutput subprocess.getoutput
        subprocess.getstatusoutput subprocess.call subprocess.run subprocess.Popen subprocess.check_output
        subprocess.check_call os.execl os.execlp asyncio.create_subprocess_shell system popen getoutput
        getstatusoutput call run Popen check_output check_call create_subprocess_shell""",
    "perl": "system exec eval qx open",
    "lua": "os.execute io.popen loadstring load dofile luci.sys.exec luci.sys.call luci.util.exec sys.exec sys.call",
    "java": "ProcessBuilder",
    "javascript": """exec execSync child_process.exec child_process.execSync cp.exec cp.execSync eval Function
        vm.runInNewContext vm.runInThisContext""",
}
_WITH_SHELL = re.compile(r"(?:subprocess\.)?(?:call|run|Popen|check_output|check_call)")
"""Functions of Python that give a shell their text only if they are told to."""
_SINKS = {language: frozenset(names.split()) for language, names in SINKS.items()}
# Methods named exec are those of regular expressions, too: what they belong to has to be seen.
_METHODS = {
    "java": re.compile(r"(?i).*(?:runtime\(?\)?|\brt)\.exec"),
    "javascript": re.compile(r".*require\([\"']child_process[\"']\)\.exec(?:Sync)?"),
}

CLEANING = frozenset(
    """intval floatval int float isset empty in_array array_key_exists basename md5 sha1 hash crc32 strlen count
    tonumber parseint number len match fullmatch quotemeta test isnumeric isdigit urlencode rawurlencode
    encodeuricomponent htmlspecialchars addslashes equals shellquote shell_quote shellescape""".split()  # noqa: SIM905
)
CLEANING_STARTS = (
    "escape", "is_", "ctype_", "preg_match", "filter_", "quote", "sanitize", "valid", "check", "clean", "whitelist",
    "allowed",
)  # fmt: skip
"""Functions behind which it is no longer the request's own text, or has been looked at; by their usual names."""

_PARENTHESIS = re.compile(r"[()]")
_NAME_BEFORE = re.compile(r"\s{0,3}([\w.:>$@!-]{0,60})")
"""Reversed: the function whose arguments begin."""
MAX_DEPTH = 12
"""Calls inside each other that are looked at."""
_CAST = re.compile(r"\(\s{0,3}(?:int|integer|float|bool)\s{0,3}\)\s{0,3}\Z")
_COMPARED = re.compile(r"[\w\"'\]\[)(]{0,60}\s{0,4}(?:[=!]==?|\beq\b|\bne\b|~=)")
_ASSIGNED = {
    "php": re.compile(r"\$(\w{1,60})\s{0,8}\.?=(?![=>~])[^;]{0,300}\Z"),
    "perl": re.compile(r"\$(\w{1,60})\s{0,8}\.?=(?![=>~])[^;]{0,300}\Z"),
    "sh": re.compile(r"(?:^|[\s;])(\w{1,60})=[^;]{0,300}\Z"),
}
_ASSIGNED_PLAIN = re.compile(r"(?:^|[\s;{(])(\w{1,60})\s{0,8}=(?![=>~])[^;]{0,300}\Z")
_KEYWORD = {
    "php": re.compile(r"(?:^|[\s;{@(])(include|include_once|require|require_once)\s+[^;()]{0,200}\Z"),
    "perl": re.compile(r"(?:^|[\s;{(=])(system|exec|eval)\s+[\"'$][^;()]{0,200}\Z"),
}
_REGEX_EVAL = re.compile(r"preg_replace\(\s{0,4}[\"'](\W)[^\"'\r\n]{0,100}\1[imsxADSUXJu]{0,8}e[imsxADSUXJu]{0,8}[\"']")
_CALLED = re.compile(r"(?:\[[^\[\]\r\n]{1,60}\])?\s{0,4}\(")


def inspect(content: Content) -> Iterator[RequestCommand]:
    """Yield the places, in order.

    Raises:
        LimitReached: a content has more places than are looked at, or they lie further behind.
    """
    found: dict[int, RequestCommand] = {}
    scripts: dict[str, Script] = {}
    perl = b"perl" in content.head[:100] or b"use CGI" in content.head
    places = content.hits.places
    for end, number in places[:MAX_SOURCES]:
        source = SOURCES[number]
        if (source.language == "perl" and not perl) or end > MAX_BYTES:
            continue
        script = scripts.get(source.language)
        if script is None:
            script = scripts[source.language] = Script(content.data, source.language)
        for at, fact in _follow(script, end, source):
            found.setdefault(at, fact)
        if len(found) >= MAX_FACTS:
            break
    yield from numbered(content, (fact for _, fact in sorted(found.items())))
    if content.hits.cut or len(places) > MAX_SOURCES or len(found) >= MAX_FACTS:
        raise LimitReached("places that read a request", min(MAX_SOURCES, MAX_HITS))
    if any(end > MAX_BYTES for end, _ in places):
        raise LimitReached("bytes of a script", MAX_BYTES)


class Place(NamedTuple):
    """A place in a script, with what is before and behind it: the code alone, and as it is written."""

    before: str
    after: str
    at: int
    kind: Kind
    written: tuple[str, str]

    @property
    def line(self) -> str:
        """Return what is before it on its line."""
        return self.before[self.before.rfind("\n") + 1 :]


class Script:
    """A content as a script of one language."""

    def __init__(self, data: Buffer, language: str) -> None:
        self.data = bytes(data[:MAX_BYTES])
        self.language = language
        self.text = ScriptText(self.data, language)

    def place(self, start: int, end: int, floor: int = 0) -> Place | None:
        """Return a place; None where it is no code, nor in a string that it is filled into."""
        kind = self.text.kind(start)
        if kind is Kind.TEXT:
            return None
        if kind is Kind.FILLED and (self.data[start : start + 1] != b"$" or self.data[start - 1 : start] == b"\\"):
            return None
        first = max(floor, start - BACK)
        cuts = (slice(first, start), slice(end, end + BACK))
        before, after = (self.text.plain[cut].decode("latin-1") for cut in cuts)
        written = [self.data[cut].decode("latin-1") for cut in cuts]
        return Place(before, after, start, kind, (written[0], written[1]))


@cache
def _whole(source: Source) -> re.Pattern[bytes]:
    return re.compile(rb"(?:" + source.trigger + rb")\Z")


_TAIL = re.compile(rb"[\w]{0,40}")


def _follow(script: Script, end: int, source: Source) -> Iterator[tuple[int, RequestCommand]]:
    data, language = script.data, script.language
    window = data[max(0, end - 64) : end]
    match = _whole(source).search(window)
    if match is None:
        return
    start = end - len(match[0])
    text = match[0].decode("latin-1")
    if text[-1].isalnum() or text[-1] == "_":
        tail = _TAIL.match(data[end : end + 40])
        text += tail[0].decode("latin-1") if tail else ""
    request = re.findall(r"[\w.:/$]+", text)[-1].lstrip("$." if language == "sh" else ".")
    # php://input is a string of its own: its quote is where the code ends.
    place = script.place(start - 1 if text.startswith("php:") and start else start, end)
    if place is None:
        return
    sink = _shell_sink(place) if language == "sh" else _sink(place, language)
    if sink is not None:
        yield start, _fact(data, start, language, sink, request, None)
        return
    assigned = _ASSIGNED.get(language, _ASSIGNED_PLAIN).search(place.line)
    if assigned is None or _is_cleaned(place, language) or (language == "sh" and _is_cleaned_in_shell(place)):
        return
    name = assigned[1]
    behind = data[end : end + AHEAD]
    behind = b"\n".join(behind.split(b"\n")[: LINES + 1])
    mark = {"php": rb"\$", "perl": rb"\$", "sh": rb"\$\{?"}.get(language, rb"(?<![\w.\"'])")
    for use in re.finditer(mark + re.escape(name.encode("latin-1")) + rb"(?!\w)", behind):
        there = script.place(end + use.start(), end + use.end(), floor=start)
        if there is None:
            continue
        sink = _shell_sink(there) if language == "sh" else _sink(there, language)
        if sink is not None:
            yield there.at, _fact(data, there.at, language, sink, request, name)
            return
        if _is_cleaned(there, language) or re.match(r"\s{0,4}=(?![=>~])", there.after):
            return  # checked, or something else by now


def _chain(before: str) -> list[tuple[str, int]]:
    """Return the functions whose arguments a place stands in, outermost first, and where their arguments begin."""
    stack: list[int] = []
    for match in _PARENTHESIS.finditer(before):
        if match[0] == "(":
            stack.append(match.start())
        elif stack:
            stack.pop()
    chain = []
    for at in stack[-MAX_DEPTH:]:
        name = _NAME_BEFORE.match(before[max(0, at - 64) : at][::-1])
        chain.append((name[1][::-1].lstrip("@!") if name else "", at + 1))
    return chain


def _is_cleaned(place: Place, language: str) -> bool:
    for name, _ in _chain(place.before):
        plain = re.split(r"[.:>$]", name)[-1].lower()
        if plain in CLEANING or (plain.startswith(CLEANING_STARTS) and name not in _SINKS.get(language, ())):
            return True
    return _CAST.search(place.before) is not None


def _sink(place: Place, language: str) -> str | None:
    """Return what a place reaches, outside of shells."""
    if (
        language == "php"
        and place.kind is Kind.CODE
        and _CALLED.match(place.after)
        and place.before[-1:] not in (">", ":")
    ):
        return "call"
    if _is_cleaned(place, language) or (place.kind is Kind.CODE and _COMPARED.match(place.after)):
        return None
    for name, begin in reversed(_chain(place.before)):
        sink = _named(name, place.written[0][:begin], language)
        if sink is None:
            continue
        if sink == "preg_replace":
            return "preg_replace /e" if _REGEX_EVAL.search(place.written[0]) else None
        if sink == "open":
            piped = "|" in place.written[0][begin:] or re.match(r"[^;\n]{0,80}\|\s*[\"']", place.written[1])
            return "open |" if piped else None
        if _WITH_SHELL.fullmatch(sink):
            told = place.before[begin:] + place.after.partition("\n\n")[0]
            return sink if re.search(r"shell\s*=\s*True", told) else None
        return sink
    keyword = _KEYWORD.get(language)
    found = keyword.search(place.line) if keyword else None
    if found:
        return found[1]
    if language in ("php", "perl") and place.before.count("`") % 2 and "`" in place.after:
        return "backtick"
    return None


def _named(name: str, before: str, language: str) -> str | None:
    if name in _SINKS[language]:
        return name
    method = _METHODS.get(language)
    return "exec" if method and method.search(before.rstrip("( \n")[-100:]) and "exec" in name else None


_EVAL = re.compile(r"(?:^|[;&|({`\s])eval\s+(?:[^;|&]{0,200}|[\"']?(?:\$\([^)]{0,200}|`[^`]{0,200}))\Z")
_SHELL = re.compile(r"(?:^|[;&|({`\s/])(?:ba|da|a|k)?sh\s+-\w{0,4}c\s+[^;|&]{0,200}\Z")
_INTO_SHELL = re.compile(r"[^;\n|]{0,100}\|\s{0,4}(?:/bin/)?(?:ba|da|a|k)?sh\b(?!\s*[\w./]*\.sh)")
_COMMAND = re.compile(r"(?:^|[;&|`]|\$\(|\b(?:then|do|else|exec|nohup|sudo)\s)\s{0,8}\"?\Z")
_SEPARATOR = re.compile(r"\$\(|[;&|`]|(?:^|\s)(?:then|do|else|if|while|!)\s")
_BUILTINS = frozenset(
    """echo printf [ [[ test case export local set for expr read return exit shift let declare typeset readonly unset
    : true false logger basename dirname in if elif eval""".split()  # noqa: SIM905 - a list of words
)


def _shell_sink(place: Place) -> str | None:
    """Return what a place in a shell script reaches."""
    line = place.line.lstrip()
    if re.match(r"\}?(?:#|%|:[+?=-])", place.written[1]) or line.endswith("#"):
        return None
    if _EVAL.search(line):
        return "eval"
    if _SHELL.search(line):
        return "sh -c"
    if _INTO_SHELL.match(place.after):
        return "sh"
    filled = place.kind is Kind.FILLED
    whole = re.match(r"\}?\"?(?:\s|$|;)", place.after)
    if whole and _COMMAND.search(line) and line.endswith('"') == filled:
        return "command"
    if filled:
        return None
    begin = 0
    for match in _SEPARATOR.finditer(line):
        begin = match.end()
    words = line[begin:].split()
    if not words or line[begin:].count("(") > line[begin:].count(")"):
        return None
    command = words[0]
    plain = re.fullmatch(r"[A-Za-z_][\w.+-]*|/[\w./+-]+", command)
    return "argument" if plain and command not in _BUILTINS and line[-1:] not in "=" else None


def _is_cleaned_in_shell(place: Place) -> bool:
    """Tell whether what goes into a variable is converted to letters, digits or a checksum before."""
    return bool(
        re.match(r"[^\n]{0,200}\|\s{0,4}(?:tr\s+-\w{0,3}[cd]|md5sum|sha\d+sum|wc\b|grep\s+-\w{0,4}[oqc])", place.after)
    )


def _fact(data: bytes, at: int, language: str, sink: str, request: str, variable: str | None) -> RequestCommand:
    before = data[max(0, at - MAX_TEXT // 2) : at].rpartition(b"\n")[2]
    after = data[at : at + MAX_TEXT].partition(b"\n")[0]
    text = withhold((before + after).decode("utf-8", "backslashreplace").strip())
    return RequestCommand(
        offset=at, language=language, sink=sink, request=request, variable=variable, text=text[:MAX_TEXT]
    )


ENDINGS = frozenset(
    "php phtml php3 php4 php5 inc py pl pm cgi lua sh js mjs ts jsp jspx asp htm html".split()  # noqa: SIM905 - words
)

INSPECTOR = ContentInspector(
    name="request-commands",
    version=2,
    families=(RequestCommand,),
    inspect=inspect,
    wants_path=lambda path: path[path.rfind(".") + 1 :] in ENDINGS,
    wants_head=lambda head: head.startswith((b"#!", b"<?php")),
    text_only=True,
    only_hits=True,
    expressions=tuple(Expression(source.trigger) for source in SOURCES),
    unseen=(
        "text that goes through functions of the script, through objects and arrays, or further than six lines",
        "text that passes a function named as one that quotes, converts or checks: whether it does so well is not seen",
        "compiled programs (CGI in C, Java classes, Go), templates, and frameworks that read requests in other ways",
        "calls that begin more than 400 bytes before the place",
    ),
)
