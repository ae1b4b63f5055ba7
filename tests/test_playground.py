"""`gps view --sim`: the simulation plays what was learned, and a push has the effect of a force."""

import http.client
import io
import json
import sys
import types

import mujoco
import numpy as np
import pytest
from helpers.experiments import write_slider

import gps
from gps import cli
from gps.environments.mujoco import offscreen
from gps.errors import DrawingError, RunError
from gps.playground import page, window
from gps.playground.page import PlaygroundServer, Wish, encode_png, find_axes
from gps.playground.simulation import open_simulation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the slider: a body of 1 kg on a joint with a damping of 0.1 N s/m, in steps of 5 x 0.01 s."""
    folder = tmp_path_factory.mktemp("playground")
    return gps.run(write_slider(folder / "slider"), iterations=2, out=folder / "runs")


@pytest.fixture
def simulation(run):
    with open_simulation(run) as simulation:
        yield simulation


def test_it_plays_what_was_evaluated(run, simulation):
    for row in run.evaluation_rows():
        simulation.restart(row.condition)
        for _ in range(simulation.horizon):
            simulation.step()
        assert simulation.cost == pytest.approx(row.cost, rel=1e-9)
    before = simulation.cost
    simulation.step()  # the controller of the last step goes on, at no cost
    assert (simulation.t, simulation.cost, simulation.state) == (13, before, "running")


def test_a_push_is_a_force(simulation):
    """The change of the velocity is that of a damped mass, by MuJoCo's semi-implicit Euler steps."""
    velocities = []
    for force in (0.0, 4.0):
        simulation.restart()
        simulation.push(simulation.bodies["body 1"], np.array([force, 0.0, 0.0]))
        simulation.step()
        _, data = simulation.snapshot()
        velocities.append(float(data.qvel[0]))
    expected, h, damping = 0.0, 0.01, 0.1
    for _ in range(5):
        expected += h * (4.0 - damping * expected) / (1.0 + h * damping)
    assert velocities[1] - velocities[0] == pytest.approx(expected, rel=1e-9)
    simulation.restart()
    assert not simulation.snapshot()[1].xfrc_applied.any()
    assert simulation.weight == pytest.approx(9.81)


def test_a_condition_that_is_not_there(simulation, run):
    with pytest.raises(RunError, match="there is no condition 2; the run has 0 to 1"):
        simulation.restart(2)
    with pytest.raises(RunError, match="there is no condition 7"), open_simulation(run, condition=7):
        pass


# -- the window --------------------------------------------------------------------------------------------------------


class FakeWindow:
    """MuJoCo's handle of a viewer that closes after some steps."""

    def __init__(self, steps: int) -> None:
        self.left, self.perturb, self.seen = steps, mujoco.MjvPerturb(), []

    def is_running(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def lock(self):
        import contextlib

        return contextlib.nullcontext()

    def sync(self) -> None:
        self.seen.append(None)


def test_the_window_shows_the_simulation_and_pulls(simulation):
    model, data = simulation.snapshot()
    handle = FakeWindow(3)
    window.play_in_window(simulation, handle, model, data, [])
    assert len(handle.seen) == simulation.t == 3
    np.testing.assert_array_equal(data.qpos, simulation.snapshot()[1].qpos)
    handle = FakeWindow(2)
    handle.perturb.select, handle.perturb.active = 1, mujoco.mjtPertBit.mjPERT_TRANSLATE.value
    handle.perturb.localmass = 1.0
    handle.perturb.refselpos[:] = data.xpos[1] + [1.0, 0.0, 0.0]
    free = float(simulation.snapshot()[1].qvel[0])
    window.play_in_window(simulation, handle, model, data, [])
    assert simulation.snapshot()[1].xfrc_applied[1, 0] > 0
    assert float(simulation.snapshot()[1].qvel[0]) > free


def test_keys_pause_and_restart(simulation):
    model, data = simulation.snapshot()
    window.play_in_window(simulation, FakeWindow(3), model, data, [ord(" ")])
    assert simulation.t == 0
    window.play_in_window(simulation, FakeWindow(3), model, data, [])
    window.play_in_window(simulation, FakeWindow(1), model, data, [259])
    assert simulation.t == 1


def test_a_window_that_does_not_open(simulation, monkeypatch):
    fake = types.SimpleNamespace(init=lambda: False)
    monkeypatch.setitem(sys.modules, "glfw", fake)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(DrawingError, match="does not open on this display; use gps view --sim --web RUN"):
        window.show_window(simulation)


# -- the page ----------------------------------------------------------------------------------------------------------


def ask(server: PlaygroundServer, method: str, path: str, body: object = None, token: str | None = None):
    host, port = server.hosts[0].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    headers = {} if token is None else {"X-Gps-Token": token}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_requests_become_wishes(simulation):
    with PlaygroundServer(simulation) as server:
        status, text = ask(server, "GET", "/")
        assert status == 200 and server.token in text.decode()
        assert ask(server, "GET", "/picture?1")[0] == 503  # none has been drawn
        assert ask(server, "POST", "/push", {"to": "left"}, "guess")[0] == 403
        for what, bad in (
            ("push", {"to": "north"}),
            ("grab", {"x": "0"}),
            ("choose", {}),
            ("restart", {"condition": "a"}),
        ):
            assert ask(server, "POST", f"/{what}", bad, server.token)[0] == 400
        assert ask(server, "POST", "/fly", {}, server.token)[0] == 404
        assert server._wishes == []
        assert ask(server, "POST", "/push", {"to": "left"}, server.token)[0] == 200
        assert server._wishes == [Wish("push", {"to": "left"})]


def test_wishes_are_granted_before_the_next_step(simulation):
    scene = mujoco.MjvScene(simulation.model, 100)
    scene.camera[0].forward[:], scene.camera[0].up[:] = [0, 1, 0], [0, 0, 1]
    np.testing.assert_allclose(find_axes(scene), [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    pictures = types.SimpleNamespace(scene=scene, option=mujoco.MjvOption())
    with PlaygroundServer(simulation) as server:
        server._wishes = [Wish("choose", {"body": "body 1", "strength": 2.0}), Wish("push", {"to": "right"})]
        server._grant(pictures)
        first = server._find_forces()
        np.testing.assert_allclose(first[1, :3], [2 * 9.81, 0, 0], atol=1e-9)
        forces = [server._find_forces()[1, 0] for _ in range(5)]
        assert forces[:3] == [pytest.approx(2 * 9.81)] * 3 and forces[3:] == [0, 0]  # 0.2 s of 0.05 s each
        server._wishes = [Wish("restart", {"condition": 1}), Wish("pause", {})]
        server._grant(pictures)
        assert simulation.condition == 1 and server._paused
        server._wishes = [Wish("restart", {"condition": 9})]
        server._grant(pictures)
        assert simulation.condition == 1


def test_pictures_and_the_mouse(simulation):
    """A body under the mouse is taken hold of, and pulled to where the mouse goes."""
    try:
        offscreen.backend()
    except DrawingError as error:
        pytest.skip(str(error))
    image = pytest.importorskip("PIL.Image")
    with PlaygroundServer(simulation) as server:
        server.run(seconds=0.3)
        status, content = ask(server, "GET", "/picture?1")
        assert status == 200 and image.open(io.BytesIO(content)).size == page.SIZE
        assert json.loads(ask(server, "GET", "/status")[1])["bodies"] == ["body 1"]
        simulation.restart()
        pictures = offscreen.MujocoPictures(simulation, page.SIZE, plain=True)
        try:
            pictures.picture(0)
            _, data = simulation.snapshot()
            axes, camera = find_axes(pictures.scene), pictures.scene.camera[0]
            offset = data.xpos[1] - np.array(camera.pos)
            depth, (right, up) = axes[2] @ offset, axes[:2] @ offset
            half = camera.frustum_top / camera.frustum_near * depth  # half the height of the picture there
            x, y = 0.5 + right / (2 * half * page.SIZE[0] / page.SIZE[1]), 0.5 - up / (2 * half)
            server._wishes = [
                Wish("grab", {"x": float(x), "y": float(y)}),
                Wish("pull", {"x": float(x) + 0.1, "y": float(y)}),
            ]
            server._grant(pictures)
            force = server._find_forces()[1, :3]
            assert axes[0] @ force > 0.99 * np.linalg.norm(force) > 0
            server._wishes = [Wish("release", {})]
            server._grant(pictures)
            assert not server._find_forces().any()
        finally:
            pictures.close()


def test_a_png_is_the_picture():
    image = pytest.importorskip("PIL.Image")
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(encode_png(picture)))), picture)


def test_without_a_display_it_is_a_page(run, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(page, "require_pictures", lambda: None)

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PlaygroundServer, "run", stop)
    assert cli.main(["view", "--sim", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "there is no display, so the simulation is on a page"
    assert lines[1].startswith("simulation: http://127.0.0.1:")
