"""The report and the live page in a browser: no error, the slider changes the plots, the buttons act on a real run.

Buttons are pressed by the keyboard: a click may miss while figures that are drawn move what lies below them.
"""

import base64
import dataclasses
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import gps_command
from helpers.records import evaluation, untold, with_policy, without_dynamics
from helpers.runs import INTERFACE, make_policy_run, make_run

from gps.inspect.live import Server
from gps.inspect.report.measures import measure_spread
from gps.inspect.report.page import report
from gps.players import Player
from gps.records import ModelRecord, OptimisationRecord, PlannerRecord
from gps.runs import Run
from gps.runs.control import read_request
from gps.status import ModelStatus, PolicyStatus, Status

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that keeps its errors and the addresses it asked for."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.errors, page.asked = [], []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    page.close()


def until(page, expression: str, seconds: float = 60.0) -> None:
    """Waits for what a script says; the page's own policy forbids the browser to wait for a script by itself."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression}; errors: {page.errors}"
        page.wait_for_timeout(50)


def open_all(page) -> None:
    """Open the figures that are closed at first, such as that of the noise."""
    page.evaluate("for (const element of document.querySelectorAll('details:not(#what *)')) element.open = true")


def show_figure(page, name: str) -> None:
    page.locator(f"#{name}").scroll_into_view_if_needed()
    until(page, f"!dirty.has('{name}') && Boolean(document.getElementById('{name}')._fullLayout)")


def curve(page, name: str, trace: int = 2) -> list:
    return page.evaluate(f"Array.from(document.getElementById('{name}').data[{trace}].y)")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("browser"), iterations=4)


def test_the_report(page, run, tmp_path):
    file = tmp_path / "report.html"
    report(run, file)
    page.goto(file.as_uri())
    until(page, "document.body.dataset.shown !== undefined")
    page.evaluate("select(3, 0)")
    for name in page.evaluate("Object.keys(FIGURES)"):
        if page.locator(f"#{name}").is_visible():
            show_figure(page, name)
    assert page.locator("h1").inner_text() == "e seed 1"
    assert page.locator("#description").inner_text() == "A <made-up> run."

    show_figure(page, "states")
    before = curve(page, "states")
    assert before == pytest.approx(run.iterations[3].local.marginals.mean[0, :, 0].tolist(), abs=1e-3)
    page.locator("#iteration").evaluate("slider => { slider.value = 1; slider.dispatchEvent(new Event('input')); }")
    until(page, "document.body.dataset.shown === '1-0'")
    show_figure(page, "states")
    assert curve(page, "states") == pytest.approx(run.iterations[1].local.marginals.mean[0, :, 0].tolist(), abs=1e-3)
    page.select_option("#condition", "1")
    until(page, "document.body.dataset.shown === '1-1'")
    show_figure(page, "states")
    assert curve(page, "states") == pytest.approx(run.iterations[1].local.marginals.mean[1, :, 0].tolist(), abs=1e-3)
    assert "Inside iteration 1, condition 1" in page.locator("#inside-title").inner_text()

    show_figure(page, "feedback")
    page.select_option("#action", "1")
    until(page, "!dirty.has('feedback')")
    z = page.evaluate("document.getElementById('feedback').data[0].z.map(row => Array.from(row))")
    record = run.iterations[1]
    K = record.local.controllers.feedback[1, :, 1]
    spread = measure_spread(record.rollouts.states, record.rollouts.mask)[1]
    assert all(row == pytest.approx((K[:, i] * spread[i]).tolist(), abs=0.05) for i, row in enumerate(z))
    assert page.errors == []
    assert {url for url in page.asked if not url.startswith(("data:", "blob:"))} == {file.as_uri()}


def drawn(page) -> None:
    """Waits until each figure that is there has been drawn."""
    until(page, "document.body.dataset.shown !== undefined")
    open_all(page)
    for name in page.evaluate("Object.keys(FIGURES)"):
        if page.locator(f"#{name}").is_visible():
            show_figure(page, name)


def test_time_is_in_seconds_and_axes_have_names_units_and_limits(page, tmp_path):
    run = make_run(tmp_path, iterations=2, interface=INTERFACE)
    file = tmp_path / "report.html"
    report(run, file)
    page.goto(file.as_uri())
    drawn(page)
    for name in ("states", "actions", "feedback", "mean-action"):
        axis = "xaxis4" if name == "states" else "xaxis"
        title = page.evaluate(f"document.getElementById('{name}').layout.{axis}.title.text")
        assert title == "time, s", name
    shown = page.evaluate("Array.from(document.getElementById('states').data[2].x)")
    assert shown == pytest.approx((0.05 * np.arange(6)).tolist())
    titles = page.evaluate("document.getElementById('states').layout.annotations.map((a) => a.text)")
    assert titles[:2] == ["knee angle, rad", "tip-goal x, m"]
    titles = page.evaluate("document.getElementById('actions').layout.annotations.map((a) => a.text)")
    assert titles == ["hip, N m (limits −2 to 2)", "u1 (limits none to 0.5)"]
    lines = page.evaluate("document.getElementById('actions').layout.shapes.map((s) => [s.yref, s.y0])")
    assert lines == [["y", -2], ["y", 2], ["y2", 0.5]]
    assert page.locator(".of-limits").first.is_visible()
    assert page.errors == []


def test_a_tube_is_cut_where_the_samples_are_far_away(page, tmp_path):
    def explode(item):
        marginals = dataclasses.replace(item.local.marginals, mean=1e3 + item.local.marginals.mean)
        return dataclasses.replace(item, local=dataclasses.replace(item.local, marginals=marginals))

    file = tmp_path / "report.html"
    run = make_run(tmp_path, iterations=1, change=explode)
    report(run, file)
    page.goto(file.as_uri())
    drawn(page)
    low, high = page.evaluate("document.getElementById('states').layout.yaxis.range")
    samples = run.iterations[0].rollouts.states[0, :, :, 0]
    assert low < samples.min() and samples.max() < high <= samples.max() + 0.6 * np.ptp(samples)
    assert page.errors == []


def test_sections_close_and_what_they_hide_is_drawn_when_they_open(page, run, tmp_path):
    file = tmp_path / "report.html"
    report(run, file)
    page.goto(file.as_uri())
    until(page, "document.body.dataset.shown !== undefined")
    assert not page.locator("#noise").is_visible() and page.locator("#states").is_visible()
    page.locator("#noise-figure > summary").press("Enter")
    show_figure(page, "noise")
    page.locator("#inside > details > summary").press("Enter")
    assert not page.locator("#states").is_visible() and page.locator("#cost").is_visible()
    page.evaluate("select(1, 0)")
    until(page, "document.body.dataset.shown === '1-0'")
    page.locator("#inside > details > summary").press("Enter")
    show_figure(page, "states")
    assert curve(page, "states") == pytest.approx(run.iterations[1].local.marginals.mean[0, :, 0].tolist(), abs=1e-3)
    assert page.errors == []


def test_the_report_of_a_policy(page, tmp_path):
    run = make_policy_run(tmp_path, iterations=3)
    file = tmp_path / "report.html"
    report(run, file)
    page.goto(file.as_uri())
    until(page, "view.ends !== null")
    page.evaluate("select(2, 1)")
    until(page, "document.body.dataset.shown === '2-1'")
    drawn(page)
    record = run.iterations[2]
    assert "The policy was sampled." in page.locator("#roles").inner_text()
    assert "policy ok ·" in page.locator("#selected-state").inner_text()
    assert page.locator("#policy-status").inner_text().startswith("All steps were done")
    assert page.locator("figure:has(#policy-kl) h3").inner_text() == "KL of the policy to the local controllers"
    # Beneath, the local controllers that the iteration made; above, what was run.
    mean, spread = record.local.marginals.mean[1, :, 0], np.ptp(record.local.marginals.mean)
    assert curve(page, "states", 5) == pytest.approx(mean.tolist(), abs=1e-3 * spread)
    joint, _ = record.local.marginals.joint(record.local.controllers)
    assert curve(page, "mean-action", 5) == pytest.approx(np.asarray(joint)[1, :, 4].tolist(), abs=1e-3)
    assert page.evaluate("document.getElementById('feedback').data.length") == 2
    assert curve(page, "policy-kl-now", 1) == pytest.approx(record.policy.kl[1].tolist(), abs=1e-3)
    assert curve(page, "training", 1) == pytest.approx(record.policy.held_out_loss.tolist(), abs=1e-3)
    kl = [run.iterations[k].policy.kl[1].mean() for k in range(3)]
    assert curve(page, "policy-kl", 1) == pytest.approx(kl, abs=1e-3)
    assert curve(page, "policy-loss", 2) == pytest.approx([2.0] * 3)

    assert page.locator(".tile").count() == 3 and page.locator("#starts tr").count() == 6
    solved = sum(item.solved for item in run.evaluation_rows("unseen"))
    assert f"{solved} of 3" in page.locator(".tile").nth(1).inner_text()
    page.locator("#starts button").nth(1).press("Enter")
    show_figure(page, "end-states")
    for trace, what in ((1, "local"), (2, "final")):
        states = run.evaluation(what).rollouts.states[1, 0, :, 0]
        assert curve(page, "end-states", trace) == pytest.approx(states.tolist(), abs=1e-3)
    page.select_option("#start", "3")
    assert "It was not trained from this start." in page.locator("#end-words").inner_text()
    show_figure(page, "end-states")
    states = run.evaluation("unseen").rollouts.states[1, 0, :, 0]
    assert curve(page, "end-states", 1) == pytest.approx(states.tolist(), abs=1e-3)
    page.evaluate("select(0, 0)")
    until(page, "document.body.dataset.shown === '0-0'")
    assert "The local controller was sampled." in page.locator("#roles").inner_text()
    assert page.errors == []


def test_controllers_are_downloaded_and_videos_are_shown(page, tmp_path):
    run = make_run(tmp_path, iterations=1)
    pixel = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
    (run.path / "last.gif").write_bytes(pixel)
    file = tmp_path / "report.html"
    report(run, file)
    page.goto(file.as_uri())
    until(page, "document.querySelector('#videos img')?.naturalWidth === 1")
    assert page.locator("#videos").inner_text() == "last.gif"
    with page.expect_download() as waiting:
        page.locator("#controllers").press("Enter")
    assert waiting.value.suggested_filename == "e-seed1-iter000-controllers.npz"
    with np.load(waiting.value.path()) as arrays:
        np.testing.assert_array_equal(arrays["K"], run.iterations[0].local.improved.feedback)
    assert page.errors == []


def test_a_policy_that_was_never_trained_is_not_spoken_of(page, tmp_path):
    """Its local controllers are what the final evaluation has run."""

    def change(item):
        made = with_policy(item, sampled=False, existed=False)
        unknown = np.full_like(made.policy.held_out_loss, np.nan)
        warm = dataclasses.replace(
            made.policy, trained=False, mean_status=PolicyStatus.WARM_UP, held_out_loss=unknown, steps=0
        )
        return dataclasses.replace(made, policy=warm)

    run = make_run(tmp_path, change=change)
    run.write_evaluation(evaluation(player=Player.LOCAL))
    file = tmp_path / "report.html"
    report(run, file)
    page.goto(file.as_uri())
    until(page, "view.ends !== null")
    drawn(page)
    assert not visible(page) & POLICY
    assert "There is no policy yet." in page.locator("#summary").inner_text()
    shown = "\n".join(page.locator(name).inner_text() for name in ("#summary", "#worth", "#end"))
    assert not re.search(r"policy (solves|succeeds|costs)|The policy,|the policy from", shown)
    assert "local controllers, without noise" in shown.lower() or "the local controllers solve" in shown
    assert page.locator(".tile").count() == 1 and page.locator("#starts th").count() == 2
    assert page.errors == []


def test_the_report_on_a_phone_has_nothing_wider_than_the_screen(page, tmp_path):
    run = make_policy_run(tmp_path, iterations=12, interface=INTERFACE)
    file = tmp_path / "report.html"
    report(run, file)
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(file.as_uri())
    until(page, "view.ends !== null")
    page.evaluate("drawAll()")
    until(page, "dirty.size === 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.errors == []


def test_the_report_of_a_policy_that_an_expert_taught(page, tmp_path):
    file = tmp_path / "report.html"
    run = make_policy_run(
        tmp_path,
        teacher=Player.EXPERT,
        change=lambda item: with_policy(item, item.iteration > 0, "No." * (item.iteration == 2), teacher=Player.EXPERT),
    )
    report(run, file)
    page.goto(file.as_uri())
    until(page, "view.ends !== null")
    page.evaluate("select(2, 1)")
    until(page, "document.body.dataset.shown === '2-1'")
    drawn(page)
    assert "Expert and policy were sampled together." in page.locator("#roles").inner_text()
    assert "The expert, from the training starts" in page.locator(".tile").nth(2).inner_text()
    assert page.locator("#policy-status").get_attribute("class") == "bad"
    assert page.evaluate("document.getElementById('glance').layout.yaxis.ticktext") == [
        "condition 0",
        "condition 1",
        "policy",
    ]
    cells = page.evaluate("document.getElementById('glance').data[1].text")
    assert cells[-1].startswith("<b>✕ ") and not any("✕" in cell for cell in cells[:-1])
    page.evaluate("select(0, 0)")
    until(page, "document.body.dataset.shown === '0-0'")
    assert "The expert was sampled." in page.locator("#roles").inner_text()
    assert "local controller" not in page.locator("main").inner_text()
    assert page.errors == []


LOCAL = {"kl", "kl-steps", "eta", "entropy", "multiplier", "feedback", "mean-action", "noise", "search", "kl-now"}
DYNAMICS = {"model-error", "model"}
POLICY = {"policy-kl", "policy-loss", "policy-noise", "policy-kl-now", "training"}
ENDS = {"map", "end-states", "end-actions", "end-space"}
ALWAYS = {"glance", "cost", "success", "saturated", "time", "states", "actions", "space"}


def visible(page) -> set[str]:
    """The figures of which one can see anything: their frame, which also holds the sentence in place of a plot."""
    script = "Object.keys(FIGURES).filter((id) => document.getElementById(id).closest('figure').offsetParent)"
    return set(page.evaluate(script))


def test_a_run_without_dynamics_has_no_figures_of_a_model(page, tmp_path):
    """As PI2."""
    file = tmp_path / "report.html"
    run = make_run(tmp_path, change=without_dynamics)
    report(run, file)
    page.goto(file.as_uri())
    drawn(page)
    assert visible(page) == ALWAYS | LOCAL
    text = page.locator("#main").inner_text()
    assert "tube of the samples" in text and not re.search("model|mixture", text, re.I)
    mean = run.iterations[2].local.marginals.mean[0, :, 0]
    page.evaluate("select(2, 0)")
    until(page, "document.body.dataset.shown === '2-0'")
    show_figure(page, "states")
    assert curve(page, "states") == pytest.approx(mean.tolist(), abs=1e-3)
    assert page.errors == []


def test_a_run_without_local_controllers_has_samples_alone(page, tmp_path):
    """As DAgger and PLATO."""
    file = tmp_path / "report.html"
    run = make_policy_run(tmp_path, teacher=Player.EXPERT)
    report(run, file)
    page.goto(file.as_uri())
    until(page, "view.ends !== null")
    drawn(page)
    assert visible(page) == ALWAYS | POLICY | ENDS | {"mixture"}
    text = page.locator("#main").inner_text()
    assert not re.search("controller|tube|forecast|η", text)
    page.evaluate("select(2, 1)")
    until(page, "document.body.dataset.shown === '2-1'")
    show_figure(page, "states")
    rollouts = run.iterations[2].rollouts
    data = page.evaluate("document.getElementById('states').data.slice(0, 2).flatMap((t) => Array.from(t.y))")
    shown = sorted(value for value in data if value is not None)
    assert shown == pytest.approx(sorted(rollouts.states[1, :, :, 0].ravel().tolist()), abs=1e-3)
    assert page.errors == []


def test_a_run_that_plans_in_a_global_model(page, tmp_path):
    """As an algorithm without local controllers and without a policy."""

    def change(item):
        errors = np.arange(1.0, 25.0).reshape(6, 4)
        model = ModelRecord(
            training_loss=np.array([-1.0, -2.0]), held_out_loss=np.array([3.0, -1.0, -0.5]),
            one_step_error=errors[0], horizon_error=errors, name="ensemble of 5 networks", points=120,
            coverage=np.array([0.5, 0.9]), status=ModelStatus.DIVERGED, message="Member 2 diverged.",
        )  # fmt: skip
        states = item.rollouts.states[:, 0]
        planner = PlannerRecord(
            predicted=np.array([1.0, 2.0]), actual=np.array([3.0, 4.0 + item.iteration]), planned_states=states + 1.0,
            effective_samples=np.full(states.shape[:2], 7.0),
            fallbacks=np.array([0, 1]),
        )  # fmt: skip
        seconds = dataclasses.replace(item.seconds, plan=0.02)
        return dataclasses.replace(
            item, player=Player.PLANNER, local=None, model=model, planner=planner, seconds=seconds
        )

    file = tmp_path / "report.html"
    run = make_run(tmp_path, change=change)
    run.write_evaluation(evaluation(run.iterations[0].rollouts, player=Player.PLANNER))
    report(run, file)
    page.goto(file.as_uri())
    drawn(page)
    page.evaluate("select(2, 1)")
    until(page, "document.body.dataset.shown === '2-1'")
    drawn(page)
    planned = {"planner", "plan-time", "plan", "plan-distance", "effective"}
    assert visible(page) == ALWAYS | {"model-loss", "one-step", "coverage", "ahead"} | planned
    assert (curve(page, "coverage", 0), curve(page, "coverage", 1)) == ([0.9] * 3, [0.5] * 3)
    assert (curve(page, "one-step", 1), curve(page, "plan-time", 1)) == ([2.0] * 3, [20.0] * 3)
    came = run.iterations[2].rollouts.states[1, 0, :, 0]
    assert curve(page, "plan", 0) == pytest.approx(came.tolist(), abs=1e-3)
    assert curve(page, "plan", 1) == pytest.approx((came + 1.0).tolist(), abs=1e-3)
    assert curve(page, "effective", 1) == pytest.approx([7.0] * 6)
    assert len(curve(page, "plan-distance", 1)) == 6 and min(curve(page, "plan-distance", 1)) > 0
    said = page.locator("#model-status").inner_text()
    assert said.startswith("Global model: ensemble of 5 networks, fitted to 120 transitions.")
    assert "Member 2 diverged." in said and ModelStatus.DIVERGED.remedy in said
    assert "the global model: Member 2 diverged." in page.locator("#findings li.error").inner_text()
    assert (curve(page, "planner", 0), curve(page, "planner", 1)) == ([2.0] * 3, [4.0, 5.0, 6.0])
    assert (curve(page, "model-loss", 1), curve(page, "model-loss", 2)) == ([3.0] * 3, [-1.0] * 3)
    assert curve(page, "ahead", 0) == [1.0, 5.0, 9.0, 13.0, 17.0, 21.0]
    assert "The planner, under the environment's noise, solves" in page.locator("#summary").inner_text()
    assert page.errors == []


def test_an_optimised_policy_shows_its_gradient_against_the_horizon(page, tmp_path):
    def change(item):
        optimisation = OptimisationRecord(
            existed=item.iteration > 0,
            trained=True,
            losses=np.array([5.0, 4.0, 3.0 - item.iteration]),
            starts=np.array([3.0]),
            gradient_norms=10.0 ** -np.arange(5.0) * (1 + item.iteration),
            kl=0.1,
            status=PolicyStatus.EXPLODED,
            message="2 of 3 updates were not finite.",
        )
        return dataclasses.replace(item, player=Player.POLICY, local=None, model=None, optimisation=optimisation)

    file = tmp_path / "report.html"
    report(make_run(tmp_path, change=change), file)
    page.goto(file.as_uri())
    drawn(page)
    page.evaluate("select(2, 1)")
    until(page, "document.body.dataset.shown === '2-1'")
    drawn(page)
    assert visible(page) == ALWAYS | {"model-cost", "gradient-course", "gradient", "optimising"}
    assert curve(page, "gradient", 1) == pytest.approx([3.0, 0.3, 0.03, 0.003, 0.0003])
    assert page.evaluate("document.getElementById('gradient').layout.yaxis.type") == "log"
    assert curve(page, "optimising", 0) == [5.0, 4.0, 1.0]
    assert (curve(page, "model-cost", 1), curve(page, "model-cost", 2)) == ([5.0] * 3, [3.0, 2.0, 1.0])
    assert curve(page, "gradient-course", 1) == pytest.approx([0.001, 0.002, 0.003])  # 3 steps ahead
    assert page.locator("#optimisation-status").inner_text() == "2 of 3 updates were not finite."
    assert "the optimisation of the policy: 2 of 3 updates" in page.locator("#findings").inner_text()
    assert page.errors == []


def test_a_finding_says_what_to_do(page, tmp_path):
    file = tmp_path / "report.html"
    run = make_run(
        tmp_path, change=lambda item: dataclasses.replace(item, status=np.array([Status.OK, Status.NOT_FINITE]))
    )
    report(run, file)
    page.goto(file.as_uri())
    drawn(page)
    assert Status.NOT_FINITE.remedy in page.locator("#findings li.error .remedy").inner_text()
    assert page.errors == []


def test_without_a_policy_or_a_flag_nothing_is_said_of_them(page, tmp_path):
    file = tmp_path / "report.html"
    report(make_run(tmp_path, change=lambda item: dataclasses.replace(item, rollouts=untold(item.rollouts))), file)
    page.goto(file.as_uri())
    drawn(page)
    for name in ("worth", "end", "roles", "policy-kl", "policy-loss", "policy-noise", "policy-kl-now", "success"):
        assert not page.locator(f"#{name}").is_visible(), name
    text = page.locator("#main").inner_text()
    assert not re.search("policy|succe", text)
    assert page.errors == []


@pytest.mark.parametrize(
    "sizes",
    [
        {"iterations": 1, "M": 1, "N": 1, "T": 2, "dx": 1, "du": 1, "layout": None, "clusters": 0},
        {"iterations": 2, "M": 16, "dx": 40, "du": 14, "layout": {"qpos": slice(0, 40)}},
        {"iterations": 1, "M": 1, "N": 1, "T": 2, "dx": 1, "du": 1, "layout": None, "clusters": 0, "unseen": 0},
        {"iterations": 2, "M": 12, "unseen": 30, "evaluated": False},
    ],
    ids=["least", "large", "least policy", "policy at work"],
)
def test_reports_of_other_shapes(page, tmp_path, sizes):
    file = tmp_path / "report.html"
    make = make_policy_run if "unseen" in sizes else make_run
    report(make(tmp_path, **sizes), file)
    page.goto(file.as_uri())
    until(page, "document.body.dataset.shown !== undefined")
    page.evaluate("drawAll()")
    until(page, "dirty.size === 0")
    assert page.errors == []


def test_the_live_page_follows_and_stops_a_real_run(page, tmp_path):
    command = ["run", ROOT / "experiments/pointmass", "--live", "--quiet", "--iterations", 500]
    command += ["--set", "environment.horizon=20", "--out", tmp_path]
    with gps_command(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        url = re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())[0]
        page.goto(url)
        until(page, "view.pieces.length >= 3")
        page.evaluate("select(1)")
        until(page, "document.body.dataset.shown === '1-0'")
        show_figure(page, "states")
        before = curve(page, "states")

        page.click("#pause")
        until(page, "document.getElementById('live').dataset.state === 'paused'")
        count = len(list(tmp_path.glob("*/*/iterations/[0-9]*")))
        until(page, f"view.pieces.length === {count}")
        page.wait_for_timeout(500)
        assert len(list(tmp_path.glob("*/*/iterations/[0-9]*"))) == count
        page.click("#resume")
        until(page, f"view.pieces.length > {count}")
        assert page.evaluate("view.k") == 1  # the reader is where the reader was
        assert curve(page, "states") == before
        page.locator("#iteration").evaluate("slider => { slider.value = 2; slider.oninput({target: slider}); }")
        until(page, "document.body.dataset.shown === '2-0'")
        show_figure(page, "states")
        assert curve(page, "states") != before
        assert page.errors == []
        page.click("#stop")
        assert process.wait(60) == 130
        path, error = process.stdout.read().splitlines()[-1], process.stderr.read()
    assert "stopped on request" in error
    run = Run.open(path)
    run.verify()
    assert 3 <= len(run.iterations) < 500
    assert not {"control.json", "paused.json"} & {file.name for file in run.path.iterdir()}


def test_the_buttons_of_a_live_page_are_whole_words_on_a_phone(page, run):
    page.set_viewport_size({"width": 390, "height": 900})
    with run, Server() as server:
        run.note_stage("iteration 4 of 12: improving what is learned")
        server.show(Run.open(run.path))
        page.goto(server.url)
        until(page, "view.pieces.length === 4")
        assert "improving what is learned" in page.locator("#live-state").inner_text()
        assert page.locator("#waiting").is_hidden()
        for name in ("pause", "resume", "stop"):
            assert page.locator(f"#{name}").bounding_box()["height"] < 40
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.errors == []


def test_a_page_elsewhere_cannot_stop_a_run(page, run):
    """Another origin's script, in a real browser, that knows the address but not the token."""
    with run, Server() as server:
        server.show(Run.open(run.path))
        page.goto("about:blank")
        script = """(url) => fetch(url + 'control', {method: 'POST', mode: 'no-cors', body: '{"request": "stop"}'})
                             .then((response) => response.status, () => 0)"""
        assert page.evaluate(script, server.url) == 0  # it was sent, and may not be read
        assert f"{server.url}control" in page.asked
        assert read_request(run.path) is None
