"""The study files that come with the package."""

from itertools import takewhile
from pathlib import Path

from bench.errors import ConfigError, describe_unknown, match_name

PACKAGED_STUDIES = Path(__file__).parent.parent / "studies"


def packaged_studies() -> list[str]:
    """Return the names of the studies that come with the package."""
    return sorted(path.stem for path in PACKAGED_STUDIES.glob("*.toml"))


def study_path(source: str | Path) -> Path:
    """Return the file of a study.

    Args:
        source: the name of a packaged study, or the path of a .toml file.

    Raises:
        ConfigError: there is no such study or file.
    """
    text = str(source)
    if not text.endswith(".toml") and "/" not in text:
        text = match_name(text, packaged_studies())
        if text not in packaged_studies():
            message = describe_unknown("study", text, packaged_studies())
            raise ConfigError(f"{message}; or give the path of a .toml file")
        return PACKAGED_STUDIES / f"{text}.toml"
    if not Path(text).is_file():
        raise ConfigError(
            f"there is no study file {text}; "
            f"give an existing .toml or one of {', '.join(packaged_studies())}"
        )
    return Path(text)


def describe_study(name: str) -> str:
    """Return what a packaged study says of itself: the first paragraph of its comment, as one line.

    Raises:
        ConfigError: there is no such study.
    """
    toml = study_path(name).read_text(encoding="utf-8")
    comment = takewhile(lambda line: line.startswith("# "), toml.splitlines())
    return " ".join(line.lstrip("# ") for line in comment)
