"""Files are opened as what they are, whatever their name, and give packets as far as they go."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import av
import pytest

from hostile import leading_to
from media_files import click, flat_frames, write_sound, write_still, write_video, zeroed
from mien import container
from mien.container import REFUSED_FORMATS, open_source, read_packets
from mien.errors import MediaError


def n_packets(path: Path) -> int:
    with open_source(path) as source:
        assert source.picture is not None
        return sum(packet.size > 0 for packet in read_packets(source, source.picture))


@pytest.mark.parametrize("name", ["100 %d.mp4", "a*b?.mkv", "é 映画.mp4", "http_x.mp4", "concat:a|b.mp4"])
def test_names_are_only_names(tmp_path: Path, name: str) -> None:
    plain = write_video(tmp_path / f"plain{Path(name).suffix}", flat_frames(3))
    try:
        path = plain.rename(tmp_path / name)
    except OSError:
        pytest.skip("the file system does not take this name")
    assert n_packets(path) == 3


def test_source_says_what_the_file_is(tmp_path: Path) -> None:
    with open_source(write_still(tmp_path / "a.png", next(flat_frames(1)))) as source:
        assert (source.is_still, source.only_counts, source.sound) == (True, False, None)
    with open_source(write_video(tmp_path / "a.avi", flat_frames(3))) as source:
        assert (source.is_still, source.only_counts, source.format) == (False, True, "avi")
    with open_source(write_sound(tmp_path / "a.wav", [(0.0, click(0.5, 1.0))])) as source:
        assert source.picture is None
        assert source.end_of(source.sound) == 1.0


def test_formats_that_are_refused_are_ffmpegs() -> None:
    """A name that FFmpeg does not have would refuse nothing."""
    known = set(",".join(av.formats_available).split(","))
    assert known >= REFUSED_FORMATS


def test_packets_of_an_avi_are_numbered_as_they_are_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", flat_frames(9), codec="mpeg4", options={"bf": "2"})
    with open_source(path) as source:
        assert source.picture is not None
        numbers = [packet.pts for packet in read_packets(source, source.picture) if packet.size]
    assert numbers == list(range(9))


class Canary(BaseHTTPRequestHandler):
    """Answers every request with a film, and remembers that it was asked."""

    film, asked = b"", list[str]()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.film)))
        self.end_headers()
        self.wfile.write(self.film)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a film; nobody may have asked for it when the test is over."""
    monkeypatch.setattr(Canary, "film", write_video(tmp_path / "film.ts", flat_frames(3)).read_bytes())
    monkeypatch.setattr(Canary, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Canary) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/film.ts"
        server.shutdown()
        thread.join()
    assert not Canary.asked


@pytest.mark.parametrize("suffix", [".mp4", "", None])
@pytest.mark.parametrize("kind", [*leading_to("")])
def test_nothing_that_a_file_leads_to_is_followed(
    kind: str, suffix: str | None, tmp_path: Path, canary: str
) -> None:
    """Neither an address nor a film beside it, which would be a film if it were."""
    film = tmp_path / "film.ts"
    targets = [
        canary,
        str(film),
        "film.ts",
        f"file:{film}",
        f"concat:{film}",
        f"subfile,,start,0,end,0,,:{film}",
    ]
    for target in targets:
        path = tmp_path / f"list{f'.{kind}' if suffix is None else suffix}"
        path.write_text(leading_to(target)[kind])
        with pytest.raises(MediaError), open_source(path):
            pass


def test_a_canary_that_is_asked_is_heard(canary: str) -> None:
    with urlopen(canary) as answer:
        assert answer.read() == Canary.film
    assert Canary.asked.pop() == "/film.ts"


@pytest.mark.parametrize("which", ["picture", "sound"])
def test_packets_go_on_after_a_stretch_without_any(tmp_path: Path, which: str) -> None:
    with open_source(zeroed(tmp_path / "clip.ts")) as source:
        stream = getattr(source, which)
        times = [
            float(packet.pts * stream.time_base - source.start)
            for packet in read_packets(source, stream)
            if packet.pts is not None
        ]
    assert max(after - before for before, after in pairwise(times)) > 2.5
    assert times[-1] > 7.9


def test_packets_end_where_the_file_breaks_off() -> None:
    def breaks_off(_: object) -> Iterator[Any]:
        yield "first"
        raise av.error.InvalidDataError(1, "the file breaks off")

    stream: Any = SimpleNamespace()
    source: Any = SimpleNamespace(container=SimpleNamespace(streams=[], demux=breaks_off), only_counts=False)
    unheld = inspect.unwrap(container.read_packets)  # these only look like an open file
    assert list(unheld(source, stream)) == ["first"]
