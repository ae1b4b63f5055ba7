"""Compare runs: runs that differ only in the seed form a group, and each group has curves and a final result.

`compare` reads the runs and groups them; `words` presents the result as tables, `page` as an HTML page. The result of a
run is the final evaluation without noise of what it learned, never the best value during training.
"""

from gps.inspect.comparison.grouping import compare
from gps.inspect.comparison.groups import Comparison, Group
from gps.inspect.comparison.member import Member, read
from gps.inspect.comparison.words import apart_header, apart_lines, apart_row, header, lines, row

__all__ = [
    "Comparison", "Group", "Member", "apart_header", "apart_lines", "apart_row", "compare", "header", "lines", "read",
    "row",
]  # fmt: skip
