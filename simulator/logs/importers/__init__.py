"""Importers: Kuaishou-format files into a dataset directory."""

from simulator.logs.importers.report import ImportReport
from simulator.logs.importers.run import import_logs

__all__ = ["ImportReport", "import_logs"]
