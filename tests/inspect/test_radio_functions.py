"""Configurations of radio software: OpenAirInterface's gNB (libconfig), srsRAN 4G (INI) and srsRAN Project (YAML)."""

from __future__ import annotations

import pytest

from assay.inspect import openair, srsran
from assay.inspect.libconfig_format import scalars
from tests.inspect.test_core_functions import observed

GNB = """\
Active_gNBs = ( "gNB-OAI");
/* a comment
   of two lines */
gNBs =
(
 {
    ////////// Identification parameters:
    gNB_ID    =  0xe00;
    tracking_area_code  =  1;
    plmn_list = ({
                  mcc = 208;
                  mnc = 9;
                  mnc_length = 2;
                  snssaiList = ( { sst = 1; }, { sst = 2; sd  = 0x1; } );
                  });
    nr_cellid = 12345678L
    msg1_SubcarrierSpacing = 1,
    NETWORK_INTERFACES :
    {
        GNB_INTERFACE_NAME_FOR_NGU = "demo-oai";
        GNB_IPV4_ADDRESS_FOR_NGU   = "192.168.70.129/24";
        GNB_PORT_FOR_S1U           = 2152; # Spec 2152
    };
  }
);
RUs = ( { bands = [78]; bf_weights = [0x00007fff, 0x0000]; });
security = {
  ciphering_algorithms = ( "nea0" );
  integrity_algorithms = ( "nia2", "nia0" );
  drb_ciphering = "yes";
  drb_integrity = "no";
};
log_config : { global_log_level ="info"; };
"""


def test_openair_gnb() -> None:
    assert observed(openair, {"/opt/lab/gnb.sa.band78.conf": "", "/opt/oai/gnb.sa.band78.conf": GNB}) == (
        [
            ("oai-gnb", "plmn", "208-09", "11"),
            ("oai-gnb", "tac", "1", "9"),
            ("oai-gnb", "as.ciphering", "NEA0", "28"),
            ("oai-gnb", "as.integrity", "NIA2 NIA0", "29"),
            ("oai-gnb", "up.ciphering", "yes", "30"),
            ("oai-gnb", "up.integrity", "no", "31"),
            ("oai-gnb", "log.level", "info", "33"),
        ],
        [("oai-gnb", "udp 192.168.70.129%demo-oai 2152", "n3", "?", "21")],
    )
    assert openair.wants_head(GNB.encode())


def test_libconfig() -> None:
    text = 'a = 1; b : { c = [1, 2]; d = "x\\"y"; }; e = ( {f = true}, ( 1.5e3, "z" ), ()); @include "other.cfg"\n'
    assert list(scalars(text)) == [
        ("a", "1", 1),
        ("b.c[0]", "1", 1),
        ("b.c[1]", "2", 1),
        ("b.d", 'x"y', 1),
        ("e[0].f", "true", 1),
        ("e[1][0]", "1.5e3", 1),
        ("e[1][1]", "z", 1),
        ("@include", "other.cfg", 1),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = {", "the text ends inside a setting"),
        ("a = 1; }", "'}' not expected at line 1"),
        ("a = (1];", "']' not expected at line 1"),
        ("= 1;", "'=' without a name at line 1"),
        ("a b = 1;", "value without a name at line 1"),
        ("a;", "'a' at line 1 has no value"),
        ('a = "x', "'\"' not expected at line 1"),
        ("/* a", "comment at line 1 does not end"),
        ("a = " + "(" * 100, "more than 64 levels, at line 1"),
        ("a = (" + "1," * 60_000 + ");", "more than 50000 values"),
        ("a" * 300 + " = {b = 1;};", "more than 256 characters"),
    ],
)
def test_what_is_not_libconfig(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(").replace("]", r"\]")):
        list(scalars(text))


EPC = """\
[mme]
mme_code = 0x19
tac = 0x0001
mcc = 001
mnc = 01
mme_bind_addr = 127.0.1.100
encryption_algo = EEA2
[hss]
db_file = user_db.csv
[spgw]
gtpu_bind_addr   = 127.0.1.100 # comment
[pcap]
enable   = true
filename = /tmp/epc.pcap
[log]
all_level = info
filename = /tmp/epc.log
"""
ENB = """\
[enb]
mcc = 001
mnc = 01
gtp_bind_addr = 127.0.1.1
[expert]
#eea_pref_list = EEA0, EEA2, EEA1
eia_pref_list = EIA2, EIA1
"""
STATION = """\
amf:
  addr: 127.0.1.100
  bind_addr: 127.0.0.1
cu_cp:
  security:
    integrity: required
    nea_pref_list: nea2,nea1
  f1ap:
    bind_addr: 127.0.10.1
cell_cfg:
  plmn: "00101"
  tac: 7
log:
  filename: /tmp/gnb.log
  all_level: warning
pcap:
  mac_enable: false
  ngap_enable: true
  ngap_filename: /tmp/gnb_ngap.pcap
remote_control:
  enabled: true
"""


def test_srsran_4g() -> None:
    assert observed(srsran, {"/etc/srsran/epc.conf": EPC, "/etc/srsran/enb.conf": ENB}) == (
        [
            ("srsenb", "as.ciphering", "EEA0 EEA2 EEA1", "default"),
            ("srsenb", "as.integrity", "EIA2 EIA1", "7"),
            ("srsenb", "plmn", "001-01", "2"),
            ("srsepc", "nas.ciphering", "EEA2", "7"),
            ("srsepc", "nas.integrity", "EIA1", "default"),
            ("srsepc", "plmn", "001-01", "4"),
            ("srsepc", "tac", "0x0001", "3"),
            ("srsepc", "database", "user_db.csv", "9"),
            ("srsepc", "log.level", "info", "16"),
            ("srsepc", "log.file", "/tmp/epc.log", "17"),
            ("srsepc", "capture", "/tmp/epc.pcap", "14"),
        ],
        [
            ("srsenb", "udp 127.0.1.1 2152", "s1-u", "?", "4"),
            ("srsepc", "sctp 127.0.1.100 36412", "s1ap", "?", "6"),
            ("srsepc", "udp 127.0.1.100 2152", "s1-u", "?", "11"),
        ],
    )


def test_srsran_project() -> None:
    assert observed(srsran, {"/opt/gnb_b200.yml": STATION, "/opt/du_other.yml": "services: []\n"}) == (
        [
            ("srsran-gnb", "as.ciphering", "NEA2 NEA1", "7"),
            ("srsran-gnb", "up.integrity", "required", "6"),
            ("srsran-gnb", "plmn", "001-01", "11"),
            ("srsran-gnb", "tac", "7", "12"),
            ("srsran-gnb", "log.level", "warning", "15"),
            ("srsran-gnb", "log.file", "/tmp/gnb.log", "14"),
            ("srsran-gnb", "capture", "/tmp/gnb_ngap.pcap", "19"),
        ],
        [
            ("srsran-gnb", "sctp 127.0.10.1 38472", "f1-c", "?", "9"),
            ("srsran-gnb", "tcp 127.0.0.1 8001", "admin", "?", "21"),
        ],
    )
