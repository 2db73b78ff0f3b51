"""What the judge concluded: rules that ran, their verdicts, the findings and the facts behind each."""

from typing import Annotated, ClassVar

from .base import RecordFact, doc


class Rule(RecordFact, frozen=True, kw_only=True, array_like=True):
    """A rule as it was when it judged: enough to understand its verdict without the pack at hand."""

    source: ClassVar = "the pack's own catalogue"
    index: ClassVar = ("name",)

    run: Annotated[int, doc("run in which it judged")]
    pack: Annotated[str, doc("pack, as 3gpp-33.117-18.1")]
    name: Annotated[str, doc("identifier: pack/clause or pack/slug")]
    digest: Annotated[str, doc("SHA-256 of the rule's file and the shared queries that it uses: which text judged")]
    title: Annotated[str, doc("what is required, in a few words")]
    document: Annotated[str | None, doc("document and version it comes from")] = None
    clause: Annotated[str | None, doc("clause of that document")] = None
    test_case: Annotated[str | None, doc("name of the test case there")] = None
    criteria: Annotated[
        list[str],
        doc(
            "criteria served: national-security, economic-security, privacy, intellectual-property, human-rights; JSON array"
        ),
    ] = []
    classes: Annotated[
        list[str],
        doc(
            "evidence classes it could use: S static image, C configuration, L live, D statement, P capture; JSON array"
        ),
    ] = []
    power: Annotated[str, doc("what static evidence can do: decide, decide-with-D, refute, support, none")] = "refute"
    severity: Annotated[str, doc("weight of a finding: critical, high, medium, low, info")] = "medium"
    check: Annotated[str, doc("what the rule looks at, in words")] = ""
    limits: Annotated[str, doc("what it cannot see")] = ""
    remedy: Annotated[str, doc("what clears a finding")] = ""
    references: Annotated[list[str], doc("documents behind the rule, JSON array")] = []


class Verdict(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One rule's verdict on the release."""

    source: ClassVar = "pass, fail, not-applicable or undetermined; docs/reference/verdicts"
    index: ClassVar = ("rule",)

    run: Annotated[int, doc("run that judged")]
    rule: Annotated[int, doc("rule")]
    verdict: Annotated[str, doc("pass, fail, not-applicable, undetermined")]
    missing: Annotated[
        list[str], doc("for undetermined: evidence classes that would decide it (S, C, L, D, P), JSON array")
    ] = []
    reason: Annotated[str, doc("one sentence: why this verdict and no other")] = ""
    looked: Annotated[int, doc("things the rule looked at (files, accounts, settings: what, its reason says)")] = 0
    findings: Annotated[int, doc("findings")] = 0


class Finding(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One thing that a rule found, with its place."""

    index: ClassVar = ("verdict", "tree")

    verdict: Annotated[int, doc("verdict it belongs to")]
    message: Annotated[str, doc("one sentence: what is there, in the words of the evidence")]
    path: Annotated[str, doc("place as text: container path and file path")]
    line: Annotated[int | None, doc("line in the file")] = None
    offset: Annotated[int | None, doc("offset in the file", unit="bytes")] = None
    tree: Annotated[int | None, doc("container")] = None
    file: Annotated[int | None, doc("file")] = None


class Evidence(RecordFact, frozen=True, kw_only=True, array_like=True):
    """A fact that a finding, or a whole verdict, rests on."""

    index: ClassVar = ("finding",)

    finding: Annotated[int, doc("finding")]
    family: Annotated[str, doc("family of the fact")]
    fact: Annotated[int, doc("id of the fact in that family")]
