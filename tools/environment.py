"""The .venv of this checkout: is it right, and what makes it right.

`.venv/.setup.json` says what was installed and is written last; `.venv/.setup-unfinished` is
written first. So an interrupted setup is seen and redone, and a .venv that has neither is known to
be somebody else's: it is used when it fits, and never thrown away.
"""

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.pip_source import (
    NoPipFoundError,
    bundled_wheel,
    fetch_locked_wheel,
    load_settings,
    locked_pip,
)
from tools.progress import Progress

_STEPS = 3
_FORMAT = 1
# Settings of the user's that would put packages elsewhere than into .venv, or other ones there.
_MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIREMENT", "PIP_CONSTRAINT")


class SetupError(Exception):
    """What stops the setup, with a hint at what helps."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Environment:
    """The .venv of the checkout at `root`. Not for two processes at once: it takes a lock."""

    def __init__(self, root: str | Path, *, verbose: bool = False) -> None:
        self._root = Path(root).resolve()
        self._folder = self._root / ".venv"
        self._python = self._folder / "bin/python"
        self._stamp = self._folder / ".setup.json"
        self._unfinished = self._folder / ".setup-unfinished"
        self._log = self._folder / "setup.log"
        self._lock_file = self._root / "requirements.lock"
        self._progress = Progress(_STEPS, verbose=verbose)

    def bring_up_to_date(self, *, report: bool = False) -> None:
        """Make or update .venv where needed. Raises SetupError; the next call redoes what broke."""
        if self._is_current():
            if report:
                self._progress.say(".venv is up to date.")
            return
        started_s = time.monotonic()
        try:
            with (self._root / "tools/bootstrap.py").open("rb") as lock:
                self._wait_for_our_turn(lock.fileno())
                if self._is_current():
                    return
                packages = self._make()
        except OSError as error:
            raise _explained(error, self._root) from error
        took_s = time.monotonic() - started_s
        self._progress.say(
            f"Ready in {took_s:.0f} s: .venv/bin/chaoskit,"
            f" Python {_version()}, {packages} locked packages."
        )

    def _is_current(self) -> bool:
        return (
            self._stamped() == self._wanted()
            and not self._unfinished.exists()
            and (self._folder / "bin/chaoskit").is_file()
            and self._python.exists()
        )

    def _wanted(self) -> dict[str, object]:
        project = hashlib.sha256()
        for name in ("pyproject.toml", "chaoskit/__init__.py"):
            project.update((self._root / name).read_bytes())
        return {
            "format": _FORMAT,
            "python": "{}.{}".format(*sys.version_info[:2]),
            "place": str(self._root),
            "lock": hashlib.sha256(self._lock_file.read_bytes()).hexdigest(),
            "project": project.hexdigest(),
        }

    def _stamped(self) -> dict[str, object]:
        try:
            stamp = json.loads(self._stamp.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _wait_for_our_turn(self, descriptor: int) -> None:
        # Inherited by pip: were this process killed, the next setup would wait for pip to end.
        os.set_inheritable(descriptor, True)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._progress.say("Another setup of this checkout is running; waiting for it.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _make(self) -> int:
        """Do the steps that are due and stamp the result. Returns the number of locked packages."""
        wanted, found = self._wanted(), self._stamped()
        fresh = self._clear_the_ground(found)
        self._stamp.unlink(missing_ok=True)
        if fresh:
            self._progress.step(1, f"making .venv with Python {_version()}")
            _make_venv(self._folder)
        requirements = self._lock_file.read_text()
        pins = pins_for_here(requirements)
        if fresh or found.get("lock") != wanted["lock"]:
            self._progress.step(2, f"installing {len(pins)} locked packages")
            wheel = self._pip_wheel(requirements)
            install = ["install", "--no-deps", "-r", str(self._lock_file)]
            runner = [str(wheel / "pip")] if wheel else ["-m", "pip"]
            self._pip(runner, install, expected=len(pins))
            if wheel is not None and wheel.parent == self._folder:
                wheel.unlink()
            self._remove_strays(pins)
        self._progress.step(3, "installing chaoskit itself, editable")
        # No build isolation: the build backend is among the locked packages.
        editable = ["install", "--no-deps", "--no-build-isolation", "-e", str(self._root)]
        self._pip(["-m", "pip"], editable, expected=0)
        self._progress.clear()
        fresh_stamp = self._stamp.with_suffix(".new")
        fresh_stamp.write_text(json.dumps(wanted, indent=1) + "\n")
        fresh_stamp.replace(self._stamp)
        self._unfinished.unlink()
        return len(pins)

    def _clear_the_ground(self, found: dict[str, object]) -> bool:
        """Mark .venv unfinished; return whether it has to be made from nothing."""
        if self._folder.exists() and not found and not self._unfinished.exists():
            self._adopt_or_refuse()
            self._unfinished.touch()
            return True
        same = all(found.get(key) == self._wanted()[key] for key in ("format", "python", "place"))
        usable = same and not self._unfinished.exists() and self._python.exists()
        if not usable and self._folder.exists():
            why = (
                "an earlier setup did not finish" if self._unfinished.exists() else "it is outdated"
            )
            self._progress.say(f"Making .venv anew: {why}.")
            self._unfinished.touch()
            shutil.rmtree(self._folder)
        self._folder.mkdir(exist_ok=True)
        self._unfinished.touch()
        return not usable

    def _adopt_or_refuse(self) -> None:
        """Use a .venv of another origin when it fits, refuse when it does not."""
        command = [str(self._python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            made_with = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            made_with = "no working Python"
        if made_with.strip() != self._wanted()["python"]:
            raise SetupError(
                f"{self._folder} was not made by this setup and holds {made_with.strip()}.",
                "move it away or delete it, then: make setup",
            )

    def _pip_wheel(self, requirements: str) -> Path | None:
        """Return the wheel to run pip from; None when .venv has pip already."""
        if next((self._folder / "lib").glob("python3*/site-packages/pip/__main__.py"), None):
            return None
        bundled = bundled_wheel()
        if bundled is not None:
            return bundled
        self._progress.note("this Python came without pip: fetching the locked one")
        try:
            settings = load_settings(dict(os.environ), Path.home())
            return fetch_locked_wheel(locked_pip(requirements), settings, self._folder)
        except NoPipFoundError as error:
            raise SetupError(
                f"This Python has no pip, and none could be fetched:\n{error}", _NETWORK_HINT
            ) from error

    def _remove_strays(self, pins: list[str]) -> None:
        listing = subprocess.run(
            [str(self._python), "-c", _LIST_INSTALLED], capture_output=True, text=True, check=True
        )
        locked = {_canonical(name) for name in pins}
        strays = [n for n in listing.stdout.split() if _canonical(n) not in {*locked, "chaoskit"}]
        if strays:
            self._progress.note(f"removing what the lock does not name: {', '.join(strays)}")
            self._pip(["-m", "pip"], ["uninstall", "-y", *strays], expected=0)

    def _pip(self, runner: list[str], arguments: list[str], *, expected: int) -> None:
        command = [str(self._python), *runner, *arguments, "--no-color"]
        if arguments[0] == "install":
            command += ["--progress-bar", "off"]
        status, tail = self._progress.follow(command, _clean_environ(), self._log, expected)
        if status != 0:
            raise SetupError(
                "pip could not install what is locked; its last words:\n  " + "\n  ".join(tail),
                _hint_for("\n".join(tail)) + f"\n      all of it: {self._log}",
            )


_LIST_INSTALLED = (
    "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'])"
)
_NETWORK_HINT = (
    "setup needs a Python package index once; pip's own settings are honoured"
    " (pip.conf, PIP_INDEX_URL, PIP_FIND_LINKS, PIP_CERT, PIP_PROXY, https_proxy)"
)


def pins_for_here(requirements: str) -> list[str]:
    """Return the packages of a lock that pip installs here: those whose marker holds, or without.

    A marker of a form that this does not know counts as holding.
    """
    pins = re.findall(r"^([A-Za-z0-9._-]+)==[^ \n]+ *(?:; *([^\\\n]+))?", requirements, re.M)
    return [name for name, marker in pins if _holds(marker.strip())]


def _holds(marker: str) -> bool:
    found = re.fullmatch(r"(\w+) (==|!=|<|>=) '([^']+)'", marker)
    here = {
        "sys_platform": sys.platform,
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": _version(),
    }
    if found is None or found[1] not in here:
        return True
    name, operator, wanted = found.groups()
    if operator in ("==", "!="):
        return (here[name] == wanted) == (operator == "==")
    older = _numbers(here[name]) < _numbers(wanted)
    return older == (operator == "<")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _make_venv(folder: Path) -> None:
    """Make a virtual environment without pip, which needs no ensurepip."""
    try:
        import venv
    except ImportError:
        # Some distributions split even this off; what follows is what its absence takes away.
        base = Path(getattr(sys, "_base_executable", sys.executable))
        library = folder / "lib" / "python{}.{}".format(*sys.version_info[:2])
        (library / "site-packages").mkdir(parents=True, exist_ok=True)
        (folder / "bin").mkdir(exist_ok=True)
        for name in ("python", "python3"):
            (folder / "bin" / name).symlink_to(base)
        config = f"home = {base.parent}\ninclude-system-site-packages = false\n"
        (folder / "pyvenv.cfg").write_text(config + f"version = {_version()}\n")
    else:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)


def _clean_environ() -> dict[str, str]:
    environ = {k: v for k, v in os.environ.items() if k not in _MISLEADING}
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environ.pop(name, None)
    environ.update(
        PIP_USER="0",
        PIP_NO_INPUT="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PYTHONUNBUFFERED="1",
        PIP_ROOT_USER_ACTION="ignore",
    )
    return environ


def _hint_for(text: str) -> str:
    if re.search(r"HASHES|hash", text):
        return "the index serves other files than the locked ones; look at the index you use"
    if re.search(r"No space left", text):
        return "free some disk space; .venv needs about 300 MB"
    if re.search(r"No matching distribution|Connection|resolve|Proxy|SSL|timed out|retries", text):
        return _NETWORK_HINT
    return "for all that pip says: make setup V=1"


def _explained(error: OSError, root: Path) -> SetupError:
    where = error.filename or root
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return SetupError(f"Cannot write {where}: {error.strerror}.", f"setup writes {root}/.venv")
    return SetupError(
        f"{where}: {error.strerror or error}.", "for all that is done: make setup V=1"
    )


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))
