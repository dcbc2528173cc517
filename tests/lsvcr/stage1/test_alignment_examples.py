"""Examples of stage 1 and the prompts written for them."""

from __future__ import annotations

import numpy as np

from lsvcr.stage1.examples import past_of
from simulator.logs.interactions import interactions
from tests.lsvcr.stage1.planted_log import Log, maker


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
