"""Attributes of toxics: how each is read from a request and shown in an answer."""

from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.services.fault_proxy.gojson import Object, shortest

Value = int | float | bool
Attributes = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute. `ours`: not Toxiproxy's, so shown only when it is set.

    `transports`: where it is known; elsewhere it is ignored, as Toxiproxy ignores unknown keys.
    """

    name: str
    zero: Value
    read: Callable[[Object, str, Value], Value]
    ours: bool = False
    transports: frozenset[str] = frozenset({"tcp", "udp"})


def whole(name: str) -> Field:
    """Return an int64 attribute."""
    return Field(name, 0, lambda source, key, old: source.whole(key, int(old)))


def number(name: str, *, ours: bool = False) -> Field:
    """Return a float64 attribute."""
    return Field(name, 0.0, lambda source, key, old: source.number(key, float(old)), ours=ours)


def flag(name: str, *, transports: frozenset[str]) -> Field:
    """Return a boolean attribute of ours."""
    return Field(
        name,
        False,
        lambda source, key, old: source.flag(key, bool(old)),
        ours=True,
        transports=transports,
    )


def read_attributes(
    fields: tuple[Field, ...], transport: str, source: Object, current: Attributes
) -> Attributes:
    """Return `current` (or zeros) with what `source` sets. Raises Refusal 400; changes nothing."""
    merged = dict(current)
    for field in fields:
        if transport in field.transports:
            merged.setdefault(field.name, field.zero)
            merged[field.name] = field.read(source, field.name, merged[field.name])
    return merged


def show_attributes(fields: tuple[Field, ...], attributes: Attributes) -> Attributes:
    """Return `attributes` as an answer shows them: all of Toxiproxy's, ours when set."""
    shown: Attributes = {}
    for field in fields:
        value = attributes.get(field.name, field.zero)
        if value != field.zero or not field.ours:
            shown[field.name] = shortest(value) if isinstance(value, float) else value
    return shown
