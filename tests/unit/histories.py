"""Builds hand-made runs: who joined when, what ears heard, which fault hit; nothing is started."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from chaoskit.checks.history import History
from chaoskit.model import (
    SLOT_S,
    At,
    CheckSpec,
    Crowd,
    Effect,
    Event,
    Experiment,
    FaultActive,
    FaultEffect,
    FaultHealed,
    FaultInjecting,
    FaultSpec,
    Group,
    Hypothesis,
    MicCue,
    Profile,
    RunEnded,
    RunStatus,
    Segment,
    Target,
    TargetKind,
    Undo,
)
from chaoskit.wire.facts import (
    Attempt,
    Ear,
    Fact,
    FirstFrame,
    Joined,
    Left,
    LookedUp,
    Lost,
    Mark,
    ShardStarted,
    ShardStopped,
    SignalUp,
)

ORIGIN_S = 1000.0
"""Monotonic stamp of run time 0 in every hand-made run."""
HOST, GUEST, OWNER, FIRST = 0, 1, 2, 10
"""Participant numbers; listeners begin at FIRST."""
HEARS_HOST, HEARS_GUEST = 1, 2
SENTINEL = 16001
"""The sentinel ear of the listeners' shard."""


class HandMade:
    """A run under construction: 1 host, 1 guest, 1 owner, some listeners; the host is on air.

    Unless `quiet`, everybody joins room 1 on room-a at 0.5 s and all listeners hear the host from
    1 s to the end. `ear_delay_s` is 0 so that times in tests are those that are written.
    """

    def __init__(
        self,
        *,
        listeners: int = 20,
        end_s: float = 60.0,
        programme: Sequence[Segment] | None = None,
        script: Sequence[MicCue] = (),
        faults: Sequence[FaultSpec] = (),
        quiet: bool = False,
        ear_delay_s: float = 0.0,
        **plan: Any,
    ) -> None:
        self.end_s = end_s
        self.ear_delay_s = ear_delay_s
        self.listeners = tuple(range(FIRST, FIRST + listeners))
        self.everyone = (HOST, GUEST, OWNER, *self.listeners)
        on_air = (Segment(from_s=1.0, until_s=end_s, speakers=("host",)),)
        self.experiment = Experiment(
            id="hand-made",
            title="A hand-made run",
            stack="embedded",
            crowd=Crowd(
                groups=(
                    Group(name="host", role="host", count=1, first=HOST, speaker=0),
                    Group(name="guest", role="guest", count=1, first=GUEST, speaker=1),
                    Group(name="owner", role="owner", count=1, first=OWNER, speaker=2),
                    Group(name="listeners", role="listener", count=listeners, first=FIRST),
                )
            ),
            profile=Profile(name="as-it-happened"),
            hypothesis=Hypothesis(title="", checks=()),
            programme=on_air if programme is None else tuple(programme),
            script=tuple(script),
            method=tuple(faults),
            gate_s=10.0,
            end_s=end_s,
            **plan,
        )
        self.facts: list[Fact] = []
        self.events: list[Event] = []
        slots = round(end_s / SLOT_S)
        self.codes = {k: np.full(slots, 255, dtype=np.uint8) for k in self.everyone}
        self.shards = {"crowd-speakers": (HOST, GUEST, OWNER), "crowd-listeners-0": self.listeners}
        self.died_s: dict[str, float] = {}
        self.sentinel = np.full(slots, 1, dtype=np.uint8)
        if not quiet:
            self.join(self.everyone, 0.5)
            self.hear(self.listeners, 0.5, end_s, 0)
            self.hear(self.listeners, 1.0, end_s, HEARS_HOST)

    @classmethod
    def of(cls, experiment: Experiment, *, ear_delay_s: float = 0.26) -> "HandMade":
        """Return an empty run of any experiment: nobody has joined, no ear hears."""
        run = cls.__new__(cls)
        run.experiment = experiment
        run.end_s = experiment.end_s
        run.ear_delay_s = ear_delay_s
        groups = experiment.crowd.groups
        run.listeners = tuple(k for g in groups if g.speaker is None for k in g.members())
        run.everyone = tuple(k for g in groups for k in g.members())
        run.facts, run.events = [], []
        slots = round(run.end_s / SLOT_S)
        run.codes = {k: np.full(slots, 255, dtype=np.uint8) for k in run.everyone}
        speakers = tuple(k for k in run.everyone if k not in run.listeners)
        run.shards = {"crowd-speakers": speakers, "crowd-listeners-0": run.listeners}
        run.died_s = {}
        run.sentinel = np.full(slots, 1, dtype=np.uint8)
        return run

    def join(
        self,
        who: Iterable[int],
        at_s: float,
        *,
        generation: int = 1,
        took_s: float = 0.0,
        why: str = "arrival",
    ) -> None:
        """Let participants try at `at_s` and be in the room of `generation` `took_s` later."""
        room, node = 1000 + generation, "room-a" if generation % 2 else "room-b"
        for k in who:
            tries = sum(1 for f in self.facts if isinstance(f, Attempt) and f.p == k)
            t = ORIGIN_S + at_s
            self.facts += [
                Attempt(t=t, p=k, n=tries + 1, why=why),
                LookedUp(t=t, p=k, room=room, node=node, generation=generation),
                SignalUp(t=t + took_s, p=k, node=node),
                Joined(t=t + took_s, p=k, room=room, node=node, generation=generation, rtp_port=9),
            ]

    def first_frame(self, who: Iterable[int], at_s: float, *, generation: int = 1) -> None:
        """Report the first decoded frame after a join."""
        for k in who:
            self.facts.append(
                FirstFrame(
                    t=ORIGIN_S + at_s,
                    p=k,
                    room=1000 + generation,
                    generation=generation,
                    band=0,
                )
            )

    def try_in_vain(self, who: Iterable[int], at_s: float) -> None:
        """Let participants begin a join that leads nowhere."""
        for k in who:
            self.facts.append(Attempt(t=ORIGIN_S + at_s, p=k, n=1, why="arrival"))

    def lose(
        self, who: Iterable[int], at_s: float, *, link: str, why: str, plane: str = "signal"
    ) -> None:
        """Let participants notice a loss and be out of the room."""
        for k in who:
            self.facts.append(
                Lost(t=ORIGIN_S + at_s, p=k, plane=plane, link=link, why=why, room=1001)
            )

    def leave(self, who: Iterable[int], at_s: float, why: str) -> None:
        """Let participants leave."""
        for k in who:
            self.facts.append(Left(t=ORIGIN_S + at_s, p=k, why=why))

    def fact(self, fact: Fact) -> None:
        """Add any fact; its `t` is monotonic."""
        self.facts.append(fact)

    def hear(self, who: Iterable[int], from_s: float, until_s: float, code: int) -> None:
        """Let ears hear `code` in [from_s, until_s)."""
        for k in who:
            self.codes[k][round(from_s / SLOT_S) : round(until_s / SLOT_S)] = code

    def inject(
        self,
        fault_id: str,
        effect_s: float,
        heal_s: float | None,
        *,
        affected: int = 3,
        targeted: int = 3,
        active: bool = True,
        confirmed: bool = True,
    ) -> None:
        """Report a fault's way: injected 0.1 s before its first effect, healed at `heal_s`."""
        undo = Undo(fault_id=fault_id, kind="drop", handle={})
        self.events += [
            FaultInjecting(
                at_s=effect_s - 0.1, fault_id=fault_id, kind="drop", target="host.*", undo=undo
            ),
            FaultActive(at_s=effect_s - 0.05, fault_id=fault_id, active=active),
            FaultEffect(
                at_s=effect_s + 1.0,
                fault_id=fault_id,
                effect=Effect(
                    measures={"connections_lost": 2.0},
                    witness="the crowd",
                    affected=affected,
                    targeted=targeted,
                    first_s=effect_s,
                ),
            ),
        ]
        if heal_s is not None:
            self.events.append(FaultHealed(at_s=heal_s, fault_id=fault_id, confirmed=confirmed))

    def history(self, **changes: Any) -> History:
        """Return the history; `changes` go to History.build."""
        facts = list(self.facts)
        for index, (name, members) in enumerate(self.shards.items()):
            until_s = self.died_s.get(name, self.end_s)
            end = ORIGIN_S + until_s
            facts.append(
                ShardStarted(
                    t=ORIGIN_S - 1,
                    version=1,
                    shard=name,
                    pid=1,
                    origin_s=ORIGIN_S,
                    participants=list(members),
                    sentinel=SENTINEL if name == "crowd-listeners-0" else -1,
                )
            )
            facts.append(
                Mark(
                    t=end,
                    shard=name,
                    s=round(until_s / SLOT_S),
                    lag_ms=3.0 + index,
                    unjudged=0,
                    sentinel_missing=0,
                )
            )
            if name not in self.died_s:
                facts.append(ShardStopped(t=end, shard=name))
        for k, row in {**self.codes, SENTINEL: self.sentinel}.items():
            steps = np.flatnonzero(np.diff(row, prepend=np.uint8(254)))
            facts += [
                Ear(t=ORIGIN_S + int(s) * SLOT_S, p=k, s=int(s), c=int(row[s])) for s in steps
            ]
        events = [*self.events, RunEnded(at_s=self.end_s, status=RunStatus.COMPLETED)]
        values: dict[str, Any] = {"origin_s": ORIGIN_S, "ear_delay_s": self.ear_delay_s} | changes
        return History.build(self.experiment, facts, events, **values)


def near(seconds: float) -> Any:
    """Return what equals `seconds` up to rounding, of a type that compares with anything."""
    return pytest.approx(seconds)


def drop(fault_id: str = "drop-host", *patterns: str, at_s: float = 20.0) -> FaultSpec:
    """Return a drop on links (default `host.*`) at `at_s`."""
    return FaultSpec(
        id=fault_id,
        kind="drop",
        target=Target(kind=TargetKind.LINK, patterns=patterns or ("host.*",)),
        trigger=At(at_s=at_s),
        duration_s=10.0,
    )


def check(kind: str, params: Mapping[str, Any] | None = None, **common: Any) -> CheckSpec:
    """Return a check called like its kind."""
    return CheckSpec(name=kind, kind=kind, params=params or {}, **common)
