"""Functions that return one complete, frozen training configuration each, and overrides by name.

A configuration says everything that decides the weights but the data folder; it travels in the checkpoint.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.datasets.pairs import PairAugmentation
from mien.errors import InputError
from mien.losses import CoarseFineConfig
from mien.models.attention import AttentionConfig, GCSAConfig, MECSConfig
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNetConfig
from mien.models.speech import SpeechNetConfig
from mien.plain import read_json
from mien.semi import SemiConfig
from mien.spec import fits
from mien.windows import N_FACES, WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides a training run, but its data."""

    modality: Literal["face", "speech", "both"]
    network: FaceNetConfig | SpeechNetConfig | ExpressionNetConfig
    augmentation: FaceAugmentation | SpeechAugmentation | PairAugmentation
    epochs: int
    batch_size: int
    learning_rate: float
    """Highest value of the schedule."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """SGD has momentum 0.9."""
    weight_decay: float = 0.05
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises; one cycle then falls along a cosine to 0."""
    rule_learning_rate: float = 1e-3
    """Highest value for learned weights of the proportion rule, which decay toward nothing (§6.1)."""
    coarse_fine: CoarseFineConfig = field(default_factory=lambda: CoarseFineConfig(scale=0.0))
    """The loss of both modalities together (Eq. 5); at scale 0, the likelihood of the fused probabilities."""
    auxiliary: float = 0.0
    """Weight of the likelihood of each modality's own probabilities beside the fused ones'."""
    clip: float = 5.0
    """Length to which a step's longer gradients are cut; 0 cuts none."""
    ema: float = 0.998
    """Decay per step of the running mean of the weights, which is what is evaluated and kept."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over the expressions."""
    mixup: float = 0.0
    """Parameter of the beta distribution from which pairs are mixed; 0 mixes none."""
    distil: float = 0.0
    """Share of a face's target that is what its teachers say of it unvaried, the mean of them."""
    unlabelled: bool = False
    """Faces without labels join the labelled ones; their whole target is what the teachers say."""
    per_class: int = 0
    """Stills, then frames of videos, of each expression that count as labelled (§6.3: 8,000); 0 takes all."""
    semi: SemiConfig = field(default_factory=SemiConfig)
    """How faces without labels teach beside the labelled ones, with no network to start from."""
    balance: float = 0.0
    """Power of 1 / frequency by which rare expressions, of speech those of each corpus, are drawn more often;
    0 draws as they come."""
    chosen_by: Literal["macro_f1", "loss"] = "macro_f1"
    """What the best epoch has: the highest macro-F1 on `choose`, or the lowest loss there, which is steadier
    where rare expressions have a few rows."""
    hold_out: bool = True
    """`choose` is held out of training. If not, its faces are trained on too, the last epoch is kept, and its
    calibration is that of `--from`: a last run, whose settings others have chosen."""
    heads_only: bool = False
    """Encoders stay those of `--from`, their batch statistics too; what comes after them learns."""
    n_parts: int = 1
    """Parts of a batch, each drawn and normalised by itself; several processes share them out."""
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    """Steps run through `torch.compile`: faster after a minute, other roundings; needs a C++ compiler."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "n_parts"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected a number above 0")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed is {self.seed}; expected 0 or more, below 2147483648")
        for name in ("per_class", "weight_decay", "clip", "mixup", "balance"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("ema", "warmup", "label_smoothing", "distil"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if self.batch_size % self.n_parts:
            raise InputError(
                f"batch_size is {self.batch_size}, n_parts {self.n_parts}; expected a multiple of the parts"
            )
        kinds = {
            "face": (FaceNetConfig, FaceAugmentation),
            "speech": (SpeechNetConfig, SpeechAugmentation),
            "both": (ExpressionNetConfig, PairAugmentation),
        }[self.modality]
        if not (isinstance(self.network, kinds[0]) and isinstance(self.augmentation, kinds[1])):
            raise InputError(f"modality is {self.modality!r}, but network or augmentation is another's")
        if self.modality != "both" and (self.auxiliary or self.coarse_fine.scale):
            raise InputError(
                "coarse_fine and auxiliary are settings of both networks at once; leave them out"
            )
        if self.modality == "both" and (self.mixup or self.label_smoothing or self.balance):
            raise InputError("mixup, label_smoothing and balance are settings of one network; leave them out")
        if self.modality != "face" and (
            self.distil or self.unlabelled or self.semi.n_faces or not self.hold_out
        ):
            raise InputError(
                "distil, unlabelled, semi and hold_out are settings of faces alone; leave them out"
            )
        if self.unlabelled and self.semi.n_faces:
            raise InputError("unlabelled and semi.n_faces are two uses of the same faces; set one of them")
        if self.semi.n_faces % self.n_parts:
            raise InputError(
                f"semi.n_faces is {self.semi.n_faces}, n_parts {self.n_parts}; expected a multiple of it"
            )


def _residual_gcsa() -> AttentionConfig:
    # Without the identity path the block slows training from scratch so much that short schedules stall
    # (docs/decisions/0010); every other switch is the paper's.
    return AttentionConfig(name="gcsa", gcsa=GCSAConfig(residual=True))


def train_face() -> TrainConfig:
    """The face net of the default model: RHCNN with residual GCSA on 48 px grey crops."""
    return TrainConfig(
        modality="face",
        network=FaceNetConfig(input_px=96, depths=(0, 4, 4), attention=_residual_gcsa()),
        augmentation=FaceAugmentation(),
        epochs=40,
        batch_size=64,
        learning_rate=1.5e-3,
        mixup=0.2,
        balance=0.15,
        chosen_by="loss",
        precision="bfloat16",
    )


def train_speech() -> TrainConfig:
    """The speech net of the default model: MCNN with residual GCSA on 3.2 s windows."""
    return TrainConfig(
        modality="speech",
        network=SpeechNetConfig(attention=_residual_gcsa()),
        augmentation=SpeechAugmentation(reverb=0.3),
        epochs=160,
        batch_size=32,
        learning_rate=1e-3,
        label_smoothing=0.1,
        mixup=0.4,
        balance=0.5,
        chosen_by="loss",
        precision="bfloat16",
    )


def train_tuned() -> TrainConfig:
    """Both networks at once, with settings that learn in a short time."""
    return TrainConfig(
        modality="both",
        network=ExpressionNetConfig(
            face=FaceNetConfig(input_px=48, stem_strides=(2, 1), attention=_residual_gcsa()),
            speech=SpeechNetConfig(attention=_residual_gcsa()),
        ),
        augmentation=PairAugmentation(drop_voice=0.1, drop_face=0.1),
        epochs=30,
        batch_size=32,
        learning_rate=1e-3,
        auxiliary=0.3,
        precision="bfloat16",
    )


def train_abstract() -> TrainConfig:
    """`tuned` with the attention that the paper's abstract names: GCSA for speech, MECS for faces."""
    mecs = MECSConfig(residual=True, post_bn=True)
    config = train_tuned()
    assert isinstance(config.network, ExpressionNetConfig)
    face = dataclasses.replace(config.network.face, attention=AttentionConfig(name="mecs", mecs=mecs))
    return dataclasses.replace(config, network=dataclasses.replace(config.network, face=face))


def train_paper() -> TrainConfig:
    """Both networks at once with the paper's own training settings (§6.1), where it names them."""
    return TrainConfig(
        modality="both",
        network=ExpressionNetConfig(learned=True),
        augmentation=PairAugmentation(n_faces=N_FACES, speech=SpeechAugmentation(crop=WINDOW)),
        epochs=300,
        batch_size=16,
        learning_rate=1e-4,
        optimiser="sgd",
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        clip=0.0,
        ema=0.0,
        coarse_fine=CoarseFineConfig(),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "face": train_face,
    "speech": train_speech,
    "tuned": train_tuned,
    "abstract": train_abstract,
    "paper": train_paper,
}


def override(config: Config, settings: Iterable[str]) -> Config:
    """The configuration with `a.b=value` settings applied; values are JSON or, failing that, text.

    Raises:
        InputError: A setting is not of that form, or names nothing; the nearest name is told.

    >>> override(train_face(), ["epochs=3", "network.attention.name=mecs"]).network.attention.name
    'mecs'
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting!r} has no '='; expected name=value")
        try:
            value = read_json(text)
        except ValueError:
            value = text
        config = _replace(config, path.split("."), value, path)
    return config


def _replace(config: Any, names: list[str], value: object, path: str) -> Any:
    known = [each.name for each in dataclasses.fields(config)] if dataclasses.is_dataclass(config) else []
    name = names[0]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"it has {', '.join(known) or 'no settings below it'}"
        if near:
            hint = f"did you mean {near[0]!r}?"
        raise InputError(f"--set {path}: there is no setting {name!r} in {type(config).__name__}; {hint}")
    old = getattr(config, name)
    if len(names) > 1:
        value = _replace(old, names[1:], value, path)
    else:
        kind = typing.get_type_hints(type(config))[name]
        if not fits(value, kind):
            choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
            wanted = " or ".join(map(repr, choices)) or f"a {type(old).__name__}, as {old!r} is"
            raise InputError(f"--set {path}: {value!r} is not {wanted}")
        if isinstance(value, list):
            value = tuple(value)
    try:
        return dataclasses.replace(config, **{name: value})
    except InputError as error:
        raise InputError(f"--set {path}: {error}") from None
