"""A class-wise rule, made up, for the tests of what fuses by it."""

from dataclasses import fields

import numpy as np

from mien.classwise import ClassWise
from mien.expressions import EXPRESSIONS


def leaning_rule(bias: float | None = None) -> ClassWise:
    """A rule all of whose numbers differ; or whose biases, where both are there, are all this one."""
    drawn = np.random.default_rng(0).normal(1.0, 0.4, (7, len(EXPRESSIONS)))
    numbers = {field.name: row for field, row in zip(fields(ClassWise), drawn, strict=True)}
    if bias is not None:
        numbers["bias"] = np.full(len(EXPRESSIONS), bias)
    return ClassWise(**numbers)
