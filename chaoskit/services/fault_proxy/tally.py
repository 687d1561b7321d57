"""Live numbers of a link: what it saw, passed on, dropped, delayed, and when that began."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Units of one direction: chunks of TCP or datagrams of UDP, cumulative.

    `seen` = `forwarded` + `dropped` + `undeliverable` + what toxics hold just now. `dropped` counts
    what a fault ate; `undeliverable` what had no flow, no peer or no living socket to go to.
    `delayed` are those that waited in a toxic, whatever became of them. `bytes`: payload forwarded.
    """

    seen: int = 0
    forwarded: int = 0
    dropped: int = 0
    delayed: int = 0
    undeliverable: int = 0
    bytes: int = 0

    def add(self, other: "Tally") -> None:
        """Add the numbers of `other`."""
        self.seen += other.seen
        self.forwarded += other.forwarded
        self.dropped += other.dropped
        self.delayed += other.delayed
        self.undeliverable += other.undeliverable
        self.bytes += other.bytes

    def to_json(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {
            "seen": self.seen,
            "forwarded": self.forwarded,
            "dropped": self.dropped,
            "delayed": self.delayed,
            "undeliverable": self.undeliverable,
            "bytes": self.bytes,
        }


@dataclass(slots=True)
class ToxicTally:
    """What one toxic did on all connections or flows of its link, since it was added."""

    seen: int = 0
    dropped: int = 0
    delayed: int = 0
    cut: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {
            "seen": self.seen,
            "dropped": self.dropped,
            "delayed": self.delayed,
            "cut": self.cut,
        }


@dataclass(slots=True)
class ConnectionNumbers:
    """Connections of a TCP link, cumulative.

    `refused`: the upstream could not be reached. (Of a link that is cut the kernel itself refuses
    connections; nobody here sees them.) `cut`: ended by a fault or by stopping the link.
    """

    accepted: int = 0
    refused: int = 0
    cut: int = 0


@dataclass(slots=True)
class Effects:
    """When faults of a link first and last touched something, and whom.

    Cleared when a fault is set or changed on the link, kept when one is lifted, so that the proof
    of a healed fault can still be read. Stamps are CLOCK_MONOTONIC seconds of this process.
    """

    first_s: float | None = None
    last_s: float | None = None
    clients: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Forget all; the next effect is the first one."""
        self.first_s = self.last_s = None
        self.clients.clear()

    def mark(self, at_s: float, client_host: str) -> None:
        """Record that something of `client_host` was cut, refused, dropped or delayed at `at_s`."""
        if self.first_s is None:
            self.first_s = at_s
        self.last_s = at_s
        self.clients.add(client_host)
