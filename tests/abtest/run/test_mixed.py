"""`sasrec+lsvcr`: one policy's videos with another's comments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abtest.commands.options import lsvcr_settings
from abtest.console import Console
from abtest.errors import UsageError
from abtest.evaluate.protocol import contestants
from abtest.run.arms.training import load_policy, train
from abtest.run.contract.suite import check_policy
from policies.errors import UnknownPolicy
from policies.registry import create, parts_of, settings_of
from simulator.logs.dataset import Dataset
from tests.lsvcr.conftest import ask

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


def test_a_plus_joins_two_names_but_not_within_a_file(tmp_path: Path) -> None:
    assert parts_of("sasrec+lsvcr") == ("sasrec", "lsvcr")
    assert parts_of("sasrec") is None
    assert parts_of(f"{tmp_path}/a+b.py:Mine") is None
    own = tmp_path / "with+plus" / "mine.py"
    own.parent.mkdir()
    assert parts_of(f"{own}:Mine") is None
    own.write_text("")
    assert parts_of(f"{own}:Mine:dim=2") is None
    plain = tmp_path / "mine.py"
    plain.write_text("")
    assert parts_of(f"sasrec+{plain}:Mine") == ("sasrec", f"{plain}:Mine")
    assert parts_of(f"{plain}:dim=2+likes") == (f"{plain}:dim=2", "likes")


def test_each_part_gets_its_own_settings() -> None:
    settings = {"itemknn": {"neighbours": 7}, "newest": {"videos": "random"}}
    assert settings_of("itemknn+newest", settings) == {
        "videos": {"neighbours": 7},
        "comments": {"videos": "random"},
    }
    policy = create("itemknn+newest", **settings_of("itemknn+newest", settings))
    assert policy.settings()["videos"]["itemknn"]["neighbours"] == 7


def test_evaluation_and_lsvcr_options_know_the_parts() -> None:
    (row,) = contestants(["itemknn+likes"], {"itemknn": {"neighbours": 7}}, ablations=False)
    assert row.settings == {"videos": {"neighbours": 7}, "comments": {}}
    assert lsvcr_settings(None, "base", ["sasrec+lsvcr"]) == {"lsvcr": {"preset": "base"}}
    with pytest.raises(UsageError, match="not trained here"):
        lsvcr_settings(None, "base", ["sasrec+likes"])


def test_scores_are_those_of_the_parts(
    small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path))
    dataset = Dataset.open(small_log)
    made = {
        spec: load_policy(train(spec, {}, dataset, seed=1, console=Console(quiet=True)), dataset)
        for spec in ("popular+text-similarity", "popular", "text-similarity")
    }
    asked = ask(dataset)
    rows = np.arange(40)
    for policy in made.values():
        policy.reset(len(dataset.user_ids()))
    videos = np.arange(40, dtype=np.int32)
    sections = asked.comments(videos, dataset.catalogue().comments_of(videos, 20), rows)
    joined, comments = (made[n].score_comments(sections) for n in list(made)[::2])
    assert joined is not None and comments is not None
    assert np.array_equal(joined, comments)
    candidates = np.tile(np.arange(30, dtype=np.int32), (40, 1))
    pages = asked.videos(candidates, rows)
    assert np.array_equal(
        made["popular+text-similarity"].score_videos(pages), made["popular"].score_videos(pages)
    )


def test_it_keeps_the_contract(small_log: Path) -> None:
    results = check_policy("itemknn+text-similarity", Dataset.open(small_log))
    assert all(r.passed for r in results), [r for r in results if not r.passed]


def test_oracles_are_no_parts() -> None:
    with pytest.raises(UnknownPolicy, match="oracle-comments cannot be a part"):
        create("popular+oracle-comments")


def test_a_misspelt_part_is_named() -> None:
    with pytest.raises(UnknownPolicy, match="Did you mean 'sasrec'"):
        create("sasrek+lsvcr")


def test_a_run_reports_both_parts(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    result = abtest(
        "run", "-t", "popular+newest", "-c", "popular", "--data", small_log, "--users", 200,
        "--out", "run", "--workers", 1,
    )  # fmt: skip
    assert result.code == 0, result.err
    facts = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    policies = facts["context"]["policies"]["popular+newest"]
    assert policies["videos"]["policy"] == "popular"
    assert policies["comments"]["policy"] == "newest"
