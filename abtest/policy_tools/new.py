"""Write a policy file that runs as generated and passes the contract."""

from __future__ import annotations

_SOURCE = '''"""{title}: popular videos first, those of somebody's recent categories before others.

    abtest policy check {file}:{name}
    abtest run --treatment {file}:{name} --control sasrec
"""

import numpy as np

from policies.base import Policy


class {name}(Policy):
    """Popularity within the categories that somebody liked last."""

    def __init__(self, recent=5, boost=2.0):
        super().__init__()
        self.recent = recent
        self.boost = boost

    def settings(self):
        # Together with the data and the seed these decide the weights: they name the cached copy.
        return {{"recent": self.recent, "boost": self.boost}}

    def fit(self, dataset, *, seed, progress=None):
        # The log is a set of polars tables: dataset.scan("impressions"), "videos", "comments" ...
        self._prepare(dataset)
        liked = dataset.scan("impressions").filter(is_like=1).select("video_id").collect()
        videos = self.catalogue.video_index(liked["video_id"].to_numpy())
        likes = np.bincount(videos[videos >= 0], minlength=self.catalogue.n_videos)
        self.popularity = np.log1p(likes).astype(np.float32)

    def _prepare(self, dataset):
        self.catalogue = dataset.catalogue()

    def score_videos(self, requests):
        # One row per request: candidates are video indices, -1 where there is none.
        category = self.catalogue.category
        liked = requests.history.videos("liked")
        count = requests.history.lengths("liked")
        column = np.arange(liked.shape[1])
        last = (column >= count[:, None] - self.recent) & (column < count[:, None])
        recent = np.where(last, category[liked], -2)
        same = (category[requests.candidates][:, :, None] == recent[:, None, :]).sum(axis=2)
        return (self.popularity[requests.candidates] + self.boost * same).astype(np.float32)

    # Without score_comments, comments stay in the platform's own order.

    def save(self, directory):
        np.save(directory / "popularity.npy", self.popularity, allow_pickle=False)

    def load(self, directory, dataset):
        self._prepare(dataset)
        self.popularity = np.load(directory / "popularity.npy", allow_pickle=False)
'''


def class_name(stem: str) -> str:
    """``my_policy`` to ``MyPolicy``."""
    return "".join(part[:1].upper() + part[1:] for part in stem.split("_") if part) or "Policy_"


def policy_source(stem: str) -> str:
    """Text of the file ``stem.py``."""
    name = class_name(stem)
    return _SOURCE.format(title=name, name=name, file=f"{stem}.py")
