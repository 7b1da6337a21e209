"""The pool: enough of each expression, videos filling what stills lack, none of them dominating."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora_pictures import blobs
from mien.datasets.likeness import NEAR_BITS, perceptual_hashes
from mien.datasets.pool import LEAST_CAP, Pool, cap_per_video, draw_pool, without_repeats
from mien.datasets.prepared import Recording
from mien.errors import InputError
from some_recordings import make_recording


def stills(label: str, n: int, split: str = "train") -> list[Recording]:
    return [
        make_recording((0.0, 0.04, label), name=f"{label} {k}", split=split, crop_times=[0.02])
        for k in range(n)
    ]


def video(name: str, *stretches: tuple[float, float, str], split: str = "train") -> Recording:
    return make_recording(*stretches, name=name, split=split, frame_step=0.04)


def labels_of(pool: Pool) -> Counter[str]:
    return Counter(each.label for recording in pool.recordings for each in recording.stretches)


def test_stills_are_drawn_once_and_the_rest_is_unlabelled() -> None:
    recordings = stills("Fear", 30) + stills("Anger", 5)
    pool = draw_pool(recordings, per_class=10)
    assert labels_of(pool) == {"Fear": 10, "Anger": 5}
    assert (pool.stills["Fear"], pool.frames["Fear"], pool.stills["Sadness"]) == (10, 0, 0)
    assert len(pool.unlabelled) == 20
    assert not any(each.stretches for each in pool.unlabelled)
    assert {each.name for each in pool.recordings + pool.unlabelled} == {each.name for each in recordings}
    names = [each.name for each in pool.recordings]
    assert names == [each.name for each in draw_pool(recordings, per_class=10).recordings]
    other_seed = draw_pool(recordings, per_class=10, seed=1).recordings
    assert names != [each.name for each in other_seed]
    backward = draw_pool(recordings[::-1], per_class=10).recordings
    assert sorted(names) == sorted(each.name for each in backward)


def test_frames_make_up_what_stills_lack() -> None:
    long, short = video("long", (0, 40, "Fear")), video("short", (1, 3, "Fear"), (3, 5, "Anger"))
    pool = draw_pool([*stills("Fear", 70), long, short], per_class=100)
    assert (pool.stills["Fear"], pool.frames["Fear"]) == (70, 30)
    frames = {each.name: each.stretches for each in pool.recordings if each.frame_step is not None}
    fear = {name: [each.span for each in of if each.label == "Fear"] for name, of in frames.items()}
    # the long one offers its cap of 100 frames, the short one its 50: a share of 30 each has of that
    assert {name: len(spans) for name, spans in fear.items()} == {"long": 20, "short": 10}
    assert all(span.duration == pytest.approx(0.04) for spans in fear.values() for span in spans)
    gaps = [b.start - a.start for a, b in zip(fear["long"], fear["long"][1:], strict=False)]
    assert max(gaps) - min(gaps) < 0.41, "2 s apart, to a step of what is offered"
    assert sum(each.label == "Anger" for each in frames["short"]) == 50
    assert not pool.unlabelled


def test_a_frame_of_the_pool_is_a_frame_of_the_video() -> None:
    pool = draw_pool([video("one", (1, 3, "Fear"), (4, 5, "Anger"))], per_class=7)
    (one,) = pool.recordings
    for each in one.stretches:
        frame = (each.span.start - (1 if each.label == "Fear" else 4)) / 0.04
        assert frame == pytest.approx(round(frame), abs=1e-6)
    assert [each.span.start for each in one.stretches] == sorted(each.span.start for each in one.stretches)


def test_a_long_video_is_capped() -> None:
    assert (cap_per_video(1), cap_per_video(250), cap_per_video(10_000)) == (16_000, 64, LEAST_CAP)
    videos = [video("long", (0, 400, "Fear"))] + [video(f"{k}", (0, 1, "Fear")) for k in range(9)]
    pool = draw_pool(videos, per_class=600)
    counts = {each.name: len(each.stretches) for each in pool.recordings}
    assert counts == {"long": 120, **{f"{k}": 25 for k in range(9)}}


def test_other_comes_from_videos_where_any_shows_it() -> None:
    some = stills("Other", 20)
    assert draw_pool(some, per_class=10).stills["Other"] == 10
    pool = draw_pool([*some, video("one", (0, 0.2, "Other"))], per_class=10)
    assert (pool.stills["Other"], pool.frames["Other"]) == (0, 5)
    assert len(pool.unlabelled) == 20
    pool = draw_pool([*some, video("one", (0, 0.2, "Other"))], per_class=10, video_only=())
    assert (pool.stills["Other"], pool.frames["Other"]) == (10, 0)


def test_other_splits_pass_as_they_are_and_unlabelled_ones_stay_so() -> None:
    apart = [*stills("Fear", 3, "choose"), video("v", (0, 9, "Fear"), split="val")]
    nameless = make_recording(name="nameless", crop_times=[0.0])
    pool = draw_pool([*apart, *stills("Fear", 3), nameless], per_class=1)
    assert pool.recordings[:4] == apart
    assert len(pool.recordings) == 5
    assert nameless.name in {each.name for each in pool.unlabelled}


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="per_class is 0; expected 1 or more"):
        draw_pool([], per_class=0)


@given(
    st.integers(1, 40),
    st.dictionaries(st.sampled_from(["Fear", "Other"]), st.integers(0, 60)),
    st.lists(st.lists(st.sampled_from(["Fear", "Other", "Anger"]), max_size=5), max_size=4),
)
def test_the_pool_is_never_too_large_and_takes_only_what_is_labelled_so(
    per_class: int, n_stills: dict[str, int], shown: list[list[str]]
) -> None:
    recordings = [each for label, n in n_stills.items() for each in stills(label, n)]
    for number, labels in enumerate(shown):
        recordings.append(
            video(f"v{number}", *((2.0 * k, 2.0 * k + 1.2, label) for k, label in enumerate(labels)))
        )
    pool = draw_pool(recordings, per_class=per_class)
    before = {each.name: each for each in recordings}
    for recording in pool.recordings:
        for each in recording.stretches:
            middle = (each.span.start + each.span.end) / 2
            (whole,) = [one for one in before[recording.name].stretches if middle in one.span]
            assert each.label == whole.label
    counts = labels_of(pool)
    for label in ("Fear", "Other", "Anger"):
        in_videos = [30 * labels.count(label) for labels in shown if label in labels]
        still = n_stills.get(label, 0) * (label != "Other" or not in_videos)
        cap = cap_per_video(len(in_videos), per_class)
        assert counts[label] == min(per_class, still + sum(min(n, cap) for n in in_videos))
        assert counts[label] == pool.stills[label] + pool.frames[label]


def still(picture: int, copy: int, split: str) -> Recording:
    """A still of one of several pictures, every copy darker."""
    image = np.asarray(blobs(picture) * (1 - copy / 100), np.uint8)[None]
    made = make_recording((0, 0.04, "Anger"), name=f"{picture} {copy} {split}", split=split, crop_times=[0.0])
    return replace(made, crops=image)


ORDER = ["val", "choose", "train"]
pictures = st.tuples(st.integers(0, 9), st.sampled_from(["train", "choose", "val"]))


@settings(deadline=None)
@given(st.lists(pictures, max_size=25))
def test_no_picture_is_in_two_splits_by_its_perceptual_hash(drawn: list[tuple[int, str]]) -> None:
    stills = [still(picture, copy, split) for copy, (picture, split) in enumerate(drawn)]
    kept = without_repeats(stills)
    hashes = [perceptual_hashes(each.crops)[0] for each in kept]
    for one, hash_of_one in zip(kept, hashes, strict=True):
        for other, hash_of_other in zip(kept, hashes, strict=True):
            near = np.bitwise_count(hash_of_one ^ hash_of_other) <= NEAR_BITS
            assert not near or one.split == other.split
    best = {
        picture: min((split for each, split in drawn if each == picture), key=ORDER.index)
        for picture, _ in drawn
    }
    wanted = [each for each, (picture, split) in zip(stills, drawn, strict=True) if split == best[picture]]
    assert [each.name for each in kept] == [each.name for each in wanted], "no others are dropped"


def test_what_is_no_still_stays_whatever_it_looks_like() -> None:
    image = np.repeat(blobs(1)[None], 2, axis=0)
    film = replace(make_recording((0, 1, "Anger"), crop_times=[0.1, 0.2]), crops=image)
    heard = replace(make_recording((0, 1, "Anger"), crop_times=[0.1], seconds=1.0), crops=image[:1])
    scored = still(1, 0, "val")
    assert without_repeats([film, heard, scored, still(1, 1, "train")]) == [film, heard, scored]
