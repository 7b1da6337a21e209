"""Sound without speech, made from a seed: noise, hum, clicks and music. 16 kHz mono, within -1..1."""

from collections.abc import Callable, Iterator

import numpy as np

from mien.spans import SAMPLE_RATE

Sound = np.ndarray


def unit(sound: Sound) -> Sound:
    """The sound at a level (RMS) of 1."""
    return (sound / np.sqrt(np.mean(sound**2))).astype(np.float32)


def at_dbfs(sound: Sound, level: float) -> Sound:
    return np.clip(unit(sound) * 10 ** (level / 20), -1, 1).astype(np.float32)


def _coloured(duration: float, seed: int, slope: float) -> Sound:
    """Noise whose power falls as frequency to the power of `slope`, from 20 Hz up."""
    n_samples = int(duration * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    frequency = np.maximum(np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE), 20)
    return np.fft.irfft(spectrum * frequency ** (-slope / 2), n_samples)


def white(duration: float, seed: int) -> Sound:
    return _coloured(duration, seed, 0)


def pink(duration: float, seed: int) -> Sound:
    return _coloured(duration, seed, 1)


def brown(duration: float, seed: int) -> Sound:
    return _coloured(duration, seed, 2)


def hum(duration: float, seed: int) -> Sound:
    """Mains hum with its overtones over a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE
    mains = rng.choice([50.0, 60.0])
    tones = sum(np.sin(2 * np.pi * mains * k * time + rng.uniform(0, 6)) / k for k in range(1, 13))
    return tones + 0.01 * rng.standard_normal(len(time))


def clicks(duration: float, seed: int) -> Sound:
    """Keys and mouse: short bursts at uneven times, some of them ringing."""
    rng = np.random.default_rng(seed)
    sound = 1e-4 * rng.standard_normal(int(duration * SAMPLE_RATE))
    for start in rng.integers(0, len(sound) - 1600, int(5 * duration)):
        length = int(rng.integers(1, 800))
        decay = np.exp(-5 * np.arange(length) / length)
        ring = np.sin(2 * np.pi * rng.uniform(300, 5000) * np.arange(length) / SAMPLE_RATE)
        sound[start : start + length] += rng.uniform(0.1, 1) * decay * (rng.standard_normal(length) + ring)
    return sound


def _note(pitch: float, duration: float, rng: np.random.Generator, *, bright: float, vibrato: float) -> Sound:
    """A harmonic tone at a MIDI pitch, plucked or held; `bright` is the weight of each next overtone."""
    time = np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE
    swing = vibrato * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time) * np.minimum(1, 3 * time)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch + swing - 69) / 12)) / SAMPLE_RATE
    top = max(1, min(16, int(7000 / (440 * 2 ** ((pitch - 69) / 12)))))
    tone = sum(bright ** (k - 1) * np.sin(k * phase) for k in range(1, top + 1))
    release = np.minimum(1, (duration - time) / 0.03)
    attack = np.minimum(1, time / 0.01)
    return tone * attack * release * np.exp(-rng.choice([0.3, 3.0]) * time)


def _lay(notes: list[tuple[float, Sound]], duration: float) -> Sound:
    sound = np.zeros(int(duration * SAMPLE_RATE))
    for start, note in notes:
        begin = int(start * SAMPLE_RATE)
        end = min(begin + len(note), len(sound))
        sound[begin:end] += note[: end - begin]
    return sound


SCALE = np.array([0, 2, 3, 5, 7, 8, 10])


def chords(duration: float, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    notes = []
    for start in np.arange(0, duration, rng.choice([1.0, 1.5, 2.0])):
        root = 48 + rng.choice(SCALE)
        for interval in (0, rng.choice([3, 4]), 7, rng.choice([10, 12])):
            bright = rng.uniform(0.3, 0.8)
            notes.append((start, _note(root + interval, 2.0, rng, bright=bright, vibrato=0)))
    return _lay(notes, duration)


def melody(duration: float, seed: int) -> Sound:
    """A held tone with vibrato, as of a violin or a flute."""
    rng = np.random.default_rng(seed)
    start, notes = 0.0, []
    octave = rng.choice([60, 72])
    while start < duration:
        length = rng.choice([0.25, 0.5, 1.0])
        pitch = octave + rng.choice(SCALE)
        notes.append((start, _note(pitch, length, rng, bright=rng.uniform(0.4, 0.8), vibrato=0.3)))
        start += length
    return _lay(notes, duration)


def humming(duration: float, seed: int) -> Sound:
    """Gliding tones in the range of a voice, with vibrato and breaks, without formants."""
    rng = np.random.default_rng(seed)
    n_samples = int(duration * SAMPLE_RATE)
    time = np.arange(n_samples) / SAMPLE_RATE
    knots = np.arange(0, duration + 0.4, 0.4)
    pitch = np.interp(time, knots, 52 + rng.choice([0, 12]) + rng.choice(SCALE, len(knots)))
    pitch = pitch + 0.4 * np.sin(2 * np.pi * 5.5 * time)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / SAMPLE_RATE
    loud = np.interp(time, knots, rng.choice([0.0, 0.5, 1.0], len(knots), p=[0.2, 0.4, 0.4]))
    return loud * sum(0.6**k * np.sin((k + 1) * phase) for k in range(10))


def bass(duration: float, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    starts = np.arange(0, duration, 60 / rng.uniform(80, 140))
    notes = [(start, _note(33 + rng.choice(SCALE), 0.5, rng, bright=0.6, vibrato=0)) for start in starts]
    return _lay(notes, duration)


def arpeggio(duration: float, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    step, notes = rng.uniform(0.1, 0.2), []
    for k, start in enumerate(np.arange(0, duration, step)):
        pitch = 55 + SCALE[(k // 16) % 7] + (0, 4, 7, 12)[k % 4]
        notes.append((start, _note(pitch, 2 * step, rng, bright=0.5, vibrato=0)))
    return _lay(notes, duration)


def drums(duration: float, seed: int) -> Sound:
    """Kick, snare and hi-hat."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    hits = []
    for k, start in enumerate(np.arange(0, duration, 60 / rng.uniform(80, 140) / 2)):
        hiss = rng.standard_normal(len(time))
        hits.append((start, 0.2 * np.diff(hiss, prepend=0) * np.exp(-60 * time)))
        if k % 4 == 0:
            falling = 50 * time + 6 * (1 - np.exp(-30 * time))
            hits.append((start, np.sin(2 * np.pi * falling) * np.exp(-12 * time)))
        if k % 4 == 2:
            hits.append((start, 0.6 * (hiss + np.sin(2 * np.pi * 190 * time)) * np.exp(-18 * time)))
    return _lay(hits, duration)


def band(duration: float, seed: int) -> Sound:
    """All of it together."""
    parts = ((chords, 0.5), (melody, 0.7), (bass, 0.8), (arpeggio, 0.4), (drums, 1.0))
    return sum(weight * unit(make(duration, seed + k)) for k, (make, weight) in enumerate(parts))


def no_speech(duration: float, n_seeds: int) -> Iterator[tuple[str, list[Sound]]]:
    """Each kind of sound by its name, one recording for each seed."""

    def some(make: Callable[[float, int], Sound], level: float) -> list[Sound]:
        return [at_dbfs(make(duration, seed), level) for seed in range(n_seeds)]

    yield "digital silence", [np.zeros(int(duration * SAMPLE_RATE), np.float32)]
    for colour in (white, pink, brown):
        for level in (-60, -40, -20, -10):
            yield f"{colour.__name__} noise at {level} dBFS", some(colour, level)
    yield "mains hum at -30 dBFS", some(hum, -30)
    yield "clicks and taps at -25 dBFS", some(clicks, -25)
    for music in (chords, melody, bass, arpeggio, drums, band):
        for level in (-35, -18):
            yield f"music: {music.__name__} at {level} dBFS", some(music, level)
    yield "gliding hummed tones at -20 dBFS", some(humming, -20)
