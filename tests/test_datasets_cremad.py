"""CREMA-D: clips by name, split by actor; votes as shares by name and mode; what is not so is refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from corpora import write_cremad
from mien.datasets.corpus import refuse_shared_speakers
from mien.datasets.cremad import BROKEN, CLASSES, FILE, SPLITS, Medium, read_cremad, read_votes
from mien.errors import DatasetError
from mien.media import probe, read_frames, read_waveform
from mien.spans import SAMPLE_RATE

CHOSEN = ["1016", "1025", "1032", "1033", "1037", "1044", "1046", "1072", "1084"]
SHARED = Path(__file__).parents[2] / "shared" / "data" / "cremad_votes"
HEAD = '"","A","D","F","H","N","S","fileName","numResponses"'
ROWS = (
    '"100001",0,0,0,1,3,0,"1001_IEO_NEU_XX",4',
    '"100002",2,0,0,2,0,0,"1002_IEO_HAP_LO",4',
    '"200001",0,0,0,0,9,1,"1001_IEO_NEU_XX",10',
    '"200002",0,0,0,5,0,0,"1002_IEO_HAP_LO",5',
    '"300001",0,0,0,0,8,0,"1001_IEO_NEU_XX",8',
    '"300002",0,1,0,1,0,0,"1002_IEO_HAP_LO",2',
)


CLIPS = ("1001_DFA_ANG_XX", "1002_IEO_HAP_LO", "1016_TIE_FEA_XX", "1040_ITH_SAD_X", "1091_WSI_NEU_XX")


@pytest.mark.parametrize(("medium", "ending"), [("sound", "wav"), ("video", "flv")])
def test_clips_of_each_medium_are_labelled_as_they_were_to_be_acted(
    tmp_path: Path, medium: Medium, ending: str
) -> None:
    found = read_cremad(write_cremad(tmp_path, clips=CLIPS), medium)
    refuse_shared_speakers(found)
    assert [each.path.name for each in found] == [f"{clip}.{ending}" for clip in CLIPS]
    assert [each.label for each in found] == ["Anger", "Happiness", "Fear", "Sadness", "Neutral"]
    assert [each.speaker for each in found] == [f"cremad-{clip[:4]}" for clip in CLIPS]
    assert [each.split for each in found] == ["train", "train", "choose", "train", SPLITS["1091"]]
    path = found[0].path
    assert probe(path).has_sound
    assert len(list(read_frames(path))) == (12 if medium == "video" else 0)
    assert read_waveform(path).size == pytest.approx(0.4 * SAMPLE_RATE, abs=0.08 * SAMPLE_RATE)


def test_the_split_of_an_actor_does_not_hang_on_who_else_is_there(tmp_path: Path) -> None:
    assert Counter(SPLITS.values()) == {"train": 64, "choose": 9, "val": 18}
    assert sorted(actor for actor, split in SPLITS.items() if split == "choose") == CHOSEN
    alone = read_cremad(write_cremad(tmp_path, clips=("1032_DFA_ANG_XX",)), "sound")
    assert [each.split for each in alone] == ["choose"]


def test_video_may_be_mp4_and_in_one_format(tmp_path: Path) -> None:
    path = write_cremad(tmp_path, clips=("1001_DFA_ANG_XX",)) / "VideoFlash" / "1001_DFA_ANG_XX.flv"
    path.with_suffix(".mp4").touch()
    with pytest.raises(DatasetError, match=r"is there as \.mp4 too; keep one of the two"):
        read_cremad(tmp_path, "video")
    path.unlink()
    assert [each.path.suffix for each in read_cremad(tmp_path, "video")] == [".mp4"]


def test_broken_clips_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "AudioWAV").mkdir()
    for clip in (*BROKEN, "1064_IEO_DIS_HI"):
        (tmp_path / "AudioWAV" / f"{clip}.wav").touch()
    assert [each.path.stem for each in read_cremad(tmp_path, "sound")] == ["1064_IEO_DIS_HI"]


@pytest.mark.parametrize(
    "name", ["1001_DFA_JOY_XX", "1092_DFA_ANG_XX", "1000_DFA_ANG_XX", "1001_DFA_ANG", "03-01-05-01-01-01-01"]
)
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / f"{name}.wav").touch()
    with pytest.raises(DatasetError, match=rf"AudioWAV/{name}\.wav: not a CREMA-D file name"):
        read_cremad(tmp_path, "sound")


def test_a_folder_without_clips(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"VideoFlash: no \*\.flv or \*\.mp4 in it; give CREMA-D's own"):
        read_cremad(tmp_path, "video")


def write(folder: Path, *rows: str, head: str = HEAD) -> Path:
    (folder / FILE).write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
    return folder


def test_votes_become_shares_by_name(tmp_path: Path) -> None:
    assert CLASSES == ("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness")
    votes = read_votes(write(tmp_path, *reversed(ROWS)))
    assert votes.clips == ("1001_IEO_NEU_XX", "1002_IEO_HAP_LO")
    assert votes.actors == ("1001", "1002")
    assert votes.labels == ("Neutral", "Happiness")
    assert votes.voice.tolist() == [[0, 0, 0, 0.25, 0.75, 0], [0.5, 0, 0, 0.5, 0, 0]]
    assert votes.face.tolist() == [[0, 0, 0, 0, 0.9, 0.1], [0, 0, 0, 1, 0, 0]]
    assert votes.both.tolist() == [[0, 0, 0, 0, 1, 0], [0, 0.5, 0, 0.5, 0, 0]]


def test_columns_are_read_by_name_and_not_by_place(tmp_path: Path) -> None:
    swapped = write(
        tmp_path,
        *(
            f"{row.split(',')[2]},{row.split(',')[1]},{','.join(row.split(',')[3:])},{row.split(',')[0]}"
            for row in ROWS
        ),
        head='"D","A","F","H","N","S","fileName","numResponses",""',
    )
    assert read_votes(swapped).voice.tolist() == [[0, 0, 0, 0.25, 0.75, 0], [0.5, 0, 0, 0.5, 0, 0]]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ((), "has no rows"),
        (ROWS[:5], "1002_IEO_HAP_LO has no row of votes on both"),
        ((*ROWS, ROWS[0]), "line 8: 1001_IEO_NEU_XX has two rows of votes on voice"),
        (("400001" + ROWS[0][7:],), "line 2: row number is '400001"),
        ((ROWS[0].replace("NEU", "JOY"),), "line 2: fileName is '1001_IEO_JOY_XX'"),
        ((ROWS[0].replace("1,3", "0,0"),), "line 2: votes are"),
        ((ROWS[0].replace("1,3", "-1,3"),), "line 2: votes are"),
        ((ROWS[0].replace("1,3", "1.5,3"),), "line 2: votes are"),
        (('"100001",0,0',), "line 2: fileName is None"),
    ],
)
def test_rows_of_another_form(rows: tuple[str, ...], match: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        read_votes(write(tmp_path, *rows))
    assert "\n" not in str(caught.value)


def test_files_of_another_form(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"{FILE} is not in"):
        read_votes(tmp_path)
    with pytest.raises(DatasetError, match="line 1: columns 'S', 'fileName' are not there"):
        read_votes(write(tmp_path, head='"","A","D","F","H","N"'))
    for content in (b"\xff\xfe no text", HEAD.encode() + b'\n"100001,"1001_IEO_ANG_XX'):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(DatasetError, match="is no CSV table") as caught:
            read_votes(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason="CREMA-D's votes are not on this machine")
def test_the_real_table() -> None:
    votes = read_votes(SHARED)
    assert len(votes.clips) == 7442
    assert len(set(votes.actors)) == 91
    for shares, share_right in ((votes.voice, 0.416), (votes.face, 0.663), (votes.both, 0.722)):
        alone = (shares == shares.max(1, keepdims=True)).sum(1) == 1  # ties are nobody's majority
        right = [CLASSES[k] == label for k, label in zip(shares.argmax(1), votes.labels, strict=True)]
        assert np.mean(alone & right) == pytest.approx(share_right, abs=5e-4)
