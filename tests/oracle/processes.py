"""What the kernel says about a run's processes: /proc only, nothing the product reports."""

import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "CHAOSKIT_ORACLE"
"""A variable of our own that every descendant of a command inherits."""

_LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]\Z")


@dataclass(frozen=True, slots=True)
class Process:
    """A living process. `argv` may be empty for one that is just ending."""

    pid: int
    argv: tuple[str, ...]

    def __str__(self) -> str:
        """Pid and command line, for messages."""
        return f"{self.pid} ({' '.join(self.argv)[:100]})"


def marked(value: str, *, variable: str = MARK) -> list[Process]:
    """Return the living processes whose environment has `variable=value`; zombies have none."""
    wanted = f"{variable}={value}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
                found.append(Process(int(folder.name), tuple(map(os.fsdecode, words))))
        except OSError:
            continue  # it ended meanwhile
    return found


@dataclass(frozen=True, slots=True)
class Socket:
    """An IPv4 socket. `peer` is 0.0.0.0:0 while it is connected to nobody."""

    transport: str
    local: tuple[str, int]
    peer: tuple[str, int]
    listens: bool
    inode: int


def all_sockets() -> list[Socket]:
    """Return every IPv4 TCP and UDP socket of this network namespace."""
    return [*_table("tcp"), *_table("udp")]


def sockets_of(pid: int) -> list[Socket]:
    """Return the IPv4 TCP and UDP sockets that process `pid` holds open."""
    held = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            match = _SOCKET.match(str(link.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
        if match:
            held.add(int(match[1]))
    return [sock for sock in all_sockets() if sock.inode in held]


def _table(transport: str) -> Iterator[Socket]:
    for line in Path(f"/proc/net/{transport}").read_text().splitlines()[1:]:
        columns = line.split()
        yield Socket(
            transport,
            _address(columns[1]),
            _address(columns[2]),
            columns[3] == _LISTEN,
            int(columns[9]),
        )


def _address(text: str) -> tuple[str, int]:
    ip, port = text.split(":")
    # The kernel prints the four bytes as one number in the machine's own byte order.
    return socket.inet_ntoa(struct.pack("=I", int(ip, 16))), int(port, 16)
