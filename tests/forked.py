"""The tests of one module, which are loaded once and run in forks, each with another text of the module."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from contextlib import redirect_stdout, suppress
from functools import partial
from importlib import import_module
from importlib.machinery import SourceFileLoader
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mien"

MOST_MEMORY = 12 << 30
"""Bytes of address space of a fork."""

NO_IMPORT, BROKEN = 71, 72
"""Exit codes of a fork: the module cannot be imported; what should run the tests fails itself."""

SURVIVED, UNREACHED = "survived", "reached by no test"


class OneModule:
    """A plugin of pytest: of the package, only the examples of one module.

    A file that is named to pytest itself would be loaded past conftest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        passed_by = collection_path.is_relative_to(SOURCE) and not self.path.is_relative_to(collection_path)
        return True if passed_by else None


class Chosen(OneModule):
    """A plugin of pytest: keeps what was chosen, the quickest first."""

    def __init__(self, path: Path, seconds: dict[str, float]) -> None:
        super().__init__(path)
        self.seconds = seconds

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self.seconds]
        items[:] = sorted(kept, key=lambda item: self.seconds[item.nodeid])


class Traced(OneModule):
    """A plugin of pytest: how long each test takes, and which lines of the module it comes to."""

    def __init__(self, path: Path) -> None:
        from coverage import Coverage

        super().__init__(path)
        self.cover = Coverage(data_file=None, include=[str(path)], config_file=False)
        self.seconds: dict[str, float] = {}
        self.cover.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.cover.switch_context(item.nodeid)
        begun = time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - begun
            self.cover.switch_context("")

    def reached(self) -> dict[str, list[int]]:
        """Lines by test; under no name those that are run when the module is imported."""
        self.cover.stop()
        lines: dict[str, list[int]] = {}
        for line, tests in self.cover.get_data().contexts_by_lineno(str(self.path)).items():
            for test in tests:
                lines.setdefault(test, []).append(line)
        return lines


class Bench:
    """The process in which the tests of a module are loaded, and which forks.

    What it has imported is neither the module, nor what imports it, nor tests: each fork imports these anew.
    """

    def __init__(self, module: str, tests: list[str], folder: Path, seed: int) -> None:
        self.module, self.folder = f"mien.{module}", folder
        self.path = SOURCE / f"{module.replace('.', '/')}.py"
        self.options = [
            *("-x", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-m", "not slow"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", f"--hypothesis-seed={seed}"),
            *("-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-profile=mutants"),
        ]
        self.tests = [*(str(ROOT / "tests" / f"test_{name}.py") for name in tests), str(SOURCE)]
        self.patience = 600.0
        self.seconds: dict[str, float] = {}
        self.reached: dict[str, list[int]] = {}

    def load(self) -> str:
        """Imports what the tests need, and runs them; what is wrong with them, or nothing."""
        from grimp import build_graph
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutants",
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],  # a failure need not be made small
            suppress_health_check=list(HealthCheck),
        )
        import_module("mien")  # before conftest, which would have it import all of the package
        told = self.folder / "told.json"
        if self.wait(self.fork(lambda: self.list_modules(told))):
            return f"{self.module}: its tests cannot be loaded; see log.txt"
        with redirect_stdout(StringIO()):
            pytest.main([*self.options, "--collect-only", "-qq", str(ROOT / "tests" / "conftest.py")])
        stale = build_graph("mien", cache_dir=None).find_downstream_modules(self.module) | {self.module}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in json.loads(told.read_text()):
                if name not in stale:
                    with suppress(Exception):
                        import_module(name)
        begun = time.monotonic()
        if self.wait(self.fork(lambda: self.trace(told))):
            return f"{self.module}: its tests fail as it is; see log.txt"
        self.patience = 20 + 5 * (time.monotonic() - begun)
        self.seconds, self.reached = json.loads(told.read_text())
        for text, wanted in ((self.path.read_text(encoding="utf-8"), 0), ("raise ImportError", NO_IMPORT)):
            if (code := self.wait(self.fork(partial(self.test, text, self.seconds)))) != wanted:
                return f"{self.module}: the bench is broken; with {text[:20]!r} … it ends with {code}"
        return ""

    def list_modules(self, told: Path) -> int:
        """Writes which modules the tests import, but for those that stand beside them."""
        code = pytest.main(
            [*self.options, "--collect-only", "-qq", *self.tests], plugins=[OneModule(self.path)]
        )
        names = [
            name
            for name, module in list(sys.modules.items())
            if Path(getattr(module, "__file__", None) or "/").parent != ROOT / "tests"
        ]
        told.write_text(json.dumps(names))
        return int(code)

    def trace(self, told: Path) -> int:
        """Runs all tests, and writes how long each takes and which lines it comes to."""
        traced = Traced(self.path)
        code = pytest.main([*self.options, *self.tests], plugins=[traced])
        told.write_text(json.dumps([traced.seconds, traced.reached()]))
        return int(code)

    def choose(self, function: tuple[int, int] | None) -> dict[str, float]:
        """The tests that come into a function, by its first and last line, and how long each takes."""
        if function is None:
            return self.seconds
        first, last = function
        inside = {test for test, lines in self.reached.items() if any(first < n <= last for n in lines)}
        return self.seconds if "" in inside else {test: self.seconds[test] for test in inside}

    def start(self, text: str, function: tuple[int, int] | None) -> int:
        """Begins a function's tests with another text of the module; the process, 0 where there are none."""
        chosen = self.choose(function)
        return self.fork(lambda: self.test(text, chosen)) if chosen else 0

    def test(self, text: str, chosen: dict[str, float]) -> int:
        signal.alarm(round(self.patience))
        replace_source(self.path, text.encode())
        try:
            import_module(self.module)
        except Exception:
            return NO_IMPORT
        return int(pytest.main([*self.options, *self.tests], plugins=[Chosen(self.path, chosen)]))

    def fork(self, do: Callable[[], int]) -> int:
        """A process, in a session and a folder of its own, that does something and ends with its code."""
        sys.stdout.flush()
        process = os.fork()
        if process:
            return process
        code = BROKEN
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
            scratch = self.folder / f"tmp-{os.getpid()}"
            scratch.mkdir()
            os.chdir(scratch)
            self.options.append(f"--basetemp={scratch / 'pytest'}")
            log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = do()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def wait(self, process: int) -> int:
        _, status = os.waitpid(process, 0)
        self.clear(process)
        return os.waitstatus_to_exitcode(status)

    def clear(self, process: int) -> None:
        """Ends what a fork began, and removes its folder."""
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        shutil.rmtree(self.folder / f"tmp-{process}", ignore_errors=True)


def replace_source(path: Path, text: bytes) -> None:
    """From now on a file is imported as if the text stood in it; conftest's loader keeps no cache."""
    read = SourceFileLoader.get_data

    def get_data(self: SourceFileLoader, asked: str) -> bytes:
        return text if Path(asked) == path else read(self, asked)

    SourceFileLoader.get_data = get_data  # type: ignore[method-assign]


def meaning(status: int) -> str:
    """What the end of a fork says of the text that it had."""
    if os.WIFSIGNALED(status):
        return "too slow" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"
    code = os.waitstatus_to_exitcode(status)
    return {0: SURVIVED, 1: "killed", NO_IMPORT: "no import", BROKEN: "broken"}.get(code, "crashed")
