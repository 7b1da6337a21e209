"""How soon live rows come, and how many frames are dropped: a clip is written as if it were being filmed.

    python benchmarks/live.py CLIP WORK [--seconds 30]

CLIP is encoded as cameras do (no frame refers to a later one), looped, and written in real time to
WORK/film.ts, which `mien live` reads while it grows. Prints Markdown: frames that are looked at a second,
frames that are dropped, and the time from a frame's writing to its row.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np


def encode(clip: Path, out: Path) -> None:
    """The clip without frames that refer to later ones, its sound as it is."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        picture = source.streams.video[0]
        video = target.add_stream("libx264", rate=picture.average_rate)
        video.width, video.height, video.pix_fmt = picture.width, picture.height, "yuv420p"
        video.codec_context.options = {"preset": "veryfast", "tune": "zerolatency"}
        sounds = {each.index: target.add_stream_from_template(each) for each in source.streams.audio[:1]}
        for packet in source.demux(picture, *source.streams.audio[:1]):
            if packet.stream is picture:
                for frame in packet.decode():
                    target.mux(video.encode(frame))
            elif packet.dts is not None:
                packet.stream = sounds[packet.stream.index]
                target.mux(packet)
        target.mux(video.encode(None))


def film(clip: Path, out: Path, seconds: float, times: Path) -> None:
    """Writes the clip, over and over, each packet at its time; notes when each frame was written."""
    written: list[tuple[float, float]] = []
    with av.open(str(out), "w", format="mpegts", options={"flush_packets": "1"}) as target:
        began, offset, streams = time.time(), 0.0, {}
        while offset < seconds:
            end = 0.0
            with av.open(str(clip)) as source:
                wanted = [*source.streams.video[:1], *source.streams.audio[:1]]
                streams = streams or {s.index: target.add_stream_from_template(s) for s in wanted}
                for packet in source.demux(wanted):
                    if packet.dts is None or packet.pts is None:
                        continue
                    at = float(packet.pts * packet.time_base)
                    end = max(end, at + float((packet.duration or 0) * packet.time_base))
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    time.sleep(max(0.0, began + offset + at - time.time()))
                    index, kind = packet.stream.index, packet.stream.type
                    packet.stream = streams[index]
                    target.mux(packet)
                    if kind == "video":
                        written.append((offset + at, time.time()))
            offset += end + 0.1  # the first packets of some films lie before zero
    times.write_text(json.dumps(sorted(written)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--film", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    out, times, encoded = (given.work / name for name in ("film.ts", "times.json", "camera.mp4"))
    if given.film:
        film(encoded, out, given.seconds, times)
        return
    encode(given.clip, encoded)
    out.unlink(missing_ok=True)
    writer = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--film"])
    while not out.exists() or out.stat().st_size < 1000:
        time.sleep(0.005)
    command = [sys.executable, "-m", "mien", "live", str(out), "--out", str(given.work / "report")]
    came: dict[float, float] = {}
    dropped: set[float] = set()
    with subprocess.Popen([*command, "--patience", "2"], stdout=subprocess.PIPE, text=True) as live:
        assert live.stdout is not None
        for line in live.stdout:
            cells = line.rstrip("\n").split("\t")
            if "dropped" in cells[-1]:
                dropped.add(float(cells[0]))
            else:
                came.setdefault(float(cells[0]), time.time())
    writer.wait()
    written = json.loads(times.read_text())
    stamps = np.array([at for at, _ in written]) - written[0][0]
    lags = []
    for stamp, arrived in came.items():
        nearest = int(np.abs(stamps - stamp).argmin())
        lags.append(arrived - written[nearest][1])
    seconds = max(came) - min(came)
    late = np.quantile(lags[1:], [0.5, 0.95, 1.0]) * 1000
    print("| looked at a second | dropped | row after its frame was written: median | 95 % | slowest |")
    print("|---|---|---|---|---|")
    print(
        f"| {len(came) / seconds:.1f} | {len(dropped)} of {len(written)} | "
        f"{late[0]:.0f} ms | {late[1]:.0f} ms | {late[2]:.0f} ms |"
    )


if __name__ == "__main__":
    main()
