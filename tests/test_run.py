"""Run directories: what is written is read back; what is damaged is named; a kill loses one iteration at most."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.policies import vector_policy
from helpers.records import State, config, controllers, evaluation, record, rollouts, state, with_policy
from helpers.runs import with_mixture

import gps.runs.run
import gps.storage.folders
from gps.errors import FormatError, RunError
from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.records import OptimisationRecord, PlannerRecord
from gps.runs import Run, control, find_runs, load_run
from gps.runs.creating import create_run
from gps.runs.layout import FORMAT, SIDES
from gps.status import Status

CORE = ["SHA256SUMS", "metrics.csv", "record.npz", "rollouts.npz", "state.npz", "timing.npz"]
ITERATION_FILES = sorted([*CORE, "local.npz", "policy.npz"])
"""The files of `run`, whose algorithm has local controllers and nothing more."""


def create(folder: Path, seed: int = 0, **kwargs) -> Run:
    source = folder / "pointmass"
    source.mkdir(exist_ok=True)
    (source / "task.py").write_text("def cost(x, u, t): return 0.0\n")
    return create_run(folder / "runs", "pointmass", seed, config(), source, "gps run pointmass", **kwargs)


@pytest.fixture
def run(tmp_path) -> Run:
    """Three iterations of four."""
    run = create(tmp_path)
    with run:
        for k in range(3):
            write(run, k)
    return run


def write(run: Run, k: int) -> None:
    """Iteration k of `run`."""
    run.write(record(k), state(k), learned(k))


def learned(k: int) -> Controller:
    """What iteration k of `run` learned."""
    return record(k).local.improved


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what is there ---------------------------------------------------------------------------------------------------


def test_layout(run):
    assert run.path.parent.name == "pointmass"
    assert run.path.name.endswith("Z-seed0")
    names = {path.name for path in run.path.iterdir()}
    assert names == {"run.json", "experiment.toml", "command.txt", "versions.json", "source", "SHA256SUMS",
                     "metrics.csv", "iterations", "run.lock"}  # fmt: skip
    assert sorted(path.name for path in (run.path / "iterations").iterdir()) == ["000", "001", "002"]
    assert sorted(path.name for path in (run.path / "iterations/001").iterdir()) == ITERATION_FILES
    assert (run.path / "command.txt").read_text() == "gps run pointmass\n"
    assert {"gps", "python", "numpy", "jax", "mujoco"} <= json.loads((run.path / "versions.json").read_text()).keys()


KINDS = {
    "local": (lambda: record(0), {"local"}),
    "global model": (lambda: with_mixture(record(0)), {"local", "model"}),
    "guided": (lambda: with_policy(with_mixture(record(0))), {"local", "policy", "model"}),
    "distilled": (lambda: with_policy(record(0), teacher=Player.EXPERT), {"policy"}),
    "nothing more": (lambda: dataclasses.replace(record(0), local=None), set()),
}
"""The records of some algorithms, and the sides that they have."""


@pytest.mark.parametrize("policy", [vector_policy(), controllers(np.random.default_rng(0)), None])
@pytest.mark.parametrize(("make", "sides"), KINDS.values(), ids=KINDS)
def test_an_iteration_has_the_files_of_its_sides_and_of_what_it_learned(tmp_path, make, sides, policy):
    run, made = create(tmp_path), make()
    run.write(made, state(0), policy)
    found = {path.name for path in (run.path / "iterations/000").iterdir()}
    assert found == {*CORE, *(SIDES[side] for side in sides), *(["policy.npz"] if policy is not None else [])}
    again = load_run(run.path)
    (read,) = again.iterations
    assert_same_bits(read, made)
    assert {side for side in SIDES if getattr(read, side) is not None} == sides
    assert_same_bits(again.policy(0), policy)
    assert type(again.policy(0)) is type(policy)
    assert_same_bits(again.policy_record(0), made.policy)
    again.verify()


def test_a_policy_that_cannot_be_evaluated_is_named(tmp_path):
    run, policy = create(tmp_path), vector_policy()
    run.write(record(0), state(0), dataclasses.replace(policy, covariance=np.full_like(policy.covariance, np.nan)))
    with pytest.raises(RunError, match="the policy after iteration 0 cannot be used: its numbers are not all finite"):
        run.policy(0)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_the_checksums_are_those_of_sha256sum(run):
    for folder in (run.path, run.path / "iterations/002"):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_everything_is_read_back(run):
    again = load_run(run.path)
    assert again.config == run.config
    assert again.seed == 0
    assert again.name == "pointmass"
    assert len(again.iterations) == 3
    assert " 3 of " in repr(again)
    for k, found in enumerate(again.iterations):
        assert_same_bits(found, record(k))
        assert_same_bits(again.state(k, State), state(k))
        assert_same_bits(again.policy(k), learned(k))
        assert_same_bits(again.rollouts(k), (record(k).rollouts, record(k).costs))
        assert again.policy_record(k) is None
    assert_same_bits(again.iterations[-1], record(2))
    assert [found.iteration for found in again.iterations[1:]] == [1, 2]
    assert again.iterations[2].messages == ("", "")
    assert again.last_whole() == 2
    again.verify()
    with pytest.raises(IndexError, match="3"):
        again.iterations[3]
    with pytest.raises(RunError, match="no iteration 3; it has 0 to 2"):
        again.state(3, State)


def test_metrics(run):
    lines = (run.path / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 2
    assert lines[0].startswith("iteration,condition,player,cost,")
    assert [(row.iteration, row.condition) for row in run.metrics] == [(k, m) for k in range(3) for m in range(2)]
    assert run.metrics[3].cost == record(1).mean_cost[1]  # every bit
    assert run.metrics[0].status == Status.OK.name
    assert np.isnan(run.metrics[0].predicted)


def test_evaluation(run):
    assert run.evaluation() is None
    assert run.evaluation_rows() == []
    for seed in range(2):  # the second takes the place of the first
        made = evaluation(rollouts(np.random.default_rng(seed), N=1), 2.0 + seed)
        run.write_evaluation(made)
        assert_same_bits(run.evaluation(), made)
    rows = run.evaluation_rows()
    assert [row.cost for row in rows] == pytest.approx(made.costs.sum(axis=(1, 2)))
    assert [row.player for row in rows] == ["local", "local"]
    taught = evaluation(None, 1.0, "expert", Player.EXPERT)
    run.write_evaluation(taught)
    assert_same_bits(run.evaluation("expert"), taught)
    assert (run.path / "evaluation_expert").is_dir() and run.evaluation("unseen") is None
    run.verify()


def test_equal_runs_are_equal_byte_for_byte_but_for_the_time(tmp_path):
    contents = []
    for name, seconds in (("a", (1.0, 2.0, 3.0)), ("b", (4.0, 5.0, 6.0))):
        (tmp_path / name).mkdir()
        run = create(tmp_path / name)
        made = record(0, seconds=seconds)
        run.write(made, state(0), made.local.improved)
        contents.append(files(run.path / "iterations/000"))
    differing = {name for name in contents[0] if contents[0][name] != contents[1][name]}
    assert differing == {"timing.npz", "metrics.csv", "SHA256SUMS"}


def test_runs_of_the_same_second_do_not_meet(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: create(tmp_path), range(12)))
    assert len({run.path for run in runs}) == 12
    assert len(find_runs(tmp_path / "runs")) == len(find_runs(tmp_path / "runs/pointmass")) == 12
    for run in runs:
        Run.open(run.path)


def test_the_seed_and_the_paths_are_resolved(tmp_path):
    (tmp_path / "e").mkdir()
    experiment = config("environment={mjcf='arm.xml'}", "algorithm.controller.initial={name='file', path='../old'}")
    run = create_run(tmp_path / "runs", "e", 7, experiment, tmp_path / "e", "")
    again = load_run(run.path).config
    assert again.seed == 7
    assert again.environment.mjcf == str(tmp_path / "e/arm.xml")
    assert again.algorithm.controller.initial.path == str(tmp_path / "old")
    assert not (run.path / "source").exists()


def test_load_run_takes_the_newest(tmp_path):
    first, second = create(tmp_path), create(tmp_path)
    os.utime(first.path / "run.json", ns=(0, 0))
    assert load_run(tmp_path / "runs").path == load_run(tmp_path / "runs/pointmass").path == second.path
    for path, message in [
        (tmp_path / "none", "there is no such run directory"),
        (tmp_path / "pointmass", "neither a run directory nor a folder of runs"),
    ]:
        with pytest.raises(RunError, match=message):
            load_run(path)
    with pytest.raises(RunError, match="not a run directory"):
        Run.open(tmp_path)


def test_iterations_come_in_order(run):
    with pytest.raises(RunError, match="iteration 4 cannot follow 2"):
        run.write(record(4), state(4))
    with pytest.raises(RunError, match="iteration 2 cannot follow 2"):
        run.write(record(2), state(2))


# -- damage ----------------------------------------------------------------------------------------------------------


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
@pytest.mark.parametrize("name", ITERATION_FILES)
def test_a_damaged_iteration_is_named_with_the_last_whole_one(run, name, damage):
    path = run.path / "iterations/002" / name
    damage(path)
    again = load_run(run.path)
    with pytest.raises(RunError) as caught:
        again.verify()
    # A digit of a checksum may have been what was altered: then it is the file it belongs to that does not match.
    assert str(path.parent) in str(caught.value)
    assert name in str(caught.value) or name == "SHA256SUMS"
    assert f"the last whole iteration is 1: `gps resume {run.path} --from 2`" in str(caught.value)
    assert again.last_whole() == 1
    again.verify(before=2)
    assert_same_bits(again.state(1, State), state(1))
    assert_same_bits(again.iterations[1], record(1))
    if name == "state.npz":
        with pytest.raises(RunError, match=r"state\.npz: (missing|does not match its checksum)"):
            again.state(2, State)
    with pytest.raises(RunError, match="002"):
        again.discard_from(3)
    again.discard_from(2)
    write(again, 2)
    again.verify()


@pytest.mark.parametrize("name", ["run.json", "experiment.toml", "command.txt", "versions.json"])
@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_head_is_named(run, name, damage):
    damage(run.path / name)
    with pytest.raises(RunError, match=name):
        load_run(run.path)


@pytest.mark.parametrize("name", ["task.py", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_copy_of_the_experiment_is_named_before_it_is_used(run, name, damage):
    damage(run.path / "source" / name)
    again = load_run(run.path)
    for use in (again.verify, lambda: again.source):
        with pytest.raises(RunError, match=r"/source/(task.py|SHA256SUMS): .*start the experiment anew"):
            use()
    assert len(again.rows(2)) == 2, "what it has learned can still be read"


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("run.json", lambda run: load_run(run.path)),
        ("SHA256SUMS", lambda run: load_run(run.path)),
        ("source/task.py", lambda run: run.source),
        ("iterations/001/metrics.csv", lambda run: run.rows(1)),
        ("iterations/001/SHA256SUMS", lambda run: run.iterations[1]),
        ("iterations/001/local.npz", lambda run: run.iterations[1]),
        ("metrics.csv", lambda run: run.verify()),
        ("run.lock", lambda run: run.__enter__()),
    ],
)
def test_a_pipe_in_place_of_a_file_is_an_error_and_not_waited_for(run, name, use):
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    again = load_run(run.path) if "/" in name or name in ("metrics.csv", "run.lock") else run
    with pytest.raises(RunError, match=rf"{name.rpartition('/')[2]}: .*not a regular file"):
        use(again)


def test_a_pipe_that_looks_like_a_request_is_no_request(run):
    os.mkfifo(run.path / "control.json")
    assert control.read_request(run.path) is None


def test_damage_elsewhere(run):
    run.write_evaluation(evaluation())
    for name, reader in [("evaluation/rollouts.npz", run.evaluation), ("metrics.csv", run.verify)]:
        content = (run.path / name).read_bytes()
        alter(run.path / name)
        with pytest.raises(RunError, match=f"{name}.*all iterations are whole, the last is 2"):
            reader()
        (run.path / name).write_bytes(content)
    shutil.rmtree(run.path / "iterations/000")
    with pytest.raises(RunError, match="000: missing; no whole iteration"):
        run.verify()
    assert run.last_whole() is None


@pytest.mark.parametrize("other", [1, 99])
def test_another_format_is_refused(run, other):
    info = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(info | {"format": other}))
    gps.storage.folders.write_sums(run.path)
    with pytest.raises(RunError) as caught:
        load_run(run.path)
    assert type(caught.value) is FormatError
    assert str(caught.value).startswith(f"{run.path}: written in format {other}, and this gps reads format {FORMAT}; ")


def test_a_forged_pickle_is_not_read(run):
    folder = run.path / "iterations/001"
    np.savez(folder / "state.npz", controllers=np.array([{}], dtype=object))
    (folder / "SHA256SUMS").unlink()
    gps.storage.folders.write_sums(folder)
    with pytest.raises(RunError, match=r"state\.npz: .*pickles are never read"):
        run.state(1, State)


def test_a_state_of_another_kind_is_named(run):
    with pytest.raises(RunError, match=r"state\.npz: 'controllers.*' is not a part of ndarray|is missing"):
        run.state(1, np.ndarray)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
@pytest.mark.parametrize("side", SIDES)
def test_a_damaged_side_is_no_missing_side(tmp_path, side, damage):
    """The checksums say which sides there were."""
    run = create(tmp_path)
    whole = dataclasses.replace(
        with_policy(with_mixture(record(0))),
        planner=PlannerRecord(np.ones(2), np.zeros(2)),
        optimisation=OptimisationRecord(False, True, np.ones(3), np.ones(2)),
    )
    run.write(whole, state(0), learned(0))
    run.write(record(1), state(1))
    damage(run.path / "iterations/000" / SIDES[side])
    with pytest.raises(RunError, match=rf"{SIDES[side]}: (missing|does not match its checksum)"):
        run.iterations[0]
    with pytest.raises(RunError, match=SIDES[side]):
        run.verify()
    assert run.last_whole() is None
    assert run.iterations[1].iteration == 1


def test_a_side_of_another_kind_is_named(run):
    folder = run.path / "iterations/001"
    shutil.copy(folder / "state.npz", folder / "local.npz")
    (folder / "SHA256SUMS").unlink()
    gps.storage.folders.write_sums(folder)
    with pytest.raises(RunError, match=r"local\.npz: '.*' is (missing|not a part of LocalRecord)"):
        run.iterations[1]


# -- going back ------------------------------------------------------------------------------------------------------


def test_discarding(run):
    run.write_evaluation(evaluation())
    before = files(run.path / "iterations/000")
    for leftover in (run.path / ".new-1-aa", run.path / "iterations/.old-002-bb"):
        leftover.mkdir()
        (leftover / "x").touch()
    (run.path / ".mine").touch()
    run.discard_from(1)
    assert [path.name for path in (run.path / "iterations").iterdir()] == ["000"]
    assert files(run.path / "iterations/000") == before
    assert run.evaluation() is None
    assert not (run.path / ".new-1-aa").exists()
    assert (run.path / ".mine").exists()
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 1 + 2
    run.verify()
    with pytest.raises(RunError, match="cannot go on from iteration 2; it has 1, so 0 to 1 are possible"):
        run.discard_from(2)
    run.discard_from(0)
    assert len(run.iterations) == 0
    assert run.metrics == []
    assert run.last_whole() is None


def test_only_one_process_writes(run):
    assert not run.active
    with run:
        assert run.active
        assert load_run(run.path).active
        with pytest.raises(RunError, match="another process is writing this run"):
            load_run(run.path).__enter__()
    assert not load_run(run.path).active


# -- kills -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def fail_at(patch, step, error):
    """Raise at the call to the operating system after `step` others."""
    left = step
    for owner, name in [(os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (Path, "open")]:
        original = getattr(owner, name)

        def failing(*args, original=original, **kwargs):
            nonlocal left
            left -= 1
            if left == -1:
                raise error
            return original(*args, **kwargs)

        patch.setattr(owner, name, failing)


@pytest.mark.parametrize("error", [Killed(), OSError(28, "No space left on device")], ids=["interrupt", "disk full"])
def test_a_failure_at_any_step_leaves_a_whole_run(run, monkeypatch, tmp_path, error):
    for step in range(1000):
        copy = shutil.copytree(run.path, tmp_path / "copy")
        again = Run.open(copy)
        with monkeypatch.context() as patch:
            fail_at(patch, step, error)
            message = None
            try:
                write(again, 3)
            except (Killed, RunError) as caught:
                message = str(caught)
        again = Run.open(copy)
        again.verify()
        assert len(again.iterations) in (3, 4)
        assert not list((copy / "iterations").glob(".*"))
        again.discard_from(3)
        write(again, 3)
        again.verify()
        shutil.rmtree(copy)
        if message is None:
            break
        assert str(error).partition("] ")[2] in message
    assert step > 20


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from helpers.records import evaluation, record, state, with_policy
from helpers.runs import with_mixture
from gps.runs import Run

original, copy = Path(sys.argv[1]), Path(sys.argv[2])
actions = {
    "write": lambda run: run.write(with_policy(with_mixture(record(3))), state(3), record(3).local.improved),
    "discard": lambda run: run.discard_from(1),
    "evaluate": lambda run: run.write_evaluation(evaluation()),
}
record(0)  # everything is imported before the forks
counts = {}
for name, action in actions.items():
    for step in range(1000):
        run = Run.open(shutil.copytree(original, copy))
        child = os.fork()
        if child == 0:
            left = [step]
            def patched(function):
                def call(*args, **kwargs):
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left[0] -= 1
                    return function(*args, **kwargs)
                return call
            for place in ("fsync", "rename", "replace", "mkdir", "open", "unlink", "rmdir"):
                setattr(os, place, patched(getattr(os, place)))
            with run:
                action(run)
            os._exit(0)
        done = os.waitpid(child, 0)[1] == 0
        run = Run.open(copy)
        assert run.last_whole() == len(run.iterations) - 1, (name, step)
        run.verify(before=100)
        with run:
            run.discard_from(min(2, len(run.iterations)))
            assert not [path for path in copy.rglob(".*")], (name, step)
            for k in range(len(run.iterations), 4):
                run.write(record(k), state(k), record(k).local.improved)
        run.verify()
        shutil.rmtree(copy)
        if done:
            break
    counts[name] = step
print(counts)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_any_step_leaves_a_run_that_goes_on(run, tmp_path):
    run.write_evaluation(evaluation())
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(run.path), str(tmp_path / "copy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.replace("'", '"'))
    assert counts["write"] > 20
    assert counts["discard"] > 10
    assert counts["evaluate"] > 8


# -- long runs -------------------------------------------------------------------------------------------------------


def test_an_iteration_is_written_without_reading_the_earlier_ones(run, monkeypatch):
    whole = (run.path / "metrics.csv").read_text()
    read, written = [], []
    for module, name, calls in (
        (gps.runs.run, "_read_text", read),
        (gps.runs.run, "append", written),
        (gps.storage.folders, "hash_file", read),
    ):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, *more, f=original, c=calls: (c.append(path), f(path, *more))[1])
    with run:
        write(run, 3)
    assert written == [run.path / "metrics.csv"]
    assert all(".new-" in str(path) or "003" in path.parts for path in read)
    assert (run.path / "metrics.csv").read_text().startswith(whole)
    run.verify()


def test_metrics_that_a_kill_left_in_part_are_no_damage_and_are_completed(run):
    path = run.path / "metrics.csv"
    whole = path.read_text()
    path.write_text(whole[:-7])
    again = load_run(run.path)
    again.verify()
    with again:
        write(again, 3)
    assert path.read_text().startswith(whole)
    again.verify()
    path.write_text(whole[: len(whole) // 3])
    with pytest.raises(RunError, match=r"metrics\.csv: altered or truncated"):
        load_run(run.path).verify()
