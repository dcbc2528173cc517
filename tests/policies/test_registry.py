"""A policy is found by a name, a name with settings, or two joined names."""

from __future__ import annotations

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
