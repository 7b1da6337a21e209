"""Makes docs/pictures/report.png, the README's picture of a report, from the bundled clip.

    python examples/shoot_report.py

Needs the extras [report] and [dev], and Chromium as `chromium`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "pictures" / "report.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "mien",
            "analyze",
            HERE / "demo.mp4",
            "--out",
            folder,
            "--report",
            "--film",
        ]
        subprocess.run([str(part) for part in command], check=True)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1180, "height": 900})
            page.goto((Path(folder) / "timeline.html").as_uri())
            page.wait_for_function("window.Bokeh?.documents[0]?.is_idle")
            page.evaluate("document.getElementById('film').currentTime = 5")
            page.wait_for_timeout(500)
            page.screenshot(path=PICTURE)
            browser.close()
    print(PICTURE)


if __name__ == "__main__":
    main()
