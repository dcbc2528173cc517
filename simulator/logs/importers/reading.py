"""Name similar files; kept for callers, see `simulator.tables.nearby`."""

from simulator.tables import nearby

__all__ = ["nearby"]
