"""timeout: a blackhole, and with `timeout` > 0 the end of the connection after that time."""

from chaoskit.services.fault_proxy.fields import flag, whole
from chaoskit.services.fault_proxy.stream import Stage
from chaoskit.services.fault_proxy.timeline import Timer


class Timeout(Stage):
    """Drops every unit. With `timeout` > 0 milliseconds it then ends the connection or flow.

    The time counts from when the toxic began to act on the connection; `idle` counts it from the
    last unit instead, as Toxiproxy does. Removing the toxic ends TCP connections under it, since
    bytes are missing in them; UDP flows go on, datagrams being whole.
    Source: Toxiproxy 2.12.0, `toxics/timeout.go`; differences: docs/fault-proxy.md.
    """

    kind = "timeout"
    transports = frozenset({"tcp", "udp"})
    fields = (whole("timeout"), flag("idle", transports=frozenset({"tcp", "udp"})))
    blackhole = True

    def start(self) -> None:
        """Begin to count."""
        self._timer: Timer | None = None
        self._last_unit_s = float("-inf")
        self._arm()

    def feed(self, data: bytes, at_s: float) -> None:
        """Drop the unit."""
        self.toxic.tally.seen += 1
        self.drop(data, at_s)
        self._last_unit_s = at_s

    def update(self) -> None:
        """Count anew with the new time."""
        self._arm()

    def stop(self) -> None:
        """End a TCP connection; let a UDP flow go on."""
        self._cancel()
        if self.stream.lossless:
            self.stream.end(reset=False, at_s=None)

    def discard(self) -> None:
        """Count no more."""
        self._cancel()

    def _arm(self) -> None:
        self._cancel()
        timeout_ms = self.toxic.attributes["timeout"]
        if timeout_ms > 0:
            self._timer = self.stream.timeline.after(timeout_ms / 1000.0, self._expire)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self.toxic.attributes.get("idle", False):
            due_s = self._last_unit_s + self.toxic.attributes["timeout"] / 1000.0
            if due_s > self.stream.timeline.now():
                self._timer = self.stream.timeline.at(due_s, self._expire)
                return
        self.toxic.tally.cut += 1
        self.stream.end(reset=False, at_s=self.stream.timeline.now())
