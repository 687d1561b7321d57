"""Ends services with a signal; healing starts them again on their old ports."""

import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from chaoskit.faults.protocol import Preview, check_common, read_params
from chaoskit.faults.targets import Resolved, meant
from chaoskit.model import Effect, FaultSpec, Target, TargetKind, Undo
from chaoskit.ports import Tools


class EndingSignal(StrEnum):
    """Signals that end a process."""

    KILL = "KILL"
    TERM = "TERM"
    INT = "INT"
    QUIT = "QUIT"
    ABRT = "ABRT"

    def number(self) -> int:
        """Return the signal's number."""
        return int(signal.Signals[f"SIG{self}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class KillParams:
    """`signal`: without the prefix SIG."""

    signal: EndingSignal = EndingSignal.KILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Ends every targeted service; what it held in memory is lost."""

    kind: ClassVar[str] = "kill"
    acts_on: ClassVar[TargetKind] = TargetKind.SERVICE
    needs: ClassVar[tuple[str, ...]] = ("services",)
    exclusive: ClassVar[bool] = True
    divisible: ClassVar[bool] = False
    lasting: ClassVar[bool] = False
    params: ClassVar[type] = KillParams

    fault_id: str
    target: Target
    asked: KillParams

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault. Raises ParamError."""
        check_common(cls, spec)
        return cls(fault_id=spec.id, target=spec.target, asked=read_params(KillParams, spec))

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words."""
        return Preview(
            mechanism=f"by runtime (SIG{self.asked.signal} through the process's pidfd)",
            undo=f"start {', '.join(resolved.services)} again",
            proof="the kernel reports the process as exited",
        )

    async def prepare(self, tools: Tools) -> Undo:
        """Note which services run now, with their process ids."""
        services = tools.need_services()
        running = {}
        for name in self._services(tools):
            status = await services.status(name)
            if status.state != "exited":
                running[name] = status.pid
        return Undo(fault_id=self.fault_id, kind=self.kind, handle={"running": running})

    async def inject(self, tools: Tools) -> None:
        """Send the signal."""
        services = tools.need_services()
        for name in self._services(tools):
            if (await services.status(name)).state != "exited":
                await services.signal(name, self.asked.signal.number())

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether every service that ran before has exited and was not started again."""
        services, running = tools.need_services(), undo.handle["running"]
        states = [(await services.status(name)).state for name in running]
        return bool(states) and all(state == "exited" for state in states)

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether every service that ran before runs."""
        services = tools.need_services()
        states = [(await services.status(name)).state for name in undo.handle["running"]]
        return all(state == "running" for state in states)

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return which of the processes the kernel reports as gone."""
        gone = await _gone(undo, tools)
        return Effect(
            measures={"exited": float(len(gone))},
            witness="kernel (process status)",
            affected=len(gone),
            targeted=len(undo.handle["running"]),
            unit="services",
        )

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Start again those that have exited and ran before."""
        services = tools.need_services()
        for name in undo.handle["running"]:
            if (await services.status(name)).state == "exited":
                await services.restart(name)

    def _services(self, tools: Tools) -> tuple[str, ...]:
        return meant(self.target, tools).services


async def _gone(undo: Undo, tools: Tools) -> list[str]:
    services, gone = tools.need_services(), []
    for name, pid in undo.handle["running"].items():
        status = await services.status(name)
        if status.state == "exited" or status.pid != pid:
            gone.append(name)
    return gone
