"""The verbs of those who train, score and submit: one verb is one library function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.errors import InputError
from mien.terminal import Model, Setting, Threads, progress, tell_error

app = typer.Typer()

reproductions = typer.Typer(
    help="Put a claim of the paper to data in hand.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(reproductions, name="reproduce")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="face, speech, both, or paper: both as the paper trains.")],
    data: Annotated[Path, typer.Option(help="Folder that holds ferplus, or ravdess_speech and emodb.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run there is taken up again.")],
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint whose weights the run starts from.")
    ] = None,
    settings: Setting = None,
    threads: Threads = 2,
) -> None:
    """Train one network; needs the extra [train].

    Writes its checkpoint, history and learning curve.
    """
    from mien.recipes import RECIPES, override
    from mien.train import train as run

    if recipe not in RECIPES:
        raise InputError(f"there is no recipe {recipe!r}; expected {' or '.join(RECIPES)}")
    with progress() as hook:
        path = run(override(RECIPES[recipe](), settings or []), data, out, hook, start, threads)
    typer.echo(f"checkpoint: {path}")


@app.command()
def average(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints of one recipe; one is calibrated.")],
    data: Annotated[Path, typer.Option(help="The folder that they were trained on.")],
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")],
    threads: Threads = 2,
) -> None:
    """Write the mean of the weights of several runs; needs the extra [train].

    It is scored, and its confidence fitted, on the part of the training data that chooses.
    """
    from mien.averaging import average as run

    with progress() as hook:
        scores = run(checkpoints, data, out, hook, threads)
    typer.echo(f"{out}: " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of a corpus: FER+, RAVDESS speech or EMO-DB.")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, predictions.csv and pictures.")],
    model: Model = "mien-s",
    split: Annotated[str, typer.Option(help="train, choose or val.")] = "val",
) -> None:
    """Score a model on a corpus: figures, predictions, pictures."""
    from mien.evaluate import evaluate as run

    with progress() as hook:
        lines = run(model, data, out, split=split, hook=hook)
    for line in lines:
        typer.echo(line)


@app.command()
def export(
    checkpoints: Annotated[list[Path], typer.Argument(help="A face checkpoint, and a speech one if wanted.")],
    out: Annotated[Path, typer.Option(help="Model folder to write; its name becomes the model's.")],
    weights: Annotated[str, typer.Option(help="m:n of the proportion rule, voice to face.")] = "1:1",
    mask: Annotated[
        list[str] | None, typer.Option(help="Expression that the voice never gives; repeatable.")
    ] = None,
    figures: Annotated[
        list[Path] | None, typer.Option(help="metrics.json of `mien evaluate` to tell; repeatable.")
    ] = None,
) -> None:
    """Write checkpoints as a model folder; needs the extra [train].

    Its ONNX files are proved to say what torch says.
    """
    from mien.export import export as run
    from mien.export import read_figures, read_weights

    written = run(
        checkpoints,
        out,
        weights=read_weights(weights),
        masked=tuple(mask or ()),
        figures=read_figures(figures or []),
    )
    for modality, difference in written.parity.items():
        typer.echo(f"{modality}: torch and ONNX differ by at most {difference:.1e}")
    typer.echo(f"{written.folder}: {written.size_bytes / 1e6:.1f} MB")


@app.command(name="check-submission")
def check_submission(
    file: Annotated[Path, typer.Argument(help="Submission to the Aff-Wild2 expression challenge.")],
    example: Annotated[Path, typer.Argument(help="The challenge's example list.")],
) -> None:
    """Say whether a submission answers every line of the example list."""
    from mien.submission import check_submission as check

    n_lines, faults = check(file, example)
    if faults:
        for fault in faults:
            tell_error(f"{file}: {fault}")
        raise typer.Exit(2)
    typer.echo(f"{file}: {n_lines} lines, complete and in order")


@reproductions.command()
def fusion(
    votes: Annotated[Path, typer.Option(help="Folder of CREMA-D's vote tables.")],
    out: Annotated[Path | None, typer.Option(help="Folder for fusion.json and fusion.csv.")] = None,
) -> None:
    """Judge ways of fusing voice and face on votes of people."""
    from mien.reproduce import reproduce_fusion

    with progress() as hook:
        lines = reproduce_fusion(votes, out, hook)
    for line in lines:
        typer.echo(line)
