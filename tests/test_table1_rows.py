"""The table as data: the paper's rows first, each one thing away from another, all drawn the same pairs."""

from dataclasses import replace
from itertools import combinations

import pytest

from mien.datasets.pairs import PairAugmentation
from mien.errors import InputError
from mien.expressions import QUADRANTS
from mien.losses import CoarseFineConfig
from mien.models.network import ExpressionNetConfig
from mien.recipes import TrainConfig
from mien.table1_rows import GROUPS, LENDERS, ROWS, TABLE, Budget, base, config_of, in_order, stage_of

BUDGET = Budget()
TRAINED = [row for row in TABLE if row.of is None]


def network_of(config: TrainConfig) -> ExpressionNetConfig:
    assert isinstance(config.network, ExpressionNetConfig)
    return config.network


def test_the_papers_rows_and_cells_come_first() -> None:
    assert [(row.group, row.paper) for row in TABLE[:7]] == [
        ("table 1", cell) for cell in (31.89, 35.53, 39.59, 42.62, 45.92, 46.51, 47.43)
    ]
    assert all(row.group != "table 1" and row.paper is None for row in TABLE[7:])


def test_names_are_unique_and_name_folders() -> None:
    assert len(ROWS) == len(TABLE)
    assert all(name == name.lower() and name.replace("-", "").isalnum() for name in ROWS)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_a_row_names_is_there(row) -> None:
    assert row.group in GROUPS
    assert row.against is None or row.against in ROWS
    for part in row.of or ():
        assert ROWS[part].of is None, "opinions come from runs"
        assert not ROWS[part].on_videos, "ratios are chosen on clips"
        assert not row.settings
        assert TABLE.index(ROWS[part]) < TABLE.index(row)
        assert GROUPS.index(ROWS[part].group) <= GROUPS.index(row.group)
        assert part in LENDERS


@pytest.mark.parametrize("row", TRAINED, ids=lambda row: row.name)
def test_a_row_is_a_complete_configuration_unlike_the_one_it_is_held_against(row) -> None:
    config = config_of(row, BUDGET, 3)
    assert config.seed == 3
    if row.against is not None:
        other = ROWS[row.against]
        differ = row.on_videos != other.on_videos or row.stage0 != other.stage0
        assert differ or config != config_of(other, BUDGET, 3)


@pytest.mark.parametrize("row", TRAINED, ids=lambda row: row.name)
def test_all_rows_are_drawn_the_same_pairs_in_the_same_steps(row) -> None:
    config, first = config_of(row, BUDGET, 0), base(BUDGET, 0)
    augmentation = config.augmentation
    if row.name == "no-specaugment":  # masks that nothing is under draw as much chance
        augmentation = replace(augmentation, speech=replace(augmentation.speech, mask=0.8))
    assert augmentation == first.augmentation
    for name in ("epochs", "batch_size", "learning_rate", "optimiser", "schedule", "precision", "auxiliary"):
        assert getattr(config, name) == getattr(first, name)


def test_the_table_s_rows_are_the_paper_s_to_the_letter() -> None:
    expected = {
        "v": ("face", "none", 0.0),
        "v-gcsa": ("face", "gcsa", 0.0),
        "v-gcsa-cf": ("face", "gcsa", 1.0),
        "va": ("both", "none", 0.0),
        "va-gcsa": ("both", "gcsa", 0.0),
        "va-gcsa-cf": ("both", "gcsa", 1.0),
    }
    for name, (modalities, attention, scale) in expected.items():
        config = config_of(ROWS[name], BUDGET, 0)
        network = network_of(config)
        assert (network.modalities, network.face.attention.name) == (modalities, attention)
        assert network.speech.attention == network.face.attention
        assert not network.face.attention.gcsa.residual
        assert network.face.attention.gcsa.order == "text"
        assert (network.alignment, network.learned, network.voice_weight) == ("none", False, 1.0)
        assert config.coarse_fine == CoarseFineConfig(scale=scale)


def test_shuffled_quadrants_are_as_large_and_join_nobody_that_was_joined() -> None:
    quadrants = config_of(ROWS["shuffled"], BUDGET, 0).coarse_fine.quadrants
    true = CoarseFineConfig().quadrants
    assert [len(each) for each in quadrants] == [len(each) for each in true]
    assert {name for each in quadrants for name in each} == {name for each in true for name in each}
    joined = [pair for each in quadrants for pair in combinations(each, 2)]
    assert all(QUADRANTS[a] != QUADRANTS[b] for a, b in joined)


def test_polarities_are_pleasant_and_unpleasant() -> None:
    pleasant, unpleasant, *rest = config_of(ROWS["polarity"], BUDGET, 0).coarse_fine.quadrants
    assert {QUADRANTS[name] for name in pleasant} == {1, 4}
    assert {QUADRANTS[name] for name in unpleasant} == {2, 3}
    assert len(pleasant) + len(unpleasant) == 7
    assert not any(rest)


def test_faces_are_first_trained_alone_as_the_whole_network_is_then() -> None:
    stages = {row.name: stage_of(row, config_of(row, BUDGET, 3)) for row in TABLE if row.stage0 is not None}
    assert list(stages) == ["stage0", "stage0-semi", "stage0-pool", "stage0-both"]
    for name, stage in stages.items():
        config = config_of(ROWS[name], BUDGET, 3)
        assert config == config_of(ROWS["va-gcsa"], BUDGET, 3)
        assert isinstance(config.augmentation, PairAugmentation)
        assert (stage.network, stage.augmentation) == (network_of(config).face, config.augmentation.face)
        for same in ("learning_rate", "optimiser", "epochs", "batch_size", "precision", "seed"):
            assert getattr(stage, same) == getattr(config, same)
        assert (stage.semi.n_faces > 0) == name.endswith(("semi", "both"))
        assert (stage.per_class == 8000) == name.endswith(("pool", "both"))
        assert bool(ROWS[name].needs) == (name != "stage0")


def test_groups_run_in_order_each_seed_through_all_rows_and_the_rest_once() -> None:
    plan = [(row.group, seed) for row, seed in in_order(None, (4, 5, 6))]
    runs = list(dict.fromkeys(plan))
    assert runs == [(group, seed) for group in GROUPS[:2] for seed in (4, 5, 6)] + [(GROUPS[2], 4)]
    assert plan == sorted(plan, key=runs.index)
    assert {row.name for row, _ in in_order(None, (0,))} == set(ROWS)


def test_rows_come_with_those_they_take_opinions_from() -> None:
    plan = in_order(["separate-grid", "post"], (0, 1))
    assert [(row.name, seed) for row, seed in plan] == [
        ("v", 0),
        ("va-gcsa-cf", 0),
        ("post", 0),
        ("v", 1),
        ("va-gcsa-cf", 1),
        ("post", 1),
        ("a", 0),
        ("separate-grid", 0),
        ("a", 1),
        ("separate-grid", 1),
    ]


def test_an_unknown_row_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"no row 'va-gsca'.*did you mean 'va-gcsa'"):
        in_order(["va-gsca"], (0,))


@pytest.mark.parametrize("settings", [{"steps": 2, "epochs": 3}, {"epochs": 0}])
def test_a_budget_without_a_step_in_an_epoch_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match="a step in each"):
        Budget(**settings)
