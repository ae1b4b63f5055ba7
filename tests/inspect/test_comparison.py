"""`gps compare`: which runs are a group, what the table and the page say of them, and what is refused."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.records import config, evaluation, record, rollouts, state, untold, with_policy

from gps import cli
from gps.errors import ConfigError, RunError
from gps.inspect.comparison import (
    compare,
    format_apart,
    make_apart_header,
    make_apart_row,
    make_header,
    make_row,
    read_member,
)
from gps.inspect.comparison.page import render_comparison
from gps.inspect.comparison.plots import asks_for_log, make_curve_plots, make_final_plots, make_profile, spread
from gps.inspect.comparison.words import format_settings, format_wins, make_legend
from gps.inspect.statistics import interquartile_mean
from gps.players import Player
from gps.runs import Run
from gps.runs.creating import create_run


def make(
    folder: Path, seed: int, *overrides: str, iterations: int = 3, cost: float | None = 1.0, name: str = "e"
) -> Run:
    """A run of made-up records; `cost` is that of every step of its final evaluation, None for a run without one."""
    folder.mkdir(exist_ok=True)
    run = create_run(folder / "runs", name, seed, config(*overrides), folder, "gps run e")
    for k in range(iterations):
        run.write(record(k, seed=seed), state(k))
    if cost is not None:
        run.write_evaluation(evaluation(rollouts(np.random.default_rng(seed), N=1), cost))
    return run


def test_a_run_as_a_member(tmp_path):
    run = make(tmp_path, 1, cost=2.0)
    member = read_member(run)
    records = list(run.iterations)
    np.testing.assert_array_equal(member.cost.steps, [36, 72, 108])
    np.testing.assert_allclose(member.cost.values, [made.mean_cost.mean() for made in records])
    np.testing.assert_allclose(member.success.values, [made.successes.sum() / 6 for made in records])
    np.testing.assert_allclose(member.returns.values, [made.rollouts.rewards.sum(axis=2).mean() for made in records])
    assert (member.episodes, member.steps, member.final_cost, len(member.solved)) == (18, 108, 12.0, 2)
    assert member.final_return == pytest.approx(run.evaluation().rollouts.rewards.sum(axis=2).mean())
    assert member.settings["environment.conditions"] == ({}, {"qpos": [0.6, 0.2]})
    assert member.settings["cost.0.name"] == "quadratic"


def test_a_run_without_rewards_has_no_return(tmp_path):
    run = make(tmp_path, 0, iterations=0, cost=None)
    made = record(0)
    still = dataclasses.replace(made.rollouts, rewards=np.zeros_like(made.rollouts.rewards))
    run.write(dataclasses.replace(made, rollouts=still), state(0))
    assert read_member(run).returns is None
    comparison = compare([run.path])
    assert not comparison.rewarded
    assert not any("return" in name for name in make_header(comparison))


def test_groups_are_what_differs_but_for_the_seed(tmp_path):
    costs = {0: 1.0, 1: 2.0, 2: 9.0}
    for seed, cost in costs.items():
        make(tmp_path, seed, "algorithm.kl_step=2.0", cost=cost)
        make(tmp_path, seed, "algorithm.kl_step=0.5", "environment.threads=1", cost=cost + 1)
    comparison = compare([tmp_path / "runs"])
    assert [group.label for group in comparison.groups] == ["kl_step=2", "kl_step=0.5"]
    first, second = comparison.groups
    assert [member.seed for member in first.members] == [0, 1, 2]
    assert first.final_cost.value == pytest.approx(interquartile_mean(6 * np.array(list(costs.values()))))
    assert second.final_cost.value == pytest.approx(first.final_cost.value + 6)
    assert (first.final_cost.low, first.final_cost.high) == (6, 54)  # of three seeds: the least and the largest
    grid, estimate = first.curves["cost"]
    np.testing.assert_array_equal(grid.steps, [36, 72, 108])
    np.testing.assert_allclose(estimate.value, interquartile_mean([member.cost.values for member in first.members]))
    assert comparison.notes == ()
    cells = dict(zip(make_header(comparison), make_row(first, comparison), strict=True))
    assert cells["runs"] == "3"
    assert cells["episodes"] == "18"
    assert cells["steps"] == "108"
    assert cells["final cost [95 %]"] == "18.00 [6.00, 54.00]"


def test_the_order_of_the_runs_does_not_matter(tmp_path):
    runs = [make(tmp_path, seed, cost=float(seed)).path for seed in range(4)]
    one, two = compare(runs), compare(runs[::-1])
    assert make_header(one) == make_header(two)
    assert make_row(one.groups[0], one) == make_row(two.groups[0], two)
    assert render_comparison(one) == render_comparison(two)


def test_by_one_setting(tmp_path):
    for seed, (samples, step) in enumerate([(3, 1.0), (3, 2.0), (5, 1.0), (5, 2.0)]):
        make(tmp_path, seed % 2, f"algorithm.samples={samples}", f"algorithm.kl_step={step}")
    folder = tmp_path / "runs"
    assert len(compare([folder]).groups) == 4
    by = compare([folder], by="samples")
    assert [(group.label, len(group.members)) for group in by.groups] == [("samples=3", 2), ("samples=5", 2)]
    assert by.notes == ("differs within the groups: algorithm.kl_step",)
    assert compare([folder], by="experiment").groups[0].label == "e"
    assert compare([folder], by="algorithm.kl_step").groups[1].label == "kl_step=2"
    with pytest.raises(ConfigError, match="no setting of these runs; did you mean 'samples'"):
        compare([folder], by="sample")
    with pytest.raises(ConfigError, match=r"ambiguous: algorithm\.name, .* or cost\.0\.name; give more of the key"):
        compare([folder], by="name")


def test_keys_that_end_alike_are_told_apart(tmp_path):
    make(tmp_path, 0, "cost.0.weight=1.0", "algorithm.controller.initial.noise=1.0")
    make(tmp_path, 0, "cost.0.weight=2.0", "algorithm.controller.initial.noise=2.0", "algorithm.controller.noise=0.5")
    comparison = compare([tmp_path / "runs"])
    assert [group.settings for group in comparison.groups] == [
        "controller.noise=0.1, initial.noise=1, weight=1",
        "controller.noise=0.5, initial.noise=2, weight=2",
    ]
    assert [group.label for group in comparison.groups] == ["controller.noise=0.1", "controller.noise=0.5"]  # enough
    assert format_settings(comparison)[1] == ("controller.noise=0.5: controller.noise=0.5, initial.noise=2, weight=2")
    assert "initial.noise=2" in render_comparison(comparison)


def test_names_are_short_and_tell_all_groups_apart(tmp_path):
    """Four groups by two settings, with a third that follows from one of them."""
    for step in (1.0, 2.0):
        for noise in (0.1, 0.2):
            make(
                tmp_path, 0, f"algorithm.kl_step={step}", f"algorithm.controller.noise={noise}", f"cost.0.weight={step}"
            )
    labels = [group.label for group in compare([tmp_path / "runs"]).groups]
    assert len(set(labels)) == 4
    assert all(label.count("=") == 2 for label in labels)
    make(tmp_path, 0, "algorithm.name=pi2")
    labels = [group.label for group in compare([tmp_path / "runs"]).groups]
    assert len(set(labels)) == 5 and labels[-1] == "pi2"


def test_what_only_one_kind_has_is_not_named_beside_its_name(tmp_path):
    make(tmp_path, 0, "algorithm.kl_step=0.5")
    make(tmp_path, 0, "algorithm.name=pi2")
    make(tmp_path, 0, "algorithm.name=pi2", "algorithm.temperature=0.1")
    groups = compare([tmp_path / "runs"]).groups
    assert [group.settings for group in groups] == [
        "trajopt, kl_step=0.5, temperature=unset",
        "pi2, kl_step=1, temperature=unset",
        "pi2, kl_step=1, temperature=0.1",
    ]
    assert [group.label for group in groups] == ["trajopt", "pi2, temperature=unset", "pi2, temperature=0.1"]


def test_other_defaults_are_not_named_beside_the_name_that_brings_them(tmp_path):
    make(tmp_path, 0)
    make(tmp_path, 0, "algorithm.name=pi2")  # another default of step_multiplier.max
    assert [group.settings for group in compare([tmp_path / "runs"]).groups] == ["trajopt", "pi2"]
    make(tmp_path, 0, "algorithm.name=pi2", "algorithm.step_multiplier.max=1.5")
    groups = compare([tmp_path / "runs"]).groups
    assert [group.settings.partition("max=")[2] for group in groups] == ["2", "1", "1.5"]
    assert [group.label for group in groups] == ["trajopt", "pi2, max=1", "pi2, max=1.5"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.horizon=7", "environment.horizon is 6 and 7"),
        ("environment.conditions=[{}]", r"environment.conditions is \[\{\}, \{'qpos': .*\}\] and \[\{\}\]"),
        ('environment.id="gps/Reacher-v0"', "environment.id is gps/PointMass-v0 and gps/Reacher-v0"),
        ("environment.frame_skip=3", "environment.frame_skip is unset and 3"),
    ],
)
def test_different_tasks_are_refused(tmp_path, override, message):
    first, second = make(tmp_path, 0), make(tmp_path, 0, override)
    with pytest.raises(RunError, match=message) as caught:
        compare([first.path, second.path])
    assert "\n" not in str(caught.value)
    assert str(first.path) in str(caught.value) and str(second.path) in str(caught.value)
    assert len(compare([first.path, second.path], anyway=True).groups) == 2


def test_what_is_left_out_is_said(tmp_path):
    good, empty, damaged = make(tmp_path, 0), make(tmp_path, 1, iterations=0, cost=None), make(tmp_path, 2)
    (damaged.path / "iterations/001/rollouts.npz").write_bytes(b"")
    comparison = compare([tmp_path / "runs"])
    assert [member.path for member in comparison.groups[0].members] == [good.path]
    assert comparison.notes[0] == f"left out: {empty.path}: no complete iteration"
    assert "rollouts.npz: does not match its checksum" in comparison.notes[1]
    with pytest.raises(RunError, match="no complete iteration\nno run can be compared"):
        compare([empty.path])


def test_no_runs(tmp_path):
    with pytest.raises(RunError, match="nowhere: there is no such run directory"):
        compare([tmp_path / "nowhere"])
    with pytest.raises(RunError, match="neither a run directory nor a folder of runs"):
        compare([tmp_path])


def test_a_run_that_was_done_twice_counts_once(tmp_path):
    first, again, unfinished = make(tmp_path, 0, cost=1.0), make(tmp_path, 0, cost=2.0), make(tmp_path, 0, cost=None)
    comparison = compare([tmp_path / "runs"])
    (member,) = comparison.groups[0].members
    assert member.path == again.path
    assert [str(path) in note for path, note in zip((first.path, unfinished.path), comparison.notes, strict=True)]
    assert all("repeats seed 0 with the settings of" in note for note in comparison.notes)


def test_an_unfinished_run_counts_in_the_curves_alone(tmp_path):
    make(tmp_path, 0, cost=1.0)
    make(tmp_path, 1, iterations=2, cost=None)
    comparison = compare([tmp_path / "runs"])
    (group,) = comparison.groups
    assert group.final_cost.value == 6
    assert len(group.curves["cost"][0].values) == 2
    assert any("1 of 2 runs have no final evaluation yet" in note for note in comparison.notes)
    assert any("span 36 to 72 steps" in note and "1 of 2 runs extend beyond" in note for note in comparison.notes)
    assert make_row(group, comparison)[2:4] == ["12 to 18", "72 to 108"]


def test_other_costs_are_pointed_out(tmp_path):
    make(tmp_path, 0)
    make(tmp_path, 0, "cost.0.weight=2.0")
    assert "the cost function differs" in compare([tmp_path / "runs"]).notes[-1]


def test_the_command(tmp_path, capsys, monkeypatch):
    for seed in range(2):
        make(tmp_path, seed, cost=1.0 + seed)
    make(tmp_path, 2, iterations=0, cost=None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "runs", "-o", "page.html"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "e"
    assert lines[1].split()[:4] == ["group", "runs", "episodes", "steps"]
    assert lines[2].split()[:6] == ["e", "2", "18", "108", "9.00", "[6.00,"]
    assert lines[-1] == "page.html"
    assert err.startswith("gps: left out: runs/e/")
    assert (tmp_path / "page.html").stat().st_size < 8e6
    assert cli.main(["compare", "runs", "-o", "no/page.html"]) == 2
    assert "no/page.html: cannot be written" in capsys.readouterr().err
    assert cli.main(["compare", "runs", "-o", "page.docx"]) == 2
    assert capsys.readouterr().err == (
        "gps: error: page.docx: expected a file that ends in .html, .pdf, .svg, .png or .csv\n"
    )
    earlier = tmp_path / "page.html"
    earlier.write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert cli.main(["compare", str(tmp_path / "runs"), "-o", str(earlier)]) == 2
    assert earlier.read_text() == "earlier" and not list(tmp_path.glob("*.html?*")) and not list(tmp_path.glob(".*"))


def make_policy(
    folder: Path, seed: int, *overrides: str, unseen: float = 1.0, teacher: Player = Player.LOCAL, **kinds
) -> Run:
    """A run of a policy that solves one of two trained starts, a share of four unseen ones, and whose teacher fails."""
    folder.mkdir(exist_ok=True)
    others = "environment.test_conditions=[" + ", ".join(f"{{ qpos = [{i}.0, 0.5] }}" for i in range(4)) + "]"
    run = create_run(folder / "runs", "e", seed, config(others, *overrides), folder, "gps run e")
    for k in range(3):
        run.write(with_policy(record(k, seed=seed), teacher=teacher, **kinds), state(k))
    evaluations = (
        ("final", Player.POLICY, 1, 2), ("unseen", Player.POLICY, round(4 * unseen), 4), (teacher.value, teacher, 0, 2),
    )  # fmt: skip
    for k, (what, player, wins, count) in enumerate(evaluations):
        made = rollouts(np.random.default_rng(seed), M=count, N=1)
        success = np.broadcast_to(np.arange(count)[:, None, None] < wins, made.success.shape)
        run.write_evaluation(evaluation(dataclasses.replace(made, success=success), 1.0 + k, what, player))
    return run


def test_policies_local_controllers_and_unseen_starts_are_told_apart(tmp_path):
    for seed, share in enumerate((0.5, 0.75, 1.0)):
        make_policy(tmp_path, seed, unseen=share)
    comparison = compare([tmp_path / "runs"])
    (group,) = comparison.groups
    cells = dict(zip(make_apart_header(comparison), make_apart_row(group, comparison), strict=True))
    assert list(cells) == [
        "group", "trained success [95 %]", "unseen success [95 %]", "local success [95 %]", "unseen cost [95 %]",
        "local cost [95 %]",
    ]  # fmt: skip
    assert cells["trained success [95 %]"] == "3/6; 50 %"
    assert cells["unseen success [95 %]"] == "9/12; 75 % [50, 100]"
    assert cells["local success [95 %]"] == "0/6; 0 %"
    assert (cells["unseen cost [95 %]"], cells["local cost [95 %]"]) == ("12.00", "18.00")
    assert dict(zip(make_header(comparison), make_row(group, comparison), strict=True))["conditions solved"] == "3/6"
    grid, estimate = group.curves["policy_kl"]
    kl = [[made.policy.kl.mean() for made in Run.open(member.path).iterations] for member in group.members]
    np.testing.assert_array_equal(grid.steps, [36, 72, 108])
    np.testing.assert_allclose(estimate.value, interquartile_mean(kl))
    np.testing.assert_allclose(group.curves["policy_loss"][1].value, 2.0)
    text = render_comparison(comparison)
    for heading in ("trained success", "unseen success", "local cost", "KL of the policy", "Loss of the policy"):
        assert heading in text
    assert comparison.notes == ()


def test_without_policies_nothing_is_told_apart(tmp_path):
    make(tmp_path, 0)
    comparison = compare([tmp_path / "runs"])
    assert comparison.apart == {} and make_apart_header(comparison) == [] and format_apart(comparison) == []


def test_a_group_without_a_policy_beside_one_that_has_one(tmp_path):
    make_policy(tmp_path, 0, "algorithm.kl_step=2.0")
    make(tmp_path, 0, "algorithm.kl_step=0.5")
    comparison = compare([tmp_path / "runs"])
    one, other = (
        dict(zip(make_apart_header(comparison), make_apart_row(g, comparison), strict=True)) for g in comparison.groups
    )
    assert one["unseen success [95 %]"] == "4/4; 100 %" and other["unseen success [95 %]"] == "–"
    assert "Final result" in render_comparison(comparison)


def test_whose_samples_the_curves_are_of_is_said(tmp_path):
    make_policy(tmp_path, 0, sampled=False)
    (note,) = compare([tmp_path / "runs"]).notes
    assert note.startswith("e: the samples are the local controllers', not the policy's")


@pytest.mark.parametrize(("sampled", "whose"), [(False, "the expert's"), (True, "those of expert and policy together")])
def test_an_expert_is_told_apart_by_its_name(tmp_path, sampled, whose):
    make_policy(tmp_path, 0, teacher=Player.EXPERT, sampled=sampled)
    comparison = compare([tmp_path / "runs"])
    cells = dict(zip(make_apart_header(comparison), make_apart_row(comparison.groups[0], comparison), strict=True))
    assert cells["expert success [95 %]"] == "0/2; 0 %" and "local success [95 %]" not in cells
    assert comparison.notes[0].startswith(f"e: the samples are {whose}, not the policy's")
    assert "expert: the expert that taught the policy" in render_comparison(comparison)
    make_policy(tmp_path, 1, "algorithm.kl_step=2.0")
    both = make_apart_header(compare([tmp_path / "runs"]))
    assert both[:5] == ["group", *(f"{name} success [95 %]" for name in ("trained", "unseen", "local", "expert"))]


def test_other_unseen_starts_are_pointed_out(tmp_path):
    make_policy(tmp_path, 0)
    make_policy(tmp_path, 1, "environment.test_conditions=[{ qpos = [7.0, 0.5] }]")
    comparison = compare([tmp_path / "runs"])
    assert "the unseen starts differ between the runs: their results are not comparable" in comparison.notes
    assert any("test_conditions" in group.label for group in comparison.groups)


def test_an_environment_that_does_not_tell_of_success(tmp_path, capsys):
    run = make(tmp_path, 0, iterations=0, cost=None)
    made = record(0)
    run.write(dataclasses.replace(made, rollouts=untold(made.rollouts)), state(0))
    run.write_evaluation(evaluation(untold(rollouts(np.random.default_rng(0), N=1))))
    comparison = compare([run.path])
    assert not comparison.reports_success
    assert not any("solved" in name for name in make_header(comparison))
    assert "success" not in comparison.groups[0].curves
    assert cli.main(["compare", str(run.path), "-o", str(tmp_path / "page.html")]) == 0
    assert "solved" not in capsys.readouterr().out
    make(tmp_path, 1, "algorithm.kl_step=0.5")  # beside one that tells
    comparison = compare([tmp_path / "runs"])
    assert ["–"] * 3 in [make_row(group, comparison)[-3:] for group in comparison.groups]


def test_the_page_escapes_names(tmp_path):
    run = make(tmp_path, 0, name="<b>e&")
    text = render_comparison(compare([run.path]))
    assert "<b>e" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "&lt;b&gt;e&amp;" in text


def test_the_page_in_a_browser(tmp_path):
    """It draws its curves, says nothing on the console, and asks the network for nothing."""
    api = pytest.importorskip("playwright.sync_api")
    import shutil

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium")
    for seed in range(3):
        make(tmp_path, seed, "algorithm.kl_step=2.0", cost=float(seed))
        make(tmp_path, seed, "algorithm.kl_step=0.5", cost=float(seed))
    file = tmp_path / "page.html"
    file.write_text(render_comparison(compare([tmp_path / "runs"])), encoding="utf-8")
    said, asked = [], []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector(".js-plotly-plot .scatterlayer .trace")
        assert tab.locator(".js-plotly-plot").count() == 6  # final cost, final return, profile, cost, return, success
        assert tab.locator("table").first.locator("tr").count() == 3
        cost = tab.locator(".js-plotly-plot").nth(3)
        labels = [text.strip() for text in cost.locator(".textpoint").all_text_contents()]
        assert sorted(labels) == ["kl_step=0.5", "kl_step=2"] and cost.locator(".legendtext").count() == 0
        ink = "getComputedStyle(document.querySelectorAll('.js-plotly-plot')[3].querySelector('.ytitle')).fill"
        light = tab.evaluate(ink)
        cost.locator("xpath=ancestor::figure").locator("input.log").press("Space")
        assert tab.evaluate("document.querySelectorAll('.js-plotly-plot')[3].layout.yaxis.type") == "log"
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_timeout(500)
        assert tab.evaluate(ink) != light
        tab.set_viewport_size({"width": 360, "height": 800})
        tab.wait_for_timeout(500)
        assert cost.locator(".legendtext").all_text_contents() == ["kl_step=2", "kl_step=0.5"]
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


# -- rankings and marks ------------------------------------------------------------------------------------------------


def test_the_interval_of_two_runs_is_marked(tmp_path):
    for seed in range(3):
        make(tmp_path, seed, "algorithm.kl_step=1.0", cost=1.0 + seed)
        if seed < 2:
            make(tmp_path, seed, "algorithm.kl_step=2.0", cost=1.0 + seed)
    comparison = compare([tmp_path / "runs"])
    three, two = (dict(zip(make_header(comparison), make_row(g, comparison), strict=True)) for g in comparison.groups)
    assert two["final cost [95 %]"] == "9.00 [6.00, 12.00]*"
    assert not three["final cost [95 %]"].endswith("*")
    assert any(line.startswith("* of two runs") for line in make_legend(comparison))
    assert "kl_step=2 (2 runs)" in render_comparison(comparison)
    rng = np.random.default_rng(0)  # what the legend says: the range of n runs holds the median of all runs
    for n, share in ((2, 0.5), (6, 0.97)):
        drawn = rng.normal(size=(20000, n))
        assert np.mean((drawn.min(axis=1) < 0) & (drawn.max(axis=1) > 0)) == pytest.approx(share, abs=0.01)


def test_who_is_better(tmp_path):
    """Without rewards the cost decides: lower is better, in the profile and in the probability."""
    made = record(0)
    for step, costs in ((1.0, (1.0, 2.0, 3.0)), (2.0, (2.5, 4.0, 5.0))):
        for seed, cost in enumerate(costs):
            run = make(tmp_path, seed, f"algorithm.kl_step={step}", iterations=0, cost=None)
            run.write(dataclasses.replace(made, rollouts=still(made.rollouts)), state(0))
            run.write_evaluation(evaluation(still(rollouts(np.random.default_rng(seed), N=1)), cost))
    comparison = compare([tmp_path / "runs"])
    assert comparison.scale.name == "minus the cost"
    one, two = comparison.groups
    assert two.beats(one, comparison.scale).value == pytest.approx(1 / 9)  # 2.5 against 3 alone
    assert format_wins(comparison)[1].split()[:3] == ["kl_step=2", "11", "%"]
    profile = make_profile(comparison)
    for line, costs in zip(profile.lines, ((6, 12, 18), (15, 24, 30)), strict=True):
        assert np.all(np.diff(line.x) > 0)
        expected = [np.mean(np.array(costs) < x) for x in line.x]
        np.testing.assert_allclose(line.aggregate.value, expected)
        assert np.all(line.aggregate.low <= line.aggregate.value) and np.all(
            line.aggregate.value <= line.aggregate.high
        )
    assert "Probability of improvement" in render_comparison(comparison)


def still(made):
    """The same rollouts without rewards."""
    return dataclasses.replace(made, rewards=np.zeros_like(made.rewards))


def test_a_logarithmic_axis_where_the_data_ask_for_it(tmp_path):
    assert asks_for_log(np.array([1.0, 100.0])) and not asks_for_log(np.array([1.0, 10.0]))
    assert not asks_for_log(np.array([0.0, 100.0])) and not asks_for_log(np.array([np.nan]))
    for seed, cost in enumerate((0.1, 10.0, 20.0)):
        make(tmp_path, seed, cost=cost)
    comparison = compare([tmp_path / "runs"])
    assert [plot.log for plots in make_final_plots(comparison) for plot in plots if plot.name == "final cost"] == [True]
    assert [plot.log for plot in make_curve_plots(comparison) if plot.y == "cost"] == [False]


@pytest.mark.parametrize("positions", [[0.5, 0.5, 0.5], [0.9, 0.1, 0.12], [1.0, 0.99, 0.0], [0.3], [0.0, 0.02]])
def test_labels_do_not_overlap(positions):
    positions, gap = np.array(positions), 0.1
    placed = spread(positions, gap)
    order = np.argsort(positions, kind="stable")
    assert np.all(np.diff(placed[order]) >= gap - 1e-12)
    assert placed.min() >= 0 and placed.max() <= 1 + 1e-12
    rng = np.random.default_rng(0)  # no other feasible placement is nearer
    for _ in range(200):
        other = placed[order] + 0.05 * rng.normal(size=len(placed))
        if np.all(np.diff(other) >= gap) and other.min() >= 0 and other.max() <= 1:
            assert np.sum((other - positions[order]) ** 2) >= np.sum((placed - positions) ** 2) - 1e-12
