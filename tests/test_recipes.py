"""Recipes: complete, frozen, fit for a checkpoint; settings are found by name and held to their type."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from mien.datasets.augment import FaceAugmentation, SpeechAugmentation
from mien.errors import InputError
from mien.models.checkpoint import read_config
from mien.models.face import FaceNetConfig
from mien.models.network import ExpressionNetConfig
from mien.models.speech import SpeechNetConfig
from mien.recipes import RECIPES, TrainConfig, override, train_face, train_speech

recipes = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@recipes
def test_a_recipe_is_frozen_and_always_the_same(recipe: Callable[[], TrainConfig]) -> None:
    config = recipe()
    assert config == recipe()
    with pytest.raises(FrozenInstanceError):
        config.epochs = 1  # type: ignore[misc]


@recipes
def test_a_recipe_s_network_travels_as_json(recipe: Callable[[], TrainConfig]) -> None:
    network = recipe().network
    assert read_config(type(network), json.loads(json.dumps(asdict(network)))) == network


def test_names_say_the_modality() -> None:
    modalities = {name: recipe().modality for name, recipe in RECIPES.items()}
    assert modalities == {
        "face": "face",
        "speech": "speech",
        "tuned": "both",
        "abstract": "both",
        "paper": "both",
    }


def test_the_abstract_s_faces_have_mecs_and_its_speech_gcsa() -> None:
    network = RECIPES["abstract"]().network
    assert isinstance(network, ExpressionNetConfig)
    assert (network.face.attention.name, network.speech.attention.name) == ("mecs", "gcsa")
    assert network.face.attention.mecs.residual


@pytest.mark.parametrize(
    "setting",
    [
        "ema=2",
        "warmup=-0.1",
        "weight_decay=-1",
        "clip=-1",
        "mixup=-1",
        "distil=1.5",
        "seed=-1",
        "seed=99999999999999999999",
        "augmentation.scale=-2",
    ],
)
def test_numbers_that_no_run_can_heed_are_refused(setting: str) -> None:
    name = setting.split("=", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1]
    with pytest.raises(InputError, match=f"{name} is .*; expected 0"):
        override(train_face(), [setting])


def test_the_paper_s_settings_are_the_paper_s() -> None:
    config = RECIPES["paper"]()
    assert (config.optimiser, config.learning_rate, config.schedule) == ("sgd", 1e-4, "constant")
    assert (config.batch_size, config.epochs, config.weight_decay, config.ema) == (16, 300, 0.0, 0.0)
    assert config.rule_learning_rate == 1e-3
    assert config.clip == 0, "the paper says nothing of it"
    assert isinstance(config.network, ExpressionNetConfig)
    assert config.network.learned
    assert not config.network.face.attention.gcsa.residual
    assert config.coarse_fine.scale == 1.0


def test_settings_reach_any_depth_and_leave_the_rest() -> None:
    old = train_face()
    new = override(
        old,
        [
            "epochs=3",
            "learning_rate=1",
            "network.attention.gcsa.kernel=3",
            "network.attention.name=none",
            "network.stem_strides=[1, 2]",
            "augmentation.blur=0.25",
            "precision=float32",
            "epochs=4",
        ],
    )
    assert isinstance(new.network, FaceNetConfig)
    assert isinstance(old.network, FaceNetConfig)
    assert (new.epochs, new.learning_rate, new.precision) == (4, 1, "float32")
    assert new.network.attention.gcsa.kernel == 3
    assert new.network.attention.name == "none"
    assert new.network.stem_strides == (1, 2)
    assert isinstance(old.augmentation, FaceAugmentation)
    assert new.augmentation == replace(old.augmentation, blur=0.25)
    assert new.network.input_px == old.network.input_px
    assert new.network.attention.mecs == old.network.attention.mecs
    assert old == train_face()


def test_no_settings_change_nothing() -> None:
    assert override(train_speech(), []) == train_speech()


def test_switches_and_tuples() -> None:
    config = override(train_speech(), ["network.spectral=false", "augmentation.noise_db=[5, 20.5]"])
    assert isinstance(config.network, SpeechNetConfig)
    assert not config.network.spectral
    assert isinstance(config.augmentation, SpeechAugmentation)
    assert config.augmentation.noise_db == (5, 20.5)


def test_settings_that_a_run_would_not_heed_are_refused() -> None:
    for setting in ("coarse_fine.scale=1", "auxiliary=0.3"):
        for recipe in (train_face, train_speech):
            with pytest.raises(InputError, match="settings of both networks"):
                override(recipe(), [setting])
    for setting in ("mixup=0.2", "label_smoothing=0.1", "balance=0.5"):
        with pytest.raises(InputError, match="settings of one network"):
            override(RECIPES["tuned"](), [setting])


def test_only_faces_have_teachers() -> None:
    for setting in ("distil=0.5", "unlabelled=true"):
        with pytest.raises(InputError, match="settings of faces alone"):
            override(train_speech(), [setting])


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("epochs", "'epochs' has no '='; expected name=value"),
        ("epoch=3", "no setting 'epoch' in TrainConfig; did you mean 'epochs'"),
        ("network.atention.name=none", "no setting 'atention' in FaceNetConfig; did you mean 'attention'"),
        ("network.attention.gcsa.residul=true", "did you mean 'residual'"),
        ("zzz=3", "no setting 'zzz' in TrainConfig; it has modality, network,"),
        ("epochs.more=3", "no setting 'more' in int; it has no settings below it"),
        ("=3", "no setting ''"),
        ("epochs=many", "'many' is not a int, as 40 is"),
        ("epochs=3.5", "3.5 is not a int"),
        ("epochs=true", "True is not a int"),
        ("learning_rate=true", "True is not a float"),
        ('learning_rate="1"', "'1' is not a float"),
        ("network.attention.gcsa.residual=1", "1 is not a bool"),
        ("network.attention.name=gcsb", "'gcsb' is not 'none' or 'gcsa' or 'mecs' or 'convctl'"),
        ("precision=float16", "'float16' is not 'float32' or 'bfloat16'"),
        ("network.stem_strides=[1]", r"\[1\] is not a tuple, as \(2, 2\) is"),
        ("network.stem_strides=[1, 2.5]", "is not a tuple"),
        ("network.stem_strides=[0, 1]", r"stem_strides are \(0, 1\); expected twice 1 or 2"),
        ("network.input_px=0", "input_px is 0; expected 8 to 512"),
        ("network=none", "'none' is not a FaceNetConfig"),
        ("epochs=0", "epochs is 0; expected a number above 0"),
        ("batch_size=-1", "batch_size is -1"),
        ("learning_rate=NaN", "learning_rate is nan"),
        ("modality=speech", "modality is 'speech', but network or augmentation is another's"),
    ],
)
def test_settings_that_are_refused(setting: str, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        override(train_face(), [setting])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "settings", "word"),
    [
        ("speech", ["semi.n_faces=8"], "faces alone"),
        ("face", ["unlabelled=true", "semi.n_faces=8"], "two uses"),
        ("face", ["n_parts=2", "semi.n_faces=7"], "multiple"),
        ("face", ["per_class=-1"], "0 or more"),
    ],
)
def test_uses_of_faces_without_labels_that_make_no_sense_are_refused(
    recipe: str, settings: list[str], word: str
) -> None:
    with pytest.raises(InputError, match=word):
        override(RECIPES[recipe](), settings)
