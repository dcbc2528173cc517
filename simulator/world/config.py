"""Hold a world's parameters: one typed record, read from TOML presets.

Every parameter is described in docs/world.md with its equation. Those listed in
`simulator.calibration.knobs` are fitted to published evidence; the others are set once, by
reasoning, and never by looking at the effect of any policy.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import DataError
from simulator.world.ranges import wanted_of
from simulator.world.vocabulary import LANGUAGES

PRESETS = Path(__file__).with_name("presets")
_CHOICES = {"language": tuple(LANGUAGES), "draws": ("independent", "even")}
_EXPECTED: dict[type, str] = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class WorldConfig:
    """Parameters of a world. Log-odds unless said otherwise; times in seconds.

    Attributes:
        language: Of captions and comments, "zh" (Chinese) or "en" (English). Nothing else of a log
            depends on it.
        draws: How qualities of videos are drawn: "independent", or "even", so that worlds of
            different seeds are alike on average.
        start_ms: Unix ms of day 0 (midnight in China).
        n_videos, n_authors: Size of the inventory.
        old_days, new_days: Videos are uploaded evenly from ``-old_days`` to ``new_days``.
        duration_median, duration_sigma: Log-normal durations, seconds.
        popularity_sigma, popularity_quality: Standard deviation of the log popularity that the
            platform displays, and its correlation with quality.
        comments_median, comments_sigma: Log-normal number of comments per video.
        comments_discussability: Log number of comments per standard deviation of discussability.
        comments_min, comments_max: Bounds of that number.
        comment_taste_strength: 1 = people differ in which comments they enjoy, 0 = they do not.
        comment_taste_predictable: Share of comment taste that video taste explains (0..1).
        comment_taste_topics: Share of the variance of comment taste that depends on the video's
            topic, differently in each of several groups of people (0..1); 0 is one taste for all
            videos, whose match with a comment is bilinear in person and style.
        comment_order_effect: Share of visits that read down the displayed list (0..1); the others
            read in the platform's order, whatever is displayed. At 0 order has no effect.
        sequence_strength: Weight of session interest, author chains, series and satiation (0 =
            none).
        click_*: Log-odds of a click, see `simulator.response.watching`; ``click_taste`` and
            ``click_quality`` also weigh taste and quality in a video's relevance to a person.
        grid_*: Pages of the two-column tab, where a click is a tap on a cover. ``grid_share`` is
            the share of the pages of a person in the middle, ``grid_person_sigma`` how far people
            differ in its log-odds.
        play_*: Play time given a click; ``*_relevance`` per unit of relevance.
        collect_*: Collecting a video: the rate, times ``collect_like`` after a like. No published
            figure is at hand; the default is about as rare as forwarding.
        like_*, follow_*, forward_*, hate_*, profile_*, write_*: Feedback; ``*_relevance``: log-odds
            of a like, log rate of the others, per unit of relevance (of hating: how it falls;
            of writing: given an open section).
            ``follow_like``, ``write_like`` and ``hate_click`` raise a rate where the video is liked
            or clicked, ``write_skip`` is what is left of the writing rate without a click.
        open_*: Log-odds of opening the comment section: by number of comments, discussability,
            relevance, a click, its seconds, a like and the preview; the seconds that opening takes.
        dwell_*, read_*, comment_like_*: Reading; ``dwell_duration``: how the log of the time on a
            comment rises with the log duration of its video.
        satisfaction_*: How much of the time with a watched video is well spent (``base`` and
            ``relevance``, a share); what a skipped video (``skip``) takes from a slot's
            satisfaction, and what log(1 + seconds) of comments (``comments``) add to it; with how
            much of it everybody starts (``start``, about the mean under the production ranker).
        session_*, pause_*: A session's patience in seconds. ``session_refund``: share of well-spent
            time that costs none; ``session_skip_cost``: seconds that a skipped video costs more,
            ``session_video_cost``: that every video of the single column costs beside its time.
            ``pause_*``: pages after which the phone is put down for minutes.
        visits_*: Sessions per day; a share ``visits_soon`` comes back within an hour or so, less at
            night; ``visits_lead_minutes``: how long after the start of a visit its impressions are
            on average. ``visits_satisfaction``: how satisfaction moves the log rate of visits, and
            ``visits_absence_response`` times as much the log chance ``visits_absence`` of staying
            away for ``visits_absence_days`` days on average. Both are larger for people who come
            seldom, by the power ``visits_low_activity`` of their activity.
        novelty_strength, novelty_days: Added to the log-odds of a click and of opening comments
            when a person's ranker has changed, and how fast that fades (see `Feed`).
        platform_*: The platform's own ranker: error of its view (``noise``, larger for people who
            use the platform a lot, by the exponential of ``noise_volume``), randomness of its
            slates (``temperature``), weights of predicted outcomes (``click``, ``play``, ``like``,
            ``comment``); ``platform_random_share`` of slots show one of ``platform_random_pool``
            videos at random, unevenly over people (``platform_random_sigma`` of the log share) and
            over each one's hours (``platform_random_bursts``). The pool's videos are better than
            others by ``platform_random_quality``, standard deviations. A share
            ``platform_explore_comments`` of opened sections is shown in random order.
        series_share: Share of authors whose videos are the numbered episodes of one series.
        click_series: Log-odds of a click on the next episode of the series clicked last.
    """

    name: str = "default"
    language: str = "zh"
    draws: str = "independent"
    start_ms: int = 1_696_089_600_000  # 1 October 2023, 00:00 in China
    n_videos: int = 13_000
    n_authors: int = 3_950
    old_days: float = 30.0
    new_days: float = 9.0
    duration_median: float = 26.966
    duration_sigma: float = 1.4314
    popularity_sigma: float = 1.0
    popularity_quality: float = 0.8
    comments_median: float = 24.0
    comments_sigma: float = 0.6
    comments_discussability: float = 0.35
    comments_min: int = 8
    comments_max: int = 64
    comment_taste_strength: float = 1.0
    comment_taste_predictable: float = 0.2
    comment_taste_topics: float = 0.0
    comment_order_effect: float = 1.0
    sequence_strength: float = 1.0
    click_base: float = -2.2
    click_taste: float = 2.0
    click_quality: float = 0.5
    click_person_sigma: float = 0.8
    click_volume: float = 0.4
    click_session: float = 0.8
    click_author: float = 0.35
    click_satiation: float = 0.25
    grid_share: float = 0.2
    grid_person_sigma: float = 0.0
    grid_click: float = -2.0
    grid_seconds: float = 0.8
    play_glance_seconds: float = 0.8
    play_skip_seconds: float = 1.05
    play_full_base: float = -1.2
    play_full_relevance: float = 0.8
    play_full_duration: float = 0.8
    play_patience: float = 180.0
    play_share: float = 1.6
    play_share_duration: float = 0.5
    play_share_relevance: float = 0.3
    play_replay: float = 0.3
    like_base: float = -5.5
    like_relevance: float = 0.7
    like_click: float = 1.6
    like_duration: float = 0.0
    like_person_sigma: float = 0.9
    follow_rate: float = 0.0004
    follow_like: float = 25.0
    follow_relevance: float = 0.7
    forward_rate: float = 0.0005
    forward_relevance: float = 0.2
    collect_rate: float = 0.0006
    collect_like: float = 25.0
    hate_rate: float = 0.0006
    hate_click: float = 1.0
    hate_relevance: float = 0.8
    profile_rate: float = 0.01
    profile_relevance: float = 0.4
    write_rate: float = 0.016
    write_like: float = 6.0
    write_skip: float = 0.05
    write_relevance: float = 0.0
    write_seconds: float = 7.0
    open_base: float = -3.0
    open_person_sigma: float = 1.25
    open_comments: float = 0.5
    open_discussability: float = 1.3
    open_relevance: float = 2.2
    open_click: float = 1.0
    open_play: float = 0.8
    open_like: float = 0.3
    open_preview: float = 0.15
    open_seconds: float = 1.2
    open_seconds_sigma: float = 0.5
    dwell_base: float = 0.3
    dwell_length: float = 0.5
    dwell_duration: float = 0.0
    dwell_match: float = 0.3
    dwell_appeal: float = 0.1
    dwell_sigma: float = 0.5
    dwell_person_sigma: float = 0.45
    dwell_open_sigma: float = 0.4
    read_base: float = 1.5
    read_match: float = 0.5
    read_appeal: float = 0.2
    read_person_sigma: float = 0.5
    read_depth: float = 0.02
    comment_like_base: float = -5.0
    comment_like_match: float = 0.9
    comment_like_appeal: float = 0.5
    comment_reply_share: float = 0.2
    session_seconds: float = 1_400.0
    session_sigma: float = 0.7
    session_person_sigma: float = 0.5
    session_refund: float = 0.7
    session_skip_cost: float = 1.5
    session_video_cost: float = 0.0
    pause_share: float = 0.08
    pause_minutes: float = 8.0
    visits_per_day: float = 6.5
    visits_person_cv: float = 0.5
    visits_satisfaction: float = 0.8
    visits_low_activity: float = 1.0
    visits_absence: float = 0.03
    visits_absence_days: float = 1.5
    visits_absence_response: float = 4.0
    visits_soon: float = 0.2
    visits_soon_minutes: float = 30.0
    visits_lead_minutes: float = 57.0
    taste_drift: float = 0.15
    novelty_strength: float = 0.0
    novelty_days: float = 3.0
    platform_noise: float = 1.0
    platform_click: float = 1.0
    platform_play: float = 0.2
    platform_like: float = 0.2
    platform_comment: float = 0.3
    platform_temperature: float = 0.7
    platform_noise_volume: float = 0.0
    platform_random_share: float = 0.006337
    platform_random_sigma: float = 0.9
    platform_random_bursts: float = 0.0
    platform_random_quality: float = 0.0
    platform_explore_comments: float = 0.0
    platform_random_pool: int = 120
    series_share: float = 0.3
    click_series: float = 1.0
    satisfaction_base: float = 0.5
    satisfaction_relevance: float = 0.25
    satisfaction_skip: float = 0.25
    satisfaction_comments: float = 0.1
    satisfaction_start: float = 0.3

    @classmethod
    def preset(cls, name: str, _within: tuple[str, ...] = ()) -> WorldConfig:
        """A preset from ``simulator/world/presets``, or a TOML file of one's own, by its path.

        A preset names the one it starts from as ``base``; the rest are fields of this class.

        Raises:
            DataError: no such preset, unreadable TOML, or an unknown or mistyped parameter.
        """
        own = name.endswith(".toml")
        file = Path(name) if own else PRESETS / f"{name}.toml"
        if own and not file.is_file():
            raise DataError(f"no world file {name}.", "Fit one: abtest world calibrate --out FILE")
        if not file.is_file():
            known = sorted(p.stem for p in PRESETS.glob("*.toml"))
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}"
            raise DataError(f"unknown world '{name}'.", hint)
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
            raise DataError(f"{file}: not readable as TOML: {error}.") from error
        base = table.pop("base", None)
        if base is not None and (not isinstance(base, str) or base in (*_within, name)):
            raise DataError(f"{file}: base must be the name of another preset.")
        start = dataclasses.asdict(cls.preset(base, (*_within, name))) if base else {}
        try:
            return cls.from_dict({**start, **table, "name": file.stem})
        except DataError as error:
            raise DataError(f"{file}: {error.problem}", error.hint) from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WorldConfig:
        """Rebuild from `dataclasses.asdict`.

        Raises:
            DataError: an unknown key, or a value of the wrong type or out of range.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(cls)}
        for key, value in values.items():
            if key not in defaults:
                close = difflib.get_close_matches(key, defaults, n=1)
                hint = f"Did you mean '{close[0]}'?" if close else ""
                raise DataError(f"unknown world parameter '{key}'.", hint)
            wanted = type(defaults[key])
            fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
            if not fits or isinstance(value, bool):
                expected = _EXPECTED.get(wanted, "text")
                raise DataError(f"world parameter '{key}' is {value!r}, expected {expected}.")
            if key in _CHOICES and value not in _CHOICES[key]:
                known = " or ".join(f'"{name}"' for name in _CHOICES[key])
                raise DataError(f"world parameter '{key}' is {value!r}, expected {known}.")
            if wanted is not str:
                asked = wanted_of(key, value, whole=wanted is int)
                if asked:
                    raise DataError(f"world parameter '{key}' is {value!r}, expected {asked}.")
        made = cls(**values)
        if made.comments_min > made.comments_max:
            raise DataError(
                f"world parameter 'comments_min' is {made.comments_min}, above comments_max, "
                f"which is {made.comments_max}."
            )
        return made
