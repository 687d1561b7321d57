"""packet_loss: datagrams vanish, each by itself or in bursts."""

from chaoskit.services.fault_proxy.fields import Attributes, number
from chaoskit.services.fault_proxy.keyed_random import KeyedRandom
from chaoskit.services.fault_proxy.stream import Stage


class LossProcess:
    """Decides for one client and direction which datagrams are lost, by ordinal.

    Bernoulli: each is lost with `loss_rate`, the one after a loss with `loss_rate` + `correlation`.
    Gilbert-Elliott (when `p` > 0): two states, good at first; before each datagram good turns bad
    with probability `p`, bad turns good with `r`; all is lost in bad, nothing in good. The long-run
    loss is p/(p+r), the mean burst 1/r datagrams.
    Source: audio.md section 9.1 (h = 1, k = 0); Toxiproxy's packet_loss for the first two.
    """

    __slots__ = ("_bad", "_lost", "_random")

    def __init__(self, random: KeyedRandom) -> None:
        """Start in the good state, with nothing lost."""
        self._random = random
        self._bad = False
        self._lost = False

    def loses(self, attributes: Attributes) -> bool:
        """Decide on the next datagram; one draw each."""
        p = float(attributes["p"])
        if p > 0:
            turns = self._random.chance(float(attributes["r"]) if self._bad else p)
            self._bad = self._bad != turns
            return self._bad
        rate = float(attributes["loss_rate"])
        if self._lost:
            rate += float(attributes["correlation"])
        self._lost = self._random.chance(rate)
        return self._lost


class PacketLoss(Stage):
    """Drops datagrams by the client's `LossProcess`, which outlives its flows."""

    kind = "packet_loss"
    transports = frozenset({"udp"})
    fields = (
        number("loss_rate"),
        number("correlation"),
        number("p", ours=True),
        number("r", ours=True),
    )

    @classmethod
    def check(cls, attributes: Attributes) -> str | None:
        """Refuse what is no probability, two models at once, and bursts that never end."""
        for name in ("loss_rate", "correlation", "p", "r"):
            if not 0 <= attributes[name] <= 1:
                return f"{name} must be between 0 and 1"
        if attributes["p"] > 0:
            if attributes["loss_rate"] > 0:
                return "loss_rate and p exclude each other"
            if attributes["r"] == 0:
                return "r must be greater than 0 when p is"
        return None

    def start(self) -> None:
        """Find the client's process, or begin one."""
        host = self.stream.client[0]
        process = self.toxic.memory.get(host)
        if not isinstance(process, LossProcess):
            process = self.toxic.memory[host] = LossProcess(self.toxic.random_of(host, "loss"))
        self._process = process

    def feed(self, data: bytes, at_s: float) -> None:
        """Drop the datagram or pass it on."""
        self.toxic.tally.seen += 1
        if self._process.loses(self.toxic.attributes):
            self.drop(data, at_s)
        else:
            self.next.feed(data, at_s)
