"""What setup.cfg cannot say: the wheel carries the directories of experiments/ as gps/experiments."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "experiments"


class BuildWithExperiments(build_py):
    """Builds the package with a copy of the experiments; an editable installation uses those of the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "gps" / "experiments"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__", ".*", "runs"))


setup(cmdclass={"build_py": BuildWithExperiments})
