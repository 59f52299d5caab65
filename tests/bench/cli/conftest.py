"""Fixtures of the tests of commands: an empty working folder, and a small study in it."""

from pathlib import Path

import pytest

import tests.fakes  # noqa: F401  registers the task "fake" and the method "narrow"
from bench.plugins import registry

STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 8}]
methods = ["unpruned", "narrow"]
ratios = [0.5, 0.75]
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder; plugins that a command loads are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    registry.discover()
    monkeypatch.setattr(registry, "BROKEN", {})
    monkeypatch.setattr(registry, "_PLUGINS", [])
    for kind in registry.REGISTRIES:
        monkeypatch.setattr(kind, "_known", dict(kind._known))
        monkeypatch.setattr(kind, "_origins", dict(kind._origins))
    return tmp_path


@pytest.fixture
def tiny_study(workplace: Path) -> Path:
    """Write tiny.toml, a study of three cells of the fake task, into the working folder."""
    (workplace / "tiny.toml").write_text(STUDY)
    return workplace / "tiny.toml"
