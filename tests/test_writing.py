"""A module says in its first line what it does, verb first, and names are the field's."""

from __future__ import annotations

import ast

import pytest

from tests.test_architecture import ROOMS, ROOT

LONGEST = 100
_WORDS = """
Adapt Add Align Analyse Ask Attach Augment Batch Break Build Cache Call Cap Carry Check Choose
Classify Climb Collect Combine Compare Complete Copy Compute Connect Convert Correct Count Create
Cross-fit Cut Damage Decide Declare Decompose Define Describe Divide Do Draw Drive Embed Encode
Estimate Evaluate Exchange Export Fill Find Fine-tune Fit Format Fuse Hand Hash Hold Import
Integrate Join Judge Keep Kill Lay Learn Let Linearise List Load Look Make Map Measure Mix Model
Multiply Name Offer Open Order Pack Parse Plan Pool Predict Prepare Print Propose Put Rank Read
Rebuild Recommend Reduce Refuse Register Remember Remove Replay Report Represent Resample Respond
Resume Retrieve Run Say Score Select Serve Share Show Simulate Spend Split Start Stop Store
Summarise Take Tell Test Time Train Transform Try Turn Validate Value Weigh Wrap Write
"""
VERBS = frozenset(_WORDS.split())
"""Verbs that docstrings of modules begin with; a new one is added here."""

MODULES = sorted(
    path for folder in (*ROOMS, "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def complaint(first: str) -> str:
    """What is wrong with the first line of a module's docstring; empty if nothing is."""
    if len(first) + len('"""') > LONGEST:
        return f"is longer than {LONGEST} characters"
    if not first.endswith("."):
        return "does not end with a full stop"
    if first.split(" ")[0].rstrip(",") not in VERBS:
        return "does not begin with a verb (see VERBS in tests/test_writing.py)"
    return ""


@pytest.mark.parametrize(
    ("first", "wrong"),
    [
        ("Rank comments by predicted dwell.", ""),
        ("Read, check and store a log.", ""),
        ("What a comment has to beat.", "verb"),
        ("The contract between feed and ranker.", "verb"),
        ("A world.", "verb"),
        ("Which impressions can be used.", "verb"),
        ("How people read.", "verb"),
        ("Rank comments by", "full stop"),
        (f"Rank {'very ' * 20}well.", "longer"),
        ("", "full stop"),
    ],
)
def test_the_rule_for_first_lines(first: str, wrong: str) -> None:
    found = complaint(first)
    assert wrong in found
    assert bool(found) == bool(wrong)


def test_every_module_says_what_it_does_verb_first() -> None:
    assert len(MODULES) > 300
    wrong = []
    for path in MODULES:
        first, *rest = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")
        found = complaint(first) or ("goes on in its second line" if rest and rest[0] else "")
        if found:
            wrong.append(f"{path.relative_to(ROOT)}: the first line {found}: {first}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_has_one_class_of_a_name(room: str) -> None:
    """A reader who finds a class has found the only one of that name in the package."""
    found: dict[str, list[str]] = {}
    for path in (path for path in MODULES if path.relative_to(ROOT).parts[0] == room):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert found
    twice = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert not twice
