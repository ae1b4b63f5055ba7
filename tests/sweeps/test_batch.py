"""Sweeps: what is run, skipped, resumed and retried; with made-up workers, and with real processes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.experiments import SLIDER, SLIDER_MJCF, digest, toml, write_slider
from helpers.processes import gps_command, python, wait_until
from helpers.records import config, evaluation, record, state
from helpers.sweeps import Killer

import gps
from gps import cli
from gps.errors import ConfigError, RunError, SweepError
from gps.runs import Run, find_runs, load_run
from gps.runs.control import Stopped
from gps.runs.creating import create_run
from gps.sweeps import Sweep, batch, worker
from gps.sweeps.console import SweepProgress
from gps.sweeps.pools import Pool, open_pool

ROOT = Path(__file__).parents[2]


@pytest.fixture
def slider(slider, monkeypatch) -> Path:
    """The experiment of the slider, which is found from the working directory: dx = 2, du = 1, T = 12, 6 iterations."""
    monkeypatch.chdir(slider.parent)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return slider


# -- made-up workers -------------------------------------------------------------------------------------------------


class Dead(Exception):
    """Stands for what joblib raises when a worker has died."""


@pytest.fixture
def workers(monkeypatch):
    """Workers that run nothing: `fate(task, attempt)` says how it goes: finished, failed, or dead.

    As with joblib's processes, one death takes all that is at work with it.
    """
    workers = type("Workers", (), {"fate": lambda self, task, attempt: "finished", "calls": [], "jobs": 3})()

    def call(function, tasks, at_once):
        assert function is worker.work
        workers.calls.append(([task.entry.name for task in tasks], at_once))
        for k in range(0, len(tasks), at_once):
            fates = []
            for task in tasks[k : k + at_once]:
                sweep = Sweep(task.folder)
                if (deaths := sweep.count_deaths(task.entry, task.turn)) > task.retries:
                    sweep.add_event(task.entry, task.turn, "failed", f"died {deaths} times", mendable=False)
                    continue
                attempt = sweep.count_begins(task.entry, task.turn)
                sweep.add_event(task.entry, task.turn, "begin")
                fates.append((task, workers.fate(task, attempt)))
            if any(fate == "dead" for _, fate in fates):
                raise Dead
            for task, fate in fates:
                Sweep(task.folder).add_event(task.entry, task.turn, fate)

    @contextmanager
    def made(backend, jobs, address):
        yield Pool(workers.jobs, 1, None)

    monkeypatch.setattr(batch, "open_pool", made)
    monkeypatch.setattr(Pool, "call", lambda self, *arguments: call(*arguments))
    return workers


def test_only_the_one_to_blame_is_given_up(slider, workers):
    """A run that kills every worker, among others that are at work with it."""
    workers.fate = lambda task, attempt: "dead" if task.entry.seed == 3 else "finished"
    made = gps.sweep(slider, seeds="0-8")
    (bad,) = [run for run in made.runs if run.state == "failed"]
    assert (bad.seed, bad.message, bad.mendable) == (3, "died 3 times", False)
    for entry in made.entries:
        assert made.read_journal(entry)[-1].event == ("failed" if entry.seed == 3 else "finished")
        assert len([event for event in made.read_journal(entry) if event.event == "begin"]) <= 3
    assert any(at_once == 1 for _, at_once in workers.calls)


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_whatever_dies_every_run_ends_and_none_is_begun_too_often(slider, workers, retries):
    rng = random.Random(retries)
    workers.fate = lambda task, attempt: "dead" if rng.random() < 0.3 else "finished"
    made = gps.sweep(slider, seeds="0-9", retries=retries)
    for entry in made.entries:
        events = [event.event for event in made.read_journal(entry)]
        assert events[-1] in ("finished", "failed")
        assert events.count("begin") <= retries + 1


def test_workers_that_cannot_begin_are_no_endless_loop(slider, workers, monkeypatch):
    def broken(*_):
        raise ModuleNotFoundError("No module named 'gps'")

    monkeypatch.setattr(Pool, "call", broken)
    with pytest.raises(
        SweepError, match=r"could not begin a run: ModuleNotFoundError: No module named 'gps'; they need"
    ):
        gps.sweep(slider)


def test_ctrl_c_calls_the_workers_back(slider, workers):
    seen = []

    def fate(task, attempt):
        seen.append(task)
        raise KeyboardInterrupt

    workers.fate = fate
    with pytest.raises(KeyboardInterrupt):
        gps.sweep(slider)
    with pytest.raises(worker._CalledBackError):
        worker.make_watch(seen[0]).on_stage(0, "sample")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"experiment": "slidr"}, "no such experiment; did you mean 'slider'"),
        ({"seeds": "x"}, "--seeds x"),
        ({"seeds": []}, "0 seeds: expected 1 to"),
        ({"seeds": 2**40}, "seed: expected an integer"),
        ({"overrides": ["algorithm.kl_stp=1,2"]}, "kl_stp.*did you mean 'kl_step'"),
        ({"settings": {"algorithm.kl_step": [1, -1]}}, "kl_step: expected a number >= 1e-09 and <= 1e[+]06, got -1"),
        ({"overrides": ["algorithm.iterations=1,2"], "iterations": 3}, "contradict each other"),
        ({"name": "../x"}, "--name ../x"),
        ({"backend": "dusk"}, "expected local, dask, ray; did you mean 'dask'"),
        ({"address": "h:1"}, "--address: needs --backend dask or ray"),
        ({"backend": "dask", "address": "h"}, "--address h: expected HOST:PORT of the Dask scheduler"),
        ({"backend": "dask", "address": "127.0.0.1:9"}, "no Dask scheduler answers there"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_run(slider, arguments, message):
    if arguments.get("backend") == "dask":
        pytest.importorskip("distributed")
    with pytest.raises((ConfigError, SweepError), match=message):
        gps.sweep(**({"experiment": slider} | arguments))
    assert find_runs("runs") == []


def test_a_missing_extra_is_named(slider, monkeypatch):
    for module, extra in (("distributed", "dask"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(SweepError, match=rf'not installed; pip install "guided-policy-search\[{extra}\]"'):
            gps.sweep(slider, backend=extra)


def test_a_sweep_keeps_its_folder_while_the_experiment_is_the_same(slider, workers):
    path = gps.sweep(slider, settings={"algorithm.kl_step": [1, 2]}).path
    assert path.parent == Path("runs/slider")
    assert gps.sweep(slider, overrides=["algorithm.kl_step=2,3"], seeds="0-3").path == path
    assert len(Sweep(path).entries) == 3 + 2 * 3  # three values with seed 0, two of them with the others
    file, model = slider / "experiment.toml", slider / "slider.xml"
    others = {path, gps.sweep(slider).path, gps.sweep(slider, iterations=2).path,
              gps.sweep(slider, overrides=["algorithm.kl_step=2"]).path}  # fmt: skip
    model.write_text(SLIDER_MJCF.replace("0.1", "0.2"))
    others.add(gps.sweep(slider).path)
    file.write_text("seed = 5\n# a comment\n" + toml(SLIDER))
    assert gps.sweep(slider, seeds=0).path in others
    file.write_text(toml(SLIDER, algorithm={"samples": 5}))
    others.add(gps.sweep(slider).path)
    (slider / "task.py").write_text("")
    others.add(gps.sweep(slider).path)
    assert len(others) == 7
    assert gps.sweep(slider, name="mine").path.name == "mine"
    (slider / "task.py").unlink()
    with pytest.raises(SweepError, match="choose another --name"):
        gps.sweep(slider, name="mine")


def test_the_live_display(slider, workers, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    pictures = []

    def fate(task, attempt):
        time.sleep(0.3)  # the watcher looks
        from rich.console import Console

        console = Console(width=100)
        with console.capture() as captured:
            console.print(progress._draw())
        pictures.append(captured.get())
        return "finished"

    workers.fate, workers.jobs = fate, 1
    with SweepProgress() as progress:
        assert progress._draw() == "starting"
        gps.sweep(slider, seeds="0-1", watch=progress)
    assert "0 of 2 runs" in pictures[0]
    assert "seed 0" in pictures[0]
    assert "iteration 0 of 6" in pictures[0]
    assert "seed 0" not in pictures[-1].splitlines()[1]
    assert "runs/slider/sweep-" in capsys.readouterr().out


# -- a worker, in this process ---------------------------------------------------------------------------------------


def task_of(slider: Path, made: Sweep, turn: str, **changes) -> worker.WorkItem:
    plan = {"experiment": str(slider), "folder": str(made.path.resolve()), "entry": made.entries[0], "overrides": (),
            "turn": turn, "iterations": None, "retries": 2, "threads": 1}  # fmt: skip
    return worker.WorkItem(**(plan | changes))


def test_a_worker(slider, workers, monkeypatch):
    made = gps.sweep(slider)
    (entry,) = made.entries
    handler = signal.getsignal(signal.SIGINT)
    threads = []
    monkeypatch.delenv("GPS_THREADS", raising=False)
    monkeypatch.setattr("gps.experiment.run", lambda *_, **__: threads.append(os.environ["GPS_THREADS"]))
    try:
        with made.take_turn() as turn:
            worker.work(task_of(slider, made, turn, threads=3))
            assert made.find_ending(entry, turn).event == "finished"
            assert threads == ["3"]
            assert "GPS_THREADS" not in os.environ
            for error, message, mendable in [
                (RunError("the disk is full"), "the disk is full", True),
                (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError: by zero", False),
                (SystemExit(3), "unexpected SystemExit: 3", False),
                (Stopped(), "stopped on request; run the same sweep again to continue it", True),
            ]:

                def fails(*_, error=error, **__):
                    raise error

                monkeypatch.setattr("gps.experiment.run", fails)
                worker.work(task_of(slider, made, turn))
                ending = made.find_ending(entry, turn)
                assert (ending.message, ending.mendable) == (message, mendable)
                assert ending.event == ("stopped" if isinstance(error, Stopped) else "failed")
            (slider / "slider.xml").write_text("")
            worker.work(task_of(slider, made, turn))
            assert "changed since the sweep began; start the sweep again" in made.find_ending(entry, turn).message
            with pytest.raises(SweepError, match="does not see /nowhere: put the experiment and --out where all"):
                worker.work(task_of(slider, made, turn, experiment="/nowhere"))
            with worker._ONE_RUN:  # another run in this process
                waiting = threading.Thread(target=worker.work, args=[task_of(slider, made, turn)])
                waiting.start()
                assert made.count_begins(entry, turn) == 6
                made.path.joinpath("sweep.lock").write_text("another turn")
                waiting.join(10)
            assert made.find_ending(entry, turn).event == "stopped"
    finally:
        signal.signal(signal.SIGINT, handler)


# -- real processes --------------------------------------------------------------------------------------------------


def alone(slider: Path, run, **options):
    """The same run by `gps.run`."""
    overrides = [f"{key}={value}" for key, value in run.settings.items()]
    return gps.run(slider, seed=run.seed, overrides=overrides, out="alone", **options)


def test_processes(slider, capsys):
    """A good setting and one that fails; a worker is killed; the same bits as alone; a second time nothing is done."""
    task = (
        "import gps.environments.mujoco as m\n"
        "class Slow(m.MujocoEnv):\n"
        "    def __init__(self, num_envs, broken=False, **options):\n"
        f"        super().__init__(num_envs, mjcf={str(slider / 'slider.xml')!r}, state=['qpos', 'qvel'], **options)\n"
        "        self.broken = broken\n"
        "    def step(self, actions):\n"
        "        if self.broken: raise OSError('the cable came off')\n"
        "        import time; time.sleep(0.003)\n"
        "        return super().step(actions)\n"
    )
    write_slider(slider, task, environment={"mjcf": None, "id": "task:Slow"})
    settings, killer = {"environment.options.broken": [False, True]}, Killer(0)
    made = gps.sweep(slider, seeds="0-1", settings=settings, jobs=2, watch=killer)
    good, bad = made.runs[:2], made.runs[2:]
    assert [run.state for run in good] == ["finished"] * 2
    assert [run.state for run in bad] == ["failed"] * 2
    assert all("step raised at step 0: OSError: the cable came off" in run.message and run.mendable for run in bad)
    assert killer.killed.keys() == {0}
    assert made.count_deaths(made.entries[0], made.read_journal(made.entries[0])[0].turn) == 1
    for run in good:
        assert digest(load_run(run.path)) == digest(alone(slider, run.__class__(**vars(run) | {"settings": {}})))
        assert (run.iterations, run.planned, run.conditions) == (6, 6, 2)
    assert {path.parent.parent for path in find_runs("runs")} == {made.path}
    assert set(find_runs("runs")) == set(find_runs(made.path)) == {run.path for run in made.runs}

    # As a kill might leave it: half of one run, nothing but a leftover of another.
    before = [digest(load_run(run.path)) for run in good]
    with Run.open(good[0].path) as half:
        half.discard_from(3)
    shutil.rmtree(good[1].path)
    (good[1].path.parent / ".new-1-ab").mkdir()
    capsys.readouterr()
    command = ["sweep", "slider", "--seeds", "0-1", "--set", "environment.options.broken=false,true", "--jobs", "2"]
    assert cli.main(command) == 2
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{made.path}: 4 runs, 1 to be resumed; 2 at a time"
    assert out[-1] == f"gps compare {made.path}"
    assert sum("6/6         " in line and " finished " in line for line in out) == 2
    assert any(line.startswith("broken=true seed 0: the environment's step raised at step 0: OSError") for line in out)
    assert not (good[1].path.parent / ".new-1-ab").exists()
    assert made.runs[0].path == good[0].path
    assert [digest(load_run(run.path)) for run in made.runs[:2]] == before
    assert cli.main(["list", str(made.path)]) == 0
    assert capsys.readouterr().out.count("finished") == 2


def test_what_is_finished_is_skipped(slider, capsys, workers):
    made = gps.sweep(slider, seeds="0-1")
    for entry in made.entries:
        run = create_run(Path("runs"), "slider", entry.seed, config(), slider, "", group=made.path.name)
        for k in range(6):
            run.write(record(k), state(k))
        run.write_evaluation(evaluation())
    assert made.finished
    assert cli.main(["sweep", "slider", "--seeds", "0-1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{made.path}: 2 runs, 2 finished before; 0 at a time"
    assert out[2].split() == ["seed", "iterations", "final", "cost", "solved", "state", "run"]
    assert out[3].split()[:5] == ["0", "6/6", "6.00", "1/2", "finished"]
    assert cli.main(["sweep", "slider", "--seeds", "0-1", "--quiet"]) == 0
    assert capsys.readouterr().out == f"{made.path}\n"


def test_ctrl_c_at_the_terminal_leaves_what_the_next_sweep_finishes(slider):
    arguments = ["sweep", "slider", "--seeds", "0,1", "--jobs", "2", "--iterations", "30"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with gps_command(*arguments, start_new_session=True, **pipes) as process:
        wait_until(lambda: list(Path("runs").glob("slider/sweep-*/*-seed*/iterations/000")))
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == (
        "gps: interrupted; 0 of 2 runs are finished; to continue: gps sweep slider --seeds 0,1 --jobs 2 --iterations 30"
    )
    assert "2 runs; 2 at a time" in out
    (path,) = Path("runs/slider").glob("sweep-*")
    made = Sweep(path)
    for run, entry in zip(made.runs, made.entries, strict=True):
        assert run.state in ("stopped", "not begun")
        for event in made.read_journal(entry):
            with pytest.raises(ProcessLookupError):
                os.kill(event.pid, 0)
        if run.path is not None:
            assert not load_run(run.path).active
            load_run(run.path).verify(before=run.iterations)


# -- clusters --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dask(slider):
    """A scheduler and two workers on 127.0.0.1, one of which is killed in the middle."""
    pytest.importorskip("distributed")
    port = _free_port()
    host = ("--host", "127.0.0.1", "--no-dashboard")
    workers = ("--nthreads", "1", "--nworkers", "2")
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "seconds": 600}
    with (
        python("-m", "dask", "scheduler", "--port", port, *host, **quiet),
        python("-m", "dask", "worker", f"127.0.0.1:{port}", *workers, *host, **quiet),
    ):
        wait_until(lambda: _answers(port))
        killer = Killer(1)
        made = gps.sweep(slider, seeds="0-2", iterations=20, backend="dask", address=f"127.0.0.1:{port}", watch=killer)
        assert killer.killed.keys() == {1}
        assert made.finished
        entry = made.entries[1]
        assert made.count_begins(entry, made.read_journal(entry)[0].turn) == 2
        assert len({event.pid for event in made.read_journal(entry)} - {os.getpid()}) == 2
        run = made.runs[1]
        assert digest(load_run(run.path)) == digest(alone(slider, run, iterations=20))


def test_dask_workers_with_several_threads_are_refused(slider):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, host="127.0.0.1", dashboard_address=None, protocol="tcp://"
    ) as cluster:
        address = cluster.scheduler_address
        expected = "a worker has 2 threads, but a process can do only one run; .* --nworkers 2 --nthreads 1"
        with pytest.raises(SweepError, match=expected):
            gps.sweep(slider, backend="dask", address=address)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_local_cluster(slider, backend):
    """One that the sweep starts and ends itself, with a worker killed."""
    pytest.importorskip("distributed" if backend == "dask" else backend)
    done = subprocess.run(
        [sys.executable, "-c", LOCAL, backend], cwd=slider.parent, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == {"killed": [0], "states": ["finished"] * 3}
    made = Sweep(next(Path("runs/slider").glob("sweep-*")))
    assert digest(load_run(made.runs[0].path)) == digest(alone(slider, made.runs[0], iterations=20))


LOCAL = """
import json, sys
import gps
from helpers.sweeps import Killer
if __name__ == "__main__":
    killer = Killer(0)
    made = gps.sweep("slider", seeds="0-2", iterations=20, jobs=2, backend=sys.argv[1], watch=killer)
    print(json.dumps({"killed": list(killer.killed), "states": [run.state for run in made.runs]}))
"""


def test_pools_end_with_the_block(slider):
    with open_pool("local", 1, None) as made:
        made.call(_note_pid, [str(slider / "a"), str(slider / "b")], 1)
    pids = {int((slider / name).read_text()) for name in "ab"}
    assert os.getpid() not in pids, "even one job has a process of its own"


def _note_pid(path: str) -> None:
    Path(path).write_text(str(os.getpid()))


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
