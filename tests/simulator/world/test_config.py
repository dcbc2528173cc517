"""Parameters of a world: their types and ranges, files of one's own, and the values by default."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import DataError
from simulator.world.config import WorldConfig
from simulator.world.ranges import SHARES, wanted_of

PINNED = {"": "95beb6153d63", "default": "13582a5d5cbf"}
"""Hash of the values of each world; "" is a file that says nothing."""


def test_values_by_default_are_those_of_this_version_of_the_world(tmp_path: Path) -> None:
    """A file names what differs: with other defaults it would be another world."""
    empty = tmp_path / "own.toml"
    empty.write_text("")
    found = {}
    for name in PINNED:
        values = dataclasses.asdict(WorldConfig.preset(name or str(empty)))
        del values["name"]
        text = json.dumps(values, sort_keys=True)
        found[name] = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    assert found == PINNED, "if that is meant, raise WORLD_VERSION and put these hashes into PINNED"


def test_values_by_default_are_allowed() -> None:
    values = dataclasses.asdict(WorldConfig())
    assert WorldConfig.from_dict(values) == WorldConfig()


@pytest.mark.parametrize(
    ("key", "good", "bad", "expected"),
    [
        ("session_refund", (0, 0.0, 1.0), (-1e-9, 1.0 + 1e-9), "a share from 0 to 1"),
        ("write_seconds", (1e-9, 1, 1e6), (0.0, -1.0, 1e6 + 1),
         "a number above 0, up to 1,000,000"),
        ("write_rate", (0.0, 1e6), (-1e-9, 1e6 + 1), "a number from 0 to 1,000,000"),
        ("dwell_sigma", (0.0, 1e6), (-1e-9, 1e6 + 1), "a number from 0 to 1,000,000"),
        ("n_videos", (1, 50_000_000), (0, 50_000_001), "a whole number from 1 to 50,000,000"),
        ("click_base", (-1e6, -3, 0, 1e6), (-1e6 - 1, 10**400),
         "a number from -1,000,000 to 1,000,000"),
        ("start_ms", (0, 4_102_444_800_000), (-1, 4_102_444_800_001),
         "a time in Unix ms, before the year 2100"),
        ("language", ("zh", "en"), ("fr", ""), '"'),
        # Of another type.
        ("click_base", (), ("high", None, True, [1.0]), "a number."),
        ("n_videos", (), ("many", 2.5, False), "a whole number."),
        ("name", ("mine",), (3, 3.5, None), "text."),
        ("session_refund", (), (math.nan, math.inf, -math.inf), "a share from 0 to 1"),
        ("click_base", (), (math.nan, math.inf), "a number from -1,000,000 to 1,000,000"),
    ],
)  # fmt: skip
def test_a_parameter_has_its_type_and_its_range(
    key: str, good: tuple[Any, ...], bad: tuple[Any, ...], expected: str
) -> None:
    for value in good:
        assert getattr(WorldConfig.from_dict({key: value}), key) == value
    for value in bad:
        with pytest.raises(DataError) as error:
            WorldConfig.from_dict({key: value})
        assert f"world parameter '{key}' is {value!r}, expected {expected}" in error.value.problem


def test_every_range_is_that_of_a_parameter() -> None:
    names = {field.name for field in dataclasses.fields(WorldConfig)}
    assert names >= SHARES
    for name in SHARES:
        assert wanted_of(name, 1.5, whole=False) == "a share from 0 to 1"


def test_comments_have_a_smallest_and_a_largest_number() -> None:
    assert WorldConfig.from_dict({"comments_min": 5, "comments_max": 5}).comments_max == 5
    with pytest.raises(DataError, match=r"'comments_min' is 6, above comments_max, which is 5"):
        WorldConfig.from_dict({"comments_min": 6, "comments_max": 5})


def test_a_file_of_ones_own_builds_on_a_preset_and_its_mistakes_are_named(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('base = "small"\nn_videos = 77\n')
    found = WorldConfig.preset(str(own))
    assert found == dataclasses.replace(WorldConfig.preset("small"), name="own", n_videos=77)
    for text, said in (
        ("n_videos =", "own.toml: not readable as TOML"),
        ("base = 3", "base must be the name of another preset"),
        (f'base = "{own}"', "base must be the name of another preset"),
        ("n_video = 3", "unknown world parameter 'n_video'"),
        ("n_videos = 0", "own.toml: world parameter 'n_videos' is 0"),
    ):
        own.write_text(text)
        with pytest.raises(DataError) as error:
            WorldConfig.preset(str(own))
        assert said in error.value.problem
    with pytest.raises(DataError) as error:
        WorldConfig.from_dict({"n_video": 3})
    assert error.value.hint == "Did you mean 'n_videos'?"
    with pytest.raises(DataError) as error:
        WorldConfig.preset("smal")
    assert error.value.hint == "Did you mean 'small'?"
    with pytest.raises(DataError, match=r"no world file .*none\.toml"):
        WorldConfig.preset(str(tmp_path / "none.toml"))
