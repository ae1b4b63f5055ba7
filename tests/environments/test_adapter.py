"""Any Gymnasium environment as a batch: contract, bits, trouble, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import gymnasium
import numpy as np
import pytest
from helpers.processes import python, wait_until

from gps.environments.plain.adapter import GymnasiumBatch
from gps.environments.plain.recipe import Recipe, find_spec
from gps.environments.plain.warned import Warned, show_once
from gps.errors import ConfigError, EnvironmentFault
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import collect, draw_noise

POINT = "helpers.plain_envs:Point-v0"


def batch(id=POINT, num_envs=4, *, threads=1, state=None, observation=None, step_timeout=60.0, **options):
    recipe = Recipe(id, find_spec(id), options)
    return GymnasiumBatch(
        num_envs, recipe, state=state, observation=observation, threads=threads, step_timeout=step_timeout
    )


def children() -> set[int]:
    """The processes that this one has started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.fixture(autouse=True)
def no_process_is_left():
    before = children()
    yield
    assert children() <= before


def rolled(environment, steps=60, conditions=({"seed": 0}, {"seed": 3}), samples=2):
    few = LocalControllers(zero(len(conditions), steps, environment.single_observation_space.shape[0], 1, 1.0))
    noise = draw_noise(few, samples, 0.0, np.random.default_rng(0))
    try:
        return collect(environment, few, conditions, noise, seed=0)
    finally:
        environment.close()


# -- the contract ------------------------------------------------------------------------------------------------------


def test_it_is_the_environment_itself():
    """Against a plain loop: states, rewards, success, and actions as its own type holds them."""
    rollouts = rolled(batch(), steps=50)
    for m, seed in enumerate((0, 3)):
        for n in range(2):
            plain = gymnasium.make("Point-v0")
            state, _ = plain.reset(seed=seed)
            for t in range(50):
                np.testing.assert_array_equal(state, rollouts.states[m, n, t])
                action = np.clip(rollouts.noise[m, n, t], -1, 1).astype(np.float32)
                np.testing.assert_array_equal(rollouts.actions[m, n, t], action)
                state, reward, _, truncated, info = plain.step(action)
                assert reward == rollouts.rewards[m, n, t]
                assert info["is_success"] == rollouts.success[m, n, t]
                assert truncated == (t == 49)
    assert rollouts.mask.all()
    np.testing.assert_allclose(rollouts.saturated, (np.abs(rollouts.noise) > 1.0).mean(axis=(1, 2, 3)))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_environment_need_not_tell_of_success(threads):
    environment = batch("Pendulum-v1", threads=threads)
    rollouts = rolled(environment, steps=3)
    assert rollouts.success is None and not rollouts.succeeded.any()
    assert rollouts.regroup(4).success is None


def test_success_may_be_told_at_the_end_alone():
    class AtTheEnd(gymnasium.Wrapper):
        def step(self, action):
            *stepped, truncated, _ = self.env.step(action)
            return *stepped, truncated, {"is_success": True} if truncated else {}

    gymnasium.register("AtTheEnd-v0", lambda: AtTheEnd(gymnasium.make(POINT)))
    environment = batch("AtTheEnd-v0")
    rollouts = rolled(environment, steps=50)
    assert rollouts.succeeded.all() and not rollouts.success[:, :, :-1].any()


def test_the_time_limit_masks_and_is_known():
    environment = batch()
    assert environment.max_episode_steps == 50
    rollouts = rolled(environment, steps=60)
    assert (rollouts.mask.sum(axis=2) == 50).all()


@pytest.mark.parametrize("truncates", [False, True])
def test_an_early_end_is_masked_and_never_stepped_beyond(truncates):
    rollouts = rolled(batch(length=7, truncates=truncates), steps=12)  # Point itself complains of a step too many
    assert (rollouts.mask.sum(axis=2) == 7).all()
    whole = rolled(batch(), steps=12)
    np.testing.assert_array_equal(rollouts.states[:, :, :7], whole.states[:, :, :7])
    assert not rollouts.states[:, :, 7:].any()


def test_a_condition_is_a_seed_and_options_and_always_starts_in_the_same_way():
    environment = batch()
    conditions = [{}, {"seed": 0}, {"seed": 5}, {"seed": 5, "start": 0.25}]
    first, _ = environment.reset(options={"conditions": conditions})
    environment.step(np.ones((4, 1)))
    again, _ = environment.reset(options={"conditions": conditions})
    environment.close()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], first[1])
    assert first[2, 0] != first[0, 0]
    assert first[3, 0] == 0.25


def test_actions_that_cannot_be_sent():
    environment = batch(num_envs=2)
    environment.reset(options={"conditions": [{}] * 2})
    with pytest.raises(ValueError, match=r"must have shape \(2, 1\), got \(1,\)"):
        environment.step(np.zeros(1))
    with pytest.raises(EnvironmentFault, match=r"simulation 1: it was given the action \[nan\], which is not finite"):
        environment.step(np.array([[0.0], [np.nan]]))
    environment.close()


def test_those_that_are_not_reset_rest():
    environment = batch()
    environment.reset(options={"conditions": [{}] * 4})
    environment.step(np.ones((4, 1)))
    environment.reset(options={"conditions": [{}] * 4, "reset_mask": np.array([True, False, False, False])})
    before = environment._seen.copy()
    after, *_ = environment.step(np.ones((4, 1)))
    environment.close()
    np.testing.assert_array_equal(after[1:], before[1:])
    assert (after[0] != before[0]).any()


def test_bits_do_not_depend_on_the_processes():
    one = rolled(batch(threads=1))
    for threads in (2, 3):
        other = rolled(batch(threads=threads))
        for name in ("states", "actions", "rewards", "mask", "success"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_bits_do_not_depend_on_how_many_run_at_once():
    together = rolled(batch(num_envs=4))
    for num_envs in (1, 3, 6):
        other = rolled(batch(num_envs=num_envs))
        np.testing.assert_array_equal(together.states, other.states)
        np.testing.assert_array_equal(together.rewards, other.rewards)


def test_a_gymnasium_id_as_it_is():
    environment = batch("Pendulum-v1", 1)
    assert environment.max_episode_steps == 200
    assert environment.state_layout == {"observation": slice(0, 3)}
    assert environment.dt == 0.05
    np.testing.assert_array_equal(environment.single_action_space.high, [2.0])
    state, _ = environment.reset(options={"conditions": [{"seed": 7}]})
    environment.close()
    np.testing.assert_array_equal(state[0], gymnasium.make("Pendulum-v1").reset(seed=7)[0])


# -- parts of the state ------------------------------------------------------------------------------------------------


def layout(id=POINT, **options):
    environment = batch(id, 1, **options)
    environment.close()
    return environment.state_layout


def test_a_box_is_one_part_and_may_be_chosen_from():
    assert layout() == {"observation": slice(0, 2)}
    assert layout(state=["observation[1]"]) == {"observation[1]": slice(0, 1)}
    environment = batch(num_envs=1, state=["observation[1,0]"])
    state, _ = environment.reset(options={"conditions": [{"start": 0.5}]})
    environment.close()
    np.testing.assert_array_equal(state, [[0.0, 0.5]])


def test_the_keys_of_a_dict_are_parts():
    id = "helpers.plain_envs:Parted-v0"
    assert layout(id) == {"position": slice(0, 1), "velocity": slice(1, 2)}
    assert layout(id, state=["velocity"]) == {"velocity": slice(0, 1)}
    # Of a state and an observation, the state is the controller's.
    assert layout(id, keys=("observation", "state")) == {"state": slice(0, 1)}
    assert layout(id, keys=("observation", "state"), state=["observation"]) == {"observation": slice(0, 1)}


@pytest.mark.parametrize(
    ("id", "options", "message"),
    [
        ("CartPole-v1", {}, r"action space Discrete\(2\); .* must be a Box of floats"),
        ("helpers.plain_envs:Counted-v0", {}, r"observation space Discrete\(5\); .* must be a Box"),
        ("helpers.plain_envs:Picture-v0", {}, "has 4800 entries, and local models take 1 to 1000"),
        (POINT, {"state": ["observatoin"]}, "did you mean 'observation'"),
        (POINT, {"state": ["observation[2]"]}, r"part .observation\[2\].: .observation. has 2 entries"),
        (POINT, {"state": ["observation", "observation"]}, "listed twice"),
        (POINT, {"limt": 3}, "unexpected keyword argument 'limt'"),
        ("helpers.plain_envs:Fragile-v0", {}, r"ConnectionRefusedError: nobody listens \(plain_envs.py:\d+\)"),
        ("Pendulm-v1", {}, "did you mean 'Pendulum-v1'"),
        ("Pendulum", {}, "did you mean 'Pendulum-v1'"),
        ("helpers.plain_envs:Pont-v0", {}, "after importing 'helpers.plain_envs'; did you mean 'Point-v0'"),
        ("no_such_module:Point-v0", {}, "the module 'no_such_module' cannot be imported: No module named"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_cannot_be_is_one_line(id, options, message, threads):
    if threads == 2 and id in ("Pendulm-v1", "Pendulum", "no_such_module:Point-v0"):
        pytest.skip("noticed before any process is started")
    with pytest.raises(ConfigError, match=message) as caught:
        batch(id, 2, threads=threads, **options)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_sent_is_stepped_here():
    from helpers.plain_envs import Point

    id = "Local-v0"
    gymnasium.register(id, entry_point=lambda: Point())
    try:
        before = children()
        environment = batch(id, 2, threads=2)
        assert children() == before
        environment.close()
    finally:
        del gymnasium.registry[id]


# -- trouble -----------------------------------------------------------------------------------------------------------

TROUBLE = {
    "raises": r"condition 1, sample 0, step 4: the environment's step raised OSError: the motor is hot \(plain_envs",
    "nan": "not finite: condition 1, sample 0, step 5, entry 1",
    "nan reward": "returned the reward nan: condition 1, sample 0, step 4",
    "shape": r"condition 1, sample 0, step 4: .*'observation' has the shape \(1,\), and its space says \(2,\)",
    "hangs": "condition 1, sample 0, step 4: .*took longer than 0.5 s .environment.step_timeout",
    "dies": "condition 1, sample 0, step 4: .*killed by SIGKILL",
    "exits": "condition 1, sample 0, step 4: .*ended with exit code 3",
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_has_its_place(trouble):
    conditions = [{"seed": 0}, {"seed": 1}]
    for threads in (1, 2) if trouble in ("raises", "nan", "nan reward", "shape") else (2,):
        environment = batch(num_envs=4, threads=threads, trouble=trouble, step_timeout=0.5)
        with pytest.raises(EnvironmentFault, match=TROUBLE[trouble]) as caught:
            rolled(environment, 10, conditions)
        assert "\n" not in str(caught.value)


def test_the_limit_is_of_one_step_and_not_of_all_that_a_process_steps():
    environment = batch(num_envs=6, threads=2, step_timeout=0.3, pause=0.15)
    environment.reset(options={"conditions": [{}] * 6})
    environment.step(np.zeros((6, 1)))
    environment.close()


def test_an_abort_that_the_environment_asks_for_ends_the_episode():
    rollouts = rolled(batch(trouble="aborts", victim=3), steps=10)
    assert [tuple(abort) for abort in rollouts.aborts] == [
        (1, 0, 4, "the cup is empty"),
        (1, 1, 4, "the cup is empty"),
    ]
    assert rollouts.mask.sum(axis=2).tolist() == [[10, 10], [5, 5]]


HANGS = """
import sys; sys.path[:0] = {path!r}
import numpy as np
from gps.environments.plain.adapter import GymnasiumBatch
from gps.environments.plain.recipe import Recipe, find_spec
recipe = Recipe("helpers.plain_envs:Point-v0", find_spec("helpers.plain_envs:Point-v0"), {{"trouble": "hangs"}})
environment = GymnasiumBatch(2, recipe, threads=2)
environment.reset(options={{"conditions": [{{"seed": 1}}] * 2}})
print(*[worker.process.pid for worker in environment._simulations._all], flush=True)
while True:
    environment.step(np.zeros((2, 1)))
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent(how):
    """Even in the middle of a step that never ends."""
    path = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with python("-c", HANGS.format(path=path), start_new_session=True, **pipes) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.3)  # until they hang
        parent.send_signal(how)
        parent.wait(30)
    wait_until(lambda: not any(map(alive, pids)), seconds=15)


def nursery(file: Path) -> list[int]:
    """The processes that the environments have started."""
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize("trouble", ["", "dies", "raises"])
def test_what_an_environment_has_started_ends_with_it(tmp_path, trouble, capfd):
    """Also where the environment's own process has ended before. Its warning is shown once, not once in each."""
    file = tmp_path / "ids"
    environment = batch("helpers.plain_envs:Nursery-v0", 4, threads=2, file=str(file), trouble=trouble)
    pids = nursery(file)
    assert len(pids) == 8 and all(map(alive, pids))
    if not trouble:
        rolled(environment, 10)
    else:
        with pytest.raises(EnvironmentFault):
            rolled(environment, 10, ({"seed": 1}, {"seed": 3}))
    wait_until(lambda: not any(map(alive, pids)), seconds=15)
    assert capfd.readouterr().err.count("RuntimeWarning: two children") <= 1  # none where an earlier case showed it


def test_what_an_environment_has_started_ends_with_a_killed_parent(tmp_path):
    file = tmp_path / "ids"
    path = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    program = (
        HANGS.format(path=path)
        .replace("Point-v0", "Nursery-v0")
        .replace('"trouble"', f'"file": {str(file)!r}, "trouble"')
    )
    with python("-c", program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        parent.stdout.readline()
        time.sleep(0.3)
        parent.kill()
        parent.wait(30)
    pids = nursery(file)
    assert len(pids) == 4
    wait_until(lambda: not any(map(alive, pids)), seconds=15)


def test_a_warning_that_this_process_has_given_is_not_shown_again(capfd):
    module = ModuleType("elsewhere")
    module.__file__ = "/elsewhere.py"
    warned = Warned("UserWarning", "it is old", "/elsewhere.py", 3, "/elsewhere.py:3: UserWarning: it is old\n")
    show_once(warned)
    show_once(warned)
    assert capfd.readouterr().err == warned.text
    module.__warningregistry__ = {("it is new", UserWarning, 3): True, "version": 1}
    sys.modules["elsewhere"] = module
    try:
        show_once(warned._replace(message="it is new"))
    finally:
        del sys.modules["elsewhere"]
    assert capfd.readouterr().err == ""


# -- state and observation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_a_dict_of_state_and_observation_tells_them_apart(threads):
    environment = batch("helpers.plain_envs:Hidden-v0", 4, threads=threads)
    assert environment.state_layout == {"state": slice(0, 2)}
    assert environment.observation_layout == {"observation": slice(0, 3)}
    rollouts = rolled(environment)
    assert rollouts.mask.any(axis=(0, 1)).sum() == 50
    expected = np.where(rollouts.mask, rollouts.states[..., 0], 0.0).astype(np.float32)
    np.testing.assert_array_equal(rollouts.observations, np.repeat(expected[..., None], 3, axis=-1))
    np.testing.assert_array_equal(rollouts.states, rolled(batch()).states)


def test_parts_may_be_chosen_for_the_observation():
    environment = batch("helpers.plain_envs:Parted-v0", 1, observation=["velocity"])
    state, info = environment.reset(options={"conditions": [{"seed": 2}]})
    environment.close()
    assert environment.observation_layout == {"velocity": slice(0, 1)}
    np.testing.assert_array_equal(info["observation"], state[:, 1:])
    with pytest.raises(ConfigError, match=r"environment\.observation: unknown part 'velocty'.*did you mean 'velocity'"):
        batch("helpers.plain_envs:Parted-v0", 1, observation=["velocty"])


def test_pictures_of_a_dict_are_bytes_of_a_known_shape():
    environment = batch("helpers.plain_envs:Photographed-v0", 2, threads=2)
    assert environment.observation_shapes == {"observation": (4, 5, 3)}
    assert environment.observation_dtype == np.uint8
    assert environment.observation_pictures == ("observation",)
    state, info = environment.reset(options={"conditions": [{"start": 0.25}, {"start": 0.75}]})
    environment.close()
    assert info["observation"].dtype == np.uint8
    np.testing.assert_array_equal(info["observation"], np.repeat([[25], [75]], 60, axis=1))
    assert state.shape == (2, 2)
