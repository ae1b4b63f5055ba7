"""`gps ladder`: rungs that end at one budget, runs that resume, rungs that fail, and a page with the runs' numbers."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from helpers.experiments import digest, write_rewarded_slider

import gps
from gps import cli
from gps.errors import ConfigError, GpsError, SweepError
from gps.inspect.statistics import estimate_improvement, interquartile_mean
from gps.ladder import climb, make_rungs, read_ladder_runs, write_ladder_page
from gps.ladder.climbing import RungRuns, find_folder
from gps.ladder.drawing import draw_interval, find_usual_range
from gps.ladder.page import make_ladder_table
from gps.ladder.results import collect_results
from gps.ladder.rungs import divide_budget
from gps.ladder.stories import tell_stories
from gps.ladder.stories.exploit import list_planned_costs
from gps.ladder.stories.gradient import Gradient
from gps.ladder.stories.material import list_plans
from gps.ladder.stories.nearness import Nearness
from gps.ladder.stories.too_far import list_changes
from gps.runs import Run
from gps.sweeps import SweepRun, Watch

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
PLANNER = {"name": "icem", "samples": 16, "elites": 4, "rounds": 2, "horizon": 12, "particles": 1}
MBRL = {"name": "mbrl", "samples": 1, "model": "linear", "planner": PLANNER}
LOCAL = {"name": "trajopt", "samples": 3, "controller": {"initial": {"name": "lqr", "noise": 0.3}}}
COST = [{"name": "quadratic", "on": "qpos", "target": 1.0}, {"name": "quadratic", "weight": 0.01}]


def rung(name: str, algorithm: dict, family: str = "Plan", **more) -> dict:
    return {"name": name, "family": family, "title": f"About {name}.", "cost": COST, "algorithm": algorithm, **more}


RUNGS = [
    rung("0.5", {**MBRL, "version": "0.5"}),
    rung("1.0", {**MBRL, "version": "1.0"}),
    rung("local", LOCAL, "Local models", seeds="0-1"),
    rung("far", {**LOCAL, "kl_step": 1e6}, "Local models"),
    rung("misspelt", {**MBRL, "versoin": "1.5"}),
    rung("impossible", {**LOCAL, "imagined": 3}, "Local models"),  # it builds only with a prior that is a global model
]
LADDER = {"title": "A <slider>", "about": "Push it.", "budget": 150, "seeds": "0", "plane": ["qpos:x", "qvel:x"]}


def write_ladder(folder: Path, rungs=RUNGS, **changes) -> Path:
    write_rewarded_slider(folder)
    (folder / "ladder.toml").write_text(tomli_w.dumps({**LADDER, **changes, "rung": list(rungs)}))
    return folder


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """The ladder after one call of the command: its folder, exit code and output."""
    folder = write_ladder(tmp_path_factory.mktemp("ladder") / "slider")
    arguments = [str(folder), "--out", str(folder.parent / "runs"), "-o", str(folder.parent / "page.html")]
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        code = cli.main(["ladder", *arguments, "--jobs", "1"])
    return folder, code, said, arguments


@pytest.fixture(scope="module")
def ladder(climbed):
    return make_rungs(climbed[0])


@pytest.fixture(scope="module")
def results(climbed, ladder):
    return collect_results(read_ladder_runs(ladder, climbed[0].parent / "runs"))


@pytest.fixture(scope="module")
def stories(ladder, results):
    return tell_stories(results, ladder)


# -- the rungs -------------------------------------------------------------------------------------------------------


def test_iterations_follow_from_the_budget(ladder):
    by_name = {rung.name: rung for rung in ladder.rungs}
    assert [(by_name[name].config.algorithm.iterations, by_name[name].steps) for name in ("0.5", "local")] == [
        (6, 144), (2, 144),  # of 2 conditions x 1 or 3 samples x 12 steps
    ]  # fmt: skip
    assert by_name["local"].seeds == (0, 1) and by_name["far"].seeds == (0,)


@pytest.mark.parametrize(
    ("budget", "probe", "M", "N", "T", "expected"),
    [
        (1200, 0, 1, 5, 40, (6, 1200)),
        (1199, 0, 1, 5, 40, (5, 1000)),
        (
            1200,
            90,
            1,
            5,
            40,
            (6, 1200 - 120 + 90),
        ),  # three episodes of the first iteration pay for the probe, but for 3
        (1200, 90, 1, 2, 40, (14, 90 + 1120 - 80 + 80)),  # two samples pay for nothing
        (100, 0, 1, 5, 40, (0, 0)),
    ],
)
def test_a_probe_counts(budget, probe, M, N, T, expected):
    iterations, steps = divide_budget(budget, probe, M, N, T)
    if expected[0]:
        first = min(N, max(3, N - -(-probe // (M * T))))
        assert steps == probe + M * T * (first + (iterations - 1) * N) <= budget < steps + M * N * T
    else:
        assert (iterations, steps) == expected


def test_the_steps_of_a_probe_are_those_of_the_run(tmp_path):
    held = {**LOCAL, "samples": 6, "controller": {"initial": "hold"}}
    folder = write_ladder(tmp_path / "slider", [rung("held", held)], budget=500)
    (made,) = make_rungs(folder).rungs
    assert made.probe > 0
    run = gps.run(folder, seed=0, overrides=made.overrides, out=tmp_path / "runs")
    assert run.iterations[-1].environment_steps == made.steps <= 500


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(EXPERIMENTS.glob("*/ladder.toml"))])
def test_every_rung_of_the_shipped_ladders_has_its_iterations(name):
    made = make_rungs(EXPERIMENTS / name)
    assert [rung.fault for rung in made.rungs if rung.fault] == []
    assert all(0.9 * rung.budget <= rung.steps <= rung.budget for rung in made.rungs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": [rung("a", MBRL), rung("a", LOCAL)]}, "two rungs have the name a"),
        ({"rungs": [rung("a b", MBRL)]}, r"rung\.0\.name"),
        ({"plane": ["qpos:x", "qvle:x"]}, "no entry 'qvle:x' of the state; did you mean 'qvel:x'"),
        ({"plane": ["qpos:x"]}, "the names of two entries"),
        ({"budgte": 3}, "budgte.*did you mean 'budget'"),
        ({"rungs": []}, "rung"),
    ],
)
def test_a_ladder_that_cannot_be_read(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_rungs(write_ladder(tmp_path / "slider", **changes))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (rung("a", {**LOCAL, "iterations": 3}), "follows from the budget"),
        (rung("a", LOCAL, environment={"horizon": 20}), "all rungs have one task"),
        (rung("a", {**LOCAL, "samples": 50}), "less than one iteration"),
        (rung("a", {"name": "trajop"}), "did you mean 'trajopt'"),
    ],
)
def test_a_rung_that_cannot_be_built_has_a_sentence(tmp_path, item, message):
    good, bad = make_rungs(write_ladder(tmp_path / "slider", [rung("good", LOCAL), item])).rungs
    assert good.config is not None and not good.fault
    assert bad.config is None and re.search(message, bad.fault) and "\n" not in bad.fault and not bad.entries


def test_unknown_names_are_refused(tmp_path, capsys):
    folder = write_ladder(tmp_path / "slider")
    assert cli.main(["ladder", str(folder), "--rungs", "0.5,locl"]) == 2
    assert "--rungs locl: no such rung; did you mean 'local'?" in capsys.readouterr().err
    assert cli.main(["ladder", str(tmp_path / "slidr")]) == 2
    assert "no such experiment; did you mean 'slider'?" in capsys.readouterr().err
    assert cli.main(["ladder", str(folder), "--seeds", "3-1"]) == 2
    assert "--seeds 3-1" in capsys.readouterr().err
    with pytest.raises(SweepError, match="leave out --page-only"):
        read_ladder_runs(make_rungs(folder), tmp_path)


def test_the_plan_runs_nothing(climbed, capsys, tmp_path):
    assert cli.main(["ladder", str(climbed[0]), "--plan", "--out", str(tmp_path), "--budget", "72"]) == 0
    shown = capsys.readouterr()
    lines = {line.split()[0]: line.split() for line in shown.out.splitlines()}
    assert lines["local"][1:6] == ["2", "1", "3", "72", "0"] and not list(tmp_path.iterdir())
    assert "misspelt: left out" in shown.err


# -- the runs --------------------------------------------------------------------------------------------------------


def test_a_failing_rung_stops_no_other(climbed, results):
    _, code, said, _ = climbed
    assert code == 2  # the user can fix what is missing
    by_name = {result.rung.name: result for result in results}
    assert [len(by_name[name].values) for name in ("0.5", "1.0", "local", "far")] == [1, 1, 2, 1]
    assert "did you mean 'version'" in by_name["misspelt"].faults[0]
    (fault,) = by_name["impossible"].faults
    assert fault.startswith("seed 0: algorithm.imagined = 3: it takes a global model")
    assert any("impossible: seed 0: algorithm.imagined" in line for line in said)


def test_a_run_is_that_of_gps_run(climbed, ladder, tmp_path):
    (item,) = [rung for rung in ladder.rungs if rung.name == "local"]
    (found,) = [runs.runs[1] for runs in read_ladder_runs(ladder, climbed[0].parent / "runs") if runs.rung == item]
    assert digest(gps.run(climbed[0], seed=1, overrides=item.overrides, out=tmp_path)) == digest(Run.open(found.path))


def test_it_resumes_what_was_begun_and_keeps_the_rest(climbed, ladder, tmp_path):
    folder = climbed[0]
    shutil.copytree(folder.parent / "runs", tmp_path / "runs")
    before = {item.rung.name: item.runs for item in read_ladder_runs(ladder, tmp_path / "runs")}
    whole = digest(Run.open(before["0.5"][0].path))
    cut = Run.open(before["0.5"][0].path)
    with cut:
        cut.discard_from(4)

    class Begun(Watch):
        def __init__(self):
            self.names = []

        def on_begin(self, entry):
            self.names.append(entry.setting["rung"].partition("-")[0])

    chosen = make_rungs(folder, names=["0.5", "local"])
    climb(chosen, out=tmp_path / "runs", jobs=1, watch=(watch := Begun()))
    assert watch.names == ["0.5"] and digest(Run.open(before["0.5"][0].path)) == whole


def test_a_rung_that_was_changed_is_run_anew(climbed, ladder, tmp_path):
    changed = [
        {**item, "algorithm": {**item["algorithm"], "samples": 2}} if item["name"] == "local" else item
        for item in RUNGS
    ]
    other = make_rungs(write_ladder(tmp_path / "slider", changed))
    same = [
        a.entries[0].folder == b.entries[0].folder for a, b in zip(ladder.rungs, other.rungs, strict=True) if a.entries
    ]
    # The task names its model by a path, so all differ here; the folder of each tells its settings apart.
    assert len(same) == 5 and other.rungs[2].entries[0].folder != other.rungs[3].entries[0].folder


# -- the numbers -----------------------------------------------------------------------------------------------------


def test_the_table_has_the_numbers_of_the_runs(climbed, ladder, results):
    runs = {item.rung.name: item.runs for item in read_ladder_runs(ladder, climbed[0].parent / "runs")}
    by_name = {result.rung.name: result for result in results}
    for name in ("0.5", "1.0", "local", "far"):
        result = by_name[name]
        opened = [Run.open(run.path) for run in runs[name]]
        returns = [run.evaluation().rollouts.rewards.sum(axis=2).mean() for run in opened]
        np.testing.assert_allclose(result.values, returns)
        assert result.final.value == pytest.approx(interquartile_mean(np.array(returns)))
        assert result.steps == tuple(run.iterations[-1].environment_steps for run in opened)
        seconds = [record.seconds for record in opened[0].iterations]
        np.testing.assert_allclose(
            result.seconds[0][-1], np.sum([[s.sample, s.fit, s.improve] for s in seconds], axis=0)
        )
        aligned, found = result.by_steps
        first = [run.rollouts(0)[0].rewards.sum(axis=2).mean() for run in opened]
        assert found.value[0] == pytest.approx(interquartile_mean(np.array(first)))
        assert aligned.steps[-1] == 144 and result.by_seconds[0][-1] == pytest.approx(result.stages.sum())
    rows = {row[0]: row for row in make_ladder_table(results)}
    assert rows["local"][1:3] == ["2/2", "144"] and rows["misspelt"][1:] == ["0/1", "–", "–", "–", "–", "–"]
    assert rows["1.0"][5] == f"{round(100 * float(by_name['1.0'].beats(by_name['0.5']).value))} %"


def test_a_fault_of_several_seeds_is_said_once(ladder):
    runs = [
        SweepRun(seed, {}, None, 0, 2, None, None, None, "failed", message, True)
        for seed, message in enumerate(("too few", "too few", "", "too many"))
    ]
    assert RungRuns(ladder.rungs[0], tuple(runs)).faults == [
        "seeds 0, 1: too few", "seed 3: too many", "1 of 4 runs are not finished",
    ]  # fmt: skip


def test_numbers_far_from_the_rest_do_not_set_the_scale():
    near = [0.0, 1.0, 2.0, 3.0, 4.0, 9.0]
    assert find_usual_range(near) == (0.0, 9.0)
    assert find_usual_range([*near, -2000.0, 500.0]) == (0.0, 9.0)
    assert find_usual_range([5.0]) == (5.0, 5.0) and find_usual_range([]) == (0.0, 1.0)


def test_runs_beyond_the_scale_are_a_triangle(results):
    (known,) = [result for result in results if result.rung.name == "local"]
    low, high = float(known.values.min()), float(known.values.max())
    assert "<path" not in draw_interval(known, low, high, "red")
    beyond = draw_interval(known, high + 1.0, high + 2.0, "red")
    assert beyond.count("<path") == 1 and 'd="M0 ' in beyond


def test_the_probability_of_improvement():
    ours, theirs = np.array([3.0, 5.0, 9.0]), np.array([1.0, 5.0])
    found = estimate_improvement(ours, theirs)
    assert found.value == pytest.approx((1 + 1.5 + 2) / 6) and found.low < found.value < found.high
    assert estimate_improvement(theirs, ours).value == pytest.approx(1 - found.value)
    certain = estimate_improvement(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    assert (certain.value, certain.low, certain.high) == (1.0, 1.0, 1.0)
    assert np.isnan(estimate_improvement(np.array([np.nan]), theirs).value)


# -- the stories -----------------------------------------------------------------------------------------------------


def test_the_stories_are_told_by_the_numbers_of_the_runs_that_they_name(stories):
    told, missing = stories
    stories = {story.key: story for story in told}
    assert list(stories) == ["mismatch", "drift", "exploit", "too_far"]
    assert [line.partition(":")[0] for line in missing] == ["gradient"]
    for story in told:
        assert len(re.findall(r"\. [A-Z]|\.$", story.caption)) == 2, story.caption
        assert (story.path / "run.json").exists() and f"-seed{story.seed}" in story.path.name

    run = Run.open(stories["mismatch"].path)
    states = stories["mismatch"].panels[0]
    assert (states.x, states.y) == ("qpos:x, m", "qvel:x, m/s")
    data = np.concatenate([run.rollouts(k)[0].states.reshape(-1, 2) for k in range(6)])
    assert {(x, y) for x, y in zip(states.traces[0].x, states.traces[0].y, strict=True)} <= {tuple(row) for row in data}
    np.testing.assert_array_equal(states.traces[1].x[0], data[0, 0])  # the plan begins where the episode does
    np.testing.assert_array_equal(states.traces[2].x, run.evaluation().rollouts.states[0, 0, :, 0])

    run = Run.open(stories["drift"].path)
    k, plan, actual = list_plans(run)[-1]
    assert k == 5 and f"iteration {k}" in stories["drift"].panels[0].title
    np.testing.assert_array_equal(stories["drift"].panels[0].traces[0].y, plan[:, 0])
    np.testing.assert_array_equal(actual, run.iterations[k].rollouts.states[0, 0])

    run = Run.open(stories["exploit"].path)
    costs = stories["exploit"].panels[0].traces
    expected = [(k, record.planner.predicted.mean(), record.planner.actual.mean())
                for k, record in enumerate(run.iterations) if record.planner is not None]  # fmt: skip
    np.testing.assert_allclose(list_planned_costs(run), expected)
    np.testing.assert_allclose(costs[1].y, [actual for _, _, actual in expected])

    assert stories["too_far"].rung == "far"
    changes = list_changes(Run.open(stories["too_far"].path))
    rows = Run.open(stories["too_far"].path).rows(1)
    np.testing.assert_allclose(
        changes[0][1:], [np.mean([r.predicted for r in rows]), np.mean([r.actual for r in rows])]
    )


def test_far_from_the_data():
    data = np.stack(np.meshgrid(np.arange(5.0), 10 * np.arange(5.0)), axis=-1).reshape(-1, 2)
    nearness = Nearness(data)  # neighbours are one step of √2 scaled units apart: 1/√2 of the deviation
    np.testing.assert_allclose(nearness.reach, 1 / np.sqrt(2))
    np.testing.assert_array_equal(
        nearness.is_far(np.array([[1.0, 15.0], [2.4, 20.0], [9.0, 20.0]])), [False, False, True]
    )


def test_the_span_of_a_gradient():
    assert Gradient(3, np.array([1, 2, 4]), np.array([1.0, 1e-3, 10.0])).span == pytest.approx(4.0)


# -- the page --------------------------------------------------------------------------------------------------------


def test_the_page_has_the_numbers_and_the_faults(climbed, results, stories):
    text = (climbed[0].parent / "page.html").read_text(encoding="utf-8")
    body = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "<h1>A &lt;slider&gt;</h1>" in body
    for row in make_ladder_table(results)[1:5]:
        assert row[3].replace("-", "−") in body and row[0] in body
    assert "did you mean &#x27;version&#x27;" in body and "it takes a global model" in body
    for story in stories[0]:
        assert story.heading in body and str(story.path) in body
    assert "http://" not in body and "https://" not in body


def test_the_page_is_made_again_without_running(climbed, tmp_path, capsys):
    *_, arguments = climbed
    options = ["--rungs", "local", "-o", str(tmp_path / "new.html"), "--page-only", "--quiet"]
    assert cli.main(["ladder", *arguments[:3], *options]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "new.html")]
    assert (tmp_path / "new.html").read_bytes() != b""


def test_a_ladder_whose_environment_gives_no_reward_is_compared_by_its_costs(tmp_path, results):
    from dataclasses import replace

    from gps.inspect.comparison.scale import MINUS_COST

    (local,) = [result for result in results if result.rung.name == "local"]
    without = replace(local, scale=MINUS_COST)
    np.testing.assert_allclose(without.values, [-member.final_cost for member in local.members])


def test_the_manifest_is_that_of_a_sweep(climbed, ladder):
    content = json.loads((find_folder(ladder, climbed[0].parent / "runs") / "sweep.json").read_text())
    assert {run["setting"]["rung"].rpartition("-")[0] for run in content["runs"]} == {
        "0.5",
        "1.0",
        "local",
        "far",
        "impossible",
    }


def test_the_page_opens_in_a_browser(climbed):
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no chromium on the path")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        errors, asked = [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((climbed[0].parent / "page.html").as_uri())
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length > 0")
        plots = page.evaluate("document.querySelectorAll('.js-plotly-plot').length")
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        ink = "getComputedStyle(document.querySelector('.js-plotly-plot .ytitle')).fill"
        line = "document.querySelector('.js-plotly-plot').data.find(trace => trace.name === '0.5').line.color"
        light = page.evaluate(ink), page.evaluate(line)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(500)
        dark = page.evaluate(ink), page.evaluate(line)
        browser.close()
    assert errors == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert plots == 2 * 2 + 1 + 4 * 2 and overflow <= 0
    assert light[1].startswith("#") and dark[1].startswith("#")
    assert light[0] != dark[0] and light[1] != dark[1]


def test_write_says_where_it_cannot(ladder, climbed):
    with pytest.raises(GpsError, match="nowhere"):
        write_ladder_page(ladder, [], climbed[0] / "nowhere" / "page.html")
