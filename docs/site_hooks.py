"""Hooks of the documentation site: the committed results beside the pages, under the same links.

Pages link to `../results/reference/...`, which is right in the repository. In the site the folder
lies below the root of the documentation: the files are added there, and the links are shortened.
Beside them stands what `prunebench results` makes of them: a link to the folder itself leads to its
overview.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from bench.report.results_site import INDEX, write_site

REFERENCE = Path("results") / "reference"
SHOWN = (".png", ".svg", ".md")
OVERVIEW_LINK = re.compile(r"\]\((?:\.\./)+results/reference\)")
LINK = re.compile(r"\]\((?:\.\./)+(results/reference/[^)]+)\)")
REPOSITORY_LINK = re.compile(r"\]\((?:\.\./)+(?!results/reference)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the committed tables, figures and provenance notes to the site, and their overview."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / REFERENCE).rglob("*")):
        if path.suffix in SHOWN:
            source = path.relative_to(root).as_posix()
            files.append(File.generated(config, source, abs_src_path=str(path)))
    with TemporaryDirectory() as folder:
        for path in write_site([root / REFERENCE], Path(folder)):
            source = (REFERENCE / path.relative_to(folder)).as_posix()
            files.append(File.generated(config, source, content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the committed results into the site, and other files at the repository."""
    up = "../" * page.file.src_uri.count("/")
    if page.file.src_uri.startswith("results/"):
        return markdown
    inside = OVERVIEW_LINK.sub(f"]({up}{(REFERENCE / INDEX).as_posix()})", markdown)
    inside = LINK.sub(rf"]({up}\1)", inside)
    return (
        REPOSITORY_LINK.sub(rf"]({config.extra['repository']}/blob/main/\1\2)", inside)
        if not up
        else inside
    )
