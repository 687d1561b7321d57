"""What the service is started with: its command line and its config file."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from chaoskit.errors import InvalidInput
from chaoskit.wire.directory import DirectoryConfig
from chaoskit.wire.directory_codec import parse_message


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line. `port` 0 takes any free one; `ready` is written when the service serves."""

    name: str
    ready: Path
    host: str
    port: int
    config: Path


def parse_options(arguments: list[str] | None = None) -> Options:
    """Parse the command line; exits with 2 when it cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m chaoskit.services.directory",
        description="The application's backend: which room an event is in, and who may speak.",
    )
    parser.add_argument("--name", default="directory", help="name in logs and in the ready file")
    parser.add_argument("--ready", type=Path, required=True, metavar="FILE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    found = parser.parse_args(arguments)
    return Options(
        name=found.name, ready=found.ready, host=found.host, port=found.port, config=found.config
    )


def load_config(path: Path) -> DirectoryConfig:
    """Read the config file. Raises InvalidInput that names the file and all that is wrong."""
    try:
        return parse_message(DirectoryConfig, path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    except ValueError as error:
        findings = "\n".join(f"{path}: {line}" for line in str(error).splitlines())
        raise InvalidInput(
            findings, hint="the members are those of chaoskit.wire.directory.DirectoryConfig"
        ) from error
