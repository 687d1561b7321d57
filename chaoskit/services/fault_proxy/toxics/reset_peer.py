"""reset_peer: the connection ends with RST, at once or after a time."""

from chaoskit.services.fault_proxy.fields import whole
from chaoskit.services.fault_proxy.stream import Stage
from chaoskit.services.fault_proxy.timeline import Timer


class ResetPeer(Stage):
    """Resets both ends `timeout` milliseconds after it began to act on the connection.

    It fires on idle connections too and on those that were open before it was added, and removing
    it before its time saves the connection. Until it fires, data is dropped as Toxiproxy does, so
    that no orderly end is seen.
    Source: Toxiproxy 2.12.0, `toxics/reset_peer.go`; differences: docs/fault-proxy.md.
    """

    kind = "reset_peer"
    transports = frozenset({"tcp"})
    fields = (whole("timeout"),)

    def start(self) -> None:
        """Begin to count."""
        self._timer: Timer | None = None
        self.update()

    def feed(self, data: bytes, at_s: float) -> None:
        """Drop the unit."""
        self.toxic.tally.seen += 1
        self.drop(data, at_s)

    def finish(self) -> None:
        """Swallow the end: the reset replaces it."""

    def update(self) -> None:
        """Count anew with the new time."""
        self.discard()
        delay_s = max(0, self.toxic.attributes["timeout"]) / 1000.0
        self._timer = self.stream.timeline.after(delay_s, self._fire)

    def stop(self) -> None:
        """Spare the connection."""
        self.discard()

    def discard(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self.toxic.tally.cut += 1
        self.stream.end(reset=True, at_s=self.stream.timeline.now())
