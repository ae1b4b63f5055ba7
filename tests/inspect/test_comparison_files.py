"""`gps compare` beside other programs: their learning curves as rows, and figures and tables to hand on."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.records import config, evaluation, record, rollouts, state

from gps import cli
from gps.errors import DrawingError, RunError
from gps.inspect.comparison import compare, make_header, make_row
from gps.inspect.comparison.writing import write_comparison
from gps.runs.creating import create_run


@pytest.fixture
def runs(tmp_path):
    """A folder of two runs."""
    for seed in range(2):
        run = create_run(tmp_path / "runs", "e", seed, config(), tmp_path, "")
        for k in range(3):
            run.write(record(k, seed=seed), state(k))
        run.write_evaluation(evaluation(rollouts(np.random.default_rng(seed), N=1), 1.0 + seed))
    return tmp_path / "runs"


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def read_curve(path: Path, kind: str = "returns", **options) -> tuple[list[int], list[float]]:
    (group,) = compare([path], **options).groups
    (member,) = group.members
    curve = getattr(member, kind)
    return curve.steps.tolist(), curve.values.tolist()


# -- curves of other programs ------------------------------------------------------------------------------------------


def test_a_table_is_a_row_with_its_source(tmp_path, runs, capsys):
    rows = [["seed", "steps", "return"], *([s, 36 * k, s + k] for s in (0, 1, 2) for k in (1, 2, 3))]
    sac = write_csv(tmp_path / "sac.csv", rows)
    comparison = compare([runs, sac])
    assert [group.label for group in comparison.groups] == ["e", "sac"]
    ours, theirs = (dict(zip(make_header(comparison), make_row(g, comparison), strict=True)) for g in comparison.groups)
    assert (ours["source"], theirs["source"]) == ("gps", str(sac))
    assert (theirs["runs"], theirs["steps"], theirs["final return [95 %]"]) == ("3", "108", "–")
    np.testing.assert_array_equal(comparison.groups[1].curves["returns"][1].value, [2, 3, 4])
    assert f"sac: read from {sac}, whose task is not known; learning curves alone, no final scores" in comparison.notes
    assert cli.main(["compare", str(runs), str(sac), "-o", str(tmp_path / "page.html")]) == 0
    assert "sac.csv" in capsys.readouterr().out


def test_a_table_of_several_names_and_with_gaps(tmp_path):
    rows = [["name", "steps", "cost"], ["a", 1, 5.0], ["b", 1, 7.0], ["a", 2, ""], ["a", 3, 4.0]]
    one, two = compare([write_csv(tmp_path / "t.csv", rows)]).groups
    assert (one.label, two.label) == ("a", "b")
    assert one.members[0].cost.drop_missing().steps.tolist() == [1, 3]


def test_a_monitor_file(tmp_path):
    file = tmp_path / "m.csv"
    file.write_text('#{"t_start": 0.0}\nr,l,t\n1.5,10,0.1\n2.5,20,0.2\n')
    assert read_curve(file) == ([10, 30], [1.5, 2.5])


def test_a_progress_table_has_its_names(tmp_path):
    rows = [["rollout/ep_rew_mean", "time/total_timesteps"], [1.0, 100], [2.0, 200]]
    assert read_curve(write_csv(tmp_path / "progress.csv", rows)) == ([100, 200], [1.0, 2.0])
    rows = [["steps", "score"], [1, 3.0]]
    assert read_curve(write_csv(tmp_path / "other.csv", rows), returns="score") == ([1], [3.0])


def test_arrays_with_final_scores_are_ranked(tmp_path, runs):
    steps = np.array([36, 72])
    good = {"steps": steps, "return": np.array([[1e3, 2e3], [3e3, 4e3]]), "final_return": [5e3, 6e3], "seed": [7, 3]}
    np.savez(tmp_path / "ppo.npz", **good)
    comparison = compare([runs, tmp_path / "ppo.npz"])
    ours, theirs = comparison.groups
    assert [member.seed for member in theirs.members] == [7, 3]
    assert theirs.final_return.value == 5500 and theirs.final_cost is None
    assert theirs.beats(ours, comparison.scale).value == 1
    np.testing.assert_array_equal(theirs.curves["returns"][1].value, [2e3, 3e3])


def test_a_folder_is_one_group(tmp_path):
    (tmp_path / "td3").mkdir()
    for seed in (4, 2):
        write_csv(tmp_path / "td3" / f"run_seed{seed}.csv", [["steps", "return"], [1, seed]])
    (group,) = compare([tmp_path / "td3"]).groups
    assert group.label == "td3" and sorted(member.seed for member in group.members) == [2, 4]


def test_event_files(tmp_path):
    tensorboardX = pytest.importorskip("tensorboardX")
    for i in range(2):
        with tensorboardX.SummaryWriter(str(tmp_path / "tb" / f"SAC_{i}")) as writer:
            for step in (10, 20, 30):
                writer.add_scalar("rollout/ep_rew_mean", step + i, step)
                writer.add_scalar("train/loss", 1.0, step)
    (group,) = compare([tmp_path / "tb"]).groups
    assert group.label == "tb" and len(group.members) == 2
    np.testing.assert_array_equal(group.curves["returns"][0].values, [[10, 20, 30], [11, 21, 31]])
    with pytest.raises(RunError, match=r"no 'reward'; .*tags: steps, rollout/ep_rew_mean, train/loss"):
        compare([tmp_path / "tb"], returns="reward")
    (file,) = (tmp_path / "tb" / "SAC_0").iterdir()
    file.write_bytes(file.read_bytes()[:-3])  # the last record is being written
    assert read_curve(file)[0] == [10, 20, 30]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "an empty table"),
        ("a.csv", "time,return\n1,2\n", r"no environment steps; name them 'steps'; its columns: time, return"),
        ("a.csv", "steps,score\n1,2\n", r"no return, cost or success; give --return NAME; its columns: steps, score"),
        ("a.csv", "steps,return\n1,good\n", r"column return: could not convert string to float: 'good'"),
        ("a.csv", "steps,return,seed\n1,2,x\n", r"column seed: expected an integer, got 'x'"),
        ("a.csv", "steps,return\n1,\n", r"no finite value of a return, cost or success"),
        ("a.npz", "PK", r"not an .npz of arrays of numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        compare([tmp_path / name])
    assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_arrays_of_a_wrong_shape(tmp_path):
    np.savez(tmp_path / "a.npz", steps=np.arange(3), cost=np.zeros((2, 4)))
    with pytest.raises(RunError, match=r"cost: expected \(3,\) or \(2, 3\) like the steps, got \(2, 4\)"):
        compare([tmp_path / "a.npz"])
    np.savez(tmp_path / "a.npz", steps=np.arange(3), cost=np.zeros((2, 3)), final_cost=np.zeros(3))
    with pytest.raises(RunError, match="final_cost: expected one for each of 2 seeds, got 3"):
        compare([tmp_path / "a.npz"])


# -- figures and tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_a_figure(tmp_path, runs, kind):
    pytest.importorskip("matplotlib")
    first, second = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    for file in (first, second):
        write_comparison(compare([runs]), file)
    content = first.read_bytes()
    assert content.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[kind])
    assert content == second.read_bytes()  # equal runs give equal bytes
    if kind == "svg":
        for text in ("e (2 runs)", "Return", "Success", "Final return", "Performance profiles", "environment steps"):
            assert text in content.decode()


def test_a_figure_without_its_package(tmp_path, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        DrawingError, match=r'\.pdf needs one more package: pip install "guided-policy-search\[figures\]"'
    ):
        write_comparison(compare([runs]), tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_the_table_has_every_number(tmp_path, runs):
    comparison = compare([runs])
    write_comparison(comparison, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (group,) = comparison.groups

    def find(measure: str, seed: str) -> list[dict[str, str]]:
        return [row for row in rows if (row["measure"], row["seed"]) == (measure, seed)]

    for member in group.members:
        curve = find("cost", str(member.seed))
        assert [int(row["steps"]) for row in curve] == member.cost.steps.tolist()
        assert [float(row["value"]) for row in curve] == member.cost.values.tolist()
        assert [float(row["value"]) for row in find("final cost", str(member.seed))] == [member.final_cost]
    (total,) = find("final cost", "")
    found = group.final_cost
    assert [float(total[name]) for name in ("value", "low", "high")] == [found.value, found.low, found.high]
