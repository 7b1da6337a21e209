"""An archive by `mien scale` on a local Ray, beside two plain processes; and with a worker killed at random.

    python benchmarks/scale.py WORK CLIP [CLIP ...] [--clips 200] [--seed 0]

Generated clips are random seconds of the clips given, encoded anew. The plain processes are a pool that
writes the same tables. Then Ray does all of it, and once more while one of its workers is killed at a random
moment. Ray's own start and end are told apart. Prints Markdown; every table of Ray's is compared.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import polars as pl

from mien import scale
from mien.archive import Settings
from mien.media import read_frames, read_waveform
from mien.pieces import Worker
from mien.spans import SAMPLE_RATE

SHORTEST, LONGEST = 1.0, 2.5
"""Seconds of a generated clip."""

N_WORKERS = 2


def generate(clips: list[Path], place: Path, n: int, seed: int) -> list[str]:
    """So many clips, each of random frames of one of the clips given and their sound."""
    place.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    films = []
    for clip in clips:
        frames = [(frame.time, frame.image) for frame in read_frames(clip)]
        films.append((frames, read_waveform(clip)))
    for k in range(n):
        out = place / f"clip {k:04}.mp4"
        frames, sound = films[k % len(films)]
        seconds = draw.uniform(SHORTEST, min(LONGEST, frames[-1][0] - 0.1))
        start = draw.uniform(0, frames[-1][0] - seconds)
        if out.exists():
            continue
        aside = out.with_name(f".{out.name}")
        with av.open(str(aside), "w") as target:
            video = target.add_stream("libx264", rate=25, options={"preset": "veryfast"})
            video.height, video.width = frames[0][1].shape[0] // 2 * 2, frames[0][1].shape[1] // 2 * 2
            video.pix_fmt = "yuv420p"
            audio = target.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            wanted = [image for stamp, image in frames if start <= stamp < start + seconds]
            for index, image in enumerate(wanted):
                picture = av.VideoFrame.from_ndarray(
                    image[: video.height, : video.width].copy(), format="rgb24"
                )
                picture.pts, picture.time_base = index, Fraction(1, 25)
                target.mux(video.encode(picture))
            target.mux(video.encode(None))
            heard = sound[round(start * SAMPLE_RATE) : round((start + seconds) * SAMPLE_RATE)]
            block = av.AudioFrame.from_ndarray(heard[None].copy(), format="flt", layout="mono")
            block.sample_rate = SAMPLE_RATE
            target.mux(audio.encode(block))
            target.mux(audio.encode(None))
        aside.replace(out)
    return sorted(str(path) for path in place.glob("*.mp4"))[:n]


def plain(archive: str, source: str) -> str:
    """One table, by a process of the pool."""
    (answer, _), _ = Worker(Settings(), archive).do("whole", source, f"source={Path(source).name}")
    return str(answer.table)


def kill_one(after: float, killed: list[float]) -> None:
    """Kills one worker that is at work, so many seconds from now on."""
    time.sleep(after)
    while not killed:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if b"ray::Worker.do" in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(after)
                    return


def timed_scale(sources: list[str], out: Path) -> tuple[float, float]:
    """Seconds of the whole run, and those of them in which Ray started."""
    starts: list[float] = []
    cluster = scale._cluster

    @contextlib.contextmanager
    def timed(address: str | None, n_workers: int | None) -> Iterator[int]:
        began = time.perf_counter()
        with cluster(address, n_workers) as n:
            starts.append(time.perf_counter() - began)
            yield n
            began = time.perf_counter()
        starts.append(time.perf_counter() - began)

    scale._cluster = timed
    try:
        began = time.perf_counter()
        entries = scale.analyze_archive(
            {each: f"source={Path(each).name}" for each in sources}, str(out), n_workers=N_WORKERS
        )
        took = time.perf_counter() - began
    finally:
        scale._cluster = cluster
    assert all(entry.status == "done" for entry in entries), [e.error for e in entries if e.error]
    return took, sum(starts)


def main() -> None:
    """Times the pool and Ray, kills a worker, compares all tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--clips", dest="n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = generate(given.clips, given.work / "clips", given.n, given.seed)
    outs = {name: given.work / name for name in ("pool", "ray", "ray, a worker killed")}
    for out in outs.values():
        if out.exists():
            sys.exit(f"{out} is there; name another folder")
    began = time.perf_counter()
    with ProcessPoolExecutor(N_WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(plain, [str(outs["pool"])] * len(sources), sources))
    pool_s = time.perf_counter() - began
    ray_s, start_s = timed_scale(sources, outs["ray"])
    killed: list[float] = []
    after = random.Random(given.seed).uniform(5, 0.8 * ray_s)
    killer = threading.Thread(target=kill_one, args=(after, killed), daemon=True)
    killer.start()
    killed_s, killed_start_s = timed_scale(sources, outs["ray, a worker killed"])
    equal = sum(
        pl.read_parquet(found, hive_partitioning=False).equals(
            pl.read_parquet(outs["pool"] / found.relative_to(out), hive_partitioning=False)
        )
        for name, out in outs.items()
        if name != "pool"
        for found in out.rglob("*.parquet")
    )
    hours = sum(pl.read_parquet(each)["time_s"].max() for each in outs["pool"].rglob("*.parquet")) / 3600
    print(f"{len(sources)} clips, {hours:.3f} h; a worker killed after {killed[0]:.0f} s\n")
    print("| | seconds | of them the engine's start and end | rest / pool |\n|---|---|---|---|")
    print(f"| pool of {N_WORKERS} processes | {pool_s:.1f} | | 1 |")
    for name, took, start in (("Ray", ray_s, start_s), ("Ray, a worker killed", killed_s, killed_start_s)):
        print(f"| {name} | {took:.1f} | {start:.1f} | {(took - start) / pool_s:.3f} |")
    print(f"\n{equal} of {2 * len(sources)} tables equal the pool's.")


if __name__ == "__main__":
    main()
