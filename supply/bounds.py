"""Tries mien at the lowest, or at the newest, versions of its dependencies that `pyproject.toml` allows.

Enters: which end, and a folder. Leaves, in that folder: `env`, a new environment with mien's wheel and the
extras of a user who does not train; `versions.txt`, what was installed; `made`, what `smoke.py` made of the
demo with it. It ends with 1 where something does not install or does not work. It needs nothing but Python;
uv, which finds the lowest, is fetched into the folder.

    python supply/bounds.py lowest FOLDER
    python supply/bounds.py newest FOLDER --python python3.13 --extras ''
    python supply/bounds.py lowest FOLDER --narrow 'bokeh>=3.7'     # would a higher bound do?
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = "table,plot,pandas,report,web,scale"


def run(*command: object) -> str:
    """What a command prints; where it fails, so does this."""
    done = subprocess.run(list(map(str, command)), check=False, stdout=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{done.stdout}FAILED  {' '.join(map(str, command))}")
    return done.stdout


def make_environment(place: Path, python: str) -> Path:
    """The python of a new, empty environment."""
    run(python, "-m", "venv", "--clear", place)
    return place / "bin" / "python"


def find_lowest(folder: Path, python: Path, extras: list[str], narrow: list[str]) -> Path:
    """A file of exact versions: direct dependencies at their lower bounds, what they bring at its newest."""
    tools = make_environment(folder / "tools", sys.executable)
    run(tools, "-m", "pip", "install", "--quiet", "uv")
    narrower, lowest = folder / "narrower.txt", folder / "lowest.txt"
    narrower.write_text("".join(f"{line}\n" for line in narrow), encoding="utf-8")
    run(
        *(tools, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header"),
        *("--resolution", "lowest-direct", "--only-binary", ":all:", "--python", python),
        *("--constraint", narrower, "--output-file", lowest),
        *(word for extra in extras for word in ("--extra", extra)),
        ROOT / "pyproject.toml",
    )
    return lowest


def main() -> None:
    """Makes the environment, fills it and tries it."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    reader.add_argument("end", choices=["lowest", "newest"])
    reader.add_argument("folder", type=Path)
    reader.add_argument("--python", default=sys.executable, help="the interpreter to try; else this one")
    reader.add_argument(
        "--extras", default=EXTRAS, help=f"comma-separated, else {EXTRAS}; '': the base alone"
    )
    reader.add_argument("--narrow", action="append", default=[], help="a requirement on top; repeatable")
    asked = reader.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    extras = list(filter(None, asked.extras.split(",")))

    python = make_environment(folder / "env", asked.python)
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    for old in folder.glob("*.whl"):
        old.unlink()
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    exact = asked.narrow
    if asked.end == "lowest":
        exact = ["--requirement", find_lowest(folder, python, extras, asked.narrow)]
    wanted = f"{wheel}[{','.join(extras)}]" if extras else wheel
    run(*pip, "install", "--quiet", "--only-binary", ":all:", *exact, wanted)
    run(*pip, "check")
    frozen = run(*pip, "freeze")
    (folder / "versions.txt").write_text(frozen, encoding="utf-8")
    told = run(python, "-c", "import platform; print(platform.python_version())").strip()
    print(f"Python {told}, the {asked.end} of {', '.join(['the base', *extras])}", flush=True)

    smoke = [python, ROOT / "supply" / "smoke.py", ROOT / "examples" / "demo.mp4", folder / "made"]
    smoke += ["--extras", ",".join(extras)]
    sys.exit(subprocess.run(smoke, check=False, cwd=folder).returncode)


if __name__ == "__main__":
    main()
