"""Weights are kept under the code that made them: changed code is trained again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from abtest.console import Console
from abtest.run.arms import code
from abtest.run.arms.code import code_version, own_sources
from abtest.run.arms.training import load_policy, train
from policies.base import Policy
from policies.errors import PolicyError
from policies.registry import create, policy_class
from simulator.logs.dataset import Dataset

Learned = Callable[[str], float]

POLICY = """
import numpy as np
from policies.base import Policy
{imports}

class Mine(Policy):
    def fit(self, dataset, *, seed, progress=None):
        self.value = {value}
    def save(self, directory):
        (directory / "value").write_text(str(self.value))
    def load(self, directory, dataset):
        self.value = float((directory / "value").read_text())
    def score_videos(self, requests):
        return np.full(requests.candidates.shape, self.value, np.float32)
    score_comments = score_videos
"""


def write(path: Path, value: str, imports: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(POLICY.format(value=value, imports=imports))
    return path


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported, forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def forget(*names: str) -> None:
    """As a new process has imported nothing."""
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


@pytest.fixture
def learned(chains: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Learned:
    """What the fitted policy has learned, with weights kept between calls."""
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))

    def learned(spec: str) -> float:
        trained = train(spec, {}, chains, seed=1, console=Console(quiet=True))
        policy = load_policy(trained, chains)
        inner = getattr(policy, "_inner", policy)
        parts = getattr(inner, "_parts", None)
        return float((parts["comments"].policy if parts else inner).value)

    return learned


def test_a_notebook_goes_on_with_an_edited_file(tmp_path: Path, learned: Learned) -> None:
    path = write(tmp_path / "mine.py", "1.0")
    assert learned(str(path)) == 1.0
    write(path, "2.0")
    assert learned(str(path)) == 2.0, "the code that was imported before the edit was used"
    write(path, "(")
    with pytest.raises(PolicyError, match="cannot be imported"):
        learned(str(path))
    write(path, "1.0")
    assert learned(str(path)) == 1.0


def test_a_file_that_is_not_changed_is_one_module(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "1.0")
    assert policy_class(str(path)) is policy_class(f"{path}:Mine")


def test_a_joined_name_learns_anew_when_a_part_is_edited(
    tmp_path: Path, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "mine.py", "1.0")
    assert learned(f"random+{path.name}") == 1.0
    write(path, "2.0")
    assert learned(f"random+{path.name}") == 2.0


def test_a_module_beside_the_policy_is_part_of_its_code(importable: Path, learned: Learned) -> None:
    path = write(importable / "mine.py", "constant()", "from beside_n import constant")
    helper = importable / "beside_n.py"
    helper.write_text("def constant():\n    return 1.0\n")
    assert learned(str(path)) == 1.0
    # In one process Python keeps the module: nothing may be kept under the new code's name.
    helper.write_text("def constant():\n    return 2.0\n")
    with pytest.raises(PolicyError, match=r"beside_n\.py was changed after this process had"):
        learned(str(path))
    helper.write_text("def constant():\n    return 1.0\n")
    assert learned(str(path)) == 1.0


def test_a_module_that_cannot_be_imported_from_beside_is_told_how(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "constant()", "from unseen_n import constant")
    with pytest.raises(PolicyError, match="No module named 'unseen_n'") as error:
        create(str(path))
    assert "PYTHONPATH" not in str(error.value)
    (tmp_path / "unseen_n.py").write_text("def constant():\n    return 1.0\n")
    with pytest.raises(PolicyError, match=f"unseen_n lies beside it: set PYTHONPATH={tmp_path}"):
        create(str(path))


def versions(importable: Path, change: Path, text: str, target: str = "acme_n.rank:Mine") -> bool:
    """Whether a change of a file changes the code version of a policy, as two processes see it."""
    found = []
    for _ in range(2):
        forget(*[name for name in sys.modules if name.startswith(("acme_n", "loose_n"))])
        module, _, name = target.partition(":")
        kind: type[Policy] = getattr(importlib.import_module(module), name)
        code._loaded.clear()
        found.append(code_version(kind()))
        change.write_text(text)
    return found[0] != found[1]


def test_modules_of_the_policys_package_are_its_code(importable: Path) -> None:
    package = importable / "site-packages" / "acme_n"
    sys.path.insert(0, str(package.parent))
    try:
        write(package / "rank.py", "net.one() + two()",
              "from . import net\nfrom .deep.more import two\nimport torch, polars")  # fmt: skip
        (package / "__init__.py").write_text("")
        (package / "net.py").write_text("import json\ndef one(): return 1.0\n")
        (package / "deep").mkdir()
        (package / "deep" / "__init__.py").write_text("")
        (package / "deep" / "more.py").write_text("import loose_n\ndef two(): return 1.0\n")
        (package / "unused.py").write_text("")
        (importable / "loose_n.py").write_text("")
        kind = importlib.import_module("acme_n.rank").Mine
        assert sorted(f.name for f in own_sources(kind)) == [
            "__init__.py", "__init__.py", "loose_n.py", "more.py", "net.py", "rank.py",
        ]  # fmt: skip
        assert versions(importable, package / "net.py", "def one(): return 2.0\n")
        assert versions(importable, package / "deep" / "more.py", "def two(): return 3.0\n")
        assert not versions(importable, package / "unused.py", "x = 1\n")
    finally:
        sys.path.remove(str(package.parent))


def test_a_base_class_is_code_and_what_it_mixes_in_from_a_library_is_not(importable: Path) -> None:
    (importable / "loose_n.py").write_text(POLICY.format(imports="", value="1.0"))
    (importable / "acme_n.py").write_text(
        "import torch\nfrom loose_n import Mine as Base\n\n"
        "class Mine(Base, torch.nn.Module):\n    pass\n"
    )
    kind = importlib.import_module("acme_n").Mine
    assert [f.name for f in own_sources(kind)] == ["acme_n.py", "loose_n.py"]


def test_ours_have_no_sources_of_their_own() -> None:
    assert own_sources(type(create("sasrec"))) == []
    assert code_version(create("sasrec")) == code_version(create("popular+likes"))
