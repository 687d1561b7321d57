"""The two locks and pyproject.toml say the same, and name no index but the public one."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def locked() -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return packages


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirement_text(entry: dict[str, str]) -> str:
    extra = re.search(r"extra == '(.+)'", entry.get("marker", ""))
    return entry["name"] + entry.get("specifier", "") + (f" [{extra[1]}]" if extra else "")


def test_requirements_lock_is_uv_lock_for_pip(locked: list[dict[str, Any]]) -> None:
    from_uv = {
        (package["name"], package["version"]): {
            file["hash"] for file in [package.get("sdist"), *package.get("wheels", [])] if file
        }
        for package in locked
        if package["name"] != "chaoskit"
    }
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    for_pip = {}
    for line in text.splitlines():
        pin = re.match(r"([a-z0-9-]+)==(\S+)", line)
        if pin:
            for_pip[pin[1], pin[2]] = set(re.findall(r"--hash=(\S+)", line))
    assert for_pip == from_uv


def test_the_locks_name_the_public_index_only() -> None:
    urls = re.findall(r'"(\w+://[^/"]+)', (ROOT / "uv.lock").read_text())
    assert set(urls) == {"https://pypi.org", "https://files.pythonhosted.org"}
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_the_lock_was_made_for_what_pyproject_declares(
    locked: list[dict[str, Any]], project: dict[str, Any]
) -> None:
    (ours,) = [package for package in locked if package["name"] == "chaoskit"]
    metadata = ours["metadata"]
    declared = set(project["project"]["dependencies"])
    for name, extra in project["project"]["optional-dependencies"].items():
        declared |= {f"{requirement} [{name}]" for requirement in extra}
    assert {requirement_text(entry) for entry in metadata["requires-dist"]} == declared
    developing = {requirement_text(entry) for entry in metadata["requires-dev"]["dev"]}
    assert developing == set(project["dependency-groups"]["dev"])


def test_the_build_backend_is_installed_with_the_rest(project: dict[str, Any]) -> None:
    # `make setup` builds without isolation, so nothing else would bring it.
    assert set(project["build-system"]["requires"]) <= set(project["dependency-groups"]["dev"])


def test_the_notices_name_every_package_that_users_install(locked: list[dict[str, Any]]) -> None:
    needs = {package["name"]: package.get("dependencies", []) for package in locked}
    reached, queue = set(), ["chaoskit"]
    while queue:
        name = queue.pop()
        if name not in reached:
            reached.add(name)
            queue += [dependency["name"] for dependency in needs[name]]
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text()
    named = re.findall(r"^\| ([a-z0-9-]+)", notices, re.M)
    assert set(named) - {"package"} == reached - {"chaoskit"}
