"""Exported policies act the same, in NumPy alone and in ONNX."""

import ast
import sys

import numpy as np
import pytest
from helpers.onnx_file import run_onnx
from helpers.policies import seeing_policy, seen, vector_policy
from helpers.records import controllers

from gps.errors import PolicyError
from gps.policies.export import export_npz, export_onnx, read_loader


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
        assert int(file["version"]) == 1
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
    with pytest.raises(PolicyError, match=r"pip install 'gps\[onnx\]'"):
        export_onnx(vector_policy(), tmp_path / "policy.onnx")
