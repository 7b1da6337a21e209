"""The page: what it takes, refuses and gives away, over real HTTP; and in a real browser."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path

import pytest

import mien
from browsers import CAMERA, opened
from media_files import flat_frames, tone, write_video
from mien import lineup, web
from mien.timelines import Timeline
from mien.web import read_asset
from mien.writers import FILE_NAMES
from served import Server, served

DEMO = Path(__file__).parents[1] / "examples" / "demo.mp4"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, flat_frames(25), fps=25, waveform=tone(440, 1.0))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served"), largest=20_000_000) as running:
        yield running


def test_a_file_sent_becomes_a_report_to_take_away(server: Server, film: Path) -> None:
    token = server.send(film, wishes="&voice=false&video=true")
    told = server.await_end(token)
    assert (told["state"], told["name"], told["message"]) == ("done", "film.mp4", "")
    assert told["files"].keys() == {*FILE_NAMES, "timeline.zip"}
    for name, size in told["files"].items():
        got = server.ask("GET", f"/jobs/{token}/files/{name}")
        assert (got.status, len(got.body)) == (200, size)
        assert got.headers["content-disposition"] == f'attachment; filename="film.{name}"'
    provenance = json.loads(server.ask("GET", f"/jobs/{token}/files/timeline.json").body)["provenance"]
    assert (provenance["file"], provenance["reading"]["voice"]) == ("film.mp4", False)
    assert server.ask("GET", f"/jobs/{token}/chart.svg").body.startswith(b"<?xml")
    assert server.ask("DELETE", f"/jobs/{token}").status == 204
    assert server.ask("GET", f"/jobs?job={token}").told == {token: None}
    assert server.ask("GET", f"/jobs/{token}/files/timeline.csv").status == 404


def test_the_same_call_as_the_command_line(server: Server, film: Path) -> None:
    token = server.send(film)
    server.await_end(token)
    got = json.loads(server.ask("GET", f"/jobs/{token}/files/timeline.json").body)
    timeline = mien.analyze(film)
    assert got["provenance"] == json.loads(json.dumps(timeline.provenance))
    assert len(got["rows"]) == len(timeline.rows)


NAMES = [
    "../../etc/passwd.mp4",
    "C:\\a\\b.mp4",
    "\"quoted\" & 'so'.mp4",
    "😀 smile.mp4",
    "x" * 300 + ".mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "a;b=c\r\nX-Evil: 1.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(server: Server, film: Path, name: str) -> None:
    token = server.send(film, name)
    told = server.await_end(token)
    assert told["state"] == "done", told
    got = server.ask("GET", f"/jobs/{token}/files/timeline.csv")
    assert got.status == 200
    assert "x-evil" not in got.headers
    page = server.ask("GET", f"/jobs/{token}/files/timeline.html?view=true").body.decode()
    assert "<img src=x" not in page
    assert b"<img src=x" not in server.ask("GET", f"/jobs/{token}/chart.svg").body
    server.ask("DELETE", f"/jobs/{token}")


def test_the_report_inside_the_page_runs_apart_from_it(server: Server, film: Path) -> None:
    token = server.send(film)
    server.await_end(token)
    got = server.ask("GET", f"/jobs/{token}/files/timeline.html?view=true")
    assert got.headers["content-security-policy"] == "sandbox allow-scripts; frame-ancestors 'self'"
    assert "content-disposition" not in got.headers


@pytest.mark.parametrize("path", ["..%2f..%2fpage.html", "%2e%2e", "nothing.csv", "film.mp4"])
def test_no_other_file_is_given_away(server: Server, film: Path, path: str) -> None:
    token = server.send(film)
    server.await_end(token)
    assert server.ask("GET", f"/jobs/{token}/files/{path}").status == 404
    assert server.ask("GET", f"/jobs/{'x' * 22}/files/timeline.csv").status == 404


def test_too_large_a_file_is_refused_before_it_is_sent(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(
            b"POST /jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Mien: 1\r\n"
            b"Content-Length: 2000000000\r\n\r\n"
        )
        answer = HTTPResponse(line)
        answer.begin()
        assert answer.status == 400
        assert b"the file has 2000 MB, and up to 20 MB are taken" in answer.read()


def test_a_file_whose_size_was_not_told_is_cut_off_at_the_limit(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(
            b"POST /jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Mien: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(21):
            line.sendall(b"f4240\r\n" + bytes(1_000_000) + b"\r\n")
        answer = HTTPResponse(line)
        answer.begin()
        assert b"up to 20 MB are taken" in answer.read()


@pytest.mark.parametrize("pause", [0.05, 5.0])
def test_who_sends_too_slowly_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    monkeypatch.setattr(web, "PATIENCE", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(
            b"POST /jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Mien: 1\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        line.settimeout(pause)
        for _ in range(200):
            line.sendall(b"x")
            with suppress(TimeoutError):
                told = line.recv(4096)
                break
        line.settimeout(20)
        assert told.startswith(b"HTTP/1.1 400")
        assert b"comes more slowly than" in told + line.recv(4096)


def test_a_full_queue_is_told_so(server: Server, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineup, "MOST_WAITING", 0)
    answer = server.ask("POST", "/jobs?name=a.mp4", film.read_bytes())
    assert (answer.status, answer.told) == (
        429,
        {"detail": "0 files are waiting already; try again in some minutes"},
    )


def test_who_hangs_up_leaves_nothing(server: Server, tmp_path: Path) -> None:
    folder = server.jobs._folder
    before = set(folder.iterdir())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(
            b"POST /jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Mien: 1\r\n"
            b"Content-Length: 1000000\r\n\r\n" + bytes(1000)
        )
        while set(folder.iterdir()) == before:
            time.sleep(0.01)
    for _ in range(500):
        if set(folder.iterdir()) <= before:
            return
        time.sleep(0.01)
    raise AssertionError("the folder of a file that never came is still there")


@pytest.mark.parametrize(
    "method, path", [("POST", "/jobs?name=a"), ("POST", "/jobs/t/stop"), ("DELETE", "/jobs/t")]
)
def test_other_sites_change_nothing(server: Server, method: str, path: str) -> None:
    answer = server.ask(method, path, b"", {})
    assert (answer.status, answer.told["detail"][:30]) == (403, "send the header  X-Mien: 1  wi")


def test_a_foreign_name_for_this_machine_is_refused(server: Server) -> None:
    assert server.ask("GET", "/", headers={"Host": "evil.example"}).status == 400
    assert server.ask("GET", "/", headers={"Host": f"localhost:{server.port}"}).status == 200


def test_other_machines_are_told_where_files_go(tmp_path: Path, server: Server) -> None:
    assert b"happens on this machine" in server.ask("GET", "/").body
    with served(tmp_path, "0.0.0.0") as reached:
        page = reached.ask("GET", "/", headers={"Host": "lab.example"})
    assert b"happens on the machine that runs this page" in page.body


def test_nothing_of_the_page_comes_from_elsewhere(server: Server) -> None:
    for path in ("/", "/page.css", "/page.js"):
        got = server.ask("GET", path)
        assert got.status == 200
        assert not re.findall(rb"https?://", got.body)
        assert got.headers["content-security-policy"].startswith("default-src 'none'")
        assert got.headers["cache-control"] == "no-store"


def test_every_export_is_named_on_the_page() -> None:
    code = read_asset("page.js")
    assert {*re.findall(r'^  "([^"]+)": "', code, re.MULTILINE)} == {*FILE_NAMES, "timeline.zip"}


def test_film_and_blur_are_refused_together(server: Server, film: Path) -> None:
    answer = server.ask("POST", "/jobs?name=a.mp4&film=true&blur=true", film.read_bytes())
    assert (answer.status, answer.told["detail"]) == (
        400,
        "the film itself shows faces; ask for it or for blurred faces, not both",
    )


@pytest.mark.slow
def test_in_a_browser_files_become_reports(server: Server, tmp_path: Path) -> None:
    (tmp_path / "<b>no film.txt").write_text("no film")
    with opened(server.address) as found:
        page = found.page
        page.set_input_files("#files", [DEMO, tmp_path / "<b>no film.txt"])
        page.wait_for_selector(".latest:has-text('Person 1')", timeout=60_000)
        page.wait_for_selector("article:has-text('demo.mp4') .chart[alt*='Person 1']")
        page.wait_for_selector(".done .show", timeout=90_000)
        page.wait_for_selector(".failed .state:has-text('cannot be opened as video')", timeout=60_000)
        assert [each.inner_text() for each in page.query_selector_all(".name")] == [
            "demo.mp4",
            "<b>no film.txt",
        ]
        page.click(".done .show")
        frame = page.wait_for_selector(".done iframe").content_frame()
        assert frame is not None
        frame.wait_for_selector("h1:has-text('demo.mp4')")
        frame.wait_for_selector(".bk-Figure", timeout=20_000)
        page.click(".done summary")
        for name in ("timeline.json", "timeline.zip"):
            with page.expect_download() as download:
                page.click(f".done .downloads a[href$='{name}']")
            assert download.value.suggested_filename == f"demo.{name}"
            download.value.save_as(tmp_path / name)
        assert Timeline.read(tmp_path / "timeline.json").persons()[0].track_id == 1
        kept = page.evaluate("JSON.parse(sessionStorage.getItem(KEY))")
        page.evaluate(
            "kept => sessionStorage.setItem(KEY, JSON.stringify(kept))", [["gone", "old.mp4"], *kept]
        )
        page.reload()  # what is done is still there, and what is gone is not
        page.wait_for_selector(".done .show", timeout=20_000)
        assert page.locator(".name").all_inner_texts() == ["demo.mp4", "<b>no film.txt"]
        page.click(".done .show")
        assert page.get_attribute(".done iframe", "title") == "Report of demo.mp4"
        page.click(".done .remove")
        page.wait_for_selector(".done", state="detached")
        assert (found.errors, found.asked) == ([], [])


@pytest.mark.slow
def test_in_a_browser_by_keyboard_alone_on_a_phone_in_the_dark(server: Server, film: Path) -> None:
    with opened(server.address, width=360, dark=True) as found:
        page = found.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        reached = []
        for _ in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
        assert reached == ["camera", "voice", "video", "film", "blur"]
        page.keyboard.press("Space")
        assert page.evaluate("[byId('blur').checked, byId('film').disabled]") == [True, True]
        page.set_input_files("#files", film)
        page.wait_for_selector(".done .show", timeout=60_000)
        page.keyboard.press("Tab")  # the chart is wider than a phone, and scrolled by keyboard too
        assert page.evaluate("document.activeElement.className") == "wide"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "show"
        page.keyboard.press("Enter")
        assert page.get_attribute(".show", "aria-expanded") == "true"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", dark)[:3])) < 50
        names = page.evaluate("""[...document.querySelectorAll('button, input, img, iframe, progress')]
            .filter((each) => each.checkVisibility()).map((each) => each.innerText || each.alt ||
            each.title || each.ariaLabel || each.labels?.[0]?.innerText || each.outerHTML)""")
        assert names
        assert not [name for name in names if "<" in name]
        assert found.errors == []


@pytest.mark.slow
def test_in_a_browser_the_camera_is_watched_live_and_then_analyzed(server: Server) -> None:
    with opened(server.address, arguments=CAMERA) as found:
        page = found.page
        page.click("#camera")
        page.wait_for_selector("article:has-text('Live, from the past alone: 0:0')", timeout=20_000)
        page.wait_for_selector(".latest:has-text('nobody is seen or heard')", timeout=20_000)
        page.wait_for_selector(".chart", timeout=20_000)
        assert page.evaluate("byId('preview').videoWidth") == 640
        page.wait_for_timeout(2000)
        page.click("#cut")
        page.wait_for_selector(".done .show", timeout=90_000)
        assert page.is_visible("#camera")
        page.click(".done summary")
        with page.expect_download() as download:
            page.click(".done .downloads a[href$='timeline.json']")
        told = json.loads(Path(download.value.path()).read_text())
        assert re.fullmatch(r"camera \d\d-\d\d-\d\d\.webm", told["provenance"]["file"])
        assert told["provenance"]["has_sound"]
        assert told["provenance"]["frames"] >= 20
        assert not any(row[-1] for row in told["rows"])  # nothing is dropped of a file
        assert (found.errors, found.asked) == ([], [])


@pytest.mark.slow
def test_what_is_filmed_is_looked_at_from_its_first_part_on(server: Server, tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mkv", flat_frames(75), fps=25, waveform=tone(440, 3.0))
    token = server.ask("POST", "/films?name=a.mkv&voice=false", b"").told["token"]
    content = film.read_bytes()
    size = -(-len(content) // 12)
    states = set()
    for start in range(0, len(content), size):
        assert server.ask("POST", f"/films/{token}", content[start : start + size]).status == 204
        time.sleep(0.2)
        told = server.ask("GET", f"/jobs?job={token}").told[token]
        states.add((told["state"], bool(told["latest"])))
    assert server.ask("POST", f"/films/{token}/end", b"").status == 204
    assert ("live", True) in states
    assert server.await_end(token)["state"] == "done"
    got = json.loads(server.ask("GET", f"/jobs/{token}/files/timeline.json").body)
    assert (got["provenance"]["frames"], got["provenance"]["reading"]["voice"]) == (75, False)
    assert server.ask("POST", f"/films/{token}", b"more").status == 409


def test_a_film_that_grows_too_large_is_refused(server: Server) -> None:
    token = server.ask("POST", "/films?name=a.mkv", b"").told["token"]
    answer = server.ask("POST", f"/films/{token}", bytes(20_000_001))
    assert (answer.status, "up to 20 MB are taken" in answer.told["detail"]) == (400, True)
    assert server.ask("DELETE", f"/jobs/{token}").status == 204


@pytest.mark.slow
def test_in_a_browser_a_file_is_cancelled_and_one_too_large_is_not_sent(
    server: Server, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(20_000_001)
    with opened(server.address) as found:
        page = found.page
        page.set_input_files("#files", [large, DEMO])
        page.wait_for_selector(".failed .state:has-text('up to 20 MB are taken')")
        page.wait_for_selector(".latest:has-text('Person 1')", timeout=60_000)
        page.click("article:has-text('demo.mp4') .stop")
        page.wait_for_selector(".cancelled .state:has-text('Cancelled.')", timeout=20_000)
        assert found.errors == []


@pytest.mark.slow
def test_two_people_at_once_see_their_own_files(server: Server, film: Path) -> None:
    with opened(server.address) as first:
        second = first.page.context.browser.new_context().new_page()
        second.goto(server.address)
        first.page.set_input_files("#files", DEMO)
        first.page.wait_for_selector(".state:has-text('Analyzing')", timeout=60_000)
        second.set_input_files("#files", film)
        second.wait_for_selector(".state:has-text('one file comes first')", timeout=20_000)
        second.wait_for_selector(".done", timeout=90_000)
        first.page.wait_for_selector(".done", timeout=20_000)
        for page, name in ((first.page, "demo.mp4"), (second, "film.mp4")):
            assert [each.inner_text() for each in page.query_selector_all(".name")] == [name]


@pytest.mark.slow
def test_a_browser_closed_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with served(tmp_path, left_after=1.0) as server:
        with opened(server.address) as found:
            found.page.set_input_files("#files", DEMO)
            found.page.wait_for_selector(".latest:has-text('Person 1')", timeout=60_000)
        for _ in range(2000):
            if not list((tmp_path / "jobs").iterdir()):
                return
            time.sleep(0.01)
        raise AssertionError(f"still there: {list((tmp_path / 'jobs').iterdir())}")
