"""Import files in Kuaishou's and other formats into a dataset directory."""

from simulator.logs.importers.report import ImportReport
from simulator.logs.importers.run import FORMATS, import_logs, import_mapped

__all__ = ["FORMATS", "ImportReport", "import_logs", "import_mapped"]
