"""The world's parameters: one typed record, read from TOML presets.

Every parameter is described in docs/world.md with its equation. Those listed in
`simulator.world.calibrate` are fitted to published marginals; the others are set once, by
reasoning, and never by looking at the effect of any ranker.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import DataError

PRESETS = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class WorldConfig:
    """Parameters of a world. Log-odds unless said otherwise; times in seconds.

    Attributes:
        start_ms: Unix ms of day 0 (midnight in China).
        n_videos, n_authors: Size of the inventory.
        old_days, new_days: Videos are uploaded evenly from ``-old_days`` to ``new_days``.
        comments_median, comments_sigma: Log-normal number of comments per video.
        comments_min, comments_max: Bounds of that number.
        comment_taste_strength: 1 = people differ in which comments they enjoy, 0 = they do not.
        comment_taste_predictable: Share of comment taste that video taste explains (0..1).
        comment_order_effect: 1 = people read from the top and stop; 0 = order has no effect.
        sequence_strength: Weight of session interest, author chains and satiation (0 = none).
        click_*: Log-odds of a click, see `simulator.world.behaviour`.
        play_*: Play time given a click.
        like_*, follow_rate, forward_rate, hate_rate, write_rate: Feedback.
        open_*: Log-odds of opening the comment section.
        dwell_*, read_*, comment_like_*: Reading.
        session_*: Session budget.
        visits_*: Sessions per day.
        platform_*: The platform's own ranker.
    """

    name: str = "default"
    start_ms: int = 1_696_089_600_000  # 1 October 2023, 00:00 in China
    n_videos: int = 12_000
    n_authors: int = 3_000
    old_days: float = 30.0
    new_days: float = 6.0
    comments_median: float = 24.0
    comments_sigma: float = 0.6
    comments_min: int = 8
    comments_max: int = 64
    comment_taste_strength: float = 1.0
    comment_taste_predictable: float = 0.2
    comment_order_effect: float = 1.0
    sequence_strength: float = 1.0
    click_base: float = -2.2
    click_taste: float = 1.4
    click_quality: float = 0.5
    click_person_sigma: float = 0.8
    click_session: float = 0.6
    click_author: float = 0.35
    click_satiation: float = 0.25
    play_skip_seconds: float = 1.9
    play_full_base: float = -1.2
    play_full_taste: float = 0.5
    play_full_duration: float = 0.8
    play_patience: float = 180.0
    play_share: float = 1.6
    play_share_duration: float = 0.5
    play_share_taste: float = 0.3
    play_replay: float = 0.15
    like_base: float = -4.6
    like_taste: float = 0.8
    like_click: float = 1.6
    like_person_sigma: float = 0.9
    follow_rate: float = 0.0011
    forward_rate: float = 0.0010
    hate_rate: float = 0.0005
    write_rate: float = 0.019
    open_base: float = -1.2
    open_person_sigma: float = 1.25
    open_comments: float = 0.5
    open_click: float = 2.0
    open_like: float = 0.5
    open_preview: float = 0.15
    dwell_base: float = 0.2
    dwell_length: float = 0.5
    dwell_match: float = 0.3
    dwell_appeal: float = 0.1
    dwell_sigma: float = 0.75
    dwell_person_sigma: float = 0.45
    read_base: float = 1.1
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
    session_refund: float = 0.15
    session_skip_cost: float = 1.0
    visits_per_day: float = 6.5
    visits_person_cv: float = 0.5
    visits_satisfaction: float = 0.15
    taste_drift: float = 0.15
    platform_noise: float = 1.0
    platform_temperature: float = 0.7
    platform_random_share: float = 0.005

    @classmethod
    def preset(cls, name: str) -> WorldConfig:
        """A named preset from ``simulator/world/presets``, over the defaults.

        Raises:
            DataError: no such preset, or an unknown key in it.
        """
        file = PRESETS / f"{name}.toml"
        if not file.is_file():
            known = sorted(p.stem for p in PRESETS.glob("*.toml"))
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}"
            raise DataError(f"unknown world '{name}'.", hint)
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        base = table.pop("base", None)
        start = dataclasses.asdict(cls.preset(base)) if base else {}
        return cls.from_dict({**start, **table, "name": name})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WorldConfig:
        """Rebuild from `dataclasses.asdict`.

        Raises:
            DataError: an unknown key.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise DataError(f"world: unknown parameter '{key}'.")
        return cls(**values)
