"""A ladder: many algorithms on one task, with the same budget of environment steps, as one page for a class.

A ladder is a directory with two files. `experiment.toml` is the task, as for `gps run`; `ladder.toml` lists the rungs,
each with its own `[rung.algorithm]` and, where the algorithm needs one, its own `[[rung.cost]]`.

    file.py      read ladder.toml
    rungs.py     make each rung an experiment that ends at the budget
    climbing.py  run what is missing, as one sweep, and read what is there
    results.py   curves, final returns and who beats whom
    stories.py   the failures of the lecture, from the runs' own data
    drawing.py   the figures
    page.py      the page, with style.css
"""

from gps.ladder.climbing import climb, read_ladder_runs
from gps.ladder.page import write_ladder_page
from gps.ladder.rungs import make_rungs

__all__ = ["climb", "make_rungs", "read_ladder_runs", "write_ladder_page"]
