"""Inspectors of core and radio software on damaged and random input: facts or one clear line, in bounded time."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.facts.access import Credential
from assay.facts.service import Directive
from assay.inspect import free5gc, freediameter, kamailio, magma, open5gs, openair, osmocom, srsran, subscriber_keys
from assay.unpack.base import UnpackError
from tests.support.memory_tree import MemoryTree, inspect

from .test_core_functions import AMF, FREE_AMF, MME, OAI
from .test_freediameter import TEXT
from .test_kamailio import PROFILES, SCRIPT
from .test_osmocom import MSC
from .test_radio_functions import ENB, EPC, GNB, STATION

MODULES = {
    free5gc: ("/free5gc/config/amfcfg.yaml", FREE_AMF),
    freediameter: ("/etc/freeDiameter/freeDiameter.conf", TEXT),
    kamailio: ("/etc/kamailio/kamailio.cfg", SCRIPT),
    magma: ("/etc/magma/mme.conf.template", MME),
    open5gs: ("/etc/open5gs/amf.yaml", AMF),
    openair: ("/opt/oai/gnb.conf", GNB),
    osmocom: ("/etc/osmocom/osmo-msc.cfg", MSC),
    srsran: ("/etc/srsran/gnb.yml", STATION),
}
SAMPLES = [text.encode() for _, text in MODULES.values()] + [
    OAI.encode(),
    PROFILES.encode(),
    ENB.encode(),
    EPC.encode(),
]


def look_at(data: bytes) -> None:
    lines = data.count(b"\n") + 1
    for module, (path, _) in MODULES.items():
        tree = MemoryTree({path: (0o644, 0, 0, data)}, [module.INSPECTOR])
        for *_, error in tree.failures:
            assert isinstance(error, (ValueError, UnpackError))
            assert "\n" not in str(error)
        for _, fact in tree.all(Directive):
            assert fact.line is not None
            assert 1 <= fact.line <= lines + 1
        list(module.SETTINGS.inspect(tree))
    for found in inspect(subscriber_keys.INSPECTOR, data, "text"):
        assert isinstance(found, Credential)


def test_damage() -> None:
    rng = random.Random(5)
    for sample in SAMPLES:
        for cut in range(0, len(sample), 61):
            look_at(sample[:cut])
        for _ in range(8):
            data = bytearray(sample)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            look_at(bytes(data))


@settings(max_examples=50, deadline=None)
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([line for sample in SAMPLES for line in sample.split(b"\n")]), max_size=20).map(
        b"\n".join
    )
)
def test_anything(data: bytes) -> None:
    look_at(data)


@pytest.mark.parametrize(
    "unit",
    [
        b"a", b'"', b"/*", b"//", b"#!ifdef a\n", b"$(", b"$a(b", b"{", b"}", b"(", b"a=", b"a={",
        b"[", b"- ", b" a\n", b"{% ", b"{{ ", b"a:\n", b"k: 00112233445566778899aabbccddeeff\n", b"001010123456789,",
        b"imsi,001010123456789,00112233445566778899aabbccddeeff\n", b"\\", b"#!substdef \"!a!aa!g\"\n", b"Port = 1;",
        b"include \"freeDiameter.conf\"\n", b"include_file \"kamailio.cfg\"\n", b"INSERT INTO a (", b"=", b"route",
    ],
)  # fmt: skip
def test_time_stays_in_bounds(unit: bytes) -> None:
    size = 1 << 14
    body = unit * (size // len(unit))
    for module, (path, text) in MODULES.items():
        data = text.encode() + body
        before = time.process_time()
        tree = MemoryTree({path: (0o644, 0, 0, data)}, [module.INSPECTOR])
        list(module.SETTINGS.inspect(tree))
        assert time.process_time() - before < 3, path
    before = time.process_time()
    inspect(subscriber_keys.INSPECTOR, b"imsi milenage\n" + body, "text")
    assert time.process_time() - before < 3


def test_paths_that_do_not_match_cost_little() -> None:
    path = "/usr/lib/python3/dist-packages/package/module/name_of_a_file.py"
    for module in MODULES:
        wanted = module.INSPECTOR.wants_path
        assert wanted is not None
        assert not wanted(path)
        assert wanted(MODULES[module][0])
        before = time.perf_counter()
        for _ in range(10_000):
            wanted(path)
        assert (time.perf_counter() - before) / 10_000 < 5e-6
