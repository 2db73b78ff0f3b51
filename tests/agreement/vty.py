"""Ask an Osmocom program: it runs in its root file system, without a network, and is asked over the loopback device.

As a module (`python -m tests.agreement.vty ROOT PORT COMMAND...`) it prints the running configuration, a line with only
a dash, and the sockets on which something listens, one a line: `tcp 127.0.0.1 4254`.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parents[2]

SECONDS = 15.0
LISTENING = {"tcp": "0A", "udp": "07"}


def ask(root: Path, port: int, *command: str) -> tuple[list[str], list[str]]:
    """Return the lines of a program's running configuration, and its sockets.

    Args:
        root: its root file system.
        port: of its VTY.
        command: program (absolute path in the root) and arguments.

    Raises:
        RuntimeError: it did not answer.
    """
    namespaces = ["--net", "--pid", "--fork", "--kill-child"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    done = subprocess.run(
        ["unshare", *namespaces, sys.executable, "-m", "tests.agreement.vty", str(root), str(port), *command],
        cwd=HERE, capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    configuration, _, sockets = done.stdout.partition("\n-\n")
    return configuration.splitlines(), sockets.split("\n")[:-1]


def main(root: str, port: str, *command: str) -> None:
    """Start the program, ask it, end it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:  # the loopback device begins down
        fcntl.ioctl(interface, 0x8914, struct.pack("16sh14x", b"lo", 1))
    with subprocess.Popen(["chroot", root, *command], stdin=subprocess.DEVNULL, stdout=sys.stderr) as program:
        try:
            print(*_configuration(int(port), program), "-", *_sockets(), sep="\n")
        finally:
            program.kill()


def _configuration(port: int, program: subprocess.Popen[bytes]) -> list[str]:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and program.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as vty:
                vty.sendall(b"terminal length 0\r\nenable\r\nshow running-config\r\n")
                text = b""
                while b"\nend\r" not in text and time.monotonic() < until:
                    text += vty.recv(65536)
                lines = text.decode("latin-1").replace("\r", "").split("\n")
                return lines[lines.index("Current configuration:") + 1 : lines.index("end")]
        except ConnectionError:
            time.sleep(0.05)
    raise SystemExit("no VTY")


def _sockets() -> list[str]:
    found = []
    for protocol, state in LISTENING.items():
        for line in Path(f"/proc/self/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == state:
                packed = struct.pack("=I", int(address, 16))
                found.append(f"{protocol} {socket.inet_ntoa(packed)} {int(port, 16)}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
