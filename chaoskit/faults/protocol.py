"""What a fault is: six short methods, an undo that is data, and parameters declared once.

To add a kind: one file with a class that satisfies `Fault`, one line in `registry`.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar, get_args, get_origin
from typing import get_type_hints as _hints

from chaoskit.errors import PlanRefused
from chaoskit.faults.targets import Resolved
from chaoskit.model import Effect, FaultSpec, TargetKind, Undo
from chaoskit.ports import Tools

TTL_MARGIN_S = 2.0
"""So much later than planned a fault ends by itself when nobody healed it: late enough not to race
the engine, soon enough that a stopped engine hardly prolongs the fault."""
LONGEST_S = 600.0
"""A fault without a planned end ends by itself after this time (the engine always plans one)."""


class Quantity(StrEnum):
    """How a parameter is written in files; the field's name carries the unit of the value."""

    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    FRACTION = "fraction"


Milliseconds = Annotated[float, Quantity.MILLISECONDS]
Fraction = Annotated[float, Quantity.FRACTION]


class ParamError(ValueError):
    """A parameter of a fault is missing, unknown or out of range. `key`: its field name, or ""."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The parameters of a kind that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What `plan` prints of one fault: how it is done, how it is undone, who proves it."""

    mechanism: str
    undo: str
    proof: str


class Fault(Protocol):
    """One fault of one kind. Instances hold values only; what was found is kept in the undo.

    `acts_on`: what it targets. `needs`: ports of `Tools` without which it has no mechanism.
    `exclusive`: two of them cannot hold the same target at once. `divisible`: `share` may select a
    part of the clients. `lasting`: it must still be in place when it is healed (a killed service
    may be started by whoever watches over it). `params`: dataclass of its own parameters, from
    which files and the JSON Schema take their keys.
    """

    kind: ClassVar[str]
    acts_on: ClassVar[TargetKind]
    needs: ClassVar[tuple[str, ...]]
    exclusive: ClassVar[bool]
    divisible: ClassVar[bool]
    lasting: ClassVar[bool]
    params: ClassVar[type]

    @classmethod
    def parse(cls, spec: FaultSpec) -> Self:
        """Return the fault that `spec` describes. Raises ParamError before anything is touched."""

    def preview(self, resolved: Resolved) -> Preview:
        """Return the plan's words. Raises PlanRefused when a target offers no mechanism."""

    async def prepare(self, tools: Tools) -> Undo:
        """Return how to heal it, prior state included. Reads only.

        Raises PlanRefused, AdapterError.
        """

    async def inject(self, tools: Tools) -> None:
        """Do it. The undo is on disk by now. Raises AdapterError."""

    @classmethod
    async def is_active(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether all of the fault is in place, read back from where it was written."""

    @classmethod
    async def is_healed(cls, undo: Undo, tools: Tools) -> bool:
        """Return whether nothing of the fault is left, read back likewise."""

    @classmethod
    async def effect(cls, undo: Undo, tools: Tools) -> Effect:
        """Return what somebody who did not write the fault saw of it since `prepare`.

        `measures["pending"]` counts units that could not have noticed yet; they are not targeted
        (see `settled`). `first_s` None: the effect is as old as the injection.
        """

    @classmethod
    async def heal(cls, undo: Undo, tools: Tools) -> None:
        """Undo it: idempotent, from the undo alone, in any process. Raises AdapterError."""


P = TypeVar("P")


def aim(units: int, share: float | None) -> int:
    """Return how many of `units` a fault on `share` of the clients must hit at least.

    The proxy rolls the dice for each client, so it is the lower end, two standard deviations below
    what is to be expected.
    """
    if share is None or share >= 1.0 or not units:
        return units
    spread = 2 * math.sqrt(units * share * (1 - share))
    return max(1, math.floor(units * share - spread))


def settled(effect: Effect, share: float | None) -> Effect:
    """Return the effect when nobody is asked any more: who is still pending did not notice.

    `measures` may tell `units` that were due and how many had `seen` it, where a share of them was
    aimed at.
    """
    pending = int(effect.measures.get("pending", 0))
    if not pending:
        return effect
    seen = int(effect.measures.get("seen", effect.affected))
    targeted = aim(int(effect.measures.get("units", effect.targeted)) + pending, share)
    return replace(effect, targeted=targeted, affected=min(seen, targeted))


def read_params(params: type[P], spec: FaultSpec) -> P:
    """Return an instance of dataclass `params` made from `spec.params`.

    Raises ParamError for unknown, missing, mistyped or refused values.
    """
    known = {f.name: f for f in fields(params)}  # type: ignore[arg-type]
    hints = _hints(params)
    for name in spec.params:
        if name not in known:
            raise ParamError(f"fault {spec.kind} has no parameter {name}", name)
    values: dict[str, Any] = {}
    for name, field_ in known.items():
        if name in spec.params:
            values[name] = _typed(name, spec.params[name], hints[name])
        elif field_.default is MISSING and field_.default_factory is MISSING:
            raise ParamError(f"fault {spec.kind} needs {name}", name)
    return params(**values)


def check_common(fault: type[Fault], spec: FaultSpec) -> None:
    """Raise ParamError when target, parameters, share or duration do not fit the kind."""
    if spec.target.kind is not fault.acts_on:
        raise ParamError(f"fault {fault.kind} acts on a {fault.acts_on}, not a {spec.target.kind}")
    if spec.share is not None and not fault.divisible:
        raise ParamError(f"fault {fault.kind} takes no share: it is whole or absent", "share")
    if spec.share is not None and not 0.0 < spec.share <= 1.0:
        raise ParamError("a share of nobody does nothing; write more than 0%", "share")
    if spec.duration_s is not None and spec.duration_s <= 0:
        raise ParamError("a fault must last longer than 0s", "duration_s")
    read_params(fault.params, spec)


def ttl_s(spec: FaultSpec) -> float:
    """Return after how many seconds the fault must end by itself."""
    return (LONGEST_S if spec.duration_s is None else spec.duration_s) + TTL_MARGIN_S


def refuse_transport(resolved: Resolved, kind: str, wanted: str, instead: str) -> None:
    """Raise PlanRefused when a targeted link is not of transport `wanted`."""
    wrong = [link.name for link in resolved.links if link.transport != wanted]
    if wrong:
        raise PlanRefused(
            f"{kind} has no mechanism on {', '.join(wrong)}: {wanted.upper()} links only; {instead}"
        )


def share_note(share: float | None) -> str:
    """Return ` for 20% of the clients`, or nothing when everybody is meant."""
    return "" if share is None or share >= 1.0 else f" for {share:.0%} of the clients"


def text_of(handle: Mapping[str, Any], key: str) -> list[str]:
    """Return the list of strings at `key` of an undo's handle."""
    return [str(item) for item in handle.get(key, ())]


def _typed(name: str, value: Any, hint: Any) -> Any:
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    if value is None and len(options) > 1:
        return None
    for option in options:
        plain = get_args(option)[0] if get_origin(option) is Annotated else option
        if plain is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if isinstance(plain, type) and issubclass(plain, StrEnum) and isinstance(value, str):
            try:
                return plain(value)
            except ValueError:
                names = ", ".join(plain)
                raise ParamError(f'{name} is one of {names}, not "{value}"', name) from None
        if plain in (str, bool) and type(value) is plain:
            return value
    raise ParamError(f"{name} cannot be {value!r}", name)
