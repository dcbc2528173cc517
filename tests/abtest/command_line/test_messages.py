"""What a new user types wrong is answered in one line with the next command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.abtest.conftest import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("typed", "code", "answer"),
    [
        ("", 2, "no command given. Start with: abtest demo"),
        ("world", 2, "no command given. See: abtest world --help"),
        ("run --users abc", 2, "--users is 'abc', expected a whole number. See: abtest run --help"),
        ("run --users 1e5", 2, "--users is '1e5', expected a whole number."),
        ("run --workers 0", 2, "--workers is '0', expected at least 1."),
        ("evaluate popular --test-days x", 2, "--test-days is 'x', expected a number."),
        ("report r --format pdf", 2, "--format is 'pdf', expected table, html, md, csv, json."),
        ("run --data demoo", 3, "no dataset at demoo. Did you mean 'demo', the built-in world?"),
        ("run --data t.csv", 3, "t.csv is a file, not a dataset. Import it: abtest data import"),
        ("run --data made", 3, "made is a run, not a dataset. A run keeps its log with --keep-log"),
        ("run --out /proc/x", 2, "cannot write to /proc. Choose another --out"),
        ("run --resume made", 2, "only a run can be continued. Look at it: abtest report made"),
        ("analyze t.csv -m revenue --out made", 2, "look at what is there: abtest report made"),
        ("analyze folder -m revenue", 3, "folder holds no table"),
        ("analyze /proc/x -m revenue", 3, "no file at /proc/x."),
        ("run -t lsvrc", 2, "unknown policy 'lsvrc'. Did you mean 'lsvcr'?"),
        ("rnu", 2, "No such command 'rnu'. Did you mean 'run'?"),
    ],
)
def test_a_mistake_is_named_with_the_next_command(
    abtest: Run, tmp_path: Path, typed: str, code: int, answer: str
) -> None:
    (tmp_path / "t.csv").write_text("user_id,arm,revenue\n1,a,2\n2,b,3\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "made").mkdir()
    for name in ("plan.json", "results.json"):
        (tmp_path / "made" / name).write_text("{}", encoding="utf-8")
    result = abtest(*typed.split())
    assert answer in result.err
    assert result.code == code
    last = result.err.rstrip().splitlines()[-1]
    assert last.startswith("abtest: ") and "details:" not in result.err


def test_colours_are_left_out_where_NO_COLOR_says_so(  # noqa: N802 - the variable's name
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import io

    from abtest.console import colored

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colored(Terminal()) and not colored(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colored(Terminal())


@pytest.mark.parametrize("command", [("policy", "list"), ("doctor",)])
def test_tables_fit_80_columns(abtest: Run, command: tuple[str, ...]) -> None:
    result = abtest(*command)
    # Paths are as long as they are.
    lines = [line for line in result.out.splitlines() if "/" not in line]
    assert lines and max(map(len, lines)) <= 80, max(lines, key=len)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("run --treatment sas", {"sasrec"}),
        ("run --treatment sasrec+ls", {"sasrec+lsvcr"}),
        ("run --control mine", {"mine.py"}),
        ("run --primary comment_w", {"comment_watch_time"}),
        ("run --guardrail click", {"click_rate="}),
        ("run --world sm", {"small"}),
        ("run --design ", {"online", "twin"}),
        ("run --preset ", {"small", "base", "paper"}),
        ("run --data d", {"demo"}),
        ("policy show ease", {"ease"}),
        ("evaluate hst", {"hstu"}),
        ("report ru", {"runs/a"}),
        ("run --fail-on not", {"not-clear"}),
    ],
)
def test_values_are_completed(
    abtest: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    expected: set[str],
) -> None:
    (tmp_path / "mine.py").touch()
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "plan.json").touch()
    monkeypatch.setenv("_ABTEST_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"abtest {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"abtest {typed}".split(" ")) - 1))
    with pytest.raises(SystemExit):
        abtest()
    assert set(capsys.readouterr().out.split()) == expected
