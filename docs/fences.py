"""An extension of the site: examples in docstrings are shown as code, as they stand there for doctest."""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
"""From a prompt to the next empty line."""


def fence(text: str) -> str:
    """Puts examples between fences."""
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", text)


class Fences(Extension):
    """Puts the examples of every docstring between fences."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Is called with everything that has a name."""
        if obj.docstring:
            obj.docstring.value = fence(obj.docstring.value)
