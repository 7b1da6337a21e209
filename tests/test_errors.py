"""The tree of exceptions is the one that its docstring draws."""

import re

import pytest

from mien import errors
from mien.errors import InputError, MienError, MissingExtraError, described


def drawn_tree() -> dict[str, str]:
    """Each exception of the drawing with the one it hangs from."""
    above: dict[int, str] = {}
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([ │├└─]*)(\w+Error)\b", line):
            depth = len(found[1])
            above[depth] = found[2]
            shallower = [each for each in above if each < depth]
            parents[found[2]] = above[max(shallower)] if shallower else "Exception"
    return parents


def test_the_drawing_is_the_tree() -> None:
    defined = {
        name: each.__bases__[0].__name__
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, Exception)
    }
    assert drawn_tree() == defined


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtraError("reading FER+", "table")
    assert isinstance(error, MienError)
    assert "pip install 'mien[table]'" in str(error)
    assert "reading FER+" in str(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "Full", "a"), "a: Full; name another, or mend what is there"),
        (OSError(28, "Full", "a", None, "b"), "b: Full; name another, or mend what is there"),
        (OSError("out.safetensors cannot be written"), "out.safetensors cannot be written"),
        (InputError("as it is"), "as it is"),
    ],
)
def test_the_operating_systems_errors_become_words(error: Exception, words: str) -> None:
    assert described(error) == words


@pytest.mark.parametrize("name", ["a\nb", "a\r", "\x1b[2J", "\u2028", "\u202e", "\udce9", "a\x00"])
def test_whatever_a_name_holds_a_message_is_one_line(name: str) -> None:
    for told in (str(InputError(f"{name}: no")), described(OSError(28, "Full", name))):
        assert told.isprintable()
        assert told.encode()
    assert str(InputError("Zoë’s\u00a0film 笑.mp4")) == "Zoë’s\u00a0film 笑.mp4"
