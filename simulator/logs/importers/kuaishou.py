"""Describe the files of KuaiRand and KuaiComt."""

from __future__ import annotations

import re

import polars as pl

from simulator.logs.importers import columns
from simulator.logs.importers.formats import Format, Role
from simulator.tables import Batch


def with_exposure(batch: Batch) -> pl.DataFrame:
    """Where a log does not say whether exposure was random, KuaiRand's file name does."""
    match = re.match(r"log_(standard|random)_", batch.path.name)
    if match is None or "is_rand" in batch.frame.columns:
        return batch.frame
    known = int(match.group(1) == "random")
    return batch.frame.with_columns(pl.lit(known, pl.Int8).alias("is_rand"))


KUAIRAND = Format(
    "kuairand",
    "KuaiRand (27K, 1K, Pure)",
    "CC BY-SA 4.0 (KuaiRand; Gao et al., CIKM 2022)",
    (
        Role(
            "impressions",
            r"log_(standard|random)_.*\.csv",
            columns.IMPRESSIONS,
            adjust=with_exposure,
        ),
        Role("users", r"user_features.*\.csv", columns.USERS),
        Role("videos", r"video_features_basic.*\.csv", columns.VIDEOS),
        Role("captions", r".*video_captions\.csv", columns.CAPTIONS),
        Role("categories", r".*video_categories\.csv", columns.CATEGORIES),
    ),
    recognise=("is_click", "play_time_ms"),
    language="zh",
    seen="real files (a slice of 27K, features of Pure)",
)
KUAICOMT = Format(
    "kuaicomt",
    "KuaiComt",
    "CC BY-NC-SA 4.0 and a confidentiality agreement (KuaiComt)",
    (
        Role(
            "impressions",
            r"user_(video_inter|photo_final_filtered_table)\.(csv|tsv)",
            columns.IMPRESSIONS,
        ),
        Role("comment_events", r"user_comment_inter\.(csv|tsv)", columns.COMMENT_EVENTS),
        Role("users", r"user_(features|table_final)\.(csv|tsv)", columns.USERS),
        Role("videos", r"(video_features|photo_table_final)\.(csv|tsv)", columns.VIDEOS),
        Role("comments", r"comment_features\.(csv|tsv)", columns.COMMENTS),
    ),
    recognise=("is_click", "p_hourmin"),
    language="zh",
    seen="its documentation only: institutions get it on request",
)
