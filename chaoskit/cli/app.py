"""The command line: commands, options and exit codes. A command imports what it needs when run."""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from chaoskit import __version__
from chaoskit.cli.interrupted import Interrupted
from chaoskit.cli.streams import lasting_streams
from chaoskit.errors import ChaosKitError, InvalidInput
from chaoskit.report.plain_text import printable
from chaoskit.report.result import EXIT_CODES

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES)

app = typer.Typer(
    name="chaoskit",
    help=(
        "Break a live audio room on purpose, and hear from every listener whether it heals.\n\n"
        "\b\n"
        "  chaoskit replay launch-night         the launch night of May 2023, for real\n"
        "  chaoskit run host-drop-fresh-room    one experiment, by its id or its file\n"
        "  chaoskit plan host-drop-fresh-room   what it would do; starts nothing"
    ),
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=True,
    # Plain text: rich would double the time that `--help` takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _folder(value: str | Path) -> Path:
    # An empty path would be the working directory itself: nobody who writes it means that.
    if not str(value):
        raise InvalidInput("--runs-dir is empty", hint="name a folder, or leave it out for runs/")
    return Path(value)


RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir",
        parser=_folder,
        metavar="DIR",
        envvar="CHAOSKIT_RUNS",
        help="Where run folders are.",
    ),
]
Format = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="text or json (on stdout).")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Seed of the schedule and the proxy's decisions."),
]
Listeners = Annotated[
    int | None,
    typer.Option("--listeners", metavar="N", help="Real listeners instead of the file's number."),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="N",
        help="How many people a listener stands for (1000 or 1:1000), instead of --listeners.",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", metavar="NAME", help="Remedies of the directory instead of the file's."
    ),
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"chaoskit {__version__}")
        raise typer.Exit


def _check_format(value: str) -> None:
    if value not in ("text", "json"):
        raise InvalidInput(f"--format {value!r} is neither text nor json")


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""


@app.command(
    epilog="Example: chaoskit run experiments/packet-loss-listeners.yaml --format json",
    short_help="Run experiments and judge them by what listeners heard.",
)
def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Experiment files or ids.")],
    seed: Seed = None,
    listeners: Listeners = None,
    control: Annotated[
        bool, typer.Option("--control", help="Run the other half of the pair (its `control:`).")
    ] = False,
    profile: Profile = None,
    runs_dir: RunsDir = Path("runs"),
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Run each experiment: gate, inject, observe, recover, judge. Exit code: the worst of them."""
    from chaoskit.cli.commands import run_experiments

    _check_format(format)
    raise typer.Exit(
        run_experiments(
            files,
            seed=seed,
            listeners=listeners,
            control=control,
            profile=profile,
            runs_dir=runs_dir,
            as_json=format == "json",
            quiet=quiet,
        )
    )


@app.command(
    epilog="Example: chaoskit replay launch-night --seed 7 --format json",
    short_help="Execute a written incident and compare the run with the record.",
)
def replay(
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="An incident id or the folder of one.")
    ],
    seed: Seed = None,
    listeners: Listeners = None,
    scale: Scale = None,
    runs_dir: RunsDir = Path("runs"),
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Play an incident for real, at reduced scale, and print the fidelity table."""
    from chaoskit.cli.commands import replay_incident

    _check_format(format)
    raise typer.Exit(
        replay_incident(
            incident,
            seed=seed,
            listeners=listeners,
            scale=scale,
            runs_dir=runs_dir,
            as_json=format == "json",
            quiet=quiet,
        )
    )


@app.command(epilog="Example: chaoskit plan launch-night")
def plan(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="An experiment file or id, or an incident.")
    ],
    seed: Seed = None,
    listeners: Listeners = None,
    scale: Scale = None,
    profile: Profile = None,
    control: Annotated[bool, typer.Option("--control", help="The other half of the pair.")] = False,
) -> None:
    """Show resolved targets, schedule, undo and proof of each fault. Starts nothing."""
    from chaoskit.cli.commands import show_plan

    raise typer.Exit(
        show_plan(
            what, seed=seed, listeners=listeners, scale=scale, profile=profile, control=control
        )
    )


@app.command(epilog="Example: chaoskit validate experiments/*.yaml")
def validate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Experiment files or ids, or incidents."),
    ],
) -> None:
    """Read files and print every error with file:line:column. Starts nothing."""
    from chaoskit.cli.commands import validate_files

    raise typer.Exit(validate_files(files))


@app.command(epilog="Examples: chaoskit heal 7f3c · chaoskit heal --all")
def heal(
    run_id: Annotated[str | None, typer.Argument(help="A run id.", metavar="RUN")] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="Every run that is not alive.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Undo what a run left behind, from its journal alone. Repeatable; live runs are skipped."""
    from chaoskit.cli.commands import heal_runs

    raise typer.Exit(heal_runs(run_id, all_runs=all_runs, runs_dir=runs_dir))


@app.command("list", epilog="Example: chaoskit list faults")
def list_(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="experiments, faults, checks, incidents or runs."),
    ],
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """List what there is."""
    from chaoskit.cli.listing import show_list

    raise typer.Exit(show_list(what, runs_dir=runs_dir))


@app.command(epilog="Example: chaoskit report latest")
def report(
    run_id: Annotated[str, typer.Argument(help="A run id, or `latest`.", metavar="RUN")] = "latest",
    runs_dir: RunsDir = Path("runs"),
    format: Format = "text",
) -> None:
    """Show the summary of a stored run again; exits with the run's code."""
    from chaoskit.cli.commands import show_report

    _check_format(format)
    raise typer.Exit(show_report(run_id, runs_dir=runs_dir, as_json=format == "json"))


def render_error(error: ChaosKitError) -> None:
    """Print an error with its hint and exit code on stderr."""
    _print_problem([error.message, *getattr(error, "__notes__", ())], error.hint, error.exit_code)


def render_bug(error: Exception) -> None:
    """Print on stderr that chaoskit failed, where, and what to do with the traceback."""
    message = f"chaoskit has a bug: {type(error).__name__}: {error}{_place_of(error)}"
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    kept = any("traceback" in note for note in notes)
    hint = "please report it with that file" if kept else "CHAOSKIT_DEBUG=1 shows the traceback"
    _print_problem([message, *notes], hint, 1)


def _place_of(error: Exception) -> str:
    package = Path(__file__).parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(package):
            return f" ({path.relative_to(package)}:{frame.lineno})"
    return ""


def _print_problem(lines: Sequence[str], hint: str | None, code: int) -> None:
    text = printable("\n".join(lines))
    if hint:
        text += f"\n\nhint: {hint}"
    if sys.stderr:
        # Not by rich, whose import takes longer than most commands that fail.
        sys.stderr.write(f"{text}   exit {code}\n")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the command's code."""
    with lasting_streams():
        code = _code_of(list(sys.argv[1:] if argv is None else argv))
    raise SystemExit(code)


def _code_of(arguments: list[str]) -> int:
    """Return the exit code of a command line; whatever it raises is rendered."""
    try:
        app(args=arguments, prog_name="chaoskit")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception as error:
        if isinstance(error, Interrupted):
            return error.exit_code
        if os.environ.get("CHAOSKIT_DEBUG"):
            traceback.print_exception(error)
        if isinstance(error, ChaosKitError):
            render_error(error)
            return error.exit_code
        render_bug(error)
        return 1
    return 0
