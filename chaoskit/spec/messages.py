"""What pydantic found, in the words of chaoskit, at the place in the file where it is."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from chaoskit.spec.derive import Door
from chaoskit.spec.doors import (
    ACTION_DOORS,
    ACTION_TAG,
    CHECK_DOORS,
    CHECK_TAG,
    FAULT_DOORS,
    FAULT_TAG,
)
from chaoskit.spec.yaml_lines import Finding, Where, YamlDocument, nearest

D = TypeVar("D", bound=Door)
_TAGS = {
    FAULT_TAG: ("fault", "fault kind", FAULT_DOORS),
    ACTION_TAG: ("action", "action", ACTION_DOORS),
    CHECK_TAG: ("check", "check", CHECK_DOORS),
}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a name or a list of names",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def validate(door: type[D], document: YamlDocument) -> tuple[D | None, list[Finding]]:
    """Return the validated door, or None and every finding."""
    keys: dict[int, type[Door]] = {}
    try:
        # Field names and file keys differ, so only the aliases count.
        return TypeAdapter(door).validate_python(document.value, context=keys), []
    except ValidationError as error:
        found = [_finding(detail, document, keys) for detail in error.errors(include_url=False)]
        return None, found


def _finding(
    error: ErrorDetails, document: YamlDocument, doors: Mapping[int, type[Door]]
) -> Finding:
    kind, where = error["type"], _where(document.value, error["loc"])
    if kind == "missing":
        key = str(error["loc"][-1])
        return document.finding(where, f'missing key "{key}"')
    if kind == "extra_forbidden":
        key = str(where[-1])
        parent = document.get(where[:-1])
        known = doors[id(parent)].keys() if id(parent) in doors else ()
        unused = [k for k in known if k not in parent]
        return document.finding(where, f'unknown key "{key}"{nearest(key, unused)}', key=True)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _tag_finding(error, document, where)
    return document.finding(where, _message(error))


def _where(value: Any, loc: tuple[int | str, ...]) -> Where:
    """Return `loc` as a place in the file: tags of unions and missing last keys left out."""
    where: list[int | str] = []
    for step in loc:
        inside: Any = value if isinstance(value, dict) else {}
        if isinstance(value, list) and isinstance(step, int):
            inside = dict(enumerate(value))
        if step in inside:
            value = inside[step]
            where.append(step)
    return tuple(where)


def _tag_finding(error: ErrorDetails, document: YamlDocument, where: Where) -> Finding:
    tag = str((error.get("ctx") or {}).get("tag", ""))
    for prefix, (key, word, doors) in _TAGS.items():
        if tag.startswith(prefix):
            name = tag.removeprefix(prefix)
            return document.finding((*where, key), f'unknown {word} "{name}"{nearest(name, doors)}')
    last = next((str(s) for s in reversed(where) if isinstance(s, str)), "")
    wanted = {
        "method": 'a step needs "fault: <kind>" or "action: <kind>"',
        "checks": 'a check needs "check: <kind>"',
        "crowd": "a mapping of groups and counts is expected here, or a list of groups",
        "profile": "the name of a profile is expected here, or a mapping",
    }
    return document.finding(where, wanted.get(last, "this cannot be told apart from other forms"))


def _message(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx") or {}
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]} is expected here, not {_shown(value)}"
    if kind in ("literal_error", "enum"):
        known = [part.strip("'") for part in _options(str(context["expected"]))]
        options = ", ".join(known)
        return f'"{value}" is not one of {options}{nearest(str(value), known)}'
    if kind == "string_pattern_mismatch":
        return _pattern_message(str(value), str(context["pattern"]))
    if kind in ("too_short", "dict_too_short", "list_too_short"):
        return "this is empty; at least one entry is expected"
    return str(error["msg"])


def _options(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _pattern_message(value: str, pattern: str) -> str:
    if ">=" in pattern:
        return f'"{value}" is no condition; write when: listeners.joined >= 400'
    return f'"{value}" is no name; use small letters, digits and hyphens'


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else f'"{value}"'
