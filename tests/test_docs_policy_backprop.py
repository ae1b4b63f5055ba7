"""docs/policy_backprop.md keeps its promises: its experiment is complete, and each command of the page runs."""

from helpers.pages import Page

PAGE = Page("policy_backprop.md")


def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    PAGE.write_experiment(tmp_path / "point")
    assert len(PAGE.commands) == 6
    for arguments, shown in PAGE.run_commands(tmp_path / "runs" / "point", capsys):
        if "show" in arguments:
            assert "the policy, optimised through the model: ok" in shown and "gradient    " in shown
        elif "run" in arguments:
            assert "policy: cost in the model " in shown and "gradient " in shown
