"""The cost model against counting by hand."""

import itertools

import pytest

from asr_kd.costs import (
    BEAM_RATE,
    SMALLER_TRIALS,
    TRIALS,
    Constants,
    Disk,
    Step,
    divided,
    features_bytes,
    makespan,
    peak_disk,
    process_bytes,
    search_effort,
    searched_frames,
    shard_bytes,
    step_bytes,
    step_seconds,
    targets_bytes,
)

CONSTANTS = Constants({"frame": 0.5, "search": 2.0, "torch": 3.0}, {"torch": 100, "frame": 10})


def simulated(lengths: list[int], processes: int) -> int:
    """Second by second: who is free takes the next job."""
    waiting, left = list(lengths), [0] * processes
    for second in itertools.count():
        left = [waiting.pop(0) if not one and waiting else one for one in left]
        if not any(left):
            return second
        left = [max(0, one - 1) for one in left]
    raise AssertionError


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_jobs_go_to_the_first_process_that_is_free(processes: int) -> None:
    for lengths in itertools.product([1, 2, 5], repeat=5):
        assert makespan([float(one) for one in lengths], processes) == simulated([*lengths], processes)
    assert makespan([], processes) == 0.0


def test_a_step_takes_the_time_of_its_processes_and_of_their_start() -> None:
    step = Step("train", "members", ({"frame": 10}, {"frame": 10, "search": 1}, {"frame": 4}), 2, "torch")
    assert step_seconds(step, CONSTANTS) == 3.0 + 7.0
    assert step_seconds(Step("align", "graph", ({"search": 2},)), CONSTANTS) == 4.0


def test_time_is_linear_in_the_work_and_falls_with_processes() -> None:
    def seconds(frames: float, processes: int) -> float:
        return step_seconds(Step("x", "x", divided({"frame": frames}, processes), processes), CONSTANTS)

    assert seconds(200, 1) == 2 * seconds(100, 1) == 4 * seconds(200, 4)


def test_memory_is_that_of_libraries_work_and_data_in_every_process() -> None:
    step = Step("train", "members", ({"frame": 10},) * 3, 2, "torch", data_bytes=1000)
    assert process_bytes(step, CONSTANTS) == 100 + 10 + 1000
    assert step_bytes(step, CONSTANTS) == 2 * 1110
    assert step_bytes(Step("align", "graph", ({"search": 2},)), CONSTANTS) == 0  # in the main process


def test_frames_that_are_searched() -> None:
    # A single scale and beam: dev for tuning, then dev and test.
    assert searched_frames(1000, 500, 10_000, [9.0], scales=1) == 1000 + 1500
    # All of dev, or every third utterance of it.
    several = searched_frames(1000, 500, 400, [9.0], scales=7)
    assert several == pytest.approx(1000 / 3 * TRIALS + 1500)
    smaller = searched_frames(1000, 500, 10_000, [9.0, 12.0], scales=7)
    less = 2.718281828 ** (-3 * BEAM_RATE)
    assert smaller == pytest.approx(1000 * (TRIALS + min(1, SMALLER_TRIALS) * less) + 1500 * less)


def test_searches_grow_with_words_and_beam_until_states_are_cut_off() -> None:
    assert search_effort(100, 10_000, 12.0) == 1.0
    assert search_effort(1000, 10_000, 12.0) > search_effort(1000, 10_000, 9.0) > 1.0
    assert search_effort(50_000, 2000, 12.0) == search_effort(500_000, 2000, 12.0)


def test_what_is_stored_of_a_frame() -> None:
    assert features_bytes(10, 0, mel_bins=40, cepstra=13) == 10 * (80 + 52)
    assert targets_bytes(10, kept=20, stored_at=1, temperatures=2, rank=36) == 10 * (40 + 20 + 4 + 36)
    assert shard_bytes(10, dims=40) == 10 * (80 + 28)
    assert shard_bytes(10, dims=40, kept=20, rank=36) == 10 * (80 + 28 + 100 + 2 + 36)


def test_the_peak_of_a_disk_counts_scratch_while_it_is_there_and_what_is_replaced_until_it_is() -> None:
    assert peak_disk([]) == 0
    assert peak_disk([Disk(10), Disk(20), Disk(5)]) == 35
    assert peak_disk([Disk(10, scratch=100), Disk(20)]) == 110
    assert peak_disk([Disk(10, freed=10), Disk(10, freed=10)]) == 10
    assert peak_disk([Disk(10, freed=100), Disk(80)]) == 10
