"""Draw the charts of the lift report as inline SVG."""

from reports.render.charts.assumptions import (
    assumption_chart,
    assumption_domain,
    tornado_row,
)
from reports.render.charts.daily import daily_chart
from reports.render.charts.distributions import distribution_chart
from reports.render.charts.lifts import ROW_WIDTH, factor_bars, lift_chart, row_axis, row_bar

__all__ = [
    "ROW_WIDTH",
    "assumption_chart",
    "assumption_domain",
    "daily_chart",
    "distribution_chart",
    "factor_bars",
    "lift_chart",
    "row_axis",
    "row_bar",
    "tornado_row",
]
