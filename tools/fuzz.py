"""Give every reader broken images, and write docs/fuzzing.md.

tools/fuzz.py [--inputs N] [--seconds S] [--seed N] [--continue] [--write] [FORMAT...]     all formats, or those named
tools/fuzz.py --replay FILE FORMAT                                            one input, with its traceback

Seeds are small images made by the formats' own tools, or by the writers of their tests. The first input of each finding
is written to build/fuzz, and what came of each format to build/fuzz/results.json: with --continue a run goes on from
there, format by format, until each has had its inputs; findings of before are kept. Exit code: 0 if nothing was found
and every format has a seed, else 1.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import machine
from tests.fuzz.attempt import SECONDS, attempt
from tests.fuzz.repairs import REPAIRS
from tests.fuzz.run import GROWTH, Result, campaign, kept

from assay.unpack import formats
from assay.unpack.base import BytesSource

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "fuzzing.md"
FINDINGS = ROOT / "build" / "fuzz"
RESULTS = FINDINGS / "results.json"
MIB = 1 << 20

HEAD = f"""\
<!-- written by tools/fuzz.py --write (make fuzz) -->

# Broken images

Every reader is given broken images, in a process of its own that may write no file. It has to list and read what it
can, or say that it cannot (`UnpackError`, `NotThisFormat`), within {SECONDS:g} s of CPU and {GROWTH // MIB} MiB. An
entry's bytes have to be those of its span, and claims have to lie in the image. Anything else is a finding: in an
examination a worker survives it, but the image is less well read than it could be.

Inputs are made of good images of each kind (seeds): flipped, overwritten and repeated bytes, numbers at which
arithmetic breaks, cuts, insertions, and parts of other images; half of them where the reader says that structure is.
Where a format has checksums that its reader insists on, they are made right again in two inputs of three (marked sums).
"Read" are inputs that the reader opened, "refused" those that it knew as its own and could not open. Memory is by how
much a process that read many inputs grew at most.

"""
COLUMNS = "| format | seeds | inputs | inputs per CPU s | read | refused | not claimed | memory MiB | findings |\n"


def line(result: Result) -> str:
    """Return a format's line of the table."""
    rate = result.inputs / result.cpu if result.cpu else 0
    shares = [f"{100 * part / max(1, result.inputs):.0f} %" for part in (result.read, result.refused, result.other)]
    name = f"{result.format}, sums" if result.format in REPAIRS else result.format
    findings = len(result.findings) or "none"
    return (
        f"| {name} | {result.seeds} | {result.inputs} | {rate:.0f} | {' | '.join(shares)} | "
        f"{result.memory // MIB} | {findings} |\n"
    )


def kept_results() -> dict[str, Result]:
    """Return what earlier runs have found, by format."""
    if not RESULTS.exists():
        return {}
    return {result.format: result for result in msgspec.json.decode(RESULTS.read_bytes(), type=list[Result])}


def page(results: list[Result], command: str) -> str:
    """Return the page."""
    total, cpu = sum(r.inputs for r in results), sum(r.cpu for r in results)
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    text = f"{HEAD}Last run: `{command}` on {today}. In all {total} inputs, {len(results)} formats, "
    text += f"{cpu / 60:.0f} minutes of CPU. Machine: {machine()}.\n\n"
    text += f"{COLUMNS}| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    text += "".join(map(line, sorted(results, key=lambda result: result.format)))
    found = [
        f"- {result.format}: {kind} at {place}, {count} times, first input {number}: {said}\n"
        for result in results
        for kind, place, number, said, count in sorted(result.findings)
    ]
    text += "\n" + ("## Findings\n\n" + "".join(found) if found else "Nothing was found.\n")
    bare = [f"- {result.format}: no seed\n" for result in results if not result.seeds]
    absent = [f"- {result.format}, {why}\n" for result in results for why in result.absent]
    if bare or absent:
        text += "\nSeeds that are missing here:\n\n" + "".join(bare + absent)
    return text


def replay(file: Path, name: str) -> int:
    """Read one input without a net."""
    format = formats()[name]
    begun = time.process_time()
    outcome, finding = attempt(format, BytesSource(file.read_bytes()), float("inf"))
    print(f"{outcome}, {time.process_time() - begun:.2f} s: {finding or 'nothing found'}")
    return int(finding is not None)


def main() -> int:
    """Parse arguments, run, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description="Give every reader broken images.")
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help="formats; all if none is named")
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for each format (100000)")
    parser.add_argument("--seconds", type=float, default=7200, help="for all formats together (7200)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (1)")
    parser.add_argument("--continue", action="store_true", help="go on from build/fuzz/results.json")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read this one input")
    options = parser.parse_args()
    unknown = [name for name in options.formats if name not in formats()]
    if unknown:
        parser.error(f"no such format: {', '.join(unknown)}")
    if options.replay:
        return replay(options.replay, *options.formats)
    known = kept_results() if getattr(options, "continue") else {}
    print(COLUMNS, end="")
    with tempfile.TemporaryDirectory(prefix="assay-fuzz-") as folder:
        runs = campaign(
            options.formats, options.inputs, options.seconds, Path(folder), seed=options.seed, earlier=known
        )
        for case, result in runs:
            known[result.format] = result
            FINDINGS.mkdir(parents=True, exist_ok=True)
            RESULTS.write_bytes(msgspec.json.encode(list(known.values())))
            print(line(result), end="", flush=True)
            for kind, place, number, said, count in sorted(result.findings):
                print(f"  {kind} at {place}, {count} times, first input {number}: {said}")
            for path in kept(case, result, FINDINGS):
                print(f"  {path.relative_to(ROOT)}")
            for why in result.absent or ([] if result.seeds else ["no seed"]):
                print(f"  {why}", flush=True)
    results = list(known.values())
    if options.write:
        PAGE.write_text(page(results, " ".join(["tools/fuzz.py", *sys.argv[1:]])))
    return int(any(result.findings or not result.seeds for result in results))


if __name__ == "__main__":
    sys.exit(main())
