"""Takes tokens and secrets out of what a run keeps: journals, plan.json, result.json.

A value goes when the name of its key or option says that it is a secret, when it looks like one
(bearer header, JWT, credentials in a URL), or when it is the value of an environment variable whose
name says so.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from chaoskit.model import Json

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:token|secret|password|passwd|authorization|(?:api|access|private|secret)[_\-]?key|cookie|credentials?)s?$",
    re.IGNORECASE,
)
_SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)?"), REDACTED),
    (
        re.compile(r"(?i)([?&](?:\w*token|api[_-]?key|\w*secret|password)=)[^&\s\"']+"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(\w://[^/\s:@]*):[^/\s@]+@"), rf"\1:{REDACTED}@"),
)
_SHORTEST_SECRET = 8


class Redactor:
    """Replaces secrets in JSON values and command lines; never changes the shape of a value."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Learn the secrets that `environ` holds by name (values shorter than 8 are not kept).

        None: this process's environment.
        """
        environ = os.environ if environ is None else environ
        self._known = sorted(
            {
                value
                for name, value in environ.items()
                if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
            },
            key=len,
            reverse=True,
        )

    def json(self, value: Json) -> Json:
        """Return `value` without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                key: _blank(item) if _SECRET_NAME.search(str(key)) else self.json(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.json(item) for item in value]
        return value

    def text(self, text: str) -> str:
        """Return `text` without what looks like a secret."""
        for known in self._known:
            text = text.replace(known, REDACTED)
        for pattern, replacement in _SHAPES:
            text = pattern.sub(replacement, text)
        return text

    def command_line(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return `argv` without the values of options such as `--token X` and `--token=X`."""
        return tuple(self._words(argv))

    def _words(self, argv: Sequence[str]) -> Iterable[str]:
        secret_follows = False
        for word in argv:
            option, equals, _ = word.partition("=")
            if secret_follows and not word.startswith("-"):
                yield REDACTED
                secret_follows = False
                continue
            names_secret = option.startswith("--") and _SECRET_NAME.search(option) is not None
            secret_follows = names_secret and not equals
            yield f"{option}={REDACTED}" if names_secret and equals else self.text(word)


def redacted(value: Json) -> Json:
    """Return `value` without secrets, those that this process's environment holds among them.

    A mapping stays a dict with the same keys; numbers, booleans and null stay as they are.
    """
    return Redactor().json(value)


def _blank(value: Json) -> Json:
    if isinstance(value, str):
        return REDACTED if value else value
    if isinstance(value, Mapping):
        return {key: _blank(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blank(item) for item in value]
    return value
