"""What the tests of commands share."""

from pathlib import Path

import pytest

from bench.plugins import registry


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; what a command loads is forgotten at the end of the test."""
    monkeypatch.chdir(tmp_path)
    registry.discover()
    monkeypatch.setattr(registry, "BROKEN", {})
    monkeypatch.setattr(registry, "_PLUGINS", [])
    for one in registry.ALL:
        monkeypatch.setattr(one, "_known", dict(one._known))
        monkeypatch.setattr(one, "_origins", dict(one._origins))
    return tmp_path
