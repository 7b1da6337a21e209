"""What reaches users: a wheel that anyone can build again, byte for byte, and licences that are all right."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LICENCES = ROOT / "supply" / "licences.py"
WHOLE = ("pyproject.toml", "README.md", "LICENSE", ".gitignore")


def copy_of(folder: Path, when: int, mode: int) -> Path:
    """What the wheel is built from, at another place, with another age and other rights."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in WHOLE:
        shutil.copyfile(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
        os.utime(path, (when, when))
    return folder


def wheel_of(source: Path, out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
    )
    (wheel,) = out.iterdir()
    return wheel


@pytest.mark.slow
def test_wheel_is_the_same_wherever_and_whenever_it_is_built(tmp_path: Path) -> None:
    one = copy_of(tmp_path / "one", when=1_000_000_000, mode=0o644)
    other = copy_of(tmp_path / "elsewhere" / "other", when=1_600_000_000, mode=0o600)
    first, second = wheel_of(one, tmp_path / "first"), wheel_of(other, tmp_path / "second")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_every_licence_of_what_is_installed_is_allowed() -> None:
    done = subprocess.run([sys.executable, LICENCES], check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "| numpy |" in done.stdout


@pytest.mark.parametrize(
    "expression", ["MIT", "MIT AND BSD-3-Clause", "(MIT OR GPL-2.0-only) AND ISC", "MPL-2.0"]
)
def test_licence_is_allowed(expression: str) -> None:
    assert runpy.run_path(str(LICENCES))["is_allowed"](expression)


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "none told", ""])
def test_licence_is_not_allowed(expression: str) -> None:
    assert not runpy.run_path(str(LICENCES))["is_allowed"](expression)
