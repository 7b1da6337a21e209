"""The rows of the paper's Table 1, and the controls that it lacks, as data.

A row is a training run with settings of its own, or takes the opinions of voice and face from the runs of
other rows and costs none. Sections (§) are those of the paper.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mien.datasets.pairs import PairAugmentation
from mien.datasets.pool import PER_CLASS
from mien.errors import InputError
from mien.models.attention import AttentionConfig
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNetConfig
from mien.models.speech import SpeechNetConfig
from mien.recipes import TrainConfig, override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.opinions import Rule

DELTAS = (0, 5, 15, 25, 50, 100, 200, 500)
"""Half-widths of the sweep, frames at 30 a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What each training run may use, whichever its row."""

    steps: int = 200
    batch_size: int = 32
    epochs: int = 3
    """Parts of equal length, after each of which `choose` is scored; the best is kept."""
    crop: float = 1.6
    """Seconds of sound in a training window."""

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= self.steps:
            raise InputError(
                f"the budget has {self.steps} steps in {self.epochs} epochs; expected a step in each"
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    group: str
    """One of `GROUPS`."""
    name: str
    """Of its folder, and what it is called on the command line."""
    title: str
    settings: tuple[str, ...] = ()
    """Of its own training run, over those of `base`."""
    against: str | None = None
    """The row that it differs from in the one thing that it is to show."""
    paper: float | None = None
    """The paper's macro-F1 on Aff-Wild2, in percent."""
    of: tuple[str, str] | None = None
    """Rows whose runs give the opinions of voice and of face; such a row is not trained."""
    rule: Rule = "own"
    """How these are fused."""
    delta: int | None = None
    """Frames, 30 a second, over which probabilities are meant to either side, where that is all the row is
    about; None: it is told raw, and smoothed over the protocol's 50."""
    on_videos: bool = False
    """Trained on windows of videos, where other rows are trained on clips."""
    stage0: tuple[str, ...] | None = None
    """Settings of a run of faces alone that the row's own run starts from; None: it starts from nothing."""
    needs: str = ""
    """What some data lack, in words; where they do, the row is left out."""


def _both(setting: str) -> tuple[str, str]:
    return f"network.face.{setting}", f"network.speech.{setting}"


def _quadrants(*names: str) -> tuple[str]:
    return (f"coarse_fine.quadrants={json.dumps([each.split() for each in names])}",)


V, A = ("network.modalities=face",), ("network.modalities=voice",)
GCSA, MECS, CONTROL = (_both(f"attention.name={name}") for name in ("gcsa", "mecs", "convctl"))
ABSTRACT = ("network.speech.attention.name=gcsa", "network.face.attention.name=mecs")
RESIDUAL, EQ3 = _both("attention.gcsa.residual=true"), _both("attention.gcsa.order=eq3")
NO_CHANNEL, NO_SHUFFLE, NO_SPATIAL = (
    _both(f"attention.gcsa.{part}=false") for part in ("channel", "shuffle", "spatial")
)
CF, HALF, DOUBLE = (("coarse_fine.scale=1",), ("coarse_fine.scale=0.5",), ("coarse_fine.scale=2",))
CONFUSION, SOFT = (("coarse_fine.mode=confusion",), ("coarse_fine.mode=soft",))
SHUFFLED = _quadrants("Anger Sadness", "Happiness Disgust Neutral", "Fear", "Surprise")
POLARITY = _quadrants("Happiness Surprise Neutral", "Anger Disgust Fear Sadness", "", "")
ALIGN, DILATED = ("network.alignment=align",), ("network.alignment=align_dilated",)
TRAINED = ("network.learned=true",)
UNMASKED = ("augmentation.speech.mask=0",)
NO_LOCAL, NO_TEMPORAL, NO_SPECTRAL = (
    (f"network.speech.{branch}=false",) for branch in ("local", "temporal", "spectral")
)
RESNET = _both("backbone=resnet18")
R2PLUS1D = ("network.face.stem_strides=[2,2]", "network.face.backbone=r2plus1d18")
SEMI, POOL = ("semi.n_faces=32", "ema=0.999"), (f"per_class={PER_CLASS}",)
BOTH = POOL + SEMI
FACES = "faces without labels, as `faces_unlabelled` beside the pairs or as a prepared corpus"
CORPORA = "prepared corpora to draw the pool from, with --aff-wild2"
MORE = "prepared corpora with more faces than the pool takes, with --aff-wild2"
T, C, R = GROUPS = ("table 1", "controls", "the rest")
FULL, PLAIN, APART = ("va-gcsa-cf", "va-gcsa-cf"), ("a", "v"), ("a-gcsa", "v-gcsa")

TABLE = (
    Row(T, "v", "V: base", V, paper=31.89),
    Row(T, "v-gcsa", "V: base + GCSA", V + GCSA, "v", paper=35.53),
    Row(T, "v-gcsa-cf", "V: base + GCSA + CF", V + GCSA + CF, "v-gcsa", paper=39.59),
    Row(T, "va", "V+A: base", (), "v", paper=42.62),
    Row(T, "va-gcsa", "V+A: base + GCSA", GCSA, "va", paper=45.92),
    Row(T, "va-gcsa-cf", "V+A: base + GCSA + CF", GCSA + CF, "va-gcsa", paper=46.51),
    Row(T, "post", "the same, post-processed", of=FULL, delta=50, paper=47.43),
    # -----
    Row(C, "a", "A: base", A, "v"),
    Row(C, "a-gcsa", "A: base + GCSA", A + GCSA, "a"),
    Row(C, "v-cf", "V: base + CF, no GCSA", V + CF, "v"),
    Row(C, "va-cf", "V+A: base + CF, no GCSA", CF, "va"),
    Row(C, "v-control", "V: plain convolutions, as many parameters", V + CONTROL, "v-gcsa"),
    Row(C, "va-control", "V+A: plain convolutions, as many parameters", CONTROL, "va-gcsa"),
    Row(C, "v-residual", "V: GCSA with an identity path", V + GCSA + RESIDUAL, "v-gcsa"),
    Row(C, "va-residual", "V+A: GCSA with an identity path", GCSA + RESIDUAL, "va-gcsa"),
    Row(C, "abstract", "V+A: GCSA for speech, MECS for faces", ABSTRACT, "va-gcsa"),
    Row(C, "shuffled", "V+A: CF with shuffled quadrants", GCSA + CF + SHUFFLED, "va-gcsa-cf"),
    Row(C, "polarity", "V+A: CF with two polarities", GCSA + CF + POLARITY, "va-gcsa-cf"),
    Row(C, "separate", "V and A trained apart, 1:1", against="va", of=PLAIN, rule="1:1"),
    Row(C, "separate-grid", "V and A trained apart, grid", against="separate", of=PLAIN, rule="grid"),
    Row(C, "separate-gcsa", "V and A + GCSA trained apart, 1:1", against="va-gcsa", of=APART, rule="1:1"),
    Row(C, "fusion-equal", "fusion 1:1", against="va-gcsa-cf", of=FULL, rule="1:1"),
    Row(C, "fusion-learned", "fusion learned", against="va-gcsa-cf", of=FULL, rule="learned"),
    Row(C, "fusion-nearest", "fusion learned, nearest ratio", against="va-gcsa-cf", of=FULL, rule="nearest"),
    Row(C, "fusion-grid", "fusion by grid of the 19 ratios", against="va-gcsa-cf", of=FULL, rule="grid"),
    *(Row(C, f"delta-{n}", f"post-processed, δ = {n}", against="post", of=FULL, delta=n) for n in DELTAS),
    # -----
    Row(R, "mecs", "V+A: MECS for both", MECS, "va-gcsa"),
    Row(R, "eq3", "V: GCSA in the order of Eq. 3", V + GCSA + EQ3, "v-gcsa"),
    Row(R, "no-channel", "V: GCSA without its channel gate", V + GCSA + NO_CHANNEL, "v-gcsa"),
    Row(R, "no-shuffle", "V: GCSA without its shuffle", V + GCSA + NO_SHUFFLE, "v-gcsa"),
    Row(R, "no-spatial", "V: GCSA without its spatial gate", V + GCSA + NO_SPATIAL, "v-gcsa"),
    Row(R, "videos", "V+A: base + GCSA, trained on videos", GCSA, "va-gcsa", on_videos=True),
    Row(R, "align", "… with key-frame alignment", GCSA + ALIGN, "videos", on_videos=True),
    Row(R, "align-dilated", "… and dilated fusion", GCSA + DILATED, "align", on_videos=True),
    Row(R, "rule-trained", "V+A: m:n trained with the networks", GCSA + CF + TRAINED, "va-gcsa-cf"),
    Row(R, "mu-confusion", "V+A: CF, μ from confusion", GCSA + CF + CONFUSION, "va-gcsa-cf"),
    Row(R, "mu-soft", "V+A: CF, μ weighed by all probabilities", GCSA + CF + SOFT, "va-gcsa-cf"),
    Row(R, "mu-half", "V+A: CF, half of μ", GCSA + HALF, "va-gcsa-cf"),
    Row(R, "mu-double", "V+A: CF, twice μ", GCSA + DOUBLE, "va-gcsa-cf"),
    Row(R, "no-specaugment", "A: base, no SpecAugment", A + UNMASKED, "a"),
    Row(R, "no-local", "A: MCNN without its local branch", A + NO_LOCAL, "a"),
    Row(R, "no-temporal", "A: MCNN without its temporal branch", A + NO_TEMPORAL, "a"),
    Row(R, "no-spectral", "A: MCNN without its spatial branch", A + NO_SPECTRAL, "a"),
    Row(R, "resnet-v", "V: ResNet-18 (§4.1)", V + RESNET, "v"),
    Row(R, "r2plus1d-v", "V: R(2+1)D-18 (§4.1)", V + R2PLUS1D, "v"),
    Row(R, "resnet-a", "A: ResNet-18 (§4.1)", A + RESNET, "a"),
    Row(R, "stage0", "V+A: base + GCSA, face net first trained alone", GCSA, "va-gcsa", stage0=()),
    Row(R, "stage0-semi", "… and on faces without labels", GCSA, "stage0", stage0=SEMI, needs=FACES),
    Row(R, "stage0-pool", "V+A: face net first on the pool", GCSA, "stage0", stage0=POOL, needs=CORPORA),
    Row(R, "stage0-both", "… and on faces without labels", GCSA, "stage0-pool", stage0=BOTH, needs=MORE),
)
"""All rows, in the order of the table."""

ROWS = {row.name: row for row in TABLE}
LENDERS = {part for row in TABLE for part in row.of or ()}
"""Rows whose opinions others take."""


def base(budget: Budget, seed: int) -> TrainConfig:
    """The paper's Base for both modalities: no attention, Eq. 4 at 1:1, and the likelihood as its loss.

    Its optimiser is ours: at the paper's learning rate nothing moves in so few steps.
    """
    plain = AttentionConfig(name="none")
    config = TrainConfig(
        modality="both",
        network=ExpressionNetConfig(
            face=FaceNetConfig(input_px=48, stem_strides=(2, 1), attention=plain),
            speech=SpeechNetConfig(attention=plain),
        ),
        augmentation=PairAugmentation(),
        epochs=budget.epochs,
        batch_size=budget.batch_size,
        learning_rate=1e-3,
        precision="bfloat16",
        seed=seed,
    )
    return override(config, [f"augmentation.speech.crop={budget.crop}"])


def config_of(row: Row, budget: Budget, seed: int) -> TrainConfig:
    """The complete configuration of a row's own run."""
    return override(base(budget, seed), row.settings)


def stage_of(row: Row, config: TrainConfig) -> TrainConfig:
    """The configuration of the run of faces alone before a row's own: as that one, for its face net."""
    assert isinstance(config.network, ExpressionNetConfig)
    assert isinstance(config.augmentation, PairAugmentation)
    face = replace(
        config, modality="face", network=config.network.face, augmentation=config.augmentation.face
    )
    return override(face, row.stage0 or ())


def in_order(names: Sequence[str] | None, seeds: Sequence[int]) -> list[tuple[Row, int]]:
    """Rows and seeds in the order in which they are run: a row after those that it takes opinions from.

    Args:
        names: Rows, beside which those run that they take opinions from; None: all.
        seeds: All for the table and its controls; the rest takes the first.

    Raises:
        InputError: No row has such a name; the nearest one is told.
    """
    wanted = set(ROWS if names is None else names)
    for name in sorted(wanted - ROWS.keys()):
        near = difflib.get_close_matches(name, ROWS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"rows are {', '.join(ROWS)}"
        raise InputError(f"there is no row {name!r} in table 1; {hint}")
    wanted |= {part for name in wanted for part in ROWS[name].of or ()}
    return [
        (row, seed)
        for group in GROUPS
        for seed in (seeds[:1] if group == R else seeds)
        for row in TABLE
        if row.group == group and row.name in wanted
    ]
