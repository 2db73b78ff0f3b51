"""Every rule of our packs against trees that break it and trees that do not, examined as any release is."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from assay.examine import examine
from assay.judge import available_packs, digest, judge, load_pack
from assay.record import Record

from .cases import CASES, IMAGE_ONLY, MADE, Found, Tree
from .release import write

PACKS = list(available_packs())
SOURCE = "#include <string.h>\nint main(int n, char **v) { char b[64]; strcpy(b, v[n - 1]); return b[3]; }\n"
BUILDS = {
    "<canary>": ["-fstack-protector-all", "-fPIE", "-pie", "-Wl,-z,relro,-z,now"],
    "<no canary>": ["-fno-stack-protector", "-D_FORTIFY_SOURCE=0", "-fno-builtin"],
    "<executable stack>": ["-fstack-protector-all", "-Wl,-z,execstack"],
    "<static>": ["-static", "-no-pie", "-s"],
}

Make = Callable[[str], bytes]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make the files that cases name in angle brackets, each once."""
    folder = tmp_path_factory.mktemp("made")
    known: dict[str, bytes] = {}

    def made(word: str) -> bytes:
        if word not in known:
            known[word] = _key(word) if word.endswith("key>") else _program(word, folder)
        return known[word]

    return made


def _key(word: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()) if word == "<ec key>" else rsa.generate_private_key(65537, 1024)
    secret = serialization.BestAvailableEncryption(b"x") if "encrypted" in word else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)


def _program(word: str, folder: Path) -> bytes:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (folder / "a.c").write_text(SOURCE)
    command = ["gcc", "-O0", "-w", *BUILDS[word], "-o", str(folder / "a"), str(folder / "a.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"gcc cannot build {word}: {done.stderr.strip()[-200:]}")
    return (folder / "a").read_bytes()


def tar(tree: Tree, make: Make) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, (mode, uid, gid, what) in tree.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.mode, info.uid, info.gid = mode, uid, gid
            data = make(what) if isinstance(what, str) and what in MADE else what
            if isinstance(data, bytes):
                info.size = len(data)
            else:
                info.type = tarfile.DIRTYPE if data is None else tarfile.SYMTYPE
                info.linkname = data or ""
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


def image(layer: bytes) -> dict[str, bytes]:
    """Return an OCI layout (image-spec 1.1) of one layer: path to bytes."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, kind: str) -> dict[str, object]:
        name = sha256(data).hexdigest()
        blobs[f"blobs/sha256/{name}"] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(data)}

    rootfs = {"type": "layers", "diff_ids": ["sha256:" + sha256(layer).hexdigest()]}
    config = blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), "config.v1+json")
    layers = [blob(layer, "layer.v1.tar")]
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    body = json.dumps({**manifest, "config": config, "layers": layers}).encode()
    index = {"schemaVersion": 2, "manifests": [blob(body, "manifest.v1+json")]}
    return {**blobs, "index.json": json.dumps(index).encode(), "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}


def examined(artefacts: list[Path], record: Path) -> Path:
    examine(artefacts, record, workers=1, sandbox=False)
    return record


def test_every_rule_has_a_case_that_breaks_it_and_one_that_does_not() -> None:
    rules = {rule.name for pack in PACKS for rule in load_pack(pack).rules}
    kinds = {name: {case.verdict == "fail" for case in cases.values()} for name, cases in CASES.items()}
    assert kinds == {name: {True, False} for name in rules}


def found(record: Path, rule: str, artefact: int) -> Found:
    """Return what a rule found in an artefact; every finding has to rest on facts that are there."""
    sql = """SELECT f.id, f.message, f.path, f.line FROM finding AS f JOIN verdict AS v ON v.id = f.verdict
               JOIN rule AS r ON r.id = v.rule JOIN container AS c ON c.id = f.tree
              WHERE r.name = ? AND c.artefact = ? ORDER BY f.id"""
    findings = []
    with Record(record) as opened:
        for number, *finding in opened.db.execute(sql, (rule, artefact)):
            facts = opened.db.execute("SELECT family, fact FROM evidence WHERE finding = ?", (number,)).fetchall()
            assert facts
            for family, fact in facts:
                assert opened.db.execute(f'SELECT 1 FROM "{family}" WHERE id = ?', (fact,)).fetchone(), (family, fact)
            findings.append(tuple(finding))
    return findings  # type: ignore[return-value]


@pytest.mark.parametrize(("rule", "name"), [(rule, name) for rule, cases in CASES.items() for name in cases])
def test_case(rule: str, name: str, tmp_path: Path, make: Make) -> None:
    case = CASES[rule][name]
    made = {path: (*spec[:3], make(spec[3]) if spec[3] in MADE else spec[3]) for path, spec in case.tree.items()}
    record = write(tmp_path / "r.assay", [made], formats={0: "image"} if case.image else None)  # type: ignore[list-item]
    (judged,) = [one for one in judge(record, [rule.split("/", maxsplit=1)[0]]) if one.rule.name == rule]
    assert (judged.verdict, found(record, rule, 1)) == (case.verdict, case.findings)
    if case.reason:
        assert judged.reason == case.reason


def test_all_that_fails_is_found_in_images_as_they_are_delivered(tmp_path: Path, make: Make) -> None:
    failing = [
        (rule, name, case) for rule, cases in CASES.items() for name, case in cases.items() if case.verdict == "fail"
    ]
    artefacts = []
    for number, (_, _, case) in enumerate(failing):
        artefacts.append(tmp_path / f"{number}.tar")
        artefacts[-1].write_bytes(tar(case.tree, make))
    record = examined(artefacts, tmp_path / "r.assay")
    judge(record, PACKS)
    with Record(record) as opened:
        prefixes = dict(opened.db.execute("SELECT artefact, path FROM container WHERE parent IS NULL"))
    for number, (rule, name, case) in enumerate(failing, 1):
        # A key that several deliveries hold is one content, found once.
        if rule == "beyond-scas/private-key":
            continue
        expected = [(message, prefixes[number] + path, line) for message, path, line in case.findings]
        assert (rule, name, found(record, rule, number)) == (rule, name, expected)


def test_a_container_image_has_no_kernel_parameters(tmp_path: Path, make: Make) -> None:
    names = [rule for rule, cases in CASES.items() if "container image" in cases]
    tree: Tree = {}
    for rule in names:
        tree |= CASES[rule]["container image"].tree
    layout = {f"/{name}": (0o644, 0, 0, blob) for name, blob in image(tar(tree, make)).items()}
    (tmp_path / "image.tar").write_bytes(tar(layout, make))
    record = examined([tmp_path / "image.tar"], tmp_path / "r.assay")
    verdicts = {one.rule.name: (one.verdict, one.reason) for one in judge(record, PACKS)}
    assert {name: verdicts[name] for name in names} == dict.fromkeys(names, ("not-applicable", IMAGE_ONLY))


# -- names -------------------------------------------------------------------------------------------------------------

OLD, NEW = "acmetel", "zenitek"
"""A vendor's name, and another of the same length: sizes are facts too."""

WANTS = "/etc/systemd/system/multi-user.target.wants"


def vendor_release(make: Make) -> Tree:
    """Return a release that breaks many rules and has its vendor's name in every kind of place."""
    tree: dict[str, tuple[int, int, int, object]] = {}
    for cases in CASES.values():
        for case in cases.values():
            if case.verdict == "fail" and not case.image:
                tree |= {path: spec for path, spec in case.tree.items() if not path.startswith("/var/lib/dpkg")}
    tree |= {
        "/etc/passwd": (0o644, 0, 0, f"root:x:0:0::/root:/bin/sh\n{OLD}:x:77:77:{OLD} support:/:/bin/sh\n".encode()),
        "/etc/shadow": (
            0o644,
            0,
            0,
            f"root:$1$saltsalt${'b' * 22}:1::::::\n{OLD}:$1$saltsalt${'c' * 22}:1::::::\n".encode(),
        ),
        "/etc/ssh/sshd_config": (0o644, 0, 0, f"# {OLD} defaults\nPermitRootLogin yes\n".encode()),
        "/etc/sysctl.d/10-net.conf": (0o644, 0, 0, f"# {OLD}\nnet.ipv4.conf.all.proxy_arp = 1\n".encode()),
        f"/opt/{OLD}/bin/{OLD}d": (0o4757, 0, 0, f"#!/bin/sh\necho {OLD}\n".encode()),
        f"/opt/{OLD}/{OLD}.bin": (0o644, 0, 0, make("<no canary>") + f"(C) {OLD}\0".encode()),
        f"/lib/systemd/system/{OLD}.service": (0o644, 0, 0, f"[Service]\nExecStart=/opt/{OLD}/bin/{OLD}d\n".encode()),
        f"/etc/systemd/system/multi-user.target.wants/{OLD}.service": (
            0o777,
            0,
            0,
            f"/lib/systemd/system/{OLD}.service",
        ),
        "/var/lib/dpkg/status": (
            0o644,
            0,
            0,
            f"Package: {OLD}-base\nStatus: install ok installed\nMaintainer: {OLD} <build@{OLD}.example>\n"
            f"Homepage: https://{OLD}.example\nArchitecture: all\nVersion: 1-{OLD}1\nDescription: {OLD}\n\n".encode(),
        ),
        f"/var/lib/dpkg/info/{OLD}-base.list": (0o644, 0, 0, f"/opt/{OLD}/{OLD}.bin\n".encode()),
    }
    return tree  # type: ignore[return-value]


def renamed(tree: Mapping[str, tuple[int, int, int, object]], old: str, new: str) -> Tree:
    def swap(what: object) -> object:
        if isinstance(what, bytes):
            return what.replace(old.encode(), new.encode())
        return what.replace(old, new) if isinstance(what, str) else what

    return {  # type: ignore[return-value]
        path.replace(old, new): (mode, uid, gid, swap(what)) for path, (mode, uid, gid, what) in tree.items()
    }


def test_a_vendor_renamed_everywhere_is_judged_the_same(tmp_path: Path, make: Make) -> None:
    tree = vendor_release(make)
    seen = []
    for name in (OLD, NEW):
        artefact = tmp_path / f"{name}-firmware.tar"
        artefact.write_bytes(tar(renamed(tree, OLD, name), make))
        record = examined([artefact], tmp_path / f"{name}.assay")
        judged = judge(record, PACKS)
        with Record(record) as opened:
            identity = dict(opened.db.execute("SELECT attribute, value FROM identity"))
            findings = opened.db.execute("SELECT message, path, line FROM finding ORDER BY id").fetchall()
        verdicts = [(one.rule.name, one.verdict, one.missing, one.findings) for one in judged]
        seen.append((verdicts, digest(record, 2), identity, findings))
    (before, old_digest, old_identity, old_findings), (after, new_digest, new_identity, new_findings) = seen
    assert before == after
    assert old_digest == new_digest
    assert sum(findings for _, verdict, _, findings in before if verdict == "fail") > 15
    # The names were really there, and really changed: in identity, which rules cannot read, and in what was found.
    assert OLD in json.dumps(old_identity)
    assert json.loads(json.dumps(old_identity).replace(OLD, NEW)) == new_identity
    assert any(OLD in f"{message}{path}" for message, path, _ in old_findings)
    swapped = [[(part or "").replace(OLD, NEW) for part in row[:2]] for row in old_findings]
    assert sorted(swapped) == sorted([list(row[:2]) for row in new_findings])


NAMES = """
ericsson nokia huawei zte samsung cisco juniper fujitsu nec mavenir fiberhome alcatel lucent siemens ciena adtran arista
openwrt debian ubuntu redhat fedora china chinese russia russian korea korean japan japanese taiwan america american usa
sweden swedish finland finnish european
""".split()  # noqa: SIM905 - a list of words
"""Makers and countries; rules that name one would judge names, not facts."""


@pytest.mark.parametrize("pack", PACKS)
def test_packs_name_no_maker_and_no_country(pack: str) -> None:
    for path in load_pack(pack).path.glob("*.toml"):
        words = set(re.findall(r"[a-z]+", path.read_text().lower()))
        assert not words & set(NAMES), path.name


@pytest.mark.parametrize("pack", PACKS)
def test_lines_fit_a_screen(pack: str) -> None:
    for path in load_pack(pack).path.glob("*.toml"):
        assert max(map(len, path.read_text().splitlines())) <= 130, path.name
