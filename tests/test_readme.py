"""The README keeps its promises: its Python example runs, and what it names exists."""

import os
import re
from pathlib import Path

from gps.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_example_runs_and_inserts_the_peg(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"<!-- tested.*?-->\n```python\n(.*?)```", README, re.S)
    code = [line for line in example.splitlines() if line.strip()]
    assert len(code) <= 15
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "experiments", tmp_path / "experiments")
    exec(compile(example, "README.md", "exec"), {})
    assert "inserted: True" in capsys.readouterr().out


def test_its_mjcf_and_its_cost_run_as_printed(tmp_path):
    """The blocks of "Plug in your own", with a model that has the names they use."""
    (experiment,) = [block for block in blocks("toml") if "[environment]" in block]
    (cost,) = [block for block in blocks("python") if "def cost" in block]
    (tmp_path / "arm.xml").write_text("""
        <mujoco>
          <worldbody>
            <body name="goal" pos="0.5 0 0"><site name="goal"/></body>
            <body name="cup">
              <joint name="elbow" axis="0 1 0" damping="1"/>
              <geom type="capsule" fromto="0 0 0 0.5 0 0" size="0.05" mass="1"/><site name="gripper" pos="0.5 0 0"/>
            </body>
          </worldbody>
          <actuator><motor joint="elbow" ctrllimited="true" ctrlrange="-1 1"/></actuator>
          <sensor><force name="force" site="gripper"/></sensor>
        </mujoco>""")
    (tmp_path / "task.py").write_text(cost)
    (tmp_path / "experiment.toml").write_text(experiment + '\n[[cost]]\nname = "task"\n')
    assert main(["check", str(tmp_path)]) == 0


def test_every_experiment_that_is_shipped_is_in_the_table_and_the_other_way_round():
    shipped = {path.parent.name for path in ROOT.glob("experiments/*/experiment.toml")}
    assert {name for name in shipped if f"experiments/{name}" in README} == shipped
    assert all((ROOT / "experiments" / name / "README.md").is_file() for name in shipped)
    assert {name for name in re.findall(r"experiments/(\w+)", README)} <= shipped


def test_every_dependency_has_its_reason():
    text = (ROOT / "setup.cfg").read_text()
    required = re.search(r"install_requires =\n(.*?)\n\n", text, re.S).group(1)
    for package in re.findall(r"^\s+([\w-]+)", required, re.M):
        assert re.search(rf"^\|.*\b{package}\b.*\|", README, re.M), package
