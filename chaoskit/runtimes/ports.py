"""TCP and UDP ports of a run: a block of 64 below the ephemeral range, held by a lock on a file.

The lock's descriptor goes to the guardian too, so that a block stays taken as long as any process
of its run may live. A restarted service comes back on the port it had.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from chaoskit.errors import EnvironmentMissing

FIRST_PORT, LAST_PORT = 20000, 31999
BLOCK = 64
LOOPBACK = "127.0.0.1"


class PortBlock:
    """Ports of one run. `fd` holds the lock: pass it to the guardian (`start_guardian(hold=…)`)."""

    def __init__(self, first: int, fd: int) -> None:
        """Own the ports from `first` on as long as `fd`, a locked file, is open."""
        self.first = first
        self.fd = fd
        self._free = list(range(first + BLOCK - 1, first - 1, -1))

    def take(self) -> int:
        """Return a port of the block that was not taken before and can be bound.

        Raises EnvironmentMissing when the block is used up.
        """
        while self._free:
            port = self._free.pop()
            if is_free(port):
                return port
        raise EnvironmentMissing(f"all {BLOCK} ports from {self.first} on are taken")

    def release(self) -> None:
        """Close this process's share of the lock; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def take_port_block(
    lock_dir: Path | None = None, *, candidates: Iterable[int] | None = None
) -> PortBlock:
    """Return a block that no other run holds and whose ports nobody uses.

    `candidates`: first ports in the order to try, by default all blocks in random order. Raises
    EnvironmentMissing when none is left.
    """
    folder = lock_dir or _lock_dir()
    tried = 0
    for first in candidates or _shuffled_blocks():
        tried += 1
        fd = _try_hold(folder / f"{first}.lock")
        if fd is None:
            continue
        if all(is_free(port) for port in range(first, first + BLOCK)):
            return PortBlock(first, fd)
        os.close(fd)
    raise EnvironmentMissing(
        f"no free block of {BLOCK} ports in {FIRST_PORT}–{LAST_PORT}: {tried} tried",
        hint="chaoskit heal --all ends what old runs left; ss -tulnp shows who listens",
    )


def require_free(port: int, service: str) -> None:
    """Raise EnvironmentMissing, naming the holder where it can be seen, when `port` is taken."""
    if is_free(port):
        return
    holder = holder_of(port)
    raise EnvironmentMissing(
        f"{service}: port {port} is taken" + (f" by {holder}" if holder else ""),
        hint="end that process, or give the stack another port (0 = any)",
    )


def is_free(port: int) -> bool:
    """Return whether a service could bind `port` on loopback, TCP and UDP."""
    return _can_bind(port, socket.SOCK_STREAM) and _can_bind(port, socket.SOCK_DGRAM)


def _can_bind(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As servers do: connections of a dead one that linger are no obstacle, a listener is.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def holder_of(port: int) -> str:
    """Return `name (pid N)` of a process that listens on or has bound `port`; "" when unseen."""
    inodes = set()
    for table, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        with suppress(OSError):
            inodes |= _inodes(Path(f"/proc/net/{table}"), port, listening)
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(_leads_to(fd, inodes) for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"{name} (pid {process.name})"
    return ""


def _leads_to(fd: Path, inodes: set[str]) -> bool:
    try:
        return str(fd.readlink()) in inodes
    except OSError:
        return False  # closed since it was listed


def _inodes(table: Path, port: int, state: str) -> set[str]:
    found = set()
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == state:
            found.add(f"socket:[{fields[9]}]")
    return found


def _shuffled_blocks() -> Sequence[int]:
    blocks = list(range(FIRST_PORT, LAST_PORT + 2 - BLOCK, BLOCK))
    random.SystemRandom().shuffle(blocks)
    return blocks


def _lock_dir() -> Path:
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime_dir and Path(runtime_dir).is_dir():
        return Path(runtime_dir) / "chaoskit" / "ports"
    return Path(tempfile.gettempdir()) / f"chaoskit-{os.getuid()}" / "ports"


def _try_hold(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EnvironmentMissing(f"cannot hold ports with {path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
