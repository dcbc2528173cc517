"""What `doctor` and `policy show` print, as JSON for programs."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable

from policies.registry import create
from tests.abtest.conftest import Result

Run = Callable[..., Result]


def test_doctor_tells_programs_what_it_tells_people(abtest: Run) -> None:
    told, shown = json.loads(abtest("doctor", "--json").out), abtest("doctor").out
    assert told["packages"]["torch"] == importlib.metadata.version("torch")
    assert told["devices"][-1] == "cpu" and f'auto" takes {told["devices"][0]}' in shown
    assert "sasrec" in told["policies"] and told["cache"]["path"] in shown
    assert told["cache"]["writable"] is True and told["cache"]["free_bytes"] > 0


def test_a_policys_settings_are_read_by_programs(abtest: Run) -> None:
    told = json.loads(abtest("policy", "show", "sasrec", "--json").out)
    assert told["settings"] == create("sasrec").settings()
    assert told["class"] == "policies.videos.sasrec.SASRec" and not told["is_oracle"]
    assert told["description"] and told["settings_description"]
    unknown = abtest("policy", "show", "nobody", "--json")
    assert unknown.code == 2 and unknown.out == ""
