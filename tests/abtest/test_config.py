"""The configuration: precedence of its sources, ranges, and what is said of bad values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abtest.config import RunConfig
from abtest.config_sources import config_of, load_config, parse_percent
from abtest.errors import UsageError


def load(flags: dict[str, object] | None = None, **kwargs: object) -> RunConfig:
    kwargs.setdefault("environment", {})
    return load_config(flags or {}, **kwargs)  # type: ignore[arg-type]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "abtest.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, 'seed = 2\ndays = 2\ncontrol = "popular"\nusers = 20\n')
    config = load({"seed": 4}, file=file, environment={"ABTEST_SEED": "3", "ABTEST_DAYS": "5"})
    assert (config.seed, config.days, config.control, config.users) == (4, 5, "popular", 20)
    assert config.treatment == ("lsvcr",)


def test_a_mistyped_key_names_line_and_suggestion(tmp_path: Path) -> None:
    file = write(tmp_path, '# my experiment\nseed = 2\n\ntreatmnt = "lsvcr"\n')
    with pytest.raises(UsageError) as error:
        load(file=file)
    assert str(error.value) == (
        f"{file} line 4: unknown key 'treatmnt'. Did you mean 'treatment'? Nothing was run"
    )


def test_a_wrong_type_names_the_line(tmp_path: Path) -> None:
    file = write(tmp_path, 'control = "sasrec"\ndays = "many"\n')
    with pytest.raises(UsageError, match=r"line 2: days is 'many', expected a whole number"):
        load(file=file)


def test_a_missing_configuration_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no configuration file"):
        load(file=tmp_path / "nothing.toml")


def test_broken_toml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing was run"):
        load(file=write(tmp_path, "seed = = 3"))


def test_an_unknown_environment_variable_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"ABTEST_SEDE is unknown\. Did you mean 'seed'"):
        load(environment={"ABTEST_SEDE": "3"})
    assert load(environment={"ABTEST_CACHE": "/somewhere"}) == RunConfig()


@pytest.mark.parametrize(
    "flags",
    [
        {"users": 0},
        {"users": -5},
        {"days": 0},
        {"design": "offline"},
        {"treatment": ("lsvcr", "lsvcr")},
        {"explore_share": 1.0},
        {"min_effect": 1.5},
    ],
)
def test_values_out_of_range_are_refused(flags: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        load(flags)


@given(st.floats(min_value=-1, max_value=1, allow_nan=False))
def test_percent_and_fraction_mean_the_same(value: float) -> None:
    assert parse_percent(f"{value * 100:.10f}%") == pytest.approx(parse_percent(f"{value:.12f}"))


def test_the_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = RunConfig(
        treatment=("sasrec", "file.py:B"),
        users=7,
        guardrail=("hates=-1%",),
        min_effect=0.01,
        policies={"sasrec": {"dropout": 0.5}, "file.py:B": {"any": [1]}},
    )
    assert load(file=write(tmp_path, config.to_toml())) == config


def test_the_command_repeats_the_experiment() -> None:
    config = RunConfig(treatment=("lsvcr", "popular"), users=100, guardrail=("hates=-1%",))
    assert config.command() == (
        "abtest run --treatment lsvcr --treatment popular --control sasrec --users 100 "
        "--guardrail hates=-1%"
    )
    english = RunConfig(treatment=("lsvcr",), world="small", language="en")
    assert english.command().endswith("--control sasrec --world small --language en")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("min_effect = nan", "min_effect is nan, expected a number"),
        ("detect = 0", "detect is 0, expected more than 0"),
        ("seed = -1", "seed is -1, expected 0 or more"),
        ("seed = 18446744073709551616", "expected at most 18,446,744,073,709,551,615"),
        ('language = "fr"', "language is 'fr', expected one of zh, en"),
        ("days = true", "days is True, expected a whole number"),
        ("treatment = [1, 2]", "treatment is [1, 2], expected a list of texts"),
        ('treatment = [["sasrec"]]', "expected a list of texts"),
        ('treatment = ["a", ""]', "treatment is empty"),
        ('control = "a\\u0000b"', "control is 'a\\x00b', which is no name and no path"),
        (f'data = "{"x" * 5000}"', "(5,002 characters), which is no name and no path"),
        ('design = "offline"', "expected one of online, twin"),
    ],
)
def test_a_bad_value_in_a_file_is_named_with_its_line(
    line: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        load(file=write(tmp_path, f"world_seed = 3\n{line}\n"))
    assert "line 2: " in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dropout = inf", "[policies.sasrec] dropout is inf, expected a number"),
        ("dim = 99999999999999999999", "dim has more than 64 bits"),
        ("since = 2020-01-01", "expected a number, a text, true, false or a list"),
        ("a = {b={c={d={e={f=1}}}}}", "is nested too deeply"),
    ],
)
def test_settings_that_no_policy_can_have_are_named_with_their_line(
    setting: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        load(file=write(tmp_path, f"days = 1\n[policies.sasrec]\n{setting}\n"))
    assert "line 2: " in str(refused.value)
    assert message in str(refused.value)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "abtest.toml"
    file.write_bytes(b"days = 1\n\ncontrol = 'caf\xe9'\n")
    with pytest.raises(UsageError, match=r"line 3: a byte \(0xe9\) that is not UTF-8"):
        load(file=file)


def test_deep_nesting_is_an_error_and_no_overflow(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        load(file=write(tmp_path, "treatment = " + "[" * 5_000 + "]" * 5_000))


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(RunConfig)]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
        max_size=3,
    )
)
def test_any_values_make_a_configuration_or_a_usage_error(values: dict[str, Any]) -> None:
    try:
        config = config_of(values)
    except UsageError:
        return
    for name, value in values.items():
        if isinstance(value, (bool, int)) and name != "policies":
            assert getattr(config, name) == value
