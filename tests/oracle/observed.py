"""One run of the product and what was seen of it from outside: packets, sockets, own deeds."""

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.oracle import capture, decoder
from tests.oracle.capture import Capture, Packet, address_of
from tests.oracle.decoder import Datagram
from tests.oracle.live_run import DATA, LiveRun, chaoskit, wait_until
from tests.oracle.processes import Process, Socket, sockets_of
from tests.oracle.recorded import UNJUDGED, Gap, Mask, Recorded, gaps

FIRST_LISTENER = 3
"""Host, guest and owner have the numbers 0 to 2; the test says so when a plan differs."""
PAUSE_S = 2.0
_CROWD = "services.crowd"


def listeners_in(experiment: str) -> int:
    """Return how many listeners an experiment file of ours asks for."""
    found = re.search(r"listeners: (\d+)", (DATA / experiment).read_text())
    assert found is not None
    return int(found[1])


@dataclass(frozen=True)
class Sockets:
    """All sockets at one moment of the steady state, by pid or by service."""

    crowd: dict[int, list[Socket]]
    proxy: list[Socket]
    servers: dict[str, list[Socket]]


@dataclass
class Notes:
    """What a test did during a run, as monotonic stamps, and what it looked at."""

    sockets: Sockets | None = None
    stopped: tuple[float, float] | None = None
    killed: tuple[str, float] | None = None


@dataclass
class Observed:
    """A finished run.

    `packets` are those of the `chosen` listeners; `links` says where the proxy's links listen.
    """

    exit_code: int
    recorded: Recorded
    chosen: list[int] = field(default_factory=list)
    links: dict[str, tuple[str, int]] = field(default_factory=dict)
    packets: list[Packet] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @cached_property
    def heard(self) -> dict[int, decoder.Heard]:
        """Who each chosen listener heard, rebuilt from its datagrams."""
        return {
            k: decoder.hear(self._datagrams(k), self.recorded.origin_s, self.recorded.slots)
            for k in self.chosen
        }

    def _datagrams(self, participant: int) -> list[Datagram]:
        links = set(self.links.values())
        return capture.datagrams_to(self.packets, address_of(participant), links)

    def first_connection_s(self, participant: int) -> float:
        """Return the run time at which a chosen listener opened its first connection."""
        first_s = capture.first_connection_s(
            self.packets, address_of(participant), set(self.links.values())
        )
        assert first_s is not None, f"listener {participant} never opened a connection"
        return self.recorded.run_s(first_s)

    def moved_s(self, participant: int) -> float:
        """Return the run time at which the second room's media first reached a chosen listener."""
        first: dict[tuple[str, int], float] = {}
        for datagram in self._datagrams(participant):
            if decoder.parse_rtp(datagram.data) is not None:
                first.setdefault(datagram.source, datagram.at_s)
        assert len(first) == 2, f"listener {participant} had media from {len(first)} links"
        return self.recorded.run_s(max(first.values()))

    def missed(self, participant: int) -> Mask:
        """Return the due slots in which the wire brought nobody who was planned.

        Slots that the product did not judge are left out: of them it says nothing.
        """
        voices = self.heard[participant].voices & self.recorded.planned
        judged = self.recorded.codes(participant) != UNJUDGED
        missed: Mask = self.recorded.due(participant) & judged & (voices == 0)
        return missed

    def gaps(self, participant: int, *, at_least: int = 8) -> list[Gap]:
        """Return the gaps of a chosen listener as the wire has them."""
        return gaps(self.missed(participant), at_least=at_least)


During = Callable[[LiveRun, Notes], None]


def observe(
    command: Sequence[str], folder: Path, chosen: Sequence[int], *, during: During
) -> Observed:
    """Run a command of chaoskit under a capture of `chosen`; call `during` while it runs."""
    notes = Notes()
    with (
        Capture(folder / "lo.pcap", [address_of(k) for k in chosen]) as recording,
        chaoskit(*command, "--quiet", folder=folder) as run,
    ):
        run.wait_for("phase_entered")
        links = _links(run)
        during(run, notes)
        exit_code = run.finish()
        recorded = run.recorded()
    packets = recording.packets()
    return Observed(exit_code, recorded, list(chosen), links, packets, notes)


# --- what is done during a run -------------------------------------------------------------------


def look_at_sockets(run: LiveRun, notes: Notes) -> None:
    """Note all sockets while everybody is in the room and nothing is broken."""
    wait_until(lambda: _missing(run), within_s=15.0)
    ready = run.services()
    notes.sockets = Sockets(
        crowd={p.pid: sockets_of(p.pid) for p in crowd_processes(run)},
        proxy=sockets_of(ready["fault-proxy"]["pid"]),
        servers={
            name: sockets_of(ready[name]["pid"]) for name in ("directory", "room-a", "room-b")
        },
    )


def _links(run: LiveRun) -> dict[str, tuple[str, int]]:
    """Ask the fault proxy where its links listen."""
    proxy = run.services()["fault-proxy"]
    url = f"http://{proxy.get('host', '127.0.0.1')}:{proxy['port']}/proxies"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return {name: _address(link["listen"]) for name, link in json.load(answer).items()}


def look_on(run: LiveRun, notes: Notes) -> None:
    """Do nothing to a run."""


def stop_the_engine(for_s: float) -> During:
    """Return what stops the engine as soon as the host is cut off."""

    def during(run: LiveRun, notes: Notes) -> None:
        run.wait_for("fault_active", fault_id="drop-host")
        began = time.monotonic()
        with run.stopped(run.process.pid):
            time.sleep(for_s)
        notes.stopped = (began, time.monotonic())

    return during


def strike(run: LiveRun, notes: Notes) -> None:
    """Stop a room node for PAUSE_S once the blackhole is over, then kill a listener shard."""
    run.wait_for("fault_healed", fault_id="hole")
    time.sleep(2.0)
    began = time.monotonic()
    with run.stopped(run.pid_of("room-a")):
        time.sleep(max(0.0, began + PAUSE_S - time.monotonic()))
    notes.stopped = (began, time.monotonic())
    run.wait_for("phase_entered", phase="steady_again")
    time.sleep(2.0)
    shard = max(name for name in run.services() if name.startswith("crowd-listeners"))
    notes.killed = (shard, time.monotonic())
    os.kill(run.pid_of(shard), signal.SIGKILL)


def crowd_processes(run: LiveRun) -> list[Process]:
    """Return the crowd's processes, found by their command lines."""
    return [p for p in run.processes() if any(_CROWD in word for word in p.argv)]


def _missing(run: LiveRun) -> str | None:
    recorded = Recorded(run.folder)
    joined = {f["p"] for facts in recorded.facts.values() for f in facts if f["k"] == "joined"}
    missing = set(recorded.present) - joined
    return f"not in a room yet: {sorted(missing)}" if missing else None


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.removeprefix("udp://").rpartition(":")
    return host, int(port)


def longest(found: Sequence[Gap]) -> Gap:
    """Return the longest of some gaps. Fails when there is none."""
    assert found, "no gap at all"
    return max(found, key=lambda gap: gap.end - gap.first)
