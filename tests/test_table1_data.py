"""What rows are trained and scored on: two views of pairs, one of recordings, `val` apart from the rest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora import write_emodb, write_ferplus, write_ravdess
from mien import table1_data
from mien.datasets.batches import FaceBatches
from mien.datasets.pairs import PairBatches
from mien.datasets.prepared import Recording, write_shard
from mien.datasets.pseudo_videos import FRAME_STEP
from mien.datasets.recordings import RecordingBatches
from mien.errors import DatasetError
from mien.recipes import override
from mien.table1_data import Frames, Pairs, Recordings, read_pairs, read_recordings
from mien.table1_rows import ROWS, Budget, base, stage_of
from some_recordings import frames, make_recording

CONFIG = base(Budget(), 0)


def no_hook(what: str, done: float, total: float) -> None:
    pass


def write_paired(folder: Path) -> Path:
    """A folder laid out as the pairs' corpora are; each utterance is long enough for a run of its own."""
    write_ferplus(folder / "ferplus", n_train=64, n_val=32)
    write_ravdess(folder / "ravdess_speech", actors=(1, 2, 15, 17, 18), duration=3.1)
    write_emodb(folder / "emodb", duration=3.1)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return read_pairs(write_paired(tmp_path_factory.mktemp("paired")))


def test_pairs_are_scored_as_clips_and_as_frames(pairs: Pairs) -> None:
    scored = pairs.scored()
    assert list(scored) == ["clips", "frames"]
    assert set(scored["clips"].tracks) == {1}
    assert scored["clips"].frame_step is None
    assert scored["frames"].frame_step == FRAME_STEP
    for each in scored.values():
        assert set(each.speakers) == {"ravdess-17", "ravdess-18", "emodb-15"}
        assert len(each.labels) == len(each.speakers) == sum(each.tracks)


def test_every_item_has_windows_in_order(pairs: Pairs) -> None:
    for each in pairs.scored().values():
        items = np.concatenate([window.items for window in each.windows()])
        assert items.tolist() == sorted(items.tolist())
        assert sorted(set(items.tolist())) == list(range(len(each.labels)))
        faces, _, mels, *_ = next(each.windows()).inputs
        assert faces.shape[1:] == (table1_data.N_FACES, 48, 48)
        assert mels.shape[1:] == (64, 320)


def test_rows_draw_from_the_same_batches_unless_their_data_differ(pairs: Pairs) -> None:
    drawn = pairs.batches(CONFIG, on_videos=False, hook=no_hook)
    assert isinstance(drawn, PairBatches)
    attentive = override(CONFIG, ["network.face.attention.name=gcsa", "seed=3"])
    assert pairs.batches(attentive, on_videos=False, hook=no_hook) is drawn
    unmasked = override(CONFIG, ["augmentation.speech.mask=0"])
    assert pairs.batches(unmasked, on_videos=False, hook=no_hook) is not drawn


def test_windows_of_videos_are_of_train_and_choose(pairs: Pairs) -> None:
    batches = pairs.batches(CONFIG, on_videos=True, hook=no_hook)
    assert isinstance(batches, RecordingBatches)
    torch.manual_seed(0)
    names = " ".join(batches.draw(30).names)
    assert "ravdess-01" in names
    assert "ravdess-02" in names
    assert not any(other in names for other in ("-15", "-17", "-18"))
    assert len(batches.held_labels) == 4, "one for each stretch of the one speaker"
    with torch.no_grad():
        assert sum(len(held.items) for held in batches.held_out()) < 12


def test_recordings_are_scored_by_frames_alone(pairs: Pairs) -> None:
    recordings = [video for split in ("train", "choose", "val") for video in pairs._videos(split)]
    source = Recordings(Path(), recordings, False, {"corpora": ["pairs"]})
    batches = source.batches(CONFIG, on_videos=False, hook=no_hook)
    assert source.batches(CONFIG, on_videos=True, hook=no_hook) is batches
    scored = source.scored()
    assert list(scored) == ["frames"]
    expected = pairs.scored()["frames"]
    assert (scored["frames"].labels, scored["frames"].tracks) == (expected.labels, expected.tracks)


def test_frames_without_face_or_label_have_a_place_among_those_that_have() -> None:
    recording = make_recording(
        (0, 1, "Fear"), (2, 3, "Anger"), frame_step=0.1, crop_times=frames(0, 1, 0.1), seconds=0
    )
    scored = Frames([replace(recording, split="val")] * 2, 3)
    assert scored.labels == ("Fear",) * 10 + (None,) * 10 + ("Anger",) * 10 + scored.labels[:30]
    assert scored.tracks == (30, 30)
    windows = list(scored.windows())
    assert [item for each in windows for item in each.items.tolist()] == list(range(60))
    seen = torch.cat([each.inputs[1] for each in windows]).any(1)
    assert seen.tolist() == ([True] * 16 + [False] * 14) * 2


def test_faces_alone_are_those_of_the_pairs(pairs: Pairs) -> None:
    stage = stage_of(ROWS["stage0"], CONFIG)
    found = pairs.faces(stage, no_hook)
    assert found is not None
    batches, told = found
    assert isinstance(batches, FaceBatches)
    assert batches.names == pairs.stills.part("train").names
    assert told["corpora"] == ["FER+"]
    for name in ("stage0-semi", "stage0-pool", "stage0-both"):
        assert pairs.faces(stage_of(ROWS[name], CONFIG), no_hook) is None


def write_corpora(folder: Path, recordings: list[Recording]) -> Path:
    """The folder, in which each corpus now lies prepared."""
    for corpus in sorted({each.corpus for each in recordings}):
        made = [(each, None) for each in recordings if each.corpus == corpus]
        (folder / corpus).mkdir(parents=True)
        write_shard(folder / corpus / "shard-00000", made, 48, {"corpus": corpus, "size_px": 48})
        (folder / corpus / "prepared.json").write_text('{"n_shards": 1}', encoding="utf-8")
    return folder


def test_corpora_beside_the_videos_lend_faces_alone(pairs: Pairs, tmp_path: Path) -> None:
    videos = [video for split in ("train", "choose", "val") for video in pairs._videos(split)]
    videos = [replace(video, corpus="videos") for video in videos]
    silent = replace(videos[0], columns=videos[0].columns[:0])
    stills = replace(silent, corpus="stills", frame_step=None)
    bare = replace(silent, corpus="bare", stretches=())

    def faces(source: Recordings, row: str) -> FaceBatches | None:
        found = source.faces(stage_of(ROWS[row], CONFIG), no_hook)
        assert found is None or isinstance(found[0], FaceBatches)
        return found and found[0]

    beside_stills = read_recordings(write_corpora(tmp_path / "a", [*videos, stills]))
    beside_bare = read_recordings(write_corpora(tmp_path / "b", [*videos, bare]))
    for source in (beside_stills, beside_bare):
        assert {each.corpus for each in source.videos} == {"videos"}
        assert set(source.scored()["frames"].speakers) == {"ravdess-17", "ravdess-18", "emodb-15"}
    found = beside_stills.faces(stage_of(ROWS["stage0"], CONFIG), no_hook)
    assert found is not None
    assert found[1]["corpora"] == ["stills", "videos"]
    assert beside_stills.faces(stage_of(ROWS["stage0-pool"], CONFIG), no_hook) is not None
    for row in ("stage0-semi", "stage0-both"):
        assert faces(beside_stills, row) is None, "all have labels, and the pool leaves nothing over"
        unlabelled = faces(beside_bare, row)
        assert unlabelled is not None
        assert len(unlabelled.unlabelled) == len(bare.crops)


def test_a_corpus_without_labelled_frames_is_refused(pairs: Pairs) -> None:
    clips = [replace(each, frame_step=None) for each in pairs._videos("val")]
    for recordings in (clips, []):
        with pytest.raises(DatasetError, match="no video of split 'val' has a label for each frame"):
            Frames(recordings, 3)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        read_pairs(tmp_path / "nowhere")
    with pytest.raises(DatasetError):
        read_recordings(tmp_path)
