"""A task.py imports the modules beside it, and each experiment its own."""

import sys

import pytest

from gps.errors import ConfigError
from gps.extensions import task_file

TASK = """
import constants
from tools.walls import WALL
from constants import GOAL as TOP

def at_the_top():
    return constants.GOAL, WALL, TOP

def lazily():
    import tools.walls as walls
    from late import LATE
    from tools import doors
    return LATE, walls.WALL, doors.DOOR

class Goal:
    value = constants.GOAL
"""


def write(folder, number):
    (folder / "tools").mkdir(parents=True)
    (folder / "task.py").write_text(TASK)
    (folder / "constants.py").write_text(f"import numpy as np\nGOAL = float(np.float64({number}))\n")
    (folder / "late.py").write_text("import constants\nLATE = constants.GOAL + 1\n")
    (folder / "tools" / "__init__.py").write_text("")
    (folder / "tools" / "walls.py").write_text("from constants import GOAL\nfrom . import doors\nWALL = 10 * GOAL\n")
    (folder / "tools" / "doors.py").write_text("from constants import GOAL\nDOOR = 100 * GOAL\n")
    return folder / "task.py"


def find(path, name):
    return task_file.find(path, name, "environment.id")


def test_each_experiment_has_its_own_modules_also_those_imported_late(tmp_path):
    names = set(sys.modules) | {"numpy"}
    paths = [write(tmp_path / str(n), n) for n in (1, 2)]
    tops = [find(path, "at_the_top") for path in paths]
    late = [find(path, "lazily") for path in paths]
    for _ in range(2):
        assert [function() for function in tops] == [(1.0, 10.0, 1.0), (2.0, 20.0, 2.0)]
        assert [function() for function in reversed(late)] == [(3.0, 20.0, 200.0), (2.0, 10.0, 100.0)]
    assert set(sys.modules) <= names, "the modules of an experiment stay in the process under no name"
    assert not any(str(tmp_path) in entry for entry in sys.path)
    assert not list(tmp_path.rglob("__pycache__")), "nothing is written beside the user's files"


def test_what_is_edited_is_read_anew(tmp_path):
    path = write(tmp_path / "e", 1)
    assert find(path, "at_the_top")()[0] == 1.0
    (path.parent / "constants.py").write_text((path.parent / "constants.py").read_text().replace("1", "3"))
    assert find(path, "at_the_top")()[0] == 3.0


def test_each_look_up_has_a_state_of_its_own(tmp_path):
    (tmp_path / "counter.py").write_text("import itertools\nNEXT = itertools.count()\n")
    (tmp_path / "task.py").write_text("import counter\n\ndef count():\n    return next(counter.NEXT)\n")
    one, two = (find(tmp_path / "task.py", "count") for _ in range(2))
    assert [one(), one(), two()] == [0, 1, 0]


def test_a_sibling_comes_before_an_installed_module_but_a_folder_of_files_does_not(tmp_path):
    (tmp_path / "colorsys.py").write_text("HUE = 7\n")
    (tmp_path / "mujoco").mkdir()  # a folder of meshes, say
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "arm.py").write_text("LENGTH = 2\n")
    (tmp_path / "task.py").write_text("import colorsys, mujoco, parts.arm\nHUE, MODEL = colorsys.HUE, mujoco.MjModel\n")
    import colorsys

    import mujoco

    assert find(tmp_path / "task.py", "HUE") == 7
    assert find(tmp_path / "task.py", "MODEL") is mujoco.MjModel
    assert find(tmp_path / "task.py", "parts").arm.LENGTH == 2
    assert colorsys.rgb_to_hsv is sys.modules["colorsys"].rgb_to_hsv


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"task.py": "import nowhere_to_be_found\n"}, "No module named 'nowhere_to_be_found'"),
        ({"task.py": "from other import A\n", "other.py": "B = 1\n"}, "cannot import name 'A' from 'other'"),
        ({"task.py": "import other\n", "other.py": "1 / 0\n"}, "ZeroDivisionError: division by zero"),
        ({"task.py": "import other\n", "other.py": "def (\n"}, "SyntaxError"),
    ],
)
def test_a_faulty_module_is_one_line_with_the_authors_names(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        find(tmp_path / "task.py", "x")
    assert message in str(caught.value)
    assert "gps_task" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modules_may_import_each_other_in_a_circle_and_the_task_itself(tmp_path):
    (tmp_path / "a.py").write_text("import b\nA = 1\n")
    (tmp_path / "b.py").write_text("import a, task\n\ndef total():\n    return a.A + task.T\n")
    (tmp_path / "task.py").write_text("import a, b\nT = 10\n")
    assert find(tmp_path / "task.py", "b").total() == 11


def test_classes_work_as_they_do_in_any_module(tmp_path):
    (tmp_path / "shapes.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import NamedTuple\n"
        "@dataclass(frozen=True)\nclass Box:\n    side: float = 2.0\nclass Pair(NamedTuple):\n    a: int\n"
    )
    (tmp_path / "task.py").write_text("from shapes import *\nvolume = Box().side ** 3 + Pair(1).a\n")
    assert find(tmp_path / "task.py", "volume") == 9.0
