"""What a report says of a run: facts of a made-up one, and the overview of one on disk."""

import dataclasses

from gps.inspect.report.forms import Axes, Facts, Overview, PolicyFacts, Sizes, StartScore
from gps.inspect.report.overview import collect_facts, make_piece
from gps.inspect.report.page import make_overview
from gps.runs import Run


def facts_of(evaluation: list[StartScore], policy: PolicyFacts | None = None) -> Facts:
    """The facts of a finished run of two iterations."""
    axes = Axes(Sizes(M=3, N=5, T=20, dx=4, du=2), list(range(20)), [], [], [], [])
    return Facts(
        name="e", description="", path="", seed=1, started="", algorithm="trajopt", execute="max_entropy", planned=2,
        state="finished", players={}, evaluation=evaluation, conditions=[], first=[], policy=policy, environment="",
        experiment="", command="", versions={}, axes=axes,
    )  # fmt: skip


FACTS = dataclasses.replace(facts_of([]), state="running")
"""Of a run that goes on, so that nobody asks why it failed."""


def overview_of(run: Run) -> Overview:
    """The overview as `make_report` makes it, without the sentences about each iteration."""
    pieces, previous = [], None
    for k in range(len(run.iterations)):
        made = run.iterations[k]
        pieces.append(make_piece(made, previous, run.path))
        previous = made
    return make_overview(collect_facts(run, run.iterations[0]), pieces)
