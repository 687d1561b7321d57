"""Values that depend on the stack: `{default: 8s, livekit: 15s}` in place of any value."""

from collections.abc import Iterable
from typing import Any

from chaoskit.spec.yaml_lines import Finding, Where, YamlDocument, nearest


def choose(
    document: YamlDocument, stack: str, known: Iterable[str]
) -> tuple[YamlDocument, list[Finding]]:
    """Return the document with every per-stack value decided for `stack`, and what is wrong.

    A mapping is one when it has the key `default` and holds no mapping or list.
    """
    names = sorted(set(known))
    found: list[Finding] = []

    def walk(value: Any, where: Where) -> None:
        nonlocal document
        if is_per_stack(value):
            for name in value:
                if name != "default" and name not in names:
                    message = f'unknown stack "{name}"{nearest(name, names)}'
                    found.append(document.finding((*where, name), message, key=True))
            chosen = stack if stack in value else "default"
            document = document.replaced(where, value[chosen], (*where, chosen))
        elif isinstance(value, dict):
            for key, inside in value.items():
                walk(inside, (*where, key))
        elif isinstance(value, list):
            for i, inside in enumerate(value):
                walk(inside, (*where, i))

    walk(document.value, ())
    return document, found


def is_per_stack(value: Any) -> bool:
    """Return whether `value` is a mapping of stacks to plain values."""
    if not isinstance(value, dict) or "default" not in value:
        return False
    return not any(isinstance(inside, dict | list) for inside in value.values())
