"""Exported policies act the same, in NumPy alone and in ONNX."""

import ast
import json
import sys

import numpy as np
import pytest
from helpers.onnx_file import run_onnx
from helpers.policies import seeing_policy, seen, vector_policy
from helpers.records import controllers

from gps.environments.contract import Entry
from gps.errors import PolicyError
from gps.policies.export import describe_interface, export_npz, export_onnx, read_loader
from gps.policies.interface import Interface


@pytest.fixture
def load():
    namespace = {}
    exec(compile(read_loader(), "load_policy.py", "exec"), namespace)
    return namespace["load"]


def test_the_loader_needs_numpy_alone_and_is_short():
    tree = ast.parse(read_loader())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imported] == ["import numpy as np"]
    (load,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "load"]
    lines = read_loader().splitlines()[load.lineno - 1 : load.end_lineno]
    assert len([line for line in lines if line.strip()]) <= 15


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_vector_policy_acts_the_same(tmp_path, load, activation):
    policy = vector_policy(activation=activation)
    export_npz(policy, tmp_path / "policy.npz")
    act = load(tmp_path / "policy.npz")
    for o in np.random.default_rng(0).normal(size=(20, 5)):
        np.testing.assert_allclose(act(o), policy.act(o), atol=1e-12)


@pytest.mark.parametrize("vector_size", [0, 2])
def test_a_policy_that_sees_acts_the_same(tmp_path, load, vector_size):
    policy, o = seeing_policy(vector_size), seen(np.random.default_rng(0), 4, vector_size=vector_size)
    export_npz(policy, tmp_path / "policy.npz")
    act = load(tmp_path / "policy.npz")
    for image, vector, u in zip(*o, policy.act(o), strict=True):
        np.testing.assert_allclose(act(vector, image=image), u, atol=1e-6)


def test_controllers_act_the_same(tmp_path, load):
    batch = controllers(np.random.default_rng(0), M=3)
    export_npz(batch, tmp_path / "all.npz")
    export_npz(batch[2], tmp_path / "one.npz")
    x = np.arange(4.0)
    every, one = load(tmp_path / "all.npz"), load(tmp_path / "one.npz")
    for t in range(6):
        np.testing.assert_allclose(every(x, t, condition=2), batch[2].act(x, t), atol=1e-12)
        np.testing.assert_allclose(one(x, t), batch[2].act(x, t), atol=1e-12)


def test_equal_policies_make_equal_files_without_pickles(tmp_path):
    for name in ("one.npz", "two.npz"):
        export_npz(vector_policy(), tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
        assert int(file["version"]) == 2
        np.testing.assert_array_equal(file["covariance"], vector_policy().covariance)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one.npz", "two.npz"]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_onnx_acts_the_same(tmp_path, activation):
    onnx = pytest.importorskip("onnx")
    policy, o = vector_policy(activation=activation), np.random.default_rng(0).normal(size=(7, 5))
    export_onnx(policy, tmp_path / "policy.onnx")
    for rows in (o, o[:1]):
        np.testing.assert_allclose(run_onnx(tmp_path / "policy.onnx", observation=rows), policy.act(rows), atol=1e-6)
    (covariance,) = [p.value for p in onnx.load(tmp_path / "policy.onnx").metadata_props if p.key == "covariance"]
    np.testing.assert_array_equal(np.array(covariance.split(), float).reshape(3, 3), policy.covariance)


@pytest.mark.parametrize("vector_size", [0, 2])
def test_onnx_sees_the_same(tmp_path, vector_size):
    pytest.importorskip("onnx")
    policy, o = seeing_policy(vector_size), seen(np.random.default_rng(0), 3, vector_size=vector_size)
    export_onnx(policy, tmp_path / "policy.onnx")
    inputs = {"image": o.image} | ({"observation": o.vector} if vector_size else {})
    np.testing.assert_allclose(run_onnx(tmp_path / "policy.onnx", **inputs), policy.act(o), atol=1e-5)


def test_what_cannot_be_exported_says_so(tmp_path, monkeypatch):
    with pytest.raises(PolicyError, match="cannot be written"):
        export_npz(vector_policy(), tmp_path / "nowhere" / "policy.npz")
    with pytest.raises(PolicyError, match=r"export it as \.npz"):
        export_onnx(controllers(np.random.default_rng(0)), tmp_path / "policy.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PolicyError, match=r'pip install "guided-policy-search\[onnx\]"'):
        export_onnx(vector_policy(), tmp_path / "policy.onnx")


# -- what a robot needs ----------------------------------------------------------------------------------------------

LIMITS = np.array([0.2, np.inf, 0.1])


def interface(dx=5, du=3, **changes):
    """Names and limits of `du` actions; the second has no limits."""
    known = Interface(
        state=tuple(Entry(f"qpos:joint{i}", "rad") for i in range(dx)),
        observation=tuple(Entry(f"sensor:s{i}") for i in range(dx)),
        action=tuple(Entry(f"motor{i}", "N m") for i in range(du)),
        low=tuple((-LIMITS[:du]).tolist()),
        high=tuple(LIMITS[:du].tolist()),
        dt=0.05,
        horizon=6,
    )
    return known._replace(**changes)


def test_an_interface_is_read_back_also_where_nothing_is_known():
    for known in (interface(), interface(dt=np.nan, state=(), low=(-np.inf,) * 3)):
        text = known.to_json()
        assert "NaN" not in text and "Infinity" not in text
        np.testing.assert_equal(Interface.from_json(text), known)


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_the_action_of_a_policy_is_clipped_and_its_names_are_there(tmp_path, load, suffix):
    policy, o = vector_policy(), 5 * np.random.default_rng(0).normal(size=(50, 5))
    expected = np.clip(policy.act(o), -LIMITS, LIMITS)
    assert (np.abs(policy.act(o)) > LIMITS).any(axis=0).tolist() == [True, False, True]
    path = tmp_path / f"policy{suffix}"
    if suffix == ".onnx":
        onnx = pytest.importorskip("onnx")
        export_onnx(policy, path, describe_interface(interface()))
        np.testing.assert_allclose(run_onnx(path, observation=o), expected, atol=1e-6)
        props = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
        assert json.loads(props["action_names"]) == ["motor0", "motor1", "motor2"]
        assert json.loads(props["low"]) == [-0.2, None, -0.1]
        return
    export_npz(policy, path, describe_interface(interface()))
    act = load(path)
    np.testing.assert_allclose([act(one) for one in o], expected, atol=1e-12)
    assert act.about["observation_names"] == [f"sensor:s{i}" for i in range(5)]
    assert act.about["action_units"] == ["N m"] * 3
    assert (act.about["dt"], act.about["horizon"], act.about["high"][0]) == (0.05, 6, 0.2)


def test_controllers_hold_their_last_step_and_are_clipped(tmp_path, load):
    batch, x = controllers(np.random.default_rng(0), M=2), np.arange(4.0)
    limits = describe_interface(interface(4, 2))
    export_npz(batch, tmp_path / "c.npz", limits)
    act = load(tmp_path / "c.npz")
    for t in (5, 6, 1000):
        expected = np.clip(batch[1].act(x, 5), limits["low"], limits["high"])
        np.testing.assert_allclose(act(x, t, condition=1), expected, atol=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": [0.0, np.nan, 0.0, 0.0], "t": 0},
        {"x": [0.0, np.inf, 0.0, 0.0], "t": 0},
        {"x": np.zeros(3), "t": 0},
        {"x": np.zeros(4)},
        {"x": np.zeros(4), "t": -1},
        {"x": np.zeros(4), "t": 0, "condition": 2},
        {"x": np.zeros(4), "t": 0, "condition": -1},
    ],
)
def test_what_does_not_fit_controllers_is_refused(tmp_path, load, arguments):
    export_npz(controllers(np.random.default_rng(0), M=2), tmp_path / "c.npz")
    with pytest.raises(ValueError, match=r"state must be|expected a step"):
        load(tmp_path / "c.npz")(**arguments)


def test_what_does_not_fit_a_policy_is_refused(tmp_path, load):
    export_npz(vector_policy(), tmp_path / "policy.npz")
    for x in ([np.nan] * 5, np.zeros(4), np.zeros((1, 5)), ()):
        with pytest.raises(ValueError, match="observation must be"):
            load(tmp_path / "policy.npz")(x)
    export_npz(seeing_policy(0), tmp_path / "seeing.npz")
    for image in (None, np.zeros((2, 2, 3), np.uint8)):
        with pytest.raises(ValueError, match="image must be"):
            load(tmp_path / "seeing.npz")(image=image)


def test_what_is_not_finite_is_not_exported(tmp_path):
    broken = controllers(np.random.default_rng(0), M=2)
    broken.feedforward[1, 4, 0] = np.nan
    policy = vector_policy()
    policy.output_scale[0] = np.inf
    for write, thing, message in [
        (export_npz, broken, r"feedforward of condition 1, step 4, is not finite"),
        (export_npz, policy, r"output_scale is not finite"),
        (export_onnx, policy, r"output_scale is not finite"),
    ]:
        if write is export_onnx:
            pytest.importorskip("onnx")
        with pytest.raises(PolicyError, match=message):
            write(thing, tmp_path / "out")
    assert not list(tmp_path.iterdir())
