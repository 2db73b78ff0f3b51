"""What update and application packages state of themselves, in the words of their specifications' examples."""

from __future__ import annotations

import pytest

from assay.facts.manifest import ManifestEntry, PackageStatement
from assay.inspect import mender, ovf, rauc_manifest, sol004, swupdate, tosca, xapp
from assay.inspect.base import ContentInspector

from ..support.memory_tree import inspect

A, B = "a" * 64, "b" * 64

MF = f"""metadata:
  vnf_product_name: AMF
  vnf_provider_id: Example Networks
  vnf_package_version: 2.4.1
  vnf_release_date_time: 2024-03-01T10:00:00+01:00

Source: Definitions/amf.yaml
Algorithm: SHA-256
Hash: {A.upper()}

Source: https://example.com/image.qcow2
Algorithm: SHA-512
Hash: {B}{B}
Signature: image.sig
Certificate: image.cert
"""

CMS = "-----BEGIN CMS-----\nMIIB\nSource: not/this\n-----END CMS-----\n"


def test_manifest_of_a_network_function() -> None:
    about = PackageStatement(
        kind="csar",
        name="AMF",
        version="2.4.1",
        provider="Example Networks",
        created="2024-03-01T10:00:00+01:00",
        line=2,
    )
    first = ManifestEntry(kind="csar", name="Definitions/amf.yaml", algorithm="sha256", digest=A, line=7)
    second = ManifestEntry(
        kind="csar",
        name="https://example.com/image.qcow2",
        algorithm="sha512",
        digest=B + B,
        signature="file",
        line=11,
    )
    assert inspect(sol004.INSPECTOR, MF.encode()) == [about, first, second]
    signed = inspect(sol004.INSPECTOR, (MF + CMS).encode())
    assert [(type(fact), fact.signature) for fact in signed] == [  # type: ignore[attr-defined]
        (PackageStatement, "cms"),
        (ManifestEntry, "cms"),
        (ManifestEntry, "cms"),
    ]


def test_manifest_of_an_oran_application_with_crlf() -> None:
    text = (
        "metadata:\r\n  application_name: xapp\r\n  application_provider: Maker\r\n  release_date_time: 2023\r\n"
        "  entry_definition_type: asd\r\n\r\nSource: a\r\nAlgorithm: SHA-256\r\nHash: " + A + "\r\n"
    )
    about, entry = inspect(sol004.INSPECTOR, text.encode())
    assert about == PackageStatement(kind="oran", name="xapp", provider="Maker", format="asd", line=2)
    assert entry == ManifestEntry(kind="oran", name="a", algorithm="sha256", digest=A, line=7)


def test_tosca_meta() -> None:
    text = (
        b"TOSCA-Meta-File-Version: 1.0\nCSAR-Version: 1.1\nCreated-By: Maker 3\nEntry-Definitions: Definitions/a.yaml\n"
    )
    assert inspect(sol004.INSPECTOR, text) == [PackageStatement(kind="csar", format="1.1", created="Maker 3", line=1)]


def test_ovf_manifest_and_descriptor() -> None:
    text = f"SHA256(appliance.ovf)= {A}\nSHA1(disk 1.vmdk)= {'c' * 40}\nnonsense\n"
    assert inspect(ovf.INSPECTOR, text.encode()) == [
        ManifestEntry(kind="ovf", name="appliance.ovf", algorithm="sha256", digest=A, line=1),
        ManifestEntry(kind="ovf", name="disk 1.vmdk", algorithm="sha1", digest="c" * 40, line=2),
    ]
    descriptor = b"""<?xml version="1.0"?>
<Envelope ovf:version="1.0" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<VirtualSystem ovf:id="vm">
<ProductSection><Info>x</Info><Product>Core &amp; Edge</Product><Vendor>Maker</Vendor><Version>7</Version>
</ProductSection></VirtualSystem></Envelope>"""
    assert inspect(ovf.INSPECTOR, descriptor) == [
        PackageStatement(kind="ovf", name="Core & Edge", version="7", provider="Maker", format="1", line=4)
    ]
    assert inspect(ovf.INSPECTOR, MF.encode()) == []
    assert inspect(sol004.INSPECTOR, text.encode()) == []


SW = f"""software =
{{
    version = "1.2.0";
    description = "Base station";
    hardware-compatibility: [ "1.0", "#RE:^1\\.[2-3]$" ];
    stable = {{
        copy1: {{
            images: (
                {{ filename = "rootfs.ext4.gz"; device = "/dev/mmcblk0p2"; sha256 = "{A}"; }},
                {{ filename = "uImage"; }}
            );
        }};
    }};
    scripts: ( {{ filename = "post.sh"; type = "shellscript"; sha256 = "{B}"; }} );
}}
"""
SW_JSON = (
    '{"software": {"version": "1.2.0", "description": "Base station", "hardware-compatibility": ["1.0"], '
    f'"images": [{{"filename": "rootfs.ext4.gz", "sha256": "{A}"}}]}}}}'
)


def test_sw_description() -> None:
    about, *entries = inspect(swupdate.INSPECTOR, SW.encode())
    assert isinstance(about, PackageStatement)
    assert (about.kind, about.name, about.version, about.line) == ("swupdate", "Base station", "1.2.0", 3)
    assert about.compatible[0] == "1.0"
    assert len(about.compatible) == 2
    assert entries == [
        ManifestEntry(kind="swupdate", name="rootfs.ext4.gz", algorithm="sha256", digest=A, line=9),
        ManifestEntry(kind="swupdate", name="uImage", line=10),
        ManifestEntry(kind="swupdate", name="post.sh", algorithm="sha256", digest=B, line=14),
    ]
    about, entry = inspect(swupdate.INSPECTOR, SW_JSON.encode())
    assert about == PackageStatement(kind="swupdate", name="Base station", version="1.2.0", compatible=["1.0"])
    assert entry == ManifestEntry(kind="swupdate", name="rootfs.ext4.gz", algorithm="sha256", digest=A)


def test_rauc_manifest() -> None:
    text = (
        "[update]\ncompatible=FooCorp Super BarBazzer\nversion=2016.08-1\ndescription=Maintenance\nbuild=2016\n\n"
        f"[bundle]\nformat=verity\n\n[image.rootfs]\nsha256={A}\nsize=419430400\nfilename=rootfs.ext4\n"
    )
    assert inspect(rauc_manifest.INSPECTOR, text.encode()) == [
        PackageStatement(
            kind="rauc",
            name="Maintenance",
            version="2016.08-1",
            format="verity",
            created="2016",
            compatible=["FooCorp Super BarBazzer"],
            line=2,
        ),
        ManifestEntry(kind="rauc", name="rootfs.ext4", algorithm="sha256", digest=A, size=419430400, line=10),
    ]


def test_mender() -> None:
    text = f"{A}  data/0000/core.ext4\n{B}  header.tar.gz\n{A}  version\n"
    assert inspect(mender.INSPECTOR, text.encode()) == [
        ManifestEntry(kind="mender", name="data/0000/core.ext4", algorithm="sha256", digest=A, line=1),
        ManifestEntry(kind="mender", name="header.tar.gz", algorithm="sha256", digest=B, line=2),
        ManifestEntry(kind="mender", name="version", algorithm="sha256", digest=A, line=3),
    ]
    header = (
        b'{"payloads": [{"type": "rootfs-image"}],\n "artifact_provides": {"artifact_name": "release-5"},'
        b'\n "artifact_depends": {"device_type": ["bbb"]}}'
    )
    about = PackageStatement(kind="mender", name="release-5", format="rootfs-image", compatible=["bbb"], line=2)
    assert inspect(mender.INSPECTOR, header) == [about]
    assert inspect(mender.INSPECTOR, f"{A}  only-one\n".encode()) == []
    assert inspect(mender.INSPECTOR, b"some other manifest\n") == []


VNFD = b"""tosca_definitions_version: tosca_simple_yaml_1_3
node_types:
  Maker.AMF: {derived_from: tosca.nodes.nfv.VNF}
topology_template:
  node_templates:
    VNF:
      type: Maker.AMF
      properties:
        descriptor_id: 1-2
        provider: Maker
        product_name: AMF
        software_version: "5.0"
        descriptor_version: "1"
    VDU:
      type: tosca.nodes.nfv.Vdu.Compute
      properties: {name: worker}
    asd:
      type: tosca.nodes.asd
      properties: {application_name: rApp, asd_provider: Other, application_version: 3}
"""


def test_descriptors() -> None:
    assert inspect(tosca.INSPECTOR, VNFD) == [
        PackageStatement(kind="csar", name="AMF", version="5.0", provider="Maker", format="Maker.AMF", line=9),
        PackageStatement(kind="oran", name="rApp", version="3", provider="Other", format="tosca.nodes.asd", line=19),
    ]
    assert inspect(tosca.INSPECTOR, b"kind: Deployment\n") == []


def test_xapp() -> None:
    text = b'{\n  "xapp_name": "anr",\n  "version": "1.2",\n  "vendor": "Maker",\n  "containers": [{"name": "anr"}]\n}'
    assert xapp.INSPECTOR.wants_head is not None
    assert xapp.INSPECTOR.wants_head(text)
    assert inspect(xapp.INSPECTOR, text) == [
        PackageStatement(kind="oran", name="anr", version="1.2", provider="Maker", format="xapp", line=2)
    ]
    assert inspect(xapp.INSPECTOR, b'["xapp_name"]') == []


@pytest.mark.parametrize("inspector", [sol004, ovf, swupdate, rauc_manifest, mender, tosca, xapp])
def test_hostile(inspector: object) -> None:
    found: ContentInspector = inspector.INSPECTOR  # type: ignore[attr-defined]
    texts = [MF + CMS, SW, SW_JSON, VNFD.decode(), "{" * 5000, "[image." * 3000, "Source:\n" * 30_000, "x" * 100_000]
    texts += [
        '{"artifact_name": 3}',
        '{"artifact_name": "a", "updates": 4}',
        '{"\\u0061rtifact_name": "x"}',
        "",
        "[update]\n=\n",
    ]
    texts += ["<ProductSection>" * 5000 + "<Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1'>"]
    for text in texts:
        for cut in (len(text), len(text) // 2, len(text) // 3):
            try:
                for fact in inspect(found, text[:cut].encode()):
                    assert type(fact) in found.families
            except ValueError:
                continue
