"""The wheel that would be published has the data files, found without a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chaoskit import __version__

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]


def test_an_unpacked_wheel_finds_every_experiment_and_fixture(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    wheel = tmp_path / f"chaoskit-{__version__}-py3-none-any.whl"
    installed = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert (installed / "chaoskit/py.typed").is_file()

    for function, folder in (("experiments_dir", "experiments"), ("fixtures_dir", "fixtures")):
        code = f"import chaoskit.data as d; print(d.{function}())"
        answer = subprocess.run(
            [sys.executable, "-S", "-c", code],
            cwd=installed,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        found = Path(answer.stdout.strip())
        assert found == installed / "chaoskit/_data" / folder
        in_checkout = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*.yaml")}
        assert in_checkout
        assert {p.relative_to(found) for p in found.rglob("*.yaml")} == in_checkout
