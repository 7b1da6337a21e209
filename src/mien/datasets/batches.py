"""Stills and clips in, training batches and held-out batches out.

Every batch is a function of the configuration and the step alone: the training loop seeds torch's global
generator before each step and all chance is drawn from there, so a resumed run draws the same batches.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from mien.datasets.augment import (
    FaceAugmentation,
    SpeechAugmentation,
    mask_log_mel,
    vary_faces,
)
from mien.datasets.corpus import labelled
from mien.datasets.utterances import Sounds, keep_past, log_mels, raise_quiet, vary_sound
from mien.errors import DatasetError
from mien.expressions import EXPRESSIONS, position
from mien.media import read_waveform
from mien.spans import COLUMNS_PER_SECOND, HOP_SAMPLES
from mien.speech import log_mel
from mien.windows import QUIETEST, cut_clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float, Float32, Float64, UInt8
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
    """Batches of grey faces; drawn from `train`, scored on `choose`; all of them lie on one device."""

    def __init__(
        self,
        stills: Stills,
        augmentation: FaceAugmentation,
        size_px: int,
        balance: float,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        train, choose = stills.part("train"), stills.part("choose")
        self.augmentation, self.size_px = augmentation, size_px
        self.names = train.names
        self.crop_px, self.mel_range = train.images.shape[1], None
        self.images = torch.from_numpy(train.images).unsqueeze(1).to(device)
        self.targets = torch.from_numpy(train.targets).to(device)
        self.labels, self.balance = train.labels, balance
        self.weights = draw_weights(train.labels, balance).to(device)
        self.held_images = torch.from_numpy(choose.images).unsqueeze(1).to(device)
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
        faces = torch.from_numpy(self.unlabelled[rows.numpy()]).unsqueeze(1).to(self.device).float() / 255
        return FaceViews(*(vary_faces(faces, self.size_px, each) for each in (weak, weak, strong)))

    def learn_held_out(self) -> None:
        """The faces of `choose` join the training faces; what is scored on them then says nothing."""
        self.images = torch.cat([self.images, self.held_images])
        self.targets = torch.cat([self.targets, torch.from_numpy(self.held_targets).to(self.device)])
        self.labels += self.held_labels
        self.names += self.held_names
        self.weights = draw_weights(self.labels, self.balance).to(self.device)
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
            teachers: The mean of their probabilities counts; on the device of the faces.
            share: Of every training face's target that their word replaces.
            unlabelled: Faces that join the training faces, with their word as the target.
            hook: Called with what is done, how far, and how much there is.
        """
        self.images = torch.cat([self.images, torch.from_numpy(unlabelled).unsqueeze(1).to(self.device)])
        said = ask(teachers, self.images, hook)
        n_labelled = len(self.targets)
        softened = torch.lerp(self.targets, said[:n_labelled], share)
        self.targets = torch.cat([softened, said[n_labelled:]])
        self.labels += tuple(EXPRESSIONS[k] for k in said[n_labelled:].argmax(1).tolist())
        self.weights = draw_weights(self.labels, self.balance).to(self.device)
        self.names += tuple(f"unlabelled {row}" for row in range(len(unlabelled)))
        self.n_train = len(self.labels)

    def held_out(self, batch_size: int = 256) -> Iterator[HeldOut]:
        """The faces of `choose`, as they are."""
        for start in range(0, len(self.held_labels), batch_size):
            faces = self.held_images[start : start + batch_size].float() / 255
            yield HeldOut((faces,), np.arange(start, start + len(faces)))


class SpeechBatches:
    """Batches of log-mel windows: short ones drawn from `train`, whole clips of `choose` scored.

    What is drawn lies on one device. Expressions are balanced within and between corpora.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        augmentation: SpeechAugmentation,
        balance: float,
        hook: Hook,
        device: torch.device | None = None,
    ) -> None:
        train, choose = labelled(clips, "train"), labelled(clips, "choose")
        self.augmentation = augmentation
        self.names = tuple(clip.path.name for clip, _ in train)
        waveforms = []
        for done, (clip, _) in enumerate(train):
            waveforms.append(listen(clip))
            hook("reading speech", done + 1, len(train))
        self.sounds = Sounds.of(waveforms, device)
        self.labels = tuple(label for _, label in train)
        self.targets = torch.from_numpy(one_hot(self.labels)).to(device)
        kinds = [f"{label} of {clip.speaker.partition('-')[0]}" for clip, label in train]
        self.weights = draw_weights(kinds, balance).to(device)
        held = [cut_clip(log_mel(listen(clip))) for clip, _ in choose]
        self.held_mels, self.held_masks = (
            torch.from_numpy(np.concatenate(each)).to(device) for each in zip(*held, strict=True)
        )
        self.held_items = np.repeat(np.arange(len(held)), [len(windows) for windows, _ in held])
        self.held_labels = tuple(label for _, label in choose)
        self.held_targets = one_hot(self.held_labels)
        columns = np.concatenate([log_mel(waveform) for waveform in waveforms], axis=1).clip(QUIETEST)
        self.crop_px, self.mel_range = None, (float(columns.mean()), float(columns.std()))
        self.n_train = len(train)

    def draw(self, batch_size: int) -> Batch:
        """A batch of windows from varied training clips."""
        rows = torch.multinomial(self.weights, batch_size, replacement=True)
        n_columns = round(self.augmentation.crop * COLUMNS_PER_SECOND)
        sound, inside, column_mask = self.sounds.cut(rows, n_columns, self.augmentation.speed)
        mels = log_mels(vary_sound(sound, inside, self.augmentation))
        column_mask = keep_past(column_mask, self.augmentation.past)
        mels = raise_quiet(mels, column_mask)
        inputs = mask_log_mel(mels, self.mel_range[0], self.augmentation), column_mask
        return Batch(inputs, self.targets[rows], tuple(self.names[row] for row in rows.tolist()))

    def held_out(self, batch_size: int = 32) -> Iterator[HeldOut]:
        """The clips of `choose`, as the windows that cover each."""
        for start in range(0, len(self.held_items), batch_size):
            rows = slice(start, start + batch_size)
            yield HeldOut((self.held_mels[rows], self.held_masks[rows]), self.held_items[rows])


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


def draw_weights(kinds: Sequence[str], balance: float) -> Float64[Tensor, "rows"]:
    """Chance of each row: the frequency of its kind, such as its label, to the power of -`balance`."""
    counts = Counter(kinds)
    return torch.tensor([counts[kind] ** -balance for kind in kinds], dtype=torch.float64)
