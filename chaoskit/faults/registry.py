"""All fault kinds by name."""

from chaoskit.faults.blackhole import Blackhole
from chaoskit.faults.drop import Drop
from chaoskit.faults.kill import Kill
from chaoskit.faults.latency import Latency
from chaoskit.faults.leave import Leave
from chaoskit.faults.loss import Loss
from chaoskit.faults.mute import Mute
from chaoskit.faults.pause import Pause
from chaoskit.faults.protocol import Fault, ParamError
from chaoskit.model import FaultSpec, Undo
from chaoskit.ports import Tools

_CLASSES: tuple[type[Fault], ...] = (Drop, Blackhole, Latency, Loss, Kill, Pause, Mute, Leave)
_BY_KIND = {cls.kind: cls for cls in _CLASSES}
KINDS: tuple[str, ...] = tuple(_BY_KIND)
"""Every kind, links first, then services, then participants."""


def fault_class(kind: str) -> type[Fault]:
    """Return the class of a kind. Raises KeyError for an unknown one."""
    return _BY_KIND[kind]


def parse_fault(spec: FaultSpec) -> Fault:
    """Return the fault that `spec` describes. Raises ParamError."""
    try:
        cls = fault_class(spec.kind)
    except KeyError:
        raise ParamError(f'unknown fault kind "{spec.kind}"') from None
    return cls.parse(spec)


async def heal(undo: Undo, tools: Tools) -> bool:
    """Heal one fault from its undo alone and return whether the read-back confirms it.

    Idempotent; works in any process that has the ports. Raises AdapterError, PlanRefused.
    """
    cls = fault_class(undo.kind)
    await cls.heal(undo, tools)
    return await cls.is_healed(undo, tools)
