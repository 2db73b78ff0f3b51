"""Images of vendors' formats, made by small writers of the tests' own: no tool for them is packaged."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable

import pytest

from assay.unpack import chk, formats, identify, parts
from assay.unpack.base import (
    BytesSource,
    Encrypted,
    Entry,
    Limits,
    NotThisFormat,
    Problem,
    Reader,
    Truncated,
    Window,
)

from ..support.hostile import bounded, mangled, survives

KERNEL = bytes(range(256)) * 5 + b"kernel"
ROOT = b"hsqs" + b"root file system" * 40
MD5 = hashlib.md5


def inverted(data: bytes, start: int = 0) -> int:
    return zlib.crc32(data, start) ^ 0xFFFFFFFF


def trx(version: int = 1, offsets: tuple[int, ...] | None = None) -> bytes:
    size = 16 + 4 * (3 if version == 1 else 4)
    places = offsets or (size, size + len(KERNEL), 0, 0)[: 3 if version == 1 else 4]
    rest = struct.pack(f"<HH{len(places)}L", 0, version, *places) + KERNEL + ROOT
    return b"HDR0" + struct.pack("<LL", 12 + len(rest), inverted(rest)) + rest


def seama(order: str = ">") -> bytes:
    seal = struct.pack(f"{order}LHHL", 0x5EA3A417, 0, 28, 0) + b"signature=wrgac05_dlob\0".ljust(28, b"\0")
    return seal + b"".join(seama_image(order, body) for body in (KERNEL, ROOT))


def seama_image(order: str, body: bytes) -> bytes:
    meta = b"dev=/dev/mtdblock/1\0type=firmware\0".ljust(36, b"\0")
    return struct.pack(f"{order}LHHL", 0x5EA3A417, 0, 36, len(body)) + MD5(body).digest() + meta + body


def wrgg(magic: int = 0x20080321, order: str = "<") -> bytes:
    device = b"/dev/mtdblock/1".ljust(32, b"\0")
    offset = struct.pack(f"{order}L", 0x10000)
    head = b"wrgn39_dlob.hans_dir645".ljust(32, b"\0") + struct.pack(f"{order}LL", magic, magic)
    if magic == 0x20080321:
        head += b"1.00".ljust(16, b"\0") + b"DIR-645".ljust(16, b"\0") + bytes(16) + b"42".ljust(16, b"\0")
    return head + struct.pack(f"{order}L", len(ROOT)) + offset + device + MD5(offset + device + ROOT).digest() + ROOT


def netgear(data: bytes) -> int:
    low = high = 0
    for byte in data:
        low = (low + byte) & 0xFFFFFFFF
        high = (high + low) & 0xFFFFFFFF
    folded = []
    for value in (high, low):
        once = (value & 0xFFFF) + (value >> 16)
        folded.append(((once >> 16) + once) & 0xFFFF)
    return folded[0] << 16 | folded[1]


def netgear_chk() -> bytes:
    board = b"U12H240T00_NETGEAR"

    def head(total: int) -> bytes:
        return struct.pack(
            ">4sLB7B6L",
            b"*#$^",
            40 + len(board),
            1,
            *(1, 0, 0, 70, 1, 0, 0),
            netgear(KERNEL),
            netgear(ROOT),
            len(KERNEL),
            len(ROOT),
            netgear(KERNEL + ROOT),
            total,
        )

    return head(netgear(head(0) + board)) + board + KERNEL + ROOT


def tplink(cut: bool = False) -> bytes:
    head = bytearray(512)
    struct.pack_into(">L24s36s3L", head, 0, 0x01000000, b"TP-LINK Technologies", b"ver. 2.0", 0x08410009, 1, 0)
    length = 512 + len(KERNEL) + 100 + len(ROOT) + 300
    values = (0x80060000, 0x80061000, length * (3 if cut else 1), 512, len(KERNEL), 612 + len(KERNEL), len(ROOT), 0, 0)
    struct.pack_into(">9L", head, 116, *values)
    struct.pack_into(">3H", head, 152, 3, 16, 9)
    head[76:92] = bytes.fromhex("dcd73aa5c39598fbddf9e7f40eae4738")
    body = KERNEL + bytes(100) + ROOT + b"\xff" * 300
    head[76:92] = MD5(head + body).digest()
    return bytes(head) + body


def tplink_marked() -> bytes:
    head = bytearray(b"\xff" * 512)
    head[:4] = b"\3\0\0\0"
    struct.pack_into(">9s", head, 4, b"ver. 1.0\0")
    struct.pack_into(">3L", head, 0x34, 0xC2000001, 59, 2)
    head[0x40:0x50] = bytes.fromhex("dcd73aa5c39598fbdcf9e7f40eae4737")
    length = 512 + len(KERNEL) + len(ROOT)
    values = (0x80000000, 0x80000000, length, 512, len(KERNEL), 512 + len(KERNEL), len(ROOT), 0, 0)
    struct.pack_into(">9L", head, 0x68, *values)
    struct.pack_into(">H6B", head, 0x8C, 0x55AA, 1, 4, 0xA5, 0, 9, 1)
    head[0x40:0x50] = MD5(bytes(head) + KERNEL + ROOT).digest()
    return bytes(head) + KERNEL + ROOT


def safeloader() -> bytes:
    listed = b"SupportList:\r\n{product_name:Archer C7}\r\n"
    support = struct.pack(">LL", len(listed), 0) + listed
    places = [(b"os-image", 0x800, KERNEL), (b"file-system", 0x1000, ROOT), (b"support-list", 0x1800, support)]
    table = b"".join(b"fwup-ptn %s base 0x%05x size 0x%05x\t\r\n" % (n, at, len(b)) for n, at, b in places)
    payload = bytearray(b"\xff" * (0x1800 + len(support)))
    payload[: len(table) + 1] = table + b"\0"
    for _, at, body in places:
        payload[at : at + len(body)] = body
    rest = (b"fw-type:Cloud\n".ljust(0x1000, b"\xff")) + bytes(payload)
    salted = MD5(bytes.fromhex("7a2b15ed9b98596de504ab44ac2a9f4e") + rest).digest()
    return struct.pack(">L", 20 + len(rest)) + salted + rest


def hwnp() -> bytes:
    products = b"494|4B4|COMMON|".ljust(256, b"\0")
    bodies = [
        (b"file:/var/UpgradeCheck.xml", b"UPGRDCHECK", b"", b"<xml/>"),
        (b"flash:kernel", b"KERNEL", b"V3", KERNEL),
    ]
    at = 36 + len(products) + 360 * len(bodies)
    header_bytes = at
    items, raw = b"", b""
    for number, (path, section, version, body) in enumerate(bodies):
        items += struct.pack("<4L256s16s64sLL", number, zlib.crc32(body), at, len(body), path, section, version, 0, 0)
        raw += body
        at += len(body)
    tail = struct.pack("<L2BHLL", len(bodies), 0, 0, len(products), 360, 0) + products + items
    middle = struct.pack("<LL", header_bytes, zlib.crc32(tail))
    whole = zlib.crc32(middle + tail + raw)
    return b"HWNP" + struct.pack(">L", at - 76) + struct.pack("<L", whole) + middle + tail + raw


def cfe() -> bytes:
    start, kernel = 0xBFC10100, 0xBFC10100 + len(ROOT)
    fields = [b"6", b"Broadcom Corporatio", b"ver. 2.0", b"6362", b"96362ADVN2xh", b"1"]
    fields += [b"%d" % number for number in (len(ROOT) + len(KERNEL), 0, 0, start, len(ROOT), kernel, len(KERNEL))]
    widths = (4, 20, 14, 6, 16, 2, 10, 12, 10, 12, 10, 12, 10)
    head = b"".join(field.ljust(width, b"\0") for field, width in zip(fields, widths, strict=True)).ljust(216, b"\0")
    head += struct.pack(">3L", inverted(ROOT + KERNEL), inverted(ROOT), inverted(KERNEL)) + bytes(8)
    return head + struct.pack(">L", inverted(head)) + bytes(16) + ROOT + KERNEL


def ubnt(signed: bool = False) -> bytes:
    out = b"UBNT" + b"XW.ar934x.v6.1.7".ljust(256, b"\0")
    out += struct.pack(">LL", zlib.crc32(out), 0)
    for index, (name, body) in enumerate(((b"kernel", KERNEL), (b"rootfs", ROOT))):
        part = struct.pack(">4s16s12x6L", b"PART", name, 0x80002000, index, 0x9F050000, 0, len(body), 0x100000) + body
        out += part + struct.pack(">LL", zlib.crc32(part), 0)
    if signed:
        return out + b"ENDS" + bytes(range(256)) + bytes(4)
    return out + b"END." + struct.pack(">LL", zlib.crc32(out), 0)


def xiaomi(kind: int = 1) -> bytes:
    fixed = 48 if kind == 1 else 80
    blobs, offsets = b"", []
    for name, body in ((b"firmware.bin", KERNEL), (b"xiaoqiang_version", ROOT)):
        offsets.append(fixed + len(blobs))
        blobs += struct.pack("<3LHH32s", 0xBABE, 0x180000, len(body), 7, 0, name) + body
        blobs += bytes(-len(blobs) % 4)
    middle = struct.pack("<HH", 0, 0x12) if kind == 1 else struct.pack("<L8s8s16x", 0, b"RA70", b"EU")
    rest = middle + struct.pack("<8L", *offsets, *[0] * 6) + blobs
    signature = struct.pack("<L12x", 256) + bytes(range(256))
    return b"HDR%d" % kind + struct.pack("<LL", fixed + len(blobs), inverted(rest + signature)) + rest + signature


def section(name: bytes, body: bytes) -> bytes:
    body += bytes(len(body) % 2)
    total = sum(struct.unpack(f">{len(body) // 2}H", body)) & 0xFFFF
    body += struct.pack(">H", -total & 0xFFFF)
    return name + struct.pack(">3L", 0x80500000, 0x10000, len(body)) + body


def realtek() -> bytes:
    return section(b"w6cg", b"pages!") + section(b"cs6c", KERNEL) + section(b"r6cr", ROOT)


def edimax(order: str = "<") -> bytes:
    total = sum(struct.unpack(f"{order}{len(KERNEL) // 2}H", KERNEL)) & 0xFFFF
    body = KERNEL + struct.pack(f"{order}H", -total & 0xFFFF)
    return b"CSYS" + struct.pack(f"{order}LL4sL", 0x80500000, 0x20000, b"3G62", len(body)) + body


def zynos() -> bytes:
    total = sum(struct.unpack(f">{len(ROOT) // 2}H", ROOT))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    head = struct.pack(">LH3sBLLBBHH15sL5x", 0x94008000, 0, b"SIG", 4, len(ROOT), 0, 0x40, 0, total, 0, b"V3.40", 1)
    return head + ROOT


def dni() -> bytes:
    out = b"device:WNDR3700\nversion:V1.0.7.98\nregion:\nhd_id:29763654+16+64\n".ljust(128, b"\0") + KERNEL
    return out + bytes([(0xFF - sum(out)) & 0xFF])


def npk_file(name: bytes, body: bytes, kind: int = 0x81) -> bytes:
    return struct.pack("<BB6xL4xLLLH", 0xED, kind, 1_700_000_000, 1_600_000_000, 0, len(body), len(name)) + name + body


def npk() -> bytes:
    files = npk_file(b"bin", b"", 0x41) + npk_file(b"bin/tool", KERNEL) + npk_file(b"etc/rc", b"#!/bin/sh\n")
    about = struct.pack("<16s4sL12x", b"wireless", bytes([1, 102, 49, 6]), 1_700_000_000)
    pieces = [(1, about), (16, b"mipsbe"), (4, zlib.compress(files)), (21, ROOT), (9, bytes(68)), (99, b"?")]
    body = b"".join(struct.pack("<HL", kind, len(data)) + data for kind, data in pieces)
    return b"\x1e\xf1\xd0\xba" + struct.pack("<L", len(body)) + body


def shrs() -> bytes:
    sealed = bytes(range(256)) * 4
    digests = b"k" * 64 + b"p" * 64 + hashlib.sha512(sealed[:1000]).digest()
    return struct.pack(">4sLL16s", b"SHRS", 1024, 1000, b"i" * 16) + digests + bytes(512) + b"s" * 1024 + sealed


def encrpted() -> bytes:
    return b"encrpted_img" + struct.pack(">L", 640) + b"\xa5" * 640


def engenius() -> bytes:
    head = struct.pack(">LLL20sLL16s32xL", 0, 0x101, 0x83, b"1.0.0", 640, 0, b"m" * 16, 0)
    head += b"\x12\x34\x56\x78all\0" + bytes(4) + struct.pack(">7LL", 3, 5, 6, 20150101, 1, 2, 3, 6) + b"EAP600"
    return head + b"\x5a" * 640


def qnap() -> bytes:
    fields = b"".join(text.ljust(16, b"\0") for text in (b"TS-X41", b"4.2.2", b"20161102", b""))
    return b"\x99" * 500 + b"plain" + b"icpnas" + struct.pack("<L", 500) + fields


IMAGES: dict[str, tuple[str, Callable[[], bytes], dict[bytes, bytes | None]]] = {
    "trx-1": ("trx", trx, {b"part0": KERNEL, b"part1": ROOT}),
    "trx-2": ("trx", lambda: trx(2), {b"part0": KERNEL, b"part1": ROOT}),
    "seama": ("seama", seama, {b"image0": KERNEL, b"image1": ROOT}),
    "seama-little": ("seama", lambda: seama("<"), {b"image0": KERNEL, b"image1": ROOT}),
    "seama-in-flash": ("seama", lambda: seama_image(">", ROOT), {b"image0": ROOT}),
    "wrgg": ("wrgg", wrgg, {b"image": ROOT}),
    "wrg-big": ("wrgg", lambda: wrgg(0x20040220, ">"), {b"image": ROOT}),
    "chk": ("chk", netgear_chk, {b"kernel": KERNEL, b"rootfs": ROOT}),
    "tplink": ("tplink", tplink, {b"kernel": KERNEL, b"rootfs": ROOT}),
    "tplink-marked": ("tplink", tplink_marked, {b"kernel": KERNEL, b"rootfs": ROOT}),
    "safeloader": ("safeloader", safeloader, {b"os-image": KERNEL, b"file-system": ROOT}),
    "hwnp": ("hwnp", hwnp, {b"file:/var/UpgradeCheck.xml": b"<xml/>", b"flash:kernel": KERNEL}),
    "cfe-tag": ("cfe-tag", cfe, {b"rootfs": ROOT, b"kernel": KERNEL}),
    "ubnt": ("ubnt", ubnt, {b"kernel": KERNEL, b"rootfs": ROOT}),
    "ubnt-signed": ("ubnt", lambda: ubnt(signed=True), {b"kernel": KERNEL, b"signature": bytes(range(256))}),
    "xiaomi-1": ("xiaomi", xiaomi, {b"firmware.bin": KERNEL, b"signature": bytes(range(256))}),
    "xiaomi-2": ("xiaomi", lambda: xiaomi(2), {b"firmware.bin": KERNEL, b"xiaoqiang_version": ROOT}),
    "realtek": ("realtek", realtek, {b"w6cg": section(b"", b"pages!")[12:], b"r6cr.2": section(b"", ROOT)[12:]}),
    "edimax": ("realtek", edimax, {b"CSYS": edimax()[20:]}),
    "edimax-big": ("realtek", lambda: edimax(">"), {b"CSYS": edimax(">")[20:]}),
    "zynos": ("zynos", zynos, {b"rombin": ROOT}),
    "dni": ("dni", dni, {b"image": KERNEL}),
    "npk": ("npk", npk, {b"3-squashfs": ROOT, b"bin/tool": KERNEL, b"etc/rc": b"#!/bin/sh\n", b"5-type-99": b"?"}),
    "shrs": ("shrs", shrs, {b"image": None}),
    "encrpted": ("encrpted-img", encrpted, {b"image": None}),
    "engenius": ("engenius", engenius, {b"image": None}),
    "qnap": ("qnap", qnap, {b"image": None, b"rest": b"plain"}),
}
every = pytest.mark.parametrize("image", IMAGES)
ENDLESS = ("dni", "qnap")
"""Formats whose extent the structure does not state."""


def opened(data: bytes) -> Reader:
    reader = identify(BytesSource(data), Limits())
    assert reader is not None
    return reader


def body(reader: Reader, entry: Entry) -> bytes:
    assert entry.locator is not None
    return b"".join(reader.open(entry.locator))


@every
def test_parts_and_claims(image: str) -> None:
    name, make, expected = IMAGES[image]
    data = make()
    reader = opened(data)
    assert reader.format.name == name
    found = list(reader.entries())
    assert found == list(reader.entries())
    entries = {entry.path: entry for entry in found if isinstance(entry, Entry)}
    assert len(entries) == len(found), [item for item in found if isinstance(item, Problem)]
    for path, wanted in expected.items():
        entry = entries[path]
        if wanted is None:
            with pytest.raises(Encrypted):
                body(opened(data), entry)
            assert reader.span(entry.locator or 0) is None
            continue
        assert body(opened(data), entry) == wanted
        assert entry.size == len(wanted)
        span = reader.span(entry.locator or 0)
        assert span is None if name == "npk" and b"/" in path else span and data[span[0] : sum(span)] == wanted
    covered = bytearray(len(data))
    for claim in reader.claims():
        covered[claim.offset : claim.offset + claim.length] = b"\1" * claim.length
    assert len(covered) == len(data)
    assert all(covered)


@every
def test_inside_something_bigger(image: str) -> None:
    name, make, _ = IMAGES[image]
    if name in ENDLESS:
        return
    data = make()
    bigger = BytesSource(b"\x5a" * 333 + data + b"\xc3something else" * 50)
    alone = opened(data)
    reader = formats()[name].open(Window(bigger, 333, bigger.size - 333), Limits())
    assert list(reader.entries()) == list(alone.entries())
    assert reader.claims() == alone.claims()
    assert reader.detail == alone.detail


@every
def test_a_wrong_byte_is_told_and_nothing_is_lost(image: str) -> None:
    name, make, expected = IMAGES[image]
    if name in ("encrpted-img", "engenius", "qnap") or image in ("edimax", "edimax-big"):
        return  # these state no sum, or are known by it
    data = make()
    whole = opened(data)
    entries = [item for item in whole.entries() if isinstance(item, Entry)]
    path = next(path for path in reversed(expected) if image != "ubnt-signed" or path == b"kernel")
    target = next(entry for entry in entries if entry.path == (b"4-signature" if name == "npk" else path))
    span = whole.span(target.locator or 0) or (len(data) - 40, 1)
    broken = bytearray(data)
    broken[span[0] + span[1] // 2] ^= 0x10
    found = list(opened(bytes(broken)).entries())
    assert [item for item in found if isinstance(item, Entry)] == entries
    problems = [item for item in found if isinstance(item, Problem)]
    if name == "npk":
        return
    assert problems
    assert {problem.reason for problem in problems} == {"malformed"}
    assert {problem.entries for problem in problems} == {0}


@every
def test_cut_short(image: str) -> None:
    name, make, _ = IMAGES[image]
    data = make()
    if name in (*ENDLESS, "realtek", "zynos"):
        return  # the end, or a sum, is what these are known by
    cut = data[: len(data) - 100] if image not in ("xiaomi-1", "xiaomi-2", "ubnt-signed") else data[:-500]
    reader = formats()[name].open(BytesSource(cut), Limits())
    found = list(reader.entries())
    assert any(isinstance(item, Problem) and item.reason == "truncated" for item in found) or name == "tplink"
    for entry in found:
        if isinstance(entry, Entry) and entry.type == "regular":
            try:
                body(reader, entry)
            except (Truncated, Encrypted):
                continue
    assert all(claim.offset + claim.length <= len(cut) for claim in reader.claims())


@every
def test_hostile(image: str) -> None:
    name, make, _ = IMAGES[image]
    data = make()
    format = formats()[name]
    for broken in mangled(data, count=120, hot=range(min(len(data), 600))):
        survives(format, broken)
    for broken in mangled(data, seed=2, count=40):
        survives(format, broken)


def test_what_the_headers_state() -> None:
    details = {image: dict(opened(make()).detail) for image, (_, make, _) in IMAGES.items()}
    assert details["tplink"] | {"md5": None} == {
        "version": 1,
        "vendor": "TP-LINK Technologies",
        "image_version": "ver. 2.0",
        "hardware": "0x08410009",
        "hardware_revision": 1,
        "region": 0,
        "firmware_version": "3.16.9",
        "load_address": "0x80060000",
        "entry_point": "0x80061000",
        "length": len(tplink()),
        "md5": None,
    }
    assert details["safeloader"]["support-list"] == "SupportList:\r\n{product_name:Archer C7}"
    assert details["hwnp"]["products"] == "494|4B4|COMMON|"
    assert details["hwnp"]["item 1"] == "KERNEL V3 policy=0"
    assert details["npk"]["version"] == "6.49.1 final"
    assert details["npk"]["architecture"] == "mipsbe"
    assert details["dni"]["hd_id"] == "29763654+16+64"
    assert details["chk"]["board"] == "U12H240T00_NETGEAR"
    assert details["cfe-tag"]["board"] == "96362ADVN2xh"
    assert details["qnap"] == {"device": "TS-X41", "version": "4.2.2", "date": "20161102", "revision": ""}
    assert details["engenius"]["model"] == "EAP600"
    assert details["xiaomi-2"]["region"] == "EU"
    assert details["wrgg"]["model"] == "DIR-645"
    assert details["seama"]["meta 0"] == "dev=/dev/mtdblock/1 type=firmware"


def test_tplink_image_shorter_than_its_flash() -> None:
    data = tplink(cut=True)
    reader = opened(data)
    assert [item.path for item in reader.entries()] == [b"kernel", b"rootfs"]
    assert sum(claim.length for claim in reader.claims()) == len(data)


def test_trx_of_vendors_with_names_for_offsets() -> None:
    data = trx(1, (0x03020100, 0x41525452, 0x4E363655))
    entry, problem = opened(data).entries()
    assert isinstance(entry, Entry)
    assert isinstance(problem, Problem)
    assert (entry.path, entry.size) == (b"image", len(data) - 28)
    with pytest.raises(NotThisFormat):
        formats()["trx"].open(BytesSource(data[:-1] + b"\0"), Limits())


def test_files_of_an_npk_keep_times_and_modes() -> None:
    found = [item for item in opened(npk()).entries() if isinstance(item, Entry) and item.mtime is not None]
    assert [(entry.path, entry.type, entry.mode, entry.size) for entry in found] == [
        (b"bin", "directory", 0o755, None),
        (b"bin/tool", "regular", 0o755, len(KERNEL)),
        (b"etc/rc", "regular", 0o755, 10),
    ]
    assert {entry.mtime for entry in found} == {1_700_000_000 * 10**9}


def test_sums_of_large_images_are_made_in_time() -> None:
    data = bytes(range(256)) * (4 << 12)
    source = BytesSource(data)
    bounded(lambda: chk.netgear_sum(source.chunks()), 4)
    bounded(lambda: parts.words(source, 0, len(data), "big"), 2)
    assert parts.words(source, 0, 513, "little") == (sum(struct.unpack("<256H", data[:512])) + data[512]) & 0xFFFF
    assert chk.netgear_sum([data[:700], data[700:2048]]) == f"{netgear(data[:2048]):08x}"
