import numpy as np
import pytest

from asr_kd.bench import scoring
from asr_kd.scoring.wer import count_errors, total


def test_simulated_systems_make_errors_of_all_kinds() -> None:
    material = scoring.simulate(400, 20, 0.1, np.random.default_rng(0))
    assert len(set(material.speakers.values())) == 20
    for hypotheses in material.hypotheses.values():
        counts = total(count_errors(material.references, hypotheses).values())
        assert counts.wer == pytest.approx(0.1, abs=0.03)
        assert counts.substitutions > counts.deletions > 0 < counts.insertions


def test_every_step_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    scoring.main(["--utterances", "60", "--speakers", "4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 systems, 60 utterances")
    assert sum(line.startswith("| ") for line in lines) == 6
