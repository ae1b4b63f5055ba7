"""The `gps` command with a made-up experiment behind it: what is printed, where, and the exit codes."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from helpers.records import EXPERIMENT, config, evaluation, record, state, untold, with_policy

import gps
from gps import cli
from gps.commands import _learning
from gps.errors import CostFault, PolicyError
from gps.inspect import tables
from gps.inspect.console import Progress
from gps.inspect.formatting import format_number, sparkline
from gps.metrics import EvaluationRow, Row, format_csv, make_evaluation_rows, make_rows, parse_csv
from gps.players import Player
from gps.runs import Run
from gps.runs.control import Stopped
from gps.runs.creating import create_run
from gps.status import Status
from gps.storage.folders import write_sums

ROOT = Path(__file__).parents[1]


def make_run(folder: Path, iterations: int = 3, **kwargs) -> Run:
    (folder / "e").mkdir(exist_ok=True)
    run = create_run(folder / "runs", "e", 1, config("description=A point."), folder / "e", "gps run e")
    for k in range(iterations):
        run.write(record(k, **kwargs), state(k))
    return run


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    """Stands in for `gps.experiment`: two iterations and an evaluation; `trouble` is raised after the first."""
    fake = types.ModuleType("gps.experiment")
    fake.calls = []
    fake.trouble = None

    def run(path, *, seed, iterations, overrides, out, callbacks, command, confirm):
        fake.calls.append((path, seed, iterations, overrides, out, command))
        run = make_run(tmp_path, iterations=0)
        assert confirm == callbacks[0].confirm
        for callback in callbacks:
            callback.on_start(run, run.config, 2)
        for k in range(2):
            for stage, callback in itertools.product(("sample", "fit", "improve"), callbacks):
                callback.on_stage(k, stage)
            made = record(k, status=Status.SEARCH_EXHAUSTED if k else Status.OK)
            run.write(made, state(k))
            for callback in callbacks:
                callback.on_iteration(made)
            if fake.trouble:
                raise fake.trouble
        for callback in callbacks:
            callback.on_evaluation(evaluation())
            callback.on_end(run)
        return run

    def resume(path, *, start, iterations, on_trouble, callbacks, confirm):
        fake.calls.append((path, start, iterations, on_trouble))
        return run("", seed=0, iterations=0, overrides=[], out=None, callbacks=callbacks, command="", confirm=confirm)

    fake.run, fake.resume = run, resume
    monkeypatch.setitem(sys.modules, "gps.experiment", fake)
    monkeypatch.setattr(gps, "experiment", fake, raising=False)
    return fake


# -- run and resume --------------------------------------------------------------------------------------------------


def test_run(experiment, capsys):
    assert (
        cli.main(["run", "e", "--seed", "3", "--iterations", "2", "--set", "a.b=1", "--set", "c=x y", "--out", "o"])
        == 0
    )
    command = "gps run e --seed 3 --iterations 2 --set a.b=1 --set 'c=x y' --out o"
    assert experiment.calls == [("e", 3, 2, ["a.b=1", "c=x y"], "o", command)]
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "A point."
    assert lines[1] == "e: 2 conditions, 3 samples of each, 2 iterations, seed 1"
    assert lines[2] == tables.format_header(tables.COLUMNS)
    assert lines[3] == tables.format_row(make_rows(record(0))[0], tables.COLUMNS)
    assert lines[7].strip() == f"condition 1: {Status.SEARCH_EXHAUSTED.sentence}"
    assert lines[7].startswith("  ")
    assert lines[8] == "final controllers, without noise:"
    assert lines[9].startswith("  condition 0  cost      6.00  ")
    assert lines[11] == "solved 1/2 conditions; 12 episodes, 72 environment steps"
    stages = ("sampling", "fitting", "improving", "loading, evaluating and writing")
    assert re.fullmatch(r"[\d.]+ s: " + ", ".join(rf"[\d.]+ s {stage}" for stage in stages), lines[12])
    assert Run.open(lines[-1]).seed == 1
    assert len(lines) == 14
    assert err == ""


def test_resume_and_quiet(experiment, capsys):
    assert cli.main(["resume", "r", "--from", "2", "--iterations", "4", "--quiet"]) == 0
    assert experiment.calls[0] == ("r", 2, 4, None)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_ctrl_c_says_how_to_go_on(experiment, capsys):
    experiment.trouble = KeyboardInterrupt()
    assert cli.main(["run", "e"]) == 130
    out, err = capsys.readouterr()
    path = out.splitlines()[-1]
    assert err.strip() == f"gps: interrupted; 1 complete iteration on disk; to continue: gps resume {path}"


def test_a_stop_on_request_says_how_to_go_on(experiment, capsys):
    experiment.trouble = Stopped()
    assert cli.main(["run", "e"]) == 130
    out, err = capsys.readouterr()
    path = out.splitlines()[-1]
    assert err.strip() == f"gps: stopped on request; 1 complete iteration on disk; to continue: gps resume {path}"


@pytest.mark.parametrize("terminal", [True, False])
def test_live_serves_the_run_and_on_a_terminal_goes_on_serving(experiment, monkeypatch, capsys, terminal):
    kept = []
    monkeypatch.setattr(_learning, "_keep_serving", lambda url: kept.append(True))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert cli.main(["run", "e", "--live", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("live page: http://127.0.0.1:")
    assert len(out.splitlines()) == 1 and Run.open(out.strip())
    assert kept == [True] * terminal
    experiment.trouble = KeyboardInterrupt()
    assert cli.main(["resume", "r", "--live", "--quiet"]) == 130
    assert kept == [True] * terminal  # who pressed Ctrl-C wants out


def test_an_error_within_a_run(experiment, capsys):
    experiment.trouble = CostFault("condition 1, sample 2, step 3: the cost is NaN\nsecond line")
    assert cli.main(["run", "e"]) == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[:2] == [
        "gps: error: condition 1, sample 2, step 3: the cost is NaN",
        "gps: error: second line",
    ]
    assert "1 complete iteration on disk" in err
    assert Run.open(out.splitlines()[-1])


def test_an_unforeseen_error(experiment, capsys):
    experiment.trouble = ZeroDivisionError("by zero")
    assert cli.main(["run", "e"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("gps: unexpected ZeroDivisionError: by zero\n")
    assert "--traceback" in err
    assert "File" not in err
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", "e", "--traceback"])


def test_nothing_written_yet(experiment, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run", interrupted)
    assert cli.main(["run", "e"]) == 130
    assert capsys.readouterr() == ("", "\ngps: interrupted; nothing was written yet\n")


def test_a_terminal_has_a_status_line_and_the_same_lines(experiment, capsys, monkeypatch):
    cli.main(["run", "e"])
    plain = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["run", "e"]) == 0
    live = capsys.readouterr().out
    assert all(line in live for line in plain[:11])
    assert "\x1b[?25l" in live
    assert "\x1b[?25h" in live


def test_check(tmp_path, capsys):
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    assert cli.main(["check", str(tmp_path), "--set", "algorithm.samples=7"]) == 0
    out = capsys.readouterr().out
    assert "samples = 7" not in out
    assert "2 conditions, T = 6, dx = 4, du = 2" in out
    assert "\nok    one iteration can be made; the first costs are " in out
    assert "rules hold" in out.splitlines()[-1]


def test_check_prints_every_key_when_asked(tmp_path, capsys):
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    assert cli.main(["check", str(tmp_path), "--verbose", "--set", "algorithm.samples=7"]) == 0
    out = capsys.readouterr().out
    findings, settings = out.split("rules hold", 1)
    assert "samples = 7" in settings and "samples = 7" not in findings
    assert "[algorithm.controller.initial]\nname = " in settings  # the default, chosen for this environment
    assert "# environment.keyframe: name of the keyframe" in settings


# -- list and show ---------------------------------------------------------------------------------------------------


def test_list(tmp_path, capsys):
    stopped, finished, damaged = make_run(tmp_path, 2), make_run(tmp_path, 4), make_run(tmp_path, 1)
    older = make_run(tmp_path, 1)
    (older.path / "run.json").write_text('{"format": 1}')
    write_sums(older.path)
    empty = make_run(tmp_path, 0)
    finished.write_evaluation(evaluation())
    (damaged.path / "run.json").write_text("{}")
    with empty:
        assert cli.main(["list", str(tmp_path / "runs")]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["run"].endswith(" state")
    assert len(lines) == 6
    assert lines[str(older.path)].endswith("other format")
    assert " 1     2/4 " in lines[str(stopped.path)]
    assert lines[str(stopped.path)].endswith("stopped")
    assert "1/2 conditions" in lines[str(finished.path)]
    assert lines[str(finished.path)].endswith("finished")
    assert lines[str(damaged.path)].endswith("damaged")
    assert lines[str(empty.path)].endswith("running")
    assert cli.main(["list", str(tmp_path / "e")]) == 0
    assert capsys.readouterr().err.startswith(f"no runs in {tmp_path / 'e'}; gps list --experiments ")


def test_show_a_run(tmp_path, capsys):
    run = make_run(tmp_path)
    run.write_evaluation(evaluation())
    assert cli.main(["show", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(run.path), "A point."]
    assert re.fullmatch(r"seed 1, 3 of 4 iterations, started \d{4}-\d\d-\d\d \d\d:\d\d UTC", lines[2])
    assert lines[3] == tables.format_header(tables.COLUMNS)
    assert lines[4:10] == [tables.format_row(row, tables.COLUMNS) for k in range(3) for row in make_rows(record(k))]
    assert len(lines) == 13
    assert cli.main(["show", str(tmp_path / "runs"), "--condition", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["iteration"] for row in shown["metrics"]] == [0, 1, 2]
    assert shown["seed"] == 1
    assert shown["metrics"][0]["predicted"] is None
    assert len(shown["evaluation"]) == 1


def test_show_a_damaged_run(tmp_path, capsys):
    run = make_run(tmp_path)
    (run.path / "iterations/002/local.npz").unlink()
    assert cli.main(["show", str(run.path)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4 + 2 * 2
    assert "local.npz: missing; the last whole iteration is 1" in err


def test_show_an_iteration(tmp_path, capsys):
    run = make_run(tmp_path, per_step=True, status=Status.NO_FEASIBLE_ETA, message="Quu is indefinite at t = 3.")
    assert cli.main(["show", str(run.path), "--iteration", "-1"]) == 0
    out = capsys.readouterr().out
    assert "iteration 2, condition 0: ok" in out
    assert "iteration 2, condition 1: no η" in out
    assert "Quu is indefinite at t = 3." in out
    assert "spectral radius" in out
    assert "KL per step" in out
    assert cli.main(["show", str(run.path), "--iteration", "1", "--condition", "1", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["conditions"]
    np.testing.assert_array_equal(
        shown["controller"]["feedback"], record(1, per_step=True).local.controllers[1].feedback
    )
    assert len(shown["kl_per_step"]) == 6
    assert len(shown["search"]) == 3
    assert len(shown["eta_per_step"]) == 6
    for arguments, message in [
        (["--iteration", "3"], "there is no iteration 3; it has 0 to 2"),
        (["--iteration", "1", "--condition", "2"], "there is no condition 2; the run has 0 to 1"),
        (["--condition", "-1"], "there is no condition -1"),
    ]:
        assert cli.main(["show", str(run.path), *arguments]) == 2
        assert message in capsys.readouterr().err


def test_an_iteration_that_is_not_finite_can_be_shown(tmp_path, capsys):
    run = make_run(tmp_path, 0)
    made = record(0, status=Status.NOT_FINITE)
    nan = dataclasses.replace(made.local.search, kl=np.full((2, 6), np.nan), evaluations=np.zeros(2, int))
    dynamics = dataclasses.replace(made.local.dynamics, matrix=np.full_like(made.local.dynamics.matrix, np.nan))
    local = dataclasses.replace(made.local, search=nan, dynamics=dynamics)
    run.write(dataclasses.replace(made, local=local), state(0))
    for extra in ([], ["--json"], ["--iteration", "0"], ["--iteration", "0", "--json"]):
        assert cli.main(["show", str(run.path), *extra]) == 0
    assert "NaN" not in capsys.readouterr().out


# -- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1.00"), (-41.523, "-41.52"), (99.996, "100.0"), (999.96, "1000"), (99999, "99999"),
     (123456, "1.2e5"), (0.0123, "0.012"), (0.00123, "1.2e-3"), (-1.26e-12, "-1.3e-12"), (float("nan"), "–"),
     (float("inf"), "inf"), (0.9996, "1.00")],
)  # fmt: skip
def test_number(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_lines_fit_and_align(width):
    row = make_rows(record(0))[0]
    wide = dataclasses.replace(
        row, iteration=9999, condition=9999, cost=-123456.0, kl=99999.0, kl_bound=99999.0, eta=1.2e-12, predicted=-1e4,
        actual=-1.3e-5, multiplier=10.0, environment_steps=123456789, status="NOT_FINITE",
    )  # fmt: skip
    columns = tables.choose_columns([row], width)
    assert len(tables.format_row(wide, columns)) <= width
    assert len(tables.format_header(columns)) <= width
    assert {"iter", "cond", "cost", "success"} <= {column.name for column in columns}
    column = tables.format_header(columns).index("status")
    for status in Status:
        text = tables.format_row(dataclasses.replace(row, status=status.name), columns)
        assert text[column - 1] == " "
        assert text[column] != " "
        assert len(text) <= width
        assert (tables.describe_trouble(dataclasses.replace(row, status=status.name)) is None) == status.ok


def test_csv_keeps_every_bit():
    rows = make_rows(record(1, message='a "quoted", text\r\nwith\nlines; η'))
    assert parse_csv(format_csv(rows, Row), Row) == rows
    with pytest.raises(ValueError, match="columns"):
        parse_csv("a,b\n", Row)


def test_csv_of_an_environment_that_does_not_tell_of_success_and_of_a_policy():
    made = with_policy(record(1))
    rows = make_rows(dataclasses.replace(made, rollouts=untold(made.rollouts)))
    assert rows[0].successes is None and rows[0].success_count == "–"
    assert rows[1].policy_kl_step == pytest.approx(made.policy.kl[1].mean())
    assert (rows[0].policy_loss_before, rows[0].policy_loss_after) == (3.0, 2.0)
    assert rows[0].policy_deviation == pytest.approx(made.policy.deviation.mean())
    assert parse_csv(format_csv(rows, Row), Row) == rows
    items = make_evaluation_rows(untold_evaluation())
    assert items[0].successes is None and items[0].returns is not None
    assert parse_csv(format_csv(items, EvaluationRow), EvaluationRow) == items


@pytest.mark.parametrize("kind", ["policy alone", "nothing more"])
def test_an_algorithm_without_local_controllers_has_no_columns_for_them(kind):
    made = with_policy(record(1), sampled=False, teacher=Player.EXPERT)
    made = made if kind == "policy alone" else dataclasses.replace(made, policy=None)
    rows = make_rows(made)
    assert [row.player for row in rows] == ["expert", "expert"]
    assert all(
        getattr(rows[0], name) is None for name in ("kl", "kl_bound", "eta", "entropy", "predicted", "multiplier")
    )
    assert (rows[0].policy_kl_step is None) == (kind == "nothing more")
    assert parse_csv(format_csv(rows, Row), Row) == rows
    header, *lines = tables.format_rows(rows)
    assert "KL" not in header and "predicted" not in header
    assert len(lines) == 2 and lines[0].index(" ok") == header.index(" status") and "–" not in lines[0].split()


def untold_evaluation():
    made = evaluation()
    return dataclasses.replace(made, rollouts=untold(made.rollouts))


def test_nothing_is_said_of_success_where_the_environment_does_not_tell(tmp_path, capsys):
    run = create_run(tmp_path / "runs", "e", 0, config(), tmp_path, "")
    made = record(0)
    run.write(dataclasses.replace(made, rollouts=untold(made.rollouts)), state(0))
    assert cli.main(["list", str(tmp_path)]) == 0
    run.write_evaluation(untold_evaluation())
    for arguments in (["list", str(tmp_path)], ["show", str(run.path)]):
        assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "condition 1  cost      6.00" in out
    assert not re.search(r"no success|solved|\b0/\d|\d samples", out)
    assert cli.main(["show", str(run.path), "--iteration", "0"]) == 0
    assert "no success flag in this environment" in capsys.readouterr().out


def test_a_policy_in_detail(tmp_path, capsys):
    run = create_run(tmp_path / "runs", "e", 0, config(), tmp_path, "")
    made = with_policy(record(0), sampled=False, message="The training loss exploded.")
    run.write(made, state(0))
    assert cli.main(["show", str(run.path), "--iteration", "0", "--condition", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{format_number(made.policy.kl[1].mean())} nats a step after training" in out
    assert "the local controllers'" in out and "The training loss exploded." in out
    assert "the global policy: diverged" in out
    assert "status      The training loss exploded or was not finite; the last good policy was kept." in out
    assert cli.main(["show", str(run.path), "--iteration", "0", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["conditions"][1]["policy"]
    assert shown["kl_per_step"] == pytest.approx(made.policy.kl[1])
    assert shown["linearised"]["feedforward"] == pytest.approx(made.policy.linearised.feedforward[1])
    assert shown["player"] == "local" and shown["status"] == "DIVERGED"


def test_sparkline():
    assert sparkline([0, 1, 7]) == "▁▂█"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([np.nan, 1.0]) == "·█"
    assert len(sparkline(np.arange(1000))) == 60
    assert sparkline([-7, 0]) == "▁█"


# -- the process -----------------------------------------------------------------------------------------------------


def python(*arguments, **kwargs):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, **kwargs
    )


def test_help_loads_nothing_heavy():
    code = """
import sys
from gps import cli
try:
    cli.main(["--help"])
except SystemExit as exit:
    assert exit.code == 0
heavy = {"numpy", "jax", "pydantic", "rich", "mujoco", "gymnasium", "scipy", "equinox"} & sys.modules.keys()
assert not heavy, heavy
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "resume" in done.stdout and "To begin: gps run pendulum_swingup" in done.stdout


def test_list_does_not_load_jax(tmp_path):
    make_run(tmp_path)
    code = "import sys; from gps import cli; cli.main(['list', sys.argv[1]]); assert 'jax' not in sys.modules"
    done = python("-c", code, str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    assert "stopped" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "required: DIR"),
        (["run", "e", "--seed", "-1"], "expected an integer >= 0, got '-1'"),
        (["run", "e", "--iterations", "x"], "expected an integer >= 1, got 'x'"),
        (["rum"], "invalid choice: 'rum'"),
        (["resume", "r", "--from", "-1"], "expected an integer >= 0"),
        (
            ["ladder", "r", "-o", "fig.pdf"],
            "expected a file that ends in .html (a browser prints it as PDF), got 'fig.pdf'",
        ),
        (["report", "r", "-o", "page"], "expected a file that ends in .html"),
    ],
)
def test_wrong_arguments_exit_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_bare_command_shows_the_help(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert "usage: gps" in out and "run an experiment" in out.lower()


def test_a_working_directory_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main(["show", "r"]) == 2
    assert capsys.readouterr().err == "gps: error: the working directory was deleted; change to another one\n"


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("gps ")


def test_a_closed_pipe_is_no_fault(tmp_path):
    make_run(tmp_path)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "gps.cli", "list", str(tmp_path / "runs")],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=closed, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_terminal_without_greek_letters(tmp_path):
    make_run(tmp_path, 1)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "gps.cli", "show", str(tmp_path / "runs")]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"KL (bound)" in done.stdout


def test_show_names_a_damaged_first_iteration_also_beside_an_evaluation(tmp_path, capsys):
    run = make_run(tmp_path)
    run.write_evaluation(evaluation())
    shutil.rmtree(run.path / "iterations/000")
    for options in ([], ["--json"], ["--condition", "0"]):
        assert cli.main(["show", str(run.path), *options]) == 2
        error = capsys.readouterr().err
        assert "000: missing; no whole iteration comes before it" in error and error.count("\n") == 1


@pytest.mark.parametrize("as_error", [False, True])
def test_sigterm_says_how_to_go_on(experiment, monkeypatch, capsys, as_error):
    """Also where it comes within a callback of a library that makes an error of it."""
    original, before = experiment.run, signal.getsignal(signal.SIGTERM)

    def ended(*arguments, **options):
        original(*arguments, **options)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            if as_error:
                raise PolicyError("the policy raised") from error
            raise

    monkeypatch.setattr(experiment, "run", ended)
    assert cli.main(["run", "e", "--quiet"]) == 143
    out, err = capsys.readouterr()
    assert err == f"gps: ended by SIGTERM; 2 complete iterations on disk; to continue: gps resume {out.strip()}\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_versions_than_those_of_the_run_are_said_in_one_line(tmp_path, monkeypatch, capsys):
    from gps.runs import provenance

    run = make_run(tmp_path, 1)
    assert provenance.describe_change(run.versions) == ""
    assert {"gps", "python", "numpy", "scipy", "jax", "jaxlib", "mujoco", "gymnasium", "platform"} <= set(run.versions)
    others = run.versions | {"mujoco": "0.1.2", "pydantic": "0.0", "platform": "elsewhere"}
    monkeypatch.setattr(provenance, "list_versions", lambda: others)
    told = f"the run began with mujoco {run.versions['mujoco']}, and this is mujoco 0.1.2: equal seeds give other bits"
    monkeypatch.setattr("gps.evaluation.evaluate", lambda *_: untold)
    with pytest.raises(AttributeError):  # the made-up evaluation has no scores: the line comes before
        cli.main(["evaluate", str(run.path), "--traceback"])
    assert capsys.readouterr().err == f"gps: note: {told}\n"
    with Progress() as progress:
        progress.on_start(run, run.config, 1)
    assert f"note: {told}" in capsys.readouterr().out
