"""Label-paired utterances and faces in, recordings of minutes out, in which one expression follows another.

The pairs of one speaker are laid end to end, so that windows reach over changes of expression and
probabilities can be smoothed over time, as in videos. Nobody moves from one expression to the next: what is
shown on pseudo-videos is that the machinery works, not what it is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.datasets.batches import listen
from mien.datasets.corpus import labelled
from mien.datasets.pairs import pair_faces
from mien.datasets.prepared import LabelledSpan, Recording
from mien.spans import SAMPLE_RATE, Span
from mien.speech import log_mel
from mien.windows import FACE_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float32, UInt8

    from mien.datasets.corpus import Clip, Stills

RUN = (3.0, 8.0)
"""Seconds that one expression lasts, at least and at most."""

FRAME_STEP = 2 * FACE_STEP
"""Seconds between frames that have a label: 1.25 a second."""


def pseudo_videos(
    stills: Stills, utterances: Sequence[Clip], split: str, n_faces: int, seed: int = 0
) -> list[Recording]:
    """One recording for each speaker of a split, in the order of their names.

    An utterance's faces follow one another, each for the same time, and are seen every 0.4 s. What does not
    fit into a run is left out.

    Args:
        stills: Where faces are taken from; of the same split alone.
        utterances: Labelled clips of several splits.
        split: Whose utterances, and faces.
        n_faces: Pictures in an utterance.
        seed: Decides order and faces.

    Raises:
        DatasetError: Nothing is in the split, or an expression is spoken and never shown.
    """
    clips, pictures = labelled(utterances, split), stills.part(split)
    faces = pair_faces(pictures.images, pictures.labels, [label for _, label in clips], n_faces, seed)
    recordings = []
    for speaker in sorted({clip.speaker for clip, _ in clips}):
        own = [row for row, (clip, _) in enumerate(clips) if clip.speaker == speaker]
        waveforms = [listen(clips[row][0])[: round(RUN[1] * SAMPLE_RATE)] for row in own]
        labels = [clips[row][1] for row in own]
        durations = [len(waveform) / SAMPLE_RATE for waveform in waveforms]
        runs = deal_runs(labels, durations, np.random.default_rng([seed, own[0]]))
        if runs:
            recordings.append(_join(speaker, split, runs, labels, waveforms, faces[own]))
    return recordings


def deal_runs(
    labels: Sequence[str], durations: Sequence[float], generator: np.random.Generator
) -> list[list[int]]:
    """Which utterances follow each other: runs of one label, no run's label that of the run before.

    >>> deal_runs(["Fear", "Fear", "Anger"], [3.0, 3.0, 4.0], np.random.default_rng(0))
    [[2], [1, 0]]
    """
    left: dict[str, list[int]] = {label: [] for label in sorted(set(labels))}
    for row in generator.permutation(len(labels)).tolist():
        left[labels[row]].append(row)
    runs: list[list[int]] = []
    last = None
    while open_labels := [label for label, rows in left.items() if rows and label != last]:
        counts = np.array([len(left[label]) for label in open_labels])
        label = open_labels[generator.choice(len(counts), p=counts / counts.sum())]
        wanted, run, length = generator.uniform(*RUN), list[int](), 0.0
        while left[label]:
            longer = length + durations[left[label][-1]]
            is_enough = length >= RUN[0] and (length + longer) / 2 > wanted
            if run and (is_enough or longer > RUN[1]):
                break
            run.append(left[label].pop())
            length = longer
        if length >= RUN[0]:
            runs.append(run)
            last = label
    return runs


def _join(
    speaker: str,
    split: str,
    runs: list[list[int]],
    labels: Sequence[str],
    waveforms: Sequence[Float32[np.ndarray, "samples"]],
    faces: UInt8[np.ndarray, "clips faces H W"],
) -> Recording:
    """The recording that runs of utterances make."""
    order = [row for run in runs for row in run]
    ends = np.cumsum([len(waveforms[row]) for row in order]) / SAMPLE_RATE
    starts = np.concatenate([[0.0], ends[:-1]])
    times = np.arange(FACE_STEP / 2, ends[-1], FACE_STEP)
    spoken = np.searchsorted(ends, times, side="right")
    shares = (times - starts[spoken]) / (ends[spoken] - starts[spoken])
    shown = (shares * faces.shape[1]).astype(np.int64)
    first = np.cumsum([0, *map(len, runs)])
    stretches = tuple(
        LabelledSpan(span=Span(float(starts[a]), float(ends[b - 1])), label=labels[run[0]])
        for run, a, b in zip(runs, first[:-1], first[1:], strict=True)
    )
    return Recording(
        name=f"{speaker} end to end",
        corpus="pairs",
        speaker=speaker,
        split=split,
        stretches=stretches,
        frame_step=FRAME_STEP,
        crops=faces[np.array(order)[spoken], shown],
        crop_times=times,
        columns=np.ascontiguousarray(log_mel(np.concatenate([waveforms[row] for row in order])).T),
    )
