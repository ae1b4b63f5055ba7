"""Plain Gymnasium environments for tests: a point mass, and what may be wrong with one. Registered on import."""

import os
import signal
import time
import warnings

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Point(gymnasium.Env):
    """A mass on a line: x'' = u. The seed and the option `start` say where it begins.

    Args:
        limit: of the action.
        length: steps after which it terminates by itself, None for never.
        truncates: whether it truncates instead.
        trouble: what it does in its 5th step: see `step`.
        victim: the seed of the episodes in which it does so.
        pause: how long a step takes, s.
    """

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self, limit=1.0, length=None, truncates=False, trouble=None, victim=1, pause=0.0):
        self.action_space = Box(-limit, limit, (1,), np.float32)
        self.length, self.truncates, self.trouble, self.victim = length, truncates, trouble, victim
        self.pause = pause

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.t = seed, 0
        self.state = np.array([self.np_random.uniform(-1.0, 1.0), 0.0])
        if options is not None:
            self.state[0] = options["start"]
        return self.state.copy(), {}

    def step(self, action):
        assert action.dtype == np.float32 and self.action_space.contains(action), action
        assert self.length is None or self.t < self.length, "stepped beyond the end"
        self.t += 1
        time.sleep(self.pause)
        x, v = self.state
        self.state = np.array([x + 0.1 * v, v + 0.1 * float(action[0]) + 0.001 * self.np_random.standard_normal()])
        reward, info, observation = -abs(self.state[0]), {"is_success": abs(x) < 0.1}, self.state.copy()
        if self.trouble and self.t == 5 and self.seed == self.victim:
            match self.trouble:
                case "raises":
                    raise OSError("the motor\nis hot")
                case "hangs":
                    time.sleep(1000)
                case "dies":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exits":
                    os._exit(3)
                case "nan":
                    observation[1] = np.nan
                case "nan reward":
                    reward = np.nan
                case "shape":
                    observation = observation[:1]
                case "aborts":
                    info["abort"] = "the cup is empty"
        ended = self.length is not None and self.t >= self.length
        return observation, reward, ended and not self.truncates, ended and self.truncates, info


class Parted(Point):
    """The same with a Dict of parts."""

    def __init__(self, keys=("position", "velocity"), **options):
        super().__init__(**options)
        self.observation_space = Dict({key: Box(-np.inf, np.inf, (), np.float32) for key in keys})

    def parted(self, state):
        return {key: np.float32(value) for key, value in zip(self.observation_space, state, strict=True)}

    def reset(self, **options):
        state, info = super().reset(**options)
        return self.parted(state), info

    def step(self, action):
        state, *rest = super().step(action)
        return self.parted(state), *rest


class Hidden(Point):
    """The same, where a policy sees the place alone, thrice."""

    observation_space = Dict({"observation": Box(-np.inf, np.inf, (3,)), "state": Point.observation_space})

    def seen(self, state):
        return {"observation": np.full(3, state[0], np.float32), "state": state}

    def reset(self, **options):
        state, info = super().reset(**options)
        return self.seen(state), info

    def step(self, action):
        state, *rest = super().step(action)
        return self.seen(state), *rest


class Photographed(Hidden):
    """The same, where a policy sees a grey picture."""

    observation_space = Dict({"observation": Box(0, 255, (4, 5, 3), np.uint8), "state": Point.observation_space})

    def seen(self, state):
        return {"observation": np.full((4, 5, 3), 100 * state[0], np.uint8), "state": state}


class Picture(gymnasium.Env):
    observation_space = Box(0, 255, (40, 40, 3), np.uint8)
    action_space = Box(-1, 1, (1,))


class Counted(gymnasium.Env):
    observation_space = Discrete(5)
    action_space = Box(-1, 1, (1,))


class Nursery(Point):
    """It starts two processes that outlive it, writes their ids into the file, and warns of it."""

    def __init__(self, file, **options):
        super().__init__(**options)
        started = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
        forked = os.fork()
        if forked == 0:
            time.sleep(600)
            os._exit(0)
        with open(file, "a") as ids:
            ids.write(f"{started} {forked}\n")
        warnings.warn("two children are left to themselves", RuntimeWarning, stacklevel=1)


class Fragile(gymnasium.Env):
    def __init__(self):
        raise ConnectionRefusedError("nobody listens")


IDS = {
    "Point-v0": Point, "Parted-v0": Parted, "Picture-v0": Picture, "Hidden-v0": Hidden,
    "Nursery-v0": Nursery, "Photographed-v0": Photographed,    "Counted-v0": Counted, "Fragile-v0": Fragile
}  # fmt: skip

for _id, _class in IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=f"{__name__}:{_class.__name__}", max_episode_steps=50)
