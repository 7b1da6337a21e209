"""Analysis in a child: what it says passes through, and its death is one line."""

import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest

from mien.entry import PATIENCE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere no process can fork")

WORK = """
import os, signal, sys, time
from pathlib import Path
from mien import lifeline
from mien.entry import supervise

def work():
    for k in range(lifeline.held.first, {n}):
        lifeline.held.begin(k, Path(f"{{k}}.mp4"), Path({folder!r}))
        print("at", k, flush=True)
        {what}
    sys.exit({code})

sys.exit(supervise(work, {patience}))
"""


def run(
    folder: Path, what: str, *, n: int = 4, code: int = 0, patience: int = PATIENCE
) -> tuple[int, str, str]:
    script = WORK.format(folder=str(folder), what=what, n=n, code=code, patience=patience)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("code", [0, 2, 130])
def test_a_child_that_ends_by_itself_is_followed(tmp_path: Path, code: int) -> None:
    assert run(tmp_path, "pass", code=code) == (code, "at 0\nat 1\nat 2\nat 3\n", "")


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT"])
def test_a_death_costs_one_file_and_is_one_line(tmp_path: Path, name: str) -> None:
    orphan, other = tmp_path / ".timeline.csv.0123abcd.part", tmp_path / ".notes.part"
    orphan.touch()
    other.touch()
    code, out, err = run(tmp_path, f"if k in (1, 3): os.kill(os.getpid(), signal.{name})")
    assert (code, out) == (2, "at 0\nat 1\nat 2\nat 3\n")
    first, second = err.splitlines()
    assert first.startswith(f"mien: '1.mp4' brought its analysis down ({name}) and has no report; expected")
    assert second.startswith(f"mien: '3.mp4' brought its analysis down ({name})")
    assert (orphan.exists(), other.exists()) == (False, True)


def test_a_death_before_the_first_file_is_told_once(tmp_path: Path) -> None:
    script = "import os; from mien.entry import supervise; raise SystemExit(supervise(os.abort))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mien: the analysis was brought down before it had begun (SIGABRT)")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "if k == 0: time.sleep(100)", patience=2)
    assert (code, out) == (2, "at 0\nat 1\nat 2\nat 3\n")
    assert err.startswith("mien: '0.mp4' brought its analysis down (nothing went on for 2 s)")


@pytest.mark.slow
def test_a_child_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    what = "[(time.sleep(0.5), lifeline.held.beat()) for _ in range(8)] if k == 0 else None"
    assert run(tmp_path, what, n=1, patience=2) == (0, "at 0\n", "")


KEPT = """
import sys
from pathlib import Path
from mien.entry import give_memory_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "back":
    give_memory_back()
bytearray(30 << 20)  # from here on glibc would keep pieces of this size
before = resident()
large, small = bytearray(b"x" * (24 << 20)), [bytes(600) for _ in range(1000)]
del large
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is about glibc")
def test_large_pieces_of_memory_are_given_back() -> None:
    kept, back = (
        int(subprocess.run([sys.executable, "-c", KEPT, how], capture_output=True, check=True).stdout)
        for how in ("kept", "back")
    )
    assert back < 4 <= 20 < kept


def write_silence(path: Path, seconds: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", None))
        file.writeframes(bytes(2 * 8000 * seconds))
    return path


def start(film: Path, out: Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """An analysis that has begun to write."""
    words = [sys.executable, "-m", "mien", "analyze", film, "--out", out]
    analysis = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stderr)
    while not list(out.glob(".timeline.csv.*")):
        assert analysis.poll() is None
        time.sleep(0.01)
    return analysis


def children_of(process: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_a_killed_child_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    analysis = start(write_silence(tmp_path / "long.wav", 600), tmp_path / "out", subprocess.PIPE)
    (child,) = children_of(analysis.pid)
    os.kill(child, signal.SIGKILL)
    err = analysis.communicate(timeout=60)[1].decode()
    assert analysis.returncode == 2
    assert "long.wav' brought its analysis down (SIGKILL)" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_a_killed_parent_takes_its_child_along_and_the_next_run_clears_up(tmp_path: Path) -> None:
    film, out = write_silence(tmp_path / "long.wav", 600), tmp_path / "out"
    analysis = start(film, out)
    (child,) = children_of(analysis.pid)
    analysis.kill()
    analysis.wait()
    until = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < until, "the child goes on though nobody watches"
        time.sleep(0.05)
    out.mkdir(exist_ok=True)
    (out / ".timeline.csv.0123abcd.part").touch()  # as of a child that was killed as well
    again = subprocess.run(
        [sys.executable, "-m", "mien", "analyze", film, "--out", out], timeout=120, check=False
    )
    assert again.returncode == 0
    assert not list(out.glob(".*"))


@pytest.mark.slow
def test_a_run_does_not_take_what_another_is_writing(tmp_path: Path) -> None:
    analysis = start(write_silence(tmp_path / "long.wav", 600), tmp_path / "out")
    short = write_silence(tmp_path / "short.wav", 1)
    words = [sys.executable, "-m", "mien", "analyze", short, "--out", tmp_path / "out"]
    assert subprocess.run(words, timeout=60, check=False).returncode == 0
    assert list((tmp_path / "out").glob(".timeline.csv.*.part"))
    analysis.terminate()
    assert analysis.wait(timeout=60) == 128 + signal.SIGTERM
