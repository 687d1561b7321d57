"""The outermost shell: where it runs, where its data is, and what the front page promises."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from chaoskit import data
from chaoskit.__main__ import refusal_for
from chaoskit.cli.app import app
from chaoskit.report.result import EXIT_CODES

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def test_linux_with_python_3_11_is_accepted() -> None:
    assert refusal_for("linux", (3, 11)) is None
    assert refusal_for("linux", (3, 14)) is None


@pytest.mark.parametrize(
    ("platform", "python", "seen"),
    [("darwin", (3, 12), "this is darwin"), ("linux", (3, 10), "this is Python 3.10")],
)
def test_elsewhere_is_refused_with_a_hint(
    platform: str, python: tuple[int, int], seen: str
) -> None:
    refusal = refusal_for(platform, python)
    assert refusal is not None
    assert seen in refusal
    assert "\n\nhint: " in refusal


def test_data_folders_are_found_in_the_checkout() -> None:
    assert data.experiments_dir() == ROOT / "experiments"
    assert data.fixtures_dir() == ROOT / "fixtures"


def test_data_folders_are_found_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages/chaoskit"
    (package / "_data/experiments").mkdir(parents=True)
    # Somebody else's folder of that name beside the installed package is not ours.
    (package.parent / "experiments").mkdir()
    monkeypatch.setattr(data, "_PACKAGE", package)
    assert data.experiments_dir() == package / "_data/experiments"
    with pytest.raises(FileNotFoundError, match="fixtures"):
        data.fixtures_dir()


def test_oracles_import_nothing_from_chaoskit() -> None:
    strays = []
    for file in sorted((ROOT / "tests/oracle").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            strays += [f"{file.name}: {n}" for n in names if n.split(".")[0] == "chaoskit"]
    assert strays == []


def test_the_first_screen_has_exactly_two_commands() -> None:
    first_screen = (ROOT / "README.md").read_text().split("\n## ")[0]
    blocks = re.findall(r"```\w*\n(.*?)```", first_screen, re.S)
    commands = [line.split("#")[0].strip() for line in "".join(blocks).splitlines() if line]
    assert commands == ["make replay", "make test"]
    assert len(first_screen.splitlines()) <= 40


def test_commands_of_the_front_page_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.M))
    assert named <= targets


def test_the_exit_codes_of_the_front_page_are_those_of_the_program() -> None:
    table = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.M)
    assert [int(code) for code in table] == [code for code, _ in EXIT_CODES]


def commands_of_the_front_page() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return re.findall(r"^chaoskit ([^#\n]*[^#\n ])", "".join(blocks), re.M)


def test_the_front_page_shows_commands() -> None:
    assert len(commands_of_the_front_page()) >= 5


@pytest.mark.parametrize("line", commands_of_the_front_page())
def test_a_command_of_the_front_page_is_one_that_the_program_takes(line: str) -> None:
    name, *arguments = shlex.split(line)
    command = typer.main.get_group(app).commands[name]
    # Parses the options and arguments; nothing is called.
    command.make_context(name, arguments).close()
