import numpy as np

from asr_kd.hmm import tree_statistics
from asr_kd.hmm.questions import cluster_questions


def test_phones_that_sound_alike_form_a_question() -> None:
    # Phones 2 and 4 lie close together, so do 3 and 5, and both pairs lie far apart.
    centres = {2: 0.0, 4: 0.5, 3: 9.0, 5: 9.5}
    random = np.random.default_rng(0)
    events = np.array([[0, phone, 0, 1] for phone in centres for _ in range(40)])
    features = np.array([[random.normal(centres[int(event[1])], 1)] for event in events], np.float32)
    statistics = tree_statistics.accumulate(events, features)
    questions = cluster_questions(statistics, [2, 3, 4, 5], silence=1)
    assert questions == [(1,), (2,), (2, 4), (3,), (3, 5), (4,), (5,)]


def test_unseen_phones_do_no_harm() -> None:
    nothing = tree_statistics.merge([], 2)
    assert {(1,), (2,), (3,), (4,)} <= set(cluster_questions(nothing, [2, 3, 4], silence=1))
