"""JSON as Go's encoding/json reads and writes it, because that is what Toxiproxy's clients rely on.

Reading: only the first value of a body counts; keys match without regard to case; unknown keys are
ignored; `null` leaves a field as it was; of repeated keys the last one wins; a whole number must be
written as one (`1e2`, `1.0` and `"100"` are refused).
"""

import ctypes
import json
import math
from collections.abc import Iterator

from chaoskit.services.fault_proxy.refusals import bad_body

INT64 = range(-(2**63), 2**63)


class Object(list[tuple[str, object]]):
    """A JSON object with its keys in order, repeated ones included."""

    def all(self, name: str) -> Iterator[object]:
        """Yield the values of every key that Go takes for `name`, in order, without nulls."""
        folded = name.casefold()
        for key, value in self:
            if value is not None and key.casefold() == folded:
                yield value

    def text(self, name: str, default: str) -> str:
        """Return a string field. Raises Refusal 400 for another type."""
        for value in self.all(name):
            if not isinstance(value, str):
                raise _mismatch(value, name, "string")
            default = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return default

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean field. Raises Refusal 400 for another type."""
        for value in self.all(name):
            if not isinstance(value, bool):
                raise _mismatch(value, name, "bool")
            default = value
        return default

    def whole(self, name: str, default: int) -> int:
        """Return an int64 field. Raises Refusal 400 for a fraction, an exponent or another type."""
        for value in self.all(name):
            if isinstance(value, bool) or not isinstance(value, int) or value not in INT64:
                raise _mismatch(value, name, "int64")
            default = value
        return default

    def number(self, name: str, default: float) -> float:
        """Return a float64 field. Raises Refusal 400 for another type."""
        for value in self.all(name):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise _mismatch(value, name, "float64")
            try:
                default = float(value)
            except OverflowError:
                default = math.inf
            if math.isinf(default):
                raise _mismatch(value, name, "float64")
        return default

    def objects(self, name: str) -> Iterator["Object"]:
        """Yield every object given for a field. Raises Refusal 400 for another type."""
        for value in self.all(name):
            if not isinstance(value, Object):
                raise _mismatch(value, name, "object")
            yield value

    def texts(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a field that is an array of strings. Raises Refusal 400 for another type."""
        for value in self.all(name):
            if not isinstance(value, list) or isinstance(value, Object):
                raise _mismatch(value, name, "[]string")
            texts = tuple(item for item in value if isinstance(item, str))
            if len(texts) != len(value):
                raise _mismatch(value, name, "[]string")
            default = texts
        return default


def read(body: bytes) -> object:
    """Return the first JSON value of `body`, objects as `Object`. Raises Refusal 400."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise bad_body("EOF")
    try:
        value, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise bad_body(str(error)) from None
    return value  # type: ignore[no-any-return, unused-ignore]


def read_object(body: bytes) -> Object:
    """Return the object in `body`; `null` is an empty one. Raises Refusal 400."""
    value = read(body)
    if value is None:
        return Object()
    if not isinstance(value, Object):
        raise _mismatch(value, "body", "object")
    return value


def read_objects(body: bytes) -> list[Object]:
    """Return the array of objects in `body`; `null` is an empty one. Raises Refusal 400."""
    value = read(body)
    if value is None:
        return []
    if not isinstance(value, list) or isinstance(value, Object):
        raise _mismatch(value, "body", "array")
    objects = [Object() if item is None else item for item in value]
    for item in objects:
        if not isinstance(item, Object):
            raise _mismatch(item, "body", "object")
    return objects


def write(value: object) -> bytes:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def float32(value: float) -> float:
    """Return `value` as Go prints it after keeping it in 32 bits. Raises Refusal 400 when too big.

    >>> float32(0.123456789)
    0.12345679
    """
    narrow = ctypes.c_float(value).value
    if math.isinf(narrow):
        raise _mismatch(value, "toxicity", "float32")
    for digits in range(1, 9):
        short = float(f"{narrow:.{digits}g}")
        if ctypes.c_float(short).value == narrow:
            return short
    return float(f"{narrow:.9g}")


def shortest(value: float) -> int | float:
    """Return a whole number without its `.0`, as Go prints it."""
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _mismatch(value: object, field: str, wanted: str) -> Exception:
    return bad_body(f"json: cannot unmarshal {_kind(value)} into field {field} of type {wanted}")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return f"number {value}"[:40]
        case str():
            return "string"
        case Object():
            return "object"
        case _:
            return "array"


def _no_constant(name: str) -> object:
    raise ValueError(f"invalid character in {name}")


_DECODER = json.JSONDecoder(object_pairs_hook=Object, parse_constant=_no_constant)
