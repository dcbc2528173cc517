from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsvcr.text.prompts import WORDINGS, LikedVideo, Section, language_of, one_line, plain, prompt

TEXTS = ["烧烤之夜", "太香了", "小猫日常", "哈哈", "想吸猫"]
VIDEOS = [LikedVideo(0, 1), LikedVideo(2, -1)]
SECTIONS = [Section(2, (3, 4, -1)), Section(-1, (-1, -1, -1))]


def test_the_next_title_is_asked_for_after_both_lists() -> None:
    told = plain(prompt("zh", "video", VIDEOS, SECTIONS, videos_first=True), TEXTS)
    assert told == (
        "短视频用户的记录。\n"
        "喜欢的视频：\n"
        "1. 标题：烧烤之夜；热评：太香了\n"
        "2. 标题：小猫日常\n"
        "参与评论的视频：\n"
        "1. 标题：小猫日常；互动评论：哈哈｜想吸猫\n"
        "2. 标题：无标题\n"
        "用户接下来喜欢的视频标题："
    )


def test_a_comment_is_asked_for_under_the_current_video() -> None:
    pieces = prompt("en", "comment", VIDEOS, SECTIONS, videos_first=False, current=0)
    told = plain(pieces, ["grill", "yum", "cats", "lol", "aww"])
    assert told == (
        "Record of a short-video user.\n"
        "Videos whose comments the user took part in:\n"
        "1. Title: cats; comments interacted with: lol | aww\n"
        "2. Title: untitled\n"
        "Liked videos:\n"
        "1. Title: grill; top comment: yum\n"
        "2. Title: cats\n"
        "Now watching: grill\n"
        "A comment that the user would interact with: "
    )


@pytest.mark.parametrize("language", sorted(WORDINGS))
def test_people_without_a_history_are_asked_too(language: str) -> None:
    told = plain(prompt(language, "video", [], [], videos_first=True), [])
    assert told.count(WORDINGS[language].nothing) == 2
    assert told.endswith(WORDINGS[language].ask_video)


def test_at_most_three_comments_are_told() -> None:
    pieces = prompt("zh", "video", [], [Section(0, (1, 2, 3, 4))], videos_first=True)
    assert [piece for piece in pieces if isinstance(piece, int)] == [0, 1, 2, 3]


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_people_wrote_is_data(title: str, comment: str) -> None:
    """No text becomes wording, fills a place or opens a line of its own, whatever it spells."""
    texts = [title, comment]
    pieces = prompt(
        "en", "video", [LikedVideo(0, 1)], [Section(0, (1,))], videos_first=True, current=-1
    )
    assert [piece for piece in pieces if isinstance(piece, int)] == [0, 1, 0, 1]
    told = plain(pieces, texts)
    assert told.split("\n")[2] == f"1. Title: {one_line(title)}; top comment: {one_line(comment)}"
    assert len(told.split("\n")) == 6


@pytest.mark.parametrize("text", ["{0}", "%s {title}", "1.\n2. Title: x", "\u2028next", "a\r\nb"])
def test_texts_stay_on_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) == 1
    assert one_line(text).split() == text.split()


@pytest.mark.parametrize(
    ("declared", "texts", "language"),
    [
        ("zh", ["hello"], "zh"),
        ("en-US", ["你好"], "en"),
        ("zh_CN", [], "zh"),
        ("de", ["hallo"], "en"),
        (None, ["你好", "世界 ok", "lol"], "zh"),
        (None, ["hello", "你好"], "en"),
        (None, [], "en"),
    ],
)
def test_language_is_the_datasets(declared: str | None, texts: list[str], language: str) -> None:
    assert language_of(declared, texts) == language
