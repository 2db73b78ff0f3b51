"""Hold Assay's settings against what the programs say themselves, and write docs/agreement.md.

tools/agreement.py [PROGRAM...]     all programs, or those named (then nothing is written)

For each program and state: a root file system is made of Debian packages, edited, examined with `assay examine`, and
the program is asked in it, without a network. Differences are printed. Exit code: 0 if all agree, 1 if not, 2 if a root
file system could not be made.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.agreement.compare import Result, compare, programs
from tests.agreement.root import Unavailable

PAGE = Path(__file__).resolve().parents[1] / "docs" / "agreement.md"

HEAD = """\
<!-- written by tools/agreement.py (make agreement) -->

# Agreement with the programs themselves

Effective settings as Assay reads them from files, held against what each program says of the same root file system
when it is asked. A key counts as agreed if both have it with the same value; it counts as different if the values
differ or one of them does not have it. Root file systems are made of Debian packages, in the states named; how each
state is made and asked is in `tests/agreement/`.

| program | asked with | state | keys | agree |
| --- | --- | --- | ---: | ---: |
"""


def main(names: list[str]) -> int:
    """Compare, print, write."""
    results: list[Result] = []
    for program in programs():
        if names and program.name not in names:
            continue
        for state in program.states:
            try:
                result = compare(program, state)
            except Unavailable as error:
                print(f"{program.name}: {error}", file=sys.stderr)
                return 2
            results.append(result)
            print(f"{program.name}, {state}: {result.agreed} of {result.keys} agree", flush=True)
            for key, theirs, ours in result.differences:
                print(f"  {key}: the program {theirs!r}, the record {ours!r}")
    agreed, keys = sum(r.agreed for r in results), sum(r.keys for r in results)
    print(f"{agreed} of {keys} agree")
    if not names:
        rows = [f"| {r.program.name} | `{r.program.how}` | {r.state} | {r.keys} | {r.agreed} |\n" for r in results]
        different = [
            f"- {r.program.name}, {r.state}, `{key}`: the program says {shown(theirs)}, the record {shown(ours)}\n"
            for r in results
            for key, theirs, ours in r.differences
        ]
        total = f"| all | | {len(results)} states | {keys} | {agreed} |\n"
        tail = ["\n## Where they differ\n\n", *different] if different else []
        PAGE.write_text(HEAD + "".join(rows) + total + "".join(tail))
    return 0 if agreed == keys else 1


def shown(value: str | None) -> str:
    """Return a value for the page."""
    return "nothing" if value is None else f"`{value}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
