"""A real browser without a network, for the tests of pages; they are skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Opened:
    """A page in a browser, and what went wrong in it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Addresses that it asked for, its own left out."""


CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
"""Arguments by which Chromium has a camera and a microphone, which show and play patterns."""


@contextmanager
def opened(
    what: Path | str, *, width: int = 1200, dark: bool = False, arguments: tuple[str, ...] = ()
) -> Iterator[Opened]:
    """A file, open in Chromium with the network off, or an address of this machine."""
    address = what if isinstance(what, str) else what.as_uri()
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *arguments]
        )
        context = browser.new_context(
            viewport={"width": width, "height": 1000},
            offline=isinstance(what, Path),
            color_scheme="dark" if dark else "light",
        )
        found = Opened(context.new_page())
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("console", lambda said: found.errors.extend([said.text] * (said.type == "error")))
        own = ("data:", "blob:", address)
        found.page.on(
            "request", lambda asked: found.asked.extend([asked.url] * (not asked.url.startswith(own)))
        )
        found.page.goto(address)
        yield found
        browser.close()
