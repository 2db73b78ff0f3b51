"""The examination itself: what was given, what it contained, what was read and what was not."""

from typing import Annotated, ClassVar

from .base import RecordFact, doc


class Run(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One command that added to this record."""

    command: Annotated[str, doc("examine, judge, ...")]
    version: Annotated[str, doc("version of assay")]
    started: Annotated[str, doc("ISO 8601, UTC")]
    finished: Annotated[str | None, doc("ISO 8601, UTC; empty while running or after a kill")] = None
    options: Annotated[dict[str, object], doc("options and limits in force, as JSON")] = {}
    sandbox: Annotated[dict[str, object], doc("what confined the workers, as JSON; empty object if nothing did")] = {}


class Collector(RecordFact, frozen=True, kw_only=True, array_like=True):
    """The code that observed a fact, with its version."""

    name: Annotated[str, doc("name of the reader or inspector")]
    version: Annotated[int, doc("raised whenever its output could change")]
    run: Annotated[int, doc("run in which it observed")]


class Artefact(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One delivered thing: an image file, a package, a directory. Its name is in `identity`."""

    sha256: Annotated[str | None, doc("SHA-256 of the bytes; empty for a directory")]
    size: Annotated[int | None, doc("length; empty for a directory", unit="bytes")]
    format: Annotated[str | None, doc("format that claimed it; empty if none did")] = None
    content: Annotated[int | None, doc("its bytes, on which content facts stand; empty for a directory")] = None


class Content(RecordFact, frozen=True, kw_only=True, array_like=True):
    """A distinct content: the same bytes wherever they appear, examined once."""

    index: ClassVar = ("sha256",)

    sha256: Annotated[str, doc("SHA-256, lower-case hexadecimal")]
    size: Annotated[int, doc("length", unit="bytes")]
    kind: Annotated[str, doc("empty, elf, script, text, data, or the format that claims it (zip, gzip, ...)")]
    inspected: Annotated[str, doc("inspectors that have looked at it, as name@version separated by blanks")] = ""


class Container(RecordFact, frozen=True, kw_only=True, array_like=True):
    """Something that holds entries: an archive, a file system, a disk, a compressed stream, a directory, a merged image."""

    source: ClassVar = "docs/reference/formats"
    index: ClassVar = ("file",)

    artefact: Annotated[int, doc("artefact it is (in)")]
    parent: Annotated[int | None, doc("container that holds it; empty for the artefact itself")]
    file: Annotated[int | None, doc("file that it is; empty for the artefact itself, and for unexplained bytes")]
    format: Annotated[str, doc("name of the format")]
    path: Annotated[
        str,
        doc(
            "where it is: paths of the holding files, each ended by '!', and @OFFSET! for bytes that a container does not "
            "explain; empty for the artefact itself"
        ),
    ]
    offset: Annotated[
        int | None, doc("where it begins in its parent, if it is bytes that the parent does not explain", unit="bytes")
    ] = None
    depth: Annotated[int, doc("containers around it")] = 0
    size: Annotated[int | None, doc("length of its bytes", unit="bytes")] = None
    declared: Annotated[
        int | None, doc("entries that its own header declares; empty where the format has no count")
    ] = None
    listed: Annotated[int | None, doc("entries found while listing; empty until listing is complete")] = None
    stored: Annotated[int | None, doc("content bytes that its listing promises", unit="bytes")] = None
    detail: Annotated[dict[str, object], doc("header fields worth keeping (version, compression, label), as JSON")] = {}
    complete: Annotated[bool, doc("every entry has been read or named as unread")] = False


class File(RecordFact, frozen=True, kw_only=True, array_like=True):
    """One entry of a container, as the container states it. Nothing is rewritten, followed or made safe."""

    source: ClassVar = "POSIX.1-2017 sys/stat.h for mode; OverlayFS and OCI image-spec for whiteouts"
    index: ClassVar = ("container,path", "content")

    container: Annotated[int, doc("container that declares it")]
    seq: Annotated[int, doc("position in the container's listing, from 0")]
    path: Annotated[
        str,
        doc(
            "path in the container, from '/', for comparing; bytes that are not UTF-8 as \\xNN. A name that climbs out "
            "('..') stays as it is and does not begin with '/'"
        ),
    ]
    raw_path: Annotated[bytes | None, doc("the name's exact bytes where they differ from path without its first '/'")]
    type: Annotated[str, doc("regular, directory, symlink, hardlink, chardev, blockdev, fifo, socket")]
    mode: Annotated[int | None, doc("permission bits with set-uid 0o4000, set-gid 0o2000, sticky 0o1000")] = None
    uid: Annotated[int | None, doc("owner's number")] = None
    gid: Annotated[int | None, doc("group's number")] = None
    owner: Annotated[str | None, doc("owner's name where the container keeps one")] = None
    group_name: Annotated[str | None, doc("group's name where the container keeps one")] = None
    size: Annotated[int | None, doc("length that the container declares", unit="bytes")] = None
    mtime: Annotated[int | None, doc("modification time", unit="ns since 1970-01-01 UTC")] = None
    atime: Annotated[int | None, doc("access time", unit="ns since 1970-01-01 UTC")] = None
    ctime: Annotated[int | None, doc("change time", unit="ns since 1970-01-01 UTC")] = None
    link_target: Annotated[
        str | None, doc("raw target of a symbolic or hard link; bytes that are not UTF-8 as \\xNN")
    ] = None
    device: Annotated[str | None, doc("major:minor of a device node")] = None
    inode: Annotated[int | None, doc("inode number: equal numbers in a container are hard links")] = None
    nlink: Annotated[int | None, doc("hard links that the container declares")] = None
    capabilities: Annotated[str | None, doc("file capabilities as text, decoded from security.capability")] = None
    whiteout: Annotated[
        str | None, doc("what a layer deletes here: file (char 0:0 or .wh.), opaque (whole directory)")
    ] = None
    content: Annotated[int | None, doc("the bytes; empty if not a regular file or not read (see unread)")] = None


class Xattr(RecordFact, frozen=True, kw_only=True, array_like=True):
    """An extended attribute, raw."""

    source: ClassVar = "xattr(7)"
    index: ClassVar = ("file",)

    file: Annotated[int, doc("file that carries it")]
    name: Annotated[str, doc("full name with its namespace, as user.note")]
    value: Annotated[bytes, doc("raw value")]


class Region(RecordFact, frozen=True, kw_only=True, array_like=True):
    """A stretch of an artefact's or container's bytes, and what explains it."""

    index: ClassVar = ("artefact", "container")

    artefact: Annotated[int, doc("artefact it lies in")]
    container: Annotated[int | None, doc("container that the offsets count from; empty: the artefact itself")]
    offset: Annotated[int, doc("first byte", unit="bytes")]
    length: Annotated[int, doc("length", unit="bytes")]
    kind: Annotated[str, doc("explained, padding (one repeated byte, 0x00 or 0xFF), or unknown")]
    by: Annotated[str, doc("format that explains it and what part; for padding the byte")]
    entropy: Annotated[float | None, doc("Shannon entropy of an unknown region", unit="bits per byte")] = None


class Unread(RecordFact, frozen=True, kw_only=True, array_like=True):
    """Something that could not be read, and why. Where rules look, it keeps a verdict from being pass."""

    index: ClassVar = ("container", "file")

    artefact: Annotated[int, doc("artefact it lies in")]
    container: Annotated[int | None, doc("container; empty if the artefact itself could not be opened")]
    file: Annotated[int | None, doc("file, if an entry of it was listed")]
    path: Annotated[str, doc("place as text: the container's path, then the file's")]
    scope: Annotated[
        str, doc("entry: one file's bytes; rest: the container from here on; inspection: read, but an inspector failed")
    ]
    reason: Annotated[str, doc("malformed, truncated, encrypted, unsupported, overlap, limit, crash, denied")]
    limit: Annotated[str | None, doc("for reason limit: its name and value")] = None
    detail: Annotated[str, doc("one line: what was wrong, where")] = ""
    entries: Annotated[
        int, doc("entries lost: 1 for an entry, more where the container declares how many are missing")
    ] = 1
    inspector: Annotated[str | None, doc("for scope inspection: which one failed, as name@version")] = None


class Coverage(RecordFact, frozen=True, kw_only=True, array_like=True):
    """Which family was looked for, where, by what. Lets a rule tell "none" from "not looked"."""

    index: ClassVar = ("family",)

    family: Annotated[str, doc("family of facts")]
    collector: Annotated[int, doc("who looked")]
    tree: Annotated[int | None, doc("container that was looked through")]
    looked: Annotated[int, doc("contents or trees looked at")]
    failed: Annotated[int, doc("of these, how many the collector could not finish")] = 0
    facts: Annotated[int, doc("facts found")] = 0
