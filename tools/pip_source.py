"""Finds a pip wheel for an interpreter that has no pip, by pip's own settings.

First the wheel that came with Python, then the locked one from where pip's configuration says.
"""

import base64
import configparser
import hashlib
import json
import netrc
import os
import re
import ssl
import sysconfig
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

_DEFAULT_INDEX = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_TRIES = 3
_FRAGMENT_HASHES = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})


class NoPipFoundError(Exception):
    """No pip wheel could be had; the text lists each place that was asked and what it said."""


@dataclass(frozen=True)
class LockedWheel:
    """The pip that the lock names: version, and the sha256 digests its files may have (hex)."""

    version: str
    digests: frozenset[str]

    @property
    def filename(self) -> str:
        """The wheel's file name on an index."""
        return f"pip-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class PipSettings:
    """The part of pip's configuration that says where packages come from and how to get there."""

    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: frozenset[str]
    cert: str | None
    client_cert: str | None
    proxy: str | None
    timeout_s: float


def bundled_wheel() -> Path | None:
    """Return the newest pip wheel that came with this Python or its distribution, or None."""
    folders = []
    try:
        import ensurepip
    except ImportError:
        pass
    else:
        folders.append(Path(ensurepip.__file__).parent / "_bundled")
    packaged = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if packaged:
        folders.append(Path(packaged))
    wheels = [wheel for folder in folders for wheel in folder.glob("pip-*.whl")]
    return max(wheels, key=lambda wheel: _numbers(wheel.name), default=None)


def locked_pip(requirements: str) -> LockedWheel:
    """Read the pin of pip from the text of a hashed requirements file; ValueError without one."""
    pin = re.search(r"^pip==(\S+)((?:\s*\\\n\s*--hash=sha256:[0-9a-f]{64})+)", requirements, re.M)
    if pin is None:
        raise ValueError("the lock does not pin pip with a hash")
    digests = re.findall(r"sha256:([0-9a-f]{64})", pin.group(2))
    return LockedWheel(version=pin.group(1), digests=frozenset(digests))


def load_settings(environ: dict[str, str], home: Path, etc: Path = Path("/etc")) -> PipSettings:
    """Read pip's settings as `pip install` would: its files in its order, PIP_* over all.

    Source: pip's user guide, "Configuration" (precedence; `install` over `global`).
    """
    merged: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for file in _config_files(environ, home, etc):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise NoPipFoundError(
                f"pip's configuration file {file} does not parse: {error}"
            ) from error
        for section in merged:
            if parser.has_section(section):
                for key, value in parser.items(section):
                    merged[section][key.replace("_", "-")] = value
    values = {**merged["global"], **merged["install"]}
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            values[name[4:].lower().replace("_", "-")] = value

    indexes = (
        []
        if _is_true(values.get("no-index", ""))
        else [
            values.get("index-url", _DEFAULT_INDEX),
            *values.get("extra-index-url", "").split(),
        ]
    )
    bundle = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    return PipSettings(
        index_urls=tuple(indexes),
        find_links=tuple(values.get("find-links", "").split()),
        trusted_hosts=frozenset(values.get("trusted-host", "").split()),
        cert=values.get("cert") or bundle,
        client_cert=values.get("client-cert"),
        proxy=values.get("proxy"),
        timeout_s=float(values.get("default-timeout") or values.get("timeout") or 15.0),
    )


def fetch_locked_wheel(wheel: LockedWheel, settings: PipSettings, folder: Path) -> Path:
    """Put the locked wheel into `folder` and return its path.

    Raises NoPipFoundError when no place has it, or when what a place has is not the locked file.
    """
    refusals: list[str] = []
    pages = [*settings.find_links, *(f"{url.rstrip('/')}/pip/" for url in settings.index_urls)]
    for page in pages:
        try:
            content = _from_page(page, wheel, settings)
        except (OSError, ValueError) as error:
            refusals.append(f"{_without_secrets(page)}: {_reason(error)}")
            continue
        if content is None:
            refusals.append(f"{_without_secrets(page)}: has no {wheel.filename}")
        elif hashlib.sha256(content).hexdigest() not in wheel.digests:
            refusals.append(
                f"{_without_secrets(page)}: its {wheel.filename} is not the locked file"
            )
        else:
            target = folder / wheel.filename
            target.write_bytes(content)
            return target
    if not pages:
        refusals.append("pip's settings forbid an index (no-index) and name no find-links")
    raise NoPipFoundError("\n".join(refusals))


def _from_page(page: str, wheel: LockedWheel, settings: PipSettings) -> bytes | None:
    local = _local_path(page)
    if local is not None and local.is_dir():
        file = local / wheel.filename
        return file.read_bytes() if file.is_file() else None
    if local is not None:
        base, kind, body = local.resolve().as_uri(), "text/html", local.read_bytes()
    else:
        base, kind, body = _get(page, settings)
    for link in _links(base, kind, body):
        parts = urllib.parse.urlsplit(link)
        if urllib.parse.unquote(parts.path.rsplit("/", 1)[-1]) != wheel.filename:
            continue
        target = urllib.parse.urlunsplit(parts._replace(fragment=""))
        linked = _local_path(target)
        content = linked.read_bytes() if linked is not None else _get(target, settings)[2]
        _check_fragment(parts.fragment, content)
        return content
    return None


def _links(base: str, kind: str, body: bytes) -> list[str]:
    """Absolute links of a simple-index page, PEP 691 JSON or PEP 503 HTML, hash in the fragment."""
    if "json" in kind:
        files = json.loads(body)["files"]
        return [
            urllib.parse.urljoin(base, file["url"])
            + "".join(
                f"#sha256={file['hashes'][n]}" for n in file.get("hashes", {}) if n == "sha256"
            )
            for file in files
        ]
    parser = _Anchors()
    parser.feed(body.decode("utf-8", "replace"))
    root = urllib.parse.urljoin(base, parser.base) if parser.base else base
    return [urllib.parse.urljoin(root, href) for href in parser.hrefs]


class _Anchors(HTMLParser):
    """Collects the hrefs of a page, and its base."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what `a` and `base` point to."""
        href = dict(attrs).get("href")
        if href and tag == "a":
            self.hrefs.append(href)
        elif href and tag == "base" and not self.base:
            self.base = href


def _check_fragment(fragment: str, content: bytes) -> None:
    algorithm, _, digest = fragment.partition("=")
    if algorithm not in _FRAGMENT_HASHES or not digest:
        return
    if hashlib.new(algorithm, content).hexdigest() != digest.split("&")[0].lower():
        raise ValueError(f"the download does not have the {algorithm} that the index gives")


def _get(url: str, settings: PipSettings) -> tuple[str, str, bytes]:
    """Fetch a URL: its final address, content type and body. Raises OSError."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    request = urllib.request.Request(urllib.parse.urlunsplit(bare), headers={"Accept": _ACCEPT})
    credentials = _credentials(parts.username, parts.password, host)
    if credentials:
        # Not sent on after a redirect: another host has no right to them.
        request.add_unredirected_header("Authorization", "Basic " + credentials)
    context = ssl.create_default_context(
        cafile=_bundle_file(settings), capath=_bundle_folder(settings)
    )
    if host in settings.trusted_hosts or bare.netloc in settings.trusted_hosts:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.client_cert:
        context.load_cert_chain(settings.client_cert)
    proxies = None
    if settings.proxy:
        through = settings.proxy if "://" in settings.proxy else "http://" + settings.proxy
        proxies = {"http": through, "https": through}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    for attempt in range(1, _TRIES + 1):
        try:
            with opener.open(request, timeout=settings.timeout_s) as answer:
                return answer.geturl(), answer.headers.get("Content-Type", ""), answer.read()
        except OSError as error:
            if attempt == _TRIES or _is_final(error):
                raise
            time.sleep(0.5 * attempt)
    raise AssertionError("the loop returns or raises")


def _is_final(error: OSError) -> bool:
    """Whether asking again would get the same answer."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500
    return isinstance(getattr(error, "reason", error), ConnectionRefusedError)


def _credentials(user: str | None, password: str | None, host: str) -> str | None:
    if user is None:
        try:
            entry = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            return None
        if entry is None:
            return None
        user, password = entry[0], entry[2]
    pair = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password or '')}"
    return base64.b64encode(pair.encode()).decode()


def _config_files(environ: dict[str, str], home: Path, etc: Path) -> list[Path]:
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    shared = [Path(d) for d in environ.get("XDG_CONFIG_DIRS", "").split(":") if d] or [etc / "xdg"]
    files = [folder / "pip/pip.conf" for folder in shared] + [etc / "pip.conf"]
    if not (chosen and Path(chosen).exists()):
        own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        files += [home / ".pip/pip.conf", own / "pip/pip.conf"]
    if chosen:
        files.append(Path(chosen))
    return files


def _bundle_file(settings: PipSettings) -> str | None:
    return settings.cert if settings.cert and not Path(settings.cert).is_dir() else None


def _bundle_folder(settings: PipSettings) -> str | None:
    return settings.cert if settings.cert and Path(settings.cert).is_dir() else None


def _local_path(place: str) -> Path | None:
    scheme = urllib.parse.urlsplit(place).scheme
    if scheme == "file":
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(place).path))
    return Path(place).expanduser() if "://" not in place else None


def _without_secrets(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _is_true(value: str) -> bool:
    return value.strip().lower() in {"1", "true", "yes", "on", "y", "t"}
