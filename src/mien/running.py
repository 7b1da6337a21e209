"""Verbs that go on for long: the page, what is looked at live, and an archive."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import InputError
from mien.spans import MEDIA_SUFFIXES
from mien.terminal import Model, Rule, progress, tell_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.timeline import Row

MOST_TOLD = 20
"""Sources whose fault is told on the terminal; the manifest has them all."""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reached from here alone.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    largest_mb: Annotated[int, typer.Option(min=1, help="Largest file that is taken, MB.")] = 1000,
    longest_min: Annotated[int, typer.Option(min=1, help="Longest film that is taken, minutes.")] = 120,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the page: drop files, watch their timelines grow, take reports away [web]."""
    import socket
    import webbrowser

    import uvicorn

    from mien.lineup import Jobs, own_folder
    from mien.logs import log_without_paths
    from mien.web import create_app, is_loopback

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # who asks before the server is up waits a moment
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; "
            "name another with --port or --host"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"
    with (
        own_folder() as folder,
        Jobs(folder / "jobs", largest=largest_mb * 1_000_000, longest=longest_min * 60.0) as jobs,
    ):
        typer.echo(f"The page is at {address}; Ctrl-C ends it and deletes what it holds.")
        if not is_loopback(host):
            typer.echo("Whoever reaches this address can send files; there is no password.")
        if browser:
            webbrowser.open(address)
        log_without_paths()
        config = uvicorn.Config(create_app(jobs, host), log_config=None, access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


@app.command()
def live(
    source: Annotated[
        str, typer.Argument(help="Number of a camera, an rtsp:// address, or a .ts or .mkv file that grows.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report, which is written when it ends.")],
    formats: Annotated[
        str, typer.Option(help="As for  mien analyze; all but video.")
    ] = "csv,json,segments,svg",
    model: Model = "mien-b",
    voice: Annotated[bool, typer.Option(help="Listen to the voice (research weights), or only look.")] = True,
    smooth: Annotated[float, typer.Option(help="Seconds of the past over which is averaged.")] = 0.5,
    low_confidence: Annotated[
        float, typer.Option(help="Rows whose largest probability is below this are flagged as doubtful.")
    ] = 0.4,
    patience: Annotated[
        float, typer.Option(min=0.1, help="Seconds without anything new after which it ends.")
    ] = 5.0,
) -> None:
    """Say who shows what while it happens, from the past alone; Ctrl-C ends it and writes the report."""
    from mien.live import LOOKS_HZ, Live
    from mien.readings import ReadingSettings
    from mien.report import Report
    from mien.timeline import TimelineSettings

    reading = ReadingSettings(model=model, voice=voice, sample_hz=LOOKS_HZ)
    timeline = TimelineSettings(smooth=smooth, low_confidence=low_confidence)
    with (
        Live(source, reading, timeline, patience=patience) as running,
        Report(out, formats=[name.strip() for name in formats.split(",")]) as report,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.stop())
        report.record(tell(running.rows()), running.timeline)
        told = running.provenance()
        report.finish(told)
    soon, late = (f"{1000 * told[f'latency_{name}_s']:.0f} ms" for name in ("median", "95"))
    typer.echo(
        f"{told['frames']} frames, {told['dropped']} of them dropped; rows came {soon} after their picture, "
        f"95 % within {late}; report in {out}",
        err=True,
    )


@app.command()
def scale(
    source: Annotated[
        str,
        typer.Argument(help="Folder, pattern, list (.txt, .csv, .parquet) or file; or an address of one."),
    ],
    out: Annotated[str, typer.Option("--out", "--dst", help="Folder for the tables, or its address.")],
    ray_address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; else Ray is started on this machine.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many; else one for each core.")] = None,
    model: Model = "mien-b",
    voice: Annotated[bool, typer.Option(help="Analyze the voice too.")] = True,
    sample_hz: Annotated[float, typer.Option(help="Frames a second in which faces are looked at.")] = 12.5,
    min_face: Annotated[float, typer.Option(help="Only faces at least so wide and high, pixels.")] = 0.0,
    smooth: Annotated[float, typer.Option(help="Width of the centred mean, seconds; 0: none.")] = 0.5,
    low_confidence: Annotated[
        float, typer.Option(help="Rows whose largest probability is below this are flagged as doubtful.")
    ] = 0.4,
    fusion: Rule = None,
) -> None:
    """Write a Parquet table of each video of an archive, on all cores or a cluster; resumes [scale]."""
    from mien.classwise import read_fusion
    from mien.readings import ReadingSettings
    from mien.timeline import TimelineSettings
    from mien.writing import require

    require("fsspec", "mien scale", "scale")
    from mien.archive import Settings, find_sources
    from mien.scale import analyze_archive

    reading = ReadingSettings(model=model, voice=voice, sample_hz=sample_hz, min_face_px=min_face)
    rule = None if fusion is None else read_fusion(fusion)
    timeline = TimelineSettings(smooth=smooth, low_confidence=low_confidence, fusion=rule)
    sources = find_sources(source, MEDIA_SUFFIXES)
    with progress() as drive:
        entries = analyze_archive(
            sources, out, Settings(reading=reading, timeline=timeline),
            ray_address=ray_address, n_workers=workers, hook=drive,
        )  # fmt: skip
    failed = [entry for entry in entries if entry.status == "failed"]
    for entry in failed[:MOST_TOLD]:
        tell_error(entry.error)
    hours = sum(entry.duration_s for entry in entries) / 3600
    typer.echo(
        f"{len(entries) - len(failed)} of {len(entries)} tables, {hours:.2f} h of video, in {out}; "
        f"manifest.csv says what became of each"
    )
    if failed:
        raise typer.Exit(2)


def tell(rows: Iterable[Row]) -> Iterator[Row]:
    """Prints each row as it passes: time, who, expression, probability, and what is to be said of it."""
    for row in rows:
        label = "" if row.probs is None else f"{row.label}\t{row.probs.max():.2f}"
        who = "" if row.track_id is None else row.track_id
        typer.echo(f"{row.time:.3f}\t{who}\t{label or chr(9)}\t{','.join(sorted(row.flags))}")
        yield row
