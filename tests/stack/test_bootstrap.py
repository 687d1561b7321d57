"""`make setup` with an interpreter that has neither ensurepip nor pip, against an index of our own.

The index serves wheels packed from what this environment has installed, so it needs no network.
"""

import hashlib
import http.server
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools.pip_source import fetch_locked_wheel, load_settings, locked_pip

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
# The build backend with what it needs, and pip.
INSTALLED = ("pip", "hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers")

BARE_PYTHON = """\
import os, runpy, sys, sysconfig

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["MISSING"].split():
            raise ModuleNotFoundError("this Python has no " + name)

sys.meta_path.insert(0, Missing())
sysconfig.get_config_vars()["WHEEL_PKG_DIR"] = None
sys.argv = [word for word in sys.argv[1:] if word not in ("-E", "-s")]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Index:
    """A package index on loopback. `wheels` by file name; `asked` are the paths fetched so far."""

    wheels: dict[str, bytes]
    speaks_json: bool = False
    asked: list[str] = field(default_factory=list)
    url: str = ""
    # A request for this file waits, once `reached` is set, until `go_on` is.
    stuck_at: str = ""
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def page(self, project: str) -> tuple[str, bytes]:
        files = {
            n: w for n, w in self.wheels.items() if n.startswith(project.replace("-", "_") + "-")
        }
        hashes = {name: hashlib.sha256(wheel).hexdigest() for name, wheel in files.items()}
        if self.speaks_json:
            entries = [
                {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}}
                for name, digest in hashes.items()
            ]
            body = {"meta": {"api-version": "1.0"}, "name": project, "files": entries}
            return "application/vnd.pypi.simple.v1+json", json.dumps(body).encode()
        links = (f'<a href="/files/{n}#sha256={digest}">{n}</a>' for n, digest in hashes.items())
        return "text/html", "<br>".join(links).encode()

    def requirements(self) -> str:
        lines = []
        for name, wheel in self.wheels.items():
            project, version = name.split("-")[:2]
            digest = hashlib.sha256(wheel).hexdigest()
            lines.append(f"{project.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n")
        return "".join(lines)


def serve(index: Index) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            parts = self.path.strip("/").split("/")
            if parts[0] == "files":
                kind, body = "application/octet-stream", index.wheels[parts[1]]
            else:
                kind, body = index.page(parts[1])
            if index.stuck_at and parts[-1].startswith(index.stuck_at):
                index.reached.set()
                index.go_on.wait()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                assert index.stuck_at

        def log_message(self, *_: object) -> None:
            """Say nothing: the test looks at `asked`."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    return server


def packed(name: str, folder: Path) -> tuple[str, bytes]:
    """Pack an installed distribution into a wheel again: file name and content."""
    distribution = importlib.metadata.distribution(name)
    file = folder / f"{name.replace('-', '_')}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for path in distribution.files or ():
            left_by_pip = path.suffix == ".pyc" or path.name in ("INSTALLER", "REQUESTED")
            if ".." not in path.parts and not left_by_pip:
                wheel.write(str(path.locate()), str(path))
    return file.name, file.read_bytes()


def tiny_wheel(folder: Path) -> tuple[str, bytes]:
    """A package of one line."""
    file = folder / "tinydep-1.0-py3-none-any.whl"
    info = "tinydep-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("tinydep.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinydep\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return file.name, file.read_bytes()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("wheels")
    return dict([*(packed(name, folder) for name in INSTALLED), tiny_wheel(folder)])


@pytest.fixture
def index(wheels: dict[str, bytes]) -> Iterator[Index]:
    index = Index(wheels=dict(wheels))
    server = serve(index)
    yield index
    index.go_on.set()
    server.shutdown()
    server.server_close()


@dataclass
class Checkout:
    """A copy of what setup reads, with a lock of its own, and a bare Python to set it up with."""

    root: Path
    python: Path
    environ: dict[str, str]

    def setup(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(),
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def command(self) -> list[str]:
        return ["make", "setup", f"PYTHON={self.python}"]

    def lock(self, requirements: str) -> None:
        (self.root / "requirements.lock").write_text(requirements)

    def says(self, code: str) -> str:
        """What the Python of .venv prints."""
        python = self.root / ".venv/bin/python"
        command = [str(python), "-I", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, index: Index) -> Checkout:
    root = tmp_path / "checkout"
    copied = ("Makefile", "pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY_NOTICES.md")
    (root / "chaoskit").mkdir(parents=True)
    for name in (*copied, "chaoskit/__init__.py", "chaoskit/__main__.py"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    bare = tmp_path / "bare.py"
    bare.write_text(BARE_PYTHON)
    python = tmp_path / "python"
    base: str = getattr(sys, "_base_executable", sys.executable)
    python.write_text(f'#!/bin/sh\nexec {base} -E -s {bare} "$@"\n')
    python.chmod(0o755)
    environ = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "MISSING": "ensurepip pip",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_RETRIES": "0",
    }
    checkout = Checkout(root=root, python=python, environ=environ)
    checkout.lock(index.requirements())
    return checkout


@pytest.mark.parametrize(
    ("missing", "speaks_json"),
    [("ensurepip pip", False), ("ensurepip pip venv", True)],
    ids=["html", "json-without-venv"],
)
def test_a_bare_python_gets_the_locked_packages_and_chaoskit(
    checkout: Checkout, index: Index, missing: str, speaks_json: bool
) -> None:
    checkout.environ["MISSING"] = missing
    index.speaks_json = speaks_json
    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    for line in ("[1/3] making .venv", "this Python came without pip", "[3/3] installing chaoskit"):
        assert line in result.stderr
    assert checkout.says("import tinydep; print(tinydep.ANSWER)") == "42"
    assert checkout.says("import chaoskit; print(chaoskit.__file__)") == str(
        checkout.root / "chaoskit/__init__.py"
    )
    assert (checkout.root / ".venv/bin/chaoskit").is_file()

    asked = len(index.asked)
    again = checkout.setup()
    assert (again.returncode, again.stderr) == (0, ".venv is up to date.\n")
    assert len(index.asked) == asked


def test_a_changed_lock_is_followed_and_strays_go(checkout: Checkout, index: Index) -> None:
    assert checkout.setup().returncode == 0
    del index.wheels["tinydep-1.0-py3-none-any.whl"]
    checkout.lock(index.requirements())
    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert "removing what the lock does not name: tinydep" in result.stderr
    assert "[1/3]" not in result.stderr
    assert checkout.says("import importlib.util as u; print(u.find_spec('tinydep'))") == "None"


def test_a_setup_that_was_killed_is_done_anew(checkout: Checkout, index: Index) -> None:
    index.stuck_at = "tinydep"
    killed = subprocess.Popen(
        checkout.command(),
        cwd=checkout.root,
        env=checkout.environ,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert index.reached.wait(30)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    index.stuck_at = ""
    index.go_on.set()

    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert "Making .venv anew: an earlier setup did not finish." in result.stderr
    assert checkout.says("import tinydep; print(tinydep.ANSWER)") == "42"


def test_a_pip_that_is_not_the_locked_one_is_not_run(checkout: Checkout, index: Index) -> None:
    (name,) = [wheel for wheel in index.wheels if wheel.startswith("pip-")]
    index.wheels[name] += b"more"
    result = checkout.setup()
    assert result.returncode != 0
    assert f"its {name} is not the locked file" in result.stderr
    assert "\n\nhint: setup needs a Python package index once" in result.stderr
    assert not (checkout.root / ".venv/bin/chaoskit").exists()


def test_a_package_that_is_not_the_locked_one_is_not_installed(
    checkout: Checkout, index: Index
) -> None:
    index.wheels["tinydep-1.0-py3-none-any.whl"] += b"more"
    result = checkout.setup()
    assert result.returncode != 0
    assert "pip could not install what is locked" in result.stderr
    assert "hint: the index serves other files than the locked ones" in result.stderr


def test_no_index_in_reach_is_one_message_with_a_hint(checkout: Checkout) -> None:
    checkout.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    result = checkout.setup()
    assert result.returncode != 0
    assert "http://127.0.0.1:9/simple/pip/: " in result.stderr
    assert "hint: setup needs a Python package index once" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_of_that_name_with_other_things_in_it_is_left_alone(checkout: Checkout) -> None:
    precious = checkout.root / ".venv/precious"
    precious.parent.mkdir()
    precious.touch()
    result = checkout.setup()
    assert result.returncode != 0
    assert "was not made by this setup and holds no working Python" in result.stderr
    assert precious.exists()


@pytest.mark.needs("index")
def test_the_locked_pip_comes_from_the_real_index(tmp_path: Path) -> None:
    wheel = locked_pip((ROOT / "requirements.lock").read_text())
    settings = load_settings(dict(os.environ), Path.home())
    file = fetch_locked_wheel(wheel, settings, tmp_path)
    with zipfile.ZipFile(file) as content:
        assert "pip/__main__.py" in content.namelist()


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.needs("index")
def test_a_bare_python_gets_everything_from_the_real_index(checkout: Checkout) -> None:
    checkout.lock((ROOT / "requirements.lock").read_text())
    own = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "HTTP", "http"))}
    checkout.environ = {
        "PATH": os.defpath,
        "HOME": str(Path.home()),
        "MISSING": "ensurepip pip",
    } | own
    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert checkout.says("import aiohttp, numpy, pytest; print('ok')") == "ok"
