"""Events as JSON and back: the wire form of the journal, derived from the dataclasses of the model.

Every event carries its `type`; fields keep their names. Enums are written by value, tuples as
lists, numbers that JSON lacks ("nan", "inf", "-inf") as strings. What a field may hold is read from
its annotation, so that a new event needs nothing here.
"""

import functools
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from chaoskit.model import Event, Json

_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode(value: object) -> Json:
    """Return `value` (dataclass, enum, mapping, sequence, plain value) as a JSON value.

    Raises TypeError for anything else, and for keys that are not strings.
    """
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"JSON keys are strings: {list(value)[:3]!r}")
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [encode(item) for item in value]
    raise TypeError(f"no JSON form of a {type(value).__name__}")


def encode_event(event: Event) -> dict[str, Json]:
    """Return an event with its `type` first."""
    return {"type": type(event).type, **encode(event)}


def decode_event(obj: Mapping[str, Json]) -> Event:
    """Return the event of an object made by `encode_event`; keys that it lacks are ignored.

    Raises ValueError for an unknown type and for a field that is missing or of another shape.
    """
    tag = obj.get("type")
    cls = event_types().get(tag) if isinstance(tag, str) else None
    if cls is None:
        raise ValueError(f"unknown event type {tag!r}")
    event = decode(cls, obj)
    assert isinstance(event, Event)
    return event


@functools.cache
def event_types() -> Mapping[str, type[Event]]:
    """Return all events of the model by their tag."""
    return {cls.type: cls for cls in _descendants(Event)}


def _descendants(cls: type[Event]) -> Iterator[type[Event]]:
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)


def decode(tp: Any, obj: Json) -> Any:
    """Return `obj` as a value of the annotation `tp`. Raises ValueError when it is not one."""
    if tp is Any:
        return obj
    origin = get_origin(tp)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(tp), obj)
    if origin is tuple:
        return _decode_tuple(get_args(tp), obj)
    if origin is not None and issubclass(origin, Mapping):
        _need(isinstance(obj, Mapping), tp, obj)
        return {key: decode(get_args(tp)[1], item) for key, item in obj.items()}
    if origin is list:
        _need(isinstance(obj, list), tp, obj)
        return [decode(get_args(tp)[0], item) for item in obj]
    if is_dataclass(tp):
        return _decode_dataclass(tp, obj)
    return _decode_plain(tp, obj)


def _decode_plain(tp: Any, obj: Json) -> Any:
    if tp is None or tp is type(None):
        _need(obj is None, tp, obj)
        return None
    if issubclass(tp, StrEnum):
        return tp(obj)
    if tp is float:
        if isinstance(obj, str) and obj in _NUMBERS:
            return _NUMBERS[obj]
        _need(isinstance(obj, int | float) and not isinstance(obj, bool), tp, obj)
        return float(obj)
    _need(isinstance(obj, tp) and (tp is bool or not isinstance(obj, bool)), tp, obj)
    return obj


def _decode_union(options: tuple[Any, ...], obj: Json) -> Any:
    for option in options:
        try:
            return decode(option, obj)
        except ValueError:
            continue
    raise ValueError(f"{obj!r} is none of {options}")


def _decode_tuple(args: tuple[Any, ...], obj: Json) -> tuple[Any, ...]:
    _need(isinstance(obj, list), tuple, obj)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(decode(args[0], item) for item in obj)
    _need(len(args) == len(obj), tuple, obj)
    return tuple(decode(tp, item) for tp, item in zip(args, obj, strict=True))


@functools.cache
def _shape(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(cls)
    return tuple(
        (f.name, hints[f.name], f.default is MISSING and f.default_factory is MISSING)
        for f in fields(cls)
    )


def _decode_dataclass(cls: Any, obj: Json) -> Any:
    _need(isinstance(obj, Mapping), cls, obj)
    values = {}
    for name, tp, required in _shape(cls):
        if name in obj:
            values[name] = decode(tp, obj[name])
        elif required:
            raise ValueError(f"{cls.__name__} lacks {name!r}")
    return cls(**values)


def _need(holds: bool, tp: Any, obj: Json) -> None:
    if not holds:
        raise ValueError(f"{obj!r} is no {getattr(tp, '__name__', tp)}")
