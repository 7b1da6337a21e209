"""Uses an installation of mien as people do: the command line, Python, the page, a cluster of one worker.

Enters: a film, a folder for what is made, and the extras that must be there. Run it with the python of the
installation; it needs nothing beside it. Leaves: a line for each thing that worked; it ends with 1 at the
first that did not.

    python smoke.py examples/demo.mp4 made --extras table,plot,pandas,report,web,scale
"""

import argparse
import csv
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path

import av

MIEN = [sys.executable, "-m", "mien"]
FORMATS = {  # in the order of the command line: what each writes
    "csv": "timeline.csv",
    "json": "timeline.json",
    "segments": "segments.csv",
    "svg": "timeline.svg",
    "vtt": "timeline.vtt",
    "srt": "timeline.srt",
    "elan": "timeline.eaf",
    "praat": "timeline.TextGrid",
    "openface": "timeline.openface.csv",
    "affwild2": "timeline.affwild2.txt",
}
OF_EXTRAS = {
    "table": ("parquet", "timeline.parquet"),
    "plot": ("png", "timeline.png"),
    "report": ("html", "timeline.html"),
}
BEGINNINGS = {
    "timeline.vtt": b"WEBVTT",
    "timeline.TextGrid": b'File type = "ooTextFile"',
    "timeline.parquet": b"PAR1",
    "timeline.png": b"\x89PNG",
    "timeline.html": b"<!doctype html>",
}
ANSWER_WITHIN = 300  # s


def check(holds: object, what: str) -> None:
    """Tells what holds; ends where it does not. An assert would vanish under `python -O`."""
    if not holds:
        raise SystemExit(f"FAILED  {what}")
    print(f"ok      {what}", flush=True)


def run(*arguments: str) -> str:
    """What mien prints with these arguments; it must not fail, nor warn."""
    done = subprocess.run(
        [*MIEN, *arguments], check=False, capture_output=True, encoding="utf-8", timeout=ANSWER_WITHIN
    )
    if done.returncode or "Warning" in done.stderr or "Traceback" in done.stderr:
        raise SystemExit(f"FAILED  mien {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def count_frames(film: Path) -> int:
    """Frames of a film, counted without mien."""
    with av.open(str(film)) as container:
        return sum(1 for _ in container.decode(video=0))


def count_rows(path: Path) -> int:
    """Lines of a table below its head."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def try_command_line(film: Path, made: Path, extras: set[str], n_frames: int) -> None:
    """Every format that this installation can write."""
    for verb in ([], ["analyze"], ["serve"], ["scale"]):
        check("Usage: " in run(*verb, "--help"), f"mien {' '.join([*verb, '--help'])}")
    print(run("doctor"), end="")
    check("mien-b" in run("models"), "mien models names mien-b")
    wanted = FORMATS | dict(OF_EXTRAS[extra] for extra in OF_EXTRAS if extra in extras)
    run("analyze", str(film), "--out", str(made), "--formats", ",".join(wanted))
    for name in wanted.values():
        begins = BEGINNINGS.get(name, b"")
        check((made / name).read_bytes().lstrip()[: len(begins)] == begins, f"{name} is there")
    for name in ("timeline.csv", "timeline.openface.csv", "timeline.affwild2.txt"):
        check(count_rows(made / name) == n_frames, f"{name} has a row for each of {n_frames} frames")
    check(count_rows(made / "segments.csv") > 0, "segments.csv has segments")
    json.loads((made / "timeline.json").read_text(encoding="utf-8"))
    for name in ("timeline.svg", "timeline.eaf"):
        ET.parse(made / name)


def try_python(film: Path, made: Path, extras: set[str], n_frames: int) -> None:
    """What people write in a notebook; runs before anything else imports pandas or polars here."""
    import mien

    timeline = mien.analyze(str(film))
    check(len(timeline.rows) == n_frames, "mien.analyze has a row for each frame")
    if "pandas" in extras:
        frame = timeline.to_pandas()
        told = f"to_pandas has {frame.shape[1]} columns and a row for each frame"
        check(len(frame) == n_frames and set(frame["label"].dropna()) <= set(mien.EXPRESSIONS), told)
    if "table" in extras:
        import polars as pl

        check(pl.read_parquet(made / "timeline.parquet").height == n_frames, "polars reads the Parquet table")


def ask(address: str, body: bytes | None = None) -> bytes:
    """A server's answer; a body is posted."""
    request = urllib.request.Request(address, body, {"X-Mien": "1"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def try_page(film: Path, n_frames: int) -> None:
    """Serves the page, gives it a film, takes the table away."""
    command = [*MIEN, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as server:
        try:
            found = re.search(r"http://\S+:\d+", server.stdout.readline() if server.stdout else "")
            check(found, "mien serve tells its address")
            address = found[0] if found else ""
            check(b"<html" in ask(address), "the page is served")
            token = json.loads(ask(f"{address}/jobs?name={film.name}", film.read_bytes()))["token"]
            until = time.monotonic() + ANSWER_WITHIN
            state = ""
            while state not in {"done", "failed", "cancelled"} and time.monotonic() < until:
                time.sleep(0.2)
                state = json.loads(ask(f"{address}/jobs?job={token}"))[token]["state"]
            check(state == "done", f"the page's report is done: {state}")
            table = ask(f"{address}/jobs/{token}/files/timeline.csv").decode()
            check(len(table.splitlines()) - 1 == n_frames, "the page's table has a row for each frame")
        finally:
            server.send_signal(signal.SIGINT)


def try_cluster(film: Path, made: Path, n_frames: int) -> None:
    """One film through Ray, on this machine."""
    import polars as pl

    done = subprocess.run(
        [*MIEN, "scale", str(film), "--out", str(made), "--workers", "1"],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=ANSWER_WITHIN,
    )
    tables = [pl.read_parquet(path) for path in made.rglob("*.parquet") if path.stem != "manifest"]
    told = done.stderr if done.returncode else "mien scale has a row for each frame"
    check(not done.returncode and n_frames in {table.height for table in tables}, told)


def main() -> None:
    """Reads what was asked for and tries it."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    reader.add_argument("film", type=Path)
    reader.add_argument("made", type=Path)
    reader.add_argument("--extras", default="", help="comma-separated; empty: the base alone")
    asked = reader.parse_args()
    extras = set(filter(None, asked.extras.split(",")))
    extras |= {"table", "plot", "report"} if "web" in extras else set()
    extras |= {"table"} if "scale" in extras else set()
    n_frames = count_frames(asked.film)
    try_command_line(asked.film, asked.made / "analyze", extras, n_frames)
    try_python(asked.film, asked.made / "analyze", extras, n_frames)
    if "web" in extras:
        try_page(asked.film, n_frames)
    if "scale" in extras:
        try_cluster(asked.film, asked.made / "scale", n_frames)
    print("all that was tried works")


if __name__ == "__main__":
    main()
