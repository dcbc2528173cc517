"""Assumptions about the world: what can be asked for, and what a training log depends on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from abtest.console import Console
from abtest.run.datasets import synthesise
from simulator.calibration.knobs import KNOBS
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.world import World
from simulator.world.assumptions import (
    LOG_FREE,
    UNCERTAIN_ASSUMPTIONS,
    parse_assumptions,
    same_inventory,
    with_assumption,
)
from simulator.world.config import WorldConfig


def values(*texts: str) -> dict[str, tuple[float, ...]]:
    return {a.parameter: a.values for a in parse_assumptions(texts)}


def test_grids_are_ascending_and_may_be_given_in_any_pieces() -> None:
    expected = {"comment_taste_strength": (0.2, 0.5, 1.0, 2.0), "n_videos": (500,)}
    assert values("comment_taste_strength=2,0.2,1,0.5,2", "n_videos=500") == expected
    # As an environment variable or a list splits them.
    pieces = ["comment_taste_strength=2", "0.2", " 1", "0.5", "n_videos=500"]
    assert values(*pieces) == expected
    twice = values("comment_taste_strength=2,0.2", "n_videos=500", "comment_taste_strength=0.5,1")
    assert twice == expected


def test_uncertain_is_five_that_nothing_is_fitted_to_and_values_of_ones_own_replace_theirs() -> (
    None
):
    found = parse_assumptions(["uncertain"])
    assert found == UNCERTAIN_ASSUMPTIONS
    assert len({a.parameter for a in found}) == 5
    assert not {a.parameter for a in found} & {knob.parameter for knob in KNOBS}
    worlds = [WorldConfig.preset(name) for name in ("default", "small")]
    for assumption in found:
        low, high = assumption.values
        assert all(low <= getattr(w, assumption.parameter) <= high for w in worlds), assumption
        assert assumption.reason and assumption.label != assumption.parameter
    own = values("uncertain", "sequence_strength=3", "open_base=-9")
    assert own["sequence_strength"] == (3.0,) and own["open_base"] == (-9.0,)
    assert own["comment_order_effect"] == values("uncertain")["comment_order_effect"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("comment_tast_strength=1", "Did you mean 'comment_taste_strength'"),
        ("uncertin", "Did you mean 'uncertain'?"),
        ("taste=1", "Did you mean"),
        ("xyz=1", "Example: --assume comment_taste_strength=0.2,0.5,1,2, or --assume uncertain"),
        ("comment_taste_strength", "gives no value. Example: --assume comment_taste_strength=1,2"),
        ("comment_taste_strength=", "is nothing, expected a number"),
        ("comment_taste_strength=a", "is 'a', expected a number"),
        ("comment_taste_strength=-1", "out of range, expected a number from 0"),
        ("comment_taste_strength=inf", "out of range"),
        ("comment_order_effect=1.2", "expected a share from 0 to 1"),
        ("visits_per_day=0", "expected a number above 0"),
        ("open_person_sigma=-0.1", "expected a number from 0"),
        ("open_base=nan", "expected a number from"),
        ("n_videos=1.5", "expected a whole number"),
        ("n_videos=0", "expected a whole number from 1"),
        ("1,2", "'1' is no assumption"),
        ("uncertain,2", "'2' is no assumption"),
        ("name=default", "no parameter 'name'"),
        ("", "gives no value"),
    ],
)
def test_what_cannot_be_assumed_is_told_with_the_next_step(text: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_assumptions([text])
    assert expected in str(caught.value)


def test_every_parameter_can_be_assumed_at_its_own_value() -> None:
    for preset in ("default", "small", "novelty", "topic-taste", "even"):
        config = WorldConfig.preset(preset)
        for field in dataclasses.fields(config):
            if field.name not in ("name", "language", "draws", "start_ms"):
                own = getattr(config, field.name)
                (assumption,) = parse_assumptions([f"{field.name}={own!r}"])
                assert with_assumption(config, field.name, assumption.values[0]) == config


def test_the_example_of_every_parameter_has_its_own_value_and_another_allowed_one() -> None:
    for field in dataclasses.fields(WorldConfig):
        if field.name in ("name", "language", "draws", "start_ms"):
            continue
        with pytest.raises(DataError) as caught:
            parse_assumptions([field.name])
        assert caught.value.hint.startswith(f"Example: --assume {field.name}=")
        example = caught.value.hint.partition("--assume ")[2]
        found = values(example)[field.name]
        assert len(found) == 2 and field.default in found, example


@pytest.mark.parametrize(
    ("parameter", "value", "same"),
    [
        ("comment_taste_strength", 2.0, True),
        ("open_discussability", 0.0, True),
        ("popularity_sigma", 1.0, True),
        ("comments_discussability", 0.0, False),
        ("duration_median", 40.0, False),
        ("n_videos", 1000, False),
        ("series_share", 0.0, False),
    ],
)
def test_an_inventory_is_the_same_unless_its_videos_or_comments_change(
    parameter: str, value: float, same: bool
) -> None:
    base = World.create("small", 1)
    other = World(with_assumption(base.config, parameter, value), 1)
    assert same_inventory(base, other) is same


def test_the_log_depends_on_what_people_do_but_not_on_what_it_never_shows(tmp_path: Path) -> None:
    """A log of 30 people per world: the same bytes for those parameters, others for taste."""

    def content(config: WorldConfig) -> str:
        target = tmp_path / str(len(list(tmp_path.iterdir())))
        world = World(config, 1)
        console = Console(quiet=True)
        synthesise(target, preset="x", seed=1, users=30, days=1, console=console, world=world)
        return Dataset.open(target).info.content_hash

    base = dataclasses.replace(
        WorldConfig.preset("small"),
        n_videos=300,
        n_authors=100,
        visits_per_day=1.0,
        session_seconds=60.0,
    )
    own = content(base)
    free = {"comment_order_effect": 0.4, "novelty_strength": 1.0, "novelty_days": 9.0}
    assert set(free) == LOG_FREE
    assert content(dataclasses.replace(base, **free)) == own
    assert content(dataclasses.replace(base, comment_taste_strength=2.0)) != own
