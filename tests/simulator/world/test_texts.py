"""Captions and comments show topic, style and length, in Chinese and in English."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import tomllib
import unicodedata
from functools import lru_cache
from itertools import chain

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.loop import drive
from simulator.recorder import Recorder
from simulator.requests import HistoryState
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.items import _LENGTHENED, _LENGTHS, N_STYLES, N_TOPICS
from simulator.world.phrases import misspelled, phrasebook
from simulator.world.texts import MISSPELLED, TAGGED, caption_words
from simulator.world.vocabulary import LANGUAGES, STYLE_NAMES, WORDS, vocabulary
from simulator.world.world import World

CHARACTERS = {"zh": 1, "en": 3}
TAG = {"zh": re.compile(r"\[[^\[\]]+\]$"), "en": re.compile(r" [^\x00-\x7f]+$")}
both = pytest.mark.parametrize("language", LANGUAGES)


@lru_cache
def world(language: str) -> World:
    return World.create("small", 3, language)


@lru_cache
def comments(language: str) -> list[str]:
    return [str(text) for text in world(language).comments_frame()["text"]]


@lru_cache
def captions(language: str) -> list[str]:
    return [str(text) for text in world(language).videos_frame()["caption"]]


def video_of() -> NDArray[np.int64]:
    offsets = world("zh").comments.offsets
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


@both
def test_texts_depend_on_the_worlds_seed_alone(language: str) -> None:
    again = World.create("small", 3, language)
    assert again.comments_frame()["text"].to_list() == comments(language)
    assert again.videos_frame()["caption"].to_list() == captions(language)
    other = World.create("small", 4, language).videos_frame()["caption"].to_list()
    assert np.mean([a == b for a, b in zip(other, captions(language), strict=True)]) < 0.1


@both
def test_a_comment_has_the_length_drawn_for_it(language: str) -> None:
    bare = [TAG[language].sub("", text) for text in comments(language)]
    drawn = world(language).comments.length * CHARACTERS[language]
    np.testing.assert_array_equal([len(text) for text in bare], drawn)
    tagged = np.mean([len(b) < len(t) for b, t in zip(bare, comments(language), strict=True)])
    assert tagged == pytest.approx(TAGGED, abs=0.015)


@both
def test_any_length_of_any_style_can_be_written(language: str) -> None:
    book, own = phrasebook(language), vocabulary(language)
    shortest, longest = _LENGTHS.min(), _LENGTHS.max() + _LENGTHENED.max()
    room = own.characters * shortest - book.word_length.max()
    assert (book.sentences.shortest[: N_STYLES + 1] <= room).all()
    # Beside the shortest of the nearly longest sentences, opener, tail and punctuation fill a text.
    fillers = book.openers.longest[:N_STYLES] + book.tails.longest + book.fill.longest
    for group in range(N_STYLES):
        for named in (0, N_STYLES + 1):
            most = book.sentences.longest[group + named] * 4 // 5 + fillers[group]
            assert most + (2 if not named else 0) >= own.characters * longest
    assert set(book.fill.length.tolist()) == set(range(book.fill.longest[0] + 1))


def test_lengths_are_those_of_published_examples() -> None:
    # KuaiComt's page shows comments of 8 to 23 characters; no distribution is published.
    length = world("zh").comments.length
    assert length.min() >= 8 and length.max() <= 23
    # By enumeration: six kinds of each style, half of them with one of eight additions.
    styles = np.bincount(world("zh").comments.dominant, minlength=N_STYLES) / len(length)
    expected = styles @ _LENGTHS.mean(axis=1) + _LENGTHENED.mean() / 2
    assert length.mean() == pytest.approx(expected, abs=0.08)


@both
def test_topics_and_styles_have_words_of_their_own(language: str) -> None:
    own = vocabulary(language)
    assert len(own.topics) == N_TOPICS and len(own.styles) == N_STYLES == len(STYLE_NAMES)
    for name, words in own.topics.items():
        assert len(words) == len(set(words)) >= 60, name
        assert all(word == word.strip() and word for word in words), name
    for name, style in zip(STYLE_NAMES, own.styles, strict=True):
        assert len(style.frames) == len(set(style.frames)) >= 40, name
        assert sum("{w}" in frame for frame in style.frames) >= 30, name
        assert min(len(style.openers), len(style.tails)) >= 10 and len(style.tags) >= 5, name
    every = chain(own.shared.frames, *(style.frames for style in own.styles))
    assert all(re.findall(r"{.*?}", frame) in ([], ["{w}"]) for frame in every)
    slots = [sorted(re.findall(r"{(.*?)}", caption)) for caption in own.captions]
    assert all(slot in (["a", "b"], ["a", "b", "n"]) for slot in slots)
    assert all("{n}" in c.partition("{a}")[0] for c in own.series)


def test_both_languages_have_the_same_topics_in_one_order() -> None:
    keys = [
        list(tomllib.loads((WORDS / language / "topics.toml").read_text(encoding="utf-8")))
        for language in LANGUAGES
    ]
    assert keys[0] == keys[1]


@both
def test_all_words_and_sentences_of_the_lists_are_used(language: str) -> None:
    own, whole = vocabulary(language), "\n".join(comments(language)).lower()
    words = [word for words in own.topics.values() for word in words]
    assert np.mean([word in whole for word in words]) > 0.99
    frames = [frame for style in own.styles for frame in style.frames]
    ends = [frame.lower().partition("{w}")[2] or frame.lower()[:-3] for frame in frames]
    assert np.mean([end in whole for end in ends]) > 0.97
    assert all(mention.strip().lower() in whole for mention in own.mentions)


@both
def test_the_first_sentences_of_a_list_are_the_most_common(language: str) -> None:
    style, frames = world(language).comments.dominant, vocabulary(language).styles
    texts = np.array([text.lower() for text in comments(language)])
    wanted, found = [], []
    for number, phrases in enumerate(frames):
        mine = texts[style == number]
        for rank, frame in enumerate(phrases.frames[:30], start=1):
            end = frame.lower().partition("{w}")[2]
            if len(end) * (3 if language == "zh" else 1) > 12:
                wanted.append(1.0 / rank)
                found.append(sum(end in text for text in mine) / len(mine))
    assert np.corrcoef(wanted, found)[0, 1] > 0.6
    rare, common = np.array(wanted) < 1 / 15, np.array(wanted) >= 1 / 3
    assert np.mean(np.array(found)[common]) > 3.0 * np.mean(np.array(found)[rare])


@both
def test_comments_name_words_of_their_video_and_topic(language: str) -> None:
    own, videos = vocabulary(language), world(language).videos
    topics = list(own.topics.values())
    texts, of = [text.lower() for text in comments(language)], video_of()
    spelled = [{*words, *map(misspelled, words)} for words in topics]
    named = [any(w in t for w in spelled[videos.topic[v]]) for t, v in zip(texts, of, strict=True)]
    # One in five names nothing.
    assert np.mean(named) == pytest.approx(0.8, abs=0.03)
    other = [any(w in t for w in spelled[(videos.topic[v] + 12) % N_TOPICS])
             for t, v in zip(texts, of, strict=True)]  # fmt: skip
    assert np.mean(other) < 0.25
    rows = np.stack(caption_words(videos, 3, language))
    in_caption = [
        any(phrasebook(language).words.table[int(row)] in text for row in rows[:, v])
        for text, v in zip(texts[:4_000], of, strict=False)
    ]
    assert np.mean(in_caption) == pytest.approx(0.8 * (0.5 + 0.5 * 2 / 60), abs=0.05)


@both
def test_captions_hold_two_words_and_hashtags(language: str) -> None:
    own, videos = vocabulary(language), world(language).videos
    first, second = caption_words(videos, 3, language)
    words = phrasebook(language).words.table
    names = world(language).videos_frame()["category"]
    assert (first != second).all()
    for video, text in enumerate(captions(language)):
        a, b, name = words[int(first[video])], words[int(second[video])], names[video]
        assert a in own.topics[name] and b in own.topics[name]
        assert a in text and b in text
        assert text.endswith(f" #{name.replace(' ', '')} #{a.replace(' ', '')}")
        number = re.match(r"第(\d+)集|Episode (\d+)", text)
        assert (number is not None) == (videos.episode[video] > 0)
        if number is not None:
            assert int(number[1] or number[2]) == videos.episode[video]


def test_captions_follow_a_videos_place_inside_its_topic() -> None:
    videos = world("zh").videos
    first, second = caption_words(videos, 3, "zh")
    start = phrasebook("zh").word_start[videos.topic]
    rank = np.argsort(np.argsort(videos.vector[:, 0]))
    # Half of the first words do, exactly; the rest are anything.
    found = np.corrcoef(rank, first - start)[0, 1]
    assert found == pytest.approx(0.5, abs=0.06)
    near = ((second - first) % 60 <= 9).mean()
    assert near == pytest.approx(0.5 + 0.5 * 9 / 59, abs=0.04)


def features(language: str) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the frequent words a comment has (in Chinese: one or two characters), and styles."""
    texts = comments(language)[:8_000]
    if language == "zh":
        split = [{t[i : i + n] for n in (1, 2) for i in range(len(t))} for t in texts]
    else:
        split = [set(re.findall(r"[\w']+|[^\w\s]", t.lower())) for t in texts]
    rows = pl.DataFrame({"row": range(len(split)), "word": [list(s) for s in split]})
    rows = rows.explode("word").filter(pl.len().over("word") >= 30)
    number = rows["word"].rank("dense").to_numpy().astype(np.int64) - 1
    table = np.zeros((len(split), number.max() + 1), dtype=bool)
    table[rows["row"].to_numpy(), number] = True
    return table, world(language).comments.dominant[: len(split)].astype(np.int64)


@both
def test_styles_are_told_by_many_words_and_by_no_single_one(language: str) -> None:
    table, style = features(language)
    one_hot = np.eye(N_STYLES)[style]
    prior = one_hot.mean(axis=0)
    joint = table.T.astype(np.float32) @ one_hot.astype(np.float32) / len(style)
    absent = prior - joint
    present = joint.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = joint * np.log2(joint / (present * prior))
        bits = np.nansum(bits, axis=1) + np.nansum(
            absent * np.log2(absent / ((1 - present) * prior)), axis=1
        )
    # A style is three bits. The best single word tells 5 % of them.
    assert bits.max() < 0.2
    one_word = joint.max(axis=1) + absent.max(axis=1)
    assert one_word.max() < prior.max() + 0.08
    # A marker would be in most of a style's comments and in no other's.
    pure = joint / present > 0.9
    assert (np.where(pure, joint / prior, 0.0)).max() < 0.45
    # Naive Bayes of all words, fitted on one half, tells the styles of the other.
    fit = np.arange(len(style)) % 2 == 0
    counts = table[fit].T.astype(np.float32) @ one_hot[fit].astype(np.float32) + 0.1
    weight = np.log(counts / counts.sum(axis=0))
    guess = (table[~fit].astype(np.float32) @ weight + np.log(prior)).argmax(axis=1)
    assert (guess == style[~fit]).mean() > 0.85


def test_english_texts_are_ascii_and_emoji() -> None:
    assert all(caption.isascii() for caption in captions("en"))
    letters = set("".join(comments("en")))
    strange = {c for c in letters if not c.isascii()}
    assert strange
    for letter in strange:
        assert unicodedata.category(letter) == "So" or letter == "\ufe0f", ascii(letter)
    assert sum(text[0].isupper() for text in comments("en")) > 0.2 * len(comments("en"))


@both
def test_texts_are_single_lines_that_come_back_from_csv(language: str) -> None:
    texts = [*comments(language), *captions(language)]
    controls = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")
    assert not any(controls.search(text) or text != text.strip("\n") for text in texts)
    assert not any("{" in text or "}" in text or "|" in text for text in texts)
    file = io.StringIO()
    pl.DataFrame({"text": texts}).write_csv(file)
    read = list(csv.reader(io.StringIO(file.getvalue())))
    assert [row[0] for row in read[1:]] == texts


def test_a_typo_exchanges_two_letters_of_a_latin_word() -> None:
    assert misspelled("noodles") == "nodoles" and misspelled("cake") == "cake"
    assert misspelled("hot pot") == "hot pot" and misspelled("红烧肉饭饭") == "红烧肉饭饭"
    words = [word for words in vocabulary("en").topics.values() for word in words]
    wrong = {misspelled(word) for word in words} - set(words)
    texts = [text.lower() for text in comments("en")]
    share = np.mean([any(word in text for word in wrong) for text in texts[:3_000]])
    assert 0.3 * MISSPELLED < share < 1.5 * MISSPELLED


def test_pieces_are_picked_evenly_from_a_window_of_lengths() -> None:
    tails = phrasebook("en").tails
    random = np.random.default_rng(1)
    group = random.integers(0, N_STYLES, 20_000).astype(np.int32)
    low = random.integers(-3, 30, 20_000).astype(np.int32)
    high = (low + random.integers(-1, 12, 20_000)).astype(np.int32)
    found = tails.pick(group, low, high, random.random(20_000).astype(np.float32))
    owner = np.repeat(np.arange(N_STYLES), np.diff([*tails.start[:, 0], len(tails.length)]))
    for g, a, z, piece in zip(group, low, high, found, strict=True):
        fits = tails.length[owner == g]
        inside = fits[(fits >= a) & (fits <= z)]
        if len(inside):
            assert owner[piece] == g and a <= tails.length[piece] <= z
        elif (fits <= z).any():
            assert owner[piece] == g and tails.length[piece] == fits[fits <= z].max()
        else:
            assert piece == -1
    ones = np.zeros(30_000, dtype=np.int32)
    picked = tails.pick(ones, ones + 4, ones + 9, random.random(30_000).astype(np.float32))
    count = np.bincount(picked)[np.unique(picked)]
    inside = (tails.length >= 4) & (tails.length <= 9) & (owner == 0)
    assert len(count) == inside.sum()
    assert abs(count - 30_000 / len(count)).max() < 5 * np.sqrt(30_000 / len(count))


def test_another_language_changes_texts_and_nothing_else() -> None:
    logs = []
    users = np.arange(12, dtype=np.int32)
    few = dataclasses.replace(WorldConfig.preset("small"), n_videos=300, n_authors=90)
    for language in LANGUAGES:
        own = World.create(few, 3, language)
        recorder = Recorder(own.catalogue())
        feed = Feed(
            own.catalogue(), WorldResponse(own).population(users), users, seed=5,
            start_ms=own.config.start_ms, end_ms=own.config.start_ms + DAY_MS,
            history=HistoryState(len(users)), recorder=recorder,
            retrieval=Retrieval(own.catalogue(), own.popularity()),
        )  # fmt: skip
        drive(feed, PlatformRanker(own, users))
        tables = dict(recorder.drain())
        tables["videos"] = own.videos_frame().drop("caption", "category", "tags")
        tables["comments"] = own.comments_frame().drop("text")
        tables["users"] = own.users_frame(users)
        logs.append(tables)
    assert logs[0].keys() == logs[1].keys() and len(logs[0]["impressions"]) > 100
    for name, table in logs[0].items():
        assert table.equals(logs[1][name]), name
