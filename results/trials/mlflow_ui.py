"""Pictures of MLflow's own pages for a database that `prunebench` has filled.

    python results/trials/mlflow_ui.py results/mlflow.db FOLDER

starts `mlflow ui` on this machine only, opens the table of runs, a run of a record, its learning
curves, the run of the study, the models, and a scatter of PSNR against peak, and writes a picture
of each to FOLDER. It needs the package playwright and a Chromium (PRUNEBENCH_BROWSER).
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
    child = next(run for run in runs if run.data.metrics.get("psnr_db"))
    base = f"{address}/#/experiments/{experiment}"
    # Where the page of MLflow keeps what the user has chosen.
    scatter = (
        "compareRunsMode=CHART&compareRunCharts="
        '[{"type":"SCATTER","uuid":"a","displayName":"PSNR against peak","deleted":false,'
        '"isGenerated":false,"metricSectionId":"s","runsCountToCompare":100,'
        '"xaxis":{"type":"METRIC","key":"peak_mib"},"yaxis":{"type":"METRIC","key":"psnr_db"}}]'
    )
    pages = {
        "experiment": base,
        "runs": f"{base}/runs",
        "run": f"{base}/runs/{child.info.run_id}",
        "run_metrics": f"{base}/runs/{child.info.run_id}/model-metrics",
        "study": f"{base}/runs/{parent.info.run_id}",
        "study_metrics": f"{base}/runs/{parent.info.run_id}/model-metrics",
        "models": f"{base}/models",
        "charts": f"{base}/runs?{scatter}",
    }
    for name, url in pages.items():
        page.goto("about:blank")
        page.goto(url)
        page.wait_for_timeout(1000 * PAGE_SECONDS)  # it never stops to ask for news
        page.screenshot(path=folder / f"{name}.png")
        print(name, page.url)


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
