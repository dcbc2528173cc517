"""Read delimited text and Parquet: one reader for every command.

It imports nothing of ours but errors.
"""

from simulator.tables.cells import EXACT_FLOAT, as_text
from simulator.tables.decimals import parse_mark
from simulator.tables.delimited import LINE
from simulator.tables.kinds import Kind, Number, Replace, Text, TypedCells, Whole, label
from simulator.tables.sources import find_sources, is_table_name, nearby
from simulator.tables.table import Batch, Table, open_table
from simulator.tables.tally import BadRows, Tally
from simulator.tables.times import Time, Unit, check_form, check_zone

__all__ = [
    "EXACT_FLOAT",
    "LINE",
    "BadRows",
    "Batch",
    "Kind",
    "Number",
    "Replace",
    "Table",
    "Tally",
    "Text",
    "Time",
    "TypedCells",
    "Unit",
    "Whole",
    "as_text",
    "check_form",
    "check_zone",
    "find_sources",
    "is_table_name",
    "label",
    "nearby",
    "open_table",
    "parse_mark",
]
