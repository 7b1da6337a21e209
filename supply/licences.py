"""Lists the distributions of an installation with their versions and licences.

Enters: the installation whose python runs this, as importlib.metadata tells of it. Leaves: a Markdown table,
printed. It ends with 1, and names them, where licences are neither in `ALLOWED` nor in `COPYLEFT`.

    ENVIRONMENT/bin/python supply/licences.py > licences.md

A licence is taken from `License-Expression`, else from the classifiers, else from `License`; where these
hold none, or a whole text, from `READ`. Libraries inside a wheel are found by the names in `NATIVE`; others
are not.
"""

import re
import sys
from importlib.metadata import Distribution, distributions

ALLOWED = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0"),
    *("CC0-1.0", "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Zlib"),
}
"""Those that ask for no more than that their notice is kept."""

COPYLEFT = {
    "CC-BY-NC-SA-4.0": "mien's own weights for the voice, which are for research; `mien models` says so",
    "MPL-2.0": "asks for the source of its own files where they were changed; they are imported unchanged",
}
"""Those that ask for more, each with why that is all right. mien's wheel holds no other distribution."""

NATIVE = {
    "libasound": "LGPL-2.1-or-later",
    "libavcodec": "LGPL-2.1-or-later",
    "libgmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libgnutls": "LGPL-2.1-or-later",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libhogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libmp3lame": "LGPL-2.0-or-later",
    "libnettle": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libQt5Core": "LGPL-3.0-only",
    "libquadmath": "LGPL-2.1-or-later",
    "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
}
"""Copyleft libraries that wheels carry unmentioned in their metadata: beginning of the name → licence."""

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
TEXTS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "mit license": "MIT",
}
READ = {"praatio": "MIT", "pympi-ling": "MIT"}
"""What the licence file of a distribution says whose metadata name none, or hold all of its text."""


def licence_of(distribution: Distribution) -> str:
    """An SPDX expression, or what its makers wrote instead."""
    told = distribution.metadata
    name = told["Name"].lower()
    if name in READ:
        return READ[name]
    if told.get("License-Expression"):
        return str(told["License-Expression"])
    lines = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License")
    ]
    found = sorted({CLASSIFIERS.get(line, line) for line in lines} - {"OSI Approved"})
    text = " ".join((told.get("License") or "none told").split())
    return " AND ".join(found) if found else TEXTS.get(text.lower(), text)


def parts_of(expression: str) -> list[str]:
    """The licences that an SPDX expression holds one to; of `MIT OR GPL-2.0-only`, the allowed one."""
    parts = re.split(r"\s+AND\s+", re.sub(r"[()]", "", expression))
    choices = [re.split(r"\s+OR\s+", part) for part in parts]
    return [next((one for one in choice if one in ALLOWED), choice[0]) for choice in choices]


def is_allowed(expression: str) -> bool:
    """Whether all that an expression asks for is known and all right."""
    return set(parts_of(expression)) <= ALLOWED | COPYLEFT.keys()


def carried_by(distribution: Distribution) -> dict[str, str]:
    """Copyleft libraries inside a distribution, and their licences."""
    names = {path.name for path in distribution.files or () if ".so" in path.name}
    return {
        library: kind for library, kind in NATIVE.items() if any(name.startswith(library) for name in names)
    }


def main() -> None:
    """Prints the table; ends with 1 where a licence is not allowed."""
    found = {each.metadata["Name"].lower(): each for each in distributions()}
    licences = {name: licence_of(each) for name, each in sorted(found.items())}
    print("| distribution | version | licence |\n|---|---|---|")
    for name, licence in licences.items():
        print(f"| {found[name].metadata['Name']} | {found[name].version} | {licence} |")
    print(f"\n{len(found)} distributions. Those that ask for more than that their notice is kept:\n")
    for name, licence in licences.items():
        for kind in sorted(set(parts_of(licence)) & COPYLEFT.keys()):
            print(f"- {name}, {kind}: {COPYLEFT[kind]}.")
    print(
        "\nCopyleft libraries that wheels carry, loaded as they are; who ships the wheel owes their terms:\n"
    )
    for name, each in sorted(found.items()):
        carried = carried_by(each)
        if carried:
            print(f"- {name}: " + ", ".join(f"{library} ({kind})" for library, kind in carried.items()) + ".")
    unknown = {name: told for name, told in licences.items() if not is_allowed(told)}
    if unknown:
        sys.exit(
            "\n".join(f"not on the list of licences: {name}: {told[:90]}" for name, told in unknown.items())
        )


if __name__ == "__main__":
    main()
