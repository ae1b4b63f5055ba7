"""What a run, an iteration and a controller say of themselves, and the figures of gps.plot."""

import dataclasses
import re
import sys
import types

import numpy as np
import pytest
from helpers.records import config, evaluation, record, rollouts, state
from helpers.runs import make_run

import gps.plot
from gps.backend import jax, jnp
from gps.errors import RunError
from gps.inspect.notebook_progress import NotebookProgress
from gps.linear_gaussian.types import Controller
from gps.runs.creating import create_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("notebook"), iterations=3)


def test_a_run_in_three_lines(run):
    lines = repr(run).splitlines()
    assert lines[0] == f"Run of e, seed 1: {run.path}"
    assert re.fullmatch(r"  trajopt, 3 of \d+ iterations, stopped", lines[1])
    cost = np.mean([row.cost for row in run.rows(2)])
    assert (
        lines[2] == f"  cost {gps.inspect.formatting.format_number(float(cost))} in the last iteration, no final score"
    )
    table = run._repr_html_()
    assert table.count("<tr>") == 4 and f"<td>{run.rows(2)[0].environment_steps:,}</td>" in table


def test_a_damaged_run_has_a_representation(tmp_path):
    broken = make_run(tmp_path, iterations=1)
    (broken.path / "experiment.toml").write_text("")
    assert str(broken.path) in repr(type(broken)(broken.path, "e", "")).splitlines()[0]


def test_an_iteration_in_three_lines(run):
    made = run.iterations[1]
    lines = repr(made).splitlines()
    M, N, T = made.costs.shape
    assert len(lines) == 3
    assert lines[0].startswith(f"Iteration 1: {M} conditions, {N} samples of {T} steps, by the local controllers")
    assert f"{int(made.successes.sum())}/{M * N} succeeded" in lines[1]
    html = made._repr_html_()
    assert html.count("<tr>") == M + 1 and "η" in html
    bare = dataclasses.replace(record(0), local=None)
    assert "η" not in bare._repr_html_() and len(repr(bare).splitlines()) == 3


def test_a_controller_in_three_lines():
    gains = np.arange(24.0).reshape(3, 2, 4)
    made = Controller(gains, np.zeros((3, 2)), np.tile(0.25 * np.eye(2), (3, 1, 1)))
    lines = repr(made).splitlines()
    assert lines[0] == "Controller u = K x + k + N(0, Σ): T = 3, dx = 4, du = 2"
    assert lines[1] == "  feedback K 0 to 23.00, feedforward k 0 to 0"
    assert lines[2] == "  standard deviation of the noise 0.500 to 0.500"
    html = made._repr_html_()
    assert html.count("<tr>") == 3 and "<td>8.00</td>" in html  # the mean over time of K[0, 0]
    batch = jax.tree.map(lambda array: jnp.stack([array, array]), made)
    assert "2 of them, T = 3" in repr(batch) and "<tr>" not in batch._repr_html_()
    said: list[str] = []

    def trace(item):
        said.append(repr(item))
        return item.feedback

    jax.jit(trace)(batch)
    assert said == ["Controller u = K x + k + N(0, Σ): 2 of them, T = 3, dx = 4, du = 2"]


def test_the_figures_draw_the_numbers(run):
    figure = gps.plot.costs(run)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    for m, line in enumerate(lines):
        np.testing.assert_array_equal(line.y, [run.rows(k)[m].cost for k in range(3)])
        np.testing.assert_array_equal(line.x, [run.rows(k)[m].environment_steps for k in range(3)])
    made = run.iterations[2]
    one = made.local.improved[1]
    gains = gps.plot.controller(one, ["angle"])
    T, du, dx = one.feedback.shape
    assert len(gains.data) == du * dx and gains.data[0].name == "angle"
    np.testing.assert_array_equal(gains.data[dx].y, np.asarray(one.feedback)[:, 1, 0])
    tube = gps.plot.tubes(made, 1, [0])
    mean, edge = tube.data[-1], tube.data[0]
    np.testing.assert_array_equal(mean.y, np.asarray(made.local.marginals.mean)[1, :, 0])
    deviation = np.sqrt(np.asarray(made.local.marginals.covariance)[1, :, 0, 0])
    np.testing.assert_allclose(np.asarray(edge.y)[:T], mean.y + 2 * deviation)
    assert len(tube.data) == 2 + made.costs.shape[1]
    found = gps.plot.search(made, 1)
    known = np.isfinite(made.local.search.trace_kl[1])
    np.testing.assert_allclose(found.data[0].x, np.exp(made.local.search.trace_log_eta[1][known]))
    assert found.layout.shapes[0].y0 == pytest.approx(made.local.kl_bound[1])


def test_what_cannot_be_drawn_is_said(run, tmp_path):
    made = run.iterations[0]
    with pytest.raises(RunError, match="no condition 7; the run has 0 to 1"):
        gps.plot.search(made, 7)
    with pytest.raises(RunError, match="no entry 99 of the state"):
        gps.plot.tubes(made, 0, [99])
    with pytest.raises(RunError, match="iteration 0 has no local controllers"):
        gps.plot.tubes(dataclasses.replace(made, local=None))
    with pytest.raises(ValueError, match=r"got a batch of shape \(2,\); choose one by \[m\]"):
        gps.plot.controller(made.local.improved)
    with pytest.raises(RunError, match="no iteration to draw"):
        gps.plot.costs(make_run(tmp_path, iterations=0))


def follow(progress, run, first=0):
    """Call the hooks as a run of two iterations does."""
    progress.on_start(run, run.config, 2)
    for k in range(first, 2):
        progress.on_stage(k, "sample")
        progress.on_iteration(record(k))
    progress.on_stage(2, "evaluate")
    progress.on_evaluation(evaluation(rollouts(np.random.default_rng(0), N=1)))
    progress.on_end(run)


def test_progress_is_one_table_that_is_replaced(tmp_path, monkeypatch):
    shown, replaced = [], []
    kernel = types.ModuleType("ipykernel.zmqshell")
    kernel.ZMQInteractiveShell = type("ZMQInteractiveShell", (), {})
    module = types.ModuleType("IPython")
    module.get_ipython = kernel.ZMQInteractiveShell
    module.display = types.ModuleType("IPython.display")

    def display(view, display_id):
        shown.append(view)
        return types.SimpleNamespace(update=replaced.append)

    module.display.display = display
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", kernel)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    run = create_run(tmp_path, "e", 0, config(), tmp_path, "")
    follow(NotebookProgress(), run)
    assert len(shown) == 1 and "starting" in repr(shown[0])
    during, last = replaced[1], replaced[-1]
    assert "iteration 1 of 2: sampling" in repr(during) and during._repr_html_().count("<tr>") == 2
    assert last._repr_html_().count("<tr>") == 3 and "2 iterations, " in repr(last)
    assert "6.00" in repr(last).splitlines()[-1]  # the score without noise
    run.write(record(0), state(0))
    follow(NotebookProgress(), run, first=1)  # a resumed run shows its first iterations as well
    assert replaced[-1]._repr_html_().count("<tr>") == 3


def test_progress_outside_a_notebook_is_that_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "ipykernel.zmqshell", raising=False)
    follow(NotebookProgress(), create_run(tmp_path, "e", 0, config(), tmp_path, ""))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("e: 2 conditions") and any(line.split()[:2] == ["1", "0"] for line in lines)
