"""Faults put into modules one at a time: the tests of a module must notice each of them.

    python tests/mutants.py FOLDER [--only MODULE ...] [--seed 0] [--most N]

The mutants are mutmut's: another operator, a number one higher, an argument None or gone, True for False, a
branch always or never taken. Left out are strings, annotations, decorators, whatever stands in a `raise`
(what an error says is no behaviour), and `strict` of `zip`. Each mutant is tested in a fork (`forked`): of
the tests of its module (`MODULES`; the slow ones left out, the examples in docstrings taken in) those run
that come into its function, until one fails. A fork that takes far longer than the tests do is ended, and
its mutant counts as noticed.

mutmut is fetched into FOLDER/tool. What a mutant came to is one line in FOLDER/results.jsonl; what stands
there is not run again, unless the module has changed, or it survived and the tests have changed. Prints a
table, and writes those that survived to FOLDER/survivors.txt, a line each; code 1 where the tests of a module
fail as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forked import ROOT, SOURCE, SURVIVED, UNREACHED, Bench, meaning

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOL = ("mutmut==3.8.1", "libcst==1.9.0")
"""What makes the mutants; what libcst needs besides is in the developers' environment."""

MODULES = {
    "windows": ["windows"],
    "timeline": ["timeline", "timeline_streams"],
    "metrics": ["metrics"],
    "losses": ["losses"],
    "fusion": ["fusion"],
    "classwise": ["classwise"],
    "models.fusion": ["models_fusion"],
    "labels": ["labels"],
    "foreign": ["foreign"],
    "framewise": ["framewise"],
    "datasets.affwild2": ["datasets_affwild2"],
    "datasets.ravdess": ["datasets_ravdess"],
    "datasets.cremad": ["datasets_cremad"],
    "datasets.emodb": ["datasets_emodb"],
    "datasets.expw": ["datasets_expw"],
    "datasets.ferplus": ["datasets_ferplus"],
    "datasets.affectnet": ["datasets_affectnet"],
    "datasets.likeness": ["datasets_likeness"],
}
"""Modules and the names of their tests."""

STRICT = re.compile(r",\s*(strict=\w+)?(?=\s*\))")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    module: str
    line: int
    change: str
    """The lines that go and those that come."""
    function: tuple[int, int] | None
    """First and last line of the function around it, if there is one."""
    text: str
    """The whole module with the fault."""

    @property
    def key(self) -> str:
        return f"{self.module} {hashlib.sha256(self.text.encode()).hexdigest()[:16]}"


def fetch_tool(folder: Path) -> None:
    """Lets mutmut be imported, from a folder of its own."""
    tool = folder / "tool"
    if not all((tool / f"{pin.replace('==', '-')}.dist-info").is_dir() for pin in TOOL):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tool)]
        subprocess.run([*command, *TOOL], check=True)
    sys.path.append(str(tool))


def make_mutants(module: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    import libcst as cst
    from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, PositionProvider
    from mutmut.mutation.mutators import mutation_operators, operator_string

    operators = [(kind, mutate) for kind, mutate in mutation_operators if mutate is not operator_string]
    passed_over = (cst.Annotation, cst.Decorator, cst.Raise, cst.Import, cst.ImportFrom)
    wrapped = MetadataWrapper(cst.parse_module((SOURCE / f"{module.replace('.', '/')}.py").read_bytes()))
    places, spans = wrapped.resolve(PositionProvider), wrapped.resolve(ByteSpanPositionProvider)
    tree, code = wrapped.module, wrapped.module.bytes
    before = code.decode().splitlines()
    found: dict[str, Mutant] = {}

    def visit(node: cst.CSTNode, function: tuple[int, int] | None) -> None:
        if isinstance(node, passed_over):
            return
        if (
            isinstance(node, cst.If)
            and isinstance(node.test, cst.Name)
            and node.test.value == "TYPE_CHECKING"
        ):
            return
        if isinstance(node, cst.FunctionDef) and function is None:
            function = places[node].start.line, places[node].end.line
        for kind, mutate in operators:
            for new in mutate(node) if isinstance(node, kind) else ():
                text = replaced(node, new)
                change = difference(before, text.splitlines())
                found[text] = Mutant(module, places[node].start.line, change, function, text)
        for child in node.children:
            visit(child, function)

    def replaced(node: cst.CSTNode, new: cst.CSTNode) -> str:
        begin, end = spans[node].start, spans[node].start + spans[node].length
        if code[begin:end].decode() != tree.code_for_node(node):  # as of some that stand in brackets
            return str(tree.deep_replace(node, new).code)
        return (code[:begin] + tree.code_for_node(new).encode() + code[end:]).decode()

    visit(tree, None)
    as_it_is = STRICT.sub("", code.decode())
    kept = [mutant for text, mutant in found.items() if STRICT.sub("", text) != as_it_is]
    return sorted(kept, key=lambda mutant: mutant.line)


def difference(before: list[str], after: list[str]) -> str:
    """What a local change takes away and puts there, in one line."""
    same = 0
    while before[same : same + 1] == after[same : same + 1]:
        same += 1
    before, after = before[same:], after[same:]
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    gone, come = (" ".join(line.strip() for line in lines) for lines in (before, after))
    return f"{gone}  ->  {come}"


def ground_of(module: str) -> str:
    """Changes when the tests of a module do."""
    texts = [(ROOT / "tests" / f"test_{name}.py").read_bytes() for name in MODULES[module]]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {told["key"]: told for told in map(json.loads, lines)}


def results_of(bench: Bench, mutants: list[Mutant], workers: int) -> Iterator[tuple[Mutant, str, float]]:
    """What each mutant came to, and after how many seconds."""
    left, at_work = mutants[::-1], {}
    while left or at_work:
        while left and len(at_work) < workers:
            mutant = left.pop()
            if process := bench.start(mutant.text, mutant.function):
                at_work[process] = mutant, time.monotonic()
            else:
                yield mutant, UNREACHED, 0.0
        if at_work:
            process, status = os.wait()
            mutant, begun = at_work.pop(process)
            bench.clear(process)
            yield mutant, meaning(status), time.monotonic() - begun


def work(module: str, mutants: list[Mutant], arguments: argparse.Namespace) -> int:
    """Runs what is still to be run of a module's mutants, in a process of its own; its code."""
    results = arguments.folder / "results.jsonl"
    known, ground = read_results(results), ground_of(module)
    todo = [
        mutant
        for mutant in mutants
        if (told := known.get(mutant.key)) is None
        or (told["end"] in (SURVIVED, UNREACHED) and told["ground"] != ground)
    ]
    if not todo:
        return 0
    sys.stdout.flush()
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 1
    try:
        bench = Bench(module, MODULES[module], arguments.folder, arguments.seed)
        if fault := bench.load():
            print(fault, flush=True)
        else:
            with results.open("a", encoding="utf-8") as out:
                for mutant, end, seconds in results_of(bench, todo, arguments.workers):
                    told = {"key": mutant.key, "end": end, "seconds": round(seconds, 2), "ground": ground}
                    out.write(json.dumps(told) + "\n")
                    out.flush()
            code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--seed", type=int, default=0, help="of the tests' random examples, and of --most")
    parser.add_argument("--most", type=int, help="so many mutants of each module, drawn at random")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ROOT / "src"))
    sys.dont_write_bytecode = False  # tests are rewritten by pytest once, not for each mutant
    os.environ["OMP_NUM_THREADS"] = "1"
    fetch_tool(arguments.folder)
    failed, survivors = False, []
    print("| module | mutants | drawn | noticed | of these by the import | survived | % noticed |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for module in arguments.only:
        mutants = make_mutants(module)
        n = len(mutants)
        chosen = random.Random(arguments.seed).sample(mutants, n)[
            : arguments.most
        ]  # more are these and others
        failed |= work(module, chosen, arguments) != 0
        known = read_results(arguments.folder / "results.jsonl")
        ends = [(mutant, known[mutant.key]["end"]) for mutant in chosen if mutant.key in known]
        left = [(mutant, end) for mutant, end in ends if end in (SURVIVED, UNREACHED)]
        left.sort(key=lambda each: each[0].line)
        survivors += [f"{m.module}:{m.line}: {end}: {m.change}\n" for m, end in left]
        counts, noticed = Counter(end for _, end in ends), len(ends) - len(left)
        share = f"{100 * noticed / max(1, len(ends)):.1f}"
        cells = (module, n, len(ends), noticed, counts["no import"], len(left), share)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    (arguments.folder / "survivors.txt").write_text("".join(survivors), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
