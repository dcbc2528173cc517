"""Values that no built-in policy can work with are refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from policies.errors import UnknownPolicy
from policies.names import BUILT_IN
from policies.registry import create


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        ("sasrec", {"heads": 3}, "heads is 3, expected a divisor of dim, which is 64"),
        ("hstu", {"dim": 7}, "heads is 2, expected a divisor of dim, which is 7"),
        ("sasrec", {"dim": 0}, "dim is 0, expected 1 or more"),
        ("sasrec", {"dim": 8.5}, "dim is 8.5, expected a whole number"),
        ("sasrec", {"epochs": 0}, "epochs is 0, expected 1 or more"),
        ("sasrec", {"length": 0}, "length is 0, expected 1 or more"),
        ("fmlprec", {"dropout": 2}, "dropout is 2, expected less than 1"),
        ("gru4rec", {"dropout": -0.1}, "dropout is -0.1, expected 0 or more"),
        ("gru4rec", {"layers": 0}, "layers is 0, expected 1 or more"),
        ("gru4rec", {"learning_rate": float("nan")}, "learning_rate is nan, expected a number"),
        ("bert4rec", {"masked": 0}, "masked is 0, expected more than 0"),
        ("unisrec", {"experts": 0}, "experts is 0, expected 1 or more"),
        ("two-tower", {"temperature": 0}, "temperature is 0, expected more than 0"),
        ("popular", {"half_life_days": "x"}, "half_life_days is 'x', expected a number"),
        ("popular", {"half_life_days": 0}, "half_life_days is 0, expected more than 0"),
        ("popular", {"signal": "loved"}, "signal is 'loved', expected one of clicked, liked"),
        ("text-similarity", {"video_share": 2}, "video_share is 2, expected at most 1"),
        ("lsvcr", {"text": 1}, "text is 1, expected true or false"),
        ("lsvcr", {"preset": 3}, "preset is 3, expected a text"),
    ],
)
def test_refused(name: str, setting: dict[str, Any], expected: str) -> None:
    with pytest.raises(UnknownPolicy) as error:
        create(name, **setting)
    assert str(error.value).startswith(f"{name}: {expected}")
    assert f"abtest policy show {name}" in str(error.value)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_policys_own_settings_are_good(name: str) -> None:
    """Defaults that stand for something else (None of lsvcr and sasrec) among them."""
    policy = create(name)
    if not policy.is_oracle:
        assert create(name, **policy.settings()).settings() == policy.settings()


def test_a_default_may_be_given_and_others_within_range() -> None:
    assert create("lsvcr", epochs=None).settings() == create("lsvcr").settings()
    assert create("sasrec", dropout=None, dim=32, heads=4).settings()["heads"] == 4
    assert create("popular", half_life_days=3).settings()["half_life_days"] == 3
