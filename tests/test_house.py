"""The house rules that no linter knows: sizes, names, mirrored tests, what ships, what `--help` may load."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mien"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LARGEST_WHEEL_MB = 40
NAMES_THAT_SAY_NOTHING = {
    "utils",
    "util",
    "helpers",
    "helper",
    "base",
    "common",
    "core",
    "manager",
    "factory",
    "misc",
}
HEAVY = {"torch", "onnxruntime", "cv2", "av", "retinaface", "polars", "matplotlib"}

MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:home|root|Users|work|opt)/\w|\b[A-Z]:\\\\?Users\b")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|index-url|--find-links|https?://\S*/simple\b"
)
MARKDOWN_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


ASK_FOR_HELP = """
import sys
from mien.cli import main

sys.argv = ["mien", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code
print("\\nLOADED", *sys.modules)
"""


def name_of(module: Path) -> str:
    return module.relative_to(SOURCE).as_posix()


def output_of(*arguments: str) -> str:
    """What Python prints with these arguments; it must not fail."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def tracked_files() -> list[Path]:
    """Every file that is, or without further ado would be, committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def tracked_texts() -> dict[str, str]:
    texts = {}
    for path in tracked_files():
        try:
            texts[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_file_and_its_functions_are_read_in_one_sitting(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = (
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_has_a_docstring(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


def test_names_of_files_say_what_is_in_them() -> None:
    parts = {part for module in MODULES for part in module.relative_to(SOURCE).with_suffix("").parts}
    assert parts & NAMES_THAT_SAY_NOTHING == set()


def test_every_module_has_its_test() -> None:
    """`faces.py` has `test_faces.py`; `models/face.py` has `test_models_face.py` or `test_face.py`."""
    stems = Counter(module.stem for module in MODULES)
    tests = {test.stem for test in (ROOT / "tests").glob("test_*.py")}
    untested = []
    for module in MODULES:
        place = module.relative_to(SOURCE).with_suffix("")
        names = {
            f"test_{'_'.join(place.parts)}",
            *([f"test_{module.stem}"] if stems[module.stem] == 1 else []),
        }
        if module.stem not in {"__init__", "__main__"} and not names & tests:
            untested.append(name_of(module))
    assert untested == []


@pytest.mark.parametrize(
    "pattern", [MACHINE_PATH, REGISTRY], ids=["path of a machine", "address of a registry"]
)
def test_nothing_points_at_one_machine(pattern: re.Pattern[str]) -> None:
    here = Path(__file__).relative_to(ROOT).as_posix()
    found = {
        name: match[0]
        for name, text in tracked_texts().items()
        if (match := pattern.search(text)) and name != here
    }
    assert found == {}


@pytest.mark.parametrize(
    "parts", [("see ", "home", "ann"), ("open('", "root", "x')"), ("C:", "Users", "ann")]
)
def test_path_of_a_machine_is_recognised(parts: tuple[str, str, str]) -> None:
    joint = "\\" if parts[0] == "C:" else "/"
    assert MACHINE_PATH.search(joint.join(parts))


@pytest.mark.parametrize(
    "parts", [("src", "work", "a.py"), ("example.org", "home", "x"), ("$HOME", "root", "x")]
)
def test_other_paths_are_not_mistaken_for_one(parts: tuple[str, str, str]) -> None:
    assert not MACHINE_PATH.search("/".join(parts))


def test_links_between_documents_lead_somewhere() -> None:
    dead = [
        f"{name} -> {target}"
        for name, text in tracked_texts().items()
        if name.endswith(".md")
        for target in MARKDOWN_LINK.findall(text)
        if "://" not in target
        and not target.startswith("mailto:")
        and not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert dead == []


def test_help_loads_nothing_heavy() -> None:
    printed, _, loaded = output_of("-c", ASK_FOR_HELP).rpartition("\nLOADED ")
    assert "analyze" in printed
    assert HEAVY & set(loaded.split()) == set()


def test_version_is_that_of_the_newest_change() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, flags=re.MULTILINE)
    assert newest
    assert newest[1] == PROJECT["project"]["version"]


def test_schema_of_the_table_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^Table schema \d+\.\d+$", changelog, flags=re.MULTILINE)


def test_every_direct_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {pin.name: pin for pin in map(Requirement, (line for line in lines if line and line[0] != "#"))}
    extras = PROJECT["project"]["optional-dependencies"].values()
    direct = map(
        Requirement, [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    )
    for requirement in direct:
        if requirement.name != "mien":
            assert requirement.name in pins
            assert all(item.version in requirement.specifier for item in pins[requirement.name].specifier)
    assert all(re.fullmatch(r"==[\d.]+(post\d+)?", str(pin.specifier)) for pin in pins.values())


def test_every_module_has_a_place_in_the_layers() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "layers")
    assert layers["exhaustive"] is True
    assert "exhaustive_ignores" not in layers
    listed = {name.strip(" ()") for line in layers["layers"] for name in line.split("|")}
    modules = {module.stem for module in SOURCE.glob("*.py")} | {
        package.parent.name for package in SOURCE.glob("*/__init__.py")
    }
    assert modules - {"__init__"} - listed == set()


@pytest.mark.slow
def test_wheel_is_pure_and_small(tmp_path: Path) -> None:
    output_of("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.iterdir()
    assert wheel.name == f"mien-{PROJECT['project']['version']}-py3-none-any.whl"
    assert wheel.stat().st_size <= LARGEST_WHEEL_MB * 1_000_000
    shipped = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"mien/{path.relative_to(SOURCE).as_posix()}"
        for path in tracked_files()
        if path.is_relative_to(SOURCE)
    }
    assert wanted <= shipped
