"""What could be learnt about people: functions for interception, inspection, tracing; places where identities go."""

from typing import Annotated, ClassVar

from .base import ContentFact, doc


class Capability(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A function on people's traffic, whereabouts or person that a content shows by name. Lawful use is not excluded."""

    source: ClassVar = (
        "ETSI TS 103 221, TS 102 232, TS 101 671; 3GPP TS 33.126 to 33.128, TS 32.421 to 32.423; names of libraries"
    )
    index: ClassVar = ("kind",)

    kind: Annotated[
        str,
        doc(
            "lawful-interception, deep-packet-inspection, packet-capture, subscriber-trace, location, face-analysis, voice-analysis, keyword-filter"
        ),
    ]
    interface: Annotated[str | None, doc("named interface: X1, X2, X3, HI1, HI2, HI3, LI_X1, MDF, ...")] = None
    term: Annotated[str, doc("the term that was found, as the inspector's table has it")]
    text: Annotated[str, doc("the text or symbol it stands in, at most 200 characters")]
    evidence: Annotated[str, doc("symbol, import, needed, string, setting")]
    count: Annotated[int, doc("how often the term stands in this content")] = 1


class SubscriberSink(ContentFact, frozen=True, kw_only=True, array_like=True):
    """A place where a subscriber's or device's identity is written or kept. Never the identity itself."""

    source: ClassVar = "3GPP TS 23.003; TS 33.117 4.2.3.2.2 (confidential data in logs)"
    index: ClassVar = ("identifier",)

    identifier: Annotated[str, doc("imsi, supi, suci, msisdn, gpsi, imei, pei, iccid, guti, tmsi, location, ki, opc")]
    sink: Annotated[
        str,
        doc(
            "log-format (a text with a place for it), log-sample (a log that holds one), database-column, query (to a database), "
            "file (a content that holds one), metric"
        ),
    ]
    text: Annotated[
        str, doc("format, column or line, with every run of five or more digits replaced by #; at most 200 characters")
    ]
    evidence: Annotated[str, doc("string, script, log, schema")] = "string"
    fingerprint: Annotated[str | None, doc("SHA-256 of an identity that stands there in clear")] = None
