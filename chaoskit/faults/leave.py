"""Makes participants leave and stay away; healing lets them come back."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.faults.protocol import Nothing, Preview, check_common, ttl_s
from chaoskit.faults.seats import listed, seats
from chaoskit.faults.targets import Resolved, meant
from chaoskit.model import Effect, FaultSpec, Target, TargetKind, Undo
from chaoskit.ports import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Every targeted participant leaves its room in good order and stays away until healed."""

    kind: ClassVar[str] = "leave"
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
            mechanism="by crowd (the client leaves and stays away)",
            undo=f"let {len(resolved.participants)} participants rejoin",
            proof="the room's participant list no longer shows them",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note who is in which room now, as the room servers list them."""
        people = self._participants(tools)
        where = seats(people, tools)
        now = await listed(where, tools)
        handle = {
            "at_s": tools.clock.now(),
            "seats": where,
            "present": [k for k in people if k in now],
            "people": list(people),
        }
        return Undo(fault_id=self.fault_id, kind=self.kind, handle=handle)

    async def inject(self, tools: Tools) -> None:
        """Tell the clients."""
        await tools.need_control().leave(self._participants(tools), ttl_s=self.ttl_s)

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether the crowd reports none of them as joined."""
        presence = tools.need_facts().presence()
        people = undo.handle["people"]
        return all(k not in presence or presence[k].state != "joined" for k in people)

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether everybody who was present is on the way back or in."""
        presence = tools.need_facts().presence()
        back = ("trying", "joined")
        return all(k in presence and presence[k].state in back for k in undo.handle["present"])

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return who of those present the room servers no longer list."""
        now = await listed(undo.handle["seats"], tools)
        present = undo.handle["present"]
        gone = sum(k not in now for k in present)
        return Effect(
            measures={"gone": float(gone)},
            witness="room observer (participant list)",
            affected=gone,
            targeted=len(present),
            unit="participants",
        )

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Let them rejoin."""
        await tools.need_control().rejoin(list(undo.handle["people"]))

    def _participants(self, tools: Tools) -> tuple[int, ...]:
        return meant(self.target, tools).participants
