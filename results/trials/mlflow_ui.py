"""Pictures of MLflow's own pages for a database that `prunebench` has filled.

    python results/trials/mlflow_ui.py results/mlflow.db FOLDER

starts `mlflow ui` on this machine only and writes pictures to FOLDER: a run of a record, its
learning curves, the run of the study, the models, the table of runs, and a scatter of PSNR against
peak. It needs the package playwright and a Chromium (PRUNEBENCH_BROWSER).
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from mlflow import MlflowClient
from playwright.sync_api import Page, sync_playwright

START_SECONDS = 180
PAGE_SECONDS = 12


@contextmanager
def serve(uri: str) -> Iterator[str]:
    """Run `mlflow ui` on the loopback interface within the block; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    try:
        wait_for(address)
        yield address
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urlopen(f"{address}/health").close()
            return
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def take_pictures(page: Page, address: str, client: MlflowClient, folder: Path) -> None:
    """Open each page and write a picture of it."""
    experiment = client.get_experiment_by_name("prunebench").experiment_id
    runs = client.search_runs([experiment], max_results=1000)
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    child = next(run for run in runs if "calibration_psnr_db" in run.data.metrics)
    base = f"{address}/#/experiments/{experiment}"
    view = "?workflowType=machine_learning"
    pages = {
        "run": f"{base}/runs/{child.info.run_id}{view}",
        "run_metrics": f"{base}/runs/{child.info.run_id}/model-metrics{view}",
        "study": f"{base}/runs/{parent.info.run_id}{view}",
        "study_metrics": f"{base}/runs/{parent.info.run_id}/model-metrics{view}",
        "models": f"{base}/models{view}",
        "runs": f"{base}/runs{view}",
    }
    for name, url in pages.items():
        page.goto("about:blank")  # else only the fragment would change
        page.goto(url)
        page.wait_for_timeout(1000 * PAGE_SECONDS)  # the page never stops to ask for news
        page.screenshot(path=folder / f"{name}.png")
    draw_scatter(page, parent.info.run_name, folder)


def draw_scatter(page: Page, study: str, folder: Path) -> None:
    """On the page of all runs, unfold a study and draw PSNR against peak as a user does."""
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=study, exact=True))
    row.get_by_role("button").first.click()
    page.wait_for_timeout(1000 * PAGE_SECONDS)
    page.screenshot(path=folder / "runs_unfolded.png")
    page.locator("label:has(input[value=CHART])").click()
    page.get_by_role("button", name="Add chart").first.click()
    page.get_by_role("menuitem", name="Scatter chart").click()
    dialog = page.get_by_role("dialog")
    for axis, metric in ((1, "peak_mib"), (2, "psnr_db")):
        dialog.get_by_role("combobox").nth(axis).fill(metric)
        page.get_by_title(metric, exact=True).last.click()
    page.wait_for_timeout(1000 * PAGE_SECONDS)
    page.screenshot(path=folder / "scatter.png")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("database", type=Path, help="sqlite file")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    arguments = parser.parse_args()
    uri = f"sqlite:///{arguments.database.resolve().as_posix()}"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with serve(uri) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("PRUNEBENCH_BROWSER"))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())
        take_pictures(page, address, MlflowClient(tracking_uri=uri), arguments.folder)
        browser.close()


if __name__ == "__main__":
    main()
