"""Where the data files of chaoskit are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def experiments_dir() -> Path:
    """Return the folder of the experiments that come with chaoskit, one `<id>.yaml` each.

    Raises FileNotFoundError when the installation lacks it.
    """
    return _data_folder("experiments")


def fixtures_dir() -> Path:
    """Return the folder that holds `incidents/`, `stacks/` and `profiles/`.

    Raises FileNotFoundError when the installation lacks it.
    """
    return _data_folder("fixtures")


def _data_folder(name: str) -> Path:
    # A checkout wins: an editable install must see the file that was just edited.
    for parent in (_PACKAGE.parent, _PACKAGE / "_data"):
        if parent == _PACKAGE.parent and not (parent / "pyproject.toml").is_file():
            continue
        folder = parent / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the data folder {name!r} is missing beside {_PACKAGE}")
