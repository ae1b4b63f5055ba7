"""A run directory that is damaged at random: each command works or says one sentence, never an unexpected error."""

import random
import shutil

import pytest

from gps import cli
from gps.commands._common import OK, USER_ERROR

COMMANDS = {
    "show": (),
    "show --json": ("--json",),
    "show --iteration": ("--iteration", "0"),
    "report": ("-o", "report.html"),
    "compare": ("-o", "compare.html"),
    "export": ("-o", "made.npz"),
    "evaluate": ("--episodes", "1"),
}


def truncate(path, rng):
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def flip(path, rng):
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 20])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def overwrite(path, rng):
    path.write_bytes(rng.randbytes(rng.choice([0, 10, 10_000])))


def remove(path, rng):
    path.unlink() if path.is_file() else shutil.rmtree(path)


def become_a_folder(path, rng):
    remove(path, rng)
    path.mkdir()


def become_a_file(path, rng):
    remove(path, rng)
    path.write_text("x")


def link_to_itself(path, rng):
    remove(path, rng)
    path.symlink_to(path.name)


def link_to_nothing(path, rng):
    remove(path, rng)
    path.symlink_to("/nonexistent/file")


OF_A_FILE = (truncate, flip, overwrite, remove, become_a_folder, link_to_itself, link_to_nothing)
OF_A_FOLDER = (remove, become_a_folder, become_a_file, link_to_itself, link_to_nothing)


@pytest.mark.parametrize("seed", [*range(60), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(60, 300))])
def test_a_damage_is_at_worst_one_sentence(tiny_run, tmp_path, monkeypatch, capsys, seed):
    rng = random.Random(seed)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run.path, "run")
    path = rng.choice(sorted((tmp_path / "run").rglob("*")))
    damage = rng.choice(OF_A_FILE if path.is_file() else OF_A_FOLDER)
    damage(path, rng)
    command = rng.choice(list(COMMANDS))
    code = cli.main([command.split()[0], "run", *COMMANDS[command]])
    said = capsys.readouterr().err
    what = f"{command} after {damage.__name__} of {path.relative_to(tmp_path)}: {said}"
    assert code in (OK, USER_ERROR), what
    assert (code == USER_ERROR) == ("gps: error: " in said), what
    assert all(len(line) < 400 for line in said.splitlines()), what
