"""Whether a policy from outside the house keeps the contract stands among the checks."""

from __future__ import annotations

from reports.verdict import words
from tests.reports.conftest import make_result


def test_policies_from_outside_are_named_with_what_they_break() -> None:
    contract = {
        "good.py:Good": {"rules": 8, "broken": []},
        "bad.py:Bad": {"rules": 8, "broken": ["same scores: they changed", "order: it matters"]},
    }
    chips = words.chips(make_result(context={"contract": contract}))
    bad, good = [chip for chip in chips if chip.label == "Policy contract"]
    assert (good.status, bad.status) == ("pass", "warn")
    assert good.detail == "good.py:Good keeps 8 rules that were tried"
    assert bad.detail == "bad.py:Bad breaks it: same scores: they changed, and 1 more rule"
    assert not [c for c in words.chips(make_result()) if c.label == "Policy contract"]
