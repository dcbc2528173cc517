"""What `make` installs is pinned, with the hashes of its files, and is what the project needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def versions(file: str) -> dict[str, str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return {canonicalize_name(name): version for name, version in PINNED.findall(text)}


def test_the_lock_holds_the_versions_of_the_constraints_but_extras() -> None:
    installed, _, _ = (ROOT / "constraints.txt").read_text(encoding="utf-8").partition("# Extras")
    constraints = {canonicalize_name(name): version for name, version in PINNED.findall(installed)}
    assert constraints.pop("torch") == "2.13.0"
    assert versions("requirements.lock") == constraints


def test_every_package_of_the_lock_has_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[\w.-]+==)", text)
    assert len(entries) == len(versions("requirements.lock"))
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:40]


def test_the_constraints_satisfy_what_the_project_asks_for() -> None:
    constraints = versions("constraints.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    for text in asked:
        requirement = Requirement(text)
        version = constraints[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text}: {version}"
