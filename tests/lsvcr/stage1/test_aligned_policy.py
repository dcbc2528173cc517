"""A policy that is aligned first: settings, checkpoints, poorer logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from lsvcr.stage1.training import STAGE
from lsvcr.text.llm import CausalLLM
from policies.errors import CheckpointError, PolicyError
from tests.lsvcr.stage1.planted_log import QUICK, TINY


def test_the_policy_aligns_fine_tunes_and_comes_back_from_disk(
    planted: Any, asking: Callable[[Any], Any], tmp_path: Path
) -> None:
    told: list[tuple[str, float]] = []
    policy = LSVCR(**QUICK)
    policy.fit(planted.dataset, seed=1, progress=lambda s, share, _: told.append((s, share)))
    assert list(dict.fromkeys(stage for stage, _ in told)) == [
        "language model",
        "text embeddings",
        STAGE,
        "video task",
        "comment task",
    ]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert policy.training_summary()[STAGE]["steps"] == 12
    policy.save(tmp_path)
    loaded = LSVCR(**QUICK)
    loaded.load(tmp_path, planted.dataset)
    asked = asking(planted.dataset)
    videos = np.arange(60, dtype=np.int32)
    for one in (policy, loaded):
        one.reset(len(asked.users))
    mine, theirs = (one.score_videos(asked.videos(videos)) for one in (policy, loaded))
    np.testing.assert_array_equal(mine, theirs)
    assert np.isfinite(mine).all() and np.ptp(mine, axis=1).min() > 0.0


@pytest.mark.parametrize("part", ["no mixing", "no IDs", "no comment history"])
def test_an_aligned_policy_trains_without_a_part(planted: Any, part: str) -> None:
    whole = LSVCR(**QUICK)
    policy = LSVCR(**{**whole.settings(), **whole.ablations()[part]})
    policy.fit(planted.dataset, seed=1)
    assert {STAGE, "video", "comment"} < set(policy.training_summary())


def test_an_alignment_of_other_sizes_does_not_go_on_from_a_checkpoint(
    planted: Any, tmp_path: Path
) -> None:
    settings = {**QUICK, "alignment_settings": {**TINY, "checkpoint": str(tmp_path / "aligned")}}
    LSVCR(**settings).align(planted.dataset, seed=1)
    with pytest.raises(CheckpointError, match="sizes"):
        LSVCR(**{**settings, "mixing": False}).align(planted.dataset, seed=1)
    without = LSVCR(**settings).ablations()["no mixing"]
    assert without["alignment_settings"]["checkpoint"] == ""


@pytest.mark.parametrize(("declared", "language"), [("en", "en"), ("zh-CN", "zh"), (None, "zh")])
def test_prompts_speak_the_datasets_language(
    planted: Any, monkeypatch: pytest.MonkeyPatch, declared: str | None, language: str
) -> None:
    told: list[str] = []

    class Stop(Exception):
        pass

    def writer(_: CausalLLM, __: list[str], spoken: str, **___: Any) -> None:
        told.append(spoken)
        raise Stop

    monkeypatch.setattr("lsvcr.stage1.training.PromptWriter", writer)
    monkeypatch.setattr(planted.dataset, "info", replace(planted.dataset.info, language=declared))
    policy = LSVCR(**QUICK)
    monkeypatch.setattr("lsvcr.language._language_model", lambda *_: (None, {}))
    monkeypatch.setattr(
        "lsvcr.language.embedded_llm", lambda _: SimpleNamespace(adapt=lambda **_: None)
    )
    with pytest.raises(Stop):
        policy.fit(planted.dataset, seed=1)
    assert told == [language]


@pytest.mark.parametrize(("text", "comment_events"), [(True, False), (False, True)])
def test_logs_that_lack_something(
    write_log: Any, tmp_path: Path, text: bool, comment_events: bool
) -> None:
    poor = write_log(
        tmp_path / "log", users=24, comments_each=5, text=text, comment_events=comment_events
    )
    policy = LSVCR(**QUICK)
    policy.fit(poor.dataset, seed=1)
    assert (STAGE in policy.training_summary()) == text


def test_wrong_choices_are_refused_before_anything_is_trained() -> None:
    with pytest.raises(PolicyError, match="alignment is 'deep', expected one of none, llm"):
        LSVCR(alignment="deep")
    with pytest.raises(PolicyError, match="no setting 'videoz'"):
        LSVCR(alignment="llm", alignment_settings={"videoz": 1})
