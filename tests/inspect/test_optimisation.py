"""A policy that is optimised through a model, in words and numbers: the console, the tables, one iteration."""

import dataclasses

import numpy as np
from helpers.records import record
from helpers.report import FACTS

from gps.inspect.iteration import describe_iteration, export_iteration
from gps.inspect.report.findings import collect_findings
from gps.inspect.report.overview import make_piece
from gps.inspect.report.words import describe_condition
from gps.inspect.tables import describe_optimisation, format_optimisations
from gps.records import OptimisationRecord
from gps.status import PolicyStatus

FIRST = OptimisationRecord(False, True, np.array([9.0, 7.5, 8.0]), np.array([7.5]), 0.5 ** np.arange(30.0))
LATER = dataclasses.replace(FIRST, existed=True, kl=0.25, status=PolicyStatus.NOT_IMPROVED, message="No update helped.")
NOTHING = OptimisationRecord(False, False, np.zeros(0), np.zeros(0), status=PolicyStatus.NO_MODEL)


def test_the_console_says_what_matters():
    (line,) = describe_optimisation(FIRST)
    assert line.strip() == "policy: cost in the model 9.00 → 7.50; gradient 0.500 at 1, 9.8e-4 at 10 steps; ok"
    line, message = describe_optimisation(LATER)
    assert "; KL from the last 0.250 nats; " in line and line.endswith("; no gain")
    assert message.strip() == "policy: No update helped."
    assert describe_optimisation(None) == []
    assert describe_optimisation(NOTHING) == [f"{'':10}policy: {PolicyStatus.NO_MODEL.sentence}"]


def test_the_table_has_a_line_for_each_iteration():
    head, nothing, first, later = format_optimisations([(0, NOTHING), (1, FIRST), (2, LATER)])
    assert head.split("  ")[0] == "iter" and nothing.split() == ["0", "–", "–", "–", "no", "model"]
    assert "9.00 → 7.50" in first and later.endswith("No update helped.")
    assert format_optimisations([]) == []


def test_an_iteration_has_the_losses_and_the_gradient():
    made = dataclasses.replace(record(1), local=None, optimisation=LATER)
    text = describe_iteration(made, [0])
    assert "the policy, optimised through the model: no gain" in text
    assert "cost        9.00 → 7.50 in the model" in text and "KL          0.250 nats from the last policy" in text
    assert "1.9e-9 to 1.00, by steps ahead" in text and "trouble     No update helped." in text
    (exported,) = export_iteration(made, [0])
    assert exported["optimisation"]["gradient_norms"][:2] == [1.0, 0.5]
    assert exported["optimisation"]["status"] == "NOT_IMPROVED"


def test_the_report_tells_of_it_and_finds_what_failed():
    made = dataclasses.replace(record(1), local=None, optimisation=LATER)
    said = " ".join(describe_condition(make_piece(made, None), None, 0))
    assert "the policy's cost went from 9.00 to 7.50; it is 0.250 nats from the last one. No update helped." in said
    failed = dataclasses.replace(FIRST, status=PolicyStatus.EXPLODED)
    found = collect_findings(FACTS, [make_piece(dataclasses.replace(made, optimisation=failed), None)])
    (finding,) = [one for one in found if one.kind == "optimisation"]
    assert finding.severity == "error" and PolicyStatus.EXPLODED.sentence in finding.text
