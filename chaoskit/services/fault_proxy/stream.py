"""One direction of one connection or flow, and the chain of toxics that its data runs through.

    data read → stage → stage → … → the stream's own outlet → data written

A unit is a chunk of a TCP stream or one UDP datagram. Units are pushed: a stage keeps, changes,
drops or passes on what it is fed. With no stage in the way the reader writes directly and only the
tally moves.
"""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import ClassVar, Protocol

from chaoskit.services.fault_proxy.addresses import Address
from chaoskit.services.fault_proxy.fields import Attributes, Field
from chaoskit.services.fault_proxy.keyed_random import KeyedRandom
from chaoskit.services.fault_proxy.tally import Effects, Tally, ToxicTally
from chaoskit.services.fault_proxy.timeline import Timeline


class Direction(StrEnum):
    """Toxiproxy's names for the two streams of a connection."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


class Outlet(Protocol):
    """What a stage passes units on to: the next stage, or the end of the stream."""

    def feed(self, data: bytes, at_s: float) -> None:
        """Take one unit. `at_s`: when it nominally got here, monotonic seconds."""

    def finish(self) -> None:
        """Take the end of the data (TCP only): nothing is fed after it."""


class ActingToxic(Protocol):
    """A toxic as the streams and stages see it."""

    @property
    def attributes(self) -> Attributes:
        """Its settings as they are now."""

    @property
    def tally(self) -> ToxicTally:
        """What it did on all streams."""

    @property
    def memory(self) -> dict[str, object]:
        """What it keeps for each client host, across its connections."""

    @property
    def stage_class(self) -> type["Stage"]:
        """What puts it to work on a stream."""

    def random_of(self, client_host: str, purpose: str) -> KeyedRandom:
        """Return a new random sequence for `client_host` and `purpose`."""

    def applies_to(self, client: Address) -> bool:
        """Whether it acts on the connection or flow of `client`; decided once."""


class Stage(ABC):
    """One toxic at work on one stream: subclass it in a module of `toxics/` to add a toxic.

    `kind`: Toxiproxy's type name. `transports`: where it can be used. `fields`: its attributes.
    A stage is made when its toxic applies to the connection, and lives until one of them goes.
    """

    kind: ClassVar[str]
    transports: ClassVar[frozenset[str]]
    fields: ClassVar[tuple[Field, ...]] = ()
    blackhole: ClassVar[bool] = False
    """Nothing ever comes through, so a UDP link under it refuses new flows."""

    def __init__(self, toxic: ActingToxic, stream: "Stream") -> None:
        """Made by `Stream.attach` only; subclasses extend `start`, not this."""
        self.toxic = toxic
        self.stream = stream
        self.next: Outlet = stream.outlet

    @classmethod
    def check(cls, attributes: Attributes) -> str | None:
        """Return what is wrong with `attributes` taken together, or None."""
        return None

    def start(self) -> None:  # noqa: B027  (most stages have nothing to prepare)
        """Begin: the connection opened, or the toxic was added to a live one."""

    @abstractmethod
    def feed(self, data: bytes, at_s: float) -> None:
        """Take one unit."""

    def finish(self) -> None:
        """Take the end of the data; it must not overtake units held here."""
        self.next.finish()

    def update(self) -> None:  # noqa: B027
        """Follow a change of the toxic's attributes."""

    def stop(self) -> None:  # noqa: B027
        """End: the toxic was removed. Pass on at once, in order, whatever is held."""

    def discard(self) -> None:  # noqa: B027
        """End: the connection is gone. Cancel timers, forget what is held."""

    def drop(self, data: bytes, at_s: float) -> None:
        """Let the unit vanish, and count it."""
        self.toxic.tally.dropped += 1
        self.stream.tally.dropped += 1
        self.stream.mark(at_s)


class Stream(ABC):
    """One direction of one connection or flow: its tally and its stages in the toxics' order.

    `lossless`: whether a unit missing in the middle spoils the rest (TCP) or not (UDP).
    """

    lossless: ClassVar[bool]

    def __init__(
        self,
        client: Address,
        direction: Direction,
        timeline: Timeline,
        effects: Effects,
    ) -> None:
        """`client`: the connecting address; its host is the key of all random decisions."""
        self.client = client
        self.direction = direction
        self.timeline = timeline
        self.tally = Tally()
        self.stages: list[Stage] = []
        self.held_bytes = 0
        self.outlet: Outlet = _End(self)
        self.head: Outlet = self.outlet
        self._effects = effects

    @abstractmethod
    def deliver(self, data: bytes) -> None:
        """Write one unit to where the stream leads, and count it."""

    @abstractmethod
    def deliver_end(self) -> None:
        """Pass on the end of the data, after all units."""

    @abstractmethod
    def end(self, *, reset: bool, at_s: float | None) -> None:
        """End the connection or flow now: with RST when `reset`, else in good order.

        `at_s`: the moment, when this is a fault's effect to be proven; None when a fault is lifted.
        """

    @abstractmethod
    def rewired(self) -> None:
        """Follow a change of `stages`."""

    def relieve(self) -> None:  # noqa: B027
        """Reconsider back-pressure after `held_bytes` changed."""

    def mark(self, at_s: float) -> None:
        """Record that a fault touched this stream."""
        self._effects.mark(at_s, self.client[0])

    def attach(self, toxic: ActingToxic) -> None:
        """Put `toxic` at the end of the chain if it applies to this connection."""
        if not toxic.applies_to(self.client):
            return
        stage = toxic.stage_class(toxic, self)
        self.stages.append(stage)
        self._wire()
        stage.start()

    def update(self, toxic: ActingToxic) -> None:
        """Tell the stage of `toxic`, if there is one, that its attributes changed."""
        for stage in self.stages:
            if stage.toxic is toxic:
                stage.update()
                self.relieve()
                return

    def detach(self, toxic: ActingToxic) -> None:
        """Take the stage of `toxic` out of the chain; what it held goes on at once."""
        for stage in self.stages:
            if stage.toxic is toxic:
                stage.stop()
                if stage in self.stages:  # stopping may have ended the connection
                    self.stages.remove(stage)
                    self._wire()
                self.relieve()
                return

    def discard(self) -> None:
        """Forget all stages and what they hold: the connection is gone."""
        for stage in self.stages:
            stage.discard()
        self.stages.clear()
        self.held_bytes = 0
        self._wire()

    def _wire(self) -> None:
        outlet = self.outlet
        for stage in reversed(self.stages):
            stage.next = outlet
            outlet = stage
        self.head = outlet
        self.rewired()


class _End:
    """The last outlet of a stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def feed(self, data: bytes, at_s: float) -> None:
        self._stream.deliver(data)

    def finish(self) -> None:
        self._stream.deliver_end()
