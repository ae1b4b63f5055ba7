"""Models as files: every bit comes back, and nothing that was altered is believed."""

import numpy as np
import pytest

from gps.dynamics.prior import Transitions
from gps.errors import StoredModelError
from gps.models.features import StateTransforms
from gps.models.linear import LinearLearner
from gps.models.mixture_learner import MixtureLearner
from gps.models.stored import StoredModel, System, read_model, require_system, save_model
from gps.storage.serialization import flatten, read_npz, write_npz

RNG = np.random.default_rng(0)
X, U = RNG.normal(size=(1, 3, 40, 3)), RNG.normal(size=(1, 3, 40, 2))
TRANSITIONS = Transitions.of(X, U, np.ones((1, 3, 40), bool))
SYSTEM = System(3, 2, ("a", "b", "c"), ("rad", "m", ""), ("u", "v"), ("", ""), 0.05)
LEARNERS = {
    "linear": LinearLearner(3, 2, StateTransforms(angles=(0,))),
    "gmm": MixtureLearner(3, 2),
}


def stored(folder, kind="linear"):
    path = folder / "model.npz"
    learner = LEARNERS[kind].refit(TRANSITIONS, 0)
    save_model(path, learner, SYSTEM, TRANSITIONS.points[0, 0, 0, :5])
    return path, learner


@pytest.mark.parametrize("kind", LEARNERS)
def test_every_bit_comes_back_and_it_learns_on(tmp_path, kind):
    path, learner = stored(tmp_path, kind)
    found = read_model(path)
    assert (found.kind, found.system) == (kind, SYSTEM)
    before, after = flatten(learner), flatten(found.learner)
    assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)
    assert np.array_equal(
        read_model(path).learner.refit(TRANSITIONS, 1).model.deviations, learner.refit(TRANSITIONS, 1).model.deviations
    )


def test_equal_models_make_equal_files(tmp_path):
    first = stored(tmp_path)[0].read_bytes()
    assert stored(tmp_path)[0].read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_any_changed_byte_is_found(tmp_path):
    path, _ = stored(tmp_path)
    whole = path.read_bytes()
    for at in np.random.default_rng(1).integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[at] ^= 1 << int(at) % 8
        path.write_bytes(changed)
        try:
            found = read_model(path)
        except StoredModelError:
            continue
        assert flatten(found.learner).keys()  # a byte of the zip's own bookkeeping, which carries nothing
        assert np.array_equal(found.model.weights, LEARNERS["linear"].refit(TRANSITIONS).model.weights)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoredModelError, match="not a model of gps"):
        read_model(path)


def forge(path, change):
    """Write the file with other arrays and a checksum that fits them."""
    from gps.models.stored import _sum

    arrays = read_npz(path)
    arrays.pop("checksum")
    change(arrays)
    write_npz(path, arrays | {"checksum": _sum(arrays)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(format=np.array(99)), "format 99, and this gps reads format 1"),
        (lambda a: a.update(kind=np.frombuffer(b"linaer", np.uint8)), "'linaer', which this gps does not know; did"),
        (lambda a: a.pop("learner.model.weights"), "'model.weights' is missing"),
        (lambda a: a.update({"learner.other": np.zeros(1)}), "'other' is not a part"),
        (lambda a: a.update({"learner.model.weights": np.zeros((2, 3))}), "not what gps wrote"),
        (lambda a: a.update({"learner.model.weights": a["learner.model.weights"] + np.nan}), "predicts something else"),
        (lambda a: a.update({"learner.model.weights": a["learner.model.weights"] + 1.0}), "predicts something else"),
        (
            lambda a: a.update({"learner.data.states": a["learner.data.states"][:5]}),
            "data are not finite or",
        ),
        (
            lambda a: a.update({"learner.data.states": a["learner.data.states"] + np.inf}),
            "data are not finite or",
        ),
        (lambda a: a.update(answer=np.zeros((1, 3))), "parts do not fit together"),
        (lambda a: a.update({"system.dx": np.array(7)}), "do not fit together"),
    ],
)
def test_nothing_is_believed_because_its_checksum_fits(tmp_path, change, message):
    path, _ = stored(tmp_path)
    forge(path, change)
    with pytest.raises(StoredModelError, match=message):
        read_model(path)


def test_other_files_are_no_models(tmp_path):
    with pytest.raises(StoredModelError, match="No such file"):
        read_model(tmp_path / "model.npz")
    stored(tmp_path)
    with pytest.raises(StoredModelError, match=r"did you mean 'model\.npz'"):
        read_model(tmp_path / "modle.npz")
    with pytest.raises(StoredModelError, match="directory"):
        read_model(tmp_path)
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(StoredModelError, match="not a model of gps; `gps fit"):
        read_model(tmp_path / "other.npz")


def test_without_a_model_there_is_nothing_to_store(tmp_path):
    with pytest.raises(StoredModelError, match="no model to store"):
        save_model(tmp_path / "m.npz", LinearLearner(3, 2), SYSTEM)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoredModelError, match="cannot be written"):
        save_model(tmp_path / "file" / "m.npz", LEARNERS["linear"].refit(TRANSITIONS), SYSTEM)


def test_a_model_of_another_system_is_refused():
    model = StoredModel("linear", LinearLearner(3, 2), SYSTEM)
    require_system("m.npz", model, SYSTEM)
    require_system("m.npz", model, SYSTEM._replace(state_names=()))
    with pytest.raises(StoredModelError, match="a model of 3 states, and this experiment has 4"):
        require_system("m.npz", model, SYSTEM._replace(dx=4))
    with pytest.raises(StoredModelError, match="a model of a, b, c, and this experiment has a, c, b"):
        require_system("m.npz", model, SYSTEM._replace(state_names=("a", "c", "b")))
    plain = StoredModel("linear", LinearLearner(3, 2), SYSTEM._replace(state_names=("x0", "x1", "x2")))
    require_system("m.npz", plain, SYSTEM)
