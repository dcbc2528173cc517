"""Exporters: a dataset directory into Kuaishou-format files."""

from simulator.logs.exporters.report import ExportReport
from simulator.logs.exporters.run import export_logs

__all__ = ["ExportReport", "export_logs"]
