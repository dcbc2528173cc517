"""Read the word lists of the built-in world: topics, captions and styles of comments.

They are TOML files in `simulator/world/words`, one folder per language.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from simulator.errors import DataError

WORDS = Path(__file__).with_name("words")

LANGUAGES = ("zh", "en")
"""Languages of texts: Chinese and English."""

STYLE_NAMES = (
    "humour",
    "information",
    "stance",
    "empathy",
    "ranting",
    "question",
    "praise",
    "story",
)
"""Styles of comments, in the order of `Comments.style`; each has a file of words."""

TOPICS_PER_GROUP = 4


@dataclass(frozen=True)
class Phrases:
    """What comments of one style are made of.

    Attributes:
        frames: Sentences, the most common first; ``{w}`` stands for a word of the video's topic.
        openers, tails: What may stand before and after a sentence.
        tags: Emoji, or their names in brackets.
    """

    frames: tuple[str, ...]
    openers: tuple[str, ...]
    tails: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """The words of one language.

    Attributes:
        language: A member of `LANGUAGES`.
        topics: Name of each topic and its words; neighbours in a list are about related things.
        styles: Of `STYLE_NAMES`, in that order.
        shared: Used under every style; its frames show no style.
        mentions: Of other users, to open a comment with.
        fill: Marks with which a comment is filled up to its length; at least one of each length
            from 1 to 4.
        slang: A word and how some people spell it.
        captions, series: Sentences of captions, and of numbered episodes: ``{a}`` and ``{b}`` are
            words of the topic, ``{n}`` is a number.
        characters: Characters of a text for each character of a comment's drawn length.
        before_tag: Stands between a text and its emoji.
        capitals, shouting: Shares of comments that begin with a capital, and that are all capitals.
    """

    language: str
    topics: dict[str, tuple[str, ...]]
    styles: tuple[Phrases, ...]
    shared: Phrases
    mentions: tuple[str, ...]
    fill: tuple[str, ...]
    slang: dict[str, str]
    captions: tuple[str, ...]
    series: tuple[str, ...]
    characters: int
    before_tag: str
    capitals: float
    shouting: float

    @property
    def topic_names(self) -> tuple[str, ...]:
        """Names of the topics, in the order of `Videos.topic`."""
        return tuple(self.topics)


@lru_cache
def vocabulary(language: str) -> Vocabulary:
    """The words of a language.

    Raises:
        DataError: there are none of that language.
    """
    if language not in LANGUAGES:
        known = " or ".join(LANGUAGES)
        raise DataError(f"the world has no texts in language '{language}'.", f"Known: {known}")
    shared = _read(language, "shared")
    topics = {
        table["name"]: tuple(word for line in _lines(table["words"]) for word in line.split(","))
        for table in _read(language, "topics").values()
    }
    return Vocabulary(
        language=language,
        topics=topics,
        styles=tuple(_phrases(_read(language, name)) for name in STYLE_NAMES),
        shared=_phrases(shared),
        mentions=_parts(shared["mentions"]),
        fill=_parts(shared["fill"]),
        slang=dict(shared["slang"]),
        captions=_lines(shared["captions"]),
        series=_lines(shared["series"]),
        characters=int(shared["characters"]),
        before_tag=str(shared["before_tag"]),
        capitals=float(shared["capitals"]),
        shouting=float(shared["shouting"]),
    )


def _phrases(table: dict[str, Any]) -> Phrases:
    return Phrases(
        frames=_lines(table["frames"]),
        openers=_parts(table["openers"]),
        tails=_parts(table["tails"]),
        tags=_parts(table["tags"]),
    )


def _read(language: str, name: str) -> dict[str, Any]:
    return tomllib.loads((WORDS / language / f"{name}.toml").read_text(encoding="utf-8"))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.strip().split("\n"))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))
