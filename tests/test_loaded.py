"""A run keeps what its experiment loads from elsewhere: it goes on after the originals are gone or have changed."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, digest, write, write_slider

import gps
from gps import cli
from gps.config import load
from gps.config.model import LinearModelConfig
from gps.errors import GpsError, RunError
from gps.evaluation import evaluate
from gps.fitting import fit_model, write_model
from gps.recordings import read_recording
from gps.runs import Run, load_run
from gps.sweeps.worker import compute_fingerprint

POLICY = {"hidden": [4], "steps": 20, "prior": {"name": "gmm", "clusters": 1, "memory": 1}}
MODEL = "../old.npz"


def taught_by(path: str) -> dict[str, Any]:
    return {
        "name": "dagger", "iterations": 2, "samples": 2, "policy": POLICY, "expert": {"name": "run", "path": path},
    }  # fmt: skip


USES: dict[str, dict[str, Any]] = {
    "controllers teach": taught_by("../old"),
    "a policy teaches": taught_by("../old"),
    "first controllers": {"iterations": 2, "samples": 3, "controller": {"initial": {"name": "file", "path": "../old"}}},
    "a model as the prior": {"iterations": 2, "samples": 3, "dynamics": {"prior": {"name": "stored", "path": MODEL}}},
    "a model to plan in": {
        "name": "mbrl", "iterations": 2, "samples": 1, "base_iterations": 0, "controller": None,
        "model": {"path": MODEL}, "planner": {"name": "shooting", "samples": 8, "horizon": 3},
    },
}  # fmt: skip
"""What an experiment takes from an earlier run of the point mass, or from a model that was fitted to its episodes."""


def make_original(folder: Path, use: str) -> Path:
    """Make what the experiment loads in `folder`, and return its path."""
    algorithm = {"name": "mdgps", "warm_up": 0, "policy": POLICY} if use == "a policy teaches" else {}
    earlier = changed(POINT_MASS, algorithm={"iterations": 2, **algorithm})
    run = gps.run(write(folder / "earlier", earlier), out=folder / "runs")
    if MODEL not in str(USES[use]):
        return Path(shutil.move(run.path, folder / "old"))
    write_model(fit_model(LinearModelConfig(), read_recording(run.path)), folder / "old.npz")
    return folder / "old.npz"


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def use_experiment(folder: Path, algorithm: Mapping[str, Any]) -> Path:
    return write(folder / "e", changed(POINT_MASS, algorithm=algorithm))


def costs(run: Run) -> np.ndarray:
    return evaluate(run, episodes=2).costs


@pytest.mark.parametrize("use", USES)
def test_a_run_goes_on_after_what_it_loaded_is_gone(tmp_path, use):
    original = make_original(tmp_path, use)
    folder = use_experiment(tmp_path, USES[use])
    run = gps.run(folder, out=tmp_path / "new")
    before, evaluated, found = digest(run), costs(run), run.evaluation().costs
    remove(original)
    shutil.rmtree(folder)
    run = load_run(run.path.rename(tmp_path / "moved"))
    np.testing.assert_array_equal(costs(run), evaluated)
    again = 0 if use == "first controllers" else 1
    assert digest(gps.resume(run.path, start=again)) == before, "resumed from its copies, it has other bits"
    np.testing.assert_array_equal(run.evaluation().costs, found)
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "c.npz")]) == (2 if "plan" in use else 0)


def test_a_run_is_the_same_after_the_run_that_teaches_it_has_gone_on(tmp_path):
    original = make_original(tmp_path, "controllers teach")
    folder = use_experiment(tmp_path, USES["controllers teach"])
    run = gps.run(folder, out=tmp_path / "new")
    before = digest(run)
    gps.resume(original, iterations=1)
    assert digest(gps.resume(run.path, start=0)) == before
    assert run.config.algorithm.expert.iteration == 1
    assert run.kept.origins == {"algorithm.expert.path": str(original)}
    again = gps.run(folder, out=tmp_path / "new")
    assert again.config.algorithm.expert.iteration == 2, "a new run takes the last iteration there is"
    assert again.kept.digest != run.kept.digest


def test_an_excerpt_holds_what_is_used_and_no_more(tmp_path):
    make_original(tmp_path, "controllers teach")
    run = gps.run(use_experiment(tmp_path, USES["controllers teach"]), out=tmp_path / "new")
    excerpt = run.source / "_loaded/algorithm.expert"
    assert {str(path.relative_to(excerpt)) for path in excerpt.rglob("*") if path.is_file()} == {
        "run.json", "experiment.toml", "command.txt", "versions.json", "interface.json", "first.npz", "SHA256SUMS",
        "iterations/001/SHA256SUMS", "iterations/001/policy.npz",
    }  # fmt: skip
    assert gps.runs.find_runs(tmp_path / "new") == [run.path]


@pytest.mark.parametrize(
    ("use", "place"),
    [
        ("controllers teach", "_loaded/algorithm.expert/iterations/001/policy.npz"),
        ("controllers teach", "_loaded/algorithm.expert/experiment.toml"),
        ("a model as the prior", "_loaded/algorithm.dynamics.prior.npz"),
        ("a model to plan in", "_loaded/algorithm.model.npz"),
    ],
)
def test_a_damaged_copy_is_named(tmp_path, use, place):
    make_original(tmp_path, use)
    run = gps.run(use_experiment(tmp_path, USES[use]), out=tmp_path / "new", iterations=1)
    copy = run.path / "source" / place
    content = copy.read_bytes()
    for damage, what in (
        (lambda: copy.write_bytes(content[:-9]), "does not match its checksum"),
        (copy.unlink, "missing"),
    ):
        damage()
        for use_it in (costs, Run.verify, lambda run: gps.resume(run.path)):
            with pytest.raises(RunError, match=what) as error:
                use_it(load_run(run.path))
            assert str(error.value).startswith(f"{copy}: ")
    copy.write_bytes(content)
    gps.resume(run.path)


def test_a_folder_of_runs_is_its_newest_one_for_ever(tmp_path):
    earlier = write(tmp_path / "earlier", POINT_MASS)
    old = gps.run(earlier, out=tmp_path / "runs")
    choice = f"algorithm.controller.initial={{name='file', path='{tmp_path}/runs'}}"
    run = gps.run(earlier, out=tmp_path / "new", overrides=[choice])
    gps.run(earlier, out=tmp_path / "runs", seed=1)
    initial = run.config.algorithm.controller.initial
    assert (initial.path, initial.iteration) == (str(old.path), 1)


@pytest.mark.parametrize("key", ["algorithm.expert", "algorithm.controller.initial"])
def test_what_is_missing_is_said_before_a_run_is_made(tmp_path, key):
    use = "first controllers" if "initial" in key else "controllers teach"
    folder = use_experiment(tmp_path, USES[use])
    with pytest.raises(GpsError, match="old: there is no such run directory"):
        gps.run(folder, out=tmp_path / "new")
    make_original(tmp_path, use)
    with pytest.raises(GpsError, match="there is no iteration 7; it has 0 to 1"):
        gps.run(folder, out=tmp_path / "new", overrides=[f"{key}.iteration=7"])
    assert not (tmp_path / "new").exists()


def test_a_sweep_notices_that_what_its_runs_load_has_changed(tmp_path):
    original = make_original(tmp_path, "controllers teach")
    folder = use_experiment(tmp_path, USES["controllers teach"])
    before = compute_fingerprint(load(folder), folder)
    assert compute_fingerprint(load(folder), folder) == before
    gps.resume(original, iterations=1)
    assert compute_fingerprint(load(folder), folder) != before


def test_nothing_loaded_leaves_nothing(tmp_path):
    run = gps.run(write_slider(tmp_path / "e"), out=tmp_path / "runs", iterations=1)
    assert run.kept.origins == {} and not (run.source / "_loaded").exists()


def test_first_controllers_from_an_exported_file_are_those_of_the_run(tmp_path):
    original = make_original(tmp_path, "first controllers")
    file, _ = gps.export(load_run(original), tmp_path / "c.npz")
    runs = []
    for path in ("../old", "../c.npz"):
        initial = {"name": "file", "path": path}
        folder = use_experiment(tmp_path, {"iterations": 1, "samples": 3, "controller": {"initial": initial}})
        runs.append(gps.run(folder, out=tmp_path / f"new{len(runs)}"))
    np.testing.assert_array_equal(*(run.iterations[0].costs for run in runs))
    before = digest(runs[1])
    file.unlink()
    assert digest(gps.resume(runs[1].path, start=0)) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iteration": 1}, "initial.iteration: .*c.npz is a file, which has no iterations"),
        ({"path": "../old/metrics.csv"}, "metrics.csv: not a file of controllers that `gps export` has written"),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_line(tmp_path, change, message):
    original = make_original(tmp_path, "first controllers")
    gps.export(load_run(original), tmp_path / "c.npz")
    initial = {"name": "file", "path": "../c.npz", **change}
    folder = use_experiment(tmp_path, {"iterations": 1, "samples": 3, "controller": {"initial": initial}})
    with pytest.raises(GpsError, match=message):
        gps.run(folder, out=tmp_path / "new")
