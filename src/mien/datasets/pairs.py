"""Faces and utterances of one expression in, windows of both out: label-paired clips.

As AV-MNIST pairs written and spoken digits, a few pictures of strangers stand for the face of whoever speaks.
Such pairs prove machinery. They flatter fusion: face and voice err independently of each other, which those
of one person do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.datasets.augment import FaceAugmentation, SpeechAugmentation, vary_faces
from mien.datasets.batches import Batch, HeldOut, SpeechBatches, listen, one_hot
from mien.datasets.corpus import labelled
from mien.errors import DatasetError, InputError
from mien.expressions import EXPRESSIONS
from mien.models.speech import COLUMNS_PER_STEP
from mien.speech import log_mel
from mien.windows import cut_clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Bool, Float, Int64, UInt8
    from torch import Tensor

    from mien.datasets.corpus import Clip, Stills
    from mien.spans import Hook


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAugmentation:
    """How pairs are made and varied."""

    n_faces: int = 3
    """Pictures that stand for one person's face in a window."""
    face: FaceAugmentation = field(default_factory=FaceAugmentation)
    speech: SpeechAugmentation = field(default_factory=SpeechAugmentation)
    drop_voice: float = 0.0
    """Chance that a window has no sound; never together with no face."""
    drop_face: float = 0.0
    """Chance that a window has no face."""

    def __post_init__(self) -> None:
        if self.n_faces < 1:
            raise InputError(f"n_faces is {self.n_faces}; expected 1 or more")
        if not (self.drop_voice >= 0 and self.drop_face >= 0 and self.drop_voice + self.drop_face <= 1):
            raise InputError(
                f"drop_voice and drop_face are {self.drop_voice} and {self.drop_face}; expected chances that "
                "sum to 1 at most"
            )


class HeldPairs:
    """The utterances of one split, each with faces that stay its own: to be scored, never trained on."""

    def __init__(self, stills: Stills, utterances: Sequence[Clip], split: str, n_faces: int) -> None:
        clips, faces = labelled(utterances, split), stills.part(split)
        self.labels = tuple(label for _, label in clips)
        self.speakers = tuple(clip.speaker for clip, _ in clips)
        self.mels = [log_mel(listen(clip)) for clip, _ in clips]
        self.faces = pair_faces(faces.images, faces.labels, self.labels, n_faces)

    def windows(self) -> Iterator[HeldOut]:
        """The utterances one after the other, each with its faces in all of its windows."""
        for item, (mel, faces) in enumerate(zip(self.mels, self.faces, strict=True)):
            mels, column_mask = (torch.from_numpy(each) for each in cut_clip(mel))
            n_windows, n_faces = len(mels), len(faces)
            seen = (torch.from_numpy(faces).float() / 255).expand(n_windows, -1, -1, -1)
            face_mask = torch.ones(n_windows, n_faces, dtype=torch.bool)
            inputs = (seen, face_mask, mels, column_mask, spread(column_mask, n_faces))
            yield HeldOut(inputs, np.full(n_windows, item))


class PairBatches:
    """Batches of label-paired windows; drawn from `train`, scored on fixed pairs of `choose`.

    Inputs are those of `ExpressionNet`: faces, which of them are there, log-mel windows, which of their
    columns are there, and when each face is seen.
    """

    def __init__(
        self,
        stills: Stills,
        utterances: Sequence[Clip],
        augmentation: PairAugmentation,
        size_px: int,
        hook: Hook,
    ) -> None:
        self.augmentation, self.size_px = augmentation, size_px
        self.speech = SpeechBatches(utterances, augmentation.speech, 0.0, hook)
        self.held = HeldPairs(stills, utterances, "choose", augmentation.n_faces)
        self.held_labels, self.held_targets = self.held.labels, one_hot(self.held.labels)
        train = stills.part("train")
        self.images = torch.from_numpy(train.images).unsqueeze(1)
        self.rows_of = rows_by_label(train.labels)
        refuse_unpaired(self.speech.labels, self.rows_of)
        self.n_train = self.speech.n_train
        self.crop_px, self.mel_range = train.images.shape[1], self.speech.mel_range

    def draw(self, batch_size: int) -> Batch:
        """A batch of varied pairs."""
        (mels, column_mask), targets, names = self.speech.draw(batch_size)
        n_faces = self.augmentation.n_faces
        labels = [EXPRESSIONS[k] for k in targets.argmax(1)]
        rows = torch.cat([self._draw_rows(label) for label in labels])
        images = vary_faces(self.images[rows].float() / 255, self.size_px, self.augmentation.face)
        faces = images.view(batch_size, n_faces, self.size_px, self.size_px)
        chance = torch.rand(batch_size)
        deaf = chance < self.augmentation.drop_voice
        blind = chance >= 1 - self.augmentation.drop_face
        face_mask = (~blind).unsqueeze(1).expand(batch_size, n_faces)
        inputs = (faces, face_mask, mels, column_mask & ~deaf.unsqueeze(1), spread(column_mask, n_faces))
        return Batch(inputs, targets, names)

    def held_out(self) -> Iterator[HeldOut]:
        """The utterances of `choose`, as they are."""
        return self.held.windows()

    def _draw_rows(self, label: str) -> Int64[Tensor, "faces"]:
        rows = self.rows_of[label]
        return rows[torch.randint(len(rows), (self.augmentation.n_faces,))]


def rows_by_label(labels: Sequence[str]) -> dict[str, Int64[Tensor, "rows"]]:
    """Which rows have each label that occurs."""
    return {
        name: torch.tensor([row for row, label in enumerate(labels) if label == name])
        for name in EXPRESSIONS
        if name in labels
    }


def refuse_unpaired(labels: Sequence[str], faces: dict[str, Int64[Tensor, "rows"]]) -> None:
    """Checks that there is a face for every utterance.

    Raises:
        DatasetError: An expression is spoken and never shown.
    """
    lacking = sorted(set(labels) - faces.keys())
    if lacking:
        raise DatasetError(f"there are utterances of {', '.join(lacking)} but no faces; leave the former out")


def pair_faces(
    images: UInt8[np.ndarray, "stills H W"],
    labels: Sequence[str],
    wanted: Sequence[str],
    n_faces: int,
    seed: int = 0,
) -> UInt8[np.ndarray, "clips faces H W"]:
    """Pictures for each wanted label, drawn by `seed`; none twice in one clip where they suffice.

    Raises:
        DatasetError: There is no picture of one.
    """
    generator = np.random.default_rng(seed)
    rows_of = rows_by_label(labels)
    refuse_unpaired(wanted, rows_of)
    chosen = [
        generator.choice(rows_of[label].numpy(), n_faces, replace=len(rows_of[label]) < n_faces)
        for label in wanted
    ]
    return np.asarray(images[np.stack(chosen)])


def spread(column_mask: Bool[Tensor, "B F"], n_faces: int) -> Float[Tensor, "B faces"]:
    """Times of faces spread evenly over what is heard of each window, in the speech encoder's steps."""
    columns = torch.arange(column_mask.shape[1])
    first = torch.where(column_mask, columns, column_mask.shape[1]).amin(1).float()
    last = torch.where(column_mask, columns, -1).amax(1).float() + 1
    share = (torch.arange(n_faces) + 0.5) / n_faces
    places = first[:, None] + (last - first)[:, None] * share
    return places / COLUMNS_PER_STEP - 0.5
