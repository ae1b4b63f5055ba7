"""Recorded episodes from arrays, tables and runs: what is read, and what is said of files that are wrong."""

import os

import numpy as np
import pytest
from helpers.runs import cut_short, make_run

from gps.errors import GpsError, RecordingError
from gps.recordings import read_recording

RNG = np.random.default_rng(0)
X, U = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 5, 1))
HEADER = "episode,t,x:angle [rad],x:qpos[1],u:torque [N m]\n"


def save(folder, **arrays):
    path = folder / "data.npz"
    np.savez(path, **{"states": X, "actions": U, **arrays})
    return path


def table(folder, text, header=HEADER):
    path = folder / "data.csv"
    path.write_text(header + text, encoding="utf-8")
    return path


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_arrays_have_names_units_and_a_period(tmp_path):
    names = {"state_names": ["angle", "speed"], "state_units": ["rad", "rad/s"], "action_names": ["torque"]}
    found = read_recording(save(tmp_path, dt=0.05, rewards=np.zeros(3), **names))
    assert np.array_equal(found.states, X) and np.array_equal(found.actions[:, :-1], U[:, :-1])
    assert [entry[:2] for entry in found.state_entries] == [("angle", "rad"), ("speed", "rad/s")]
    assert (found.action_entries[0].name, found.dt, found.size) == ("torque", 0.05, 12)
    assert found.notes == ("rewards is not read",)


def test_conditions_masks_single_episodes_and_one_action_less(tmp_path):
    by_condition = read_recording(save(tmp_path, states=X[None], actions=U[None]))
    assert by_condition.states.shape == X.shape
    less = read_recording(save(tmp_path, actions=U[:, :-1]))
    assert np.array_equal(less.actions, by_condition.actions)
    mask = np.ones((3, 5), int)
    mask[0, 3:] = 0
    mask[1, 1:] = 0
    holes = X.copy()
    holes[0, 3:] = np.nan
    short = read_recording(save(tmp_path, states=holes, mask=mask))
    assert (short.episodes, short.size) == (2, 2 + 4) and np.isfinite(short.states).all()
    assert "1 episode of less than two steps left out" in short.notes
    one = read_recording(save(tmp_path, states=X[0], actions=U[0]))
    assert one.states.shape == (1, 5, 2) and one.state_entries[1].name == "x1"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"states": X[0, 0]}, "expected \\(N, T, dx\\)"),
        ({"actions": U[:, :2]}, "expected \\(3, 5, du\\)"),
        ({"actions": U[:2]}, "actions have the shape"),
        ({"states": np.where(X[1, 2, 1] == X, np.nan, X)}, "state 'x1' of episode 1 is nan at step 2"),
        ({"actions": np.where(U[2, 3, 0] == U, 1e200, U)}, "action 'u0' of episode 2 is 1e\\+200 at step 3"),
        ({"mask": np.ones((3, 4))}, "mask of float64 with the shape \\(3, 4\\)"),
        ({"mask": np.zeros((3, 5))}, "no episode has two steps"),
        ({"state_names": ["a"]}, "1 names for the 2 entries of x"),
        ({"state_names": ["a", "a"]}, "two entries of x are named 'a'"),
        ({"state_names": [1, 2]}, "expected a list of strings"),
        ({"dt": -1.0}, "dt must be one positive number"),
        ({"states": X.astype(complex)}, "expected real numbers"),
        ({"extra": np.array([{}], dtype=object)}, "pickles are never read"),
    ],
)
def test_wrong_arrays_are_explained(tmp_path, arrays, message):
    with pytest.raises(RecordingError, match=message):
        read_recording(save(tmp_path, **arrays))


def test_a_misspelt_array_is_guessed(tmp_path):
    np.savez(tmp_path / "data.npz", state=X, actions=U)
    with pytest.raises(RecordingError, match="no array 'states'; did you mean 'state'"):
        read_recording(tmp_path / "data.npz")


# -- tables ------------------------------------------------------------------------------------------------------------


def test_a_table_of_ragged_episodes(tmp_path):
    text = "a,0,1,2,3\na,0.1,4,5,\n\nb,7.0,1,1,1\nb,7.1,2,2,2\nb,7.2,3,3,\n"
    found = read_recording(table(tmp_path, text))
    assert found.mask.tolist() == [[True, True, False], [True, True, True]]
    assert found.states[0, 1].tolist() == [4, 5] and found.actions[1, :, 0].tolist() == [1, 2, 0]
    assert [entry[:2] for entry in found.state_entries] == [("angle", "rad"), ("qpos[1]", "")]
    assert found.action_entries[0][:2] == ("torque", "N m") and found.dt == pytest.approx(0.1)


def test_columns_come_in_any_order_and_others_are_noted(tmp_path):
    found = read_recording(table(tmp_path, "1,9,0,0,5\n2,8,1,0,6\n", "x:a,reward,t,episode,u:b\n"))
    assert found.states[0, :, 0].tolist() == [1, 2] and found.actions[0, 0] == 5
    assert found.notes == ("column 'reward' is not read",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a header and no rows"),
        ("a,0,1,2,3\na,1,nan,2,3\n", "line 3, column 'x:angle \\[rad\\]': expected a finite number, got 'nan'"),
        ("a,0,1,,3\na,1,1,2,3\n", "line 2, column 'x:qpos\\[1\\]': expected a finite number, got nothing"),
        ("a,0,1,2,\na,1,1,2,3\n", "line 2, column 'u:torque \\[N m\\]': expected a finite number, got nothing"),
        ("a,0,1,2,3\n\na,1,1,two,3\n", "line 4, column 'x:qpos\\[1\\]': .* got 'two'"),
        ("a,1,1,2,3\na,0,1,2,3\n", "line 3, column 't': not later than the row above"),
        ("a,0,1,2,3\na,1,1,2,3\nb,0,1,2,3\na,2,1,2,3\n", "line 5: episode 'a' again"),
        ("a,0,1,2,3\na,1,1,2\n", "line 3: 4 cells, and the header has 5"),
        (",0,1,2,3\n", "line 2, column 'episode': empty"),
        ("a,0,1,2,3\na,1,1,2,3\na,2,1,2,3\na,9,1,2,3\n", "line 5, column 't': 7 s after the row above"),
        ("a,0,1,2,3\nb,0,1,2,3\n", "no episode has two steps"),
        ('a,0,1,2,"3\n', "not a table of comma-separated values"),
    ],
)
def test_wrong_rows_are_named(tmp_path, text, message):
    with pytest.raises(RecordingError, match=message):
        read_recording(table(tmp_path, text))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("\n", "expected a header"),
        ("episode;t;x:a;u:b\n", "separated by semicolons"),
        ("episode,x:a,u:b\n", "no column 't'"),
        ("epsiode,t,x:a,u:b\n", "no column 'episode'; did you mean 'epsiode'"),
        ("episode,t,a,u:b\n", "no column of the state"),
        ("episode,t,x:a,b\n", "no column of the action"),
        ("episode,t,x:a,x:a,u:b\n", "two columns are named 'x:a'"),
        ("episode,t,x: [m],u:b\n", "has no name after 'x:'"),
    ],
)
def test_a_wrong_header_is_explained(tmp_path, header, message):
    with pytest.raises(RecordingError, match=message):
        read_recording(table(tmp_path, "0,0,1,1\n", header))


# -- runs and paths ----------------------------------------------------------------------------------------------------


def test_a_run_gives_its_rollouts(tmp_path):
    run = make_run(tmp_path, change=cut_short)
    found = read_recording(run.path)
    rollouts = [run.iterations[k].rollouts for k in range(3)]
    assert found.states.shape == (3 * 2 * 3, 6, 4)
    assert found.size == sum(int((r.mask[..., :-1] & r.mask[..., 1:]).sum()) for r in rollouts)
    assert np.array_equal(found.states[6:12], rollouts[1].states.reshape(6, 6, 4))
    assert found.state_entries[0].name == "qpos"


def test_the_name_of_a_run_may_leave_out_the_folder(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    run = make_run(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    name = run.path.relative_to(tmp_path / "runs")
    np.testing.assert_array_equal(read_recording(name).states, read_recording(run.path).states)
    np.testing.assert_array_equal(read_recording(name.parts[0]).states, read_recording(run.path).states)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"ends in \.npz or \.csv"):
        read_recording(tmp_path / "data.txt")
    with pytest.raises(RecordingError, match="No such file"):
        read_recording(tmp_path / "data.csv")
    with pytest.raises(GpsError, match="neither a run directory"):
        read_recording(tmp_path)
    (tmp_path / "data.npz").write_bytes(b"PK nothing")
    with pytest.raises(RecordingError, match="not a file of arrays"):
        read_recording(tmp_path / "data.npz")
    (tmp_path / "bad.csv").write_bytes(b"episode,t,x:a,u:b\n\xff\n")
    with pytest.raises(RecordingError, match="line 2: not UTF-8"):
        read_recording(tmp_path / "bad.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(RecordingError, match="not a regular file"):
        read_recording(tmp_path / "pipe.csv")
