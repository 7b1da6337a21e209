"""Stills and clips in, training batches and held-out batches out.

Every batch is a function of the configuration and the step alone: the training loop seeds torch's global
generator before each step and all chance is drawn from there, so a resumed run draws the same batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from mien.datasets.augment import (
    FaceAugmentation,
    SpeechAugmentation,
    keep_past,
    mask_log_mel,
    vary_faces,
    vary_waveform,
)
from mien.datasets.corpus import labelled
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS, position
from mien.media import read_waveform
from mien.spans import COLUMNS_PER_SECOND, HOP_SAMPLES
from mien.speech import log_mel
from mien.windows import cut_clip, cut_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float, Float32, UInt8
    from torch import Tensor, nn

    from mien.datasets.corpus import Clip, Stills
    from mien.spans import Hook


class Batch(NamedTuple):
    """What a network is given, and what it should say."""

    inputs: tuple[Tensor, ...]
    targets: Float[Tensor, "B E"]
    names: tuple[str, ...]
    """What each row was made of, for messages."""


class HeldOut(NamedTuple):
    """A batch that is scored: its rows belong to items, whose probabilities are the mean over their rows."""

    inputs: tuple[Tensor, ...]
    items: np.ndarray


class FaceViews(NamedTuple):
    """The same faces three times: varied weakly, weakly in another way, and strongly."""

    first: Float[Tensor, "U 1 h w"]
    second: Float[Tensor, "U 1 h w"]
    strong: Float[Tensor, "U 1 h w"]


@runtime_checkable
class Batches(Protocol):
    """Where a training run takes its data from, whichever these are."""

    n_train: int
    """Items that an epoch goes through."""
    held_labels: tuple[str, ...]
    """Of the items of `choose`."""
    held_targets: Float32[np.ndarray, "items E"]

    @property
    def crop_px(self) -> int | None:
        """Side of the face crops; None without faces."""

    @property
    def mel_range(self) -> tuple[float, float] | None:
        """Mean and deviation of the log-mel columns of `train`; None without sound."""

    def draw(self, batch_size: int) -> Batch:
        """A batch of varied training items; chance is taken from torch's global generator."""
        ...

    def held_out(self) -> Iterator[HeldOut]:
        """The items of `choose`, as they are."""
        ...


class FaceBatches:
    """Batches of grey faces; drawn from `train`, scored on `choose`."""

    def __init__(self, stills: Stills, augmentation: FaceAugmentation, size_px: int, balance: float) -> None:
        train, choose = stills.part("train"), stills.part("choose")
        self.augmentation, self.size_px = augmentation, size_px
        self.names = train.names
        self.crop_px, self.mel_range = train.images.shape[1], None
        self.images = torch.from_numpy(train.images).unsqueeze(1)
        self.targets = torch.from_numpy(train.targets)
        self.labels, self.balance = train.labels, balance
        self.weights = draw_weights(train.labels, balance)
        self.held_images = torch.from_numpy(choose.images).unsqueeze(1)
        self.held_targets = choose.targets
        self.held_labels, self.held_names = choose.labels, choose.names
        self.n_train = len(train.labels)
        self.unlabelled: UInt8[np.ndarray, "faces height width"] = train.images[:0]
        """Faces that `draw_views` draws from; put some here, mapped ones as well."""

    def draw(self, batch_size: int) -> Batch:
        """A batch of varied training faces."""
        rows = torch.multinomial(self.weights, batch_size, replacement=True)
        faces = vary_faces(self.images[rows].float() / 255, self.size_px, self.augmentation)
        return Batch((faces,), self.targets[rows], tuple(self.names[row] for row in rows.tolist()))

    def draw_views(self, n_faces: int, weak: FaceAugmentation, strong: FaceAugmentation) -> FaceViews:
        """Three views of each of some faces without labels.

        Raises:
            DatasetError: There are none.
        """
        if not len(self.unlabelled):
            raise DatasetError("there are no faces without labels; set semi.n_faces to 0 to do without")
        rows = torch.randint(len(self.unlabelled), (n_faces,))
        faces = torch.from_numpy(self.unlabelled[rows.numpy()]).unsqueeze(1).float() / 255
        return FaceViews(*(vary_faces(faces, self.size_px, each) for each in (weak, weak, strong)))

    def learn_held_out(self) -> None:
        """The faces of `choose` join the training faces; what is scored on them then says nothing."""
        self.images = torch.cat([self.images, self.held_images])
        self.targets = torch.cat([self.targets, torch.from_numpy(self.held_targets)])
        self.labels += self.held_labels
        self.names += self.held_names
        self.weights = draw_weights(self.labels, self.balance)
        self.n_train = len(self.labels)

    def learn_from(
        self,
        teachers: Sequence[nn.Module],
        share: float,
        unlabelled: UInt8[np.ndarray, "faces size size"],
        hook: Hook,
    ) -> None:
        """What trained networks say of unvaried faces becomes a target.

        Args:
            teachers: The mean of their probabilities counts.
            share: Of every training face's target that their word replaces.
            unlabelled: Faces that join the training faces, with their word as the target.
            hook: Called with what is done, how far, and how much there is.
        """
        self.images = torch.cat([self.images, torch.from_numpy(unlabelled).unsqueeze(1)])
        said = ask(teachers, self.images, hook)
        n_labelled = len(self.targets)
        softened = torch.lerp(self.targets, said[:n_labelled], share)
        self.targets = torch.cat([softened, said[n_labelled:]])
        self.labels += tuple(EXPRESSIONS[k] for k in said[n_labelled:].argmax(1))
        self.weights = draw_weights(self.labels, self.balance)
        self.names += tuple(f"unlabelled {row}" for row in range(len(unlabelled)))
        self.n_train = len(self.labels)

    def held_out(self, batch_size: int = 256) -> Iterator[HeldOut]:
        """The faces of `choose`, as they are."""
        for start in range(0, len(self.held_labels), batch_size):
            faces = self.held_images[start : start + batch_size].float() / 255
            yield HeldOut((faces,), np.arange(start, start + len(faces)))


class SpeechBatches:
    """Batches of log-mel windows: short ones drawn from `train`, whole clips of `choose` scored."""

    def __init__(
        self,
        clips: Sequence[Clip],
        augmentation: SpeechAugmentation,
        balance: float,
        hook: Hook,
    ) -> None:
        train, choose = labelled(clips, "train"), labelled(clips, "choose")
        self.augmentation = augmentation
        self.waveforms, self.names = [], tuple(clip.path.name for clip, _ in train)
        for done, (clip, _) in enumerate(train):
            self.waveforms.append(listen(clip))
            hook("reading speech", done + 1, len(train))
        self.labels = tuple(label for _, label in train)
        self.targets = torch.from_numpy(one_hot(self.labels))
        self.weights = draw_weights(self.labels, balance)
        self.held_mels = [log_mel(listen(clip)) for clip, _ in choose]
        self.held_labels = tuple(label for _, label in choose)
        self.held_targets = one_hot(self.held_labels)
        columns = np.concatenate([log_mel(waveform) for waveform in self.waveforms], axis=1)
        self.crop_px, self.mel_range = None, (float(columns.mean()), float(columns.std()))
        self.n_train = len(train)

    def draw(self, batch_size: int) -> Batch:
        """A batch of windows from varied training clips."""
        rows = torch.multinomial(self.weights, batch_size, replacement=True)
        windows, masks = [], []
        for row in rows.tolist():
            mel = log_mel(vary_waveform(self.waveforms[row], self.augmentation))
            n_columns = round(self.augmentation.crop * COLUMNS_PER_SECOND)
            spare = mel.shape[1] - n_columns
            slack = min(n_columns // 8, mel.shape[1] // 2)  # of the shortest clip, some sound stays inside
            low, high = min(spare, 0) - slack, max(spare, 0) + slack
            window, mask = cut_window(mel, int(torch.randint(low, high + 1, ())), n_columns)
            window, mask = keep_past(window, mask, self.augmentation.past)
            windows.append(window)
            masks.append(mask)
        mels, column_mask = torch.from_numpy(np.stack(windows)), torch.from_numpy(np.stack(masks))
        inputs = mask_log_mel(mels, self.mel_range[0], self.augmentation), column_mask
        return Batch(inputs, self.targets[rows], tuple(self.names[row] for row in rows.tolist()))

    def held_out(self) -> Iterator[HeldOut]:
        """The clips of `choose`, one batch of windows each."""
        for item, mel in enumerate(self.held_mels):
            windows, masks = cut_clip(mel)
            yield HeldOut((torch.from_numpy(windows), torch.from_numpy(masks)), np.full(len(windows), item))


def listen(clip: Clip) -> Float32[np.ndarray, "samples"]:
    """A clip's sound.

    Raises:
        DatasetError: It has none, or too little for one mel column at the highest speed.
    """
    waveform = read_waveform(clip.path, clip.start, clip.end)
    if waveform.size < 2 * HOP_SAMPLES:
        raise DatasetError(f"{clip.path} has no sound from {clip.start:g} s on; train speech without it")
    return waveform


@torch.no_grad()
def ask(
    teachers: Sequence[nn.Module], images: UInt8[Tensor, "faces 1 H W"], hook: Hook
) -> Float[Tensor, "faces E"]:
    """The mean of the probabilities that networks give faces as they are."""
    said = []
    for start in range(0, len(images), 256):
        faces = images[start : start + 256].float() / 255
        said.append(torch.stack([torch.softmax(each(faces), dim=-1) for each in teachers]).mean(0))
        hook("asking the teachers", min(start + 256, len(images)), len(images))
    return torch.cat(said)


def one_hot(labels: Sequence[str]) -> Float32[np.ndarray, "rows E"]:
    """A row for each label: 1 in its column of `EXPRESSIONS`, else 0."""
    return np.eye(len(EXPRESSIONS), dtype=np.float32)[[position(label) for label in labels]]


def draw_weights(labels: Sequence[str], balance: float) -> Float[Tensor, "rows"]:
    """Chance of each row: its label's frequency to the power of -`balance`."""
    counts = np.array([labels.count(name) for name in EXPRESSIONS])
    rarity = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    return torch.from_numpy(rarity[[position(label) for label in labels]])
