"""Compare runs: runs that differ only in the seed form a group, and each group has curves and a final result.

`compare` reads the runs and groups them, and learning curves of other programs beside them (`foreign`). `words` shows
the result as tables for the terminal, `page` as an HTML page, `figure` for paper, `table` as CSV. The result of a run
is the final evaluation without noise of what it learned, never the best value during training.
"""

from gps.inspect.comparison.grouping import compare
from gps.inspect.comparison.groups import Comparison, Group
from gps.inspect.comparison.member import Member, read_member
from gps.inspect.comparison.words import (
    format_apart,
    format_comparison,
    make_apart_header,
    make_apart_row,
    make_header,
    make_row,
)

__all__ = [
    "Comparison",
    "Group",
    "Member",
    "compare",
    "format_apart",
    "format_comparison",
    "make_apart_header",
    "make_apart_row",
    "make_header",
    "make_row",
    "read_member",
]  # fmt: skip
