"""Loses datagrams at random on UDP links, one by one or in bursts (Gilbert-Elliott)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from chaoskit.faults import toxics
from chaoskit.faults.protocol import (
    Fraction,
    ParamError,
    Preview,
    check_common,
    read_params,
    refuse_transport,
    share_note,
    ttl_s,
)
from chaoskit.faults.targets import Resolved, meant
from chaoskit.faults.witness import Tally, at_s, handle, report, uses_of
from chaoskit.model import Effect, FaultSpec, LinkSpec, Target, TargetKind, Undo
from chaoskit.ports import NetSample, Tools

_STREAMS = ("upstream", "downstream")

PROFILES: dict[str, tuple[float, float]] = {
    "wifi_good": (1 / 200, 1 / 2),
    "wifi_lossy": (1 / 40, 1 / 2),
    "wifi_congested": (1 / 20, 1 / 2),
    "lte": (1 / 100, 1 / 2),
    "satellite": (1 / 100, 1 / 3),
    "congested_path": (1 / 20, 1 / 2),
    "burst4_10": (0.0278, 0.25),
}
"""Named (p, r): good→bad and bad→good per datagram, all lost while bad.

Source: str0m-netem's presets; `burst4_10` (10 % in bursts of 4) is our own. They are engineering
presets, not fits to traces, and only their loss is used here, neither their delay nor their rate.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParams:
    """One of `loss_rate` (each datagram by itself), `p` with `r`, or the name of a `profile`."""

    loss_rate: Fraction | None = None
    p: Fraction | None = None
    r: Fraction | None = None
    profile: str | None = None

    def __post_init__(self) -> None:
        """Raise ParamError unless exactly one model is given, with loss above 0."""
        burst = self.p is not None or self.r is not None
        given = [self.loss_rate is not None, burst, self.profile is not None]
        if sum(given) != 1:
            raise ParamError("loss needs one of: loss_rate; p and r; profile")
        if burst and (not self.p or not self.r):
            raise ParamError("p and r go together, both above 0", "p")
        if self.profile is not None and self.profile not in PROFILES:
            names = ", ".join(PROFILES)
            raise ParamError(f'unknown loss profile "{self.profile}"; known: {names}', "profile")
        if self.loss_rate == 0.0:
            raise ParamError("a loss rate of 0% is no fault", "loss_rate")

    def chain(self) -> tuple[float, float] | None:
        """Return (p, r) of the burst model, None for independent loss."""
        if self.profile is not None:
            return PROFILES[self.profile]
        return None if self.p is None or self.r is None else (self.p, self.r)

    def rate(self) -> float:
        """Return the long-run share of datagrams lost."""
        chain = self.chain()
        return chain[0] / (chain[0] + chain[1]) if chain else float(self.loss_rate or 0.0)

    def spread(self) -> float:
        """Return by how much bursts widen the variance of a count, 1.0 for independent loss.

        For a two-state chain with one-step correlation c = 1-p-r it is (1+c)/(1-c).
        """
        chain = self.chain()
        if chain is None:
            return 1.0
        return max(1.0, (2 - chain[0] - chain[1]) / (chain[0] + chain[1]))

    def attributes(self) -> dict[str, Any]:
        """Return the toxic's attributes."""
        chain = self.chain()
        return {"p": chain[0], "r": chain[1]} if chain else {"loss_rate": self.loss_rate}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Loses datagrams of the targeted UDP links in both directions. TCP links are refused."""

    kind: ClassVar[str] = "loss"
    acts_on: ClassVar[TargetKind] = TargetKind.LINK
    needs: ClassVar[tuple[str, ...]] = ("proxy", "facts")
    exclusive: ClassVar[bool] = False
    divisible: ClassVar[bool] = True
    lasting: ClassVar[bool] = True
    params: ClassVar[type] = LossParams

    fault_id: str
    target: Target
    share: float | None
    ttl_s: float
    asked: LossParams

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault. Raises ParamError."""
        check_common(cls, spec)
        return cls(
            fault_id=spec.id,
            target=spec.target,
            share=spec.share,
            ttl_s=ttl_s(spec),
            asked=read_params(LossParams, spec),
        )

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words. Raises PlanRefused for a TCP link."""
        # Bytes dropped from a TCP stream corrupt it; real loss over TCP is delay.
        instead = "loss over TCP is delay: name the media links, or use latency"
        refuse_transport(resolved, self.kind, "udp", instead)
        chain = self.asked.chain()
        bursts = f" in bursts of {1 / chain[1]:.1f}" if chain else ""
        return Preview(
            mechanism=f"by fault proxy (packet_loss {self.asked.rate():.2%}{bursts})"
            + share_note(self.share),
            undo=f"remove {2 * len(resolved.links)} toxics",
            proof="peers miss that share of RTP sequence numbers, half of it at least",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note who receives on the links, and the names that the toxics will have."""
        found = {
            **handle(self._links(tools), tools),
            "toxics": [toxics.toxic_name(self.fault_id, s) for s in _STREAMS],
            "share": self.share,
            "rate": self.asked.rate(),
            "spread": self.asked.spread(),
        }
        return Undo(fault_id=self.fault_id, kind=self.kind, handle=found)

    async def inject(self, tools: Tools) -> None:
        """Add the packet_loss toxics to every link."""
        await toxics.add(
            self.fault_id,
            self._links(tools),
            tools,
            type_="packet_loss",
            attributes=self.asked.attributes(),
            streams=_STREAMS,
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
        """Return whose RTP sequence numbers show the loss that was asked for."""
        facts, since = tools.need_facts(), at_s(undo)
        rate, spread = float(undo.handle["rate"]), float(undo.handle["spread"])
        tally, missing, expected = Tally(), 0, 0
        for use in uses_of(undo):
            for k in use.users:
                samples = facts.net(k, since_s=since)
                gone, sent = _counts(samples)
                missing, expected = missing + gone, expected + sent
                least = least_missing(sent, rate, spread)
                seen_s = samples[0].at_s if least is not None and gone >= least else None
                tally.add(seen_s, due=least is not None)
        share = missing / expected if expected else 0.0
        measures = {"loss_rate": share, "asked_rate": rate, "datagrams": float(expected)}
        return await report(undo, tools, tally, measures, undo.handle.get("share"))

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Remove the toxics."""
        await toxics.remove(undo, tools)

    def _links(self, tools: Tools) -> tuple[LinkSpec, ...]:
        return meant(self.target, tools).links


def least_missing(sent: int, rate: float, spread: float = 1.0) -> float | None:
    """Return how many of `sent` datagrams must be missing to show a loss of `rate`.

    Half of what was asked, or two standard deviations below it where that is less, never below one.
    None while fewer than three losses are to be expected: too early to tell.
    """
    if sent * rate < 3.0:
        return None
    low = sent * rate - 2 * math.sqrt(sent * rate * (1 - rate) * spread)
    return max(1.0, min(sent * rate / 2, low))


def _counts(samples: Sequence[NetSample]) -> tuple[int, int]:
    """Return (missing, due) datagrams between the first and the last sample."""
    if len(samples) < 2:
        return 0, 0
    missing = max(0, samples[-1].missing - samples[0].missing)
    received = samples[-1].received - samples[0].received
    return missing, missing + received
