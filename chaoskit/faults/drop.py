"""Cuts links: live TCP connections are reset and new ones refused; UDP is discarded both ways."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.errors import AdapterError
from chaoskit.faults.protocol import Nothing, Preview, check_common, text_of, ttl_s
from chaoskit.faults.targets import Resolved, meant
from chaoskit.faults.witness import cut_effect, handle
from chaoskit.model import Effect, FaultSpec, LinkSpec, Target, TargetKind, Undo
from chaoskit.ports import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Cuts every targeted link until healed. A link that was cut before stays cut afterwards."""

    kind: ClassVar[str] = "drop"
    acts_on: ClassVar[TargetKind] = TargetKind.LINK
    needs: ClassVar[tuple[str, ...]] = ("proxy", "facts")
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
        count = len(resolved.links)
        return Preview(
            mechanism="by fault proxy (disable + reset)",
            undo=f"enable {count} link{'s' if count != 1 else ''}",
            proof="peers see the cut on every link in use",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note which links are up now and who uses them."""
        links = self._links(tools)
        states = await tools.need_proxy().links()
        missing = [link.name for link in links if link.name not in states]
        if missing:
            raise AdapterError(f"the fault proxy has no link {', '.join(missing)}")
        up = [link.name for link in links if states[link.name].enabled]
        return Undo(
            fault_id=self.fault_id, kind=self.kind, handle={**handle(links, tools), "up": up}
        )

    async def inject(self, tools: Tools) -> None:
        """Disable every link."""
        proxy = tools.need_proxy()
        for link in self._links(tools):
            await proxy.set_enabled(
                link.name, False, ttl_s=self.ttl_s, reset=link.transport == "tcp"
            )

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether every link that was up is down now."""
        states = await tools.need_proxy().links()
        up = text_of(undo.handle, "up")
        return bool(up) and not any(states[name].enabled for name in up)

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether every link that was up is up again."""
        states = await tools.need_proxy().links()
        return all(states[name].enabled for name in text_of(undo.handle, "up") if name in states)

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return which peers lost their connection or their datagrams."""
        return await cut_effect(undo, tools, at_once=True)

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Enable the links that were up before."""
        proxy = tools.need_proxy()
        states = await proxy.links()
        for name in text_of(undo.handle, "up"):
            if name in states and not states[name].enabled:
                await proxy.set_enabled(name, True)

    def _links(self, tools: Tools) -> tuple[LinkSpec, ...]:
        return meant(self.target, tools).links
