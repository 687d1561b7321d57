"""Stops services where they are (SIGSTOP); healing lets them go on (SIGCONT)."""

import signal
from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.faults.protocol import Nothing, Preview, check_common
from chaoskit.faults.targets import Resolved, meant
from chaoskit.model import Effect, FaultSpec, Target, TargetKind, Undo
from chaoskit.ports import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Freezes every targeted service: sockets stay open, nothing is answered, nothing is lost."""

    kind: ClassVar[str] = "pause"
    acts_on: ClassVar[TargetKind] = TargetKind.SERVICE
    needs: ClassVar[tuple[str, ...]] = ("services",)
    exclusive: ClassVar[bool] = True
    divisible: ClassVar[bool] = False
    lasting: ClassVar[bool] = True
    params: ClassVar[type] = Nothing

    fault_id: str
    target: Target

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault. Raises ParamError."""
        check_common(cls, spec)
        return cls(fault_id=spec.id, target=spec.target)

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words."""
        return Preview(
            mechanism="by runtime (SIGSTOP through the process's pidfd)",
            undo=f"SIGCONT to {', '.join(resolved.services)}",
            proof="the kernel reports the process as stopped",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note which services run now; one that is stopped already stays stopped afterwards."""
        services, running = tools.need_services(), {}
        for name in self._services(tools):
            status = await services.status(name)
            if status.state == "running":
                running[name] = status.pid
        return Undo(fault_id=self.fault_id, kind=self.kind, handle={"running": running})

    async def inject(self, tools: Tools) -> None:
        """Send SIGSTOP."""
        services = tools.need_services()
        for name in self._services(tools):
            if (await services.status(name)).state == "running":
                await services.signal(name, int(signal.SIGSTOP))

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether every service that ran before is stopped."""
        stopped = await _stopped(undo, tools)
        return bool(stopped) and len(stopped) == len(undo.handle["running"])

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether none of them is stopped any more."""
        return not await _stopped(undo, tools)

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return which of the processes the kernel reports as stopped."""
        stopped = await _stopped(undo, tools)
        return Effect(
            measures={"stopped": float(len(stopped))},
            witness="kernel (process status)",
            affected=len(stopped),
            targeted=len(undo.handle["running"]),
            unit="services",
        )

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Send SIGCONT to those that are stopped and ran before."""
        for name in await _stopped(undo, tools):
            await tools.need_services().signal(name, int(signal.SIGCONT))

    def _services(self, tools: Tools) -> tuple[str, ...]:
        return meant(self.target, tools).services


async def _stopped(undo: Undo, tools: Tools) -> list[str]:
    services, stopped = tools.need_services(), []
    for name, pid in undo.handle["running"].items():
        status = await services.status(name)
        if status.state == "stopped" and status.pid == pid:
            stopped.append(name)
    return stopped
