"""Keys of subscribers in configurations and seeds; and not elsewhere."""

from __future__ import annotations

import hashlib

import pytest

from assay.facts.access import Credential
from assay.inspect import subscriber_keys
from tests.support.memory_tree import inspect

K, OPC = "465b5ce8b199b49faa5f0a2ee238a6bc", "E8ED289DEBA952E4283B54E88E6183CA"
IMSI = "001010000000001"


def key(value: str, scheme: str, line: int, offset: int, evidence: str) -> Credential:
    return Credential(
        kind="subscriber-key",
        scheme=scheme,
        fingerprint=hashlib.sha256(value.encode()).hexdigest(),
        bits=128,
        encrypted=False,
        evidence=evidence,
        line=line,
        offset=offset,
    )


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f'- supi: "{IMSI}"\n  security:\n    k: "{K}"\n    opc: "{OPC}"\n', ((K, "K"), (OPC, "OPc"))),
        (f"[usim]\nalgo = milenage\nopc  = {OPC}\nk = {K}\nimsi = {IMSI}\n", ((OPC, "OPc"), (K, "K"))),
        (f'uicc0 = {{\nimsi = "{IMSI}";\nkey = "{K}";\nopc= "{OPC}";\n}}\n', ((K, "K"), (OPC, "OPc"))),
        (f"supi: 'imsi-{IMSI}'\nkey: '{K}'\nop: '{OPC}'\nopType: 'OPC'\n", ((K, "K"), (OPC, "OP"))),
        (f'{{"permanentKey": {{"permanentKeyValue": "{K}"}}}}\n{{"opcValue": "{OPC}"}}', ((K, "K"), (OPC, "OPc"))),
        (f'db.subscribers.insert({{imsi: "{IMSI}", security: {{k: "465B5CE8 B199B49F AA5F0A2E E238A6BC"}}}})', None),
        (f"OPERATOR_key = '{OPC}'; # OP key\n", ((OPC, "OP"),)),
    ],
)  # fmt: skip
def test_named(text: str, keys: tuple[tuple[str, str], ...] | None) -> None:
    if keys is None:
        (fact,) = inspect(subscriber_keys.INSPECTOR, text.encode())
        assert isinstance(fact, Credential)
        assert (fact.kind, fact.scheme) == ("subscriber-key", "K")
        return
    assert inspect(subscriber_keys.INSPECTOR, text.encode()) == [
        key(value, scheme, text[: text.index(value)].count("\n") + 1, text.index(value), "field")
        for value, scheme in keys
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"# Name,Auth,IMSI,Key,OP_Type,OP/OPc\nue1,mil,{IMSI},{K},opc,{OPC},9001\n", (("milenage", "milenage"))),
        (
            "INSERT INTO `AuthenticationSubscription` (`ueid`, `authenticationMethod`, `encPermanentKey`, "
            "`protectionParameterId`, `sequenceNumber`, `encOpcKey`) VALUES\n"
            f"('{IMSI}', '5G_AKA', '{K}', '{K[::-1]}', '{{\"sqn\": \"0\"}}', '{OPC}');\n",
            (("K", "OPc")),
        ),
        (f"INSERT INTO auc_3g VALUES (1, '{IMSI}', 0x{K}, NULL);\n", ("milenage",)),
    ],
)
def test_rows(text: str, keys: tuple[str, ...]) -> None:
    values = (K, OPC)[: len(keys)]
    assert inspect(subscriber_keys.INSPECTOR, text.encode()) == [
        key(value, scheme, text[: text.index(value)].count("\n") + 1, text.index(value), "pattern")
        for value, scheme in zip(values, keys, strict=True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"key: {K}\n",
        f"api_key = {K}\nimsi\n",
        f"etag: {K}  k={K}\n",
        f"{K}  file-20240101120000.tar.gz\n",
        f"20240101120000 {K} upload\n",
        f"opcode: {K}\n",
        f"monkey = '{K}' # imsi\n",
        f"imsi: {IMSI}\nkey: {K}ff\n",
    ],
)
def test_what_is_no_such_key(text: str) -> None:
    assert inspect(subscriber_keys.INSPECTOR, text.encode()) == []
