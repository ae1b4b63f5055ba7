"""What stands between a policy and a robot, around any batch environment."""

import io

import numpy as np
import pytest
from helpers.problems import LinearEnv

from gps.environments import guard
from gps.environments.guard import Guarded
from gps.errors import ConfigError, EnvironmentFault
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import collect, draw_noise

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
CONDITIONS = [{"start": [1.0, 0.0]}, {"start": [-1.0, 0.0]}]


def limits(low, high):
    return np.array([low]), np.array([high])


def rolled(environment, samples=3, steps=8):
    few = LocalControllers(zero(2, steps, 2, 1, 1.0))
    noise = draw_noise(few, samples, 0.0, np.random.default_rng(0))
    return collect(environment, few, CONDITIONS, noise, seed=0)


def test_the_tighter_limits_hold():
    inner = LinearEnv(6, A, B, limit=1.0)
    environment = Guarded(inner, limits(-0.25, 2.0))
    np.testing.assert_array_equal(environment.single_action_space.low, [-0.25])
    np.testing.assert_array_equal(environment.single_action_space.high, [1.0])
    rollouts = rolled(environment)
    np.testing.assert_array_equal(rollouts.actions, np.clip(rollouts.noise, -0.25, 1.0))
    outside = (rollouts.noise < -0.25) | (rollouts.noise > 1.0)
    np.testing.assert_allclose(rollouts.saturated, outside.mean(axis=(1, 2, 3)))


def test_limits_that_leave_nothing():
    with pytest.raises(ConfigError, match=r"action_limits: no action lies within \[2.0\] to \[3.0\] and .* \[1.0\]"):
        Guarded(LinearEnv(6, A, B, limit=1.0), limits(2.0, 3.0))


def test_an_abort_ends_one_episode_and_keeps_its_data():
    seen = []

    def abort(state, action, t):
        seen.append((state.copy(), action.copy(), t))
        return "it went\n too far" if state[0] > 1.0 and t >= 2 else None

    rollouts = rolled(Guarded(LinearEnv(6, A, B), abort=abort))
    whole = rolled(LinearEnv(6, A, B))
    assert rollouts.aborts
    for m in range(2):
        for n in range(3):
            far = [t for t in range(2, 7) if whole.states[m, n, t + 1, 0] > 1.0]  # the state after step t
            length = far[0] + 1 if far else 8
            assert rollouts.mask[m, n].sum() == length
            np.testing.assert_array_equal(rollouts.states[m, n, :length], whole.states[m, n, :length])
    assert {abort[:2] for abort in rollouts.aborts} == {
        (m, n) for m in range(2) for n in range(3) if not rollouts.mask[m, n].all()
    }
    assert all(abort.reason == "it went too far" for abort in rollouts.aborts)
    for state, action, t in seen[:6]:
        assert t == 0 and state.shape == (2,) and action.shape == (1,)


def test_true_is_an_abort_too():
    rollouts = rolled(Guarded(LinearEnv(6, A, B), abort=lambda state, action, t: np.bool_(t == 3)))
    assert (rollouts.mask.sum(axis=2) == 4).all()
    assert {abort.reason for abort in rollouts.aborts} == {"the abort condition holds"}


@pytest.mark.parametrize(
    ("abort", "message"),
    [
        (
            lambda state, action, t: state[9] > 0,
            r"sample 0, step 0: environment.abort raised IndexError: .*\(test_guard",
        ),
        (lambda state, action, t: state > 0, "environment.abort returned array.*, expected a bool or a sentence"),
    ],
)
def test_an_abort_that_is_wrong_is_a_fault(abort, message):
    with pytest.raises(EnvironmentFault, match=message):
        rolled(Guarded(LinearEnv(6, A, B), abort=abort))


def test_each_reset_is_asked_for():
    questions = []

    def confirm(question):
        questions.append(question)
        return len(questions) < 4

    with pytest.raises(EnvironmentFault, match="reset was declined"):
        rolled(Guarded(LinearEnv(1, A, B), confirm=confirm))
    assert questions[0] == "Reset the environment to {'start': [1.0, 0.0]}?"
    assert len(questions) == 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("typed", "answer"), [("\n", True), ("y\n", True), ("n\n", False), ("No\n", False), ("", False)]
)
def test_the_terminal_is_asked(typed, answer, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert guard.ask_operator("Ready?") is answer
    assert capsys.readouterr().err.startswith("Ready? [")


def test_nobody_to_ask(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(ConfigError, match="confirm_reset: there is no terminal"):
        guard.ask_operator("Ready?")
