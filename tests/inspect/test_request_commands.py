"""Requests that reach commands: each language, directly and through a variable; and what is quoted or checked."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.facts.access import RequestCommand
from assay.inspect.request_commands import INSPECTOR
from assay.unpack.base import LimitReached
from tests.support.hostile import mangled
from tests.support.memory_tree import content_of, inspect

HITS = [
    (b"<?php system($_GET['c']); ?>", "php", "system", "$_GET", None),
    (b"<?php eval(base64_decode($_POST['x'])); ?>", "php", "eval", "$_POST", None),
    (b"<?php $c=$_REQUEST['cmd'];\n$o = shell_exec('ping '.$c);", "php", "shell_exec", "$_REQUEST", "c"),
    (b"<?php include $_GET['p'];", "php", "include", "$_GET", None),
    (b"<?php include($_GET['p'].'.php');", "php", "include", "$_GET", None),
    (b"<?php preg_replace('/x/e', $_GET['a'], 'y');", "php", "preg_replace /e", "$_GET", None),
    (b"<?php $_GET['f']($_GET['x']);", "php", "call", "$_GET", None),
    (b"<?php echo `ls {$_GET['d']}`;", "php", "backtick", "$_GET", None),
    (b"<?php @eval($_POST[1]);", "php", "eval", "$_POST", None),
    (b'#!/bin/sh\neval "$QUERY_STRING"\n', "sh", "eval", "QUERY_STRING", None),
    (b"#!/bin/sh\neval $(echo \"$QUERY_STRING\" | sed 's/&/;/g')\n", "sh", "eval", "QUERY_STRING", None),
    (b"#!/bin/sh\nip=$(echo $QUERY_STRING | cut -d= -f2)\nping -c1 $ip\n", "sh", "argument", "QUERY_STRING", "ip"),
    (b"#!/bin/sh\n$QUERY_STRING\n", "sh", "command", "QUERY_STRING", None),
    (b'#!/bin/sh\nsh -c "ping $QUERY_STRING"\n', "sh", "sh -c", "QUERY_STRING", None),
    (b"#!/bin/sh\necho $QUERY_STRING | sh\n", "sh", "sh", "QUERY_STRING", None),
    (b"#!/usr/bin/perl\nuse CGI;\nopen(F, param('x').'|');\n", "perl", "open |", "param", None),
    (b"#!/usr/bin/perl\nsystem(\"ls \" . $q->param('d'));\n", "perl", "system", "param", None),
    (b"#!/usr/bin/perl\nmy $d = param('d');\nprint `ls $d`;\n", "perl", "backtick", "param", "d"),
    (b"#!/usr/bin/perl\nmy $d = param('d');\nsystem \"ls $d\";\n", "perl", "system", "param", "d"),
    (b"os.system('ping ' + form.getvalue('ip'))\n", "python", "os.system", "getvalue", None),
    (
        b"ip = request.args.get('ip')\nsubprocess.run('ping ' + ip, shell=True)\n",
        "python",
        "subprocess.run",
        "request.args",
        "ip",
    ),
    (b"eval(request.form['x'])\n", "python", "eval", "request.form", None),
    (b"ip = request.form['ip']\nos.popen(f'ping {ip}')\n", "python", "os.popen", "request.form", "ip"),
    (
        b"ip = request.args.get('ip')\nout = subprocess.check_output(f'ping {ip}', shell=True)\n",
        "python",
        "subprocess.check_output",
        "request.args",
        "ip",
    ),
    (b"check_call('ping ' + request.args.get('ip'), shell=True)\n", "python", "check_call", "request.args", None),
    (
        b"cmd = 'ping ' + req.form['x']\nsubprocess.getoutput(cmd)\n",
        "python",
        "subprocess.getoutput",
        "req.form",
        "cmd",
    ),
    (
        b"h = request.form['h']\np = await asyncio.create_subprocess_shell('ping ' + h)\n",
        "python",
        "asyncio.create_subprocess_shell",
        "request.form",
        "h",
    ),
    (b"<?php $h = $_GET['h'];\n$o = `ping $h`;", "php", "backtick", "$_GET", "h"),
    (b"<?php $h = $_GET['h'];\npassthru(\"ping $h\");", "php", "passthru", "$_GET", "h"),
    (b"<?php $h = $_GET['h'];\n$p = proc_open(\"ping $h\", $d, $pipes);", "php", "proc_open", "$_GET", "h"),
    (b"<?php eval(file_get_contents('php://input'));", "php", "eval", "php://input", None),
    (b"<?php exec(/* it's */ \"a\" . $_GET['x']); // isn't", "php", "exec", "$_GET", None),
    (b'#!/bin/sh\nx="it\'s" # isn\'t\necho "$(ping $QUERY_STRING)"\n', "sh", "argument", "QUERY_STRING", None),
    (b"io.popen('ping '..luci.http.formvalue('ip'))\n", "lua", "io.popen", "formvalue", None),
    (b'local ip = luci.http.formvalue("ip")\nos.execute("ping " .. ip)\n', "lua", "os.execute", "formvalue", "ip"),
    (b'Runtime.getRuntime().exec(request.getParameter("cmd"));', "java", "exec", "getParameter", None),
    (
        b'String c = request.getParameter("cmd");\nProcess p = Runtime.getRuntime().exec(c);',
        "java",
        "exec",
        "getParameter",
        "c",
    ),
    (b"child_process.exec('ping ' + req.query.ip)\n", "javascript", "child_process.exec", "req.query", None),
    (b"const ip = req.body.ip;\nexec(`ping ${ip}`, cb)\n", "javascript", "exec", "req.body", "ip"),
    (
        b"const {exec} = require('child_process')\nrequire('child_process').exec('ls ' + req.query.d)\n",
        "javascript",
        "exec",
        "req.query",
        None,
    ),
]

MISSES = [
    b"<?php $c=escapeshellarg($_REQUEST['cmd']);\nexec($c);",
    b"<?php preg_replace('/x/', $_GET['a'], 'y');",
    b"<?php if(isset($_GET['c'])) system('ls');",
    b"<?php system('id'); echo $_GET['x'];",
    b"<?php exec(intval($_GET['x']));",
    b"<?php $ip=$_GET['ip'];\nif(!preg_match('/^\\d+$/',$ip)) exit;\nexec('ping '.$ip);",
    b'#!/bin/sh\nip=$(echo $QUERY_STRING | cut -d= -f2)\nping -c1 "$ip"\n',
    b'#!/bin/sh\necho "$QUERY_STRING"\n',
    b"#!/bin/sh\ncase $QUERY_STRING in\n",
    b'#!/bin/sh\n[ -n "$QUERY_STRING" ] && ls\n',
    b"#!/usr/bin/perl\nmy $d = param('d');\nprint $d;\n",
    b"ip = request.args.get('ip')\nsubprocess.run(['ping', ip])\n",
    b"ip = shlex.quote(request.args.get('ip'))\nos.system('ping '+ip)\n",
    b'local ip = tonumber(luci.http.formvalue("ip"))\nos.execute("ping " .. ip)\n',
    b"re.exec(req.query.d)\n",
    b"res.send(req.query.d)\n",
    b'"""Example:\n\n    os.system(request.args.get("x"))\n"""\n',
    b"text = 'os.system(request.args.get(1))'\n",
    b"x = 1  # os.system(request.args['x'])\n",
    b"check_output(['ping', request.args['x']])\n",
    b"<html><pre>system($_GET['c']);</pre></html>",
    b"<pre>system($_GET['c']);</pre><?php f(); ?>eval($_POST['c'])",
    b"<?php echo 'system($_GET[c])'; /* system($_GET[c]) */",
    b'<?php echo "use system($_GET[c])"; $x = "\\$_GET[c]"; # system($_GET[c])',
    b"<?php echo <<<'END'\nsystem($_GET['c']);\nEND;\n",
    b'#!/bin/sh\necho "run; ping $QUERY_STRING"\n',
    b"#!/bin/sh\ncat <<EOF\nping $QUERY_STRING\nEOF\n",
    b"#!/bin/sh\nprintf '%s' 'a\nping $QUERY_STRING'\n",
    b'#!/bin/sh\necho "<p>\nping $QUERY_STRING\n"\n',
    b"#!/bin/sh\ntrue # ping $QUERY_STRING\n",
    b"#!/usr/bin/perl\n=pod\n\nsystem(param('x'));\n\n=cut\nprint 'system(param(q))';\n",
    b"-- os.execute(luci.http.formvalue('ip'))\n--[[\nos.execute(luci.http.formvalue('ip'))\n]]\n",
    b"x = 'child_process.exec(req.query.d)' // child_process.exec(req.query.d)\n",
    b'String s = "getRuntime().exec(request.getParameter(0))"; // Runtime.getRuntime().exec(r.getParameter("c"))\n',
]


@pytest.mark.parametrize(("data", "language", "sink", "request_", "variable"), HITS)
def test_what_reaches_what(data: bytes, language: str, sink: str, request_: str, variable: str | None) -> None:
    (found,) = inspect(INSPECTOR, data, "script")
    assert isinstance(found, RequestCommand)
    assert found.offset is not None
    line = data.count(b"\n", 0, found.offset)
    assert found == RequestCommand(
        offset=found.offset,
        line=line + 1,
        language=language,
        sink=sink,
        request=request_,
        variable=variable,
        text=data.split(b"\n")[line].decode(),
    )
    named = b"$" + variable.encode() if variable and language in ("php", "perl", "sh") else (variable or "").encode()
    assert data[found.offset :].startswith(named or data[found.offset : found.offset + 1])


@pytest.mark.parametrize("data", MISSES)
def test_what_does_not(data: bytes) -> None:
    assert inspect(INSPECTOR, data, "script") == []


def test_secrets_of_the_statement_are_withheld() -> None:
    (found,) = inspect(INSPECTOR, b"<?php system('mysql --password=abc -e '.$_GET['q']);\n", "text")
    assert isinstance(found, RequestCommand)
    assert found.text == "<?php system('mysql --password=[withheld] -e '.$_GET['q']);"


def test_long_statements_are_cut() -> None:
    (found,) = inspect(INSPECTOR, b"<?php system('" + b"x" * 300 + b"'.$_GET['q'].'" + b"y" * 300 + b"');", "text")
    assert isinstance(found, RequestCommand)
    assert len(found.text) == 200


def test_which_files() -> None:
    assert INSPECTOR.wants_path is not None
    assert INSPECTOR.wants_head is not None
    assert [INSPECTOR.wants_path(p) for p in ("/www/a.php", "/x/a.lua", "/etc/passwd", "/x.c")] == [
        True,
        True,
        False,
        False,
    ]
    assert [INSPECTOR.wants_head(h) for h in (b"#!/bin/sh\n", b"<?php\n", b"\x7fELF")] == [True, True, False]


def outcome(data: bytes) -> None:
    try:
        found = list(INSPECTOR.inspect(content_of(INSPECTOR, data, "text")))
    except LimitReached:
        return
    assert all(isinstance(item, RequestCommand) and len(item.text) <= 200 for item in found)


def test_too_many_are_said_to_be_too_many() -> None:
    found = []
    with pytest.raises(LimitReached):
        for item in INSPECTOR.inspect(content_of(INSPECTOR, b"<?php\n" + b"system($_GET['c']);\n" * 2000, "text")):
            found.append(item)  # noqa: PERF402 - what came before the error stands
    assert len(found) == 1000


def test_broken_input() -> None:
    whole = b"#!/usr/bin/perl\n" + b"\n".join(data for data, *_ in HITS) + b"\n".join(MISSES)
    for data in mangled(whole, count=100):
        outcome(data)


@given(st.binary(max_size=300))
def test_any_input(data: bytes) -> None:
    for trigger in (b"$_GET", b"$QUERY_STRING", b"x = request.args", b"param('", b".getParameter(", b"a=req.body"):
        outcome(b"#!perl\n" + data + trigger + data)


@pytest.mark.parametrize(
    "piece",
    [b"$_GET", b"$x=$_GET;$x ", b"x=$QUERY_STRING\n", b"eval $QUERY_STRING ", b"(((((((( $_GET", b"$(`$QUERY_STRING",
     b"a=req.body\na.a ", b"exec.exec.exec.req.query", b"' \\' $QUERY_STRING", b"a = a = a = $_GET "],
)  # fmt: skip
def test_time_is_bounded(piece: bytes) -> None:
    data = b"#!perl\n" + piece * ((1 << 16) // len(piece))
    begun = time.process_time()
    outcome(data)
    assert time.process_time() - begun < 2
