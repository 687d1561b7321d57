"""`python -m tools.openapi_json`: writes the directory's openapi.json from its openapi.yaml.

The service serves the JSON, for YAML is read by `chaoskit.spec` alone.
"""

import json
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "chaoskit/services/directory"


def as_json() -> str:
    """Return openapi.yaml as JSON text."""
    description = yaml.safe_load((FOLDER / "openapi.yaml").read_text(encoding="utf-8"))
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (FOLDER / "openapi.json").write_text(as_json(), encoding="utf-8")
