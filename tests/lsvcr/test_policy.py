from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.data.examples import histories, last_events, make_batch
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import TEMPERATURE, SRModel
from lsvcr.policy import LSVCR
from lsvcr.serving.deployed import DeployedTask
from lsvcr.serving.user_cache import UserCache
from lsvcr.stage2 import training
from lsvcr.stage2.representation import people
from lsvcr.task import Task
from lsvcr.text.tables import Texts, TextTables
from policies.base import Scores
from policies.errors import CheckpointError, PolicyError
from policies.registry import create
from policies.sequence.resume import kept_in
from policies.sequence.trainer import TrainerSettings
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history

Ask = Callable[[Dataset], Any]
VIDEOS = np.arange(60, dtype=np.int32)
FRESH = np.array([14, 29, 44, 59])
# Stage 2 alone; stage 1 has tests of its own.
LEARNING: dict[str, Any] = {
    "variant": "paper",
    "alignment": "none",
    "epochs": 12,
    "epoch_steps": 1,
    "patience": 12,
    "dropout": 0.1,
}


@pytest.fixture(scope="session")
def fitted(planted: Any) -> LSVCR:
    policy = LSVCR(**LEARNING)
    policy.fit(planted.dataset, seed=1)
    return policy


def sections(dataset: Dataset, videos: Any) -> Any:
    return dataset.catalogue().comments_of(np.asarray(videos), 16)


def scores_of(policy: LSVCR, dataset: Dataset, asking: Ask) -> tuple[Scores, Scores | None]:
    """Everybody's scores of all videos, and of the section under one video each."""
    asked = asking(dataset)
    policy.reset(len(asked.users))
    watched = (asked.users * 7 % 60).astype(np.int32)
    return (
        policy.score_videos(asked.videos(VIDEOS)),
        policy.score_comments(asked.comments(watched, sections(dataset, watched))),
    )


# --- What is learned ---


def test_the_next_video_of_the_chain_beats_popularity(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    liked = asked.history.view(asked.users).videos("liked")[:, :10]
    following = np.where(liked[:, 9] % 15 == 13, liked[:, 9] - 13, liked[:, 9] + 1)
    rows = np.arange(len(liked))
    counts = np.bincount(liked.ravel(), minlength=60).astype(np.float32)

    def mean_rank(scores: Any) -> float:
        scores = scores.copy()
        scores[rows[:, None], liked] = -np.inf
        return float((scores >= scores[rows, following][:, None]).sum(axis=1).mean())

    fitted.reset(len(rows))
    learned = mean_rank(fitted.score_videos(asked.videos(VIDEOS)))
    popular = mean_rank(np.tile(counts, (len(rows), 1)))
    # 50 videos are left to each: 25.5 by chance; 5 of its own chain.
    assert learned < 4.0 < popular


def test_comments_of_the_preferred_style_come_first(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(planted.dataset, watched)
    ids = planted.dataset.catalogue().comment_ids[comments]
    mine = planted.style[ids] == planted.taste[:, None]
    fitted.reset(len(asked.users))
    scores = fitted.score_comments(asked.comments(watched, comments))
    assert scores is not None
    wins = [
        float((line[good][:, None] > line[~good][None]).mean())
        for line, good in zip(scores, mine, strict=True)
        if good.any() and not good.all()
    ]
    assert np.mean(wins) > 0.95


def test_a_video_nobody_has_seen_is_ranked_by_its_text(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    home = asked.history.view(asked.users).videos("liked")[:, 0] // 15
    fitted.reset(len(asked.users))
    scores = fitted.score_videos(asked.videos(FRESH.astype(np.int32)))
    assert (scores.argmax(axis=1) == home).mean() > 0.9


# --- The contract ---


def test_same_request_same_scores_whatever_the_batch(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    together = scores_of(fitted, planted.dataset, asking)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(planted.dataset, watched)
    for row in (0, 5, 77):
        fitted.reset(len(asked.users))
        videos = fitted.score_videos(asked.videos(VIDEOS, [row]))
        own = fitted.score_comments(
            asked.comments(watched[[row]], comments[[row]], [row]),
        )
        assert together[1] is not None and own is not None
        np.testing.assert_allclose(videos[0], together[0][row], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(own[0], together[1][row], rtol=1e-4, atol=1e-4)


def test_candidates_do_not_influence_each_other_and_padding_may_stand_anywhere(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    fitted.reset(len(asked.users))
    everything = fitted.score_videos(asked.videos(VIDEOS))
    some = np.array([31, -1, 4, 59, -1], dtype=np.int32)
    scores = fitted.score_videos(asked.videos(some))
    assert scores.dtype == np.float32 and scores.shape == (len(asked.users), 5)
    real = some >= 0
    np.testing.assert_allclose(scores[:, real], everything[:, some[real]], atol=1e-4)


def test_only_people_whose_histories_changed_are_encoded_anew(
    planted: Any, fitted: LSVCR, asking: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either history: the cache must watch both, in both tasks."""
    encoded: list[int] = []
    plain = DeployedTask.encode

    def counting(self: DeployedTask, videos: Any, *rest: Any) -> Any:
        encoded.append(len(videos))
        return plain(self, videos, *rest)

    monkeypatch.setattr(DeployedTask, "encode", counting)
    asked = asking(planted.dataset)
    n = len(asked.users)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(planted.dataset, watched)

    def both() -> tuple[Scores, Scores]:
        told = fitted.score_comments(asked.comments(watched, comments))
        assert told is not None
        return fitted.score_videos(asked.videos(VIDEOS)), told

    fitted.reset(n)
    before = both()
    both()
    assert encoded == [n, n]
    for step in ("liked", "discussed"):
        changed = np.array([3, 8])
        chosen = np.full((2, 3), -1, dtype=np.int32)
        chosen[:, 0] = 5
        asked.history.append(step, changed, np.array([40, 2], dtype=np.int32), chosen)
        encoded.clear()
        cached = both()
        assert encoded == [2, 2]
        fitted.reset(n)
        anew = both()
        same = np.setdiff1d(np.arange(n), changed)
        for told, fresh, old in zip(cached, anew, before, strict=True):
            np.testing.assert_array_equal(told[same], old[same])
            np.testing.assert_allclose(told, fresh, atol=1e-4)
        own = 0 if step == "liked" else 1
        assert (np.abs(cached[own] - before[own]).max(axis=1) > 1e-2)[changed].all()
        before = anew


def test_people_without_a_history_get_finite_scores(planted: Any, fitted: LSVCR) -> None:
    from simulator.requests import CommentRequests, HistoryState, VideoRequests

    fitted.reset(2)
    rows = np.arange(2)
    scores = fitted.score_videos(
        VideoRequests(
            row=rows.astype(np.int32),
            user=rows.astype(np.int32),
            time_ms=np.zeros(2, dtype=np.int64),
            key=rows.astype(np.uint64),
            candidates=np.tile(VIDEOS, (2, 1)),
            history=HistoryState(2).view(rows),
        )
    )
    assert np.isfinite(scores).all()
    assert np.ptp(scores[0]) > 0.0
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    watched = np.array([3, 3], dtype=np.int32)
    listed = sections(planted.dataset, watched)
    told = fitted.score_comments(
        CommentRequests(
            row=rows.astype(np.int32),
            user=rows.astype(np.int32),
            time_ms=np.zeros(2, dtype=np.int64),
            key=rows.astype(np.uint64),
            video=watched,
            candidates=listed,
            history=HistoryState(2).view(rows),
        )
    )
    assert told is not None and np.isfinite(told).all() and np.ptp(told[0]) > 0.0
    np.testing.assert_allclose(told[0], told[1], atol=1e-4)


TASKS: tuple[Task, ...] = ("video", "comment")


@pytest.mark.parametrize("task", TASKS)
def test_serving_computes_what_training_computed(planted: Any, task: Task) -> None:
    """Tables and caches against the model as it is trained, for the last event of everybody."""
    dataset = planted.dataset
    texts = Texts.of(dataset)
    random = np.random.default_rng(0)
    table = random.normal(size=(len(texts.distinct), 16)).astype(np.float16)
    catalogue = dataset.catalogue()
    inventory = Inventory(catalogue, TextTables(table, texts.title, texts.comment), 2**62)
    torch.manual_seed(0)
    model = SRModel(task, catalogue.n_videos, 16, dim=16, feed_forward=32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    both = histories(dataset, "liked")
    batch = make_batch(both, task, last_events(both.of(task)[0], np.arange(160)))
    with torch.no_grad():
        trained = F.normalize(people(model, inventory, batch, None), dim=-1).numpy()

    # The platform's view of the same people just before that event, from the log itself.
    deployed = DeployedTask.of(model, inventory)
    signal = "liked" if task == "video" else "discussed"
    served = np.zeros_like(trained)
    for user in range(160):
        own = both.of(task)[0]
        time = _last_time(dataset, signal, user)
        view = initial_history(dataset, np.array([user], dtype=np.int32), time).view(np.arange(1))
        encoded = UserCache(deployed, "liked", 1).encoded(np.zeros(1, dtype=np.int32), view)
        if task == "comment":
            video = own.video[[own.starts[user + 1] - 1]].astype(np.int32)
            encoded = deployed.at_video(encoded, view.lengths("discussed"), video)
        served[user] = encoded[0]
        if user == 11:
            break
    np.testing.assert_allclose(served[:12], trained[:12], atol=4e-3)
    candidates = np.arange(40, dtype=np.int32)[None]
    vectors = (
        model.videos(torch.arange(40), model.text(inventory.embeddings[inventory.title[:40]]))
        if task == "video"
        else model.text(inventory.embeddings[torch.from_numpy(inventory.comment[:40])])
    )
    expected = trained[:1] @ F.normalize(vectors, dim=-1).detach().numpy().T / TEMPERATURE
    np.testing.assert_allclose(deployed.score(served[:1], candidates), expected, atol=0.1)


def _last_time(dataset: Dataset, signal: Any, user: int) -> int:
    from simulator.logs.interactions import interactions

    events = interactions(dataset, signal)
    return int(events.time_ms[events.user == user].max())


# --- Logs that lack something ---

QUICK: dict[str, Any] = {
    "variant": "paper",
    "alignment": "none",
    "epochs": 1,
    "epoch_steps": 1,
    "dim": 16,
    "feed_forward": 32,
}


@pytest.mark.parametrize(
    ("text", "comment_events", "ranks_comments"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_poorer_logs_still_rank(
    write_log: Any,
    asking: Ask,
    tmp_path: Path,
    text: bool,
    comment_events: bool,
    ranks_comments: bool,
) -> None:
    log = write_log(
        tmp_path / "log", users=24, comments_each=5, text=text, comment_events=comment_events
    )
    policy = LSVCR(**QUICK)
    policy.fit(log.dataset, seed=1)
    videos, comments = scores_of(policy, log.dataset, asking)
    assert np.isfinite(videos).all() and np.ptp(videos, axis=1).min() > 0.0
    assert (comments is not None) == ranks_comments
    assert comments is None or np.isfinite(comments).all()


def test_ids_alone_learn_the_chain(write_log: Any, asking: Ask, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", text=False, comment_events=False)
    policy = LSVCR(**LEARNING)
    policy.fit(log.dataset, seed=1)
    asked = asking(log.dataset)
    policy.reset(len(asked.users))
    scores = policy.score_videos(asked.videos(VIDEOS))
    home = asked.history.view(asked.users).videos("liked")[:, 0] // 15
    seen_by_somebody = np.setdiff1d(VIDEOS, FRESH)
    best = seen_by_somebody[scores[:, seen_by_somebody].argmax(axis=1)]
    assert (best // 15 == home).mean() > 0.9
    # Nothing is known of a new video: it scores as the average one.
    average = scores[:, seen_by_somebody].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(scores[:, FRESH], np.tile(average, (1, len(FRESH))), atol=0.02)


@pytest.mark.parametrize("comment_events", [True, False])
def test_a_log_in_which_nobody_likes_anything_still_ranks(
    write_log: Any, asking: Ask, tmp_path: Path, comment_events: bool
) -> None:
    log = write_log(
        tmp_path / "log", users=24, comments_each=5, likes=False, comment_events=comment_events
    )
    policy = LSVCR(**QUICK)
    policy.fit(log.dataset, seed=1)
    assert "video" not in policy.training_summary()
    videos, comments = scores_of(policy, log.dataset, asking)
    assert np.isfinite(videos).all() and np.ptp(videos, axis=1).min() > 0.0
    assert (comments is not None) == comment_events
    assert comments is None or np.isfinite(comments).all()


def test_text_can_be_left_out(planted: Any, asking: Ask) -> None:
    policy = LSVCR(text=False, **QUICK)
    policy.fit(planted.dataset, seed=1)
    assert "language model" not in policy.training_summary()
    assert scores_of(policy, planted.dataset, asking)[1] is None


# --- Parts that can be switched off ---


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


# --- Determinism, checkpoints, deployment ---


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


def test_summary_tells_epochs_and_validation_of_both_tasks(fitted: LSVCR) -> None:
    summary = fitted.training_summary()
    assert set(summary) == {"language model", "video", "comment"}
    for task in TASKS:
        assert 1 <= summary[task]["best_epoch"] <= summary[task]["epochs"] <= 12
        assert 0.0 < summary[task]["validation"] <= 1.0
    assert 0.0 < summary["language model"]["loss"] < 10.0


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


def test_settings_are_complete_and_wrong_ones_are_refused() -> None:
    policy = create("lsvcr")
    assert isinstance(policy, LSVCR)
    again = LSVCR(**policy.settings())
    assert again.settings() == policy.settings()
    json.dumps(policy.settings())
    with pytest.raises(PolicyError, match="preset is 'huge', expected one of base, paper, small"):
        LSVCR(preset="huge")


def test_progress_never_runs_backwards(write_log: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", users=24, comments_each=5)
    told: list[tuple[str, float]] = []
    LSVCR(**QUICK).fit(
        log.dataset, seed=1, progress=lambda stage, share, detail: told.append((stage, share))
    )
    assert list(dict.fromkeys(stage for stage, _ in told)) == [
        "language model",
        "text embeddings",
        "video task",
        "comment task",
    ]
    shares = [share for _, share in told]
    assert all(b >= a for a, b in pairwise(shares))
    assert shares[-1] == 1.0


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
