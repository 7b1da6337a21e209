"""Changes to a file's bytes that parsers stumble over, each decided by a generator of random numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

WORDS = (
    *(
        b"",
        b"0",
        b"-1",
        b"-0.0",
        b"1e300",
        b"1e999",
        b"-1e-999",
        b"nan",
        b"NaN",
        b"-Infinity",
        b"1_0",
        b"0x1",
    ),
    *(b"9" * 19, b"9" * 400, b"9" * 5000, b"\x00", b"\r", b"\n\n", b"\x0b", b"\x1b[2J", b"\xff", b"\xff\xfe"),
    *(
        "²".encode(),
        "٣".encode(),
        "\u2028".encode(),
        "\x85".encode(),
        "İ".encode(),
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
    ),
    *(b'"', b"'", b'""', b",", b";", b"\t", b"=", b"{}", b"[]", b"null", b"true", b"\\ud800", b"\\n", b" "),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"[" * 900 + b"]" * 900,
        b"(" * 300,
        b"a" * 140_000,
        b"../..",
        b"%s",
        b"::",
        b"://",
    ),
)
"""What stands for a number, a letter, a mark."""

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        1.5,
        1e308,
        float("inf"),
        float("nan"),
        10**400,
        2**31,
        2**63,
        1e-320,
        "",
        "a",
        "\ud800",
    ),
    *("\n", "\x1b", [], {}, [[]], [1, 2], {"a": 1}, [None], [-1, -1], [0, 10**9], "a" * 500),
)
"""What stands for a value of JSON."""


def change(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """The content with one to four changes; `others` lend stretches."""
    for _ in range(random.choice((1, 1, 2, 4))):
        if content[:1] in b"{[" and random.random() < 0.6:
            content = change_value(content, random)
        else:
            content = random.choice(CHANGES)(content, others, random)
    return content


def change_value(content: bytes, random: Random) -> bytes:
    """JSON in which one value is another, or is there no more, or stands under another name."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return content + b" "
    places: list[tuple[Any, Any]] = []
    left = [told]
    while left:
        inner = left.pop()
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                left.append(inner[key])
    if not places:
        return json.dumps(random.choice(VALUES)).encode()
    inner, key = random.choice(places)
    kind = random.random()
    if kind < 0.7:
        inner[key] = random.choice(VALUES)
    elif kind < 0.8:
        other, place = random.choice(places)
        inner[key] = json.loads(json.dumps(other.get(place) if isinstance(other, dict) else None))
    elif isinstance(inner, dict):
        value = inner.pop(key)
        if kind < 0.9:
            inner[random.choice((f"{key}x", "", "name", "\n"))] = value
    elif kind < 0.9:
        inner.append(inner[key])
    else:
        del inner[key]
    return json.dumps(told, ensure_ascii=random.random() < 0.9).encode("utf-8", "surrogatepass")


def _put(content: bytes, _: Sequence[bytes], random: Random) -> bytes:
    at = random.randint(0, len(content))
    return content[:at] + random.choice(WORDS) + content[at:]


def _replace(content: bytes, _: Sequence[bytes], random: Random) -> bytes:
    """A word is another."""
    words = list(re.finditer(rb"[\w.+-]+", content[:50_000]))
    if not words:
        return _put(content, _, random)
    word = random.choice(words)
    return content[: word.start()] + random.choice(WORDS) + content[word.end() :]


def _flip(content: bytes, _: Sequence[bytes], random: Random) -> bytes:
    if not content:
        return b"\x00"
    at = random.randrange(len(content))
    return (
        content[:at]
        + bytes([random.choice((content[at] ^ 1 << random.randrange(8), 0, 255, 10))])
        + content[at + 1 :]
    )


def _lose(content: bytes, _: Sequence[bytes], random: Random) -> bytes:
    at = random.randint(0, len(content))
    return content[:at] + content[at + random.choice((1, 2, 8, 64, 1 << 20)) :]


def _double(content: bytes, _: Sequence[bytes], random: Random) -> bytes:
    at = random.randint(0, len(content))
    return content[: at + random.choice((1, 8, 64))] + content[at:]


def _lines(content: bytes, _: Sequence[bytes], random: Random) -> bytes:
    """A line is there twice, or no more, or has changed places."""
    lines = content.split(b"\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    kind = random.randrange(3)
    if kind == 0:
        lines.insert(other, lines[one])
    elif kind == 1:
        del lines[one]
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _splice(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others) if others else content
    return content[: random.randint(0, len(content))] + other[random.randint(0, len(other)) :]


CHANGES: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    *(_put, _replace, _replace, _flip, _flip, _lose, _double, _lines, _splice),
)
