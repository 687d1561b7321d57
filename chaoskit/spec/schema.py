"""JSON Schema of the files, for editors and for people who generate them."""

from typing import Any

from chaoskit.spec.derive import Door
from chaoskit.spec.doors import EXPERIMENT_FORMAT, ExperimentDoor
from chaoskit.spec.profile import PROFILE_FORMAT, ProfileFileDoor
from chaoskit.spec.stack import STACK_FORMAT, StackDoor

_DOORS: dict[str, tuple[str, type[Door]]] = {
    "experiment": (EXPERIMENT_FORMAT, ExperimentDoor),
    "stack": (STACK_FORMAT, StackDoor),
    "profile": (PROFILE_FORMAT, ProfileFileDoor),
}
SCHEMAS: tuple[str, ...] = tuple(_DOORS)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(of: str = "experiment") -> dict[str, Any]:
    """Return the JSON Schema of a kind of file. Raises KeyError for an unknown kind.

    It states the form; names that must exist (faults, links, groups) are checked by `validate`.
    Any plain value of an experiment may also be a mapping of stacks to values.
    """
    format_, door = _DOORS[of]
    made = door.model_json_schema(by_alias=True)
    if of == "experiment":
        made = _per_stack(made)
    return {"$schema": _DIALECT, "$id": f"urn:{format_}", **made}


_PER_STACK = {
    "type": "object",
    "properties": {"default": {"type": ["string", "number", "boolean", "null"]}},
    "required": ["default"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}


def _per_stack(node: Any) -> Any:
    """Allow the per-stack form wherever a duration, share or number is a property."""
    if isinstance(node, list):
        return [_per_stack(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _per_stack(value) for key, value in node.items()}
    if "properties" in made:
        made["properties"] = {
            key: {"anyOf": [value, _PER_STACK]} if _is_amount(value) else value
            for key, value in made["properties"].items()
        }
    return made


def _is_amount(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    options = value.get("anyOf", [value])
    return any(
        isinstance(o, dict) and (o.get("type") in ("integer", "number") or "ms|s|m" in str(o))
        for o in options
    )
