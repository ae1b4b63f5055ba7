"""A policy with a memory: two languages agree, episodes do not meet, files act the same."""

import numpy as np
import pytest
from helpers.policies import bounded_policy, vector_policy

from gps.backend import jax
from gps.errors import PolicyError
from gps.networks import GRU
from gps.policies.export import export_npz, export_onnx, read_loader
from gps.policies.played import GlobalPolicy
from gps.policies.remembering import RememberingPolicy, follow_sequence, memory_size, play, recall

POLICY = bounded_policy("gru")
EPISODES = np.random.default_rng(0).normal(size=(3, 2, 9, 5))  # (M, N, T, do)


def act_all(policy, episodes=EPISODES):
    """The actions (M, N, T, du) of the policy as a sampler runs it."""
    return np.stack([policy.act(episodes[:, :, t], t) for t in range(episodes.shape[2])], axis=2)


def test_both_languages_agree_and_an_episode_has_the_same_bits_in_any_batch():
    together = act_all(play(POLICY, 3, 9))
    for m, n in np.ndindex(3, 2):
        alone = act_all(play(POLICY, 1, 9), EPISODES[m : m + 1, n : n + 1])
        assert alone.tobytes() == together[m : m + 1, n : n + 1].tobytes()
        _, followed = follow_sequence(POLICY, np.zeros(7), EPISODES[m, n])
        np.testing.assert_allclose(followed, together[m, n], rtol=1e-12, atol=1e-12)


def test_it_is_the_equations():
    """The gates by hand, from the docstring."""
    network = bounded_policy("gru", squash="none", angles=()).network
    rng = np.random.default_rng(1)
    e, m, n = rng.normal(size=5), rng.normal(size=7), 7
    W, U, b = (np.asarray(array) for array in (network.from_input, network.from_memory, network.offset))
    parts = [slice(0, n), slice(n, 2 * n), slice(2 * n, 3 * n)]
    r, z = (1 / (1 + np.exp(-(e @ W[:, p] + m @ U[:, p] + b[p]))) for p in parts[:2])
    p = np.tanh(e @ W[:, parts[2]] + (r * m) @ U[:, parts[2]] + b[parts[2]])
    after = z * m + (1 - z) * p
    memory, output = network.step(m, e)
    np.testing.assert_allclose(memory, after, rtol=1e-12)
    np.testing.assert_allclose(output, after @ network.weights + network.bias, rtol=1e-12)


def test_an_episode_begins_without_a_memory():
    policy = play(POLICY, 3, 9)
    first, again = act_all(policy), act_all(policy)
    assert first.tobytes() == again.tobytes()
    np.testing.assert_allclose(policy.act(EPISODES[:, :, 0], 0), POLICY.act(EPISODES[:, :, 0]), rtol=1e-12)
    assert np.abs(policy.act(EPISODES[:, :, 0], 1) - first[:, :, 0]).max() > 1e-3  # now it has one
    other = policy.repeat(2)
    assert other.covariance.shape == (6, 9, 2, 2) and other.parameters is POLICY


def test_what_it_recalls_in_the_middle_of_an_episode_is_what_it_would_remember():
    memories = recall(POLICY, EPISODES[0])
    _, rest = follow_sequence(POLICY, memories[1, 4], EPISODES[0, 1, 4:])
    np.testing.assert_allclose(rest, act_all(play(POLICY, 3, 9))[0, 1, 4:], rtol=1e-12, atol=1e-12)


def test_a_network_without_a_memory_is_played_as_before():
    plain = vector_policy()
    assert memory_size(plain) == 0 and isinstance(play(plain, 1, 3), GlobalPolicy)
    assert memory_size(POLICY) == 7 and isinstance(play(POLICY, 1, 3), RememberingPolicy)


def test_an_exported_policy_remembers_too(tmp_path):
    export_npz(POLICY, tmp_path / "policy.npz")
    namespace: dict = {}
    exec(compile(read_loader(), "load_policy.py", "exec"), namespace)
    act, expected = namespace["load"](tmp_path / "policy.npz"), act_all(play(POLICY, 3, 9))
    for m in range(3):  # the second and third episode forget the one before
        found = [act(EPISODES[m, 0, t], t) for t in range(9)]
        np.testing.assert_allclose(found, expected[m, 0], atol=1e-12)
    for t in (None, -1):
        with pytest.raises(ValueError, match="needs the step t, from 0"):
            act(EPISODES[0, 0, 0], t)
    with pytest.raises(ValueError, match="needs the step t, from 0"):
        namespace["load"](tmp_path / "policy.npz")(EPISODES[0, 0, 3], 3)


def test_it_has_no_onnx_form(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(PolicyError, match="a policy with a memory has no"):
        export_onnx(POLICY, tmp_path / "policy.onnx")


def test_a_memory_has_a_size():
    with pytest.raises(PolicyError, match="units = 0"):
        GRU.create(3, [-1.0], [1.0], jax.random.key(0), units=0)
