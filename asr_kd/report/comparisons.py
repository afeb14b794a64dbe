"""Who is better than whom, for ``report.json``: against the mean single network, and system by system."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asr_kd.config import CompressConfig, Config, PruneConfig, StudentConfig
from asr_kd.report.rates import interval_json
from asr_kd.report.results import Decoded, Results
from asr_kd.report.seeds import but_seed
from asr_kd.seeding import generator
from asr_kd.significance.comparison import Comparison, compare
from asr_kd.significance.multiple import holm
from asr_kd.significance.power import cautions

PART = "test"
MEAN_SINGLE = "mean_single"


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: of a system, or what the mean of several is called.
        systems: whose mean it is.
    """

    name: str
    systems: tuple[Decoded, ...]

    @classmethod
    def of(cls, system: Decoded) -> "Side":
        """A system alone."""
        return cls(system.system.name, (system,))

    @property
    def errors(self) -> np.ndarray:
        """``(utterances,)`` int64, the sum over the systems."""
        total: np.ndarray = np.sum([one.errors(PART) for one in self.systems], axis=0)
        return total

    @property
    def mean_errors(self) -> int | float:
        """On all of test; a whole number where there is but one system."""
        total, count = int(self.errors.sum()), len(self.systems)
        return total if count == 1 else total / count

    @property
    def slots(self) -> list[np.ndarray] | None:
        """The errors in their places; a mean, be it of one system, has none."""
        first = self.systems[0]
        return first.slots(PART) if self.name == first.system.name else None


def comparisons(config: Config, results: Results) -> dict[str, list[dict[str, Any]]]:
    """Compare on test; all lists are empty where test is but one utterance.

    Returns:
        ``comparisons``: ensemble, specialists and students against the mean single network. ``pairs``:
        specialists and students against the ensemble. ``compressed``: what was made of students against the
        ensemble, where there is none against the mean single network. ``against_source``: the same against
        what they were made of. ``against_controls``: see `against_controls`; then pruned networks against
        those pruned alike and trained on labels. ``against_generalist``: specialists and students against
        the one member that the specialists come from. ``against_gmm``: the mean single network, every
        member, ensemble, specialists and students against the GMM. The p values of the first two are
        corrected for being one family of tests, those of each of the others for being another.
    """

    def sides(*kinds: str) -> list[Side]:
        return [Side.of(entry) for entry in results.of_kind(*kinds)]

    def against(baseline: Side | None, systems: list[Side]) -> list[tuple[Side, Side]]:
        return [(system, baseline) for system in systems] if baseline else []

    mean = Side(MEAN_SINGLE, tuple(results.of_kind("member")))
    ensemble, gmm = (next(iter(sides(kind)), None) for kind in ("ensemble", "gmm"))
    taught, learnt = sides("ensemble", "specialists", "student"), sides("specialists", "student")
    wanted = {
        "comparisons": against(mean, taught),
        "pairs": against(ensemble, learnt),
        "compressed": against(ensemble or mean, sides("pruned", "int8")),
        "against_source": against_source(config.compress, results),
        "against_controls": [
            *against_controls(config.distill.students, results),
            *_pruned_on_labels(config.compress.pruned, results),
        ],
        "against_generalist": against(_generalist(results), learnt),
        "against_gmm": against(gmm, [mean, *sides("member"), *taught]),
    }
    found = {name: _statistics(config.seed, results, pairs) for name, pairs in wanted.items()}
    one_family = ("comparisons", "pairs")
    families = [[entry for name in one_family for entry in found[name]]]
    families += [entries for name, entries in found.items() if name not in one_family]
    for family in families:
        tests = [entry["mapsswe"] for entry in family if "mapsswe" in entry]
        for kind in (family, tests):
            for entry, adjusted in zip(kind, holm([entry["p"] for entry in kind]), strict=True):
                entry["p_holm"] = adjusted
    return found


def against_controls(students: Mapping[str, StudentConfig], results: Results) -> list[tuple[Side, Side]]:
    """Students beside the controls that saw the same transcribed speech: what the teacher is worth.

    An ensemble of nets that saw less is a poor measure of a student that saw more. Those that differ in
    their seed alone are one side.

    Args:
        students: the settings of students and controls.
        results: what was decoded.
    """
    soft: dict[str, list[Decoded]] = {}
    hard: dict[str, list[Decoded]] = {}
    speech: dict[str, dict[str, Any]] = {}
    for entry in results.of_kind("student"):
        settings = students[entry.system.name]
        key, seen = but_seed(asdict(settings)), asdict(settings.transfer)
        del seen["unlabelled"]  # labels alone teach nothing about audio without them
        (soft if settings.soft_weight > 0 else hard).setdefault(key, []).append(entry)
        speech[key] = seen
    return [
        (_runs(taught), _runs(controls))
        for key, taught in soft.items()
        for control, controls in hard.items()
        if speech[key] == speech[control]
    ]


def _pruned_on_labels(pruned: Mapping[str, PruneConfig], results: Results) -> list[tuple[Side, Side]]:
    """Networks pruned and trained with soft targets beside those pruned alike and trained on labels."""
    entries = [(pruned[entry.system.name], Side.of(entry)) for entry in results.of_kind("pruned")]
    return [
        (side, control)
        for soft, side in entries
        for hard, control in entries
        if (soft.targets, hard.targets) == ("soft", "hard")
        and (soft.student, soft.method, soft.keep) == (hard.student, hard.method, hard.keep)
    ]


def against_source(compress: CompressConfig, results: Results) -> list[tuple[Side, Side]]:
    """Pruned and 8-bit networks beside the student or pruned network that each was made of.

    Args:
        compress: how they were made.
        results: what was decoded.
    """
    sources = {name: one.student for name, one in compress.pruned.items()}
    sources |= {name: one.network for name, one in compress.int8.items()}
    known = {entry.system.name: Side.of(entry) for entry in results.of_kind("student", "pruned", "int8")}
    return [
        (known[entry.system.name], known[sources[entry.system.name]])
        for entry in results.of_kind("pruned", "int8")
    ]


def _runs(systems: Sequence[Decoded]) -> Side:
    first = systems[0].system.name
    return Side(first if len(systems) == 1 else f"{first} ({len(systems)} seeds)", tuple(systems))


def _generalist(results: Results) -> Side | None:
    """The member that the specialists come from; None where there are none."""
    for entry in results.of_kind("specialists"):
        name = entry.system.models[0].name
        return next(Side.of(one) for one in results.of_kind("member") if one.system.name == name)
    return None


def report_cautions(results: Results, found: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Why this test part's statistics should be read with care; `found` by `comparisons`."""
    test_set = results.test_sets[PART]
    tests = [entry["mapsswe"] for entries in found.values() for entry in entries if "mapsswe" in entry]
    segments = min((test["segments"] for test in tests), default=None)
    return cautions(len(test_set.words), test_set.speaker_count, segments)


def _statistics(seed: int, results: Results, pairs: Sequence[tuple[Side, Side]]) -> list[dict[str, Any]]:
    """Systems with their baselines."""
    found = [_comparison(seed, results, system, baseline) for system, baseline in pairs]
    return [one for one in found if one is not None]


def _comparison(seed: int, results: Results, system: Side, baseline: Side) -> dict[str, Any] | None:
    """A comparison as ``docs/report_schema.md`` describes it."""
    slots = (system.slots, baseline.slots)
    found = compare(
        results.test_sets[PART],
        system.errors,
        baseline.errors,
        generator(seed, "report", "comparison", system.name, baseline.name),
        len(system.systems),
        len(baseline.systems),
        (slots[0], slots[1]) if slots[0] is not None and slots[1] is not None else None,
    )
    if found is None:
        return None
    return {
        "system": system.name,
        "baseline": baseline.name,
        "part": PART,
        "by": found.by,
        "errors": system.mean_errors,
        "baseline_errors": baseline.mean_errors,
        "words": int(results.test_sets[PART].words.sum()),
        **statistics_json(found),
    }


def statistics_json(found: Comparison) -> dict[str, Any]:
    """The statistics of a pair, which reports and `asr-kd compare` share."""
    content: dict[str, Any] = {
        "difference": asdict(found.difference),
        "by_utterance": interval_json(found.by_utterance),
        "by_speaker": interval_json(found.by_speaker),
        "distinguishable": found.distinguishable,
        "improvement": found.improvement,
        "detectable": found.detectable,
        "p": found.p,
    }
    if found.matched_pairs:
        test = found.matched_pairs
        content["mapsswe"] = {"segments": test.segments, "mean": test.mean, "z": test.z, "p": test.p}
    return content
