"""EMO-DB: letters become expressions by name, two speakers are scored, other names are refused."""

from pathlib import Path

import pytest

from corpora import write_emodb
from media_files import tone, write_sound
from mien.datasets.corpus import refuse_shared_speakers
from mien.datasets.emodb import read_emodb
from mien.errors import DatasetError

LETTERS = {
    "W": "Anger",  # Wut
    "L": "Other",  # Langeweile
    "E": "Disgust",  # Ekel
    "A": "Fear",  # Angst
    "F": "Happiness",  # Freude
    "T": "Sadness",  # Trauer
    "N": "Neutral",
}
SHARED = Path(__file__).parents[2] / "shared" / "data" / "emodb"


def test_letters_become_expressions_by_name(tmp_path: Path) -> None:
    write_emodb(tmp_path, speakers=(3,), letters=list(LETTERS), duration=0.05)
    found = {each.path.stem: each.label for each in read_emodb(tmp_path)}
    assert found == {f"03a01{letter}a": label for letter, label in LETTERS.items()}


def test_speakers_become_splits_in_the_order_of_names(tmp_path: Path) -> None:
    write_emodb(tmp_path, speakers=(16, 3, 15, 14), letters=("W",), duration=0.05)
    write_sound(tmp_path / "08b10Nd.wav", [(0.0, tone(200.0, 0.05))])
    (tmp_path / "LICENSE.txt").touch()
    clips = read_emodb(tmp_path)
    assert [(each.speaker, each.split) for each in clips] == [
        ("emodb-03", "train"),
        ("emodb-08", "choose"),
        ("emodb-14", "train"),
        ("emodb-15", "val"),
        ("emodb-16", "val"),
    ]


@pytest.mark.parametrize(
    "name", ["03a01Xa.wav", "03a01Fa2.flac", "3a01Fa.wav", "03c01Fa.wav", "03a01fa.wav", "03-01-05-01.wav"]
)
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "03a01Fa.wav").touch()
    (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=f"{name}: not an EMO-DB file name"):
        read_emodb(tmp_path)


def test_a_sentence_in_two_formats_is_refused(tmp_path: Path) -> None:
    (tmp_path / "03a01Fa.wav").touch()
    (tmp_path / "03a01Fa.flac").touch()
    with pytest.raises(DatasetError, match="keep one of the two"):
        read_emodb(tmp_path)


def test_a_folder_without_sound(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetError, match="no FLAC or WAV files"):
            read_emodb(folder)


@pytest.mark.skipif(not SHARED.is_dir(), reason="EMO-DB is not on this machine")
def test_the_real_corpus() -> None:
    clips = read_emodb(SHARED)
    refuse_shared_speakers(clips)
    assert {each.label for each in clips} == set(LETTERS.values())
    assert {each.split for each in clips} >= {"train", "choose"}
