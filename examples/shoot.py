"""Makes the README's pictures of the report and of the page, docs/pictures/report.png and page.png.

    python examples/shoot.py

Both show the bundled clip. Needs the extras [web] and [dev], and Chromium as `chromium`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
PICTURES = HERE.parent / "docs" / "pictures"
MIEN = (sys.executable, "-m", "mien")


def shoot_report(browser: Browser) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--out", folder, "--report", "--film")
        subprocess.run([*MIEN, "analyze", str(HERE / "demo.mp4"), *options], check=True)
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.goto((Path(folder) / "timeline.html").as_uri())
        page.wait_for_function("window.Bokeh?.documents[0]?.is_idle")
        page.evaluate("document.getElementById('film').currentTime = 5")
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURES / "report.png")


def shoot_page(browser: Browser) -> None:
    with subprocess.Popen([*MIEN, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://[\d.:]+", server.stdout.readline())
            assert address is not None
            page = browser.new_page(viewport={"width": 1180, "height": 1150})
            page.goto(address[0])
            page.set_input_files("#files", HERE / "demo.mp4")
            page.wait_for_selector(".latest:has-text('Person 1')", timeout=60_000)
            page.wait_for_timeout(1300)  # until its chart has grown
            page.screenshot(path=PICTURES / "page.png")
        finally:
            server.terminate()


def main() -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shoot_report(browser)
        shoot_page(browser)
        browser.close()
    print(PICTURES)


if __name__ == "__main__":
    main()
