"""While tests run, the functions and methods of mien are held to the types and shapes in their signatures.

The package imports its shapes for type checkers alone, since jaxtyping is no dependency of it. Here its
modules are compiled as a type checker reads them, `if TYPE_CHECKING:` taken as true, and beartype wraps

- every function at the top of a module, and every method in the body of a class, a network's `forward`
  included; under the decorators in `TRANSPARENT` what is wrapped is the function itself.

Not held are commands of the command line, bodies of a Protocol, functions inside functions, what `dataclass`
writes (`__init__` above all), and whatever a test runs in another process.
"""

import ast
import doctest
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

hold = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))  # an int will do for a float

TRANSPARENT = {
    "cache",
    "classmethod",
    "contextmanager",
    "lru_cache",
    "no_grad",
    "property",
    "staticmethod",
}
"""Decorators under which a function is held all the same; typer's command reads the signature itself."""


class HeldLoader(SourceFileLoader):
    """Compiles a module with its functions wrapped; nothing is cached, or users would run wrapped code."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__hold__"] = hold
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        for node in tree.body:
            if isinstance(node, ast.If) and name_of(node.test) == "TYPE_CHECKING":
                node.test = ast.copy_location(ast.Constant(value=True), node.test)
        hold_functions(tree)
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def hold_functions(body: ast.Module | ast.ClassDef) -> None:
    """Wraps the functions of a module and the methods of its classes, nearest to what is wrapped."""
    for node in body.body:
        if isinstance(node, ast.ClassDef) and "Protocol" not in map(name_of, node.bases):
            hold_functions(node)
        if isinstance(node, ast.FunctionDef) and {*map(name_of, node.decorator_list)} <= TRANSPARENT:
            node.decorator_list.append(ast.Name("__hold__", ast.Load()))
            for each in ast.walk(node):  # beartype understands Self only where it wraps a whole class
                if isinstance(each, ast.Name) and each.id == "Self":
                    each.id = body.name


def name_of(node: ast.expr) -> str:
    """`no_grad` of `@torch.no_grad()`; empty for what has no name."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class HeldFinder(MetaPathFinder):
    """Finds the modules of mien as ever, and has them loaded by `HeldLoader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "mien":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = HeldLoader(spec.loader.name, spec.loader.path)
        return spec


def belongs(finder: doctest.DocTestFinder, module: ModuleType, thing: object) -> bool:
    """Whether an example is of this module; a wrapped function is judged by what it wraps."""
    return find_by_globals(finder, module, inspect.unwrap(thing) if callable(thing) else thing)


find_by_globals = doctest.DocTestFinder._from_module
doctest.DocTestFinder._from_module = belongs
sys.meta_path.insert(0, HeldFinder())


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `mien` with these arguments; gives the exit code and what stood on both outputs."""

    def run_mien(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        code: object = 0
        try:
            from mien import cli

            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in err
        return code, out, err

    return run_mien
