"""Swallows everything on links: connections stay open and nothing comes through."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.faults import toxics
from chaoskit.faults.protocol import Nothing, Preview, check_common, share_note, ttl_s
from chaoskit.faults.targets import Resolved, meant
from chaoskit.faults.witness import cut_effect, handle
from chaoskit.model import Effect, FaultSpec, LinkSpec, Target, TargetKind, Undo
from chaoskit.ports import Tools

_STREAMS = ("upstream", "downstream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackhole:
    """Discards both directions of every targeted link; healing closes its TCP connections."""

    kind: ClassVar[str] = "blackhole"
    acts_on: ClassVar[TargetKind] = TargetKind.LINK
    needs: ClassVar[tuple[str, ...]] = ("proxy", "facts")
    exclusive: ClassVar[bool] = False
    divisible: ClassVar[bool] = True
    lasting: ClassVar[bool] = True
    params: ClassVar[type] = Nothing

    fault_id: str
    target: Target
    share: float | None
    ttl_s: float

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault. Raises ParamError."""
        check_common(cls, spec)
        return cls(fault_id=spec.id, target=spec.target, share=spec.share, ttl_s=ttl_s(spec))

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words."""
        return Preview(
            mechanism=f"by fault proxy (timeout toxic, both directions){share_note(self.share)}",
            undo=f"remove {2 * len(resolved.links)} toxics",
            proof="peers see no datagram and no answer on every link in use",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note who uses the links, and the names that the toxics will have."""
        names = [toxics.toxic_name(self.fault_id, s) for s in _STREAMS]
        found = {**handle(self._links(tools), tools), "toxics": names, "share": self.share}
        return Undo(fault_id=self.fault_id, kind=self.kind, handle=found)

    async def inject(self, tools: Tools) -> None:
        """Add a `timeout` toxic of 0 to both directions of every link."""
        await toxics.add(
            self.fault_id,
            self._links(tools),
            tools,
            type_="timeout",
            attributes={"timeout": 0},
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
        """Return which peers get no datagram and no answer any more."""
        return await cut_effect(undo, tools, at_once=False)

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Remove the toxics."""
        await toxics.remove(undo, tools)

    def _links(self, tools: Tools) -> tuple[LinkSpec, ...]:
        return meant(self.target, tools).links
