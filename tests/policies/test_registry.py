"""A policy is found by a name, a name with settings, or two joined names."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.errors import UnknownPolicy
from policies.names import BUILT_IN
from policies.registry import create, is_built_in, names, policy_class, settings_of


def test_settings_may_follow_a_name() -> None:
    policy = create("sasrec:dim=32,heads=4,signal=clicked", epochs=3)
    assert policy.name == "sasrec:dim=32,heads=4,signal=clicked"
    found = policy.settings()
    assert (found["dim"], found["heads"], found["epochs"]) == (32, 4, 3)
    assert found["signal"] == "clicked"
    assert is_built_in(policy.name)
    # What is written in the name wins over the configuration file.
    assert create("sasrec:epochs=5", epochs=3).settings()["epochs"] == 5


def test_settings_of_a_configuration_are_found_by_the_name_alone() -> None:
    table = {"sasrec": {"dim": 16}, "popular": {"half_life_days": 2.0}}
    assert settings_of("sasrec:epochs=2", table) == {"dim": 16}
    both = settings_of("sasrec:epochs=2+popular", table)
    assert both == {"videos": {"dim": 16}, "comments": {"half_life_days": 2.0}}
    settings = create("sasrec:epochs=2+popular", **both).settings()
    assert settings["videos"]["sasrec:epochs=2"]["dim"] == 16
    assert settings["videos"]["sasrec:epochs=2"]["epochs"] == 2


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sasrec:dimm=3", "sasrec has no setting 'dimm'. Did you mean 'dim'?"),
        ("sasrec:dim=x", "sasrec: dim is 'x', expected a whole number"),
        ("sasrec:dim=8,heads", "'heads' is no setting"),
        ("lsvcr:comment_rivals=seen", "It is called 'comment_negatives' now."),
        ("sasrek:dim=3", "unknown policy 'sasrek'. Did you mean 'sasrec'?"),
        ("lsvcr+oracle", "oracle cannot be a part"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(spec: str, expected: str) -> None:
    with pytest.raises(UnknownPolicy) as error:
        create(spec)
    assert expected in str(error.value)


def test_every_name_leads_to_a_class() -> None:
    assert {"lsvcr", "oracle", "sasrec", "likes"} <= set(BUILT_IN) <= set(names())
    for name in BUILT_IN:
        assert policy_class(name).__doc__


MINE = """
from dataclasses import dataclass
from policies.base import Policy
from policies.settings import Settings, setting

@dataclass(frozen=True)
class MineSettings(Settings):
    dim: int = setting(4, at_least=2)

class Mine(Policy):
    settings_class = MineSettings
    def score_videos(self, requests): ...

class Plain(Policy):
    def score_videos(self, requests): ...
"""


def test_settings_may_follow_a_file_or_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "acme_r").mkdir()
    (tmp_path / "acme_r" / "ranks.py").write_text(MINE)
    file = tmp_path / "acme_r" / "ranks.py"
    for name in (f"{file}:Mine", "acme_r.ranks:Mine"):
        assert policy_class(name).__name__ == "Mine"
        assert create(name).settings() == {"dim": 4}
        assert create(f"{name}:dim=8").settings() == {"dim": 8}
        assert settings_of(f"{name}:dim=8", {name: {"dim": 16}}) == {"dim": 16}
        with pytest.raises(UnknownPolicy) as error:
            create(f"{name}:dim=1")
        assert str(error.value) == (
            f"{name}: dim is 1, expected 2 or more. See: abtest policy show {name}"
        )
    file.with_name("alone.py").write_text(MINE.replace("class Plain(Policy)", "class Plain"))
    assert create(f"{file.with_name('alone.py')}:dim=8").settings() == {"dim": 8}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{file}:Mind", "has no class 'Mind'. Did you mean 'Mine'?"),
        ("{file}", "which class? Write {file}:Mine"),
        ("{file}:Plain:dim=3", "{file}:Plain has no setting 'dim'. See: abtest policy show {file}"),
        ("policies.videos.popular:Popula", "has no class 'Popula'. Did you mean 'Popular"),
        ("acme_gone.ranks:Mine", "no file at acme_gone.ranks"),
    ],
)
def test_a_file_or_module_without_what_is_asked_is_told(
    tmp_path: Path, spec: str, told: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    with pytest.raises(UnknownPolicy) as error:
        create(spec.format(file=file))
    assert told.format(file=file) in str(error.value)
