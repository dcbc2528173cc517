"""Find pieces of text by their length, so that a comment can be given the length it was drawn with.

All tables are built once per language; picking is vectorised over comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.world.vocabulary import Vocabulary, vocabulary

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]

COMMON = 96
"""How often the most common sentence of a list counts; the n-th counts 1/n as often (Zipf)."""

SLANG = 8
"""A sentence in a slang spelling counts by this factor less."""

WORD = "{w}"
"""Where a sentence takes a word of the topic."""


@dataclass(frozen=True)
class ByLength:
    """Pieces of several groups, sorted by group and length.

    Attributes:
        start: int32[G, longest + 2]; pieces of group g shorter than n characters end before
            ``start[g, n]``.
        length: int32[N], characters of each piece.
        longest: int32[G], the largest length in each group.
        shortest: int32[G], the smallest.
    """

    start: Int32
    length: Int32
    longest: Int32
    shortest: Int32

    def pick(self, group: Int32, low: Int32, high: Int32, chance: Float32) -> Int32:
        """Pieces with a length in a window, each as likely as the others.

        Args:
            group: int32[B].
            low: int32[B], shortest length.
            high: int32[B], longest length, included.
            chance: float32[B] in (0, 1).

        Returns:
            int32[B]: numbers of pieces; where the window is empty the longest piece below it, and
            -1 where there is none.
        """
        width = np.int32(self.start.shape[1])
        row = group * width
        flat = self.start.ravel()
        first = flat[row + np.minimum(np.maximum(low, 0), width - 1)]
        stop = flat[row + np.minimum(np.maximum(high + 1, 0), width - 1)]
        found = first + (chance * (stop - first)).astype(np.int32)
        shorter = np.where(stop > flat[row], stop - 1, np.int32(-1))
        return np.asarray(np.where(stop > first, found, shorter), dtype=np.int32)


def by_length(groups: Sequence[Iterable[str]]) -> tuple[list[str], ByLength]:
    """Sort the pieces of groups by length; a word of the topic counts nothing.

    Returns:
        All pieces, group by group, shorter ones first; and where they stand.
    """
    rows = [sorted(group, key=_length) for group in groups]
    lengths = [np.array([_length(piece) for piece in row], dtype=np.int32) for row in rows]
    top = max(int(row.max()) for row in lengths)
    before = np.cumsum([0, *(len(row) for row in rows)])
    ends = [
        at + np.searchsorted(row, np.arange(top + 2))
        for at, row in zip(before[:-1], lengths, strict=True)
    ]
    return list(chain(*rows)), ByLength(
        start=np.array(ends, dtype=np.int32),
        length=np.concatenate(lengths),
        longest=np.array([row.max() for row in lengths], dtype=np.int32),
        shortest=np.array([row.min() for row in lengths], dtype=np.int32),
    )


@dataclass(frozen=True)
class Texts:
    """Strings, each also with a capital first; row -1 is empty.

    Attributes:
        table: The strings, then the same with capitals, then "".
        count: How many there are without their capitals.
    """

    table: pl.Series
    count: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """From a list."""
        capitals = (text[:1].upper() + text[1:] for text in texts)
        return cls(pl.Series([*texts, *capitals, ""]), len(texts))

    def gather(
        self, rows: NDArray[np.integer[Any]], capital: NDArray[np.bool_] | None = None
    ) -> pl.Series:
        """Strings by row, with a capital where asked; "" for -1."""
        if capital is not None:
            rows = np.where(capital & (rows >= 0), rows + self.count, rows)
        return self.table.gather(rows)


@dataclass(frozen=True)
class Phrasebook:
    """The pieces of comments in one language, ready to be picked.

    A style's own openers, tails and tags count twice, those that all styles share once.

    Attributes:
        words: Words of all topics, then their misspellings.
        word_length: int32, characters of each.
        word_start, word_count: int32[topics], where a topic's words are.
        sentences: Groups: each style and sentences without a style, all with a word of the topic;
            then the same without a word.
        before, after: Text of each sentence around its word.
        begins: bool, whether a sentence begins with its word.
        openers: Of each style; the last group holds mentions.
        opening: Their texts.
        tails: Of each style, one of them empty.
        tailing: Their texts.
        fill: One group.
        filling: Their texts.
        tags: Of all styles.
        tag_start: int32[styles + 1], where a style's tags are.
    """

    words: Texts
    word_length: Int32
    word_start: Int32
    word_count: Int32
    sentences: ByLength
    before: Texts
    after: Texts
    begins: NDArray[np.bool_]
    openers: ByLength
    opening: Texts
    tails: ByLength
    tailing: Texts
    fill: ByLength
    filling: Texts
    tags: Texts
    tag_start: Int32


@lru_cache
def phrasebook(language: str) -> Phrasebook:
    """The pieces of a language.

    Raises:
        DataError: there are no texts of that language.
    """
    own = vocabulary(language)
    words = list(chain(*own.topics.values()))
    spelled = [*words, *(misspelled(word) for word in words)]
    counts = np.array([len(of) for of in own.topics.values()], dtype=np.int32)
    frames = [_spellings(style.frames, own) for style in (*own.styles, own.shared)]
    sentences, by_style = by_length(
        [[s for s in group if (WORD in s) is named] for named in (True, False) for group in frames]
    )
    opening, openers = by_length(
        [*([*s.openers, *s.openers, *own.shared.openers] for s in own.styles), own.mentions]
    )
    tailing, tails = by_length(
        [["", "", *s.tails, *s.tails, *own.shared.tails] for s in own.styles]
    )
    filling, fill = by_length([["", *own.fill]])
    tags = [[*s.tags, *s.tags, *own.shared.tags] for s in own.styles]
    return Phrasebook(
        words=Texts.of(spelled),
        word_length=np.array([len(word) for word in spelled], dtype=np.int32),
        word_start=(np.cumsum(counts) - counts).astype(np.int32),
        word_count=counts,
        sentences=by_style,
        before=Texts.of([s.partition(WORD)[0] for s in sentences]),
        after=Texts.of([s.partition(WORD)[2] for s in sentences]),
        begins=np.array([s.startswith(WORD) for s in sentences]),
        openers=openers,
        opening=Texts.of(opening),
        tails=tails,
        tailing=Texts.of(tailing),
        fill=fill,
        filling=Texts.of(filling),
        tags=Texts.of([own.before_tag + tag for tag in chain(*tags)]),
        tag_start=np.cumsum([0, *(len(group) for group in tags)]).astype(np.int32),
    )


def misspelled(word: str) -> str:
    """A Latin word of five letters or more with its third and fourth exchanged; others unchanged.

    Exchanged neighbours are a common slip of the keyboard. A space does not move.
    """
    if len(word) < 5 or not word.isascii() or " " in word[2:4]:
        return word
    return word[:2] + word[3] + word[2] + word[4:]


def _length(piece: str) -> int:
    return len(piece.replace(WORD, ""))


def _spellings(frames: Sequence[str], own: Vocabulary) -> list[str]:
    """Sentences as written, several times, and once with each slang word that fits."""
    found = []
    for rank, frame in enumerate(frames, start=1):
        found += [frame] * (COMMON // rank)
        found += _in_slang(frame, own.slang) * max(COMMON // rank // SLANG, 1)
    return found


def _in_slang(frame: str, slang: dict[str, str]) -> list[str]:
    """A sentence with one word spelled otherwise, for each word that occurs."""
    found = []
    for plain, spelled in slang.items():
        # Letters next to it would make it another word; characters have no such borders.
        edge = r"\b" if plain.isascii() else ""
        new = re.sub(f"{edge}{re.escape(plain)}{edge}", spelled, frame, count=1)
        if new != frame:
            found.append(new)
    return found
