"""Delays everything on links, in both directions or only towards the participants."""

from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import ClassVar, Self

from chaoskit.faults import toxics
from chaoskit.faults.protocol import (
    Milliseconds,
    ParamError,
    Preview,
    check_common,
    read_params,
    share_note,
    ttl_s,
)
from chaoskit.faults.targets import Resolved, meant
from chaoskit.faults.witness import Tally, at_s, handle, report, uses_of
from chaoskit.model import Effect, FaultSpec, LinkSpec, Plane, Target, TargetKind, Undo
from chaoskit.ports import Tools


class Direction(StrEnum):
    """Which way is touched. Upstream alone is not offered: the participant could not witness it."""

    BOTH = "both"
    DOWNSTREAM = "downstream"

    def streams(self) -> tuple[str, ...]:
        """Return the streams of a toxic."""
        return ("upstream", "downstream") if self is Direction.BOTH else ("downstream",)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyParams:
    """`latency_ms` is added to each direction that is touched, give or take `jitter_ms`."""

    latency_ms: Milliseconds
    jitter_ms: Milliseconds = 0.0
    direction: Direction = Direction.BOTH

    def __post_init__(self) -> None:
        """Raise ParamError when the delay is nothing or the jitter exceeds it."""
        if self.latency_ms < 1.0:
            raise ParamError("a latency below 1ms is nothing", "latency_ms")
        if not 0.0 <= self.jitter_ms <= self.latency_ms:
            raise ParamError("jitter must not exceed the latency", "jitter_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Delays every chunk or datagram of the targeted links; never drops one."""

    kind: ClassVar[str] = "latency"
    acts_on: ClassVar[TargetKind] = TargetKind.LINK
    needs: ClassVar[tuple[str, ...]] = ("proxy", "facts")
    exclusive: ClassVar[bool] = False
    divisible: ClassVar[bool] = True
    lasting: ClassVar[bool] = True
    params: ClassVar[type] = LatencyParams

    fault_id: str
    target: Target
    share: float | None
    ttl_s: float
    asked: LatencyParams

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault. Raises ParamError."""
        check_common(cls, spec)
        return cls(
            fault_id=spec.id,
            target=spec.target,
            share=spec.share,
            ttl_s=ttl_s(spec),
            asked=read_params(LatencyParams, spec),
        )

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words."""
        jitter = f" ± {self.asked.jitter_ms:g} ms" if self.asked.jitter_ms else ""
        way = "each way" if self.asked.direction is Direction.BOTH else "downstream"
        count = len(resolved.links) * len(self.asked.direction.streams())
        return Preview(
            mechanism=f"by fault proxy (latency {self.asked.latency_ms:g} ms{jitter} {way})"
            + share_note(self.share),
            undo=f"remove {count} toxics",
            proof="peers see datagrams and answers come later, by half of it at least",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note how late things come now, and the names that the toxics will have."""
        streams = self.asked.direction.streams()
        found = {
            **handle(self._links(tools), tools),
            "toxics": [toxics.toxic_name(self.fault_id, s) for s in streams],
            "share": self.share,
            "latency_ms": self.asked.latency_ms,
            "ways": len(streams),
        }
        return Undo(fault_id=self.fault_id, kind=self.kind, handle=found)

    async def inject(self, tools: Tools) -> None:
        """Add the latency toxics to every link."""
        await toxics.add(
            self.fault_id,
            self._links(tools),
            tools,
            type_="latency",
            attributes={
                "latency": round(self.asked.latency_ms),
                "jitter": round(self.asked.jitter_ms),
            },
            streams=self.asked.direction.streams(),
            share=self.share,
            ttl_s=self.ttl_s,
        )

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether the toxics are in place."""
        return await toxics.are_present(undo, tools)

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether the toxics are gone."""
        return await toxics.are_gone(undo, tools)

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return which peers see datagrams (one way) or answers (round trip) come later."""
        facts, since, now = tools.need_facts(), at_s(undo), tools.clock.now()
        one_way_ms = float(undo.handle["latency_ms"])
        round_trip_ms = one_way_ms * int(undo.handle["ways"])
        tally, rises = Tally(), list[float]()
        for use in uses_of(undo):
            if use.plane == Plane.MEDIA:
                for k, usual_ms in zip(use.users, use.transit_ms, strict=True):
                    samples = facts.net(k, since_s=since)
                    rise_ms = max((s.transit_ms - usual_ms for s in samples), default=0.0)
                    rises.append(rise_ms)
                    late = next(
                        (s.at_s for s in samples if s.transit_ms - usual_ms >= one_way_ms / 2),
                        None,
                    )
                    tally.add(late, due=len(samples) >= 2)
                continue
            if use.rtt_ms is None or use.every_s is None:
                continue
            answers = [(t, ms) for t, ms in facts.rtt_ms(use.link) if t >= since]
            rise_ms = median([ms for _, ms in answers]) - use.rtt_ms if answers else 0.0
            rises.append(rise_ms)
            seen_s = answers[0][0] if answers and rise_ms >= round_trip_ms / 2 else None
            # The first answer may belong to a request from before the fault.
            waited = now - since >= 2 * use.every_s + round_trip_ms / 1000
            tally.add(seen_s, due=len(answers) >= 2 or waited)
        measures = {"rise_ms_median": median(rises) if rises else 0.0, "asked_ms": one_way_ms}
        return await report(undo, tools, tally, measures, undo.handle.get("share"))

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Remove the toxics."""
        await toxics.remove(undo, tools)

    def _links(self, tools: Tools) -> tuple[LinkSpec, ...]:
        return meant(self.target, tools).links
