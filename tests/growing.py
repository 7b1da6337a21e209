"""A file that something is writing, in real time, while a test reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av


def write_in_time(film: Path, path: Path, kind: str, *, faster: float = 1.0) -> None:
    """Writes a film's packets into another, each when its time has come."""
    options = {"flush_packets": "1"} | ({"cluster_time_limit": "100"} if kind == "matroska" else {})
    with av.open(str(film)) as source, av.open(str(path), "w", format=kind, options=options) as target:
        streams = {each.index: target.add_stream_from_template(each) for each in source.streams}
        began = time.monotonic()
        for packet in source.demux():
            if packet.dts is None or packet.time_base is None:
                continue
            at = float(packet.dts * packet.time_base) / faster
            time.sleep(max(0.0, began + at - time.monotonic()))
            packet.stream = streams[packet.stream.index]
            target.mux(packet)


@contextmanager
def grown(film: Path, path: Path, kind: str = "mpegts", *, faster: float = 1.0) -> Iterator[Path]:
    """A file as soon as it begins to grow, and until the film is over."""
    writer = threading.Thread(target=write_in_time, args=(film, path, kind), kwargs={"faster": faster})
    writer.start()
    while not path.exists() or path.stat().st_size < 500:
        time.sleep(0.005)
    try:
        yield path
    finally:
        writer.join()
