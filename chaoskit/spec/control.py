"""The other half of a pair: the same document with the changes of `control: set:` applied."""

from typing import Any

from chaoskit.spec.yaml_lines import Finding, Where, YamlDocument, nearest, raise_findings

_NAMES = ("id", "name", "fault", "action", "check", "group")
"""Keys by which an item of a list can be addressed, before its number from 0."""


def changed(document: YamlDocument) -> YamlDocument:
    """Return `document` with its control applied and without it.

    A path is keys joined by dots; an item of a list is named by its id (or name, or kind) or its
    number: `method.loss.loss_rate`, `profile`, `client.host.reconnect`. Raises InvalidInput for a
    path that leads nowhere.
    """
    changes = document.get(("control", "set"))
    findings: list[Finding] = []
    result = document
    for path, value in changes.items():
        source: Where = ("control", "set", path)
        where, problem = _place(result.value, path)
        if where is None:
            findings.append(document.finding(source, problem, key=True))
            continue
        result = result.replaced(where, value, source)
    raise_findings(findings)
    root = {k: v for k, v in result.value.items() if k != "control"}
    return YamlDocument(result.file, root, result.marks, result.key_marks)


def _place(root: Any, path: str) -> tuple[Where | None, str]:
    where: list[str | int] = []
    value = root
    steps = path.split(".")
    for depth, step in enumerate(steps):
        shown = ".".join(steps[: depth + 1])
        if isinstance(value, list):
            index = _index(value, step)
            if index is None:
                options = [n for item in value for n in _names_of(item)]
                return (
                    None,
                    f'control changes "{shown}", which does not exist{nearest(step, options)}',
                )
            where.append(index)
            value = value[index]
        elif isinstance(value, dict):
            where.append(step)
            # A key that is not there yet is made: a control may add what the file leaves out.
            value = value.get(step, {})
        else:
            return None, f'control changes "{shown}", but "{".".join(steps[:depth])}" has no parts'
    return tuple(where), ""


def _index(items: list[Any], step: str) -> int | None:
    for key in _NAMES:
        for i, item in enumerate(items):
            if isinstance(item, dict) and item.get(key) == step:
                return i
    return int(step) if step.isdecimal() and int(step) < len(items) else None


def _names_of(item: Any) -> list[str]:
    if not isinstance(item, dict):
        return []
    return [item[key] for key in _NAMES if isinstance(item.get(key), str)]
