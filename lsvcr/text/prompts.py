"""Write the language model's prompts: both histories as numbered lists, and a question.

A prompt is a list of pieces: wording of ours, and numbers of texts of the log. The two never meet
in a string: each piece is tokenised for itself, so that what people wrote stays data whatever it
spells, and every text is tokenised once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsvcr.task import Task

# A piece of wording, or the number of a text of the log.
Piece = str | int
MOST_COMMENTS = 3
_LANGUAGE_FROM = 1_000


@dataclass(frozen=True)
class Wording:
    """The fixed parts of a prompt in one language."""

    opening: str
    videos: str
    sections: str
    title: str
    popular: str
    comments: str
    between: str
    end: str
    nothing: str
    untitled: str
    current: str
    ask_video: str
    ask_comment: str

    def all(self) -> list[str]:
        """Every fixed part."""
        return [str(value) for value in vars(self).values()]


WORDINGS = {
    "zh": Wording(
        opening="短视频用户的记录。\n",
        videos="喜欢的视频：\n",
        sections="参与评论的视频：\n",
        title="标题：",
        popular="；热评：",
        comments="；互动评论：",
        between="｜",
        end="\n",
        nothing="无\n",
        untitled="无标题",
        current="正在观看的视频：",
        ask_video="用户接下来喜欢的视频标题：",
        ask_comment="用户会互动的评论：",
    ),
    "en": Wording(
        opening="Record of a short-video user.\n",
        videos="Liked videos:\n",
        sections="Videos whose comments the user took part in:\n",
        title="Title: ",
        popular="; top comment: ",
        comments="; comments interacted with: ",
        between=" | ",
        end="\n",
        nothing="none\n",
        untitled="untitled",
        current="Now watching: ",
        ask_video="Title of the next video that the user likes: ",
        ask_comment="A comment that the user would interact with: ",
    ),
}


@dataclass(frozen=True)
class LikedVideo:
    """An entry of the video history: texts by number, -1 for none."""

    title: int
    popular: int


@dataclass(frozen=True)
class Section:
    """An entry of the comment history: texts by number, -1 for none."""

    title: int
    comments: tuple[int, ...]


def language_of(declared: str | None, texts: Sequence[str]) -> str:
    """The prompts' language: the dataset's, or what most of its texts look like.

    Args:
        declared: Of the dataset, such as "zh" or "en-US"; None if it says nothing.
        texts: Its texts, of which the first thousand are looked at.
    """
    if declared:
        known = declared.lower().split("-")[0].split("_")[0]
        return known if known in WORDINGS else "en"
    texts = texts[:_LANGUAGE_FROM]
    chinese = sum(any("\u4e00" <= c <= "\u9fff" for c in text) for text in texts)
    return "zh" if 2 * chinese > len(texts) else "en"


def prompt(
    language: str,
    task: Task,
    videos: Sequence[LikedVideo],
    sections: Sequence[Section],
    *,
    videos_first: bool,
    current: int = -1,
) -> list[Piece]:
    """The pieces of one prompt; its answer follows directly.

    Args:
        language: A key of `WORDINGS`.
        task: "video" asks for the title of the next video, "comment" for a comment that the
            person would interact with under the current one.
        videos: Liked videos, oldest first.
        sections: Comment sections that the user engaged in, oldest first.
        videos_first: Which history comes first.
        current: Title of the video being watched (comment task); -1 for none.
    """
    words = WORDINGS[language]
    histories = [_videos(words, videos), _sections(words, sections)]
    if not videos_first:
        histories.reverse()
    pieces: list[Piece] = [words.opening, *histories[0], *histories[1]]
    if task == "video":
        return [*pieces, words.ask_video]
    return [*pieces, words.current, _or(current, words.untitled), words.end, words.ask_comment]


def one_line(text: str) -> str:
    """A text without line breaks: it cannot look like another entry of a list."""
    return " ".join(text.split())


def plain(pieces: Sequence[Piece], texts: Sequence[str]) -> str:
    """A prompt as people read it."""
    return "".join(piece if isinstance(piece, str) else one_line(texts[piece]) for piece in pieces)


def _videos(words: Wording, entries: Sequence[LikedVideo]) -> list[Piece]:
    pieces: list[Piece] = [words.videos]
    for number, entry in enumerate(entries, start=1):
        pieces += [f"{number}. ", words.title, _or(entry.title, words.untitled)]
        if entry.popular >= 0:
            pieces += [words.popular, entry.popular]
        pieces.append(words.end)
    return pieces if entries else [*pieces, words.nothing]


def _sections(words: Wording, entries: Sequence[Section]) -> list[Piece]:
    pieces: list[Piece] = [words.sections]
    for number, entry in enumerate(entries, start=1):
        pieces += [f"{number}. ", words.title, _or(entry.title, words.untitled)]
        said = [text for text in entry.comments if text >= 0][:MOST_COMMENTS]
        for place, text in enumerate(said):
            pieces += [words.comments if place == 0 else words.between, text]
        pieces.append(words.end)
    return pieces if entries else [*pieces, words.nothing]


def _or(text: int, otherwise: str) -> Piece:
    return text if text >= 0 else otherwise
