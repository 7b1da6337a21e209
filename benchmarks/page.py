"""How soon the page shows something: a clip is dropped in real Chromium, five times.

    python benchmarks/page.py CLIP [--repeats 5]

Prints Markdown: seconds from the file's choice to the first words about a person, and to the report. Needs
the extra [web], playwright, and Debian's chromium.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright


def main() -> None:
    """Serves the page, drops the clip and looks at the clock."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = next(word for word in server.stdout.readline().split() if word.startswith("http")).rstrip(";")
    rows, reports = [], []
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            for _ in range(given.repeats):
                page = browser.new_context().new_page()
                page.goto(address)
                began = time.perf_counter()
                page.set_input_files("#files", given.clip)
                page.wait_for_selector(".latest:has-text('Person')", timeout=60_000)
                rows.append(time.perf_counter() - began)
                page.wait_for_selector(".done .show", timeout=120_000)
                reports.append(time.perf_counter() - began)
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    print("| from the file's choice to | median, s | first | slowest |\n|---|---|---|---|")
    for name, took in (("the first words about a person", rows), ("the report", reports)):
        print(f"| {name} | {median(took):.2f} | {took[0]:.2f} | {max(took):.2f} |")


if __name__ == "__main__":
    main()
