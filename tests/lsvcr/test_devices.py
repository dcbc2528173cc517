"""Both stages train, and the deployed model ranks, on the device that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from tests.lsvcr.scoring import QUICK, Ask, scores_of
from tests.lsvcr.stage1.planted_log import TINY
from tests.policies.make_believe import make_believe_gpu

ALIGNED = {**QUICK, "alignment": "llm", "alignment_settings": {**TINY, "videos": 8, "comments": 8}}
WHOLE = {**QUICK, "variant": "whole"}


@pytest.mark.parametrize("settings", [QUICK, ALIGNED, WHOLE, {**QUICK, "text": False}], ids=str)
def test_lsvcr_trains_and_ranks_there(
    settings: dict[str, Any], write_log: Any, asking: Ask, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log", users=24, comments_each=5).dataset
    here = LSVCR(**settings)
    here.fit(log, seed=1)
    expected = scores_of(here, log, asking)
    with make_believe_gpu() as gpu:
        policy = LSVCR(**settings)
        policy.fit(log, seed=1)
        assert all(gpu.has(w) for task in policy._tasks.values() for w in task._model.parameters())
        policy.save(tmp_path)
        loaded = LSVCR(**settings)
        loaded.load(tmp_path, log)
        for one in (policy, loaded):
            for mine, known in zip(scores_of(one, log, asking), expected, strict=True):
                np.testing.assert_array_equal(np.array(mine), np.array(known))
