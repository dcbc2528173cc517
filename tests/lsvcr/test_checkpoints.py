"""The same seed gives the same weights, after loading and after an interruption too."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lsvcr.policy import LSVCR
from policies.errors import CheckpointError
from policies.sequence.resume import kept_in
from tests.lsvcr.scoring import LEARNING, QUICK, Ask, scores_of


def test_a_fit_is_decided_by_data_settings_and_seed(
    write_log: Any, asking: Ask, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log", users=24, comments_each=5)
    told = []
    for seed in (1, 1, 2):
        policy = LSVCR(**QUICK)
        torch.manual_seed(seed + len(told) * 100)  # the state left by others must not matter
        policy.fit(log.dataset, seed=seed)
        told.append((scores_of(policy, log.dataset, asking), policy.training_summary()))
    np.testing.assert_array_equal(told[0][0][0], told[1][0][0])
    np.testing.assert_array_equal(told[0][0][1], told[1][0][1])
    assert json.dumps(told[0][1]) == json.dumps(told[1][1])
    assert np.abs(told[0][0][0] - told[2][0][0]).max() > 1e-3


def test_saved_and_loaded_scores_are_identical(
    planted: Any, fitted: LSVCR, asking: Ask, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}
    loaded = LSVCR(**LEARNING)
    loaded.load(tmp_path, planted.dataset)
    for mine, theirs in zip(
        scores_of(fitted, planted.dataset, asking),
        scores_of(loaded, planted.dataset, asking),
        strict=True,
    ):
        assert mine is not None and theirs is not None
        np.testing.assert_array_equal(mine, theirs)


def test_weights_of_other_settings_or_another_log_are_refused(
    planted: Any, fitted: LSVCR, write_log: Any, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    fitted.save(weights)
    with pytest.raises(CheckpointError):
        LSVCR(**{**LEARNING, "dim": 32}).load(weights, planted.dataset)
    other = write_log(tmp_path / "other", users=30).dataset
    with pytest.raises(CheckpointError, match="another dataset"):
        LSVCR(**LEARNING).load(weights, other)


def test_deployment_needs_no_transformers(
    planted: Any, fitted: LSVCR, asking: Ask, tmp_path: Path
) -> None:
    """Load and rank in a process where importing them fails."""
    fitted.save(tmp_path)
    script = textwrap.dedent(
        """
        import sys
        unwanted = "transformers tokenizers peft lsvcr.text.language_model lsvcr.text.llm"
        for blocked in unwanted.split():
            sys.modules[blocked] = None
        import json
        from pathlib import Path
        import numpy as np
        import abtest
        from policies.registry import create
        from simulator.logs.dataset import Dataset
        from simulator.logs.initial_history import initial_history
        from simulator.requests import CommentRequests, VideoRequests

        log, weights, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
        dataset = Dataset.open(log)
        policy = create("lsvcr", **settings)
        policy.load(weights, dataset)
        users = np.arange(160, dtype=np.int32)
        history = initial_history(dataset, users).view(users)
        common = dict(row=users, user=users, time_ms=np.zeros(160, dtype=np.int64),
                      key=users.astype(np.uint64), history=history)
        policy.reset(160)
        videos = np.tile(np.arange(60, dtype=np.int32), (160, 1))
        watched = (users * 7 % 60).astype(np.int32)
        comments = dataset.catalogue().comments_of(watched, 16)
        np.savez(weights / "scores.npz",
                 videos=policy.score_videos(VideoRequests(candidates=videos, **common)),
                 comments=policy.score_comments(
                     CommentRequests(video=watched, candidates=comments, **common)))
        """
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(planted.dataset.path),
            str(tmp_path),
            json.dumps(LEARNING),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = np.load(tmp_path / "scores.npz")
    videos, comments = scores_of(fitted, planted.dataset, asking)
    assert comments is not None
    np.testing.assert_allclose(told["videos"], videos, atol=1e-4)
    np.testing.assert_allclose(told["comments"], comments, atol=1e-4)


def test_training_that_was_cut_off_goes_on_to_the_same_weights(
    planted: Any, tmp_path: Path
) -> None:
    settings = {**QUICK, "epochs": 3}
    whole = LSVCR(**settings)
    whole.fit(planted.dataset, seed=5)

    def cut_off(stage: str, fraction: float, detail: str) -> None:
        if stage == "comment task" and detail.startswith("epoch 2,"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), kept_in(tmp_path / "state"):
        LSVCR(**settings).fit(planted.dataset, seed=5, progress=cut_off)
    again = LSVCR(**settings)
    with kept_in(tmp_path / "state"):
        again.fit(planted.dataset, seed=5)
    for policy, name in ((whole, "whole"), (again, "again")):
        (tmp_path / name).mkdir()
        policy.save(tmp_path / name)
    for file in sorted((tmp_path / "whole").iterdir()):
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name
