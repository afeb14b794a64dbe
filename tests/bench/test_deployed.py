from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from asr_kd.bench import deployed
from asr_kd.bench.deployed import (
    Deployed,
    Measured,
    TimedRecogniser,
    Timing,
    measure,
    percentiles,
    summarise,
)
from asr_kd.bench.pareto import render_pareto
from asr_kd.bench.pareto_picture import draw_pareto
from asr_kd.bench.peers import pocketsphinx_peers
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.decoding.network import BLOCK_FRAMES, OnnxNetwork
from asr_kd.decoding.search import Search
from asr_kd.runtime import Recogniser
from asr_kd.runtime.acoustic import FIRST_FRAMES
from tests.bench.clock import Clock
from tests.runtime.conftest import noise

RATE = 100


class Counting:
    """A recogniser whose n-th call takes n seconds."""

    def __init__(self, log: list[str], name: str, streams: bool) -> None:
        self.log, self.name, self.streams, self.calls = log, name, streams, 0

    def __call__(self, samples: np.ndarray) -> tuple[list[str], Timing]:
        self.calls += 1
        self.log.append(self.name)
        parts = (0.5 * self.calls, 0.25 * self.calls) if self.streams else (None, None)
        return [f"{self.name}{self.calls}"], Timing(float(self.calls), *parts)

    def latency(self, samples: np.ndarray) -> float | None:
        return 0.1 * len(samples) if self.streams else None


def test_passes_are_interleaved_and_the_first_does_not_count() -> None:
    log: list[str] = []
    recognisers: dict[str, Deployed] = {
        name: Counting(log, name, streams) for name, streams in (("a", True), ("b", False))
    }
    found = measure(recognisers, [np.zeros(100), np.zeros(300)], RATE, passes=2)
    assert log == ["a", "a", "b", "b"] * 3
    assert found["a"].words == [["a3"], ["a4"]]
    assert found["a"].seconds == [3.0, 4.0, 5.0, 6.0]
    assert found["a"].passes == [(7 / 4, 3.5 / 4, 1.75 / 4), (11 / 4, 5.5 / 4, 2.75 / 4)]
    assert found["b"].passes == [(7 / 4, None, None), (11 / 4, None, None)]
    assert found["a"].latencies == pytest.approx([10.0, 30.0])
    assert found["b"].latencies == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Passes 2 s for every call of the network, 0.5 s for a search's, 0.25 s as its path is looked for."""
    clock = Clock()
    monkeypatch.setattr(deployed, "perf_counter", clock)
    for kind, method, seconds in (
        (OnnxNetwork, "logits", 2.0), (Search, "advance", 0.5), (Search, "path", 0.25)
    ):  # fmt: skip
        monkeypatch.setattr(kind, method, clock.taking(seconds, getattr(kind, method)))
    return clock


def test_all_that_the_network_computes_is_timed_with_the_first_frames_twice(
    clock: Clock, model_folder: Path
) -> None:
    recogniser, samples = TimedRecogniser(model_folder, 1), noise(1.5)
    wanted = [segment.text for segment in Recogniser(model_folder).recognise([samples])]
    clock.now = 100.0
    for _ in range(2):  # what an earlier utterance took is not counted again
        words, timing = recogniser(samples)
        blocks = -(-150 // BLOCK_FRAMES)
        assert timing.acoustic == 2.0 * (FIRST_FRAMES // BLOCK_FRAMES + blocks)
        assert timing.search == 0.5 * blocks + 0.25
        assert timing.total == timing.acoustic + timing.search
        assert words == " ".join(wanted).split()


def test_latency_is_what_is_left_to_do_after_the_last_portion(clock: Clock, model_folder: Path) -> None:
    # 160 frames and a network without context: all but the last of five blocks are done before the end.
    assert TimedRecogniser(model_folder, 1).latency(noise(1.6)) == 2.0 + 0.5 + 0.25


def test_summary() -> None:
    passes = [(0.01 * number, None, 0.001) for number in range(1, 6)]
    found = summarise(Measured([], passes, [0.1, 0.2, 0.3], []))
    assert found["rtf"]["total"] == pytest.approx({"median": 0.03, "low": 0.02, "high": 0.04})
    assert set(found["rtf"]) == {"total", "search"}
    assert found["times_real_time"] == pytest.approx(1 / 0.03)
    assert found["latency_seconds"] is None
    assert percentiles(range(101)) == pytest.approx({"p50": 50, "p90": 90, "p99": 99})


def test_table_and_picture_show_every_system(tmp_path: Path) -> None:
    point = {"kind": "student", "parameters": 1000, "bytes": 4000, "wer": 0.05, "frame_accuracy": None}
    point |= {
        "words": 773,
        "cross_entropy": None,
        "torch_rtf": 0.01,
        "acoustic_rtf": 0.002,
        "deployed_rtf": None,
        "deployed_wer": None,
    }
    points = [{**point, "system": "pupil"}, {**point, "system": "tiny", "kind": "int8", "cross_entropy": 1.5}]
    row = {"system": "tiny", "threads": 1, "wer": 0.06, "words": 352} | summarise(
        Measured([], [(0.01, 0.005, 0.004)], [0.1], [0.02])
    )
    machine = {"processor": "P", "architecture": "x", "cores": 2, "load_average": 0.5, "measured": "now"}
    content = {"pareto": points, "systems": [row], "machine": machine | {"versions": {"python": "3"}}}
    content |= {"utterances": 1, "part": "test", "audio_seconds": 10.0, "lm": "bigram", "passes": 1}
    text = render_pareto(content)
    # Of unequal parts of test.
    assert "| WER %, 773 words |" in text and "| WER % as shipped, 352 words |" in text
    assert "| pupil | 1,000 | 4,000 | - | - | 5.00 | 0.0020 | 0.0100 | - | - |" in text
    assert "| tiny | 1 | 6.00 | 0.0100 (0.0100 - 0.0100) | 100 | 0.0050 | 0.0040 | 100 / 100 / 100 |" in text
    draw_pareto(tmp_path / "pareto.png", points)
    assert (tmp_path / "pareto.png").stat().st_size > 1000


def test_names_of_the_picture_do_not_cover_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    points = [
        {"system": f"{kind}-{number}", "kind": kind, "bytes": 4000, "acoustic_rtf": 0.002, "wer": 0.05,
         "cross_entropy": 1.0 + number / 1000}
        for kind in ("member", "student") for number in range(12)
    ]  # fmt: skip
    # Far from all others, which so lie close together.
    points.append({**points[-1], "system": "unmeasured", "acoustic_rtf": None, "cross_entropy": 1.1})
    draw_pareto(tmp_path / "pareto.png", points)
    (figure,) = drawn
    renderer = RendererAgg(1100, 800, figure.dpi)
    for row, axes in enumerate(figure.axes):
        for text in axes.texts:
            assert isinstance(text, Annotation)
            text.update_positions(renderer)
        # Of the letters alone: an annotation's own extent holds its line too.
        names = {text.get_text(): Text.get_window_extent(text, renderer) for text in axes.texts}
        expected = {"member-0", *(f"student-{number}" for number in range(12))}
        assert set(names) == (expected | {"unmeasured"} if row < 2 else expected)
        for one, other in combinations(names.values(), 2):
            assert not one.overlaps(other)


def test_a_peer_of_another_sample_rate_is_left_out(tmp_path: Path) -> None:
    assert pocketsphinx_peers(Lexicon(), tmp_path / "G.arpa", tmp_path, 8000) == {}


def test_pocketsphinx_recognises_with_our_words(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    lexicon = Lexicon.from_mapping(
        {"YES": [["Y", "EH1", "S"]], "NO": [["N", "OW"], ["N", "OW1"], ["N", "QX"]]}
    )
    arpa = "\\data\\\nngram 1=4\n\n\\1-grams:\n-99 <s>\n-0.5 </s>\n-0.5 YES\n-0.5 NO\n\n\\end\\\n"
    (tmp_path / "G.arpa").write_text(arpa)
    peers = pocketsphinx_peers(lexicon, tmp_path / "G.arpa", tmp_path, 16000)
    assert (tmp_path / "pocketsphinx.dict").read_text() == "YES Y EH S\nNO N OW\n"
    same = peers["pocketsphinx, same LM"]
    samples = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    words, timing = same(samples)
    assert set(words) <= {"YES", "NO"}
    assert timing.total > 0
    latency = same.latency(samples)
    assert latency is not None and latency > 0
