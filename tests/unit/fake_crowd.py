"""A crowd without processes: it goes through what the fake proxy did to its traffic and reports it.

One object is the crowd's facts, its control and the pair of eyes on the rooms. All facts follow
from the harms of the proxy at the time they are asked for, `report_lag_s` late.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from chaoskit.errors import AdapterError
from chaoskit.model import Crowd, Mic
from chaoskit.ports import Loss, NetSample, Presence
from tests.unit.fake_clock import VirtualClock
from tests.unit.fake_proxy import FakeProxy, Harm

SAMPLE_S = 0.5
RTT_EVERY_S = 1.0
USUAL_RTT_MS = 2.0
USUAL_TRANSIT_MS = 10.0
A_SECOND = 50


class FakeCrowd:
    """Everybody is joined in room 1 of `node`, except those in `away`.

    `closes_ear`: a participant that lost its signalling closes its media socket, so that its
    counters stand still. `deaf`: commands are accepted and change nothing.
    """

    def __init__(
        self,
        crowd: Crowd,
        proxy: FakeProxy,
        clock: VirtualClock,
        *,
        node: str = "room-a",
        report_lag_s: float = 0.1,
    ) -> None:
        self._crowd, self._proxy, self._clock = crowd, proxy, clock
        self.node = node
        self.report_lag_s = report_lag_s
        self.away: set[int] = set()
        self.muted: set[int] = set()
        self.closes_ear = False
        self.deaf = False
        self.extra_losses: list[Loss] = []
        self.quiet_from_s = float("inf")
        """From then on nobody asks for anything over TCP."""
        self.counts: dict[str, float] = {}
        self.codes: dict[int, int] = {}
        self.failing: set[str] = set()
        self.commands: list[tuple[str, tuple[int, ...], float]] = []

    # --- facts

    def presence(self) -> Mapping[int, Presence]:
        return {
            k: Presence(
                participant=k,
                state="away" if k in self.away else "joined",
                room=1,
                node=self.node,
                generation=1,
                attempts=1,
            )
            for group in self._crowd.groups
            for k in group.members()
        }

    def losses(self, *, since_s: float) -> Sequence[Loss]:
        found = []
        for harm in self._proxy.harms:
            noticed_s = harm.from_s + 0.01
            if harm.toxic is not None or not since_s <= noticed_s <= self._told_s():
                continue
            group, plane, service = harm.link.split(".")
            if plane == "media" or (plane == "signal" and service != self.node):
                continue
            found += [
                Loss(at_s=noticed_s, participant=k, link=harm.link, why="reset")
                for k in self._here(group)
            ]
        return [*found, *(x for x in self.extra_losses if since_s <= x.at_s <= self._told_s())]

    def net(self, participant: int, *, since_s: float = float("-inf")) -> Sequence[NetSample]:
        link = f"{self._crowd.group_of(participant).name}.media.{self.node}"
        samples, received, missing = [], 0, 0
        moments = [i * SAMPLE_S for i in range(int(self._told_s() / SAMPLE_S) + 1)]
        lost_s = self._session_lost_s(participant)
        for before_s, at_s in pairwise([-SAMPLE_S, *moments]):
            due = round((at_s - before_s) * A_SECOND)
            if self.closes_ear and lost_s is not None and at_s > lost_s:
                due = 0
            harms = [h for h in self._proxy.harms if h.link == link and h.covers(at_s)]
            lost = _lost(harms, due, participant)
            cut = any(_is_cut(h) for h in harms)
            received += 0 if cut else due - lost
            missing += 0 if cut else lost
            samples.append(
                NetSample(
                    at_s=at_s,
                    received=received,
                    missing=missing,
                    late=0,
                    sent=0,
                    transit_ms=USUAL_TRANSIT_MS + _delay_ms(harms, "downstream"),
                )
            )
        return [sample for sample in samples if sample.at_s >= since_s]

    def rtt_ms(self, link: str) -> Sequence[tuple[float, float]]:
        found = []
        for i in range(int(self._told_s() / RTT_EVERY_S) + 1):
            at_s = i * RTT_EVERY_S
            harms = [h for h in self._proxy.harms if h.link == link and h.covers(at_s)]
            quiet = at_s >= self.quiet_from_s
            if quiet or any(_is_cut(h) for h in harms) or not self._here(link.split(".")[0]):
                continue
            delay_ms = _delay_ms(harms, "upstream") + _delay_ms(harms, "downstream")
            found.append((at_s, USUAL_RTT_MS + delay_ms))
        return found

    def hearing(self, participant: int) -> int:
        return self.codes.get(participant, 1)

    def count(self, name: str) -> float:
        return self.counts[name]

    # --- control

    async def set_mute(self, participants: Sequence[int], muted: bool, *, ttl_s: float) -> None:
        self._command("mute" if muted else "unmute", participants, ttl_s)
        if not self.deaf:
            self.muted = self.muted | set(participants) if muted else self.muted - set(participants)

    async def leave(self, participants: Sequence[int], *, ttl_s: float) -> None:
        self._command("leave", participants, ttl_s)
        if not self.deaf:
            self.away |= set(participants)

    async def rejoin(self, participants: Sequence[int]) -> None:
        self._command("rejoin", participants, 0.0)
        self.away -= set(participants)

    async def set_mic(self, participants: Sequence[int], mic: Mic, *, ttl_s: float) -> None:
        self._command(f"mic {mic}", participants, ttl_s)

    # --- eyes on the rooms

    async def participants(self, node: str, room: int) -> Mapping[int, bool]:
        if "participants" in self.failing:
            raise AdapterError(f"{node}: does not answer")
        if (node, room) != (self.node, 1):
            raise AdapterError(f"{node}: no such room")
        return {k: k in self.muted for g in self._crowd.groups for k in self._here(g.name)}

    def _command(self, what: str, participants: Sequence[int], ttl_s: float) -> None:
        self.commands.append((what, tuple(participants), ttl_s))
        if what in self.failing:
            raise AdapterError("the shard does not answer")

    def _here(self, group: str) -> list[int]:
        found = next((g for g in self._crowd.groups if g.name == group), None)
        return [k for k in found.members() if k not in self.away] if found else []

    def _session_lost_s(self, participant: int) -> float | None:
        link = f"{self._crowd.group_of(participant).name}.signal.{self.node}"
        moments = [h.from_s for h in self._proxy.harms if h.link == link and h.toxic is None]
        return min(moments, default=None)

    def _told_s(self) -> float:
        return self._clock.now() - self.report_lag_s


def _is_cut(harm: Harm) -> bool:
    return harm.toxic is None or harm.toxic.type == "timeout"


def _lost(harms: Sequence[Harm], due: int, participant: int) -> int:
    """Deterministic loss, the same share of each sample, unequal between participants."""
    lost = 0.0
    for harm in harms:
        toxic = harm.toxic
        if toxic is None or toxic.type != "packet_loss" or toxic.stream != "downstream":
            continue
        a = toxic.attributes
        rate = a["loss_rate"] if "loss_rate" in a else a["p"] / (a["p"] + a["r"])
        lost += due * rate * (0.9 + 0.2 * (participant % 2))
    return min(due, round(lost))


def _delay_ms(harms: Sequence[Harm], stream: str) -> float:
    return sum(
        float(h.toxic.attributes["latency"])
        for h in harms
        if h.toxic is not None and h.toxic.type == "latency" and h.toxic.stream == stream
    )
