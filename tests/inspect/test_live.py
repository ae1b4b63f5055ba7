"""The live page's server: bound to this machine, closed to other sites, true to a run that grows or is done again."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from helpers.processes import gps_command, python, wait_until
from helpers.runs import append, make_policy_run, make_run

from gps import cli
from gps.errors import RunError
from gps.inspect import live, local_server
from gps.inspect.live import Live, Server
from gps.runs import Run, control


@pytest.fixture
def run(tmp_path) -> Run:
    return make_run(tmp_path)


@pytest.fixture
def server(run):
    with Server() as server:
        server.show(run)
        yield server


def ask(server: Server, method: str, path: str, body: object = None, **headers: str):
    """Status and value of a request as the page makes it, but for `headers`; None leaves one out."""
    host, port = server.hosts[0].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    content = b"" if body is None else json.dumps(body).encode()
    sent = {"Host": server.hosts[0], "Content-Length": str(len(content))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in sent.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text


def post(server: Server, what: str, **headers: str):
    own = {"X_Gps_Token": server.token, "Origin": server.url.rstrip("/")}
    return ask(server, "POST", "/control", {"request": what}, **(own | headers))


# -- what is served --------------------------------------------------------------------------------------------------


def test_page_and_data(server, run):
    status, text = ask(server, "GET", "/")
    assert status == 200 and server.token in text and "connect-src 'self'" in text
    status, version = ask(server, "GET", "/version")
    assert (status, len(version["stamps"]), version["state"], version["planned"]) == (200, 3, "stopped", 4)
    _, whole = ask(server, "GET", "/overview/0")
    _, rest = ask(server, "GET", "/overview/2")
    assert whole["pieces"][2:] == rest["pieces"] and len(whole["pieces"]) == 3
    assert rest["stamps"] == version["stamps"][2:]
    _, detail = ask(server, "GET", "/iteration/1")
    assert detail["model"] is not None and ask(server, "GET", "/iteration/2")[1]["model"] is None


def test_the_episodes_of_a_policy_without_noise(tmp_path):
    run = make_policy_run(tmp_path, evaluated=False)
    with Server() as server:
        server.show(Run.open(run.path))
        assert ask(server, "GET", "/ends") == (200, None)
        assert ask(server, "GET", "/overview/0")[1]["facts"]["policy"]["taught"] == []
        other = make_policy_run(tmp_path)
        for what in ("final", "local"):
            run.write_evaluation(other.evaluation(what))
        status, ends = ask(server, "GET", "/ends")
        assert status == 200 and [name for name, of in ends.items() if of is not None] == ["final", "taught"]
        assert len(ask(server, "GET", "/overview/0")[1]["facts"]["policy"]["taught"]) == 2


def test_the_last_controllers_and_the_videos(server, run):
    (run.path / "last.webp").write_bytes(b"RIFF")
    status, files = ask(server, "GET", "/files")
    assert status == 200 and [video["name"] for video in files["videos"]] == ["last.webp"]
    assert files["controllers"]["name"] == "e-seed1-iter002-controllers.npz"


def test_a_run_that_grows_and_is_done_again(server, run):
    _, before = ask(server, "GET", "/overview/0")
    with run:
        append(run, 3)
        _, version = ask(server, "GET", "/version")
        assert version["state"] == "running"
    _, grown = ask(server, "GET", "/overview/0")
    assert grown["pieces"][:3] == before["pieces"] and len(grown["pieces"]) == 4
    assert ask(server, "GET", "/iteration/2")[1]["model"] is not None  # it can be judged now
    with run:
        run.discard_from(1)
        append(run, 1, N=5)
    _, again = ask(server, "GET", "/overview/0")
    assert [len(item["costs"][0]) for item in again["pieces"]] == [3, 5]
    assert again["stamps"][0] == before["stamps"][0] and again["stamps"][1] != before["stamps"][1]


def test_each_iteration_is_read_once(server, run, monkeypatch):
    ask(server, "GET", "/overview/0")
    ask(server, "GET", "/iteration/1")
    monkeypatch.setattr("gps.runs.iteration_files.read_arrays", None)  # reading would fail
    assert ask(server, "GET", "/overview/0")[0] == ask(server, "GET", "/iteration/1")[0] == 200


def test_an_empty_run_is_waited_for(tmp_path):
    run = make_run(tmp_path, iterations=0)
    with run, Server() as server:
        _, version = ask(server, "GET", "/version")
        assert (version["state"], version["stamps"]) == ("starting", [])
        assert ask(server, "GET", "/overview/0")[0] == 503
        server.show(Run.open(run.path))
        _, overview = ask(server, "GET", "/overview/0")
        assert overview["pieces"] == [] and "no iteration" in overview["summary"][0]


@pytest.mark.parametrize(
    "path",
    ["/run.json", "/../run.json", "/iteration/../../run.json", "/iteration/-1", "//etc/passwd", "/overview",
     "/iteration/1?x=1", "/%2e%2e/run.json"],
)  # fmt: skip
def test_no_address_is_a_path(server, path):
    assert ask(server, "GET", path)[0] == 404
    assert ask(server, "GET", "/iteration/7")[0] == 503  # not there, or not yet


# -- who may read and act --------------------------------------------------------------------------------------------


def test_it_listens_on_this_machine_alone(server):
    assert server._http.server_address[0] == "127.0.0.1"
    assert server.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:1", None])
def test_another_name_for_this_machine_is_refused(server, host):
    assert ask(server, "GET", "/version", Host=host)[0] == 403
    assert ask(server, "GET", "/", Host=host)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [{"X_Gps_Token": None}, {"X_Gps_Token": "guess"}, {"X_Gps_Token": "ü"}, {"Origin": "http://evil.example"},
     {"Origin": "null"}, {"Host": "evil.example"}],
)  # fmt: skip
def test_another_site_cannot_act(server, run, headers):
    with run:
        assert post(server, "stop", **headers)[0] == 403
        assert control.read_request(run.path) is None


def test_requests_are_checked_and_obeyed(server, run):
    assert post(server, "stop") == (409, {"error": "no process is writing this run"})
    with run:
        assert post(server, "fly")[0] == 400
        assert ask(server, "POST", "/control", ["stop"], X_Gps_Token=server.token)[0] == 400
        assert ask(server, "POST", "/control", {"request": "x" * 2000}, X_Gps_Token=server.token)[0] == 413
        assert ask(server, "POST", "/control", None, X_Gps_Token=server.token, Content_Length=None)[0] == 413
        assert post(server, "pause")[0] == 200
        assert ask(server, "GET", "/version")[1]["state"] == "pausing"
        (run.path / "paused.json").write_text('{"at": "iteration 3, fit"}')
        version = ask(server, "GET", "/version")[1]
        assert (version["state"], version["at"]) == ("paused", "iteration 3, fit")
        assert post(server, "resume")[0] == 200
        assert ask(server, "GET", "/version")[1]["state"] == "running"
        assert post(server, "stop")[0] == 200
        assert ask(server, "GET", "/version")[1]["state"] == "stopping"


# -- load ------------------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def connect(server: Server) -> socket.socket:
    host, port = server.hosts[0].split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_slow_connections_are_few_and_end(run, monkeypatch):
    monkeypatch.setattr(local_server, "MOST_CONNECTIONS", 8)
    monkeypatch.setattr(local_server, "PATIENCE", 3.0)
    with Server() as server, contextlib.ExitStack() as clients:
        server.show(run)
        before, begun = open_files(), time.monotonic()
        slow = [clients.enter_context(connect(server)) for _ in range(300)]
        answers = []
        for client in slow:
            with contextlib.suppress(OSError):  # it was refused
                client.sendall(b"GET / HTTP/1.0")  # the request never ends
        for client in slow[8:]:
            try:
                answers.append(client.recv(12))
            except ConnectionError:
                answers.append(b"")
        assert set(answers) <= {b"HTTP/1.0 503", b""} and b"HTTP/1.0 503" in answers
        assert open_files() <= before + 300 + 8 + 2
        if time.monotonic() < begun + 2.5:
            assert ask_or_full(server) == 503
        wait_until(lambda: ask_or_full(server) == 200, 30)
        assert slow[0].recv(1) == b""  # ended by the server
    wait_until(lambda: open_files() <= before, 30)


def ask_or_full(server: Server) -> int:
    """The status of a request; 503 if the connection was closed before."""
    try:
        with connect(server) as client:
            client.sendall(f"GET /version HTTP/1.0\r\nHost: {server.hosts[0]}\r\n\r\n".encode())
            return int(client.recv(12).split()[1])
    except (ConnectionError, IndexError):
        return 503


def test_a_client_that_drips_ends_at_the_deadline(server, monkeypatch):
    monkeypatch.setattr(local_server, "PATIENCE", 1.0)
    with connect(server) as client:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < begun + 20:
                client.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - begun < 10


def test_an_unexpected_error_is_an_answer(server, monkeypatch, capfd):
    def fail(self):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(live.Watched, "version", fail)
    assert ask(server, "GET", "/version") == (500, {"error": "unexpected ZeroDivisionError: by\nzero"})
    assert ask(server, "GET", "/")[0] == 200
    assert capfd.readouterr() == ("", "")


# -- the commands ----------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named(server, run, capsys):
    port = server.hosts[0].split(":")[1]
    assert cli.main(["view", str(run.path), "--port", port]) == 2
    assert f"--port {port}: not available" in capsys.readouterr().err
    with pytest.raises(RunError, match="--port 99999"):
        Server(99999)


def test_there_is_nothing_to_view_in_an_empty_run(tmp_path, capsys):
    assert cli.main(["view", str(make_run(tmp_path, iterations=0).path)]) == 2
    assert "nothing to view" in capsys.readouterr().err


def test_view_serves_until_ctrl_c(run):
    with gps_command("view", run.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        url = process.stdout.readline().split()[-1]
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
        connection.request("GET", "/version")
        assert json.loads(connection.getresponse().read())["state"] == "stopped"
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


STAGED = """
import sys
from gps.runs import Run
with Run.open(sys.argv[1]) as run:
    run.note_stage("iteration 3 of 4: improving what is learned")
    run.note_stage("iteration 3 of 4: sampling")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_view_shows_the_stage_of_another_process_until_it_ends(server, run, end):
    with python("-c", STAGED, run.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        version = ask(server, "GET", "/version")[1]
        assert (version["state"], version["stage"]) == ("running", "iteration 3 of 4: sampling")
        process.stdin.close() if end == "exit" else process.kill()
        process.wait(20)
    version = ask(server, "GET", "/version")[1]
    assert (version["state"], version["stage"]) == ("stopped", "")
    run.verify()
    with run:
        assert run.stage == ""  # what a killed process said is forgotten


def test_live_serves_a_run_from_before_its_first_moment_to_its_end(run):
    said = []

    def version() -> tuple[str, str]:
        answer = ask(served.server, "GET", "/version")[1]
        return answer["state"], answer["stage"]

    with Live(said.append) as served:
        (text,) = said
        assert text == f"live page: {served.server.url}"
        assert ask(served.server, "GET", "/")[0] == 200
        assert version() == ("starting", "loading the experiment and probing its start")
        with run:
            served.on_start(run, None, 4)
            assert version() == ("running", "")
            run.note_stage("sampling")
            assert version() == ("running", "sampling")
            append(run, 3)
            served.on_iteration(run.iterations[3])
        assert version() == ("finished", "")
    assert said == [text]
    with pytest.raises(ConnectionRefusedError):
        ask(served.server, "GET", "/version")
    assert not [thread for thread in threading.enumerate() if "serve_forever" in thread.name]
