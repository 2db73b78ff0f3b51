"""What the scheduler and a confined worker say to each other.

Frames over a Unix socket: a length, msgpack bytes, and descriptors beside them. The scheduler decodes with typed
decoders only: a worker that an image has taken over can lie about that image, and nothing else.
"""

import os
import socket
import struct
from types import GenericAlias
from typing import Any

import msgspec

from assay.facts import ContentFact, TreeFact, families
from assay.facts.structure import File
from assay.unpack.base import Limits, Problem

MAX_FRAME = 512 << 20
HEADER = struct.Struct("=IB")
MAX_FDS = 250


class Item(msgspec.Struct, array_like=True):
    """One regular file to read."""

    seq: int
    paths: list[str]
    """Its path in the container; several if hard links share the bytes."""
    locator: bytes | None
    """The reader's locator in msgpack: opaque to the scheduler."""
    size: int | None
    only_container: bool = False
    """Its facts are in the record; read it only to hand its bytes over as a container (a run being resumed)."""


class ListTask(msgspec.Struct, array_like=True, tag="list"):
    """Open a container (descriptor 0, from `start`, `size` bytes) and list it."""

    container: int
    start: int
    size: int
    limits: Limits
    rest: bool = False
    """It is bytes that a container does not explain: search them for containers."""


class ReadTask(msgspec.Struct, array_like=True, tag="read"):
    """Read files of a container. Descriptor 0 is a spool; 1 the container, or from 1 on one for each item (`each`)."""

    container: int
    format: str
    start: int
    size: int
    items: list[Item]
    limits: Limits
    each: bool = False
    inline: bool = False
    """Small compressed streams among the files may be read at once, inside this task."""


class TreeTask(msgspec.Struct, array_like=True, tag="tree"):
    """Run the tree inspectors on the trees of a container."""

    container: int
    roots: list[str]
    inspectors: list[str]
    cpu_seconds: int
    """For each inspector on each tree."""


Task = ListTask | ReadTask | TreeTask


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """First word of a worker: what confines it, or why nothing does."""

    sandbox: dict[str, Any]
    error: str | None = None


class Opened(msgspec.Struct, array_like=True, tag="opened"):
    """A container has been opened."""

    format: str
    version: int
    declared: int | None
    detail: dict[str, str | int | bool | None]
    stream: bool


class Listing(msgspec.Struct, array_like=True, tag="listing"):
    """Some entries, in order; locators and sizes go with files one to one, xattrs are (position here, name, value)."""

    files: list[File]
    locators: list[bytes | None]
    xattrs: list[tuple[int, str, bytes]]
    problems: list[Problem]


class Stretch(msgspec.Struct, array_like=True):
    """A stretch of bytes and what explains it; see facts.Region."""

    offset: int
    length: int
    kind: str
    by: str
    entropy: float | None = None


class Listed(msgspec.Struct, array_like=True, tag="listed"):
    """Listing is over; `error` if it could not go on to the end."""

    stretches: list[Stretch]
    error: Problem | None = None
    detail: dict[str, str | int | bool | None] = {}
    """What the reader knows of the container now that all of it has been listed."""


class Known(msgspec.Struct, array_like=True):
    """A content that an earlier run or file has shown, by the digest of its stored form or of itself."""

    sha256: bytes
    size: int
    kind: str
    run: list[str]
    """Inspectors (name@version) that must still look at it; empty if none."""
    inner: "Inner | None" = None
    """It is a small compressed stream, and what came out of it is known, too."""


class AskStored(msgspec.Struct, array_like=True, tag="ask-stored"):
    """Which of these stored forms are known? One digest an item, or None; wanted: inspectors that its path asks for."""

    digests: list[bytes | None]
    wanted: list[list[str]]
    inline: bool
    """Small compressed streams among them would be read inside this task."""


class AskContents(msgspec.Struct, array_like=True, tag="ask-contents"):
    """Which inspectors must look at these contents?"""

    contents: list[tuple[bytes, int, str, list[str], list[str]]]
    """SHA-256, size, kind, inspectors that want it for a path it has, inspectors that want it for what it is."""


class Answer(msgspec.Struct, array_like=True, tag="answer"):
    """To AskStored and AskContents, position by position."""

    known: list[Known | None]


class Inspection(msgspec.Struct, array_like=True):
    """What one inspector found in one content."""

    inspector: str
    facts: bytes
    """A `Facts` in msgpack: kept undecoded so that the cache can store it as it is."""
    error: Problem | None = None


class Result(msgspec.Struct, array_like=True):
    """One item, done."""

    seq: int
    sha256: bytes | None = None
    size: int = 0
    kind: str = ""
    stored: bytes | None = None
    inspections: list[Inspection] = []
    problem: Problem | None = None
    nested: tuple[bool, int, int] | None = None
    """It is a container: (in the spool, not in place; offset; length) of its bytes."""
    stretches: list[Stretch] = []
    """For a compressed stream: what of its source the decoder used."""
    inner: "Inner | None" = None
    """It is a small compressed stream and has been read at once: what came out."""


class Inner(msgspec.Struct, array_like=True):
    """A small stream, opened, listed and read together with the file that it is. `file.container` is left 0."""

    opened: Opened
    file: File
    result: Result
    wanted: list[str] = []
    """Inspectors (name@version) that want what came out."""


class Results(msgspec.Struct, array_like=True, tag="results"):
    """Items done; `last` ends the task."""

    results: list[Result]
    last: bool


class TreeFacts(msgspec.Struct, array_like=True, tag="tree-facts"):
    """What one tree inspector found in one tree."""

    inspector: str
    version: int
    facts: bytes
    error: Problem | None
    last: bool


Reply = Hello | Opened | Listing | Listed | AskStored | AskContents | Results | TreeFacts

Facts: type[msgspec.Struct] = msgspec.defstruct(
    "Facts",
    [
        (name, GenericAlias(list, (cls,)), msgspec.field(default_factory=list))
        for name, cls in families().items()
        if issubclass(cls, ContentFact | TreeFact)
    ],
    omit_defaults=True,
)
"""Facts by family, in one message: field names are families."""

encode = msgspec.msgpack.Encoder().encode
decode_task = msgspec.msgpack.Decoder(Task).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
NOTHING = encode({})
"""A `Facts` without a fact."""

decode_inner = msgspec.msgpack.Decoder(Inner).decode
decode_facts = msgspec.msgpack.Decoder(Facts).decode


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """A socket that carries whole messages and descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """Return the socket's descriptor, for select."""
        return self.sock.fileno()

    def send(self, message: object, fds: list[int] | None = None) -> None:
        """Send a message, with up to 250 descriptors.

        Raises:
            Closed: the other side is gone.
        """
        data = encode(message)
        fds = fds or []
        try:
            socket.send_fds(self.sock, [HEADER.pack(len(data), len(fds))], fds)
            self.sock.sendall(data)
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self) -> tuple[bytes, list[int]]:
        """Return the next message's bytes and descriptors.

        Raises:
            Closed: the other side is gone, or does not keep to the protocol.
        """
        try:
            header, fds, _, _ = socket.recv_fds(self.sock, HEADER.size, MAX_FDS + 3)
            while header and len(header) < HEADER.size:
                more = self.sock.recv(HEADER.size - len(header))
                if not more:
                    break
                header += more
            if len(header) != HEADER.size:
                raise Closed("end of stream")
            length, count = HEADER.unpack(header)
            if length > MAX_FRAME or count != len(fds):
                for fd in fds:
                    os.close(fd)
                raise Closed(f"frame of {length} bytes with {len(fds)} of {count} descriptors")
            buffer = bytearray(length)
            view = memoryview(buffer)
            got = 0
            while got < length:
                n = self.sock.recv_into(view[got:], length - got)
                if not n:
                    raise Closed("end of stream")
                got += n
        except OSError as error:
            raise Closed(str(error)) from error
        return bytes(buffer), fds

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()
