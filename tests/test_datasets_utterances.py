"""Varied windows of sound: cut as asked, the columns those of analysis, and settings do what they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mien.datasets.augment import SpeechAugmentation
from mien.datasets.utterances import EDGE, Sounds, keep_past, log_mels, raise_quiet, vary_sound
from mien.spans import HOP_SAMPLES, SAMPLE_RATE
from mien.speech import log_mel
from mien.windows import QUIETEST, raised

PLAIN = SpeechAugmentation(
    speed=0, gain_db=0, noise_db=(200, 200), band=0, frequency_mask=0, time_mask=0, mask=0
)
TONE = 0.1 * torch.sin(2 * np.pi * 440 * torch.arange(SAMPLE_RATE) / SAMPLE_RATE)[None]
EVERYWHERE = torch.ones_like(TONE, dtype=torch.bool)


def some_sounds(*seconds: float) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [(0.1 * generator.normal(size=round(SAMPLE_RATE * each))).astype(np.float32) for each in seconds]


def varied_tone(config: SpeechAugmentation, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return vary_sound(TONE, EVERYWHERE, config)


@settings(deadline=None, max_examples=50)
@given(st.integers(330, SAMPLE_RATE), st.integers(20, 120), st.sampled_from([0.0, 0.12]))
def test_some_of_a_recording_is_in_its_window_and_what_is_outside_is_silent(
    n_samples: int, n_columns: int, speed: float
) -> None:
    sounds = Sounds.of([np.ones(n_samples, np.float32), np.full(500, 7, np.float32)])
    sound, inside, column_mask = sounds.cut(torch.zeros(3, dtype=torch.long), n_columns, speed)
    assert sound.shape == inside.shape == (3, n_columns * HOP_SAMPLES + 2 * EDGE)
    assert column_mask.shape == (3, n_columns)
    assert column_mask.any(1).all()
    assert torch.equal(sound, inside.float())  # ones inside, nothing of the next recording, 0 outside
    steps = column_mask.int().diff(dim=1)
    assert ((steps == 1).sum(1) <= 1).all()
    assert ((steps == -1).sum(1) <= 1).all()


def test_windows_lie_anywhere_in_a_long_recording_and_a_short_one_anywhere_in_them() -> None:
    sounds = Sounds.of(some_sounds(4.0, 1.0))
    torch.manual_seed(0)
    _, _, long = sounds.cut(torch.zeros(300, dtype=torch.long), 240, 0.0)
    _, _, short = sounds.cut(torch.ones(300, dtype=torch.long), 240, 0.0)
    assert long.float().mean() > 0.9
    assert long.sum(1).min() >= 240 - 30
    assert not long[:, 0].all()
    assert not long[:, -1].all()
    assert short.sum(1).min() >= 99 - 30  # less the eighth of a window that may be cut off
    assert {0, 239} <= set(short.nonzero()[:, 1].tolist())


def test_columns_are_those_of_analysis() -> None:
    waveforms = some_sounds(1.3, 2.0)
    sounds = Sounds.of(waveforms)
    torch.manual_seed(0)
    rows = torch.tensor([0, 1] * 8)
    sound, _, column_mask = sounds.cut(rows, 130, 0.0)
    mels = log_mels(sound)
    whole = [log_mel(each[:-1]) for each in waveforms]  # the last sample only ends a stretch
    for row, mel, mask in zip(rows.tolist(), mels.numpy(), column_mask.numpy(), strict=True):
        starts = [
            k
            for k in range(whole[row].shape[1] - int(mask.sum()) + 1)
            if np.allclose(whole[row][:, k : k + int(mask.sum())], mel[:, mask], atol=2e-4)
        ]
        assert len(starts) == 1


def test_quiet_windows_are_raised_as_in_analysis() -> None:
    torch.manual_seed(0)
    levels = torch.tensor([3.0, -1.0, -4.0, -9.0, -20.0])
    mels = (torch.randn(5, 64, 120) + levels[:, None, None]).clamp(min=-23.0)
    mask = torch.rand(5, 120) < 0.7
    heard = raise_quiet(mels, mask)
    for window, inside, mel in zip(heard.numpy(), mask.numpy(), mels.numpy(), strict=True):
        np.testing.assert_allclose(window[:, inside], raised(mel[:, inside]), atol=1e-5)
        assert (window[:, ~inside] == np.float32(QUIETEST)).all()


def test_speed_moves_pitch_and_length() -> None:
    sounds = Sounds.of([TONE[0].numpy()])
    torch.manual_seed(0)
    _, inside, _ = sounds.cut(torch.zeros(200, dtype=torch.long), 200, 0.12)
    whole = inside.sum(1)[~inside[:, 0] & ~inside[:, -1]] / SAMPLE_RATE
    assert 1 / 1.12 - 1e-3 <= whole.min() < 0.92
    assert 1.09 < whole.max() <= 1.12 + 1e-3


def test_sound_stays_in_range() -> None:
    for seed in range(5):
        varied = varied_tone(SpeechAugmentation(reverb=1.0, gain_db=60.0), seed)
        assert varied.isfinite().all()
        assert varied.abs().max() <= 1


def test_sound_is_left_alone_where_everything_is_0() -> None:
    torch.testing.assert_close(varied_tone(PLAIN), TONE, atol=1e-6, rtol=0)


def test_outside_the_recording_there_is_nothing() -> None:
    inside = EVERYWHERE.clone()
    inside[:, 9000:] = False
    torch.manual_seed(0)
    varied = vary_sound(TONE * inside, inside, SpeechAugmentation(reverb=1.0, band=1.0))
    assert (varied[:, 9000:] == 0).all()
    assert (varied[:, :9000] != 0).float().mean() > 0.99


@pytest.mark.parametrize(
    "config",
    [
        replace(PLAIN, gain_db=10.0),
        replace(PLAIN, noise_db=(10.0, 10.0)),
        replace(PLAIN, band=1.0),
        replace(PLAIN, reverb=1.0),
    ],
    ids=str,
)
def test_every_setting_does_something(config: SpeechAugmentation) -> None:
    assert (varied_tone(config) - TONE).abs().max() > 1e-3


def test_a_room_lasts_after_the_sound() -> None:
    click = torch.zeros(40, SAMPLE_RATE)
    click[:, 1000] = 0.5
    torch.manual_seed(0)
    heard = vary_sound(click, torch.ones_like(click, dtype=torch.bool), replace(PLAIN, reverb=0.5))
    tails = heard[:, 1100:].square().sum(1)
    alone = tails < 1e-6
    assert 8 < alone.sum() < 32
    assert heard[:, :1000].abs().max() < 1e-4
    later = heard[~alone, 12_000:].square().sum(1)
    assert (later < tails[~alone] / 20).all()


@pytest.mark.parametrize("ratio_db", [8.0, 20.0, 45.0])
def test_noise_is_as_loud_as_it_says(ratio_db: float) -> None:
    for seed in range(4):  # white and pink
        noise = varied_tone(replace(PLAIN, noise_db=(ratio_db, ratio_db)), seed) - TONE
        found = 10 * (TONE.square().mean() / noise.square().mean()).log10()
        assert float(found) == pytest.approx(ratio_db, abs=0.1)


def test_level_changes_by_no_more_than_it_says() -> None:
    changes = [
        20 * float((varied_tone(replace(PLAIN, gain_db=6.0), seed).std() / TONE.std()).log10())
        for seed in range(20)
    ]
    assert -6.01 <= min(changes) < -2
    assert 2 < max(changes) <= 6.01


def test_sound_is_a_function_of_the_seed() -> None:
    first, again = (
        varied_tone(SpeechAugmentation(reverb=1.0), 3),
        varied_tone(SpeechAugmentation(reverb=1.0), 3),
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, varied_tone(SpeechAugmentation(reverb=1.0), 4))


def test_of_what_is_heard_only_a_beginning_is_kept() -> None:
    torch.manual_seed(0)
    mask = ((torch.arange(240) >= 40) & (torch.arange(240) < 220)).expand(200, -1)
    kept = keep_past(mask, 1.0)
    lengths = kept.sum(1)
    assert 180 // 4 <= lengths.min() < 60
    assert 110 < lengths.max() <= 121
    for there, length in zip(kept, lengths.tolist(), strict=True):
        assert there[40 : 40 + length].all()
    half = keep_past(mask, 0.5).sum(1) == 180
    assert 60 < half.sum() < 140


def test_without_a_chance_nothing_is_drawn() -> None:
    state = torch.get_rng_state()
    mask = torch.ones(1, 240, dtype=torch.bool)
    assert torch.equal(keep_past(mask, 0.0), mask)
    assert torch.equal(torch.get_rng_state(), state)
