"""Numbers, names and ids that cannot mean what they say are refused with their place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import mean, variance

import pytest

from tests.abtest.tables.field_files import first

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

ASKED = ("-m", "x", "-c", "A", "--quiet")


def written(path: Path, row: Callable[[int], str], rows: int = 60) -> Path:
    text = "user_id,arm,x\n" + "".join(f"{row(i)}\n" for i in range(rows))
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda i: f"{i % 7}e200", "line 3: x is '1e+200' (above 1e+30)"),
        (lambda i: f"-{i % 7}e31", "line 3: x is '-1e+31' (below -1e+30)"),
        (lambda i: "1e308", "line 2: x is '1e+308' (above 1e+30)"),
        (lambda i: f"{i % 7}e-300", "x of t.csv is at most 6e-300"),
    ],
)
def test_values_near_the_limits_of_floats_are_refused(
    abtest: Run, tmp_path: Path, value: Callable[[int], str], expected: str
) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{'AB'[i % 2]},{value(i)}")
    for words in (("analyze", "t.csv"), ("power", "t.csv", "--arm", "arm", "--mde", "1%")):
        result = abtest(*words, *ASKED)
        assert (result.code, result.out) == (3, ""), result.err
        assert expected in result.err
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("unit", [1e-28, 1.0, 1e25])
def test_effects_do_not_depend_on_the_unit(abtest: Run, tmp_path: Path, unit: float) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{'AB'[i % 2]},{(1 + i * 37 % 11) * unit!r}")
    row = first(abtest("analyze", "t.csv", *ASKED, "--json").out)
    control, treated = ([1 + i * 37 % 11 for i in range(60) if i % 2 == arm] for arm in (0, 1))
    assert row["control"]["value"] == pytest.approx(mean(control) * unit)
    assert row["relative"]["value"] == pytest.approx(mean(treated) / mean(control) - 1.0)
    error = (variance(control) / 30 + variance(treated) / 30) ** 0.5 * unit
    width = row["absolute"]["high"] - row["absolute"]["low"]
    assert width == pytest.approx(2.0 * 2.0017 * error, rel=1e-3)
    assert abtest("power", "t.csv", "--arm", "arm", "--mde", "1%", *ASKED).code == 0


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (lambda i: f"1.2345678901234{i % 3}E+17", "line 2: user_id is '1.23456789012340E+17' "
         "(exponent form: digits may be lost)"),
        (lambda i: f"{2**53 + 2 * i}.0", "(a float of this size has lost digits)"),
        (lambda i: f"{i}.5", "(has a fraction)"),
        (lambda i: "NA" if i == 3 else f"{i}", "line 5: user_id is 'NA' (no user)"),
        (lambda i: "\\N" if i == 3 else f"{i}", "line 5: user_id is '\\N' (no user)"),
    ],
)  # fmt: skip
def test_ids_that_name_nobody_or_several_are_refused(
    abtest: Run, tmp_path: Path, ids: Callable[[int], str], expected: str
) -> None:
    written(tmp_path / "t.csv", lambda i: f"{ids(i)},{'AB'[i % 2]},{i % 7}")
    result = abtest("analyze", "t.csv", *ASKED)
    assert result.code == 3
    assert expected in result.err


def test_ids_beyond_float_precision_stay_apart(abtest: Run, tmp_path: Path) -> None:
    # Neighbours that are one number in float64; and 7 and 7.0, which are one person.
    written(tmp_path / "t.csv", lambda i: f"{2**53 + i},{'AB'[i % 2]},{i % 7}")
    result = abtest("analyze", "t.csv", *ASKED, "--json")
    assert first(result.out)["control"]["users"] == 30
    written(tmp_path / "u.csv", lambda i: f"{i // 2}{'.0' * (i % 2)},{'AB'[i // 2 % 2]},{i % 7}")
    result = abtest("analyze", "u.csv", "-m", "x", "-c", "A", "--json")
    assert first(result.out)["control"]["users"] == 15
    assert "30 cells of u.csv were changed: user_id: written as a float" in result.err


@pytest.mark.parametrize("other", ["A ", "a", "\u00a0A", "\uff21", "A\u200b"])
@pytest.mark.parametrize("command", ["analyze", "power", "aa"])
def test_arms_that_look_alike_are_a_question(
    abtest: Run, tmp_path: Path, command: str, other: str
) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{['A', 'B', other][i % 3]},{i % 7}")
    asked = ("--mde", "1%") if command == "power" else ()
    result = abtest(command, "t.csv", "--arm", "arm", *asked, *ASKED)
    assert result.code == 3
    assert "the same arm as" in result.err and "Make them alike" in result.err
    # Only analyze has a plan that could name both.
    assert ("planned split" in result.err) == (command == "analyze" and other.strip() != "A")


def test_one_and_one_point_zero_are_a_question(abtest: Run, tmp_path: Path) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{['A', '1', '1.0'][i % 3]},{i % 7}")
    assert "is '1.0' of t.csv the same arm as '1'" in abtest("analyze", "t.csv", *ASKED).err


def test_control_characters_of_names_do_not_reach_the_terminal(abtest: Run, tmp_path: Path) -> None:
    for path in ("t.csv", "a\x1b[31m\nb.csv"):
        text = 'user_id,arm,"x\x1b[2J\n"\nu1,"A\x1b]0;x\x07",1\nu2,B\u202e,2\n'
        (tmp_path / path).write_text(text, encoding="utf-8")
        for words in ((), ("-m", "x\x1b[2J"), ("--arm", "x\x1b[2J")):
            result = abtest("analyze", path, *words, "--quiet")
            assert result.code in (2, 3)
            assert result.err.count("\n") == 1, result.err
            assert not set("\x1b\x07\u202e") & set(result.err + result.out)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--encoding", "idna"), "there is no encoding 'idna'"),
        (("--encoding", "punycode"), "there is no encoding 'punycode'"),
        (("--encoding", "utf-16"), "t.csv has no column 'user_id'"),
        (("--min-effect", "1e308"), "1e308 is too large"),
        (("--min-effect", "nan"), "'nan' is not a number"),
        (("--guardrail", "x=-1e300"), "is not METRIC=MARGIN"),
        (("--metrics", "deep.toml"), "deep.toml: values are nested too deeply"),
        (("--metrics", "big.toml"), "line 3: metric 'a': factor is 1"),
        (("--metrics", "fifo"), "fifo: it is no file"),
        (("--out", "dangling"), "dangling exists"),
    ],
)
def test_options_that_cannot_be_are_told_in_a_line(
    abtest: Run, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{'AB'[i % 2]},{i % 7}")
    (tmp_path / "deep.toml").write_text("metrics = " + "[" * 5_000)
    (tmp_path / "big.toml").write_text(f'[metrics.a]\nnumerator = "x"\nfactor = 1{"0" * 400}\n')
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(p.name for p in tmp_path.iterdir())
    metric = () if "--metrics" in words else ("-m", "x")
    result = abtest("analyze", "t.csv", *metric, "-c", "A", "--quiet", *words)
    assert result.code in (2, 3)
    assert result.err.startswith("abtest: ") and result.err.count("\n") == 1, result.err
    assert expected in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ("--mean", "nan", "--sd", "1", "--mde", "1%"),
        ("--mean", "1e300", "--sd", "1e300", "--mde", "1%"),
        ("--mean", "5", "--sd", "inf", "--mde", "1%"),
        ("--rate", "1e-300", "--mde", "1%"),
        ("--rate", "4%", "--margin", "nan", "--users", "1000"),
        ("--rate", "4%", "--margin", "1e300", "--users", "1000"),
        ("--rate", "4%", "--mde", "1%", "--split", "nan"),
    ],
)
def test_plans_of_impossible_numbers_are_refused(abtest: Run, words: tuple[str, ...]) -> None:
    result = abtest("power", *words)
    assert result.code in (2, 3), result.out
    assert result.err.startswith("abtest: ") and result.out == ""


def test_splits_without_users_are_no_calibration(abtest: Run, tmp_path: Path) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{'AB'[i % 2]},{i % 7}")
    result = abtest("aa", "t.csv", "-m", "x", "--split", "0.001")
    assert (result.code, result.out) == (3, "")
    assert "fewer than two users" in result.err
    assert abtest("aa", "t.csv", "-m", "x", "--html", ".").code == 2


def test_brackets_are_literal_and_stars_are_not(abtest: Run, tmp_path: Path) -> None:
    written(tmp_path / "t1.csv", lambda i: f"u{i},{'AB'[i % 2]},{i % 7}")
    for word in ("t[1].csv", "**x", "t[", "[*"):
        for words in (("analyze", word), ("power", word, "--mde", "1%")):
            result = abtest(*words, *ASKED)
            assert result.code in (2, 3), word
            assert "no" in result.err and word in result.err
    assert abtest("analyze", "t?.csv", *ASKED).code == 0


def test_names_that_are_not_utf_8_are_refused(
    abtest: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "t.csv", lambda i: f"u{i},{'AB'[i % 2]},{i % 7}")
    for words in (("analyze", "\udcff.csv"), ("analyze", "t.csv", *ASKED, "--out", "\udcff")):
        result = abtest(*words)
        assert (result.code, result.out) == (2, "")
        assert "'\\udcff" in result.err and "is not UTF-8" in result.err
    monkeypatch.setenv("ABTEST_CACHE", "\udcff")
    assert "ABTEST_CACHE '\\udcff' is not UTF-8" in abtest("doctor").err
