"""docs/planning.md keeps its promises: its experiment is complete, and each command of the page runs."""

from helpers.pages import Page

PAGE = Page("planning.md")


def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    PAGE.write_experiment(tmp_path / "point")

    def move(word: str) -> str:  # the path is relative to the experiment's directory
        return word.replace("path='point.npz'", "path='../point.npz'")

    assert len(list(PAGE.run_commands(tmp_path / "runs" / "point", capsys, move))) == 6
