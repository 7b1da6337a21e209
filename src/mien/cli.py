"""The command line: one verb is one library function; errors are one line and exit code 2.

Heavy libraries are imported inside the verbs, so that `mien --help` answers at once.
"""

from __future__ import annotations

import io
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien import lifeline, running, workbench
from mien.errors import InputError, MienError
from mien.spans import MEDIA_SUFFIXES
from mien.terminal import Model, Rule, progress, tell_error
from mien.whole import Original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.readings import ReadingSettings
    from mien.timeline import TimelineSettings

app = typer.Typer(
    help="Who shows which of eight expressions, when: seen in the face and heard in the voice.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(running.app)
app.add_typer(workbench.app)

Formats = Annotated[
    str,
    typer.Option(
        help="Comma-separated: csv, segments, svg, vtt, srt, elan, praat, openface, affwild2, "
        "video, html [report], png [plot], parquet [table]; json is always written."
    ),
]
HtmlReport = Annotated[
    bool, typer.Option("--report", help="Also write timeline.html, to be opened in a browser [report].")
]
Film = Annotated[
    bool, typer.Option("--film", help="With --report: the film beside its chart, inside the same file.")
]
Boxes = Annotated[
    Path | None, typer.Option(help="CSV of frame, x1, y1, x2, y2 and track_id: where faces are.")
]
Blur = Annotated[bool, typer.Option("--blur", help="Faces found are unrecognisable in what is written.")]
Pictures = Annotated[bool, typer.Option(help="With --report: show frames of the film, or none.")]


@app.command()
def analyze(
    paths: Annotated[list[Path], typer.Argument(help="Videos, sound files, pictures, or folders of them.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the report; several inputs, or those of a folder, get one each in it."),
    ],
    formats: Formats = "csv,json,segments,svg",
    report: HtmlReport = False,
    film: Film = False,
    pictures: Pictures = True,
    blur: Blur = False,
    model: Model = "mien-b",
    fusion: Rule = None,
    voice: Annotated[bool, typer.Option(help="Listen to the voice (research weights), or only look.")] = True,
    speaker: Annotated[
        int | None,
        typer.Option(help="track_id of the person who speaks; else the voice counts while one is in view."),
    ] = None,
    smooth: Annotated[float, typer.Option(help="Width of the mean over probabilities, seconds.")] = 0.5,
    max_gap: Annotated[
        float, typer.Option(help="Longest stretch without a face that is filled, seconds.")
    ] = 0.5,
    low_confidence: Annotated[
        float, typer.Option(help="Rows whose largest probability is below this are flagged as doubtful.")
    ] = 0.4,
    sample_hz: Annotated[float, typer.Option(help="Frames a second in which faces are looked at.")] = 12.5,
    start: Annotated[float, typer.Option(help="Only from here on, seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Only until here, seconds.")] = None,
    region: Annotated[str | None, typer.Option(help="Only faces in x1,y1,x2,y2, pixels.")] = None,
    boxes: Boxes = None,
    min_face: Annotated[float, typer.Option(help="Only faces at least so wide and high, pixels.")] = 0.0,
) -> None:
    """Write the expression timeline of each input, and a chart of it."""
    from mien.classwise import read_fusion
    from mien.readings import ReadingSettings
    from mien.timeline import TimelineSettings

    if boxes is not None and (len(paths) > 1 or paths[0].is_dir()):
        raise InputError("--boxes are those of one file; analyze files one at a time with it")
    reading = ReadingSettings(
        model=model,
        voice=voice,
        sample_hz=sample_hz,
        start=start,
        end=end,
        region=None if region is None else read_region(region),
        min_face_px=min_face,
        boxes=None if boxes is None else str(boxes),
    )
    timeline = TimelineSettings(
        smooth=smooth,
        max_gap=max_gap,
        low_confidence=low_confidence,
        speaker=speaker,
        fusion=None if fusion is None else read_fusion(fusion),
    )
    wanted = tuple(name.strip() for name in formats.split(",")) + ("html",) * report
    originals = partial(Original, pictures=pictures, film=film, blur=blur)
    write_reports(paths, out, originals, wanted, reading, timeline)


def write_reports(
    paths: list[Path],
    out: Path,
    originals: Callable[..., Original],
    formats: tuple[str, ...],
    reading: ReadingSettings,
    timeline: TimelineSettings,
) -> None:
    """Writes the report of each input; what is wrong with one does not stop the others."""
    failures: set[str] = set()

    def fail(error: MienError | OSError) -> None:
        if str(error) not in failures:  # what is wrong with an option is said once, not for every file
            tell_error(error)
        failures.add(str(error))

    named = name_reports(paths, out, fail)
    for number in range(lifeline.held.first, len(named)):
        path, folder = named[number]
        lifeline.held.begin(number, path, folder)
        try:
            write_report(originals(path=path), folder, formats, reading, timeline)
        except (MienError, OSError) as error:
            fail(error)
    if failures:
        raise typer.Exit(2)


def name_reports(
    paths: list[Path], out: Path, fail: Callable[[MienError | OSError], None]
) -> list[tuple[Path, Path]]:
    """Each input file with the folder of its report: `out` for one file, a folder in it for each of several.

    Folders are named after the files; a name that is taken, also in other case, is numbered. A folder without
    media is told to `fail`, and the others go on.

    >>> files = [Path("a.mp4"), Path("A.mov"), Path("a-2.mp4")]
    >>> [folder.name for _, folder in name_reports(files, Path("out"), print)]
    ['a', 'A-2', 'a-2-2']
    """
    if len(paths) == 1 and not paths[0].is_dir():
        return [(paths[0], out)]
    files: list[Path] = []
    for path in paths:
        try:
            files += media_in(path) if path.is_dir() else [path]
        except (InputError, OSError) as error:
            fail(error)
    named: list[tuple[Path, Path]] = []
    taken: set[str] = set()
    for file in files:
        stem = file.stem if file.stem.strip(".") else "_"  # a folder ".." would be another one's
        names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        name = next(name for name in names if name.casefold() not in taken)
        taken.add(name.casefold())
        named.append((file, out / name))
    return named


def read_region(text: str) -> tuple[int, int, int, int]:
    """Four whole numbers between commas.

    Raises:
        InputError: It is not of that form.

    >>> read_region("0,0,320,240")
    (0, 0, 320, 240)
    """
    try:
        x1, y1, x2, y2 = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"region {text!r} is not of the form x1,y1,x2,y2, such as 0,0,320,240") from None
    return x1, y1, x2, y2


def media_in(folder: Path) -> list[Path]:
    """The media files of a folder, by name.

    Raises:
        InputError: There are none.
    """
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in MEDIA_SUFFIXES and path.is_file()
    )
    if not found:
        raise InputError(f"{folder} holds no video, sound or picture file; name a file or another folder")
    return found


def write_report(
    original: Original,
    folder: Path,
    formats: tuple[str, ...],
    reading: ReadingSettings,
    timeline: TimelineSettings,
) -> None:
    """Analyzes one file with a progress bar, and tells where the report lies."""
    from mien.faces import MAX_FACES
    from mien.pipeline import Analysis
    from mien.report import Report
    from mien.writers import FILE_NAMES

    path = original.path
    if path.resolve() in {(folder / name).resolve() for name in FILE_NAMES}:
        raise InputError(f"the report of {path} would take its place in {folder}; name another folder")
    with progress() as drive:

        def hook(what: str, done: float, total: float) -> None:
            lifeline.held.beat()
            drive(what, done, total)

        analysis = Analysis(path, reading, timeline, hook)
        with Report(folder, formats=formats, original=replace(original, hook=hook)) as report:
            report.record(analysis.rows(), analysis.timeline)
            report.finish(analysis.provenance())
            persons = report.persons
    if analysis.n_frames:
        frames = "1 frame" if analysis.n_frames == 1 else f"{analysis.n_frames} frames"
        typer.echo(f"{path.name}: {frames}; report in {folder}")
    else:
        typer.echo(f"{path.name}: sound only; report in {folder}")
    if analysis.missing:
        typer.echo(f"  cut short or damaged: {analysis.missing:.2f} s are announced and not there")
    if analysis.n_crowded:
        typer.echo(f"  frames with more faces than the {MAX_FACES} that are followed: {analysis.n_crowded}")
    for person in persons:
        who, how = ("voice", "heard") if person.track_id is None else (f"person {person.track_id}", "seen")
        typer.echo(f"  {who}: {person.dominant}, {how} {person.first:.2f}-{person.last:.2f} s")
    if not persons:
        typer.echo("  nobody is seen or heard")


@app.command()
def compare(
    timeline: Annotated[Path, typer.Argument(help="timeline.json of a report.")],
    other: Annotated[
        Path, typer.Argument(help="Another one; or labels of people: ELAN, TextGrid, BORIS or CSV.")
    ],
    person: Annotated[int | None, typer.Option(help="track_id; needed where several are in view.")] = None,
    who: Annotated[str | None, typer.Option(help="Tier or subject of the labels.")] = None,
    words: Annotated[
        list[str] | None,
        typer.Option("--word", metavar="WORD=NAME", help="What else labels call an expression; repeatable."),
    ] = None,
) -> None:
    """Say how far a timeline agrees with another, or with labels that people gave."""
    from mien.labels import read_words
    from mien.timelines import Timeline

    first = Timeline.read(timeline)
    second = Timeline.read(other) if other.suffix == ".json" else other
    found = first.compare(second, track_id=person, who=who, words=read_words(words or []))
    typer.echo(str(found))
    typer.echo(f"only {timeline}: {found.first_alone:.1f} s; only {other}: {found.second_alone:.1f} s")
    for one, theirs, seconds in found.disagreements():
        typer.echo(f"  {one} against {theirs}: {seconds:.1f} s")


@app.command()
def models() -> None:
    """List the models that are installed, their figures and licences."""
    from mien.predictor import list_models

    for model in list_models():
        size = sum(model.path(name).stat().st_size for name in model.sha256) / 1e6
        way = f"voice : face = {model.voice_weight:g} : {model.face_weight:g}"
        if model.fusion != "proportion":
            way = f"fused by {model.fusion}"
        typer.echo(f"{model.name}  {size:.1f} MB  {way}")
        for modality, licence in model.licences.items():
            typer.echo(f"  {modality} weights: {licence}")
        for name, figure in model.figures.items():
            typer.echo(f"  {name}: {figure}")


@app.command()
def doctor() -> None:
    """Say what is missing here, and the command that mends it."""
    from mien.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{finding.state:7} {finding.part}: {finding.detail}")
        if finding.mend:
            typer.echo(f"        → {finding.mend}")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(2)


UsageError: Any = typer.BadParameter.__base__
"""What typer raises for arguments that no verb takes; it has no public name there."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Unwinds the program on a signal that ends it, so that nothing half-written stays behind.

    It then ends with the exit code that shells give for the signal, whatever became of the exception on its
    way: a library that is just being loaded turns it into an error of its own.
    """
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        if not came:  # a terminal sends it to this process and to the one that passes it on
            came.append(number)
            raise SystemExit(128 + number)

    usual = (signal.SIG_DFL, signal.default_int_handler)  # `nohup` has it ignored
    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP", "SIGINT")]
    handled = {n: signal.signal(n, stop) for n in numbers if n and signal.getsignal(n) in usual}
    try:
        yield
    except BaseException:
        if came:
            sys.exit(128 + came[0])
        raise
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def main() -> None:
    """Runs the command line; whatever goes wrong with what was given is one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # a terminal or file that lacks a sign gets "?" for it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with ended_by_signals():
            sys.exit(app(standalone_mode=False))
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "mien"
        if "\n" in error.format_message():
            error.show()  # the list of verbs, where none was given
        else:
            tell_error(f"{error.format_message().rstrip('.')}; see  {command} --help")
        sys.exit(2)
    except MienError as error:
        tell_error(error)
        sys.exit(2)
    except ImportError as error:
        from mien.doctor import explain_import_error

        explained = explain_import_error(error)
        if explained is None:
            raise
        tell_error(explained)
        sys.exit(2)
    except OSError as error:  # a disk that is full, a folder that may not be written to
        tell_error(error)
        sys.exit(2)
