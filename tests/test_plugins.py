"""The names that installed packages declare."""

from helpers.packages import install

from gps.extensions import plugins


def test_a_package_that_is_installed_later_is_found(tmp_path, monkeypatch):
    group = "gps.costs"
    install(monkeypatch, tmp_path / "site", {"first": ""}, {group: {"first-cost": "first:cost"}})
    assert "first-cost" in plugins.names(group) and "second-cost" not in plugins.names(group)
    info = tmp_path / "site" / "another-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nsecond-cost = second:cost\n")
    assert {"first-cost", "second-cost"} <= set(plugins.names(group))
