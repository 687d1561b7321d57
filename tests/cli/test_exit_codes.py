"""The exit code of every end of a run, and that the help, the errors and the code agree."""

import re
from typing import Any

import pytest

from chaoskit import errors
from chaoskit.errors import ChaosKitError
from chaoskit.report.result import EXIT_CODES, exit_code
from tests.cli.conftest import Command

pytestmark = pytest.mark.cli

RESULTS: list[tuple[dict[str, Any], int]] = [
    ({"status": "completed", "valid": True, "verdict": "held"}, 0),
    ({"status": "completed", "valid": True, "verdict": "deviated"}, 10),
    ({"status": "completed", "valid": True, "verdict": "inconclusive"}, 11),
    ({"status": "completed", "valid": False, "verdict": "deviated"}, 11),
    ({"status": "refused", "valid": False, "verdict": "inconclusive"}, 5),
    ({"status": "aborted", "valid": False, "verdict": "deviated"}, 12),
    ({"status": "crashed", "valid": False, "verdict": "inconclusive"}, 1),
    ({"status": "interrupted", "signal": "SIGINT", "valid": False, "verdict": "deviated"}, 130),
    ({"status": "interrupted", "signal": "SIGTERM", "valid": False, "verdict": "held"}, 143),
]


@pytest.mark.parametrize(("result", "code"), RESULTS)
def test_the_code_of_a_run(result: dict[str, Any], code: int) -> None:
    assert exit_code({**result, "residual_faults": []}) == code


@pytest.mark.parametrize(("result", "code"), RESULTS)
def test_what_is_left_injected_outranks_everything(result: dict[str, Any], code: int) -> None:
    assert exit_code({**result, "residual_faults": ["drop-host"]}) == 20


def test_the_help_has_the_table_of_the_code(command: Command) -> None:
    told = re.findall(r"^ {2,6}(\d+)  (.+)$", command("--help"), re.M)
    assert [(int(code), text) for code, text in told] == list(EXIT_CODES)


def test_every_code_that_can_come_is_in_the_table() -> None:
    known = {code for code, _ in EXIT_CODES}
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and k is not ChaosKitError]
    raised = {k.exit_code for k in kinds if issubclass(k, ChaosKitError)}
    assert raised == {2, 3, 4, 20}
    assert raised | {code for _, code in RESULTS} == known


def test_codes_are_told_once_and_in_order() -> None:
    codes = [code for code, _ in EXIT_CODES]
    assert codes == sorted(set(codes))
