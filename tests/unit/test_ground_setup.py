"""The parts of `make setup` that decide: where pip's settings point, what a page offers."""

import ast
import errno
import hashlib
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import pip_source
from tools.environment import Environment, SetupError, pins_for_here
from tools.pip_source import LockedWheel, NoPipFoundError, fetch_locked_wheel, load_settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "a" * 64


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_without_any_setting_the_public_index_is_asked(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path, tmp_path)
    assert settings.index_urls == ("https://pypi.org/simple",)
    assert settings.find_links == ()
    assert settings.timeout_s == 15.0


def test_nearer_settings_win_over_farther_ones(tmp_path: Path) -> None:
    etc, home = tmp_path / "etc", tmp_path / "home"
    write(etc / "pip.conf", "[global]\nindex-url = http://machine/\ncert = /machine.pem\n")
    write(home / ".config/pip/pip.conf", "[global]\nindex_url = http://user/\ntimeout = 7\n")
    assert load_settings({}, home, etc).index_urls == ("http://user/",)

    write(home / ".config/pip/pip.conf", "[install]\nindex-url = http://install/\n")
    write(home / ".pip/pip.conf", "[global]\nindex-url = http://legacy/\n")
    assert load_settings({}, home, etc).index_urls == ("http://install/",)

    chosen = str(write(tmp_path / "chosen.conf", "[install]\nindex-url = http://chosen/\n"))
    settings = load_settings({"PIP_CONFIG_FILE": chosen}, home, etc)
    assert settings.index_urls == ("http://chosen/",)
    assert settings.cert == "/machine.pem"

    environ = {"PIP_CONFIG_FILE": chosen, "PIP_INDEX_URL": "http://environ/"}
    assert load_settings(environ, home, etc).index_urls == ("http://environ/",)


def test_configuration_files_can_be_switched_off(tmp_path: Path) -> None:
    write(tmp_path / "pip.conf", "[global]\nno-index = true\n")
    assert load_settings({}, tmp_path, tmp_path).index_urls == ()
    off = load_settings({"PIP_CONFIG_FILE": "/dev/null"}, tmp_path, tmp_path)
    assert off.index_urls == ("https://pypi.org/simple",)


def test_all_that_leads_to_an_index_is_read(tmp_path: Path) -> None:
    environ = {
        "PIP_EXTRA_INDEX_URL": "http://one/ http://two/",
        "PIP_FIND_LINKS": "/wheels http://three/",
        "PIP_TRUSTED_HOST": "one two:8080",
        "PIP_PROXY": "proxy:3128",
        "PIP_CLIENT_CERT": "/client.pem",
        "PIP_DEFAULT_TIMEOUT": "180",
        "REQUESTS_CA_BUNDLE": "/bundle.pem",
    }
    settings = load_settings(environ, tmp_path, tmp_path)
    assert settings.index_urls == ("https://pypi.org/simple", "http://one/", "http://two/")
    assert settings.find_links == ("/wheels", "http://three/")
    assert settings.trusted_hosts == {"one", "two:8080"}
    assert settings.proxy == "proxy:3128"
    assert settings.client_cert == "/client.pem"
    assert settings.cert == "/bundle.pem"
    assert settings.timeout_s == 180.0


def test_a_configuration_that_does_not_parse_is_named(tmp_path: Path) -> None:
    write(tmp_path / "pip.conf", "index-url = no section\n")
    with pytest.raises(NoPipFoundError, match=r"pip\.conf does not parse"):
        load_settings({}, tmp_path, tmp_path)


def test_the_pin_of_pip_is_read_from_the_lock() -> None:
    wheel = pip_source.locked_pip((ROOT / "requirements.lock").read_text())
    assert wheel.filename == f"pip-{wheel.version}-py3-none-any.whl"
    assert wheel.digests
    with pytest.raises(ValueError, match="does not pin pip"):
        pip_source.locked_pip("pip==26.3\npippin==1.0 --hash=sha256:" + DIGEST)


def test_both_forms_of_an_index_page_give_the_same_links() -> None:
    wheel = "pip-1-py3-none-any.whl"
    page = f'<base href="/files/"><a href="../files/{wheel}#sha256={DIGEST}">x</a>'.encode()
    data = f'{{"files": [{{"url": "/files/{wheel}", "hashes": {{"sha256": "{DIGEST}"}}}}]}}'
    expected = [f"http://host/files/{wheel}#sha256={DIGEST}"]
    base = "http://host/simple/pip/"
    assert pip_source._links(base, "text/html", page) == expected
    json_type = "application/vnd.pypi.simple.v1+json"
    assert pip_source._links(base, json_type, data.encode()) == expected


def test_links_may_be_a_folder_or_a_page_on_disk(tmp_path: Path) -> None:
    content = b"not really a wheel"
    wheel = LockedWheel(version="1", digests=frozenset({hashlib.sha256(content).hexdigest()}))
    write(tmp_path / "wheels" / wheel.filename, content.decode())
    page = write(tmp_path / "page.html", f'<a href="wheels/{wheel.filename}">pip</a>')
    for links in (str(tmp_path / "wheels"), (tmp_path / "wheels").as_uri(), str(page)):
        settings = load_settings({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links}, tmp_path, tmp_path)
        assert fetch_locked_wheel(wheel, settings, tmp_path).read_bytes() == content


def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    wheel = LockedWheel(version="1", digests=frozenset({DIGEST}))
    write(tmp_path / "wheels" / wheel.filename, "something else")
    environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{tmp_path}/wheels {tmp_path}/none"}
    with pytest.raises(NoPipFoundError) as refused:
        fetch_locked_wheel(wheel, load_settings(environ, tmp_path, tmp_path), tmp_path)
    assert "is not the locked file" in str(refused.value)
    assert f"{tmp_path}/none: " in str(refused.value)
    assert not (tmp_path / wheel.filename).exists()


def test_a_secret_in_an_address_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, settings: pip_source.PipSettings) -> tuple[str, str, bytes]:
        assert "user:secret@" in url
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(pip_source, "_get", refuse)
    wheel = LockedWheel(version="1", digests=frozenset({DIGEST}))
    environ = {"PIP_INDEX_URL": "http://user:secret@127.0.0.1:9/simple"}
    with pytest.raises(NoPipFoundError) as refused:
        fetch_locked_wheel(wheel, load_settings(environ, tmp_path, tmp_path), tmp_path)
    assert "http://127.0.0.1:9/simple/pip/" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_read_only_checkout_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "pyproject.toml",
        "chaoskit/__init__.py",
        "requirements.lock",
        "tools/bootstrap.py",
    ):
        write(tmp_path / name, "")

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SetupError, match=r"Cannot write .*/\.venv: Read-only") as stopped:
        Environment(tmp_path).bring_up_to_date()
    assert stopped.value.hint == f"setup writes {tmp_path}/.venv"


def test_an_old_python_can_read_why_it_is_refused() -> None:
    ast.parse((ROOT / "tools/bootstrap.py").read_text(), feature_version=(3, 7))


def test_the_packages_that_are_announced_are_those_that_pip_installs() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    wanted = [
        requirement.name
        for line in re.findall(r"^[A-Za-z0-9].*==.*$", lock, re.M)
        for requirement in [Requirement(line.removesuffix("\\").strip())]
        if requirement.marker is None or requirement.marker.evaluate()
    ]
    assert pins_for_here(lock) == wanted
    assert len(wanted) == len(set(wanted)) < len(re.findall(r"^\S+==", lock, re.M))


def test_a_marker_of_another_form_counts_as_holding() -> None:
    lock = "a==1 ; sys_platform == 'nowhere' \\\nb==1 ; extra == 'x' or extra == 'y'\nc==2\n"
    assert pins_for_here(lock) == ["b", "c"]
