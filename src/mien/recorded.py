"""A checkpoint and a prepared corpus in, what it says of every labelled frame or stretch of one split out.

It is how a network is scored whose features lie in a folder: no other file has them. `raw` and `post` are
those of `mien.framewise`: frames of one recording, with the missing rules, as they are and as means over
2·50 + 1 frames, those between labelled stretches among them. Where a label is a whole stretch's, a row is
that stretch, the mean over its frames, 25 a second, and what nothing is known of has no prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.datasets.moments import CLIP_STEP, Moment, every_frame
from mien.datasets.prepared import has_part, read_prepared, with_features
from mien.datasets.recordings import HELD_ROWS, look_at
from mien.errors import CheckpointError, DatasetError
from mien.models.checkpoint import load_network
from mien.models.face import FaceNet
from mien.models.network import ExpressionNet, feature_widths
from mien.models.speech import SpeechNet
from mien.postprocess import DELTA, box_mean, fill_frames
from mien.samples import View
from mien.scoring import Predictions, found_in
from mien.spans import Span
from mien.windows import N_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Bool, Float32, Float64
    from torch import Tensor

    from mien.datasets.prepared import Recording
    from mien.samples import Source
    from mien.spans import Hook
    from mien.spec import ModelSpec

Said = dict["Source", "Float32[np.ndarray, 'rows 8']"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is said of one recording."""

    recording: Recording
    labels: tuple[str, ...]
    spans: tuple[Span, ...]
    raw: Said
    post: Said


def score_prepared(checkpoint: Path, folder: Path, split: str, hook: Hook) -> Predictions:
    """What a checkpoint says of one split of a prepared corpus, to be scored as other predictions are.

    Args:
        checkpoint: What `mien train` wrote: of faces, of speech or of both.
        folder: What `mien prepare` wrote.
        split: train, choose or val.
        hook: Called with what is done, how far, and how much there is.

    Raises:
        CheckpointError: The checkpoint is damaged, or takes features by another extractor.
        DatasetError: The corpus is damaged, lacks the features, or has nothing labelled in this split.
    """
    network, spec = load_network(checkpoint)
    widths = feature_widths(network.config)
    recordings = [each for each in read_prepared(folder) if each.split == split and each.stretches]
    recordings = with_features(recordings, widths)
    if not recordings:
        raise DatasetError(f"{folder} has nothing labelled in split {split!r}; prepare some, or name another")
    nothing = {"face": "no face", "speech": "no sound", "both": "neither face nor sound"}[spec.modality]
    if not any(has_part(each, spec.modality) for each in recordings):
        raise CheckpointError(
            f"{checkpoint} is of {spec.modality}, and split {split!r} of {folder} has {nothing}; give another"
        )
    _refuse_other_extractor(spec, recordings[0], checkpoint)
    asked = []
    for done, recording in enumerate(recordings, 1):
        asked.append(_ask_recording(network, spec, recording, widths))
        hook("looking and listening", done, len(recordings))
    return _gather(asked, nothing)


def _refuse_other_extractor(spec: ModelSpec, recording: Recording, checkpoint: Path) -> None:
    for modality, told in spec.training.get("data", {}).get("extractors", {}).items():
        found = recording.extractors.get(modality)
        # a folder's checksum is of one corpus' features; of another corpus they lie in another folder
        changing = {"sha256"} if told["from"] == "folder" else set()
        if found is not None and any(found.get(name) != told[name] for name in told.keys() - changing):
            raise CheckpointError(
                f"{checkpoint} was trained on features of {modality} by another extractor than "
                f"{recording.corpus} {recording.name} has; prepare it with the same one"
            )


def _ask_recording(
    network: FaceNet | SpeechNet | ExpressionNet,
    spec: ModelSpec,
    recording: Recording,
    widths: dict[str, int],
) -> _Asked:
    step = recording.frame_step
    labels = tuple(each.label for each in recording.stretches)
    times, of_stretch = every_frame(recording.stretches, step or CLIP_STEP)
    said = _say(network, spec, recording, times, widths)
    sources: tuple[Source, ...] = ("fused", "face", "voice")
    filled: Said = {}
    for source in sources:
        known = step is not None or not np.isnan(said[source]).all()
        filled[source] = fill_frames(said[source]) if known else said[source]
    if step is not None:
        at = np.flatnonzero(of_stretch >= 0)
        post = {source: box_mean(filled[source]) for source in sources}
        for source in ("face", "voice"):  # by itself, each says nothing where it has nothing to go by
            for probs in (filled[source], post[source]):
                probs[~found_in(said[source])] = np.nan
        return _Asked(
            recording,
            tuple(labels[k] for k in of_stretch[at]),
            tuple(Span(time - step / 2, time + step / 2) for time in times[at].tolist()),
            {source: filled[source][at] for source in sources},
            {source: post[source][at] for source in sources},
        )
    return _Asked(
        recording,
        labels,
        tuple(each.span for each in recording.stretches),
        {source: _means(said[source], of_stretch, len(labels)) for source in sources},
        {source: _means(box_mean(filled[source]), of_stretch, len(labels)) for source in sources},
    )


@torch.no_grad()
def _say(
    network: FaceNet | SpeechNet | ExpressionNet,
    spec: ModelSpec,
    recording: Recording,
    times: Float64[np.ndarray, "frames"],
    widths: dict[str, int],
) -> Said:
    """Probabilities of each frame; NaN where there is nobody, or nothing to hear."""
    n_faces = {"face": 1, "speech": 0}.get(spec.modality)
    if n_faces is None:
        n_faces = spec.training["recipe"]["augmentation"]["n_faces"]
    n_columns = 0 if spec.modality == "face" else N_COLUMNS
    kept: dict[Source, list[np.ndarray]] = {"fused": [], "face": [], "voice": []}
    for start in range(0, len(times), HELD_ROWS):
        drawn = [Moment(recording, time) for time in times[start : start + HELD_ROWS].tolist()]
        inputs = look_at(drawn, n_faces, n_columns, recording.crops.shape[-1], widths)
        for source, probs in _opinions(network, spec, inputs).items():
            kept[source].append(probs)
    return {source: np.concatenate(rows) for source, rows in kept.items()}


def _opinions(
    network: FaceNet | SpeechNet | ExpressionNet, spec: ModelSpec, inputs: tuple[Tensor, ...]
) -> Said:
    faces, face_mask, mels, column_mask, _ = inputs
    seen, heard = face_mask.any(1).numpy(), column_mask.any(1).numpy()
    nothing = np.full((len(seen), len(spec.expressions)), np.nan, np.float32)

    def probs(logits: Tensor | None, there: Bool[np.ndarray, "rows"], temperature: float = 1.0) -> np.ndarray:
        if logits is None:
            return nothing
        said = torch.softmax(logits.double() / temperature, dim=-1).float().numpy()
        return np.where(there[:, None], said, np.float32(np.nan))

    if isinstance(network, ExpressionNet):
        said = network(*inputs)
        seen, heard = (there & (part is not None) for there, part in ((seen, said.face), (heard, said.voice)))
        return {
            "fused": probs(said.fused, seen | heard, spec.temperature),
            "face": probs(said.face, seen),
            "voice": probs(said.voice, heard),
        }
    if isinstance(network, FaceNet):
        alone = probs(network(faces), seen, spec.temperature)
        return {"fused": alone, "face": alone, "voice": nothing}
    alone = probs(network(mels, column_mask), heard, spec.temperature)
    return {"fused": alone, "face": nothing, "voice": alone}


def _means(
    probs: Float32[np.ndarray, "frames 8"], of_stretch: np.ndarray, n_stretches: int
) -> Float32[np.ndarray, "stretches 8"]:
    """The mean over the frames of each stretch of which anything is known."""
    means = np.full((n_stretches, probs.shape[1]), np.nan, np.float32)
    known = found_in(probs)
    for k in range(n_stretches):
        rows = probs[known & (of_stretch == k)]
        if len(rows):
            means[k] = rows.mean(0)
    return means


def _gather(asked: list[_Asked], nothing: str) -> Predictions:
    sources: tuple[Source, ...] = ("fused", "face", "voice")

    def joined(kind: str) -> Said:
        return {source: np.concatenate([getattr(each, kind)[source] for each in asked]) for source in sources}

    raw, post = joined("raw"), joined("post")
    there = {source: found_in(raw[source]) for source in sources}
    if not (there["face"].any() and there["voice"].any()):
        raw, post = {"fused": raw["fused"]}, {"fused": post["fused"]}
    rows = [(each, k) for each in asked for k in range(len(each.labels))]
    corpora = sorted({each.recording.corpus for each in asked})
    return Predictions(
        corpus=" and ".join(corpora),
        names=tuple(each.recording.name for each, _ in rows),
        spans=tuple(each.spans[k] for each, k in rows),
        labels=tuple(each.labels[k] for each, k in rows),
        groups=tuple(each.recording.speaker for each, _ in rows),
        group_word="speakers",
        videos=tuple(each.recording.name for each, _ in rows),
        notes=tuple("" if found else nothing for found in there["fused"].tolist()),
        raw=raw,
        post=post,
        asked={source: there[source] for source in raw if source != "fused"},
        views=(View(name="all", averages_all=False),),
        remarks=(f"post-processing is the mean over {2 * DELTA + 1} frames of one recording",),
    )
