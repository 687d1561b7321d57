"""A stream on a virtual clock, to run toxics on units in memory."""

from collections.abc import Callable
from typing import Any

from chaoskit.services.fault_proxy import gojson
from chaoskit.services.fault_proxy.stream import Direction, Stream
from chaoskit.services.fault_proxy.tally import Effects
from chaoskit.services.fault_proxy.timeline import Timeline
from chaoskit.services.fault_proxy.toxic import Toxic, ToxicChain


class VirtualLoop:
    """A clock that moves only when told to, with timers."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._wakeups: list[_Wakeup] = []

    def now(self) -> float:
        return self.now_s

    def wake_at(self, due_s: float, callback: Callable[[], None]) -> "_Wakeup":
        wakeup = _Wakeup(due_s, callback)
        self._wakeups.append(wakeup)
        return wakeup

    @property
    def pending(self) -> int:
        """Return how many wake-ups are asked for."""
        return sum(1 for wakeup in self._wakeups if not wakeup.cancelled)

    def advance(self, seconds: float) -> None:
        """Move the clock, stopping at every wake-up on the way."""
        end_s = self.now_s + seconds
        while True:
            due = [w for w in self._wakeups if not w.cancelled and w.due_s <= end_s]
            if not due:
                break
            first = min(due, key=lambda wakeup: wakeup.due_s)
            self._wakeups.remove(first)
            self.now_s = max(self.now_s, first.due_s)
            first.callback()
        self.now_s = end_s


class _Wakeup:
    def __init__(self, due_s: float, callback: Callable[[], None]) -> None:
        self.due_s = due_s
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Bench(Stream):
    """One direction of a connection whose two ends are lists."""

    def __init__(
        self,
        loop: VirtualLoop,
        timeline: Timeline,
        *,
        client: tuple[str, int] = ("127.64.0.1", 4000),
    ) -> None:
        self.effects = Effects()
        super().__init__(client, Direction.DOWNSTREAM, timeline, self.effects)
        self.loop = loop
        self.out: list[tuple[float, bytes]] = []
        self.finished_s: float | None = None
        self.ends: list[tuple[bool, float | None]] = []

    lossless = True

    def deliver(self, data: bytes) -> None:
        self.tally.forwarded += 1
        self.out.append((round(self.loop.now_s - 100.0, 6), data))

    def deliver_end(self) -> None:
        self.finished_s = round(self.loop.now_s - 100.0, 6)

    def end(self, *, reset: bool, at_s: float | None) -> None:
        self.ends.append((reset, None if at_s is None else round(at_s - 100.0, 6)))
        self.discard()

    def rewired(self) -> None:
        return

    def push(self, data: bytes) -> None:
        """Feed one unit that arrives now."""
        self.tally.seen += 1
        self.head.feed(data, self.loop.now_s)

    def units(self) -> list[bytes]:
        """Return what came out."""
        return [data for _, data in self.out]


class UdpBench(Bench):
    """The same for datagrams."""

    lossless = False


class Rig:
    """A clock, a link's toxics, and streams that they act on."""

    def __init__(self, *, seed: int = 7, link: str = "host.media.room-a", udp: bool = True) -> None:
        self.loop = VirtualLoop()
        self.timeline = Timeline(self.loop.now, self.loop.wake_at)
        self.toxics = ToxicChain(link, "udp" if udp else "tcp", seed)
        self._udp = udp
        self._streams: list[Bench] = []

    def stream(self, host: str = "127.64.0.1", port: int = 4000) -> Bench:
        """Return a new stream of a client with the toxics that are there now."""
        kind = UdpBench if self._udp else Bench
        stream = kind(self.loop, self.timeline, client=(host, port))
        self._streams.append(stream)
        for toxic in self.toxics:
            stream.attach(toxic)
        return stream

    def add(self, kind: str, name: str = "", *, cohort: str = "", **more: Any) -> Toxic:
        """Add a downstream toxic to the link and all streams; toxicity, attributes in `more`."""
        toxicity = more.pop("toxicity", 1.0)
        body = {"type": kind, "name": name, "toxicity": toxicity, "attributes": more}
        toxic = self.toxics.add(gojson.read_object(gojson.write(body)), cohort=cohort)
        for stream in self._streams:
            stream.attach(toxic)
        return toxic

    def update(self, toxic: Toxic, **attributes: Any) -> None:
        """Change attributes of a toxic."""
        toxic.change(gojson.read_object(gojson.write({"attributes": attributes})))
        for stream in self._streams:
            stream.update(toxic)

    def remove(self, toxic: Toxic) -> None:
        """Remove a toxic."""
        self.toxics.remove(toxic)
        for stream in self._streams:
            stream.detach(toxic)
