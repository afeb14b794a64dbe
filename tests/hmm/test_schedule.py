"""How often training goes through a corpus, against counting along."""

from asr_kd.config.schema import GmmConfig
from asr_kd.hmm import schedule


def test_alignments_and_turns_are_counted_as_the_training_does_them() -> None:
    for passes in (1, 5, 12, 13, 25, 40):
        config = GmmConfig(monophone_passes=passes, triphone_passes=passes)
        for model in (
            schedule.monophones(config, 1000),
            schedule.triphones(config),
            schedule.lda_triphones(config),
        ):
            alignments = turns = 0
            for number in range(model.passes):
                alignments += number in model.realigned
                if number + 1 == model.passes:
                    break
                turns += number in model.turned
            assert (model.alignments, model.turns) == (alignments, turns)


def test_monophones_learn_from_an_hour_evenly_spread() -> None:
    assert schedule.monophones(GmmConfig(), 100_000).stride == 1
    assert schedule.monophones(GmmConfig(), 3_600_000).stride == 10


def test_mixtures_grow_over_most_of_the_passes() -> None:
    model = schedule.triphones(GmmConfig(gaussians=4000, triphone_passes=20))
    targets = [model.target(400, number) for number in range(20)]
    assert targets == sorted(targets)
    assert targets[0] > 400 and targets[13:] == [4000] * 7 and targets[12] < 4000
