from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from reports.results import Estimate, ExperimentResult, ResultFormatError


def test_round_trip_gives_equal_records_and_bytes(result: ExperimentResult) -> None:
    text = result.to_json()
    again = ExperimentResult.from_json(text)
    assert again == result
    assert again.to_json() == text


def test_what_is_not_finite_becomes_null_and_stays_readable(result: ExperimentResult) -> None:
    first = result.comparisons[0]
    metric = dataclasses.replace(first.metrics[0], absolute=Estimate(math.nan, None, math.inf))
    comparison = dataclasses.replace(first, metrics=(metric,))
    broken = dataclasses.replace(result, comparisons=(comparison,), context={"loss": math.nan})
    text = broken.to_json()
    assert "NaN" not in text and "Infinity" not in text
    absolute = ExperimentResult.from_json(text).comparisons[0].metrics[0].absolute
    assert absolute is not None and math.isnan(absolute.value) and absolute.high is None
    assert ExperimentResult.from_json(text).to_json() == text


def damaged(result: ExperimentResult, change: dict[str, Any]) -> str:
    return json.dumps({**json.loads(result.to_json()), **change})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"design": "astrology"}, "astrology"),
        ({"health": "fine"}, "health"),
        ({"comparisons": [[]]}, "comparisons[0]"),
        ({"comparisons": [{"treatment": "lsvcr"}]}, "comparisons[0]"),
        ({"health": [{"name": 5, "label": "", "status": "pass", "detail": ""}]}, "health[0].name"),
        ({"simulated": "yes"}, "simulated"),
    ],
)
def test_damage_is_named(result: ExperimentResult, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ResultFormatError) as caught:
        ExperimentResult.from_json(damaged(result, change))
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "{}"])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(ResultFormatError):
        ExperimentResult.from_json(text)


def test_a_missing_field_is_named(result: ExperimentResult) -> None:
    document = json.loads(result.to_json())
    del document["comparisons"][0]["verdict"]
    with pytest.raises(ResultFormatError, match=r"no field 'verdict' in comparisons\[0\]"):
        ExperimentResult.from_json(json.dumps(document))
