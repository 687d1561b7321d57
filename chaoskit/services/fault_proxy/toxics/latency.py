"""latency: every unit waits `latency` ± `jitter` milliseconds, counted from its arrival."""

import heapq
from itertools import count

from chaoskit.services.fault_proxy.fields import flag, whole
from chaoskit.services.fault_proxy.keyed_random import KeyedRandom
from chaoskit.services.fault_proxy.stream import Stage
from chaoskit.services.fault_proxy.timeline import Timer


class Latency(Stage):
    """Delays by latency + a whole number drawn evenly from [-jitter, jitter) milliseconds.

    The order is kept: a unit leaves no earlier than the one before it, so jitter shows as
    head-of-line delay. On UDP `reorder` lets each datagram leave at its own moment instead.
    A change of the settings lets the foremost unit go at once and times the others anew; removing
    the toxic lets all go at once. Nothing is ever lost here.
    Source: Toxiproxy 2.12.0, `toxics/latency.go`.
    """

    kind = "latency"
    transports = frozenset({"tcp", "udp"})
    fields = (whole("latency"), whole("jitter"), flag("reorder", transports=frozenset({"udp"})))

    def start(self) -> None:
        """Take up the settings."""
        self._held: list[tuple[float, int, float, bytes]] = []  # due, order, arrival, unit
        self._order = count()
        self._last_due_s = float("-inf")
        self._timer: Timer | None = None
        self._ended = False
        host = self.stream.client[0]
        sequence = self.toxic.memory.get(host)
        if not isinstance(sequence, KeyedRandom):
            sequence = self.toxic.memory[host] = self.toxic.random_of(host, "jitter")
        self._random = sequence
        self._configure()

    def _configure(self) -> None:
        attributes = self.toxic.attributes
        self._latency_ms = int(attributes["latency"])
        self._jitter_ms = int(attributes["jitter"])
        self._reorder = bool(attributes.get("reorder", False))

    def _due_s(self, at_s: float) -> float:
        delay_ms = self._latency_ms
        if self._jitter_ms > 0:
            delay_ms += self._random.below(2 * self._jitter_ms) - self._jitter_ms
        due_s = at_s + max(0, delay_ms) / 1000.0
        if not self._reorder:
            due_s = self._last_due_s = max(due_s, self._last_due_s)
        return due_s

    def feed(self, data: bytes, at_s: float) -> None:
        """Hold the unit until it is due."""
        self.toxic.tally.seen += 1
        due_s = self._due_s(at_s)
        if due_s <= at_s and not self._held:
            self.next.feed(data, at_s)
            return
        stream = self.stream
        self.toxic.tally.delayed += 1
        stream.tally.delayed += 1
        stream.held_bytes += len(data)
        stream.mark(at_s)
        heapq.heappush(self._held, (due_s, next(self._order), at_s, data))
        self._arm()

    def finish(self) -> None:
        """Let the end follow the last held unit."""
        self._ended = True
        if not self._held:
            self.next.finish()

    def update(self) -> None:
        """Let the foremost unit go at once, time the rest by the new settings."""
        self._configure()
        if not self._held:
            return
        now_s = self.stream.timeline.now()
        first, *rest = sorted(self._held)
        self._last_due_s = float("-inf")
        self._held = [(self._due_s(at_s), order, at_s, data) for _, order, at_s, data in rest]
        heapq.heapify(self._held)
        self._let_go(first[3], now_s)
        if self._held:
            self._arm()
        elif self._ended:
            self.next.finish()

    def stop(self) -> None:
        """Let everything go at once, in order."""
        self._cancel()
        held, self._held = sorted(self._held), []
        now_s = self.stream.timeline.now()
        for _, _, _, data in held:
            self._let_go(data, now_s)
        if self._ended and held:
            self.next.finish()

    def discard(self) -> None:
        """Forget everything."""
        self._cancel()
        self._held = []

    def _arm(self) -> None:
        due_s = self._held[0][0]
        if self._timer is not None:
            if self._timer.due_s <= due_s:
                return
            self._timer.cancel()
        self._timer = self.stream.timeline.at(due_s, self._release)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        self._timer = None
        now_s = self.stream.timeline.now()
        while self._held and self._held[0][0] <= now_s:
            due_s, _, _, data = heapq.heappop(self._held)
            self._let_go(data, due_s)
        if self._held:
            self._arm()
        elif self._ended:
            self.next.finish()
        self.stream.relieve()

    def _let_go(self, data: bytes, at_s: float) -> None:
        self.stream.held_bytes -= len(data)
        self.next.feed(data, at_s)
