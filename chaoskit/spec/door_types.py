"""Values as files write them, as pydantic types: durations, shares, counts, moments, names.

Each knows its JSON Schema, so that an editor accepts exactly what the parser accepts.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from chaoskit.spec.units import parse_count, parse_duration_s, parse_fraction

DURATION_PATTERN = r"^\s*(\d+(\.\d+)?\s*(ms|s|m|min|h)\s*)+$"
SIGNED_PATTERN = r"^\s*[-+]?(\d+(\.\d+)?\s*(ms|s|m|min|h)\s*)+$"
MOST_PARTICIPANTS = 16_000
"""Numbers from 16000 on belong to sentinels."""


def _duration_ms(value: Any) -> float:
    return round(parse_duration_s(value) * 1000, 6)


def _positive_s(value: Any) -> float:
    seconds = parse_duration_s(value)
    if seconds <= 0:
        raise ValueError(f'"{value}" is nothing; it must be longer than 0s')
    return seconds


def _signed_s(value: Any) -> float:
    return parse_duration_s(value, signed=True)


def _moment(value: Any) -> float | str:
    return value if value in ("start", "end") else _signed_s(value)


def _people(value: Any) -> int:
    return parse_count(value, least=1, most=MOST_PARTICIPANTS)


def _whole(value: Any) -> int:
    return parse_count(value)


def _names(value: Any) -> Any:
    # Strict mode wants a tuple; files hold a list, or one name by itself.
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _some_names(value: Any) -> Any:
    if value in ([], ""):
        raise ValueError("nothing is named here; at least one name is expected")
    return _names(value)


def _names_schema(least: int, text: str) -> WithJsonSchema:
    listed = {"type": "array", "items": {"type": "string"}, "minItems": least}
    return WithJsonSchema({"anyOf": [{"type": "string"}, listed], "description": text})


def _duration_schema(text: str, pattern: str = DURATION_PATTERN) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": text})


Seconds = Annotated[
    float, BeforeValidator(parse_duration_s), _duration_schema("a duration: 30s, 500ms, 2m")
]
Milliseconds = Annotated[
    float, BeforeValidator(_duration_ms), _duration_schema("a duration: 200ms, 1s")
]
PositiveSeconds = Annotated[
    float, BeforeValidator(_positive_s), _duration_schema("a duration above 0: 30s")
]
Moment = Annotated[
    float | str,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["start", "end"]},
                {"type": "string", "pattern": SIGNED_PATTERN},
            ],
            "description": "start, end, or seconds after the method's zero (before it: negative)",
        }
    ),
]
Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%$"},
            ],
            "description": "a share: 0.2 or 20%",
        }
    ),
]
People = Annotated[
    int,
    BeforeValidator(_people),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_PARTICIPANTS}),
]
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer", "minimum": 0})]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    _names_schema(0, "one name or a list of names; an empty list is none"),
]
SomeNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_some_names),
    _names_schema(1, "one name or a list of them"),
]
