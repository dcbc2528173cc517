"""Define the error of tables of users."""

from __future__ import annotations

from reports.statistics.errors import StatisticsError


class TableError(StatisticsError):
    """A table that cannot be analysed: what is wrong, where, and what to do."""
