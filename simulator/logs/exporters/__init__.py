"""Export a dataset directory as files in the formats of Kuaishou's published logs."""

from simulator.logs.exporters.report import ExportReport
from simulator.logs.exporters.run import export_logs

__all__ = ["ExportReport", "export_logs"]
