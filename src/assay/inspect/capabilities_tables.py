"""Terms by which software shows functions on people's traffic, whereabouts or person.

Sources: ETSI TS 103 221-1 and -2 (X1, X2, X3), TS 102 232 and TS 101 671 (handover interfaces), TS 103 120; 3GPP
TS 33.107, 33.108, 33.126 to 33.128 (lawful interception), TS 32.421 to 32.423 (trace), TS 29.002 (MAP), TS 29.171,
29.172, 29.572 (location), TS 38.455 and 36.455 (NRPPa, LPPa), TS 37.355 (LPP), OMA SUPL; published interfaces of the
libraries named.
"""

from __future__ import annotations

from typing import NamedTuple

LI, DPI, PCAP, TRACE, LOCATION, FACE, VOICE, WORDS = (
    "lawful-interception",
    "deep-packet-inspection",
    "packet-capture",
    "subscriber-trace",
    "location",
    "face-analysis",
    "voice-analysis",
    "keyword-filter",
)


class Term(NamedTuple):
    """A term."""

    kind: str
    text: str
    """In the engine's syntax; without special characters, the term itself."""
    interface: str | None = None
    alone: bool = True
    """It means this wherever it stands; otherwise only with another term of its kind near."""
    caseless: bool = False
    open: bool = False
    """Letters may follow: it is the beginning of names."""
    name: str | None = None
    """The term, where its expression is not readable."""


def _terms(kind: str, words: str, **how: object) -> tuple[Term, ...]:
    return tuple(Term(kind, word, **how) for word in words.split())  # type: ignore[arg-type]


TERMS = (
    # interception: messages, namespaces and modules of the standards
    *_terms(
        LI,
        "ActivateTaskRequest DeactivateTaskRequest ModifyTaskRequest DeactivateAllTasksRequest GetTaskDetailsRequest "
        "CreateDestinationRequest RemoveDestinationRequest X1RequestMessage X1ResponseMessage admfIdentifier",
        interface="X1",
        open=True,
    ),
    Term(LI, r"uri\.etsi\.org/03221", "X1", open=True, name="uri.etsi.org/03221"),
    Term(LI, r"uri\.etsi\.org/03280", "HI1", open=True, name="uri.etsi.org/03280"),
    Term(LI, r"uri\.etsi\.org/03120", "HI1", open=True, name="uri.etsi.org/03120"),
    Term(LI, r"LI_X1\b", "LI_X1", name="LI_X1"),
    Term(LI, r"LI_X2\b", "LI_X2", name="LI_X2"),
    Term(LI, r"LI_X3\b", "LI_X3", name="LI_X3"),
    Term(LI, r"LI_X0\b", "LI_X0", name="LI_X0"),
    Term(LI, r"LI_HI[1-4]\b", "LI_HI", name="LI_HI"),
    Term(LI, r"LI_T[1-3]\b", "LI_T", name="LI_T"),
    Term(LI, "TS33128Payloads", "X2", open=True),
    *_terms(LI, "XIRIPayload XIRIEvent XIRIContent", interface="X2", open=True),
    *_terms(LI, "HI2Operations IRIsContent IRI-Parameters", interface="HI2", open=True),
    *_terms(LI, "Umts-HI3-PS HI3CircuitDataOperations CC-Link-Identifier EpsHI3PS", interface="HI3", open=True),
    Term(LI, "HI1NotificationOperations", "HI1", open=True),
    Term(LI, "lawful[ _-]{0,1}intercept", caseless=True, open=True, name="lawful intercept"),
    Term(LI, "legal[ _-]{0,1}intercept", caseless=True, open=True, name="legal intercept"),
    Term(LI, "interception[ _-]related[ _-]information", "HI2", caseless=True, name="interception related information"),
    Term(LI, "lawfulInterceptionIdentifier", caseless=True),
    Term(LI, "CALEA", None),
    Term(LI, r"J-STD-025", None, name="J-STD-025"),
    *_terms(LI, "ADMF MDF MDF2 MDF3 LEMF LIID IRI-POI CC-POI CC-TF IRI-TF LIPF", alone=False),
    Term(LI, r"X1\b", "X1", alone=False, name="X1"),
    Term(LI, r"X2\b", "X2", alone=False, name="X2"),
    Term(LI, r"X3\b", "X3", alone=False, name="X3"),
    Term(LI, r"HI1\b", "HI1", alone=False, name="HI1"),
    Term(LI, r"HI2\b", "HI2", alone=False, name="HI2"),
    Term(LI, r"HI3\b", "HI3", alone=False, name="HI3"),
    Term(LI, "warrant[ _]{0,1}(?:id|reference|number)", alone=False, caseless=True, name="warrant id"),
    Term(
        LI, "intercept(?:ed|ion)?[ _-](?:target|subject|subscriber)", caseless=True, open=True, name="intercept target"
    ),
    # inspection
    *_terms(
        DPI, "ndpi_init_detection_module ndpi_detection_process_packet ndpi_finalize_initialization libndpi", open=True
    ),
    *_terms(DPI, "pace2_init_module pace2_set_license qmdpi_engine_create qmdpi_worker_process ixEngine", open=True),
    *_terms(DPI, "lpi_guess_protocol libprotoident xt_layer7 xt_ndpi opendpi OpenDPI l7-filter NFStreamer", open=True),
    Term(DPI, "deep[ _-]packet[ _-]inspection", caseless=True, name="deep packet inspection"),
    *_terms(DPI, "daq_acquire daq_instance_msg_receive AppLayerProtoDetectGetProto SURICATA_VERSION", open=True),
    *_terms(
        DPI,
        "hs_compile_multi hs_scan_stream hs_open_stream DPI ADC TDF application_detection traffic_classif",
        alone=False,
    ),
    # capture
    *_terms(PCAP, "pcap_open_live pcap_create pcap_dump_open pfring_open tpacket_req3 rte_pdump_init"),
    *_terms(
        PCAP, "pcap_activate pcap_loop pcap_next_ex pcap_dispatch pcap_findalldevs AF_PACKET PF_PACKET", alone=False
    ),
    *_terms(
        PCAP,
        "PACKET_RX_RING PACKET_MR_PROMISC SO_ATTACH_FILTER TPACKET_V3 ETH_P_ALL PACKET_ADD_MEMBERSHIP",
        alone=False,
    ),
    Term(PCAP, r"/(?:usr/)?s?bin/(?:tcpdump|tshark|dumpcap)", name="tcpdump"),
    *_terms(PCAP, "sip_capture sip_trace gsmtap_source_init gsmtap_sendmsg", open=True),
    # trace
    *_terms(
        TRACE,
        "ActivateTraceMode DeactivateTraceMode traceCollectionEntity TraceCollectionEntity Trace-Collection-Entity "
        "interfacesToTrace InterfacesToTrace traceRecordingSession CellTrafficTrace TraceFailureIndication "
        "NGRANTraceID EUTRAN-Trace-ID E-UTRAN-Trace-ID Trace-NE-Type-List traceData startTraceJob",
        open=True,
    ),
    Term(
        TRACE,
        "subscriber[ _-]{0,1}(?:and[ _]equipment[ _])?trac(?:e|ing)",
        caseless=True,
        open=True,
        name="subscriber trace",
    ),
    Term(TRACE, "trace[ _-]by[ _-](?:imsi|msisdn|supi)", caseless=True, name="trace by imsi"),
    *_terms(
        TRACE,
        "traceReference TraceReference Trace-Reference TraceDepth Trace-Depth TraceActivation",
        alone=False,
        open=True,
    ),
    # whereabouts
    *_terms(
        LOCATION,
        "provideSubscriberLocation ProvideSubscriberLocation sendRoutingInfoForLCS SendRoutingInfoForLCS "
        "subscriberLocationReport SubscriberLocationReport anyTimeInterrogation AnyTimeInterrogation",
        interface="MAP",
        open=True,
    ),
    *_terms(
        LOCATION, "Provide-Location-Request Location-Report-Request LCS-EPS-Client-Name", interface="SLg", open=True
    ),
    *_terms(LOCATION, "NRPPa NRPPA-PDU", interface="NRPPa", open=True),
    *_terms(LOCATION, "LPPA-PDU LPPaTransport UplinkUEAssociatedLPPaTransport", interface="LPPa", open=True),
    *_terms(LOCATION, "nlmf-loc nlmf-broadcast Nlmf_Location", interface="Nlmf", open=True),
    *_terms(LOCATION, "ngmlc-loc Ngmlc_Location", interface="Ngmlc", open=True),
    *_terms(LOCATION, "SUPLINIT SUPLPOSINIT ULP-PDU SUPLSTART", interface="SUPL", open=True),
    *_terms(LOCATION, "LocationReportingControl LocationReportingFailureIndication", interface="N2", open=True),
    *_terms(LOCATION, "ProvideLocationInformation RequestLocationInformation LPP-Message", interface="LPP", open=True),
    *_terms(LOCATION, "BSSMAP-LE BSSLAP RRLP-Component", interface="Lb", open=True),
    Term(LOCATION, "rrlp[ _]mode", "RRLP", caseless=True, name="rrlp mode"),
    *_terms(LOCATION, "GMLC SMLC E-SMLC LCS SUPL RRLP LPP LMF", alone=False),
    # the person
    *_terms(
        FACE,
        "haarcascade_frontalface dlib_face_recognition_resnet shape_predictor_68_face insightface facenet arcface "
        "SeetaFace seetaface FaceRecognizer FaceDetectorYN face_recognition_models libopencv_face deepface",
        open=True,
    ),
    Term(FACE, "face[ _-]{0,1}recognition", caseless=True, open=True, name="face recognition"),
    *_terms(
        VOICE,
        "voiceprint VoicePrint vosk_recognizer_new whisper_full ps_start_utt pocketsphinx DS_CreateModel",
        open=True,
    ),
    *_terms(VOICE, "nnet3-latgen libkaldi SpeakerRecognizer", open=True),
    Term(VOICE, "speaker[ _-](?:recognition|verification|identification)", caseless=True, name="speaker recognition"),
    Term(
        WORDS,
        "(?:keyword|(?:sensitive|banned)[ _-]{0,1}word)s?[ _-]{0,1}(?:filter|block)",
        caseless=True,
        open=True,
        name="keyword filter",
    ),
    Term(
        WORDS,
        "(?:\\xe5\\x85\\xb3\\xe9\\x94\\xae\\xe8\\xaf\\x8d|\\xe6\\x95\\x8f\\xe6\\x84\\x9f\\xe8\\xaf\\x8d)",
        open=True,
        name="关键词, 敏感词",
    ),
)
