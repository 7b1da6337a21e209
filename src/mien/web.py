"""The page: files come in over HTTP, the queue analyzes them, states, charts and reports go out. Extra [web].

Nothing of it comes from another host, and other sites cannot use it: whatever changes something needs a
header that browsers let only the page itself send, and names that are not this machine's are refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from importlib.resources import files
from string import Template
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from mien.errors import InputError
from mien.jobs import Job, Wishes
from mien.lineup import FullError, Jobs

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
        "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer."""

PATIENCE, SLOWEST = 30.0, 5_000
"""Seconds for which nothing may come, and bytes a second that a file needs to come with after that."""

REPORT_POLICY = "sandbox allow-scripts; frame-ancestors 'self'"
"""The report runs apart from the page that shows it, and forbids itself every address."""

OWN_NAMES = ["127.0.0.1", "localhost", "[::1]"]
"""By which the page is asked for where only this machine reaches it."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was sent, or the name that this machine is asked by, is not taken."},
    403: {"description": "The header X-Mien is missing."},
    404: {"description": "There is no such file, any more."},
    409: {"description": "The film is over already."},
    429: {"description": "So many files wait that no more are taken."},
}

router = APIRouter(responses=REFUSALS)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def create_app(jobs: Jobs, host: str = "127.0.0.1") -> FastAPI:
    """The page over a queue, for a server that listens on `host`."""
    app = FastAPI(title="mien", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.jobs = jobs
    place = "on this machine" if is_loopback(host) else "on the machine that runs this page"
    told = {"largest": jobs.largest, "megabytes": f"{jobs.largest / 1e6:.0f}", "place": place}
    app.state.page = Template(read_asset("page.html")).substitute(told, minutes=f"{jobs.kept_for / 60:.0f}")
    app.include_router(router)
    app.middleware("http")(protect)
    app.exception_handler(InputError)(explain)
    if is_loopback(host):  # else a site that calls this address by a name of its own would reach the page
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=OWN_NAMES)
    return app


def read_asset(name: str) -> str:
    """A part of the page that ships with the package."""
    return files("mien").joinpath("pages", name).read_text(encoding="utf-8")


async def protect(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Adds to an answer what it says of itself."""
    response = await call(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def explain(_: Request, error: Exception) -> JSONResponse:
    """What was wrong with what was sent, in one line."""
    return JSONResponse({"detail": str(error)}, 429 if isinstance(error, FullError) else 400)


def find_jobs(request: Request) -> Jobs:
    """The queue."""
    jobs: Jobs = request.app.state.jobs
    return jobs


Queue = Annotated[Jobs, Depends(find_jobs)]


def find_job(token: str, jobs: Queue) -> Job:
    """The job of a token in an address."""
    job = jobs.get(token)
    if job is None:
        raise HTTPException(404, "this file is not here any more")
    return job


Found = Annotated[Job, Depends(find_job)]


async def refuse_others(x_mien: Annotated[str | None, Header()] = None) -> None:
    """Refuses what another site makes a browser send: none can set this header."""
    if x_mien is None:
        raise HTTPException(403, "send the header  X-Mien: 1  with what changes something")


def _given(kind: str) -> dict[int | str, dict[str, Any]]:
    """Says which kind of content an answer has."""
    return {200: {"content": {kind: {}}}}


BY_PAGE = [Depends(refuse_others)]


@router.get("/", response_class=HTMLResponse)
async def show_page(request: Request) -> HTMLResponse:
    """The page itself."""
    return HTMLResponse(request.app.state.page)


@router.get("/page.css", response_class=Response, responses=_given("text/css"))
async def show_style() -> Response:
    """How it looks."""
    return Response(read_asset("page.css"), media_type="text/css")


@router.get("/page.js", response_class=Response, responses=_given("text/javascript"))
async def show_code() -> Response:
    """What it does."""
    return Response(read_asset("page.js"), media_type="text/javascript")


@router.post("/jobs", status_code=201, dependencies=BY_PAGE)
async def receive(
    request: Request,
    jobs: Queue,
    name: str,
    voice: bool = True,
    film: bool = False,
    video: bool = False,
    blur: bool = False,
) -> dict[str, str]:
    """Takes a file, which is the body of the request as it is."""
    size = int(request.headers.get("content-length", 0))
    job = jobs.receive(name, Wishes(voice=voice, film=film, video=video, blur=blur), size)
    try:
        await take(request, job, jobs)
    except ClientDisconnect:
        jobs.forget(job)
        return {}
    except BaseException:
        jobs.forget(job)
        raise
    jobs.enter(job)
    return {"token": job.token}


@router.post("/films", status_code=201, dependencies=BY_PAGE)
async def begin_film(jobs: Queue, name: str, voice: bool = True) -> dict[str, str]:
    """A job for what is being filmed, whose parts follow."""
    return {"token": jobs.receive(name, Wishes(voice=voice), 0).token}


@router.post("/films/{token}", status_code=204, dependencies=BY_PAGE)
async def add_to_film(request: Request, job: Found, jobs: Queue) -> None:
    """Takes the next part of what is being filmed, which is looked at from the first part on."""
    if job.state not in ("arriving", "live"):
        raise HTTPException(409, "this film is over already")
    await take(request, job, jobs)
    jobs.watch(job)


@router.post("/films/{token}/end", status_code=204, dependencies=BY_PAGE)
async def end_film(job: Found) -> None:
    """Nothing more comes: the film is analyzed like any other file."""
    job.filmed = True


async def take(request: Request, job: Job, jobs: Jobs) -> None:
    """Adds what is sent to what there is of a job's file.

    Raises:
        InputError: It is larger than is taken, comes too slowly, or there is no room.
    """
    began, received, parts = monotonic(), 0, aiter(request.stream())
    try:
        with job.path.open("ab") as file:
            size = file.tell()
            while (chunk := await asyncio.wait_for(anext(parts, None), PATIENCE)) is not None:
                size, received = size + len(chunk), received + len(chunk)
                if size > jobs.largest:
                    jobs.refuse_size(size)
                if received < SLOWEST * (monotonic() - began - PATIENCE):
                    raise TimeoutError
                file.write(chunk)
                jobs.get(job.token)
    except TimeoutError:
        raise InputError(
            f"the file comes more slowly than {SLOWEST} bytes a second; try a better network, or use "
            " mien analyze  on the command line"
        ) from None
    except OSError as error:
        raise InputError(f"the file could not be kept here: {error.strerror or error}") from error


@router.get("/jobs")
async def tell_all(jobs: Queue, job: Annotated[list[str], Query(default_factory=list)]) -> dict[str, Any]:
    """How far some jobs are; None where there is no such job any more."""
    found = {token: jobs.get(token) for token in job}
    return {token: None if each is None else tell(each, jobs) for token, each in found.items()}


def tell(job: Job, jobs: Jobs) -> dict[str, Any]:
    """A job's state as the page shows it."""
    return {
        "name": job.name,
        "state": job.state,
        "what": job.what,
        "done": job.done,
        "total": job.total,
        "before": jobs.before(job) if job.state == "waiting" else 0,
        "message": job.message,
        "latest": job.latest,
        "charts": job.n_charts,
        "dropped": job.dropped,
        "files": job.files,
    }


@router.get("/jobs/{token}/chart.svg", response_class=Response, responses=_given("image/svg+xml"))
async def show_chart(job: Found) -> Response:
    """The chart so far."""
    return Response(job.chart, media_type="image/svg+xml")


@router.get("/jobs/{token}/files/{name}", response_class=FileResponse)
async def give(job: Found, name: str, view: bool = False) -> FileResponse:
    """A file of the report, to be kept, or to be looked at inside the page."""
    if name not in job.files:
        raise HTTPException(404, f"the report has no file {name!r}")
    if view:
        return FileResponse(job.report / name, headers={"Content-Security-Policy": REPORT_POLICY})
    called = f"{job.path.stem}.{name}"
    return FileResponse(job.report / name, filename=called, media_type="application/octet-stream")


@router.post("/jobs/{token}/stop", status_code=204, dependencies=BY_PAGE)
async def stop(job: Found, jobs: Queue) -> None:
    """Ends a job."""
    jobs.stop(job)


@router.delete("/jobs/{token}", status_code=204, dependencies=BY_PAGE)
async def forget(job: Found, jobs: Queue) -> None:
    """Deletes all that there is of a job."""
    await asyncio.to_thread(jobs.forget, job)
