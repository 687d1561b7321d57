"""Door models made from the dataclasses of the core, so that no parameter is written twice.

A field `within_s: float` of a dataclass is the key `within` of a file, written with its unit;
`latency_ms` is `latency`; a share may be written as a percentage; everything else keeps its name.
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, model_validator

from chaoskit.spec.door_types import Fraction, Milliseconds, Names, Seconds, Whole

T = TypeVar("T")
_SUFFIXES = {"_s": Seconds, "_ms": Milliseconds}


class Door(BaseModel):
    """A mapping of a file. Unknown keys are refused; the door remembers whose keys they were."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _remember(cls, value: Any, info: ValidationInfo) -> Any:
        # An error about an unknown key names neither its door nor the keys it could have been.
        if info.context is not None and isinstance(value, dict):
            info.context.setdefault(id(value), cls)
        return value

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Return the keys that a file may use."""
        return tuple(f.alias or name for name, f in cls.model_fields.items())

    def given(self) -> dict[str, Any]:
        """Return field name → value of what the file says, nested doors as they are."""
        said = self.model_fields_set
        return {name: getattr(self, name) for name in type(self).model_fields if name in said}


def file_key(field_name: str) -> str:
    """Return the key by which a file writes a field: without its unit, without `_` at the end.

    >>> file_key("within_s"), file_key("p95_at_most_s"), file_key("from_"), file_key("loss_rate")
    ('within', 'p95_at_most', 'from', 'loss_rate')
    """
    for suffix in _SUFFIXES:
        if field_name.endswith(suffix):
            return field_name.removesuffix(suffix)
    return field_name.rstrip("_")


def derive(
    source: type,
    *,
    name: str = "",
    base: type[Door] = Door,
    leave_out: tuple[str, ...] = (),
    instead: Mapping[str, Any] | None = None,
) -> type[Door]:
    """Return a door for dataclass `source`.

    `base`: a door whose fields are added. `instead`: field name → type that replaces the derived
    one. Fields with a default may be missing; `Door.given` tells which were there.
    """
    if not is_dataclass(source):
        raise TypeError(f"{source} is no dataclass")
    hints = hints_of(source, include_extras=True)
    made: dict[str, Any] = {}
    for field in fields(source):
        if field.name in leave_out:
            continue
        hint = (instead or {}).get(field.name, hints[field.name])
        type_ = hint if instead and field.name in instead else _file_type(field.name, hint)
        required = field.default is MISSING and field.default_factory is MISSING
        made[field.name] = (type_, Field(... if required else None, alias=file_key(field.name)))
    doc = (source.__doc__ or "").strip()
    return create_model(name or f"{source.__name__}Door", __base__=base, __doc__=doc, **made)


def _file_type(name: str, hint: Any) -> Any:
    plain, optional = _without_none(hint)
    quantity = ""
    if get_origin(plain) is Annotated:
        plain, *marks = get_args(plain)
        quantity = next((str(m) for m in marks if isinstance(m, StrEnum)), "")
    found: Any = plain
    if plain is float:
        found = _number(name, quantity)
    elif plain is int:
        found = Whole
    elif isinstance(plain, type) and issubclass(plain, StrEnum):
        # Strict mode takes members only; files hold their text.
        found = Annotated[plain, Field(strict=False)]
    elif plain == tuple[str, ...]:
        found = Names
    return found | None if optional else found


def _number(name: str, quantity: str) -> Any:
    if quantity == "fraction":
        return Fraction
    for suffix, type_ in _SUFFIXES.items():
        if name.endswith(suffix):
            return type_
    return float


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    options = [o for o in get_args(hint) if o is not type(None)]
    joined: Any = options[0]
    for option in options[1:]:
        joined = joined | option
    return joined, type(None) in get_args(hint)


def build(source: type[T], door: Door, **more: Any) -> T:
    """Return an instance of dataclass `source` from what its door says, defaults for the rest.

    `more`: fields that the door does not hold in their final form.
    """
    names = {f.name for f in fields(source)}  # type: ignore[arg-type]
    given = {n: v for n, v in door.given().items() if n in names and n not in more}
    return source(**given, **more)
