"""A witness that shares code with the accused is none: nothing here imports the product."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.oracle

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(HERE.rglob("*.py")), ids=lambda file: file.name)
def test_nothing_is_imported_from_chaoskit(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not [name for name in imported if name.split(".")[0] == "chaoskit"]
