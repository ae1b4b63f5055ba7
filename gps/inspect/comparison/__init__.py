"""Runs side by side: those that differ in the seed alone are a group, and each group has curves and a final result.

`compare` reads the runs and puts them into groups; `words` says the outcome as tables, `page` as a page. What counts as
the result is the evaluation of what was learned, without noise, never the best that was seen on the way.
"""

from gps.inspect.comparison.grouping import compare
from gps.inspect.comparison.groups import Comparison, Group
from gps.inspect.comparison.member import Member, read
from gps.inspect.comparison.words import apart_header, apart_lines, apart_row, header, lines, row

__all__ = [
    "Comparison", "Group", "Member", "apart_header", "apart_lines", "apart_row", "compare", "header", "lines", "read",
    "row",
]  # fmt: skip
