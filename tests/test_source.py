"""A run keeps what it needs of its experiment: it goes on elsewhere, and after the experiment has changed."""

import os
import shutil
import struct

import mujoco
import numpy as np
import pytest
from helpers.experiments import REWARDED_SLIDER, SLIDER_MJCF, digest, write, write_slider

import gps
from gps import cli
from gps.environments.mujoco.files import list_files
from gps.errors import ConfigError, RunError
from gps.evaluation import evaluate
from gps.runs import Run, load_run, source
from gps.runs.source import digest_files, find_source
from gps.sweeps.worker import compute_fingerprint

SMALL = {"iterations": 2, "samples": 3}

INCLUDING = """<mujoco>
  <option timestep="0.01"/>
  <worldbody><include file="cart.xml"/><site name="goal" pos="1 0 0"/></worldbody>
  <actuator><motor joint="x" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>"""
CART = """<mujocoinclude><body name="cart"><joint name="x" type="slide" axis="1 0 0" damping="0.1"/>
<geom size="0.1" mass="1"/><site name="tip"/></body></mujocoinclude>"""

TASK = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from pathlib import Path

from constants import GOAL

FACTOR = float((Path(__file__).parent / "factor.txt").read_text())

class Cart(gymnasium.Env):
    observation_space, action_space = Box(-np.inf, np.inf, (2,)), Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        self.x = np.zeros(2)
        return self.x.copy(), {}

    def step(self, action):
        from tools.motion import advance
        self.x = advance(self.x, action[0])
        return self.x.copy(), -(self.x[0] - GOAL) ** 2, False, False, {}

def cost(x, u, t):
    from tools import scale
    return FACTOR * scale.SCALE * (x[0] - GOAL) ** 2 + 0.01 * u[0] ** 2
"""


def write_task(folder, goal):
    """An experiment whose task.py has a module, a package and a file of data beside it."""
    environment = {"mjcf": None, "frame_skip": None, "id": "task:Cart", "threads": 1, "horizon": 12, "conditions": [{}]}
    write_slider(folder, TASK, environment=environment, algorithm=SMALL | {"controller": None}, cost=[{"name": "task"}])
    (folder / "slider.xml").unlink()
    (folder / "constants.py").write_text(f"GOAL = {goal}\n")
    (folder / "factor.txt").write_text("2.0")
    (folder / "tools").mkdir()
    (folder / "tools" / "__init__.py").write_text("")
    (folder / "tools" / "scale.py").write_text("SCALE = 1.0\n")
    (folder / "tools" / "motion.py").write_text(
        "import numpy as np\nfrom constants import GOAL\n\ndef advance(x, force):\n"
        "    v = x[1] + 0.1 * float(force)\n    return np.array([x[0] + 0.1 * v + 0 * GOAL, v])\n"
    )
    return folder


def final_cost(run):
    return float(np.mean([row.cost for row in run.evaluation_rows()]))


def test_each_experiment_in_one_process_has_its_own_modules_and_goes_on_without_them(tmp_path):
    folders = [write_task(tmp_path / f"goal{g}", goal=g) for g in (0.1, 5.0)]
    runs = [gps.run(folder, out=tmp_path / "runs") for folder in folders]
    costs = [final_cost(run) for run in runs]
    assert costs[1] > 100 * costs[0], "the second has the goal of the first"
    for folder in folders:
        shutil.rmtree(folder)
    moved = [run.path.rename(tmp_path / f"moved{k}") for k, run in enumerate(runs)]
    for path, expected, run in zip(moved, costs, runs, strict=True):
        again = load_run(path)
        assert evaluate(again).scores[0].cost.value == pytest.approx(expected, rel=1e-12)
        before = digest(again)
        assert digest(gps.resume(path, start=1)) == before, "resumed from its copies, it has other bits"
        assert cli.main(["export", str(path), "-o", str(tmp_path / "c.npz")]) == 0
        assert not list(path.rglob("__pycache__")), run


def test_a_model_that_changes_after_the_run_does_not_change_the_run(tmp_path):
    folder = write_slider(tmp_path / "e", algorithm=SMALL)
    (folder / "slider.xml").write_text(INCLUDING)
    (folder / "cart.xml").write_text(CART)
    run = gps.run(folder, out=tmp_path / "runs")
    before = digest(run)
    (folder / "cart.xml").write_text(CART.replace('mass="1"', 'mass="30"'))
    assert np.mean([s.cost.value for s in evaluate(run).scores[:2]]) == pytest.approx(final_cost(run), rel=1e-12)
    shutil.rmtree(folder)
    assert digest(gps.resume(run.path, start=1)) == before
    (run.path / "source" / "cart.xml").write_text(CART.replace('mass="1"', 'mass="30"'))
    with pytest.raises(RunError, match=r"cart\.xml: does not match its checksum"):
        evaluate(load_run(run.path))


def write_stl(path):
    corners = 0.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    packed = [struct.pack("<12fH", 0, 0, 0, *corners[list(face)].ravel(), 0) for face in faces]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 80 + struct.pack("<I", 4) + b"".join(packed))


def write_robot(folder):
    """A model whose files lie around its own folder, and are named from several places."""
    for name in ("arm/assets/a.stl", "common/b.stl", "common/sub/c.stl"):
        write_stl(folder / name)
    (folder / "arm/scene.xml").write_text(
        """<mujoco><compiler meshdir="assets"/><include file="../common/body.xml"/>
        <asset><mesh name="a" file="a.stl"/><model name="sub" file="../common/sub.xml"/></asset>
        <worldbody><geom type="mesh" mesh="a"/><attach model="sub" body="q" prefix="p_"/></worldbody>
        <actuator><motor joint="x" ctrllimited="true" ctrlrange="-1 1"/></actuator></mujoco>"""
    )
    (folder / "common/body.xml").write_text(
        """<mujocoinclude><asset><mesh name="b" file="../../common/b.stl"/></asset><worldbody>
        <body><joint type="slide" axis="1 0 0" name="x"/><geom type="mesh" mesh="b"/></body>
        </worldbody></mujocoinclude>"""
    )
    (folder / "common/sub.xml").write_text(
        """<mujoco><compiler meshdir="sub"/><asset><mesh name="c" file="c.stl"/></asset>
        <worldbody><body name="q"><geom type="mesh" mesh="c"/></body></worldbody></mujoco>"""
    )
    return folder / "arm/scene.xml"


def keep(folder, experiment, mjcf):
    """The copies of an experiment that names a model, as a run makes them."""
    path = experiment / mjcf
    found = find_source(experiment, mjcf, list_files(path))
    return found, source.write_source(folder, found)


def test_files_around_the_model_keep_their_places_relative_to_it(tmp_path):
    model = write_robot(tmp_path / "robots")
    (tmp_path / "e").mkdir()
    original = mujoco.MjModel.from_xml_path(str(model))
    found, kept = keep(tmp_path / "kept", tmp_path / "e", "../robots/arm/scene.xml")
    assert kept.copies and not kept.outside and not kept.notes
    shutil.rmtree(tmp_path / "robots")
    copy = mujoco.MjModel.from_xml_path(str(tmp_path / "kept" / found.mjcf))
    np.testing.assert_array_equal(copy.mesh_vert, original.mesh_vert)
    np.testing.assert_array_equal(copy.body_mass, original.body_mass)
    assert copy.nmesh == 3


def test_a_urdf_keeps_its_meshes(tmp_path):
    write_stl(tmp_path / "e/meshes/a.stl")
    mesh = '<geometry><mesh filename="package://x/meshes/a.stl"/></geometry>'
    (tmp_path / "e/arm.urdf").write_text(
        f"""<robot name="r"><mujoco><compiler meshdir="meshes" strippath="true"/></mujoco><link name="base"/>
        <link name="l">
        <inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
        <visual>{mesh}</visual><collision>{mesh}</collision></link><joint name="j" type="revolute"><parent link="base"/>
        <child link="l"/><axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>"""
    )
    found, _ = keep(tmp_path / "kept", tmp_path / "e", "arm.urdf")
    assert found.mjcf == "arm.urdf"
    shutil.rmtree(tmp_path / "e")
    assert mujoco.MjModel.from_xml_path(str(tmp_path / "kept/arm.urdf")).nmesh == 1


def test_what_a_model_names_by_an_absolute_path_stays_there_and_must_not_change(tmp_path, capsys):
    write_stl(tmp_path / "elsewhere/a.stl")
    folder = write_slider(tmp_path / "e", algorithm=SMALL | {"iterations": 1})
    mesh = f'<asset><mesh name="a" file="{tmp_path}/elsewhere/a.stl"/></asset><worldbody>'
    text = SLIDER_MJCF.replace("<worldbody>", mesh).replace(
        "<site name", '<geom type="mesh" mesh="a" mass="0"/><site name', 1
    )
    (folder / "slider.xml").write_text(text)
    assert cli.main(["run", str(folder), "--out", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert f"note: the model names {tmp_path}/elsewhere/a.stl by its absolute path" in said
    run = load_run(tmp_path / "runs")
    assert run.source.is_dir()
    with (tmp_path / "elsewhere/a.stl").open("r+b") as file:
        file.write(b"another")
    for use in (lambda: evaluate(load_run(run.path)), lambda: gps.resume(run.path)):
        with pytest.raises(
            RunError, match=r"a\.stl: it has changed since the run began, and the run has no copy of it"
        ):
            use()
    (tmp_path / "elsewhere/a.stl").unlink()
    with pytest.raises(ConfigError, match=r"a\.stl"):
        evaluate(load_run(run.path))


def test_the_model_of_an_environment_in_task_py_must_not_change_where_it_is_read(tmp_path):
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / "slider.xml"
    model.write_text(SLIDER_MJCF)
    task = REWARDED_SLIDER.replace("{mjcf}", str(model))
    environment = {"mjcf": None, "id": "task:Slider"}
    folder = write_slider(tmp_path / "e", task, environment=environment, algorithm=SMALL | {"iterations": 1})
    run = gps.run(folder, out=tmp_path / "runs")
    (note,) = run.kept.notes
    assert note.startswith(str(model))
    assert evaluate(run).scores
    model.write_text(SLIDER_MJCF.replace('mass="1"', 'mass="2"'))
    with pytest.raises(RunError, match=r"slider\.xml: it has changed since the run began"):
        evaluate(load_run(run.path))


def test_what_is_too_large_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_BYTES", 5000)
    folder = write_slider(tmp_path / "e", "A = 1\n")
    (folder / "data.bin").write_bytes(bytes(6000))
    found, kept = keep(tmp_path / "one", folder, "slider.xml")
    assert set(found.copies) == {"slider.xml", "task.py"}
    assert len(kept.notes) == 1 and "the data beside task.py" in kept.notes[0]
    (folder / "slider.xml").write_text(SLIDER_MJCF + " " * 6000)
    found, kept = keep(tmp_path / "two", folder, "slider.xml")
    assert found.mjcf == str(folder / "slider.xml") and set(kept.outside) == {found.mjcf}
    assert any("the model's files are more than" in note for note in kept.notes)


def test_runs_caches_and_pipes_beside_a_task_are_no_part_of_it(tmp_path):
    folder = write(tmp_path / "e", {}, "A = 1\n")
    for name in ("runs/e/x/run.json", "runs/s/sweep.json", "__pycache__/t.pyc", ".git/config", "venv/pyvenv.cfg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("{}")
    os.mkfifo(folder / "pipe")
    (folder / "again").symlink_to(folder)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "walls.py").write_text("")
    (folder / "tools").symlink_to(tmp_path / "shared")
    assert set(find_source(folder, None, ()).copies) == {"experiment.toml", "task.py", "tools/walls.py"}


def test_the_digest_of_an_experiment_covers_its_modules_and_what_its_model_includes(tmp_path):
    folder = write_slider(tmp_path / "e", "A = 1\n")
    (folder / "slider.xml").write_text(INCLUDING)
    for name, text in (("cart.xml", CART), ("constants.py", "GOAL = 1\n"), ("notes.txt", "")):
        (folder / name).write_text(text)
    config = gps.config.load(folder)
    marks = [(digest_files(folder, "slider.xml"), compute_fingerprint(config, folder))]
    for name in ("cart.xml", "constants.py"):
        (folder / name).write_text((folder / name).read_text() + " \n")
        marks.append((digest_files(folder, "slider.xml"), compute_fingerprint(config, folder)))
    assert len(set(marks)) == 3
    (folder / "notes.txt").write_text("read by nobody")
    assert (digest_files(folder, "slider.xml"), compute_fingerprint(config, folder)) == marks[-1]


def test_an_experiment_without_files_keeps_none(tiny_run):
    assert isinstance(tiny_run, Run)
    assert not tiny_run.kept.copies and not (tiny_run.path / "source").exists()
    assert tiny_run.kept.notes == []
