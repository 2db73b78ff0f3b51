"""Configurations of core functions: Open5GS, free5GC, OpenAirInterface and Magma, in the words of the interfaces."""

from __future__ import annotations

from types import ModuleType

from assay.facts.network import Listener
from assay.facts.service import Directive, Setting
from assay.inspect import free5gc, magma, open5gs, openair
from tests.support.memory_tree import MemoryTree, inspect

Rows = list[tuple[str, ...]]


def observed(module: ModuleType, files: dict[str, str]) -> tuple[Rows, Rows]:
    """Return settings (subsystem, key, value, line or basis) and listeners of a tree."""
    tree = MemoryTree({path: (0o644, 0, 0, text.encode()) for path, text in files.items()}, [module.INSPECTOR])
    assert not tree.failures
    settings: Rows = []
    listeners: Rows = []
    for fact in module.SETTINGS.inspect(tree):
        if isinstance(fact, Setting):
            where = str(fact.line) if fact.origin == "file" else fact.origin
            settings.append((fact.subsystem, fact.key, fact.value, where))
        else:
            assert isinstance(fact, Listener)
            at = fact.address + (f"%{fact.interface}" if fact.interface else "")
            tls = {True: "tls", False: "clear", None: "?"}[fact.tls]
            listeners.append(
                (fact.program, f"{fact.protocol} {at} {fact.port}", fact.purpose or "", tls, str(fact.line))
            )
    return settings, listeners


AMF = """\
logger:
  file:
    path: /var/log/open5gs/amf.log
#  level: info
global:
  max:
    ue: 1024
amf:
  sbi:
    server:
      - address: 127.0.0.5
        port: 7777
    client:
      scp:
        - uri: http://127.0.0.200:7777
  ngap:
    server:
      - address: 127.0.0.5
  metrics:
    server:
      - address: 127.0.0.5
        port: 9090
  tai:
    - plmn_id:
        mcc: 999
        mnc: 70
      tac: [1, 5-9]
  security:
    integrity_order : [ NIA2, NIA1, NIA0 ]
    ciphering_order : [ NEA0, NEA1, NEA2 ]
"""


def test_open5gs_amf() -> None:
    assert observed(open5gs, {"/etc/open5gs/amf.yaml": AMF, "/usr/share/doc/open5gs/amf.yaml": AMF}) == (
        [
            ("open5gs-amf", "nas.ciphering", "NEA0 NEA1 NEA2", "30"),
            ("open5gs-amf", "nas.integrity", "NIA2 NIA1 NIA0", "29"),
            ("open5gs-amf", "sbi.scheme", "http", "default"),
            ("open5gs-amf", "sbi.verify-client", "no", "default"),
            ("open5gs-amf", "plmn", "999-70", "25"),
            ("open5gs-amf", "tac", "1 5-9", "27"),
            ("open5gs-amf", "log.file", "/var/log/open5gs/amf.log", "3"),
            ("open5gs-amf", "log.level", "info", "default"),
        ],
        [
            ("open5gs-amf", "tcp 127.0.0.5 7777", "sbi", "clear", "11"),
            ("open5gs-amf", "sctp 127.0.0.5 38412", "n2", "?", "18"),
            ("open5gs-amf", "tcp 127.0.0.5 9090", "metrics", "clear", "21"),
        ],
    )


HARDENED = """\
logger:
  file: /var/log/open5gs/smf.log
  level: warn
smf:
  default:
    tls:
      server:
        scheme: https
        private_key: /etc/open5gs/tls/smf.key
        cert: /etc/open5gs/tls/smf.crt
        verify_client: true
        sslkeylogfile: /tmp/keys
      client:
        scheme: https
        insecure_skip_verify: true
  sbi:
    server:
      - dev: eth0
      - scheme: http
        address: [10.0.0.4, 'fd00::4']
    client:
      nrf:
        - uri: https://nrf.localdomain
  pfcp:
    server:
      - address: 10.0.0.4
"""


def test_open5gs_with_tls() -> None:
    assert observed(open5gs, {"/opt/open5gs/etc/open5gs/smf.yaml": HARDENED}) == (
        [
            ("open5gs-smf", "sbi.scheme", "https", "8"),
            ("open5gs-smf", "sbi.scheme", "http", "19"),
            ("open5gs-smf", "sbi.verify-client", "yes", "11"),
            ("open5gs-smf", "sbi.client-scheme", "https", "14"),
            ("open5gs-smf", "sbi.key-log", "/tmp/keys", "12"),
            ("open5gs-smf", "sbi.verify-server", "no", "15"),
            ("open5gs-smf", "nrf", "https://nrf.localdomain", "23"),
            ("open5gs-smf", "log.file", "/var/log/open5gs/smf.log", "2"),
            ("open5gs-smf", "log.level", "warn", "3"),
        ],
        [
            ("open5gs-smf", "tcp %eth0 443", "sbi", "tls", "18"),
            ("open5gs-smf", "tcp 10.0.0.4 80", "sbi", "clear", "20"),
            ("open5gs-smf", "tcp fd00::4 80", "sbi", "clear", "20"),
            ("open5gs-smf", "udp 10.0.0.4 8805", "n4", "?", "26"),
        ],
    )


def test_open5gs_before_2_7() -> None:
    text = """\
logger:
    file: /var/log/open5gs/mme.log
    level: debug
mme:
    freeDiameter: /etc/freeDiameter/mme.conf
    s1ap:
      - addr: 127.0.0.2
    gtpc:
      - addr: 127.0.0.2
    security:
        integrity_order : [ EIA2 ]
        ciphering_order : [ EEA0 ]
sgwc:
    gtpc:
      - addr: 127.0.0.3
"""
    assert observed(open5gs, {"/etc/open5gs/mme.yaml": text}) == (
        [
            ("open5gs-mme", "nas.ciphering", "EEA0", "12"),
            ("open5gs-mme", "nas.integrity", "EIA2", "11"),
            ("open5gs-mme", "log.file", "/var/log/open5gs/mme.log", "2"),
            ("open5gs-mme", "log.level", "debug", "3"),
        ],
        [
            ("open5gs-mme", "sctp 127.0.0.2 36412", "s1ap", "?", "7"),
            ("open5gs-mme", "udp 127.0.0.2 2123", "s11", "?", "9"),
        ],
    )


def test_secrets_are_left_out() -> None:
    text = b"""\
db_uri: mongodb://admin:hunter2@localhost/open5gs
subscriber:
  - supi: "999700000000001"
    security: {k: "465b5ce8b199b49faa5f0a2ee238a6bc", opc: "e8ed289deba952e4283b54e88e6183ca", amf: "8000"}
database: {password: hunter2}
"""
    assert inspect(open5gs.INSPECTOR, text) == [
        Directive(dialect="open5gs", key=key, value=value, line=line)
        for key, value, line in (
            ("db_uri", "mongodb://admin:[withheld]@localhost/open5gs", 1),
            ("subscriber[0].supi", "999700000000001", 3),
            ("subscriber[0].security.k", "[withheld]", 4),
            ("subscriber[0].security.opc", "[withheld]", 4),
            ("subscriber[0].security.amf", "8000", 4),
            ("database.password", "[withheld]", 5),
        )
    ]


def test_nothing_is_assumed_of_what_could_not_be_read() -> None:
    files = {"/etc/open5gs/amf.yaml": (0o644, 0, 0, AMF.encode() + b"---\n]\n")}
    tree = MemoryTree(files, [open5gs.INSPECTOR])
    assert [str(failure[2]) for failure in tree.failures] == ["not YAML: did not find expected node content at line 32"]
    facts = list(open5gs.SETTINGS.inspect(tree))
    assert [fact.key for fact in facts if isinstance(fact, Setting) and fact.origin == "default"] == []
    assert [fact.tls for fact in facts if isinstance(fact, Listener)] == [None, None, False]


FREE_AMF = """\
info:
  version: 1.0.9
configuration:
  amfName: AMF
  ngapIpList:
    - 127.0.0.18
  ngapPort: 38412
  sbi:
    scheme: https
    registerIPv4: 127.0.0.18
    bindingIPv4: 127.0.0.18
    port: 8000
  supportTaiList:
    - plmnId:
        mcc: 208
        mnc: 93
      tac: 000001
  nrfUri: https://127.0.0.10:8000
  security:
    integrityOrder:
      - NIA2
      # - NIA0
    cipheringOrder:
      - NEA0
      - NEA2
logger:
  enable: true
  level: info
"""
FREE_NRF = """\
configuration:
  MongoDBUrl: mongodb://127.0.0.1:27017
  sbi: {scheme: http, bindingIPv4: 127.0.0.10, port: 8000}
logger:
  NRF:
    debugLevel: debug
"""
FREE_UPF = """\
version: 1.0.3
pfcp:
  addr: 127.0.0.8
gtpu:
  forwarder: gtp5g
  ifList:
    - addr: 0.0.0.0
      type: N3
"""
FREE_WEB = """\
configuration:
  webServer:
    scheme: http
    ipv4Address: 0.0.0.0
    port: 5000
"""


def test_free5gc() -> None:
    files = {"amf": FREE_AMF, "nrf": FREE_NRF, "upf": FREE_UPF, "webui": FREE_WEB}
    assert observed(free5gc, {f"/free5gc/config/{name}cfg.yaml": text for name, text in files.items()}) == (
        [
            ("free5gc-amf", "nas.ciphering", "NEA0 NEA2", "24"),
            ("free5gc-amf", "nas.integrity", "NIA2", "21"),
            ("free5gc-amf", "sbi.scheme", "https", "9"),
            ("free5gc-amf", "nrf", "https://127.0.0.10:8000", "18"),
            ("free5gc-amf", "plmn", "208-93", "15"),
            ("free5gc-amf", "tac", "000001", "17"),
            ("free5gc-amf", "log.level", "info", "28"),
            ("free5gc-nrf", "sbi.scheme", "http", "3"),
            ("free5gc-nrf", "database", "mongodb://127.0.0.1:27017", "2"),
            ("free5gc-nrf", "sbi.oauth2", "no", "default"),
            ("free5gc-nrf", "log.level", "debug:NRF", "6"),
        ],
        [
            ("free5gc-amf", "tcp 127.0.0.18 8000", "sbi", "tls", "11"),
            ("free5gc-amf", "sctp 127.0.0.18 38412", "n2", "?", "6"),
            ("free5gc-nrf", "tcp 127.0.0.10 8000", "sbi", "clear", "3"),
            ("free5gc-upf", "udp 127.0.0.8 8805", "n4", "?", "3"),
            ("free5gc-upf", "udp 0.0.0.0 2152", "n3", "?", "7"),
            ("free5gc-webui", "tcp 0.0.0.0 5000", "webui", "clear", "4"),
        ],
    )


OAI = """\
log_level:
  general: debug
nfs:
  amf:
    host: oai-amf
    sbi:
      port: 8080
      interface_name: eth0
    n2:
      interface_name: eth0
      port: 38412
  upf:
    n3: {interface_name: eth1, port: 2152}
    n6: {interface_name: eth2}
database:
  host: mysql
  user: test
  password: test
snssais:
  - &slice
    sst: 1
amf:
  plmn_support_list:
    - mcc: 208
      mnc: 95
      tac: 0xa000
      nssai: [*slice]
  supported_integrity_algorithms: ["NIA0", "NIA2"]
  supported_encryption_algorithms:
    - "NEA0"
"""


def test_openair_core() -> None:
    assert observed(openair, {"/openair-amf/etc/config.yaml": OAI}) == (
        [
            ("oai-amf", "nas.ciphering", "NEA0", "30"),
            ("oai-amf", "nas.integrity", "NIA0 NIA2", "28"),
            ("oai-amf", "log.level", "debug", "2"),
            ("oai-amf", "database", "mysql", "16"),
            ("oai-amf", "plmn", "208-95", "24"),
            ("oai-amf", "tac", "0xa000", "26"),
            ("oai-upf", "log.level", "debug", "2"),
        ],
        [
            ("oai-amf", "tcp %eth0 8080", "sbi", "?", "7"),
            ("oai-amf", "sctp %eth0 38412", "n2", "?", "11"),
            ("oai-upf", "udp %eth1 2152", "n3", "?", "13"),
        ],
    )


MME = """\
MME :
{
    REALM = "{{ realm }}"
    UNAUTHENTICATED_IMSI_SUPPORTED = "no";
    # TAIs
    TAI_LIST = (
    {% if not tacs|length %}
         { MCC="{{ mcc }}" ; MNC="{{ mnc }}" ; TAC="{{ tac }}"; }
    {%- else %}
    {%- endif %}
    );
    NAS :
    {
        ORDERED_SUPPORTED_INTEGRITY_ALGORITHM_LIST = [ "EIA2" , "EIA0" ];
        ORDERED_SUPPORTED_CIPHERING_ALGORITHM_LIST = [ "EEA0" , "EEA2" ];
        T3402                                 =  1   # minutes, without a semicolon
        T3412                                 =  54
    };
    NETWORK_INTERFACES :
    {
        MME_INTERFACE_NAME_FOR_S1_MME = "{{ s1ap_iface_name }}";
        MME_IPV4_ADDRESS_FOR_S1_MME = "{{ s1ap_ip }}";
        MME_IPV4_ADDRESS_FOR_S11_MME = "192.168.0.1/24";
        MME_PORT_FOR_S11_MME = 2123;
    };
    LOGGING : { OUTPUT = "/var/log/mme.log"; };
};
"""


def test_magma() -> None:
    files = {
        "/etc/magma/templates/mme.conf.template": MME,
        "/etc/magma/pipelined.yml": "log_level: INFO\nprint_grpc_payload: true\n",
        "/etc/magma/service_registry.yml": "services:\n  mme: {ip_address: 127.0.0.1, port: 50073}\n",
        "/etc/magma/control_proxy.yml": "local_port: 8443\ncloud_address: controller.magma.test\n",
    }
    assert observed(magma, files) == (
        [
            ("magma-control_proxy", "cloud_address", "controller.magma.test", "2"),
            ("magma-pipelined", "log.level", "INFO", "1"),
            ("magma-pipelined", "print_grpc_payload", "yes", "2"),
            ("magma-mme", "nas.ciphering", "EEA0 EEA2", "15"),
            ("magma-mme", "nas.integrity", "EIA2 EIA0", "14"),
            ("magma-mme", "unauthenticated", "no", "4"),
            ("magma-mme", "plmn", "{{ mcc }}-{{ mnc }}", "8"),
            ("magma-mme", "tac", "{{ tac }}", "8"),
            ("magma-mme", "log.file", "/var/log/mme.log", "26"),
        ],
        [
            ("magma-control_proxy", "tcp  8443", "proxy", "?", "1"),
            ("magma-mme", "tcp 127.0.0.1 50073", "grpc", "?", "2"),
            ("magma-mme", "sctp  36412", "s1ap", "?", "22"),
            ("magma-mme", "udp 192.168.0.1 2123", "s11", "?", "23"),
        ],
    )
