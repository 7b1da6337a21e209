"""The terminal: options that several verbs share, progress as a bar, an error as one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.spans import Hook

Model = Annotated[str, typer.Option(help="A shipped model's name, or a folder from `mien export`.")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override one setting; repeatable.")
]
Rule = Annotated[
    str | None,
    typer.Option(
        "--fusion", help="proportion, product, or class_wise after `mien fit-fusion`; else the model's."
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Processor threads.")]


@contextmanager
def progress() -> Iterator[Hook]:
    """The hook that drives a bar on standard error, which appears where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)

        def drive(what: str, done: float, total: float) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield drive


def tell_error(error: Exception | str) -> None:
    """Writes one line on standard error."""
    told = error if isinstance(error, str) else described(error)
    typer.echo("mien: " + " ".join(told.split()), err=True)
