"""Reads what the crowd reports: followed live for triggers and proofs, loaded whole for judging."""

import bisect
import operator
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.audio.listening import ABSENT, CONCEALED, VOICE_BITS
from chaoskit.checks.canary_group import CANARY
from chaoskit.errors import InvalidInput
from chaoskit.model import Crowd, Group
from chaoskit.ports import Loss, NetSample, Presence
from chaoskit.wire import facts as wire
from chaoskit.wire.facts import Fact, decode_fact

_READ_BYTES = 1 << 20
# Not needed live and by far the largest lines.
_SKIPPED = (b'{"k":"heard"', b'{"k":"sent"')
_OUT_OF_ORDER_S = 5.0
_STATES = ("away", "trying", "joined", "gone")
LISTENERS = "listeners"
"""Scope of all whose role is listener."""
_LISTENER = "listener"
_COMES_BACK = frozenset({"moved", "lost"})


def _scopes_of(group: Group, crowd: Crowd) -> tuple[str, ...]:
    """Return the scopes that members of `group` are counted in.

    A group's name means that group alone, though another's role be called the same; only
    `listeners` is a role whatever groups are called.
    """
    if group.role == CANARY:
        return (group.name,)
    names = {g.name for g in crowd.groups}
    roles = {group.role, f"{group.role}s"} - names
    own = {group.name} | roles
    if group.role == _LISTENER:
        own.add(LISTENERS)
    elif group.name == LISTENERS:
        own.discard(LISTENERS)
    return ("crowd", *sorted(own))


def hears_voice(code: int) -> bool:
    """Return whether an ear with this code hears the voice of at least one speaker."""
    return code < CONCEALED and code & VOICE_BITS != 0


@dataclass(slots=True, kw_only=True)
class ShardView:
    """What is known of one shard. `judged_slot`: ears are judged up to it; `stopped`: as planned.

    `lag_ms` is the largest loop lag so far; `unjudged` and `sentinel_missing` are sums; `marked_s`
    is the run time of the last mark.
    """

    shard: str
    pid: int
    participants: tuple[int, ...]
    judged_slot: int = 0
    marked_s: float = 0.0
    lag_ms: float = 0.0
    unjudged: int = 0
    sentinel_missing: int = 0
    stopped: bool = False


class FactTail:
    """The crowd's latest state, from facts files that are still growing (implements CrowdFacts).

    `poll` takes in what was written since; all else answers from memory. A line that is not whole
    yet is kept for the next poll. `unreadable` counts whole lines that were no facts.
    """

    def __init__(self, folder: Path, crowd: Crowd, *, origin_s: float) -> None:
        """Follow facts-*.jsonl in `folder`; `origin_s` is the monotonic stamp of run time 0."""
        self._folder = folder
        self._origin_s = origin_s
        self._group_of = {k: group.name for group in crowd.groups for k in group.members()}
        self._scopes = {group.name: _scopes_of(group, crowd) for group in crowd.groups}
        self._files: dict[str, _GrowingFile] = {}
        self._presence = {k: Presence(participant=k, state="away") for k in self._group_of}
        self._ears: dict[int, int] = {}
        self._losses: list[Loss] = []
        self._net: list[_NetFact] = []
        self._places: dict[tuple[int, ...], Mapping[int, int]] = {}
        self._round_trips: dict[str, list[tuple[float, float]]] = {}
        self._shards: dict[str, ShardView] = {}
        self._counts: dict[str, int] | None = None
        self.unreadable = 0

    def poll(self) -> int:
        """Take in all whole lines written since the last poll; return how many."""
        taken = 0
        for name in self._new_files():
            self._files[name] = _GrowingFile(self._folder / name)
        for file in self._files.values():
            for line in file.new_lines():
                taken += 1
                if not line.startswith(_SKIPPED):
                    self._take(line)
        if taken:
            self._counts = None
        return taken

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def shards(self) -> Mapping[str, ShardView]:
        """Return what is known of each shard by its name."""
        return self._shards

    def presence(self) -> Mapping[int, Presence]:
        """Return the latest presence by participant."""
        return self._presence

    def losses(self, *, since_s: float) -> Sequence[Loss]:
        """Return losses and failed connections noticed at or after run time `since_s`, in order."""
        return self._losses[bisect.bisect_left(self._losses, since_s, key=_loss_at) :]

    def net(self, participant: int, *, since_s: float = float("-inf")) -> Sequence[NetSample]:
        """Return the media samples of a participant taken at or after `since_s`, oldest first."""
        # A proof asks for hundreds of participants four times a second: look at the end alone.
        # Facts of several shards are in order by shard only, hence the margin.
        found: list[NetSample] = []
        for fact in reversed(self._net):
            if fact.at_s < since_s - _OUT_OF_ORDER_S:
                break
            sample = fact.sample(participant)
            if sample is not None and sample.at_s >= since_s:
                found.append(sample)
        found.reverse()
        return found

    def rtt_ms(self, link: str) -> Sequence[tuple[float, float]]:
        """Return (run time, round trip in ms) samples seen on a TCP link."""
        return self._round_trips.get(link, ())

    def hearing(self, participant: int) -> int:
        """Return the ear code of the participant's last judged slot; ABSENT before the first."""
        return self._ears.get(participant, ABSENT)

    def count(self, name: str) -> float:
        """Return how many are away, trying, joined, gone or hearing: `<scope>.<state>`.

        A scope is a group, a role (`owner` or `owners`), or `crowd`: all but canaries, who are
        counted as `canary` alone. `listeners` is always everybody whose role is listener, however
        the groups are called. Also `present` (joined or trying) and `attempts` (a sum). Raises
        KeyError for another name.
        """
        if self._counts is None:
            self._counts = self._count_all()
        return float(self._counts[name])

    def _new_files(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name.startswith("facts-")
                and entry.name.endswith(".jsonl")
                and entry.name not in self._files
            )

    def _count_all(self) -> dict[str, int]:
        facets = (*_STATES, "hearing", "present", "attempts")
        scopes = {"crowd", LISTENERS}.union(*self._scopes.values())
        counts = {f"{scope}.{facet}": 0 for scope in scopes for facet in facets}
        for k, presence in self._presence.items():
            for scope in self._scopes[self._group_of[k]]:
                counts[f"{scope}.{presence.state}"] += 1
                counts[f"{scope}.present"] += presence.state in ("trying", "joined")
                counts[f"{scope}.hearing"] += hears_voice(self._ears.get(k, ABSENT))
                counts[f"{scope}.attempts"] += presence.attempts
        return counts

    def _take(self, line: bytes) -> None:
        try:
            fact = decode_fact(line)
        except ValueError:
            self.unreadable += 1
            return
        match fact:
            case wire.Ear():
                self._ears[fact.p] = fact.c
            case wire.Attempt():
                self._set_state(fact.p, "trying", attempts=fact.n)
            case wire.Joined():
                self._set_joined(fact)
            case wire.Left():
                self._set_state(fact.p, "trying" if fact.why in _COMES_BACK else "gone")
            case wire.Lost() | wire.ConnectFailed():
                self._take_loss(fact)
            case wire.Net():
                place = self._place_of(tuple(fact.p))
                self._net.append(_NetFact(fact, at_s=self._run_time(fact), place=place))
            case wire.RoundTrip():
                samples = self._round_trips.setdefault(fact.link, [])
                samples.append((self._run_time(fact), fact.ms))
            case wire.Mark():
                self._take_mark(fact)
            case wire.ShardStarted():
                self._shards[fact.shard] = ShardView(
                    shard=fact.shard, pid=fact.pid, participants=tuple(fact.participants)
                )
            case wire.ShardStopped():
                if fact.shard in self._shards:
                    self._shards[fact.shard].stopped = True
            case _:
                pass

    def _run_time(self, fact: Fact) -> float:
        return fact.t - self._origin_s

    def _place_of(self, participants: tuple[int, ...]) -> Mapping[int, int]:
        # A shard names the same participants every second: share the map.
        place = self._places.get(participants)
        if place is None:
            place = self._places[participants] = {k: i for i, k in enumerate(participants)}
        return place

    def _set_state(self, participant: int, state: str, *, attempts: int | None = None) -> None:
        """Canaries and sentinels are no members of the crowd: they have no presence."""
        old = self._presence.get(participant)
        if old is None:
            return
        self._presence[participant] = Presence(
            participant=participant,
            state=state,
            room=old.room,
            node=old.node,
            generation=old.generation,
            attempts=old.attempts if attempts is None else attempts,
        )

    def _set_joined(self, fact: wire.Joined) -> None:
        old = self._presence.get(fact.p)
        if old is None:
            return
        self._presence[fact.p] = Presence(
            participant=fact.p,
            state="joined",
            room=fact.room,
            node=fact.node,
            generation=fact.generation,
            attempts=old.attempts,
        )

    def _take_loss(self, fact: wire.Lost | wire.ConnectFailed) -> None:
        loss = Loss(at_s=self._run_time(fact), participant=fact.p, link=fact.link, why=fact.why)
        # Shards are read one after the other: their facts arrive nearly in order, not quite.
        bisect.insort(self._losses, loss, key=_loss_at)
        old = self._presence.get(fact.p)
        if (
            isinstance(fact, wire.Lost)
            and fact.plane != "api"
            and old is not None
            and old.state == "joined"
        ):
            self._set_state(fact.p, "trying")

    def _take_mark(self, fact: wire.Mark) -> None:
        view = self._shards.get(fact.shard)
        if view is None:
            return
        view.judged_slot = fact.s
        view.marked_s = self._run_time(fact)
        view.lag_ms = max(view.lag_ms, fact.lag_ms)
        view.unjudged += fact.unjudged
        view.sentinel_missing += fact.sentinel_missing


_loss_at = operator.attrgetter("at_s")


class _NetFact:
    """One Net fact, packed: a run of an hour keeps some millions of numbers."""

    __slots__ = ("_late", "_missing", "_place", "_received", "_sent", "_transit_ms", "at_s")

    def __init__(self, fact: wire.Net, *, at_s: float, place: Mapping[int, int]) -> None:
        """Pack `fact`; `place` maps a participant to its place in the lists."""
        self.at_s = at_s
        self._place = place
        self._received = array("q", fact.received)
        self._missing = array("q", fact.missing)
        self._late = array("q", fact.late)
        self._sent = array("q", fact.sent)
        self._transit_ms = array("d", fact.transit_ms)

    def sample(self, participant: int) -> NetSample | None:
        i = self._place.get(participant)
        if i is None:
            return None
        return NetSample(
            at_s=self.at_s,
            received=self._received[i],
            missing=self._missing[i],
            late=self._late[i],
            sent=self._sent[i],
            transit_ms=self._transit_ms[i],
        )


class _GrowingFile:
    """Whole lines of a file that somebody else appends to."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""

    def new_lines(self) -> Iterator[bytes]:
        while data := os.read(self._fd, _READ_BYTES):
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from lines

    def close(self) -> None:
        os.close(self._fd)


def load_facts(folder: Path) -> list[Fact]:
    """Return all facts of a run in order of their stamps; a torn last line of a file is left out.

    Raises InvalidInput for a line that is no fact.
    """
    facts: list[Fact] = []
    for path in sorted(folder.glob("facts-*.jsonl")):
        facts.extend(_facts_of(path))
    # Stable: facts of one shard with equal stamps keep their order.
    facts.sort(key=operator.attrgetter("t"))
    return facts


def _facts_of(path: Path) -> Iterator[Fact]:
    *whole, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(whole, start=1):
        try:
            yield decode_fact(line)
        except ValueError as error:
            raise InvalidInput(f"{path}:{number}: {error}") from error
