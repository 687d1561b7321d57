"""noop: everything passes; it proves that a toxic is in the path."""

from chaoskit.services.fault_proxy.stream import Stage


class Noop(Stage):
    """Passes every unit on unchanged and counts it."""

    kind = "noop"
    transports = frozenset({"tcp", "udp"})

    def feed(self, data: bytes, at_s: float) -> None:
        """Pass the unit on."""
        self.toxic.tally.seen += 1
        self.next.feed(data, at_s)
