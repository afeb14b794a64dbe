import hashlib
import os
from pathlib import Path

from asr_kd.corpus.digests import MISSING, UNREADABLE, audio_digests


def test_content_decides_and_unchanged_files_are_not_read_again(tmp_path: Path):
    audio, cache = tmp_path / "a.wav", tmp_path / "work" / "digests.json"
    audio.write_bytes(b"one")
    first = audio_digests([str(audio), str(tmp_path / "none.wav")], cache, 2)
    assert first == {str(audio): hashlib.sha256(b"one").hexdigest(), str(tmp_path / "none.wav"): MISSING}

    stamp = audio.stat().st_mtime_ns
    audio.write_bytes(b"two")
    os.utime(audio, ns=(stamp, stamp))
    assert audio_digests([str(audio)], cache, 2)[str(audio)] == first[str(audio)]

    os.utime(audio, ns=(stamp, stamp + 1))
    assert audio_digests([str(audio)], cache, 2)[str(audio)] == hashlib.sha256(b"two").hexdigest()


def test_a_damaged_cache_is_made_again(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"one")
    audio, cache = tmp_path / "a.wav", tmp_path / "cache"
    right = {str(audio): hashlib.sha256(b"one").hexdigest()}
    assert audio_digests([str(audio)], cache, 1) == right
    written = cache.read_text()
    for damaged in ("{ not json", written.replace(right[str(audio)], "0" * 64)):
        assert damaged != written
        cache.write_text(damaged)
        assert audio_digests([str(audio)], cache, 1) == right
        assert cache.read_text() == written


def test_what_cannot_be_read_is_looked_at_again(tmp_path: Path):
    # The first page of a process' memory is never there: reading it is an error of input and output.
    (tmp_path / "a.wav").symlink_to("/proc/self/mem")
    names = [str(tmp_path / "a.wav")]
    assert audio_digests(names, tmp_path / "cache", 1) == {names[0]: UNREADABLE}
    assert names[0] not in (tmp_path / "cache").read_text()
