"""Draw the charts of the lift report as inline SVG."""

from reports.render.charts.daily import daily_chart
from reports.render.charts.distributions import distribution_chart
from reports.render.charts.lifts import ROW_WIDTH, factor_bars, lift_chart, row_axis, row_bar

__all__ = [
    "ROW_WIDTH",
    "daily_chart",
    "distribution_chart",
    "factor_bars",
    "lift_chart",
    "row_axis",
    "row_bar",
]
