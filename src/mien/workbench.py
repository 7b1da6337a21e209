"""The verbs of those who train, score and submit: one verb is one library function."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import InputError
from mien.terminal import Model, Rule, Setting, Threads, progress, tell_error
from mien.whole import checksum

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer()

CHECKPOINT = ".safetensors"

EXTRACTOR_OF = "The network of yours, as ONNX, on whose features a checkpoint was trained; repeatable."
EXTRACTOR = "Your own network as ONNX, or a folder of its features; JSON beside it says its form."

reproductions = typer.Typer(
    help="Put a claim of the paper to data in hand.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(reproductions, name="reproduce")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="face; speech; or both at once: tuned, abstract or paper.")],
    data: Annotated[
        Path,
        typer.Option(
            help="A CSV table of your clips; what `mien prepare` wrote; or a folder with ferplus, or "
            "ravdess_speech and emodb."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run there is taken up again.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Model, such as mien-b, or checkpoint whose network and weights are taken."
        ),
    ] = None,
    teachers: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            help="Model or face checkpoint that distil and unlabelled ask; give several for a mean.",
        ),
    ] = None,
    settings: Setting = None,
    crops: Annotated[bool, typer.Option("--crops", help="Pictures of a CSV are face crops already.")] = False,
    threads: Threads = 2,
) -> None:
    """Train one network; needs the extra [train].

    Writes its checkpoint, history and learning curve.
    """
    from mien.recipes import RECIPES, override
    from mien.sources import find_checkpoint, lacking_in, prepare_table
    from mien.train import train as run

    if recipe not in RECIPES:
        raise InputError(f"there is no recipe {recipe!r}; expected {' or '.join(RECIPES)}")
    if crops and not data.is_file():
        raise InputError(f"--crops is for a CSV table of pictures, which {data} is not; leave it out")
    config, begin = RECIPES[recipe](), None
    if start is not None:
        begin, network = find_checkpoint(start, config.modality)
        config = replace(config, network=network)
    asked = [find_checkpoint(each, "face")[0] for each in teachers or []]
    config = override(config, settings or [])
    with progress() as hook:
        if data.is_file():
            data = prepare_table(data, out, begin, crops=crops, hook=hook)
        path = run(config, data, out, hook, begin, threads, asked)
    tell([*lacking_in(path), f"checkpoint: {path}"])


@app.command()
def average(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints of one recipe; one is calibrated.")],
    data: Annotated[Path, typer.Option(help="The folder that they were trained on.")],
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="mirrored=false, or what else keeps the weights.")
    ] = None,
    held_for: Annotated[
        Path | None, typer.Option(help="Checkpoint to calibrate by, if these were trained on all.")
    ] = None,
    threads: Threads = 2,
) -> None:
    """Write the mean of the weights of several runs; needs the extra [train].

    It is scored, and its confidence fitted, on the part of the training data that chooses.
    """
    from mien.averaging import average as run

    with progress() as hook:
        scores = run(checkpoints, data, out, hook, threads, settings or (), held_for)
    typer.echo(f"{out}: " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="affwild2, ravdess_video, clips (a CSV of yours), … .")],
    data: Annotated[Path, typer.Argument(help="Folder of the corpus; for clips, the CSV table.")],
    out: Annotated[Path, typer.Option(help="Folder for the prepared corpus; a run cut short goes on.")],
    size: Annotated[int, typer.Option(help="Side of the face crops, pixels.")] = 48,
    workers: Annotated[int, typer.Option(help="Processes that work at once.")] = 2,
    seed: Annotated[int, typer.Option(help="Of whatever is drawn by chance, as splits are.")] = 0,
    share: Annotated[float, typer.Option(help="Of MS1MV2, how much is taken.")] = 1 / 3,
    crops: Annotated[bool, typer.Option("--crops", help="Pictures are face crops already.")] = False,
    face_extractor: Annotated[Path | None, typer.Option(help=EXTRACTOR)] = None,
    speech_extractor: Annotated[Path | None, typer.Option(help=EXTRACTOR)] = None,
) -> None:
    """Decode, crop and hear a corpus once, so that training need not."""
    from mien.datasets.entries import PrepareSettings
    from mien.prepare import prepare as run

    settings = PrepareSettings(
        size_px=size,
        seed=seed,
        share=share,
        crops=crops,
        face_extractor=face_extractor,
        speech_extractor=speech_extractor,
    )
    with progress() as hook:
        lines = run(corpus, data, out, settings=settings, n_workers=workers, hook=hook)
    tell(lines)


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Option(help="A CSV table (path, label; start, end, speaker, split), or a corpus' folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, predictions.csv and pictures.")],
    model: Annotated[
        str, typer.Option(help="A shipped model's name, a folder from `mien export`, or a checkpoint.")
    ] = "mien-b",
    split: Annotated[str, typer.Option(help="train, choose or val.")] = "val",
    crops: Annotated[bool, typer.Option("--crops", help="Pictures are face crops already.")] = False,
    seed: Annotated[
        int, typer.Option(help="Of the dealing of `choose`, as `mien prepare` was given it.")
    ] = 0,
    fusion: Rule = None,
    extractor: Annotated[list[Path] | None, typer.Option(help=EXTRACTOR_OF)] = None,
) -> None:
    """Score a model on labelled stills, sound or video: figures, predictions, pictures.

    A checkpoint is scored on what `mien prepare` wrote, too; that needs the extra [train].
    """
    from mien.classwise import read_fusion
    from mien.datasets.prepared import is_prepared
    from mien.evaluate import evaluate as run
    from mien.evaluate import refuse_file, write_figures

    rule = None if fusion is None else read_fusion(fusion)
    with progress() as hook:
        if not model.endswith(CHECKPOINT) and is_prepared(data):
            raise InputError(f"{data} is prepared, which a checkpoint is scored on; name one with --model")
        if model.endswith(CHECKPOINT) and is_prepared(data):
            from mien.recorded import score_prepared

            if crops or fusion is not None or extractor:
                raise InputError(
                    "--crops, --fusion and --extractor are not for what `mien prepare` wrote, where crops "
                    "are cut, and a checkpoint fuses as it was trained; leave them out"
                )
            refuse_file(out)
            path = Path(model)
            predictions = score_prepared(path, data, split, hook)
            lines = write_figures(predictions, path.stem, {path.name: checksum(path)}, split, out)
        else:
            with model_folder(model, extractor or []) as folder:
                lines = run(folder, data, out, split=split, hook=hook, crops=crops, fusion=rule, seed=seed)
    tell(lines)


def tell(lines: list[str]) -> None:
    """Prints what a verb has to say."""
    for line in lines:
        typer.echo(line)


@contextmanager
def model_folder(model: str, extractors: list[Path]) -> Iterator[str]:
    """The model by its name or folder; a checkpoint is exported to a folder that is gone afterwards."""
    if not model.endswith(CHECKPOINT):
        yield model
        return
    from mien.export import export as run

    with TemporaryDirectory() as aside:
        folder = Path(aside) / Path(model).stem
        run([Path(model)], folder, extractors=extractors)
        yield str(folder)


@app.command()
def export(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="A face checkpoint, a speech one, or one of each.")
    ],
    out: Annotated[Path, typer.Option(help="Model folder to write; its name becomes the model's.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="m:n of the proportion rule, voice to face; else as trained together, or the product."
        ),
    ] = None,
    mask: Annotated[
        list[str] | None, typer.Option(help="Expression that the voice never gives; repeatable.")
    ] = None,
    figures: Annotated[
        list[Path] | None, typer.Option(help="metrics.json of `mien evaluate` to tell; repeatable.")
    ] = None,
    extractor: Annotated[list[Path] | None, typer.Option(help=EXTRACTOR_OF)] = None,
    voice_of: Annotated[
        str | None, typer.Option(help="Model that comes with mien, whose voice goes with a face checkpoint.")
    ] = None,
    int8: Annotated[
        Path | None, typer.Option(help="Training data, to whose range encoders in 8 bits are fitted.")
    ] = None,
) -> None:
    """Write checkpoints as a model folder; needs the extra [train].

    Its ONNX files are proved to say what torch says; with --int8, before they are made several times faster.
    """
    from mien.export import export as run
    from mien.export import read_figures, read_weights

    ratio = None if weights is None else read_weights(weights)
    told = read_figures(figures or [])
    examples = {}
    if int8 is not None:
        from mien.sources import draw_examples

        with progress() as hook:
            examples = dict(draw_examples(path, int8, hook) for path in checkpoints)
    written = run(
        checkpoints,
        out,
        weights=ratio,
        masked=tuple(mask or ()),
        figures=told,
        extractors=extractor or [],
        voice_of=voice_of,
        examples=examples,
    )
    for modality, difference in written.parity.items():
        typer.echo(f"{modality}: torch and ONNX differ by at most {difference:.1e}")
    for modality, drift in written.drift.items():
        typer.echo(
            f"{modality}: in 8 bits {drift.same:.1%} of {drift.n_examples} training examples keep their "
            f"expression, probabilities differ by {drift.difference:.3f}"
        )
    typer.echo(f"{written.folder}: {written.size_bytes / 1e6:.1f} MB")


@app.command()
def submit(
    data: Annotated[Path, typer.Option(help="Aff-Wild2's test set: crops and, if there are any, media.")],
    out: Annotated[Path, typer.Option(help="Submission to write; a folder if the example is one.")],
    example: Annotated[
        Path | None, typer.Option(help="The challenge's example; else found in the data.")
    ] = None,
    model: Model = "mien-b",
    delta: Annotated[int, typer.Option(help="Frames to either side that the mean takes in.")] = 50,
    voice: Annotated[bool, typer.Option(help="Listen to the voice, or only look.")] = True,
    fusion: Rule = None,
) -> None:
    """Write a submission to the Aff-Wild2 expression challenge, checked line by line."""
    from mien.challenge import submit as run
    from mien.classwise import read_fusion

    rule = None if fusion is None else read_fusion(fusion)
    with progress() as hook:
        lines = run(model, data, example, out, hook=hook, delta=delta, voice=voice, fusion=rule)
    tell(lines)


@app.command(name="fit-fusion")
def fit_fusion(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.csv of `mien evaluate` on videos.")],
    out: Annotated[Path, typer.Option(help="Model folder to write; its name becomes the model's.")],
    model: Model = "mien-b",
) -> None:
    """Fit how face and voice are fused, to held-out predictions, and say what it gains."""
    from mien.weighing import fit_fusion as run

    with progress() as hook:
        lines = run(predictions, model, out, hook=hook)
    tell(lines)


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
    tell(lines)


@reproductions.command()
def table1(
    out: Annotated[Path, typer.Option(help="Folder for table1.md and the runs; finished ones are kept.")],
    paired: Annotated[
        Path | None, typer.Option(help="Folder that holds ferplus, ravdess_speech and emodb.")
    ] = None,
    aff_wild2: Annotated[Path | None, typer.Option(help="Aff-Wild2's folder, as it is or prepared.")] = None,
    rows: Annotated[str | None, typer.Option(help="Comma-separated names of rows; else all.")] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated; the lesser rows take the first.")] = "0,1,2",
    steps: Annotated[int, typer.Option(help="Of each training run.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Of each step.")] = 32,
    epochs: Annotated[int, typer.Option(help="How often the epoch to keep is looked for.")] = 3,
    threads: Threads = 2,
) -> None:
    """Train the rows of the paper's Table 1 and the controls that it lacks; needs the extra [train]."""
    from mien.table1 import reproduce_table1
    from mien.table1_rows import Budget

    if not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        raise InputError(f"--seeds is {seeds!r}; expected numbers such as 0,1,2")
    with progress() as hook:
        lines = reproduce_table1(
            paired=paired,
            affwild2=aff_wild2,
            out=out,
            budget=Budget(steps=steps, batch_size=batch_size, epochs=epochs),
            rows=None if rows is None else [name.strip() for name in rows.split(",")],
            seeds=[int(seed) for seed in seeds.split(",")],
            hook=hook,
            n_threads=threads,
        )
    tell(lines)
