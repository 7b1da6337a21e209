"""Frames and sound come at their true times, and files that are none fail in one line."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from media_files import (
    FILM_FPS,
    NTSC_FPS,
    click,
    corners,
    flash_and_click,
    flat_frames,
    four_corners,
    grey_of,
    lose_packets,
    tone,
    write_sound,
    write_still,
    write_video,
    zeroed,
)
from mien import media
from mien.errors import InputError, MediaError, MienError
from mien.media import probe, read_frames, read_frames_from, read_sound, read_waveform
from mien.spans import SAMPLE_RATE
from mien.waveform import SHORTEST_STEP, Clock

CLIPS = Path(__file__).parents[2] / "shared" / "clips"

UNEVEN = np.cumsum([0.0] + [0.02, 0.05, 0.033, 0.1, 0.04] * 8).tolist()
"""Times of the 41 frames of a clip of variable rate, in seconds."""


def times_of(path: Path) -> list[float]:
    return [frame.time for frame in read_frames(path)]


def error_of(path: Path) -> MienError:
    """What every reader raises for a file: the same, in one line that names the file."""
    caught = []
    for read in (probe, lambda one: list(read_frames(one)), lambda one: list(read_sound(one))):
        with pytest.raises(InputError) as raised:
            read(path)
        caught.append(raised.value)
    assert len({str(error) for error in caught}) == 1
    assert path.name in str(caught[0])
    assert "\n" not in str(caught[0])
    return caught[0]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every container that is opened while the test runs."""
    containers: list[Any] = []
    really_open = av.open

    def watch(*arguments: Any, **options: Any) -> Any:
        containers.append(really_open(*arguments, **options))
        return containers[-1]

    monkeypatch.setattr(av, "open", watch)
    return containers


# Time


@pytest.mark.parametrize("video_start, sound_start", [(0.0, 0.0), (0.25, 0.0), (0.0, 0.3), (1.5, 0.7)])
@pytest.mark.parametrize("fps", [FILM_FPS, 25, NTSC_FPS, 30, None], ids=str)
def test_flash_and_click_meet(
    tmp_path: Path, fps: int | Fraction | None, video_start: float, sound_start: float
) -> None:
    path = tmp_path / "clip.mp4"
    written = flash_and_click(
        path,
        flash_frame=30,
        n_frames=len(UNEVEN),
        fps=fps or 25,
        times=None if fps else UNEVEN,
        video_start=video_start,
        sound_start=sound_start,
    )
    (flash,) = [frame.time for frame in read_frames(path) if frame.image.mean() > 128]
    clicked = float(np.abs(read_waveform(path)).argmax()) / SAMPLE_RATE
    assert clicked == pytest.approx(flash, abs=0.002)  # half a frame is 17 to 21 ms
    # The clock begins where the sound's encoder does, which is up to one of its blocks before the sound.
    assert -1e-4 <= flash - (written - min(video_start, sound_start)) < 0.023


@pytest.mark.parametrize("ending", ["mkv", "mov", "ts"])
def test_flash_and_click_meet_in_other_containers(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"clip.{ending}"
    flash_and_click(path, flash_frame=20, n_frames=30, fps=30, video_start=0.4)
    (flash,) = [frame.time for frame in read_frames(path) if frame.image.mean() > 128]
    assert float(np.abs(read_waveform(path)).argmax()) / SAMPLE_RATE == pytest.approx(flash, abs=0.002)


@pytest.mark.parametrize(
    "codec, options",
    [("mpeg4", {"bf": "0"}), ("mpeg4", {"bf": "2"}), ("libx264", {"bf": "0"}), ("libx264", {"bf": "3"})],
)
@pytest.mark.parametrize("fps", [25, NTSC_FPS], ids=str)
def test_flash_and_click_meet_in_avi(
    tmp_path: Path, fps: int | Fraction, codec: str, options: dict[str, str]
) -> None:
    """Which has no presentation times, only the order in which packets are decoded."""
    path = tmp_path / "clip.avi"
    flash_and_click(
        path, flash_frame=20, n_frames=30, fps=fps, sound_codec="pcm_s16le", codec=codec, options=options
    )
    assert times_of(path) == pytest.approx([n / float(fps) for n in range(30)], abs=1e-9)
    (flash,) = [frame.time for frame in read_frames(path) if frame.image.mean() > 128]
    assert float(np.abs(read_waveform(path)).argmax()) / SAMPLE_RATE == pytest.approx(flash, abs=0.002)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_lost_packets_move_no_frame_of_an_avi(tmp_path: Path, codec: str) -> None:
    path = write_video(
        tmp_path / "clip.avi", flat_frames(100), codec=codec, options={"bf": "2", "g": "10", "b": "8M"}
    )
    lose_packets(path, range(20, 35))
    frames = list(read_frames(path))
    assert len(frames) < 100
    late = [frame for frame in frames if frame.time > 2.0]
    assert len(late) >= 45
    assert [grey_of(frame.image) for frame in late] == [round(frame.time * 25) % 32 for frame in late]


@pytest.mark.parametrize("options", [{"preset": "ultrafast"}, {"bf": "3", "b-pyramid": "normal"}])
@pytest.mark.parametrize("fps", [FILM_FPS, 25, NTSC_FPS, 30], ids=str)
def test_times_are_those_written(tmp_path: Path, fps: int | Fraction, options: dict[str, str]) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(31), fps=fps, options=options)
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(31))
    assert [grey_of(frame.image) for frame in frames] == list(range(31))
    assert [frame.time for frame in frames] == pytest.approx([n / float(fps) for n in range(31)], abs=1e-9)


def test_all_cores_decode_what_one_thread_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(31), options={"bf": "3"})
    alone = [(frame.index, frame.time, frame.image) for frame in read_frames(path)]
    monkeypatch.setattr(media, "_ONE_THREAD_PX", 0)
    together = [(frame.index, frame.time, frame.image) for frame in read_frames(path)]
    assert [each[:2] for each in together] == [each[:2] for each in alone]
    assert all(np.array_equal(ours[2], theirs[2]) for ours, theirs in zip(together, alone, strict=True))
    assert len(alone) == 31


def test_uneven_times_are_those_written(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(len(UNEVEN)), times=UNEVEN, options={"bf": "3"})
    assert times_of(path) == pytest.approx(UNEVEN, abs=1e-5)


def test_clock_begins_with_the_earlier_stream(tmp_path: Path) -> None:
    sound = tone(440.0, 0.5)
    late_video = write_video(tmp_path / "a.mkv", flat_frames(5), video_start=0.5, waveform=sound)
    late_sound = write_video(tmp_path / "b.mkv", flat_frames(5), sound_start=0.5, waveform=sound)
    late_both = write_video(
        tmp_path / "c.mkv",
        flat_frames(5),
        video_start=2.0,
        waveform=sound,
        sound_start=2.5,
        sound_codec="flac",
    )
    assert times_of(late_video)[0] == pytest.approx(0.5, abs=0.03)
    for path in (late_sound, late_both):
        assert times_of(path) == pytest.approx([n / 25 for n in range(5)], abs=0.001)
        silent = int(np.flatnonzero(np.abs(read_waveform(path)) > 0.01)[0]) / SAMPLE_RATE
        assert silent == pytest.approx(0.5, abs=0.003)


def test_frames_without_timestamps_follow_on(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.h264", flat_frames(9), options={"bf": "0"})
    with av.open(str(path)) as container:
        assert all(frame.pts is None for frame in container.decode(video=0))  # or this test proves nothing
    assert times_of(path) == pytest.approx([n / 25 for n in range(9)])


def test_stray_timestamps_lose_no_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(7))
    stamps = iter([0.0, None, 0.08, 0.06, 1e9, None, 0.24])
    decode = media._decode

    def stray(*arguments: Any) -> Iterator[tuple[float | None, Any]]:
        return ((next(stamps), picture) for _, picture in decode(*arguments))

    monkeypatch.setattr(media, "_decode", stray)
    frames = list(read_frames(path))
    assert [grey_of(frame.image) for frame in frames] == list(range(7))
    assert [frame.time for frame in frames] == pytest.approx(
        [0.0, 0.04, 0.08, 0.08, 0.12, 0.16, 0.24], abs=1.1 * SHORTEST_STEP
    )
    assert all(one.time < other.time for one, other in pairwise(frames))


# Pictures


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_still_is_one_frame_at_zero(tmp_path: Path, ending: str) -> None:
    path = write_still(tmp_path / f"still_%03d{ending}", four_corners(40, 60))
    (frame,) = read_frames(path)
    assert (frame.index, frame.time) == (0, 0.0)
    assert corners(frame.image) == corners(four_corners(40, 60))
    still = probe(path)
    assert (still.is_still, still.has_video, still.has_sound) == (True, True, False)
    assert (still.width, still.height, still.fps, still.duration) == (60, 40, 0.0, 0.0)
    assert list(read_sound(path)) == []


def test_image_is_converted_when_asked_for_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_converted = 0
    convert = media.upright_rgb

    def count(picture: av.VideoFrame) -> np.ndarray:
        nonlocal n_converted
        n_converted += 1
        return convert(picture)

    monkeypatch.setattr(media, "upright_rgb", count)
    frames = list(read_frames(write_video(tmp_path / "clip.mp4", flat_frames(5))))
    assert n_converted == 0
    assert frames[3].image is frames[3].image
    assert n_converted == 1
    assert grey_of(frames[3].image) == 3


@pytest.mark.parametrize("n_frames, side", [(1, 64), (3, 8)])
def test_small_clips_are_clips(tmp_path: Path, n_frames: int, side: int) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(n_frames, height=side, width=side))
    assert [frame.image.shape for frame in read_frames(path)] == [(side, side, 3)] * n_frames
    clip = probe(path)
    assert (clip.has_video, clip.is_still, clip.width, clip.height) == (True, False, side, side)


def test_probe_says_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(50), fps=NTSC_FPS, waveform=tone(440.0, 1.5))
    clip = probe(path)
    assert clip.path == path
    assert (clip.has_video, clip.has_sound, clip.is_still, clip.width, clip.height) == (
        True,
        True,
        False,
        64,
        48,
    )
    assert clip.fps == pytest.approx(30_000 / 1001)
    assert clip.duration == pytest.approx(50 * 1001 / 30_000, abs=0.03)


# Sound


@pytest.mark.parametrize("sample_rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_click_stays_at_its_time_at_every_rate(tmp_path: Path, sample_rate: int) -> None:
    path = write_sound(
        tmp_path / "a.wav", [(0.0, click(1.3, 2.5, sample_rate=sample_rate))], sample_rate=sample_rate
    )
    waveform = read_waveform(path)
    assert abs(int(np.abs(waveform).argmax()) - 1.3 * SAMPLE_RATE) <= 1
    assert abs(waveform.size - 2.5 * SAMPLE_RATE) <= 2


def test_tone_keeps_its_pitch_loudness_and_length(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", [(0.0, tone(1000.0, 3.0, sample_rate=44_100))], sample_rate=44_100)
    waveform = read_waveform(path)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(waveform.size) / SAMPLE_RATE)
    assert waveform.dtype == np.float32
    assert np.abs(waveform - expected)[100:-100].max() < 0.01


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(440.0, 1.0, sample_rate=SAMPLE_RATE)
    stereo = np.stack([left, np.zeros_like(left)])
    path = write_sound(tmp_path / "a.wav", [(0.0, stereo)], sample_rate=SAMPLE_RATE)
    assert np.abs(read_waveform(path) - left / 2).max() < 1e-4
    cancelled = write_sound(tmp_path / "b.wav", [(0.0, np.stack([left, -left]))], sample_rate=SAMPLE_RATE)
    assert np.abs(read_waveform(cancelled)).max() < 1e-4


def test_holes_and_a_late_start_are_zeros(tmp_path: Path) -> None:
    sound = tone(440.0, 0.5, sample_rate=SAMPLE_RATE)
    path = write_sound(tmp_path / "a.mkv", [(0.0, sound), (70.0, sound)], sample_rate=SAMPLE_RATE)
    stretches = list(read_sound(path))
    assert max(stretch.size for stretch in stretches) <= 1.01 * SAMPLE_RATE
    waveform = np.concatenate(stretches)
    assert waveform.size == pytest.approx(70.5 * SAMPLE_RATE, abs=20)
    assert not waveform[9000 : 69 * SAMPLE_RATE].any()
    assert np.abs(waveform[70 * SAMPLE_RATE + 100 :]).mean() == pytest.approx(0.5 * 2 / np.pi, abs=0.01)


def test_samples_that_are_no_number_are_silence(tmp_path: Path) -> None:
    sound = tone(440.0, 1.0)
    sound[[1000, 2000, 3000]] = np.nan, np.inf, -np.inf
    path = write_sound(tmp_path / "a.mkv", [(0.0, sound)], codec="pcm_f32le")
    waveform = read_waveform(path)
    assert np.isfinite(waveform).all()
    assert np.abs(waveform).max() < 0.6


SOUNDS = {
    "late.mkv": {"codec": "pcm_s16le", "sample_rate": 44_100},
    "whole.mp3": {"codec": "libmp3lame", "sample_rate": 22_050},
    "plain.flac": {"codec": "flac", "sample_rate": SAMPLE_RATE},
}


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("start, end", [(0, 1), (0.7, 2.123), (1, 2), (1.0001, 1.0002), (2.5, None), (2, 99)])
def test_a_stretch_is_a_slice_of_the_whole(
    tmp_path: Path, name: str, start: float, end: float | None
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * SOUNDS[name]["sample_rate"])
    path = write_sound(tmp_path / name, [(0.3 if name == "late.mkv" else 0.0, noise)], **SOUNDS[name])
    first, last = (None if time is None else round(time * SAMPLE_RATE) for time in (start, end))
    expected = read_waveform(path)[first:last]
    assert expected.size > 0
    np.testing.assert_array_equal(read_waveform(path, start, end), expected)


def test_a_stretch_is_decoded_no_further_than_its_end(tmp_path: Path, monkeypatch) -> None:
    path = write_sound(tmp_path / "a.wav", [(0.0, tone(440.0, 30.0))])
    given = []
    read = media.read_sound
    monkeypatch.setattr(media, "read_sound", lambda path: (given.append(1) or chunk for chunk in read(path)))
    assert read_waveform(path, 2.5, 4.5).size == 2 * SAMPLE_RATE
    assert len(given) <= 6


@pytest.mark.parametrize("start", [1.5, 2.0, 100.0])
def test_a_stretch_after_the_end_fails_in_one_line(tmp_path: Path, start: float) -> None:
    sound = write_sound(tmp_path / "a.wav", [(0.0, tone(440.0, 1.5))])
    silent = write_video(tmp_path / "silent.mp4", flat_frames(30), fps=20)
    for path in (sound, silent):
        with pytest.raises(MediaError, match=rf"{path.name}': ends at 1\.500 s; expected a start") as caught:
            read_waveform(path, start)
        assert "\n" not in str(caught.value)


def test_a_stretch_of_picture_without_sound_has_no_samples(tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", flat_frames(25))
    short = write_video(tmp_path / "short.mp4", flat_frames(50), waveform=tone(440.0, 0.5))
    assert read_waveform(silent, 0.5).shape == read_waveform(short, 1.5, 1.8).shape == (0,)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(four_corners(), format="rgb24")
        picture.pts = 0
        container.mux([*cover.encode(picture), *cover.encode(None)])
        samples = np.full((1, SAMPLE_RATE), 1000, np.int16)
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate = SAMPLE_RATE
        container.mux([*sound.encode(block), *sound.encode(None)])
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1  # or this test proves nothing
    assert list(read_frames(path)) == []
    assert (probe(path).has_video, probe(path).width, probe(path).fps) == (False, 0, 0.0)
    assert read_waveform(path).size == SAMPLE_RATE


def test_absence_is_no_error(tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", flat_frames(3))
    assert list(read_sound(silent)) == []
    assert read_waveform(silent).shape == (0,)
    assert probe(silent).has_sound is False
    unseen = write_sound(tmp_path / "unseen.wav", [(0.0, tone(440.0, 0.2))])
    assert list(read_frames(unseen)) == []
    assert probe(unseen).has_video is False
    assert probe(unseen).duration == pytest.approx(0.2)


# Files that are none, or no longer whole


@pytest.mark.parametrize(
    "name, content",
    [
        ("text.mp4", "no film at all\n" * 99),
        ("text.txt", "no film at all\n" * 99),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nclip.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile clip.ts\n"),
        ("call.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ("titles.srt", "1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
        ("empty.mp4", ""),
    ],
)
def test_what_is_no_media_file_fails_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    write_video(tmp_path / "clip.ts", flat_frames(3))  # what the lists would lead to
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert isinstance(error_of(path), MediaError)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_fails_in_one_line(tmp_path: Path) -> None:
    assert "does not exist" in str(error_of(tmp_path / "missing.mp4"))
    assert "is not a file" in str(error_of(tmp_path))


def test_video_without_its_index_fails_in_one_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(20))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    assert isinstance(error_of(path), MediaError)


def test_video_of_which_nothing_decodes_fails_in_one_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(20))
    content = bytearray(path.read_bytes())
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    for read in (probe, lambda one: list(read_frames(one))):
        with pytest.raises(MediaError, match="nothing of its video"):
            read(path)


def test_cut_video_is_read_as_far_as_it_goes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_video(
        tmp_path / "clip.mkv",
        (np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8) for n in range(100)),
        waveform=tone(440.0, 4.0),
        options={"g": "10"},
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 30 <= len(times_of(path)) < 100
    assert read_waveform(path).size > SAMPLE_RATE
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_damage_in_the_middle_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str
) -> None:
    path = write_video(
        tmp_path / f"clip.{ending}",
        (np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8) for n in range(100)),
        waveform=tone(440.0, 4.0),
        options={"g": "10"},
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = np.random.default_rng(0).bytes(20_000)
    path.write_bytes(content)
    times = times_of(path)
    assert 50 <= len(times) <= 100
    assert times == sorted(times)
    assert times[-1] > 3.8
    assert read_waveform(path).size > 3.8 * SAMPLE_RATE
    assert capfd.readouterr() == ("", "")


def test_reading_goes_on_after_a_stretch_of_zeros(tmp_path: Path) -> None:
    """So long that FFmpeg asks to be called again, which is no end of the file."""
    path = zeroed(tmp_path / "clip.ts")
    times = times_of(path)
    assert 75 < len(times) < 150
    assert max(np.diff(times)) > 2.5
    assert times[-1] > 7.9
    assert read_waveform(path).size > 7.9 * SAMPLE_RATE


def test_what_the_decoder_holds_is_given_where_the_file_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(20), options={"bf": "3"})
    read_packets = media.read_packets

    def broken_off(*arguments: Any) -> Iterator[Any]:
        """Without the empty packet at the end, which tells the decoder to give all it has."""
        return (packet for packet in read_packets(*arguments) if packet.size)

    monkeypatch.setattr(media, "read_packets", broken_off)
    assert [grey_of(frame.image) for frame in read_frames(path)] == list(range(20))


def leave_out(path: Path, target: Path, lost: range) -> Path:
    """A copy of a clip in another container, without some packets of its picture."""
    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        streams = {stream: sink.add_stream_from_template(stream) for stream in source.streams}
        n_packets = 0
        for packet in source.demux():
            n_packets += packet.stream.type == "video"
            if packet.dts is not None and not (packet.stream.type == "video" and n_packets - 1 in lost):
                packet.stream = streams[packet.stream]
                sink.mux(packet)
    return target


def moving(n_frames: int) -> Iterator[np.ndarray]:
    """Noise that moves to the right, which makes an encoder look at frames to come."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for n in range(n_frames):
        yield np.roll(noise, n, axis=1)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_frames_after_a_hole_keep_their_times(tmp_path: Path, ending: str) -> None:
    options = {"bf": "3", "b-pyramid": "normal", "g": "300", "preset": "medium"}
    path = write_video(tmp_path / "whole.mp4", moving(300), options=options)
    whole = np.array(times_of(path))
    times = times_of(leave_out(path, tmp_path / f"hole.{ending}", range(50, 150)))
    assert len(times) < 300
    assert all(one < other for one, other in pairwise(times))
    assert times[-1] == pytest.approx(whole[-1], abs=0.002)
    assert max(np.abs(whole - time).min() for time in times) < 0.002


def test_joined_recordings_follow_on(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.ts", moving(50), options={"bf": "3"})
    path.write_bytes(2 * path.read_bytes())
    assert times_of(path) == pytest.approx([n / 25 for n in range(100)], abs=0.001)


# Memory


@pytest.mark.parametrize("read", [read_frames, read_sound])
def test_file_is_closed_when_the_reader_ends_or_is_dropped(
    tmp_path: Path, opened: list[Any], read: Any
) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(60), waveform=tone(440.0, 2.4))
    opened.clear()
    reader = read(path)
    assert not opened  # nothing happens before the first frame is asked for
    next(reader)
    assert len(opened[0].streams) > 0
    reader.close()
    list(read(path))
    probe(path)
    assert [len(container.streams) for container in opened] == [0, 0, 0]


def test_readers_read_no_further_than_they_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(300), waveform=tone(440.0, 12.0))
    n_decoded = 0
    decode = media._decode

    def count(*arguments: Any) -> Iterator[tuple[float | None, Any]]:
        nonlocal n_decoded
        for decoded in decode(*arguments):
            n_decoded += 1
            yield decoded

    monkeypatch.setattr(media, "_decode", count)
    reader = read_frames(path)
    next(reader)
    assert n_decoded == 1
    n_decoded = 0
    sound = read_sound(path)
    assert next(sound).size <= 1.01 * SAMPLE_RATE
    assert n_decoded <= 48_000 // 1024 + 2


# Real clips


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the folder shared/clips is not beside the project")
@pytest.mark.parametrize("name", ["grid_bbaf2n.mpg", "ravdess_01-01-01-01-01-01-01.mp4", "single_face.mp4"])
def test_real_clips_have_every_frame_at_its_time(name: str) -> None:
    with av.open(str(CLIPS / name)) as container:
        start = min(float(stream.start_time * stream.time_base) for stream in container.streams)  # type: ignore[operator]
        expected = [frame.time - start for frame in container.decode(video=0)]
    assert times_of(CLIPS / name) == pytest.approx(expected, abs=1e-6)
    assert read_waveform(CLIPS / name).size / SAMPLE_RATE == pytest.approx(
        probe(CLIPS / name).duration, abs=0.05
    )


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the folder shared/clips is not beside the project")
def test_a_late_frame_of_a_real_clip_moves_no_other(tmp_path: Path) -> None:
    whole = np.array(times_of(CLIPS / "single_face_long.mp4"))
    times = times_of(leave_out(CLIPS / "single_face_long.mp4", tmp_path / "hole.ts", range(60, 200)))
    assert len(times) == 330
    assert all(one < other for one, other in pairwise(times))
    assert times[-1] == pytest.approx(whole[-1], abs=0.001)
    assert max(np.abs(whole - time).min() for time in times) < 0.001


@pytest.mark.parametrize(
    ("ending", "codec", "options"),
    [
        ("mp4", "libx264", {"g": "12", "bf": "2", "preset": "ultrafast"}),
        ("mp4", "libx264", {"g": "1000", "preset": "ultrafast"}),
        ("mkv", "libx264", {"g": "12", "x264-params": "open-gop=1:bframes=3", "preset": "veryfast"}),
        ("webm", "libvpx", {"g": "12", "deadline": "realtime"}),
        ("ts", "libx264", {"g": "12", "preset": "ultrafast"}),
        ("avi", "mpeg4", {"g": "12"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("start", [0.0, 2.013, 9.0])
def test_frames_from_a_time_on_are_those_of_the_whole(
    ending: str, codec: str, options: dict[str, str], start: float, tmp_path: Path
) -> None:
    pictures = [np.roll(four_corners(), 3 * k, axis=1) for k in range(100)]
    path = tmp_path / f"clip.{ending}"
    sound_codec = "libopus" if ending == "webm" else "aac"
    write_video(path, pictures, codec=codec, options=options, waveform=tone(440, 4), sound_codec=sound_codec)
    whole = [frame for frame in read_frames(path) if frame.time >= start]
    found = list(read_frames_from(path, start))
    assert [frame.time for frame in found] == [frame.time for frame in whole]
    assert [frame.index for frame in found] == list(range(len(found)))
    assert all(np.array_equal(one.image, other.image) for one, other in zip(found, whole, strict=True))


def test_frames_from_a_time_on_begin_at_the_key_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mp4", flat_frames(250), options={"g": "25", "preset": "ultrafast"})
    first = next(read_frames_from(path, 8.2))
    assert first.time == pytest.approx(8.2)
    decoded: list[float] = []
    place = Clock.place

    def count(self: Clock[object], stamp: float | None, expected: float) -> float:
        decoded.append(place(self, stamp, expected))
        return decoded[-1]

    monkeypatch.setattr(Clock, "place", count)
    assert len(list(read_frames_from(path, 8.2))) == 45
    assert decoded == pytest.approx([8 + 0.04 * k for k in range(50)])
