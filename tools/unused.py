"""Names functions, classes, methods and imports that nothing uses, tests included.

vulture finds them; its word on variables and attributes is left out, because fields of values,
arguments of protocols and pydantic models are all "unused" to it.
"""

import sys
from pathlib import Path

from vulture import Vulture
from vulture.config import make_config

_KINDS = frozenset({"class", "function", "import", "method", "property", "unreachable_code"})


def main() -> int:
    """Print one line a finding; return 1 when there is one. Settings: [tool.vulture]."""
    settings = make_config(["--config", str(Path("pyproject.toml").resolve())])
    vulture = Vulture(
        ignore_names=settings["ignore_names"], ignore_decorators=settings["ignore_decorators"]
    )
    vulture.scavenge(settings["paths"], exclude=settings["exclude"])
    findings = [
        f"{item.filename.relative_to(Path.cwd())}:{item.first_lineno}: {item.message}"
        for item in vulture.get_unused_code(min_confidence=settings["min_confidence"])
        if item.typ in _KINDS
    ]
    print("\n".join(findings) or "Nothing is unused.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
