"""What several verbs share: options, and how their results become exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import CLEAN, FINDINGS, Fault

if TYPE_CHECKING:
    from assay.judge import Judged

SEVERITIES = ("critical", "high", "medium", "low", "info")

packs_option = click.option(
    "--pack", "packs", multiple=True, metavar="PACK", help="Rule pack: a name or a folder; may be repeated [all packs]."
)
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["never", *SEVERITIES, "undetermined"]),
    default="never",
    show_default=True,
    help="Exit with 1 if a rule of this severity or worse fails (undetermined: also if any stays undetermined).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
record_argument = click.argument("record", type=click.Path(path_type=Path))


def usable(packs: Sequence[str]) -> None:
    """Tell of packs that cannot be used before hours of work, not after.

    Raises:
        Fault: a pack cannot be used.
    """
    from assay.judge import JudgeError, load_pack

    try:
        names = [load_pack(pack).name for pack in packs]
    except JudgeError as error:
        raise Fault(str(error)) from error
    if len(set(names)) < len(names):
        raise Fault(f"--pack: {', '.join(names)}: the same pack twice; name it once")


def judged(record: Path, packs: Sequence[str]) -> list[Judged]:
    """Judge a record by packs, all that come with Assay if none is named.

    Raises:
        Fault: a pack or a rule cannot be used.
    """
    from assay.judge import JudgeError, available_packs, judge
    from assay.record.store import BROKEN

    try:
        return judge(record, [str(p) for p in packs] or sorted(available_packs()))
    except JudgeError as error:
        raise Fault(str(error)) from error
    except BROKEN as error:
        raise Fault(f"{record}: cannot be judged; is it damaged, or has another program changed it? {error}") from error


def exit_code(verdicts: Sequence[Judged], fail_on: str) -> int:
    """Return 1 if a verdict reaches the level asked for, else 0."""
    if fail_on == "never":
        return CLEAN
    if fail_on == "undetermined" and any(v.verdict == "undetermined" for v in verdicts):
        return FINDINGS
    worst = SEVERITIES if fail_on == "undetermined" else SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    return FINDINGS if any(v.verdict == "fail" and v.rule.severity in worst for v in verdicts) else CLEAN
