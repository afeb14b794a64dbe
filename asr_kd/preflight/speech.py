"""What stages features and align have to do."""

from collections.abc import Sequence
from itertools import groupby

from asr_kd import costs
from asr_kd.costs import Step, divided
from asr_kd.features.extract import PIECE_SECONDS
from asr_kd.hmm.corpus import MAX_SHARDS, SHARD_FRAMES
from asr_kd.hmm.shards import BLOCK_FRAMES
from asr_kd.hmm.speed import GAUSSIAN, GRAPHS, TRIPHONE_ALIGNMENT, count_passes
from asr_kd.layout import TRAIN
from asr_kd.models.registry import named_settings
from asr_kd.preflight import measure_speech
from asr_kd.preflight.measure import KALDI, NUMPY
from asr_kd.preflight.measure_speech import FEATURES
from asr_kd.preflight.plan import Need, Plan, Scene
from asr_kd.preflight.sizes import PARTS
from asr_kd.preflight.trainings import Trainings, parameters, scoring
from asr_kd.stages import given_frames
from asr_kd.stages.realignment import labels_folder

# Units that are not measured: a byte of statistics on its way to the main process, and an arc of a graph.
STATISTICS, ARC = "byte of statistics", "arc of a graph"
_SAMPLE_SECONDS = 120.0  # of the training part, for measurements
# Memory of a frame that a worker keeps of what it would have to make again: features and transcript graphs.
_KEPT_BYTES_A_FRAME = 400
_ARPA_BYTES = 40  # of an n-gram
# A training takes so much more than its passes on a sample: what the main process does between them, and
# that a corpus does not fit the processor's caches. Of two corpora.
_BEYOND_PASSES = 1.25
# Alignment with the scores of a network has none of Gaussians to compute.
_SEARCH_SHARE = 0.5


def _sample(scene: Scene) -> measure_speech.Sample:
    every = scene.sizes.train
    seconds = sum(one.duration_seconds or 0.0 for one in every)
    wanted = max(1, round(len(every) * min(1.0, _SAMPLE_SECONDS / seconds)))
    chosen = tuple(every[place * len(every) // wanted] for place in range(wanted))
    data = scene.config.data
    return measure_speech.Sample(chosen, scene.config.features, data.sample_rate, data.resample)


def _longest_piece(scene: Scene) -> float:
    """Seconds of audio that a worker has in memory at once."""
    speakers = groupby(scene.sizes.train, key=lambda one: one.speaker)
    totals = (sum(one.duration_seconds or 0.0 for one in own) for _, own in speakers)
    return min(PIECE_SECONDS, max(totals, default=0.0))


def need_features(scene: Scene, plan: Plan) -> None:
    """Have the computation of features measured."""
    plan.needs[FEATURES] = Need(measure_speech.measure_features, _sample(scene), scene.workers)


def extract(scene: Scene, plan: Plan, parts: Sequence[str], stage: str) -> None:
    """Add the features of some parts to the plan of a stage, where they are missing."""
    config, sizes = scene.config, scene.sizes
    folders = {part: scene.work / "features" / part for part in parts}
    waiting = [part for part, folder in folders.items() if scene.lacks(folder) and folder not in plan.files]
    if not waiting or given_frames.is_given(config):
        return
    for part in waiting:
        size = sizes.parts[part]
        bins, cepstra = config.features.mel_bins, config.features.cepstra
        stored = costs.features_bytes(size.frames, size.utterances, bins, cepstra)
        plan.write(stage, folders[part], stored)
    need_features(scene, plan)
    seconds, piece = sum(sizes.parts[part].seconds for part in waiting), _longest_piece(scene)
    slots = scene.processes(costs.features_memory(piece))
    data = round(costs.USUAL_BYTES_A_SECOND * piece)
    jobs = divided({FEATURES: seconds}, slots)
    plan.steps.append(Step(stage, f"features of {', '.join(waiting)}", jobs, slots, NUMPY, data))


def plan_features(scene: Scene, plan: Plan) -> None:
    """The frame stores of train, dev and test."""
    extract(scene, plan, PARTS, "features")


def plan_align(scene: Scene, plan: Plan) -> None:
    """The alignment model, labels and graphs."""
    align, rounds = scene.config.align, scene.config.align.realign.rounds
    if given_frames.is_given(scene.config):
        return
    first = labels_folder(scene.work, 0, rounds)
    if scene.lacks(first):
        plan.write("align", first, 4 * (scene.sizes.frames(*PARTS) + scene.sizes.senones))
    if not align.hclg:
        _plan_model(scene, plan)
        if scene.lacks(first) and not align.labels:
            _plan_alignment(scene, plan, "labels", 1.0)
        for number in range(1, rounds + 1):
            _plan_round(scene, plan, number)
    _plan_graphs(scene, plan)


def _plan_model(scene: Scene, plan: Plan) -> None:
    gmm, folder = scene.config.align.gmm, scene.work / "align" / "model"
    if not scene.lacks(folder):
        return
    frames = scene.sizes.frames(TRAIN)
    shards = max(1, min(frames // SHARD_FRAMES, MAX_SHARDS))
    slots = min(shards, scene.processes(costs.alignment_memory(BLOCK_FRAMES)))
    need_passes(scene, plan)
    passes = count_passes(gmm, frames, shards)
    jobs = divided({name: _BEYOND_PASSES * count for name, count in passes.items()}, slots)
    kept = _KEPT_BYTES_A_FRAME * frames // slots
    plan.steps.append(Step("align", "alignment model", jobs, slots, KALDI, kept))
    # Means and variances in float64, of every shard and pass; mixtures grow on the way.
    model = 16 * gmm.gaussians * gmm.dimensions
    travels = model * shards * 2 * gmm.triphone_passes / 2
    plan.steps.append(Step("align", "statistics of the alignment model", ({STATISTICS: travels},)))
    plan.write("align", folder, model)
    plan.need_scratch("align", 4 * frames)


def need_passes(scene: Scene, plan: Plan) -> None:
    """Have the passes of the alignment model measured."""
    lexicon = scene.work / "data" / "lexicon_align.txt"
    aligned = measure_speech.Aligned(_sample(scene), lexicon, scene.config.align.gmm)
    need = Need(measure_speech.measure_alignment, aligned, scene.workers)
    plan.needs |= dict.fromkeys((*count_passes(scene.config.align.gmm, 1), GAUSSIAN), need)


def _plan_alignment(scene: Scene, plan: Plan, what: str, share: float) -> None:
    """Align all parts anew; `share` of the time that it takes with Gaussians."""
    need_passes(scene, plan)
    frames = scene.sizes.frames(*PARTS)
    jobs = divided({GRAPHS: frames, TRIPHONE_ALIGNMENT: share * frames}, scene.workers)
    plan.steps.append(Step("align", what, jobs, scene.workers, KALDI))


def _plan_round(scene: Scene, plan: Plan, number: int) -> None:
    realign, work = scene.config.align.realign, scene.work
    network, labels = work / "align" / f"network-round-{number}", labels_folder(work, number, realign.rounds)
    if scene.lacks(network):
        trainings = Trainings(scene, plan, "align", f"network of round {number}")
        trainings.add(realign.model, "align.realign.model", scene.sizes.frames(TRAIN), realign.optimiser)
        trainings.finish()
        model = named_settings(scene.config.models, realign.model, "align.realign.model")
        plan.write("align", network, costs.network_bytes(parameters(scene, model)))
    if scene.lacks(labels):
        frames = scene.sizes.frames(*PARTS)
        # The main process computes the scores, while others align with those it has.
        work_of_main = scoring(scene, plan, realign.model, "align.realign.model", frames)
        plan.steps.append(Step("align", f"scores of round {number}", (work_of_main,)))
        _plan_alignment(scene, plan, f"labels of round {number}", _SEARCH_SHARE)
        plan.write("align", labels, 4 * (frames + scene.sizes.senones))


def _plan_graphs(scene: Scene, plan: Plan) -> None:
    for name, ngrams in scene.sizes.ngrams.items():
        folder = scene.work / "align" / f"graph-{name}"
        if scene.lacks(folder):
            arcs = costs.ARCS_AN_NGRAM * ngrams
            plan.steps.append(Step("align", f"graph {name}", ({ARC: arcs},)))
            plan.write("align", folder, costs.BYTES_AN_ARC * arcs + _ARPA_BYTES * ngrams)
