#!/usr/bin/env python3
"""Make the demo release: a mobile core built from public Debian packages, as one squashfs image.

    tools/demo_release.py [DIRECTORY]

Into DIRECTORY (default: demo/ beside this folder) come `packages/*.deb`, fetched with `apt-get download`, and
`core.squashfs`, a root file system made from them. Works as an ordinary user: nothing is installed, and owners, groups
and modes are those that the packages state, because no tree is made on disk: the packages' own tar streams are merged
and handed to mksquashfs. Without a mksquashfs that reads tar (4.5 or later) the folder of packages is the release.

What dpkg writes when it installs is written here in the same form (dpkg(1), deb(5)): /var/lib/dpkg/status with
`Status: install ok installed`, info/NAME.list and the members of the control archive. Maintainer scripts are not run:
of what they would do, only the links by which they enable services are made (deb-systemd-helper(1p)); accounts and
files that they would make are not there. Packages that are no library are left out even where one depends on them
(python3, perl, adduser).

Finished work is kept: a second run fetches and packs nothing. The path of the release is the only line on standard
output. Exit code: 0, or 2 with one line that says what is missing. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

DAEMONS = (
    "osmo-msc",
    "osmo-hlr",
    "osmo-sgsn",
    "osmo-ggsn",
    "osmo-mgw",
    "osmo-stp",
    "kamailio",
    "freediameterd",
)
BATCH = 16
"""Packages that one `apt-get download` is asked for: small enough that progress shows and a broken run resumes."""


UNIT = re.compile(r"^(/usr)?/lib/systemd/system/[^/]+$")
ENABLES = re.compile(r"^\s*deb-systemd-helper enable '([^']+)'", re.MULTILINE)


class Missing(Exception):
    """Something that the demo release needs is not to be had; the message says what and what helps."""


@dataclass(frozen=True)
class Available:
    """A package as the lists of apt describe it."""

    name: str
    version: str
    section: str
    size: int
    sha256: str
    depends: tuple[str, ...]

    @property
    def library(self) -> bool:
        """Tell whether the archive files it under its libraries."""
        return self.section.rpartition("/")[2] in ("libs", "oldlibs")


def say(text: str) -> None:
    """Show progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the stanzas of a control file as field to value, continuation lines included (deb-control(5))."""
    for block in re.split(r"\n{2,}", text.strip()):
        found = re.findall(r"^([A-Za-z0-9][^\s:]*):[ \t]*((?:.*)(?:\n[ \t].*)*)", block, re.MULTILINE)
        if found:
            yield dict(found)


def first_choices(field: str) -> tuple[str, ...]:
    """Return the names in a dependency field, of alternatives the first: 'a (>= 1) | b, c' gives a, c."""
    choices = (re.match(r"\s*([a-z0-9][a-z0-9+.-]*)", part) for part in field.split(","))
    return tuple(match[1] for match in choices if match)


def look_up(names: Iterable[str]) -> dict[str, Available]:
    """Return what apt's lists know of packages, by name; unknown and virtual packages are left out."""
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *sorted(names)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    return {
        entry["Package"]: Available(
            entry["Package"],
            entry["Version"],
            entry.get("Section", ""),
            int(entry["Size"]),
            entry["SHA256"],
            first_choices(",".join(entry.get(field, "") for field in ("Pre-Depends", "Depends"))),
        )
        for entry in stanzas(shown.stdout)
        if {"Package", "Version", "Size", "SHA256"} <= entry.keys()
    }


def resolve(
    daemons: Iterable[str] = DAEMONS, followed: Callable[[Available], bool] = lambda entry: entry.library
) -> list[Available]:
    """Return packages and every library that they need, directly or not, by name.

    Args:
        daemons: the packages.
        followed: which packages are taken because another needs them.

    Raises:
        Missing: one of the packages is not in apt's lists.
    """
    lean = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    command = ["apt-cache", "depends", "--recurse", *lean, *daemons]
    reachable = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    lists = look_up({*daemons, *re.findall(r"^[a-z0-9][a-z0-9+.-]*$", reachable, re.MULTILINE)})
    # Once more over what is reachable, because only libraries are followed: not what python3 would draw in, say.
    wanted, known = list(daemons), dict[str, Available]()
    while wanted:
        entry = lists.get(wanted.pop())
        if entry and entry.name not in known and (followed(entry) or entry.name in daemons):
            known[entry.name] = entry
            wanted += entry.depends
    if absent := [name for name in daemons if name not in known]:
        raise Missing(f"apt's lists do not have {', '.join(absent)}: run 'apt-get update' (as root)")
    return sorted(known.values(), key=lambda entry: entry.name)


def fetch(packages: list[Available], folder: Path) -> list[Path]:
    """Download what is not there yet and check every file; return the files in the packages' order.

    Raises:
        Missing: a package could not be fetched, or is not the one that apt's lists describe.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def at_hand(entry: Available) -> Path | None:
        epochless = entry.version.replace(":", "%3a")
        for path in folder.glob(f"{entry.name}_{epochless}_*.deb"):
            if path.stat().st_size == entry.size and hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256:
                return path
            path.unlink()
        return None

    absent = [entry for entry in packages if at_hand(entry) is None]
    total = sum(entry.size for entry in absent)
    if absent:
        say(f"fetching {len(absent)} of {len(packages)} packages, {total / 1e6:.1f} MB, into {folder}")
    fetched = 0
    for start in range(0, len(absent), BATCH):
        batch = absent[start : start + BATCH]
        # apt drops its rights when it runs as root; that user could not write into a private folder.
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download"]
        done = subprocess.run(
            [*command, *(f"{e.name}={e.version}" for e in batch)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise Missing(f"apt-get download failed: {reason}; 'apt-get update' (as root) may help")
        fetched += sum(entry.size for entry in batch)
        say(f"  {fetched / 1e6:.1f} of {total / 1e6:.1f} MB")
    paths = [(entry, at_hand(entry)) for entry in packages]
    if wrong := [entry.name for entry, path in paths if path is None]:
        raise Missing(f"not as apt's lists describe: {', '.join(wrong)}; run 'apt-get update' (as root)")
    return [path for _, path in paths if path]


@contextlib.contextmanager
def members(part: str, package: Path) -> Iterator[tarfile.TarFile]:
    """Open one of the two archives in a .deb as a tar stream; `part` is 'fsys' or 'ctrl'."""
    with (
        subprocess.Popen(["dpkg-deb", f"--{part}-tarfile", str(package)], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        yield archive
        while process.stdout and process.stdout.read(1 << 16):
            pass


def status_entry(control: str, conffiles: dict[str, str]) -> str:
    """Return a package's stanza in dpkg's status file.

    Args:
        control: its control file.
        conffiles: MD5 of its configuration files, by path.
    """
    head, _, rest = control.strip("\n").partition("\n")
    stanza = f"{head}\nStatus: install ok installed\n{rest}\n"
    if conffiles:
        # dpkg puts the list before the description, which is the last field that packages have by convention.
        listed = "Conffiles:\n" + "".join(f" {path} {digest}\n" for path, digest in conffiles.items())
        before, mark, after = stanza.partition("\nDescription:")
        stanza = f"{before}\n{listed}{mark.lstrip(chr(10))}{after}" if mark else stanza + listed
    return stanza


class Merger:
    """Merges packages into one tar stream, in the order in which they are added."""

    def __init__(self, out: IO[bytes]) -> None:
        self.archive = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by finish
        self.directories: set[str] = set()
        self.database: dict[str, bytes] = {}
        self.status: list[str] = []
        self.units: dict[str, tuple[str, str]] = {}
        self.enabled: list[str] = []
        self.latest = 0
        self.files = self.bytes = 0

    def add(self, package: Path) -> None:
        """Add one .deb: its files to the stream, its description to the database."""
        listed, digests = [], dict[str, str]()
        with members("ctrl", package) as control:
            parts = {
                member.name.removeprefix("./"): content.read()
                for member in control
                if member.isreg() and (content := control.extractfile(member))
            }
        text = parts.pop("control").decode()
        self.enabled += ENABLES.findall(parts.get("postinst", b"").decode(errors="replace"))
        conffiles = [line for line in parts.get("conffiles", b"").decode().splitlines() if line.startswith("/")]
        with members("fsys", package) as files:
            for member in files:
                path = "/" + member.name.removeprefix("./").strip("/")
                listed.append("/." if path == "/" else path)
                content = files.extractfile(member) if member.isreg() else None
                data = content.read() if content else b""
                if UNIT.search(path):
                    self.units[path.rpartition("/")[2]] = (path, data.decode(errors="replace"))
                if path in conffiles:
                    digests[path] = hashlib.md5(data, usedforsecurity=False).hexdigest()
                self._write(member, path, data)
        fields = next(stanzas(text))
        name = fields["Package"]
        if fields.get("Multi-Arch") == "same":
            name += f":{fields['Architecture']}"
        self.database[f"{name}.list"] = "".join(f"{path}\n" for path in listed).encode()
        self.database |= {f"{name}.{part}": data for part, data in parts.items()}
        self.status.append(status_entry(text, digests))

    def _write(self, member: tarfile.TarInfo, path: str, data: bytes) -> None:
        if member.isdir():
            if path in self.directories:
                return
            self.directories.add(path)
        else:
            self.files += 1
            self.bytes += len(data)
        self.latest = max(self.latest, int(member.mtime))
        member.name = path.lstrip("/") or "./"
        if member.islnk():
            member.linkname = member.linkname.removeprefix("./")
        self.archive.addfile(member, io.BytesIO(data))

    def _enable(self, unit: str) -> None:
        """Make the links of a unit's [Install] section, as a maintainer script does."""
        path, text = self.units[unit]
        install = text.partition("[Install]")[2]
        for kind, folder in (("WantedBy", "wants"), ("RequiredBy", "requires")):
            for names in re.findall(rf"^{kind}=(.*)$", install, re.MULTILINE):
                for target in names.split():
                    home = "/etc/systemd/system"
                    for parent in ("/etc", "/etc/systemd", home, f"{home}/{target}.{folder}"):
                        self._directory(parent)
                    link = tarfile.TarInfo()
                    link.type, link.mode, link.mtime = tarfile.SYMTYPE, 0o777, self.latest
                    link.linkname = path
                    self._write(link, f"{home}/{target}.{folder}/{unit}", b"")

    def _directory(self, path: str) -> None:
        directory = tarfile.TarInfo(path)
        directory.type, directory.mode, directory.mtime = tarfile.DIRTYPE, 0o755, self.latest
        self._write(directory, path, b"")

    def finish(self) -> None:
        """Write the links of enabled services and dpkg's database, and close the stream."""
        for unit in self.enabled:
            if unit in self.units:
                self._enable(unit)
        home = "var/lib/dpkg"
        for path in ("/var", "/var/lib", f"/{home}", f"/{home}/info"):
            self._directory(path)
        database = {f"{home}/status": "\n".join(self.status).encode()}
        database |= {f"{home}/info/{name}": data for name, data in sorted(self.database.items())}
        for path, data in database.items():
            script = path.endswith((".preinst", ".postinst", ".prerm", ".postrm", ".config"))
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(data), 0o755 if script else 0o644, self.latest
            self._write(entry, f"/{path}", data)
        self.archive.close()


def reads_tar(mksquashfs: str) -> bool:
    """Tell whether a mksquashfs takes a tar stream (4.5 or later)."""
    shown = subprocess.run([mksquashfs, "-help"], capture_output=True, text=True, check=False)
    return re.search(r"^\s*-tar\b", shown.stdout + shown.stderr, re.MULTILINE) is not None


def pack(packages: list[Path], image: Path, mksquashfs: str) -> None:
    """Write the root file system of packages as a squashfs image; the same packages give the same bytes.

    Raises:
        Missing: mksquashfs failed.
    """
    partial = image.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    # mksquashfs's own compression and block size; one processor and a fixed time, so that the image is reproducible.
    # Of a tar it takes everything but the root directory, to which it gives mode 0777 and the time of day.
    command = [mksquashfs, "-", str(partial), "-tar", "-noappend", "-no-progress", "-quiet"]
    command += ["-processors", "1", "-root-mode", "755"]
    with tempfile.TemporaryFile(dir=image.parent) as merged:
        merger = Merger(merged)
        for package in packages:
            merger.add(package)
        merger.finish()
        merged.seek(0)
        times = {**os.environ, "SOURCE_DATE_EPOCH": str(merger.latest)}
        done = subprocess.run(command, stdin=merged, capture_output=True, text=True, check=False, env=times)
    if done.returncode:
        raise Missing(f"{mksquashfs} failed: {(done.stderr.strip() or 'no reason given').splitlines()[0]}")
    partial.rename(image)
    say(f"packed {merger.files} files, {merger.bytes / 1e6:.1f} MB, into {image.stat().st_size / 1e6:.1f} MB")


def obtain(home: Path, packages: Callable[[], list[Available]] = resolve) -> tuple[list[Available], list[Path]]:
    """Fetch packages into a folder; return what they are, and their files.

    Args:
        home: the folder.
        packages: looks them up in apt's lists.

    Raises:
        Missing: something that it needs is not to be had.
    """
    for tool in ("apt-cache", "apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool}: the demo release is made of Debian packages; use make examine RELEASE=path")
    try:
        found = packages()
    except Missing:
        if os.geteuid():
            raise
        say("apt's lists are not there: running apt-get update")
        subprocess.run(["apt-get", "-qq", "update"], stdout=sys.stderr, check=False)
        found = packages()
    return found, fetch(found, home)


def make(home: Path) -> Path:
    """Make the demo release in a folder and return its path: an image, or the folder of packages.

    Raises:
        Missing: something that it needs is not to be had.
    """
    packages, paths = obtain(home / "packages")
    for stale in set((home / "packages").glob("*.deb")) - set(paths):
        stale.unlink()
    image, stamp = home / "core.squashfs", home / "core.txt"
    made_of = "".join(f"{entry.sha256}  {path.name}\n" for entry, path in zip(packages, paths, strict=True))
    if image.exists() and stamp.exists() and stamp.read_text() == made_of:
        return image
    mksquashfs = shutil.which("mksquashfs")
    if mksquashfs is None or not reads_tar(mksquashfs):
        say("no mksquashfs 4.5 or later (package squashfs-tools): the packages themselves are the release")
        return home / "packages"
    stamp.unlink(missing_ok=True)
    pack(paths, image, mksquashfs)
    stamp.write_text(made_of)
    return image


def main() -> int:
    """Make the release, print its path, return the exit code."""
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "demo"
    try:
        print(make(home))
    except Missing as missing:
        say(f"demo release: {missing}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
