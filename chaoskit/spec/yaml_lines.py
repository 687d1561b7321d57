"""YAML with the place of every value, so that an error can say `file:line:column`.

The only module that imports pyyaml. Scalars follow the YAML 1.2 core schema (`no` and `1:30` are
text); duplicate keys, several documents and recursive anchors are refused.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from chaoskit.errors import InvalidInput, PlanRefused

Where = tuple[str | int, ...]
"""A place in a document: keys and list indices from the root, as pydantic's `loc` writes it."""

_MAX_VALUES = 200_000


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A position in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One error of a file. `refusal`: the file is well formed, but what it asks for is refused."""

    file: str
    mark: Mark
    message: str
    refusal: bool = False

    def __str__(self) -> str:
        """Return `file:line:column: message`."""
        return f"{self.file}:{self.mark.line}:{self.mark.column}: {self.message}"


@dataclass(slots=True)
class YamlDocument:
    """A parsed document: plain values (dict, list, scalars, None) and their places."""

    file: str
    value: Any
    marks: dict[Where, Mark] = field(default_factory=dict)
    key_marks: dict[Where, Mark] = field(default_factory=dict)

    def mark(self, where: Where) -> Mark:
        """Return the position of the value at `where`, or of its nearest ancestor that exists."""
        return _nearest(self.marks, where)

    def key_mark(self, where: Where) -> Mark:
        """Return the position of the key that leads to `where`; for a list item, of the item."""
        return self.key_marks.get(where) or self.mark(where)

    def finding(
        self, where: Where, message: str, *, key: bool = False, refusal: bool = False
    ) -> Finding:
        """Return `message` at the value at `where`, or at its key."""
        mark = self.key_mark(where) if key else self.mark(where)
        return Finding(self.file, mark, message, refusal)

    def get(self, where: Where) -> Any:
        """Return the value at `where`. Raises KeyError or IndexError when there is none."""
        value = self.value
        for step in where:
            try:
                value = value[step]
            except TypeError as error:
                raise KeyError(step) from error
        return value

    def replaced(self, where: Where, value: Any, source: "Where") -> "YamlDocument":
        """Return a copy in which `where` holds `value`, found in this file below `source`.

        `where` may name a key that does not exist yet in a mapping that does; mappings on the way
        are made. The new value is reported at the place of `source`. Raises KeyError when `where`
        leads through something that is no mapping or list, or past the end of a list.
        """
        root = _with(self.value, where, value)
        inside = len(source)
        moved = {where + w[inside:]: m for w, m in self.marks.items() if w[:inside] == source}
        keys = {
            where + w[inside:]: m
            for w, m in self.key_marks.items()
            if w[:inside] == source and len(w) > inside
        }
        kept = {w: m for w, m in self.marks.items() if w[: len(where)] != where}
        kept_keys = {w: m for w, m in self.key_marks.items() if w[: len(where)] != where}
        if source in self.key_marks:
            kept_keys[where] = self.key_marks[source]
        return YamlDocument(self.file, root, kept | moved, kept_keys | keys)


def load_yaml(path: Path, *, shown_as: str | None = None) -> YamlDocument:
    """Read and parse a file. `shown_as`: its name in errors (default: the path as given).

    Raises InvalidInput when it cannot be read or does not parse.
    """
    shown = shown_as or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown}: not UTF-8 text") from error
    except OSError as error:
        raise InvalidInput(f"{shown}: cannot be read: {error.strerror}") from error
    return parse_yaml(text, shown)


def parse_yaml(text: str, file: str) -> YamlDocument:
    """Parse one YAML document. Raises InvalidInput with file, line and column of what is wrong."""
    try:
        nodes = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
        _fail([Finding(file, mark, f"not YAML: {_yaml_problem(error)}")])
    except RecursionError:
        _fail([Finding(file, Mark(1, 1), "not YAML: nested too deep")])
    except yaml.YAMLError as error:
        _fail([Finding(file, Mark(1, 1), f"not YAML: {str(error).splitlines()[0]}")])
    if not nodes or nodes[0] is None:
        _fail([Finding(file, Mark(1, 1), "the file is empty")])
    if len(nodes) > 1:
        _fail([Finding(file, _mark(nodes[1]), "a second document; write one document a file")])
    document = YamlDocument(file, None)
    builder = _Builder(document)
    document.value = builder.build(nodes[0], (), ())
    if builder.findings:
        _fail(builder.findings)
    return document


def raise_findings(findings: Iterable[Finding]) -> None:
    """Raise all `findings` at once, in file order; return when there are none.

    PlanRefused when every one is a refusal, else InvalidInput.
    """
    found = sorted(set(findings))
    if found:
        _fail(found)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the known word nearest to `word`, or an empty string.

    >>> nearest("packetloss", ["loss", "latency", "drop"])
    '; did you mean "loss"?'
    """
    names = sorted(set(known))
    folded = {n.casefold(): n for n in names}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{folded[close[0]]}"?'
    # difflib rates a short word inside a long one low; to a reader it is the obvious candidate.
    inside = [n for n in names if len(n) >= 4 and (n in word.casefold() or word.casefold() in n)]
    return f'; did you mean "{max(inside, key=len)}"?' if inside and len(word) >= 4 else ""


def _fail(findings: Sequence[Finding]) -> NoReturn:
    count = "1 error" if len(findings) == 1 else f"{len(findings)} errors"
    text = "\n".join([*map(str, findings), f"{count}, nothing was started."])
    raise (PlanRefused if all(f.refusal for f in findings) else InvalidInput)(text)


def _nearest(marks: Mapping[Where, Mark], where: Where) -> Mark:
    for length in range(len(where), -1, -1):
        found = marks.get(where[:length])
        if found:
            return found
    return Mark(1, 1)


def _with(value: Any, where: Where, new: Any) -> Any:
    if not where:
        return new
    step, rest = where[0], where[1:]
    if isinstance(value, dict) and isinstance(step, str):
        return value | {step: _with(value.get(step, {}), rest, new)}
    if isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
        return [*value[:step], _with(value[step], rest, new), *value[step + 1 :]]
    raise KeyError(step)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_SCALARS: tuple[tuple[str, str, Sequence[str], Callable[[str], Any]], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF"), lambda s: s[0] in "tT"),
    ("int", r"[-+]?[0-9]{1,18}", list("-+0123456789"), int),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,2})?",
        list("-+.0123456789"),
        float,
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""], lambda _: None),
)
_CONVERT = {f"tag:yaml.org,2002:{name}": convert for name, _, _, convert in _SCALARS}
for _name, _pattern, _first, _ in _SCALARS:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})$"), list(_first)
    )


class _Builder:
    """Turns composed nodes into plain values and records where each came from."""

    def __init__(self, document: YamlDocument) -> None:
        self._document = document
        self._left = _MAX_VALUES
        self.findings: list[Finding] = []

    def build(self, node: yaml.Node, where: Where, open_nodes: tuple[int, ...]) -> Any:
        self._document.marks[where] = _mark(node)
        self._left -= 1
        if id(node) in open_nodes or self._left <= 0:
            # Anchors may repeat a value, but neither contain themselves nor grow without bound.
            _fail([self._finding(node, "an anchor that contains itself, or too many values")])
        inside = (*open_nodes, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*where, i), inside) for i, n in enumerate(node.value)]
        convert = _CONVERT.get(node.tag)
        if convert is not None:
            return convert(node.value)
        if node.tag != "tag:yaml.org,2002:str":
            self.findings.append(self._finding(node, f"a tag is not allowed here: {node.tag}"))
        self._plain(node, "text")
        return node.value

    def _mapping(
        self, node: yaml.MappingNode, where: Where, open_nodes: tuple[int, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.findings.append(self._finding(key_node, "a key must be plain text"))
                continue
            key = str(key_node.value)
            if not self._plain(key_node, "a key"):
                continue
            if key in result:
                self.findings.append(self._finding(key_node, f'key "{key}" stands here twice'))
                continue
            self._document.key_marks[(*where, key)] = _mark(key_node)
            result[key] = self.build(value_node, (*where, key), open_nodes)
        return result

    def _plain(self, node: yaml.Node, what: str) -> bool:
        """Return whether the text has no control characters: terminals would act on them."""
        found = next((c for c in node.value if _is_control(c)), None)
        if found is not None:
            message = f"{what} must not have control characters; here is U+{ord(found):04X}"
            self.findings.append(self._finding(node, message))
        return found is None

    def _finding(self, node: yaml.Node, message: str) -> Finding:
        return Finding(self._document.file, _mark(node), message)


def _is_control(character: str) -> bool:
    # Cs: half of a surrogate pair, which no stream can encode.
    return character not in "\t\n" and unicodedata.category(character) in ("Cc", "Cs")


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "it does not parse").strip()
    return f"{problem} ({error.context})" if error.context else problem
