"""Prepared recordings in, windows of what is seen and heard around labelled moments out: batches of them.

Every batch is a function of the configuration and the step alone: chance comes from torch's global generator.

Prepared sound is a spectrogram already, so of `SpeechAugmentation` only `crop` and the masks are heeded:
speed, level, band and noise are changes of a waveform, which is no longer there. Features by an extractor of
one's own are given as they are: of the augmentation of such a part only `crop` is heeded.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mien.datasets.augment import FaceAugmentation, SpeechAugmentation, mask_log_mel, vary_faces
from mien.datasets.batches import Batch, HeldOut
from mien.datasets.corpus import SPLITS
from mien.datasets.moments import (
    Moment,
    drawable_times,
    look,
    scored_times,
    take_crops,
    take_features,
    targets_of,
    witnessed,
)
from mien.datasets.pool import PER_CLASS, cap_per_video
from mien.datasets.prepared import with_features
from mien.errors import DatasetError
from mien.models.speech import COLUMNS_PER_STEP
from mien.spans import COLUMNS_PER_SECOND
from mien.windows import N_COLUMNS, QUIETEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from jaxtyping import Float, Float64, Int64
    from torch import Tensor

    from mien.datasets.moments import Window
    from mien.datasets.pairs import PairAugmentation
    from mien.datasets.prepared import Recording
    from mien.spans import Hook

HELD_ROWS = 64
"""Windows in a batch that is scored."""

COLUMNS_AT_ONCE = 1 << 17
"""Mel columns of which mean and deviation are taken at a time: 32 MB."""


class Stretch(NamedTuple):
    """The moments of one labelled stretch at which there is something to see or hear."""

    recording: Recording
    label: str
    times: Float64[np.ndarray, "moments"]


class RecordingBatches:
    """Batches over prepared recordings; drawn from `train`, scored on `choose`.

    Inputs are one grey face for `FaceAugmentation`, sound for `SpeechAugmentation`, and those of
    `ExpressionNet` for `PairAugmentation`. A moment with nothing of what is asked for is never drawn.

    Args:
        recordings: Of both splits; others are left alone, as is what has no label.
        augmentation: How windows are varied, and by its kind what they hold.
        size_px: Side to which training faces are brought.
        balance: Power of 1 / frequency by which rare expressions are drawn more often.
        hook: Called with what is done, how far, and how much there is.
        per_class: Keeps one long video from standing for all, see `count_items`.
        features: How wide the features are that stand in for crops (`face`) or mel columns (`speech`), as
            `feature_widths` says of a network.

    Raises:
        DatasetError: A split has nothing to be drawn, faces or sound are nowhere, crops differ in size, or
            features are wanted that recordings lack.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        augmentation: FaceAugmentation | SpeechAugmentation | PairAugmentation,
        size_px: int,
        balance: float,
        hook: Hook,
        per_class: int = PER_CLASS,
        features: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        recordings = with_features(recordings, features)
        self.extractors: dict[str, dict[str, Any]] = {
            modality: recordings[0].extractors[modality] for modality in features
        }
        """What the extractors of these features told of themselves."""
        self.face = self.speech = None
        self.n_faces, self.drop_voice, self.drop_face = 1, 0.0, 0.0
        if isinstance(augmentation, FaceAugmentation):
            self.face = augmentation
        elif isinstance(augmentation, SpeechAugmentation):
            self.speech, self.n_faces = augmentation, 0
        else:
            self.face, self.speech, self.n_faces = (
                augmentation.face,
                augmentation.speech,
                augmentation.n_faces,
            )
            self.drop_voice, self.drop_face = augmentation.drop_voice, augmentation.drop_face
        self.n_columns = 0 if self.speech is None else round(self.speech.crop * COLUMNS_PER_SECOND)
        self.size_px = size_px
        self.crop_px = None if self.face is None else one_size(recordings)
        train, choose = ([each for each in recordings if each.split == split] for split in SPLITS[:2])
        self.stretches = [each for one in train for each in self._stretches_of(one)]
        self.held: list[tuple[Moment, int]] = []
        held: list[tuple[Recording, str]] = []
        self.held_columns = 0 if self.speech is None else N_COLUMNS
        for recording in choose:
            for label, times in scored_times(recording, heard=self.speech is not None):
                times = witnessed(recording, times, self.n_faces, self.held_columns)
                self.held += [(Moment(recording, time), len(held)) for time in times.tolist()]
                held += [(recording, label)] * (len(times) > 0)
        self._refuse_nothing({"train": len(self.stretches), "choose": len(held)})
        self.held_labels = tuple(label for _, label in held)
        self.held_targets = targets_of(held)
        self.labels = tuple(each.label for each in self.stretches)
        self.targets = torch.from_numpy(targets_of([(each.recording, each.label) for each in self.stretches]))
        items = count_items(self.stretches, per_class)
        self.n_train = max(round(float(items.sum())), 1)
        self.weights = torch.from_numpy(balanced(items, self.labels, balance))
        self.mel_range = None
        if self.speech is not None:
            self.mel_range = measure_columns(self.stretches, hook, steps="speech" in features)

    def draw(self, batch_size: int) -> Batch:
        """A batch of varied windows around moments that `draw_moments` draws."""
        rows, drawn = self.draw_moments(batch_size)
        faces, face_mask, mels, column_mask, places = self._look(drawn, self.n_columns)
        if self.face is not None and "face" not in self.extractors:
            faces = vary_together(faces, self.size_px, self.face)
        if self.speech is not None and self.mel_range is not None and "speech" not in self.extractors:
            mels = mask_log_mel(mels, self.mel_range[0], self.speech)
        if self.drop_voice or self.drop_face:
            seen, heard, chance = face_mask.any(1), column_mask.any(1), torch.rand(batch_size)
            deaf, blind = (chance < self.drop_voice) & seen, (chance >= 1 - self.drop_face) & heard
            face_mask, column_mask = face_mask & ~blind[:, None], column_mask & ~deaf[:, None]
        inputs = self._chosen((faces, face_mask, mels, column_mask, places))
        return Batch(inputs, self.targets[rows], tuple(map(str, drawn)))

    def draw_moments(self, n: int) -> tuple[Int64[Tensor, "n"], list[Moment]]:
        """Stretches drawn by weight, and a time of each, all of `drawable_times` equally likely."""
        rows = torch.multinomial(self.weights, n, replacement=True)
        drawn = []
        for row, share in zip(rows.tolist(), torch.rand(n, dtype=torch.float64).tolist(), strict=True):
            recording, _, times = self.stretches[row]
            drawn.append(Moment(recording, float(times[int(share * len(times))])))
        return rows, drawn

    def held_out(self) -> Iterator[HeldOut]:
        """The items of `choose` as they are, see `scored_times`."""
        for start in range(0, len(self.held), HELD_ROWS):
            looked_at, items = zip(*self.held[start : start + HELD_ROWS], strict=True)
            yield HeldOut(self._chosen(self._look(looked_at, self.held_columns)), np.array(items))

    def _stretches_of(self, recording: Recording) -> Iterator[Stretch]:
        """The stretches of a recording that have a moment to be drawn."""
        there = drawable_times(recording, self.n_columns)
        for stretch, times in zip(recording.stretches, there, strict=True):
            if len(times := witnessed(recording, times, self.n_faces, self.n_columns)):
                yield Stretch(recording, stretch.label, times)

    def _look(self, drawn: Sequence[Moment], n_columns: int) -> tuple[Tensor, ...]:
        return look_at(drawn, self.n_faces, n_columns, self.crop_px or 0, self.extractors)

    def _chosen(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the network of this modality is given of it."""
        if self.speech is None:
            return inputs[:1]
        return inputs[2:4] if self.face is None else inputs

    def _refuse_nothing(self, counts: dict[str, int]) -> None:
        asked = "face" if self.speech is None else "sound" if self.face is None else "face or sound"
        for split, n in counts.items():
            if not n:
                raise DatasetError(
                    f"no labelled moment of split {split!r} has a {asked}; prepare some that do"
                )


def look_at(
    drawn: Sequence[Moment], n_faces: int, n_columns: int, crop_px: int, featured: Collection[str]
) -> tuple[Tensor, ...]:
    """What `ExpressionNet` is given of some moments, faces in 0..1.

    Args:
        drawn: The moments.
        n_faces: Faces in a window.
        n_columns: Mel columns that a window is long.
        crop_px: Side of the crops.
        featured: `face` and `speech`, where features stand in for crops or mel columns.
    """
    windows = [look(each, time, n_faces, n_columns, steps="speech" in featured) for each, time in drawn]
    faces = []
    for (recording, _), window in zip(drawn, windows, strict=True):
        if "face" not in featured:
            faces.append(take_crops(recording.crops, window.crop_rows, crop_px))
        else:
            assert recording.face_features is not None
            faces.append(take_features(recording.face_features, window.crop_rows))
    seen = torch.from_numpy(np.stack(faces))
    return seen if "face" in featured else seen.float() / 255, *stack(windows)


def stack(windows: Sequence[Window]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which faces are there, sound, which of its columns are there, and when faces are seen."""
    rows, mels, column_mask, seen_at = (
        torch.from_numpy(np.stack(each)) for each in zip(*windows, strict=True)
    )
    return rows >= 0, mels, column_mask, seen_at / COLUMNS_PER_STEP - 0.5


def vary_together(
    faces: Float[Tensor, "B K H W"], size_px: int, config: FaceAugmentation
) -> Float[Tensor, "B K size size"]:
    """Faces of one window varied all alike."""
    state, varied = torch.get_rng_state(), []
    for face in torch.split(faces, 1, dim=1):
        torch.set_rng_state(state)  # the same chance again, for every face of a window
        varied.append(vary_faces(face, size_px, config))
    return torch.cat(varied, dim=1)


def count_items(stretches: Sequence[Stretch], per_class: int) -> Float64[np.ndarray, "stretches"]:
    """How many items each stretch stands for: one, or, where frames were labelled, its frames.

    Of one expression, all stretches of a recording stand for `cap_per_video` frames at most.
    """
    frames = Counter[tuple[str, int]]()
    for each in stretches:
        if each.recording.frame_step is not None:
            frames[each.label, id(each.recording)] += len(each.times)
    n_videos = Counter(label for label, _ in frames)
    share = {key: min(1.0, cap_per_video(n_videos[key[0]], per_class) / n) for key, n in frames.items()}
    keys = [(each.label, id(each.recording)) for each in stretches]
    return np.array(
        [
            len(each.times) * share[key] if key in share else 1.0
            for key, each in zip(keys, stretches, strict=True)
        ]
    )


def balanced(
    items: Float64[np.ndarray, "stretches"], labels: Sequence[str], balance: float
) -> Float64[np.ndarray, "stretches"]:
    """Chance of each stretch: its items, times its label's items in all to the power of -`balance`."""
    totals = Counter[str]()
    for label, n in zip(labels, items.tolist(), strict=True):
        totals[label] += n
    return np.asarray(items * np.array([totals[label] ** -balance for label in labels]))


def measure_columns(stretches: Sequence[Stretch], hook: Hook, *, steps: bool = False) -> tuple[float, float]:
    """Mean and deviation of the mel columns, or steps, of all recordings that windows are drawn from.

    Raises:
        DatasetError: There is no sound.
    """
    drawn = list({id(each.recording): each.recording for each in stretches}.values())
    n = total = squares = 0.0
    for done, recording in enumerate(drawn, 1):
        heard = recording.speech_features if steps else recording.columns
        assert heard is not None
        for start in range(0, len(heard), COLUMNS_AT_ONCE):
            part = np.asarray(heard[start : start + COLUMNS_AT_ONCE], np.float64)
            if not steps:
                part = part.clip(QUIETEST)
            n, total, squares = n + part.size, total + part.sum(), squares + np.square(part).sum()
        hook("measuring sound", done, len(drawn))
    if not n:
        raise DatasetError("no labelled recording of split 'train' has sound; train the face alone")
    mean = total / n
    return float(mean), float(np.sqrt(max(squares / n - mean**2, 0.0)))


def one_size(recordings: Sequence[Recording]) -> int:
    """Side of the crops in pixels.

    Raises:
        DatasetError: There are none, or of more than one size.
    """
    sizes = {each.crops.shape[1]: each for each in recordings if len(each.crops)}
    if not sizes:
        raise DatasetError("no recording has a face; train the speech alone, or prepare faces beside these")
    if len(sizes) != 1:
        told = " and ".join(f"{size} px in {each.corpus} {each.name}" for size, each in sorted(sizes.items()))
        raise DatasetError(f"crops are {told}; expected one size; prepare all with the same one")
    return int(next(iter(sizes)))
