"""Each part of LSVCR can be switched off, and then has no effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from lsvcr.stage2 import training
from policies.base import Scores
from policies.errors import PolicyError
from policies.sequence.trainer import TrainerSettings
from simulator.logs.dataset import Dataset
from tests.lsvcr.scoring import QUICK, VIDEOS, Ask, scores_of, sections


def made_without(log: Any, **changes: Any) -> LSVCR:
    policy = LSVCR(**{**QUICK, **changes})
    policy.fit(log.dataset, seed=1)
    return policy


@pytest.fixture(scope="module")
def small_log(write_log: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_log(tmp_path_factory.mktemp("small") / "log", users=24, comments_each=5)


def after_another(
    policy: LSVCR, dataset: Dataset, asking: Ask, signal: str
) -> list[tuple[Scores, Scores]]:
    """Scores before and after everybody's history of one kind has grown by an event."""
    asked = asking(dataset)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(dataset, watched)
    told = []
    policy.reset(len(asked.users))
    for step in range(2):
        if step:
            chosen = np.full((len(asked.users), 3), -1, dtype=np.int32)
            chosen[:, 0] = 77
            asked.history.append(signal, asked.users, (asked.users * 5 + 3) % 60, chosen)
        own = policy.score_comments(asked.comments(watched, comments))
        assert own is not None
        told.append((policy.score_videos(asked.videos(VIDEOS)), own))
    return told


STEPS: dict[str, Any] = {"epochs": 3, "epoch_steps": 20, "learning_rate": 1e-2}


@pytest.fixture
def after_some_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """On so small a log the start may be the best epoch, whose branches are silent yet."""
    monkeypatch.setattr(
        training, "TrainerSettings", lambda **own: TrainerSettings(**{**own, "from_start": False})
    )


@pytest.mark.usefixtures("after_some_steps")
def test_without_comment_history_nothing_said_in_a_section_matters(
    small_log: Any, asking: Ask
) -> None:
    policy = made_without(small_log, comment_history=False, **STEPS)
    before, after = after_another(policy, small_log.dataset, asking, "discussed")
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])
    assert np.isfinite(before[0]).all() and np.isfinite(before[1]).all()
    # What was liked still matters, for comments too: through the mixing.
    before, after = after_another(policy, small_log.dataset, asking, "liked")
    assert np.abs(before[0] - after[0]).max() > 1e-3
    assert np.abs(before[1] - after[1]).max() > 0.0


@pytest.mark.usefixtures("after_some_steps")
def test_without_mixing_each_task_has_its_own_history_only(small_log: Any, asking: Ask) -> None:
    policy = made_without(small_log, mixing=False, **STEPS)
    for signal, own in (("liked", 0), ("discussed", 1)):
        before, after = after_another(policy, small_log.dataset, asking, signal)
        np.testing.assert_array_equal(before[1 - own], after[1 - own])
        assert np.abs(before[own] - after[own]).max() > 1e-3


def test_without_ids_only_the_text_of_what_was_liked_matters(small_log: Any, asking: Ask) -> None:
    policy = made_without(small_log, ids=False)
    videos, comments = scores_of(policy, small_log.dataset, asking)
    assert np.isfinite(videos).all() and np.ptp(videos, axis=1).min() > 0.0
    assert comments is not None and np.isfinite(comments).all()


def test_without_the_id_text_loss_it_is_not_computed(
    small_log: Any, asking: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr("lsvcr.stage2.tasks.FinetuneTask.id_text", fail)
    with pytest.raises(AssertionError, match="computed"):
        made_without(small_log)
    videos, _ = scores_of(made_without(small_log, id_text_weight=0.0), small_log.dataset, asking)
    assert np.isfinite(videos).all()


def test_ids_or_text_must_be_left(write_log: Any, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="ids is False, expected true where text is false"):
        LSVCR(ids=False, text=False)
    log = write_log(tmp_path / "log", users=8, text=False, comment_events=False)
    with pytest.raises(PolicyError, match="no captions or comments"):
        LSVCR(ids=False, **QUICK).fit(log.dataset, seed=1)


@pytest.mark.parametrize("alignment", ["none", "llm"])
def test_every_ablation_is_a_policy_of_its_own(alignment: str) -> None:
    whole = LSVCR(alignment=alignment, alignment_settings={"batch": 8})
    offered = whole.ablations()
    assert {"no comment history", "no mixing", "no ID-text loss", "no text", "no IDs"} < set(
        offered
    )
    if alignment == "llm":
        losses = {"no L_lm", "no L_rec", "no L_align", "no L_behaviour"}
        assert losses | {"no alignment"} < set(offered)
    changed = [LSVCR(**{**whole.settings(), **part}).settings() for part in offered.values()]
    texts = {json.dumps(settings, sort_keys=True) for settings in [whole.settings(), *changed]}
    assert len(texts) == len(offered) + 1
    for settings in changed:
        assert settings["alignment_settings"]["batch"] == 8
