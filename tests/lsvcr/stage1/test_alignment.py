from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lsvcr.data.examples import Histories, histories, make_batch, windows
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.model.warm_start import start_from_agreement
from lsvcr.policy import LSVCR
from lsvcr.stage1.augmentation import Augmentation
from lsvcr.stage1.batch import BatchMaker, PromptWriter
from lsvcr.stage1.examples import Examples, make_examples, past_of
from lsvcr.stage1.losses import LossWeights
from lsvcr.stage1.model import AlignmentModel
from lsvcr.stage1.settings import AlignmentSettings
from lsvcr.stage1.training import STAGE, Aligned, align
from lsvcr.stage2.representation import people
from lsvcr.stage2.training import held_out
from lsvcr.task import Task
from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel
from lsvcr.text.llm import CausalLLM, embedded_llm
from lsvcr.text.tables import Texts, TextTables
from policies.base import Progress, silent
from policies.errors import CheckpointError, PolicyError
from policies.sequence.trainer import TrainingSummary
from simulator.logs.interactions import interactions

TASKS: tuple[Task, ...] = ("video", "comment")
SIZES: dict[str, Any] = {"dim": 16, "feed_forward": 32, "dropout": 0.1}
TINY: dict[str, Any] = {
    "videos": 48,
    "comments": 48,
    "history": 4,
    "batch": 8,
    "text_tokens": 12,
    "prompt_tokens": 160,
}


class Log:
    """A planted log as stage 1 sees it."""

    def __init__(self, planted: Any) -> None:
        self.dataset = planted.dataset
        texts = Texts.of(self.dataset)
        self.texts = texts.distinct
        self.both: Histories = histories(self.dataset, "liked")
        tables = TextTables(np.zeros((1, 1), np.float16), texts.title, texts.comment)
        self.inventory = Inventory(self.dataset.catalogue(), tables, 2**62)
        self.stops: dict[Task, Any] = {t: held_out(self.both.of(t)[0], 1)[1] for t in TASKS}
        settings = LanguageModelSettings(
            width=32, heads=2, vocabulary=400, training_tokens=4_000, max_tokens=12
        )
        self._small = SmallLanguageModel.train(self.texts, settings, seed=1, progress=silent)[0]

    def llm(self) -> CausalLLM:
        return embedded_llm(copy.deepcopy(self._small))

    def align(self, *, seed: int = 1, progress: Progress = silent, **changes: Any) -> Aligned:
        return align(
            self.llm(),
            self.texts,
            self.both,
            self.inventory,
            self.stops,
            AlignmentSettings.of("small", {**TINY, **changes}),
            language="zh",
            sizes=SIZES,
            about={"dataset": "planted"},
            seed=seed,
            progress=progress,
        )

    def examples(self, most: int = 10**6) -> Examples:
        return make_examples(
            self.both, self.inventory, self.stops, {"video": most, "comment": most}, seed=1
        )


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> None:
    """One: these models are too small for two to be quicker."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def log(planted: Any) -> Log:
    return Log(planted)


# --- Examples ---


def test_every_event_with_a_text_is_an_example_unless_held_out(log: Log) -> None:
    examples = log.examples()
    assert len(set(examples.address.tolist())) == len(examples)
    for comment_task, history in ((False, log.both.liked), (True, log.both.discussed)):
        mine = examples.rows(np.flatnonzero(examples.comment_task == comment_task))
        number = mine.event - history.starts[mine.user]
        stop = log.stops["comment" if comment_task else "video"]
        assert (number >= 0).all() and (number < stop[mine.user]).all()
        real = history.comments[:, 0] >= 0 if comment_task else np.ones(len(history.video), bool)
        kept = np.arange(len(history.video)) - np.repeat(history.starts[:-1], history.lengths)
        expected = np.flatnonzero(real & (kept < np.repeat(stop, history.lengths)))
        assert sorted(mine.event.tolist()) == expected.tolist()


def test_a_cap_keeps_tasks_mixed(log: Log) -> None:
    examples = log.examples(100)
    assert int(examples.comment_task.sum()) == 100 and len(examples) == 200
    first = examples.comment_task[:100].sum()
    assert 30 < first < 70  # 4 standard errors of a shuffle


def test_nothing_later_leaks_into_an_example(log: Log) -> None:
    """Against the log itself, event by event."""
    events = {s: interactions(log.dataset, s) for s in ("liked", "discussed")}  # type: ignore[arg-type]
    examples = log.examples().rows(slice(0, 60))
    past = past_of(log.both, examples, 4)
    for row in range(60):
        own = events["discussed" if examples.comment_task[row] else "liked"]
        time, user = own.time_ms[examples.event[row]], examples.user[row]
        for signal, told in (("liked", past.videos), ("discussed", past.sections)):
            theirs = events[signal]
            before = theirs.video[(theirs.user == user) & (theirs.time_ms < time)][-4:]
            assert told[row][told[row] >= 0].tolist() == before.tolist()
        discussed = events["discussed"]
        assert discussed.comments is not None
        before = discussed.comments[(discussed.user == user) & (discussed.time_ms < time)][-4:]
        assert past.comments[row][: len(before)].tolist() == before.tolist()
        if examples.comment_task[row]:
            assert past.current[row] == own.video[examples.event[row]]


def maker(log: Log, llm: CausalLLM, **changes: Any) -> BatchMaker:
    given = {"text_tokens": 12, "prompt_tokens": 2_000, **changes}
    writer = PromptWriter(llm, log.texts, "zh", **given)
    return BatchMaker(log.both, log.inventory, writer, 4, Augmentation(), 1)


def test_prompts_read_as_they_should_in_both_orders(log: Log) -> None:
    llm = log.llm()
    batch = maker(log, llm).make(log.examples().rows(slice(0, 40)))
    known = {ids: text for text in log.texts for ids in [tuple(llm.tokens([text], 12)[0])]}
    decode = log._small._tokenizer.decode
    first = 0
    for row, ids in enumerate(batch.prompts):
        assert ids[0] == llm.end
        text = decode([i - 2 for i in ids[1:]])
        first += text.index("喜欢的视频：\n") < text.index("参与评论的视频：\n")
        asked = "用户会互动的评论：" if batch.comment_task[row] else "用户接下来喜欢的视频标题："
        assert text.endswith(asked)
        for number in batch.titles[row][batch.titles[row] >= 0]:
            assert log.texts[number] in text
        if batch.comment_task[row]:
            assert f"正在观看的视频：{log.texts[batch.current[row]]}\n" in text
    assert len(known) == len(log.texts)
    assert 5 < first < 35


def test_the_oldest_events_give_way_in_a_short_prompt(log: Log) -> None:
    llm = log.llm()
    examples = log.examples().rows(slice(0, 40))
    whole = maker(log, llm).make(examples).prompts
    cut = maker(log, llm, prompt_tokens=90).make(examples).prompts
    assert max(map(len, whole)) > 90 >= max(map(len, cut))
    for long, short in zip(whole, cut, strict=True):
        assert long[-10:] == short[-10:]
        if len(long) <= 90:
            assert long == short


# --- The model ---


def test_a_person_is_the_sequential_models_own_without_ids(log: Log) -> None:
    """With positions from 0 on and no augmentation: what stage 2 computes from the same weights."""
    llm = log.llm()
    width = llm.width
    torch.manual_seed(0)
    model = AlignmentModel(llm, torch.full((width,), 0.1), torch.full((width,), 0.7), SIZES).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and not any(parameter is p for p in llm.parameters()):
                parameter.add_(0.1 * torch.randn_like(parameter))
    writer = PromptWriter(llm, log.texts, "zh", text_tokens=12, prompt_tokens=2_000)
    embeddings = model.standardised(llm.embed(writer.texts)).numpy()
    texts = Texts.of(log.dataset)
    tables = TextTables(embeddings.astype(np.float16), texts.title, texts.comment)
    inventory = Inventory(log.dataset.catalogue(), tables, 2**62)
    # A popular comment each, so that both draw the same.
    inventory.popular[:, 1:] = log.inventory.popular[:, 1:] = -1
    make = BatchMaker(log.both, log.inventory, writer, 50, Augmentation(history=0.0), 1)
    for task in TASKS:
        own = log.both.of(task)[0]
        users = np.flatnonzero(own.lengths >= 3)[:12]
        event = own.starts[users] + 2
        n = len(users)
        examples = Examples(np.full(n, task == "comment"), users, event, np.zeros(n, np.int64))
        batch = make.make(examples)
        batch.video_places[:] = np.arange(batch.video_places.shape[1])
        batch.section_places[:] = np.arange(batch.section_places.shape[1])
        with torch.no_grad():
            found, _, _ = model._people(batch, writer.texts)
            stage_2 = SRModel(task, inventory.catalogue.n_videos, width, **SIZES).eval()
            stage_2.ids.weight.zero_()
            kept = {k: v for k, v in stage_2.state_dict().items() if k.startswith(("ids", "gate"))}
            stage_2.load_state_dict({**kept, **model.weights(task)}, strict=True)
            chosen = windows(own, np.where(own.lengths >= 3, 3, 0), 1, np.random.default_rng(0))
            picked = [
                np.flatnonzero((chosen.user == user) & (chosen.start == 2))[0] for user in users
            ]
            whole = type(chosen)(
                chosen.user[picked], chosen.base[picked], chosen.start[picked], chosen.stop[picked]
            )
            expected = people(stage_2, inventory, make_batch(log.both, task, whole), None)
        torch.testing.assert_close(found, expected, rtol=0.0, atol=5e-3)


@pytest.mark.parametrize("left_out", ["lm", "rec", "align", "behaviour"])
def test_each_loss_can_be_left_out(log: Log, left_out: str) -> None:
    llm = log.llm()
    model = AlignmentModel(llm, torch.zeros(32), torch.ones(32), SIZES)
    made = maker(log, llm)
    batch = made.make(log.examples().rows(slice(0, 8)))
    told = model.losses(batch, made.writer.texts, LossWeights(**{left_out: 0.0}))
    for name in ("lm", "rec", "align", "behaviour"):
        assert (float(getattr(told, name).detach()) == 0.0) == (name == left_out)


def test_negatives_are_other_comments_of_the_same_video(log: Log) -> None:
    llm = log.llm()
    writer = PromptWriter(llm, log.texts, "zh", text_tokens=12, prompt_tokens=2_000)
    examples = log.examples().rows(slice(0, 60))

    make = BatchMaker(log.both, log.inventory, writer, 4, Augmentation(), 1, negatives=9)
    batch = make.make(examples)
    assert batch.negatives.shape == (60, 9)
    owner = log.inventory.catalogue.comment_offsets
    for row in range(60):
        told = batch.negatives[row][batch.negatives[row] >= 0]
        if not examples.comment_task[row]:
            assert len(told) == 0
            continue
        video = log.both.discussed.video[examples.event[row]]
        section = log.inventory.comment[owner[video] : owner[video + 1]]
        own = log.both.discussed.comments[examples.event[row]]
        mine = set(log.inventory.comment[own[own >= 0]].tolist())
        assert len(told) == 9 == len(set(told.tolist()))
        assert set(told.tolist()) <= set(section.tolist()) - mine
    # What is still to be written is nothing to beat.
    future = copy.copy(log.inventory)
    written = np.full(future.catalogue.n_comments, log.both.discussed.time_ms.max() + 1)
    future.catalogue = replace(future.catalogue, comment_time_ms=written)
    later = BatchMaker(log.both, future, writer, 4, Augmentation(), 1, negatives=9)
    assert (later.make(examples).negatives == -1).all()
    # The loss rises by what there is to beat.
    model = AlignmentModel(llm, torch.zeros(32), torch.ones(32), SIZES).eval()
    alone = replace(batch, negatives=np.full((60, 0), -1, dtype=np.int64))
    rec = LossWeights(lm=0.0, align=0.0, behaviour=0.0)
    with torch.no_grad():
        losses = [model.losses(one, writer.texts, rec).rec for one in (alone, batch)]
    assert losses[1] > losses[0]


def test_targets_of_the_other_task_are_no_negatives(log: Log) -> None:
    """The loss of a mixed batch is the mean of its two halves' losses."""
    llm = log.llm()
    model = AlignmentModel(llm, torch.zeros(32), torch.ones(32), SIZES).eval()
    made = maker(log, llm)
    batch = made.make(log.examples().rows(slice(0, 24)))
    rec = LossWeights(lm=0.0, align=0.0, behaviour=0.0)
    with torch.no_grad():
        mixed = model.losses(batch, made.writer.texts, rec).rec
        halves = []
        for flag in (False, True):
            rows = np.flatnonzero(batch.comment_task == flag)
            part = model.losses(batch.rows(rows), made.writer.texts, rec).rec
            halves.append(part * len(rows) / 24)
    torch.testing.assert_close(mixed, halves[0] + halves[1])


def test_recommendation_alone_reads_no_prompt(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(CausalLLM, "answer", refuse)
    told = log.align(lm=0.0, align=0.0, behaviour=0.0)
    assert told.summary["losses"]["rec"] > 0.0


# --- Training ---


@pytest.fixture(scope="module")
def aligned(log: Log) -> Aligned:
    return log.align()


def same(a: Aligned, b: Aligned) -> bool:
    return np.array_equal(a.embeddings, b.embeddings) and all(
        torch.equal(value, b.weights[task][name])
        for task in TASKS
        for name, value in a.weights[task].items()
    )


def test_losses_fall(log: Log) -> None:
    told: list[str] = []
    log.align(
        videos=400,
        comments=400,
        learning_rate=1e-3,
        progress=lambda stage, share, detail: told.append(detail),
    )
    steps = [d for d in told if d.startswith("step")]
    assert len(steps) == 100
    # Running means of twenty steps: the first twenty and the last.
    first, last = (
        {k: float(v) for k, v in (part.split() for part in d.split(", ")[1:])}
        for d in (steps[19], steps[-1])
    )
    for name in ("lm", "align", "behaviour"):
        assert last[name] < first[name], name
    assert last["total"] < 0.9 * first["total"]
    assert first["rec"] < math.log(8) and last["rec"] < math.log(8)


def test_an_example_without_any_negative_is_refused(log: Log) -> None:
    with pytest.raises(PolicyError, match="batch = 1 leaves no negatives"):
        log.align(batch=1)


def test_stage_1_without_a_step_is_where_stage_2_would_start_without_it(log: Log) -> None:
    """So that the alignment can move texts and their path by its gradients alone."""
    told = log.align(videos=0, comments=1)
    assert told.summary["steps"] == 0
    texts = Texts.of(log.dataset)
    llm = log.llm()
    raw = llm.embed(llm.tokens(log.texts, 12)).numpy()
    table = ((raw - raw.mean(0)) / (raw.std(0) + 1e-6)).astype(np.float16)
    tables = TextTables(table, texts.title, texts.comment)
    inventory = Inventory(log.dataset.catalogue(), tables, 2**62)
    np.testing.assert_allclose(told.embeddings, table, atol=1e-2)
    vectors = torch.from_numpy(table.astype(np.float32))
    fresh, aligned = (SRModel("video", 1, llm.width, **SIZES) for _ in range(2))
    assert start_from_agreement(fresh, log.both.liked.until(log.stops["video"]), inventory)
    aligned.load_state_dict(told.weights["video"], strict=False)
    half, last = fresh.text_hidden // 2, [m.text_layers()[1].weight for m in (fresh, aligned)]
    n = int(sum(last[0][i, i] == 1.0 and last[0][i, half + i] == -1.0 for i in range(half)))
    assert n > 0
    # Directions may flip, products of texts along them may not.
    along = [model.text(vectors[:200])[:, :n] for model in (fresh, aligned)]
    products = [v @ v.T for v in along]
    assert (products[0] - products[1]).norm() < 0.02 * products[0].norm()


def test_stage_2_starts_where_stage_1_ended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, torch.Tensor]] = {}
    left: list[Aligned] = []

    def watch(model: SRModel, *_: Any, aligned: bool, **__: Any) -> Any:
        assert aligned
        seen[model.task] = {k: v.clone() for k, v in model.state_dict().items()}
        return TrainingSummary(0, 0, 0, 0.0, 0.0)

    def keep(*args: Any, **kwargs: Any) -> Aligned:
        left.append(align(*args, **kwargs))
        return left[0]

    monkeypatch.setattr("lsvcr.policy.finetune", watch)
    monkeypatch.setattr("lsvcr.language.align", keep)
    LSVCR(**QUICK).fit(log.dataset, seed=1)
    for task in TASKS:
        kept = left[0].weights[task]
        assert seen[task].keys() - kept.keys() == {"ids.weight", "gate"}
        assert all(torch.equal(seen[task][name], value) for name, value in kept.items())


def test_same_seed_same_bytes_other_seed_others(log: Log, aligned: Aligned) -> None:
    torch.manual_seed(99)  # the state left by others must not matter
    assert same(log.align(), aligned)
    assert not same(log.align(seed=2), aligned)
    assert aligned.summary["steps"] == 12 and aligned.summary["examples"] == 96
    assert len(aligned.embeddings) == len(log.texts) and np.isfinite(aligned.embeddings).all()


@pytest.mark.parametrize("broken_at", [6, 12])
def test_training_goes_on_where_it_was_broken_off(
    log: Log, aligned: Aligned, tmp_path: Path, broken_at: int
) -> None:
    class Broken(Exception):
        pass

    def break_off(stage: str, share: float, detail: str) -> None:
        if detail.startswith(f"step {broken_at},"):
            raise Broken

    with pytest.raises(Broken):
        log.align(progress=break_off, checkpoint=str(tmp_path), checkpoint_steps=3)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}
    steps: list[str] = []
    again = log.align(
        progress=lambda stage, share, detail: steps.append(detail),
        checkpoint=str(tmp_path),
        checkpoint_steps=3,
    )
    steps = [detail for detail in steps if detail.startswith("step")]
    assert steps[0].startswith(f"step {broken_at - 2},")
    assert same(again, aligned)
    assert again.summary == aligned.summary


def test_a_checkpoint_of_other_settings_is_refused(log: Log, tmp_path: Path) -> None:
    log.align(checkpoint=str(tmp_path), videos=16, comments=16)
    with pytest.raises(CheckpointError, match="settings"):
        log.align(checkpoint=str(tmp_path), videos=16, comments=17)
    with pytest.raises(CheckpointError, match="seed"):
        log.align(checkpoint=str(tmp_path), videos=16, comments=16, seed=2)


def test_passes_of_a_step_add_up(log: Log) -> None:
    told = log.align(batch=4, accumulation=3)
    assert told.summary["steps"] == 8 and told.summary["examples"] == 96


@pytest.mark.parametrize("most", [(0, 0), (1, 0), (3, 0), (0, 5)])
def test_few_examples_or_none(log: Log, most: tuple[int, int]) -> None:
    told = log.align(videos=most[0], comments=most[1])
    assert told.summary["steps"] == (1 if sum(most) >= 2 else 0)
    assert np.isfinite(told.embeddings).all()


def test_settings_are_checked() -> None:
    paper = AlignmentSettings.of("paper", {})
    assert (paper.lora_rank, paper.lora_alpha, paper.lora_dropout) == (8, 32.0, 0.1)
    assert (paper.learning_rate, paper.warmup, paper.history) == (3e-4, 0.03, 20)
    assert paper.weights == LossWeights(1.0, 1.0, 0.5, 0.5)
    assert AlignmentSettings.of("small", {"align": 0}).align == 0
    for changes, problem in (
        ({"videoz": 3}, "no setting 'videoz' in alignment_settings. Did you mean 'videos'"),
        ({"rivals": 3}, "It is called 'negatives' now"),
        ({"batch": "8"}, "alignment_settings.batch is '8', expected a whole number"),
        ({"augment": 1}, "augment is 1, expected true or false"),
        ({"videos": True}, "videos is True, expected a whole number"),
        ({"history": 51}, "at most 50"),
        ({"batch": 0}, "expected 1 or more"),
    ):
        with pytest.raises(PolicyError, match=problem):
            AlignmentSettings.of("small", changes)


# --- The policy ---

QUICK: dict[str, Any] = {
    "variant": "paper",
    "epochs": 1,
    "epoch_steps": 1,
    "alignment": "llm",
    "alignment_settings": TINY,
    **SIZES,
}


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
