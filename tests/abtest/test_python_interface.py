"""`import abtest` is light, its rooms are modules and functions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import abtest
from abtest.errors import UsageError
from tests.test_architecture import ROOMS

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = python(
        "import sys, abtest\n"
        "print(abtest.__version__, [m for m in ('torch', 'polars', 'numpy') if m in sys.modules])"
    )
    assert loaded == f"{abtest.__version__} []"


def test_every_package_gives_its_types_to_code_that_uses_it() -> None:
    """A plugin imports `policies.base` and others; without the mark all their names are Any."""
    for room in ROOMS:
        assert (ROOT / room / "py.typed").is_file(), room


CALL = "assert calls_run()\n"
MODULE = "import abtest.run.experiment\nassert abtest.run.experiment.run_experiment\n"
NAME = "from abtest.run.experiment import run_experiment\n"


ORDERS = (
    (CALL, MODULE, NAME),
    (MODULE, CALL, NAME),
    (NAME, CALL, MODULE),
    (NAME, MODULE, CALL),
    ("from abtest import run\nassert callable(run)\n", CALL, MODULE),
    ("import abtest.cli\n", CALL, "import abtest.analyze\nassert callable(abtest.analyze)\n"),
)


def test_a_room_is_a_module_and_a_function_in_any_order() -> None:
    """Each order in a process that has loaded the libraries, but nothing of abtest."""
    scripts = [
        "import abtest\nfrom abtest.errors import UsageError\n"
        "def calls_run():\n"
        "    try:\n        abtest.run(treatment='popular', days=0)\n"
        "    except UsageError as error:\n        return '--days is 0' in str(error)\n"
        + "".join(steps)
        + "assert all(callable(getattr(abtest, n)) for n in "
        "('run', 'analyze', 'replay', 'evaluate'))\n"
        for steps in ORDERS
    ]
    told = python(
        "import os, sys\nimport matplotlib.pyplot, numpy, polars, scipy.stats, torch, typer\n"
        "assert 'abtest' not in sys.modules\n"
        f"for script in {scripts!r}:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        exec(script, {})\n"
        "        os._exit(0)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert told.split() == ["0"] * len(ORDERS)


def test_the_base_class_of_policies_is_at_hand_without_torch() -> None:
    told = python(
        "import sys, abtest\n"
        "assert 'Policy' in dir(abtest) and 'policies.base' not in sys.modules\n"
        "from abtest import Policy\n"
        "import policies.base\n"
        "print(Policy is policies.base.Policy, 'torch' in sys.modules)"
    )
    assert told == "True False"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"days": "two"}, "days is 'two', expected a whole number"),
        ({"keep_log": 1}, "keep_log is 1, expected true or false"),
        ({"design": "paired"}, "expected one of online, twin"),
        ({"min_effect": "much"}, "'much' is not a number"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        abtest.run(treatment="popular", control="random", **arguments)
    assert expected in str(caught.value)
    with pytest.raises(UsageError, match="no option 'covariat'"):
        abtest.analyze("users.csv", covariat="x")


def test_a_file_of_metrics_is_named_by_its_path_or_as_text(tmp_path: Path) -> None:
    file = tmp_path / "metrics.toml"
    file.write_text('[metrics.doubled]\nnumerator = "x"\nfactor = 2\n', encoding="utf-8")
    arms = ["control", "treatment"] * 20
    users = pl.DataFrame({"user_id": range(40), "arm": arms, "x": [float(i) for i in range(40)]})
    for name in (file, str(file)):
        row = abtest.analyze(users, metrics_file=name).metrics().row(0, named=True)
        assert row["control_value"] == pytest.approx(2.0 * 19.0)


class Ranker(abtest.Policy):
    """Not in a file that processes could read."""


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: abtest.run(Ranker, "random"), "Example: treatment='my_policy.py:Ranker'"),
        (lambda: abtest.run("popular", Ranker()), "Example: control='my_policy.py:Ranker'"),
        (lambda: abtest.run(["popular", 3], "random"), "treatment is 3, expected a policy's name"),
        (lambda: abtest.run("popular", ["random"]), "control is ['random'], expected"),
        (lambda: abtest.evaluate(Ranker), "Example: policies='my_policy.py:Ranker'"),
        (lambda: abtest.evaluate([Path("sasrec"), Ranker]), "'my_policy.py:Ranker'"),
        (lambda: abtest.replay(Ranker, "random"), "Example: treatment='my_policy.py:Ranker'"),
        (lambda: abtest.replay("popular", None), "control is None"),
        (lambda: abtest.run("popular", "random", policies={"popular": 4}), "expected a table"),
        (lambda: abtest.run("popular", "random", policies=4), "policies is 4, expected a table"),
        (lambda: abtest.run("popular", "random", policies={"sasrek": {}}), "Did you mean 'sasrec'"),
        (lambda: abtest.evaluate("popular", settings=4), "settings are 4, expected"),
        (lambda: abtest.evaluate("popular", settings={"popular": 4}), "expected a table"),
        # What is never read would change nothing, silently.
        (lambda: abtest.evaluate("popular", settings={"sasrec": {"dim": 8}}), "not part of this"),
        (lambda: abtest.replay("popular", "random", settings={"ease": {}}), "not part of this"),
    ],
)
def test_policies_and_settings_that_cannot_be_are_told(
    call: Callable[[], object], expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert expected in str(caught.value)


def test_results_show_as_html_with_styles_in_a_page_of_their_own() -> None:
    users = pl.DataFrame(
        {
            "user_id": range(400),
            "arm": ["control", "treatment"] * 200,
            "revenue": [float(i * 37 % 11) for i in range(400)],
        }
    )
    shown = abtest.analyze(users, metric="revenue")._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and "<script" not in shown
    assert "<html" not in shown and "&lt;html" in shown
