"""The guides keep their promises: each block that begins with a file name is written to it, and what is whole runs."""

import re
import tomllib
from pathlib import Path

import pytest
from helpers.packages import install
from helpers.processes import robot

import gps

GUIDES = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```(?:toml|python|xml)\n(?:# |<!-- )([\w.]+)(?: -->)?\n(.*?)```", re.S)


def experiments(guide: str) -> list[dict[str, str]]:
    """The files of each experiment of a guide; one ends with its experiment.toml."""
    found: list[dict[str, str]] = [{}]
    for name, content in BLOCK.findall((GUIDES / guide).read_text(encoding="utf-8")):
        found[-1][name] = content
        if name == "experiment.toml":
            found.append({})
    assert found.pop() == {}
    return found


ENVIRONMENTS = experiments("environments.md")
PLUGINS = (GUIDES / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def rail(tmp_path):
    """The port of the robot that the guide speaks to."""
    port_file = tmp_path / "port"
    with robot(port_file):
        yield int(port_file.read_text())


def test_all_four_ways_are_shown():
    assert len(ENVIRONMENTS) == 5
    for key in ("id = ", "mjcf = ", "sampling = "):
        assert any(key in files["experiment.toml"] for files in ENVIRONMENTS)


@pytest.mark.parametrize("files", ENVIRONMENTS, ids=lambda files: re.search(r'"(.*?)"', files["experiment.toml"])[1])
def test_an_experiment_of_the_guide_checks(files, tmp_path, request):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    overrides = []
    if "confirm_reset" in files["experiment.toml"]:  # nobody is there to be asked, and the robot is another one
        overrides = ["environment.confirm_reset=false", f"environment.options.port={request.getfixturevalue('rail')}"]
    assert gps.check(tmp_path, overrides).ok


def test_the_noise_of_the_guide_checks(tmp_path):
    (files,) = experiments("noise.md")
    (tmp_path / "experiment.toml").write_text(files["experiment.toml"])
    assert gps.check(tmp_path).ok


@pytest.mark.parametrize("files", experiments("costs.md"), ids=["formula", "reward"])
def test_the_costs_of_the_guide_check(files, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert gps.check(tmp_path).ok


def test_the_package_of_the_guide_is_found_and_watched(tmp_path, monkeypatch, capsys):
    files = dict(BLOCK.findall(PLUGINS))
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    modules = {name: files.pop(f"{name}.py") for name in ("robots_of_mine", "selective")}
    install(monkeypatch, tmp_path / "site", modules, project["entry-points"])
    monkeypatch.chdir(tmp_path)
    Path("experiment.toml").write_text(files["experiment.toml"])
    assert gps.check(".").ok
    exec(compile(files["watch.py"], "watch.py", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "(20, 1, 2)"
    (changes,) = re.findall(r"```toml\n(\[algorithm\]\nname = \"selective\".*?)```", PLUGINS, re.S)
    head, _, rest = files["experiment.toml"].partition("[algorithm]")
    Path("experiment.toml").write_text(head + changes + rest[rest.index("[[cost]]") :])
    run = gps.run(".", iterations=2, overrides=["algorithm.policy.steps=50"])
    assert run.policy_record(1).trained


def test_the_expert_of_the_guide_teaches(tmp_path, monkeypatch, capsys):
    files = dict(BLOCK.findall((GUIDES / "distillation.md").read_text(encoding="utf-8")))
    script = files.pop("ask.py")
    for name in ("planned.toml", "distilled.toml"):
        files.pop(name)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    assert gps.check(".").ok
    exec(compile(script, "ask.py", "exec"), {})
    policy, expert = re.search(r"policy \[(.*?)\] expert \[(.*?)\]", capsys.readouterr().out).groups()
    numbers = [sum(map(float, text.split())) for text in (policy, expert)]
    assert numbers[0] < 1.1 * numbers[1]


def test_the_planner_of_the_guide_teaches(tmp_path):
    files = dict(BLOCK.findall((GUIDES / "distillation.md").read_text(encoding="utf-8")))
    environment, _, rest = files["planned.toml"].partition("[algorithm]")
    texts = {"planned": files["planned.toml"], "distilled": environment + files["distilled.toml"]}
    texts["distilled"] += rest[rest.index("[[cost]]") :]
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "experiment.toml").write_text(text)
    first, run = (gps.run(tmp_path / name, out=tmp_path / "runs") for name in texts)
    policy, planner = (run.evaluation(what) for what in ("final", "expert"))
    assert policy.costs.sum() < 1.1 * planner.costs.sum()
    assert policy.costs.sum() < 0.7 * first.iterations[0].mean_cost.sum()
    assert policy.seconds < planner.seconds
