"""What of a script is code: each language's strings, comments and pages, and what is filled into strings."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.inspect.script_text import MAX_BYTES, PARTS, Kind, ScriptText

# Code stands as it is; what is none is marked by dots (text) and tildes (text that variables are filled into).
CASES = {
    "php": """<p>$x's</p><?php f('a\\'b', "$v\\"c"); // it's $x ?>$y<?= $z /* ' */ # '
`ls $d`; #[A('b')]
$t = <<<EOT
it's $a
EOT;
$n = <<<'END'
it's $a
END;
g();
""",
    "python": '''"""Doc's."""
x = f("it's", 'a"b', r"\\d")  # isn't
y = f"a {b('c')} {{d}} {e['f']}"
z = """
os.system(1)
""" + g
'''
    "w = f'''p {q}\nr'''\nv = rb'x' + 'don\\'t'\n",
    "perl": """my $s = 'it\\'s' . "a $b"; # isn't
$x =~ s/'/"/g; $y{s} = $#z; tr/'/"/;
print <<EOF . f('a');
It's $c
EOF
print `ls $d`, qw(a b), q{it's}, qx(ls $e);
=pod

It's

=cut
f();
__END__
it's
""",
    "lua": """f("it's", 'a"b') -- isn't
--[==[ a ]] b
c ]==] g([[it's
h]])
""",
    "sh": """#!/bin/sh
a="x $b $(echo "it's" 'c"d') y" # isn't
cat <<EOF; f 'g'
it's $h
EOF
echo ${#a} $((1<<2)) \\' `ls "$d"` $'a\\'b'
i="j
k"
case $x in a) f "l";; esac
""",
    "java": 'f("a\\"b", \'"\'); // it\'s\n/* " */ g("""\n "x" """);\n',
    "javascript": """f('a\\'b', `c ${d('e')} f ${ {g:1}.h }`); // it's
x = s.replace(/['"]/g, "") / 2 / 3; /* ' */ y()
""",
}
SEEN = {
    "php": """...........<?php f('....', "~~~~~"); ...........?>..<?= $z ....... ...
`~~~~~`; #[A('.')]
$t = <<<EOT
~~~~~~~
~~~;
$n = <<<'END'
.......
...;
g();
""",
    "python": '''"""......"""
x = f("....", '...', r"..")  .......
y = f"...b('c').........e['f']."
z = """
............
""" + g
'''
    "w = f'''...q.\n.'''\nv = rb'.' + '......'\n",
    "perl": """my $s = '.....' . "~~~~"; .......
$x =~ s/'/"/g; $y{s} = $#z; tr/'/"/;
print <<EOF . f('.');
.......
...
print `~~~~~`, qw....., q......, qx(~~~~~);
....

....

....
f();
.......
....
""",
    "lua": """f("....", '...') ........
.............
...... g([[....
.]])
""",
    "sh": """.........
a="~~~~~$(echo "~~~~" '...')~~" .......
cat <<EOF; f '.'
.......
...
echo ${#a} $((1<<2)) \\' `ls "~~"` $'....'
i="~
~"
case $x in a) f "~";; esac
""",
    "java": '''f("....", '.'); .......
....... g("""
.....""");
''',
    "javascript": """f('....', `....d('e')...... {g:1}.h .`); .......
x = s.replace(/..../g, "") / 2 / 3; ....... y()
""",
}


def shown(text: str, language: str) -> str:
    script = ScriptText(text.encode(), language)
    marks = {Kind.CODE: None, Kind.TEXT: ".", Kind.FILLED: "~"}
    return "".join(
        char if char == "\n" else marks[script.kind(at)] or chr(script.plain[at]) for at, char in enumerate(text)
    )


@pytest.mark.parametrize("language", CASES)
def test_what_is_code(language: str) -> None:
    assert shown(CASES[language], language) == SEEN[language]


def test_pages() -> None:
    assert shown("<html>it's<script>f('a')</script>don't", "javascript") == "." * 18 + "f('.')" + "." * 14
    assert shown('<p>"<%-- f() --%><% g("a"); %>"', "java") == "." * 19 + ' g("."); ' + "..."
    assert shown("system(1)", "php") == "........."


@pytest.mark.parametrize("language", PARTS)
@given(data=st.binary(max_size=400) | st.text("'\"`\\/#$({[<>)]}EOF\n=-*%?", max_size=200).map(str.encode))
def test_nothing_moves(language: str, data: bytes) -> None:
    for whole in (data, b"<?php " + data):
        script = ScriptText(whole, language)
        assert len(script.plain) == len(whole)
        assert [at for at, char in enumerate(script.plain) if char == 10] == [
            at for at, char in enumerate(whole) if char == 10
        ]
        assert all(
            char == whole[at] if script.kind(at) is Kind.CODE else char in b" \n"
            for at, char in enumerate(script.plain)
        )


def test_what_lies_behind_the_bound_is_text() -> None:
    script = ScriptText(b"a" * (MAX_BYTES + 1), "lua")
    assert (script.kind(MAX_BYTES - 1), script.kind(MAX_BYTES), script.kind(-1)) == (Kind.CODE, Kind.TEXT, Kind.TEXT)


@pytest.mark.parametrize("language", PARTS)
def test_time_is_bounded(language: str) -> None:
    pieces = (
        rb"""' " ` \' \" '" <<A_ <<<A_ /* =/[ =/ s/_ s/\ ${ f'{ $( "$( --[= [= [[ <%_ <?php_ <script> q{ =a y|a # //?"""
    )
    for piece in [*(piece.replace(b"_", b"\n") for piece in pieces.split()), b'"""', b"<<A "]:
        data = piece * ((1 << 16) // len(piece))
        begun = time.process_time()
        ScriptText(data, language)
        assert time.process_time() - begun < 1, piece
