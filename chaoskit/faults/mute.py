"""Mutes participants at the room server, as their own button does."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.faults.protocol import Nothing, Preview, check_common, ttl_s
from chaoskit.faults.seats import listed, seats
from chaoskit.faults.targets import Resolved, meant
from chaoskit.model import Effect, FaultSpec, Target, TargetKind, Undo
from chaoskit.ports import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Mutes every targeted participant until healed; those muted before stay muted afterwards."""

    kind: ClassVar[str] = "mute"
    acts_on: ClassVar[TargetKind] = TargetKind.PARTICIPANTS
    needs: ClassVar[tuple[str, ...]] = ("control", "facts", "observer")
    exclusive: ClassVar[bool] = True
    divisible: ClassVar[bool] = False
    lasting: ClassVar[bool] = True
    params: ClassVar[type] = Nothing

    fault_id: str
    target: Target
    ttl_s: float

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault. Raises ParamError."""
        check_common(cls, spec)
        return cls(fault_id=spec.id, target=spec.target, ttl_s=ttl_s(spec))

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words."""
        return Preview(
            mechanism="by crowd (the client mutes itself)",
            undo=f"unmute {len(resolved.participants)} participants",
            proof="the room's participant list shows them muted",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note who is in a room now, and who of them can be heard."""
        people = self._participants(tools)
        where = seats(people, tools)
        now = await listed(where, tools)
        audible = [k for k in people if now.get(k) is False]
        handle = {"at_s": tools.clock.now(), "seats": where, "audible": audible}
        return Undo(fault_id=self.fault_id, kind=self.kind, handle=handle)

    async def inject(self, tools: Tools) -> None:
        """Tell the clients."""
        await tools.need_control().set_mute(self._participants(tools), True, ttl_s=self.ttl_s)

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether everybody who could be heard is listed as muted, or not at all."""
        now = await listed(undo.handle["seats"], tools)
        audible = undo.handle["audible"]
        return bool(audible) and all(now.get(k, True) for k in audible)

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether nobody who could be heard is listed as muted where they are now."""
        audible = list(undo.handle["audible"])
        now = await listed(seats(audible, tools), tools)
        return not any(now.get(k, False) for k in audible)

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return who of the audible is listed as muted by the room server."""
        now = await listed(undo.handle["seats"], tools)
        audible = undo.handle["audible"]
        muted = sum(now.get(k) is True for k in audible)
        return Effect(
            measures={"muted": float(muted)},
            witness="room observer (participant list)",
            affected=muted,
            targeted=len(audible),
            unit="participants",
        )

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Unmute those who could be heard before."""
        if undo.handle["audible"]:
            await tools.need_control().set_mute(list(undo.handle["audible"]), False, ttl_s=0.0)

    def _participants(self, tools: Tools) -> tuple[int, ...]:
        return meant(self.target, tools).participants
