"""Verbs that go on until they are stopped: the page."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mien.errors import InputError

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reached from here alone.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    largest_mb: Annotated[int, typer.Option(min=1, help="Largest file that is taken, MB.")] = 1000,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the page: drop files, watch their timelines grow, take reports away [web]."""
    import socket
    import webbrowser

    import uvicorn

    from mien.jobs import Jobs
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
        tempfile.TemporaryDirectory(prefix="mien-") as folder,
        Jobs(Path(folder) / "jobs", largest=largest_mb * 1_000_000) as jobs,
    ):
        typer.echo(f"The page is at {address}; Ctrl-C ends it and deletes what it holds.")
        if not is_loopback(host):
            typer.echo("Whoever reaches this address can send files; there is no password.")
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(create_app(jobs, host), log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])
