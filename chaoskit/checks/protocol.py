"""What a check is, and how its parameters are declared once.

To add a kind: one file with a class that satisfies `Check`, one line in `registry`.
"""

from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar, get_args, get_origin
from typing import get_type_hints as _hints

from chaoskit.checks.history import History
from chaoskit.model import CheckResult, CheckSpec


class Quantity(StrEnum):
    """How a parameter is written in files; a field's name carries the unit of the value."""

    SECONDS = "seconds"
    FRACTION = "fraction"


Seconds = Annotated[float, Quantity.SECONDS]
Fraction = Annotated[float, Quantity.FRACTION]


class ParamError(ValueError):
    """A parameter of a check is missing, unknown or out of range. `key`: its field name, or ""."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class Check(Protocol):
    """One check of one kind: parameters in, a verdict from the history out. Pure.

    `params`: dataclass of its own parameters, from which files take their keys (a field `within_s`
    of type Seconds is written `within: 15s`). `of_fault`: it needs `of`. `at_gate`: it can also be
    judged before anything is injected. `population`: default members. `during`: default window.
    """

    kind: ClassVar[str]
    params: ClassVar[type]
    of_fault: ClassVar[bool]
    at_gate: ClassVar[bool]
    population: ClassVar[tuple[str, ...]]
    during: ClassVar[str]

    @classmethod
    def parse(cls, spec: CheckSpec) -> Self:
        """Return the check that `spec` describes. Raises ParamError for anything it cannot use."""

    def judge(self, history: History) -> CheckResult:
        """Return the verdict. Missing and silent participants count as the worst value."""


P = TypeVar("P")


def read_params(params: type[P], spec: CheckSpec) -> P:
    """Return an instance of dataclass `params` made from `spec.params`.

    Raises ParamError for unknown, missing, mistyped or refused values.
    """
    known = {f.name: f for f in fields(params)}  # type: ignore[arg-type]
    hints = _hints(params, include_extras=True)
    for name in spec.params:
        if name not in known:
            raise ParamError(f"check {spec.kind} has no parameter {name}", name)
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in spec.params:
            values[name] = _typed(spec.kind, name, spec.params[name], hints[name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ParamError(f"check {spec.kind} needs {name}", name)
    return params(**values)


def check_common(check: type[Check], spec: CheckSpec) -> None:
    """Raise ParamError when `of`, `from` or `members` do not fit the kind."""
    if check.of_fault and spec.of is None:
        raise ParamError(f"check {spec.kind} needs the fault that it is about; write of: <fault>")
    if spec.from_ not in ("effect", "heal"):
        raise ParamError(f'from is effect or heal, not "{spec.from_}"', "from_")
    if not spec.members:
        raise ParamError(f"check {spec.kind} has nobody in its population", "members")


def need_one(params: object, names: tuple[str, ...], kind: str) -> None:
    """Raise ParamError unless at least one of the bounds `names` is given."""
    if all(getattr(params, name) is None for name in names):
        raise ParamError(f"check {kind} needs a bound: one of {', '.join(names)}")


def _typed(kind: str, name: str, value: Any, hint: Any) -> Any:
    options = [o for o in (get_args(hint) if _is_union(hint) else (hint,)) if o is not type(None)]
    option = options[0]
    quantity = get_args(option)[1] if get_origin(option) is Annotated else None
    plain = get_args(option)[0] if quantity is not None else option
    if plain is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _in_range(kind, name, float(value), quantity)
    if plain is int and type(value) is int:
        return int(_in_range(kind, name, value, quantity))
    if plain is str and isinstance(value, str):
        return value
    raise ParamError(f"check {kind}: {name} cannot be {value!r}", name)


def _is_union(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _in_range(kind: str, name: str, value: float, quantity: Quantity | None) -> float:
    if value < 0 or (quantity is Quantity.FRACTION and value > 1):
        span = "0 to 1" if quantity is Quantity.FRACTION else "0 or more"
        raise ParamError(f"check {kind}: {name} is {value:g}; it must be {span}", name)
    return value
