"""Write captions and comments: texts that show a video's topic and a comment's style and length.

A text is a pure function of the world's seed and of the number of its video or comment. Draws of
texts belong to nothing else: another language gives the same log, texts apart.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.randomness import mix, purpose_key, uniforms
from simulator.world.items import N_STYLES, Comments, Videos
from simulator.world.phrases import Phrasebook, Texts, phrasebook
from simulator.world.vocabulary import Vocabulary, vocabulary

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]

PLAIN = 0.1
"""Share of comments whose sentence shows no style: only what stands around it does."""
WITHOUT_WORD = 0.2
"""Share of comments that name nothing of the topic."""
FROM_CAPTION = (0.3, 0.5)
"""Of the other comments this share names the caption's first word, and up to this one a word of the
caption; the rest name any word of the topic."""
OPENED, MENTIONED = 0.45, 0.05
"""Shares of comments that open with an interjection, and with a mention."""
TAGGED = 0.33
"""Share with an emoji. It takes no time to read: the drawn length does not count it."""
MISSPELLED = 0.03
"""Share of words from an alphabet that are misspelled."""
HIGHEST_NUMBER = 30
"""Of days, minutes and the like in captions."""

_SLOT = re.compile(r"\{([abn])\}")


def captions(videos: Videos, seed: int, language: str) -> pl.Series:
    """Caption of every video: a sentence with two words of its topic, and hashtags.

    Captions of episodes begin with their number.
    """
    own, book = vocabulary(language), phrasebook(language)
    n = len(videos.topic)
    draws = uniforms(mix(purpose_key(seed, "world.captions"), np.arange(n)), 2)
    first, second = caption_words(videos, seed, language)
    serial = videos.episode > 0
    template = np.where(
        serial,
        len(own.captions) + _below(draws[0], len(own.series)),
        _below(draws[0], len(own.captions)),
    )
    number = np.where(serial, videos.episode, 1 + _below(draws[1], HIGHEST_NUMBER))
    values = {
        "a": book.words.gather(first),
        "b": book.words.gather(second),
        "n": pl.Series(number).cast(pl.String),
    }
    names = Texts.of([f" #{_joined(name)} #" for name in own.topic_names])
    tags = Texts.of([_joined(word) for word in chain(*own.topics.values())])
    frame = pl.DataFrame({**values, "tag": names.gather(videos.topic) + tags.gather(first)})
    texts, slots = _templates((*own.captions, *own.series))
    parts: list[pl.Expr] = []
    for text, slot in zip(texts, slots, strict=True):
        parts.append(pl.lit(text.gather(template)))
        kind = slot.gather(template)
        parts += [pl.when(pl.lit(kind == name)).then(pl.col(name)) for name in values]
    joined = pl.concat_str(*parts, pl.col("tag"), ignore_nulls=True)
    return frame.select(joined.alias("caption")).to_series()


def caption_words(videos: Videos, seed: int, language: str) -> tuple[Int32, Int32]:
    """The two words of every caption, as rows of `Phrasebook.words`; they differ.

    Half of the first words follow the video's place inside its topic, half are any of the topic.
    Half of the second ones are the first one's neighbours, half any.
    """
    book = phrasebook(language)
    n = len(videos.topic)
    draws = uniforms(mix(purpose_key(seed, "world.caption words"), np.arange(n)), 4)
    size = book.word_count[videos.topic]
    place = np.argsort(np.argsort(videos.vector[:, 0])) * size // max(n, 1)
    first = np.where(draws[0] < 0.5, place, _below(draws[1], size))
    apart = np.where(draws[2] < 0.5, np.minimum(9, size - 1), size - 1)
    second = (first + 1 + _below(draws[3], apart)) % size
    start = book.word_start[videos.topic]
    return start + first, start + second


def comment_texts(videos: Videos, comments: Comments, seed: int, language: str) -> pl.Series:
    """Text of every comment: a sentence of its style about its video, of the length drawn for it.

    An interjection or a mention may open it, a tail and punctuation fill it up, an emoji ends it.
    Without the emoji it has ``comments.length`` characters, times `Vocabulary.characters`.
    """
    own, book = vocabulary(language), phrasebook(language)
    video = np.repeat(np.arange(len(videos.topic), dtype=np.int32), np.diff(comments.offsets))
    key = mix(purpose_key(seed, "world.comment texts"), np.arange(len(video)))
    draws = uniforms(key, 14)
    style = comments.dominant.astype(np.int32)
    target = comments.length.astype(np.int32) * np.int32(own.characters)
    group = np.where(draws[0] < PLAIN, np.int32(N_STYLES), style)
    wordless = draws[1] < WITHOUT_WORD
    wordless &= book.sentences.shortest[group + (N_STYLES + 1)] <= target
    word = np.where(wordless, np.int32(-1), _topic_word(videos, video, seed, own, draws[2:5]))
    group += (N_STYLES + 1) * wordless.astype(np.int32)
    left = target - np.where(wordless, np.int32(0), book.word_length[word])
    # Sentences that leave no more than opener and tail can take, or nearly the longest ones.
    spare = book.openers.longest + book.tails.longest.max() // 2
    low = np.minimum(left - spare[style], (book.sentences.longest * 4 // 5)[group])
    sentence = book.sentences.pick(group, low, left, draws[5])
    left -= book.sentences.length[sentence]
    opener = _opener(book, style, left, draws[6], draws[7])
    left -= np.where(opener < 0, np.int32(0), book.openers.length[opener])
    tail = book.tails.pick(style, left - book.fill.longest[0], left, draws[8])
    left -= book.tails.length[tail]
    fill = book.fill.pick(np.zeros_like(left), left, left, draws[9])
    tags = _below(draws[11], np.diff(book.tag_start)[style])
    tag = np.where(draws[10] < TAGGED, book.tag_start[style] + tags, np.int32(-1))
    capital = draws[12] < own.capitals
    capital_inside = capital & (opener < 0)
    texts = pl.select(
        pl.concat_str(
            book.opening.gather(opener, capital),
            book.before.gather(sentence, capital_inside),
            book.words.gather(word, capital_inside & book.begins[sentence]),
            book.after.gather(sentence),
            book.tailing.gather(tail),
            book.filling.gather(fill),
            book.tags.gather(tag),
        ).alias("text")
    )
    if own.shouting:
        loud = pl.lit(pl.Series(draws[13] < own.shouting))
        texts = texts.select(
            pl.when(loud).then(pl.col("text").str.to_uppercase()).otherwise(pl.col("text"))
        )
    return texts.to_series()


def _opener(book: Phrasebook, style: Int32, left: Int32, whether: Float32, which: Float32) -> Int32:
    """Number of each opener, -1 for none."""
    group = np.where(whether < MENTIONED, np.int32(N_STYLES), style)
    # What tail and punctuation cannot fill, an opener must.
    reach = book.tails.longest[style] + book.fill.longest[0]
    wanted = (whether < MENTIONED + OPENED) | (left > reach)
    opener = book.openers.pick(group, np.maximum(left - reach, 1), left, which)
    return np.asarray(np.where(wanted, opener, np.int32(-1)))


def _topic_word(videos: Videos, video: Int32, seed: int, own: Vocabulary, draws: Float32) -> Int32:
    """int32[M]: row of the word that each comment names."""
    book = phrasebook(own.language)
    first, second = caption_words(videos, seed, own.language)
    topic = videos.topic[video]
    free = book.word_start[topic] + _below(draws[1], book.word_count[topic])
    one, two = FROM_CAPTION
    word = np.where(draws[0] < one, first[video], np.where(draws[0] < two, second[video], free))
    correct = np.int32(book.words.count // 2)
    return np.where(draws[2] < MISSPELLED, correct + word, word)


def _below(chance: Float32, count: Any) -> Int32:
    """Whole numbers from 0 to ``count - 1``."""
    return np.asarray((chance * count).astype(np.int32))


def _templates(templates: tuple[str, ...]) -> tuple[list[pl.Series], list[pl.Series]]:
    """The text before each slot of each template, and the slots' letters; "" where there is none.

    The text behind the last slot stands before one without a letter.
    """
    rows = [[*_SLOT.split(template), ""] for template in templates]
    longest = max(map(len, rows))
    columns = list(zip(*(row + [""] * (longest - len(row)) for row in rows), strict=True))
    return [pl.Series(c) for c in columns[::2]], [pl.Series(c) for c in columns[1::2]]


def _joined(text: str) -> str:
    """Without blanks, as in a hashtag."""
    return text.replace(" ", "")
