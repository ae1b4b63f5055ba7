"""The guide to global models: its program runs, its table is read, and its report is what the command prints."""

import re
from pathlib import Path

import numpy as np

from gps.recordings import read_recording

GUIDE = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
PROGRAM = "".join(re.findall(r"```python\n(.*?)```", GUIDE, re.S))
TABLE = next(block for block in re.findall(r"```text\n(.*?)```", GUIDE, re.S) if block.startswith("episode,"))


def test_the_program_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(PROGRAM, "docs/models.md", "exec"), found)
    report = found["report"]
    assert (report.model.one_step_error < 0.5 * report.stays.one_step_error).all()
    np.testing.assert_allclose(found["F"], [[1, 0.05, 0.0025], [0, 1, 0.05]], atol=0.01)
    assert capsys.readouterr().out.count("\n") == 2


def test_the_table_of_the_guide_is_read(tmp_path):
    (tmp_path / "data.csv").write_text(TABLE, encoding="utf-8")
    found = read_recording(tmp_path / "data.csv")
    assert (found.episodes, found.size) == (2, 3) and found.notes == ()
    assert [entry[:2] for entry in found.state_entries] == [("angle", "rad"), ("speed", "rad/s")]
