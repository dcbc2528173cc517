"""Choose the comments whose texts are embedded: those that most people looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.examples import History
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import rank_in_run
from simulator.logs.reads import has_seen_comments, seen_comments


def attended_comments(dataset: Dataset, discussed: History, most: int) -> NDArray[np.bool_]:
    """The comments that people engaged with, and those that were seen most often.

    Most comments are read by nobody: in the log of the demo, a tenth of them is 88 % of what is
    seen. Among comments that were seen equally often, and in a log that does not say what
    was seen, those at the top of their section come first.

    Args:
        dataset: The log.
        discussed: Its comment sections with what people engaged with; always among the chosen.
        most: Comments seen most often.

    Returns:
        bool[M].
    """
    catalogue = dataset.catalogue()
    seen = np.zeros(catalogue.n_comments, dtype=np.int64)
    if has_seen_comments(dataset):
        seen = np.bincount(seen_comments(dataset).comment, minlength=catalogue.n_comments)
    place = rank_in_run(catalogue.comment_video.astype(np.int64))
    chosen = np.zeros(catalogue.n_comments, dtype=np.bool_)
    chosen[np.lexsort((place, -seen))[:most]] = True
    for comments in (discussed.comments, discussed.engaged):
        chosen[comments[comments >= 0]] = True
    return chosen
