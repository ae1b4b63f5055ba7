"""Which worker of pytest-xdist runs which tests: those that share fixtures and compiled functions stay together."""

from xdist.scheduler import LoadScopeScheduling

SPLIT = ("tests/test_builders.py", "tests/algorithms/test_contract.py")
"""Files that share little but within a parameter, the first of the brackets."""


def find_group(test: str) -> str:
    """The group of a test: its file, or in one of the files that are split its file and its first parameter."""
    file, _, name = test.partition("::")
    if file not in SPLIT:
        return file
    parameter = name.partition("[")[2].rstrip("]").partition("-")[0]
    return f"{file}[{parameter}]"


class ByFile(LoadScopeScheduling):
    """A group of tests runs on one worker.

    The names of tests give the groups, since the markers of tests stay in the workers.
    """

    def _split_scope(self, nodeid: str) -> str:
        return find_group(nodeid)
