"""What `gps run` prints on a terminal: its width, its colours, its status line."""

import re
import sys

import pytest
from helpers.records import record

from gps.inspect.console import Progress
from gps.inspect.formatting import drop_columns, fold_line, format_length, hang_text
from gps.status import Status

LONG = "The fit at step 17 was not finite: an entry of the state exceeded every bound that a number can have there."


@pytest.fixture
def show(monkeypatch, capsys):
    """What a terminal gets for two iterations, the second of which fails in the last condition."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(**environment: str) -> str:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with Progress() as progress:
            progress.on_iteration(record(0))
            progress.on_iteration(record(1, status=Status.NOT_FINITE, message=LONG))
        return capsys.readouterr().out

    return run


def read_lines(out: str) -> list[str]:
    """The printed lines, without colours, and without the status line and its moves of the cursor."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out).replace("\r", "\n")
    return [line for line in text.splitlines() if line.strip() and "loading" not in line]


@pytest.mark.parametrize("width", [80, 100])
def test_every_line_fits_the_terminal(show, width):
    lines = read_lines(show(COLUMNS=str(width)))
    assert max(map(len, lines)) <= width
    assert " ".join(LONG.split()) in " ".join(" ".join(lines).split())
    assert "step×" in "".join(read_lines(show(COLUMNS="120")))


def test_the_less_important_columns_go_first(show):
    (header,) = (line for line in read_lines(show(COLUMNS="80")) if line.startswith("iter cond"))
    assert "KL (bound), nats" in header and "status" in header and "entropy" not in header


def test_a_failure_is_red_unless_nobody_wants_colours(show):
    red = "\x1b[31m"
    coloured = show(COLUMNS="100")
    assert any(red in line and "not finite" in line for line in coloured.splitlines())
    assert not any(red in line for line in coloured.splitlines() if " ok" in line)
    assert red not in show(COLUMNS="100", NO_COLOR="1")


def test_folded_text_keeps_its_words():
    text = "    model: one two three four five"
    folded = fold_line(text, 16)
    assert folded.split() == text.split() and max(map(len, folded.splitlines())) <= 16
    assert folded.splitlines()[1].startswith("      ") and fold_line("short", 16) == "short"


def test_text_beside_a_label_is_folded_beside_it():
    lines = hang_text("name  ", "one two three four", 16).splitlines()
    assert lines == ["name  one two", "      three four"]
    assert hang_text("name  ", "one two three four", None) == "name  one two three four"


def test_a_table_that_is_too_wide_loses_its_least_columns_first():
    table = [["run", "seed", "cost", "state"], ["reacher", "0", "12.5", "finished"]]
    assert drop_columns(table, None, ["seed"]) == drop_columns(table, 40, ["seed", "cost"]) == table
    assert drop_columns(table, 25, ["seed", "cost"]) == [["run", "cost", "state"], ["reacher", "12.5", "finished"]]
    assert drop_columns(table, 5, ["gone", "cost", "seed"]) == [["run", "state"], ["reacher", "finished"]]


def test_lengths():
    shown = [format_length(value) for value in (0.00214, 0.34, 1.234, float("nan"))]
    assert shown == ["2.14 mm", "340 mm", "1.23 m", "–"]
