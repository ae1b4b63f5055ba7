"""A package that was written for another MuJoCo is named, with both versions; other faults keep their own words."""

import importlib
import sys

import mujoco
import pytest

from gps.environments.plain.recipe import Recipe, find_spec
from gps.errors import ConfigError
from gps.extensions import task_file

OLD = """
import gymnasium
import mujoco

class Arm(gymnasium.Env):
    def __init__(self, fault="interface"):
        if fault == "interface":
            mujoco.MjModel.from_xml_string("<mujoco/>").a_field_of_old
        if fault == "assertion":
            assert mujoco.__version__ == "2.2.0"
        if fault == "value":
            raise ValueError("no arm has 13 joints")

gymnasium.register("Arm-v0", entry_point="oldarms:Arm")
"""


@pytest.fixture
def package(tmp_path, monkeypatch, registry):
    """An installed package, `old-arms` 1.4, that needs MuJoCo, or does not."""

    def install(text=OLD, requires="mujoco>=2.2.0"):
        info = tmp_path / "old_arms-1.4.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: old-arms\nVersion: 1.4\nRequires-Dist: numpy\nRequires-Dist: {requires}\n"
        )
        (info / "top_level.txt").write_text("oldarms\n")
        (tmp_path / "oldarms.py").write_text(text)
        monkeypatch.delitem(sys.modules, "oldarms", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()

    return install


NAMED = f"old-arms 1.4 does not seem to fit MuJoCo {mujoco.__version__}: "


@pytest.mark.parametrize(
    ("fault", "said"), [("interface", "a_field_of_old"), ("assertion", "AssertionError: (oldarms")]
)
def test_a_fault_while_making_names_the_clash(package, fault, said):
    package()
    with pytest.raises(ConfigError) as caught:
        Recipe("oldarms:Arm-v0", find_spec("oldarms:Arm-v0"), {"fault": fault}).make()
    message = str(caught.value)
    assert NAMED in message and said in message and "\n" not in message


@pytest.mark.parametrize("text", ["from mujoco import a_name_of_old", "import mujoco.a_module_of_old"])
def test_a_fault_while_importing_names_the_clash(package, text, tmp_path):
    package(text)
    with pytest.raises(ConfigError, match="cannot be imported") as caught:
        find_spec("oldarms:Arm-v0")
    assert NAMED in str(caught.value)
    (tmp_path / "experiment").mkdir()  # not beside the package, which would be a module of its own then
    (tmp_path / "experiment" / "task.py").write_text("import oldarms\n")
    with pytest.raises(ConfigError) as caught:
        task_file.find(tmp_path / "experiment" / "task.py", "Arm", "environment.id")
    assert NAMED in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "requires"),
    [("value", "mujoco>=2.2.0"), ("interface", "mujoco-py"), ("interface", 'mujoco; extra == "x"')],
)
def test_other_faults_keep_their_own_words(package, fault, requires):
    package(requires=requires)
    with pytest.raises(ConfigError) as caught:
        Recipe("oldarms:Arm-v0", find_spec("oldarms:Arm-v0"), {"fault": fault}).make()
    assert "does not seem to fit" not in str(caught.value)
