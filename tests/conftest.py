"""While tests run, every function of mien is held to the shapes in its signature.

The package imports its shapes for type checkers alone, since jaxtyping is no dependency of it. Here its
modules are compiled as a type checker reads them, `if TYPE_CHECKING:` taken as true, and their functions are
wrapped by beartype.
"""

import ast
import doctest
import inspect
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

hold = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))  # an int will do for a float


class HeldLoader(SourceFileLoader):
    """Compiles a module with its functions wrapped; nothing is cached, or users would run wrapped code."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__hold"] = hold
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        for node in tree.body:
            if (
                isinstance(node, ast.If)
                and isinstance(node.test, ast.Name)
                and node.test.id == "TYPE_CHECKING"
            ):
                node.test = ast.copy_location(ast.Constant(value=True), node.test)
            if isinstance(node, ast.FunctionDef) and not node.decorator_list:
                node.decorator_list.append(ast.Name("__hold", ast.Load()))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


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
