"""LUKS volumes made by cryptsetup, which also encrypts real content into files; opened with what opens them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from assay.unpack import identify
from assay.unpack.base import (
    BytesSource,
    Claim,
    Encrypted,
    Entry,
    FileSource,
    Limits,
    Malformed,
    NotThisFormat,
    Problem,
    Truncated,
    UnpackError,
    Window,
)
from assay.unpack.luks import FORMAT, Luks, decryptor, merge
from assay.unpack.secrets import Secrets, holding

from ..support.hostile import mangled, survives

CRYPTSETUP = shutil.which("cryptsetup", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(CRYPTSETUP is None, reason="cryptsetup is not installed")

PHRASE, OTHER = b"correct horse", b"battery staple"
KIB, MIB = 1 << 10, 1 << 20
PLAIN = random.Random(6).randbytes(600 * KIB) + bytes(MIB - 600 * KIB)
LUKS1 = ["--type", "luks1", "--hash", "sha256", "--pbkdf-force-iterations", "1000"]
LUKS2 = ["--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
ARGON = ["--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "1024",
         "--pbkdf-parallel", "1"]  # fmt: skip


def cryptsetup(*arguments: object) -> None:
    assert CRYPTSETUP is not None
    done = subprocess.run([CRYPTSETUP, "-q", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cryptsetup cannot work on files here: {done.stderr.strip()[:200]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("luks")
    (folder / "phrase").write_bytes(PHRASE)
    (folder / "other").write_bytes(OTHER)
    return folder


def encrypted(folder: Path, name: str, *options: str) -> Path:
    """Return an image into which cryptsetup has encrypted `PLAIN`."""
    image = folder / name
    if not image.exists():
        made = folder / f"{name}.part"
        made.write_bytes(PLAIN + bytes(32 * MIB))
        cryptsetup(
            "reencrypt", "--encrypt", *options, "--reduce-device-size", "32M", "--key-file", folder / "phrase", made
        )
        made.rename(image)
    return image


def header_only(folder: Path, name: str, *options: str) -> Path:
    image = folder / name
    if not image.exists():
        made = folder / f"{name}.part"
        with made.open("wb") as file:
            file.truncate(17 * MIB)
        cryptsetup("luksFormat", *options, "--key-file", folder / "phrase", made)
        made.rename(image)
    return image


def volume(data: bytes, *phrases: bytes, keys: tuple[bytes, ...] = ()) -> tuple[list[Entry | Problem], object, bytes]:
    """Return what is listed, what opened it, and the first bytes of the volume."""
    with holding(Secrets(phrases, keys)):
        reader = FORMAT.open(BytesSource(data), Limits())
        found = list(reader.entries())
        try:
            begun = next(reader.open("volume"))
        except Encrypted as error:
            begun = str(error).encode()
    return found, reader.detail.get("opened"), begun


@pytest.mark.parametrize(
    "options",
    [
        LUKS2,
        ARGON,
        [*ARGON[:3], "argon2i", *ARGON[4:]],
        [*LUKS2, "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"],
        [*LUKS2, "--cipher", "aes-cbc-plain64", "--key-size", "128"],
        [*LUKS2, "--sector-size", "4096", "--key-size", "256"],
        [*LUKS2, "--cipher", "aes-xts-plain", "--hash", "sha512"],
    ],
    ids=["xts", "argon2id", "argon2i", "essiv", "cbc", "sectors", "plain"],
)
def test_a_volume_opens_with_its_passphrase(folder: Path, options: list[str], request: pytest.FixtureRequest) -> None:
    image = encrypted(folder, request.node.callspec.id, *options)
    fd = os.open(image, os.O_RDONLY)
    try:
        with holding(Secrets((b"wrong", PHRASE))):
            reader = identify(FileSource(fd), Limits())
            assert reader is not None
            (entry,) = reader.entries()
            assert entry == Entry(b"volume", "regular", "volume", 17 * MIB)
            assert reader.detail["opened"] == "with password 2 of 2, key slot 0"
            again = FORMAT.open(FileSource(fd), Limits())  # listed nothing
            assert b"".join(again.open("volume"))[: len(PLAIN)] == PLAIN
        with holding(Secrets()), pytest.raises(Encrypted, match="no secret was given"):
            list(again.open("volume"))
    finally:
        os.close(fd)


@pytest.mark.parametrize("options", [LUKS1, [*LUKS1, "--cipher", "aes-cbc-essiv:sha256", "--key-size", "128"], LUKS2])
def test_the_volume_key_is_what_cryptsetup_says(folder: Path, options: list[str]) -> None:
    name = "-".join(options).replace(":", "")
    image = header_only(folder, name, *options)
    key = folder / f"{name}.key"
    cryptsetup("luksDump", "--dump-volume-key", "--volume-key-file", key, "--key-file", folder / "phrase", image)
    secrets = Secrets((PHRASE,))
    data = image.read_bytes()
    with holding(secrets):
        reader = FORMAT.open(BytesSource(data), Limits())
        assert isinstance(reader, Luks)
        list(reader.entries())
        found = reader.key()
    assert found == ("password 1 of 1, key slot 0", key.read_bytes())
    # and the volume key itself opens it
    _, opened, begun = volume(data, keys=(b"other", key.read_bytes()))
    assert opened == "with key 2 of 2, the volume key"
    assert begun == volume(data, PHRASE)[2]


def test_without_the_secret_it_is_encrypted(folder: Path) -> None:
    data = header_only(folder, "one", *LUKS1).read_bytes()
    entry = Entry(b"volume", "regular", "volume", 15 * MIB)
    assert volume(data) == ([entry], None, b"aes-xts-plain64: no secret was given")
    problem = Problem("encrypted", "no secret opens it", b"", 0)
    assert volume(data, b"wrong") == ([problem, entry], None, b"aes-xts-plain64: no secret opens it")


def test_any_slot_and_a_key_file_open_it(folder: Path) -> None:
    image = folder / "two-slots"
    shutil.copyfile(header_only(folder, "one", *LUKS1), image)
    cryptsetup(
        "luksAddKey", "--pbkdf-force-iterations", 1000, "--key-file", folder / "phrase", "--new-key-slot", 5, image,
        folder / "other",
    )  # fmt: skip
    data = image.read_bytes()
    _, opened, begun = volume(data, keys=(OTHER,))
    assert opened == "with key 1 of 1, key slot 5"
    assert begun == volume(data, PHRASE)[2]


@pytest.mark.parametrize("options", [LUKS1, LUKS2])
def test_its_extent_where_it_lies_in_something_bigger(folder: Path, options: list[str]) -> None:
    data = header_only(folder, options[1], *options).read_bytes()
    source = Window(BytesSource(b"odd" + data + b"more"), 3, len(data))
    reader = FORMAT.open(source, Limits())
    assert [each.path for each in reader.entries() if isinstance(each, Entry)] == [b"volume"]
    claims = reader.claims()
    if options is LUKS1:
        assert claims == [
            Claim(0, 592, "header"),
            Claim(592, 2 * MIB - 592, "key material"),
            Claim(2 * MIB, 15 * MIB, "encrypted volume"),
        ]
    else:
        assert claims == [
            Claim(0, 16 * KIB, "header"),
            Claim(16 * KIB, 16 * KIB, "second header"),
            Claim(32 * KIB, 16 * MIB - 32 * KIB, "key slots"),
            Claim(16 * MIB, MIB, "encrypted volume"),
        ]


def test_the_second_header_stands_in(folder: Path) -> None:
    data = bytearray(encrypted(folder, "xts", *LUKS2).read_bytes())
    for at in (100, 5000):  # in the binary part, in the JSON
        broken = bytearray(data)
        broken[at] ^= 1
        found, opened, begun = volume(bytes(broken), PHRASE)
        assert opened == "with password 1 of 1, key slot 0"
        assert begun == PLAIN
        text = "the checksum of the header at offset 0 is wrong; its second copy was used"
        assert found[0] == Problem("malformed", text, b"", 0)
    broken[16 * KIB + 100] ^= 1
    with pytest.raises(Malformed, match="no whole header"):
        FORMAT.open(BytesSource(bytes(broken)), Limits())


def test_costs_are_bounded(folder: Path) -> None:
    data = header_only(folder, "argon-header", *ARGON).read_bytes()
    with holding(Secrets((PHRASE,))):
        reader = FORMAT.open(BytesSource(data), Limits(memory=1 << 20))
        problem, _ = reader.entries()
    text = "no secret opens it; key slot 0: its derivation exceeds the limit memory 1048576"
    assert problem == Problem("encrypted", text, b"", 0)
    one = bytearray(header_only(folder, "one", *LUKS1).read_bytes())
    one[212:216] = b"\xff\xff\xff\xff"  # iterations of slot 0
    begun = time.process_time()
    assert volume(bytes(one), PHRASE)[1] is None
    assert time.process_time() - begun < 2


def test_only_luks_is_claimed(folder: Path) -> None:
    data = header_only(folder, "one", *LUKS1).read_bytes()
    for other in (b"", b"LUKS\xba\xbe", b"LUKS\xba\xbe\x00\x03" + bytes(600), b"LUKS\xba\xbe\x00\x01" + bytes(600)):
        with pytest.raises((NotThisFormat, UnpackError)):
            FORMAT.open(BytesSource(other), Limits())
    with pytest.raises(Truncated):
        FORMAT.open(BytesSource(data[:500]), Limits())


def test_merging_undoes_splitting() -> None:
    """Against the definition of the LUKS1 specification, section 2.4, written out here."""
    import hashlib

    chance = random.Random(3)
    key = chance.randbytes(64)
    parts = [chance.randbytes(64) for _ in range(9)]
    block = bytes(64)
    for part in parts:
        mixed = bytes(a ^ b for a, b in zip(block, part, strict=True))
        block = b"".join(
            hashlib.sha1(number.to_bytes(4, "big") + mixed[at : at + 20]).digest()[: len(mixed) - at]
            for number, at in enumerate(range(0, 64, 20))
        )
    last = bytes(a ^ b for a, b in zip(block, key, strict=True))
    assert merge(b"".join(parts) + last, 10, "sha1") == key


def test_odd_ciphers_are_named() -> None:
    for encryption in ("serpent-xts-plain64", "aes-lrw-benbi", "aes-xts-random", "capi:xts(aes)-plain64", ""):
        with pytest.raises(UnpackError, match=r"encryption|vector"):
            decryptor(encryption, bytes(64))
    with pytest.raises(Malformed):
        decryptor("aes-xts-plain64", bytes(10))


def test_hostile_headers(folder: Path) -> None:
    with holding(Secrets((PHRASE,))):
        for options in (LUKS1, LUKS2):
            data = header_only(folder, options[1], *options).read_bytes()
            head, rest = data[: 40 * KIB], data[40 * KIB : 3 * MIB]
            for broken in mangled(head, count=60, hot=range(5000)):
                survives(FORMAT, broken + rest)
