"""What stages decode and bench have to do."""

from importlib.util import find_spec

from asr_kd import costs
from asr_kd.artifacts import Artifact
from asr_kd.costs import Amounts, Step, divided
from asr_kd.decoding.systems import Kind
from asr_kd.hmm.speed import GAUSSIAN
from asr_kd.jobs import available_cores
from asr_kd.layout import member_folders
from asr_kd.preflight import measure_speech
from asr_kd.preflight.measure import EVERYTHING
from asr_kd.preflight.measure_speech import FEATURES, SEARCH
from asr_kd.preflight.networks import EXPORT, export_data, find_network
from asr_kd.preflight.plan import Need, Plan, Scene
from asr_kd.preflight.speech import need_features, need_passes
from asr_kd.preflight.trainings import member_models, scoring, teaching, total
from asr_kd.report.results import headline_lm
from asr_kd.stages import given_frames

# Units that are not measured: what a decoding takes however short it is; a process that only recognises.
DECODING, FRESH, PEER = "decoding", "fresh process", "second of audio for the peers"
# What exported systems take, against those in torch: of features, which they compute as a stream does, and of
# the network, in float32; and streams for latency, in passes.
_STREAMED_FEATURES, _EXPORTED_NETWORK, _LATENCY_PASSES = 4.5, 1.8, 4.0
# A search in the stand-in graph of `measure_search` takes so many frames in a graph of `SEARCHED_WORDS`: the
# mean of two runs each of an4 and speechocean762, which are up to 15 % from it.
_STAND_IN = 0.47
_RESULT_BYTES = 30_000  # tables and pictures of a bench


def systems(scene: Scene) -> dict[str, Kind]:
    """The systems of the recipe that will be there, by name; see `decoding.systems.recipe_systems`."""
    config = scene.config
    members = member_folders(config, scene.work)
    found: dict[str, Kind] = {} if config.align.hclg else {"gmm": "gmm"}
    found |= {folder.name: "member" for folder in members}
    if len(members) + len(config.distill.teachers) > 1:
        found["ensemble"] = "ensemble"
    if config.train.specialists.count:
        found["specialists"] = "specialists"
    found |= dict.fromkeys(config.distill.students, "student")
    found |= dict.fromkeys(config.compress.pruned, "pruned")
    return found | dict.fromkeys(config.compress.int8, "int8")


def _acoustic(scene: Scene, plan: Plan, name: str, frames: float) -> Amounts:
    """The work of scoring frames with a system."""
    kind, config = systems(scene)[name], scene.config
    if kind == "gmm":
        need_passes(scene, plan)
        return {GAUSSIAN: frames * config.align.gmm.gaussians}
    if kind in ("ensemble", "specialists", "member"):
        return teaching(scene, plan, frames, name)
    network = config.compress.int8[name].network if kind == "int8" else name
    keep, student = find_network(scene, network)
    return scoring(scene, plan, student.model, "distill.students", frames, keep)


def _search(scene: Scene, plan: Plan, lm: str, frames: float) -> Amounts:
    """The work of searching frames at the largest beam, in the graph if it is there and stays."""
    work, decode = scene.work, scene.config.decode
    needed = [work / "align" / name for name in (f"graph-{lm}", "model", "labels")]
    if not any(map(scene.lacks, (*needed, work / "features" / "dev"))) and not scene.config.align.hclg:
        unit = f"frame searched in {lm}"
        beam, active = max(decode.beams), decode.max_active
        of = measure_speech.Searched(
            unit, work, needed[0], Artifact(needed[0]).digest, beam, active, scene.seconds
        )
        plan.needs.setdefault(unit, Need(measure_speech.measure_graph, of, scene.workers))
        return {unit: frames}
    plan.needs.setdefault(SEARCH, Need(measure_speech.measure_search, scene.seconds, scene.workers))
    effort = costs.search_effort(scene.sizes.words, decode.max_active, max(decode.beams))
    return {SEARCH: frames * effort * _STAND_IN}


def is_guessed(scene: Scene) -> bool:
    """Whether searches are estimated without their graph."""
    return any(scene.lacks(scene.work / "align" / f"graph-{lm}") for lm in scene.config.lms)


def plan_decode(scene: Scene, plan: Plan) -> None:
    """Hypotheses of all systems with all language models."""
    config, sizes, works = scene.config, scene.sizes, list[Amounts]()
    if given_frames.is_given(config):
        return
    shift, decode = config.features.frame_shift_milliseconds, config.decode
    dev, test = sizes.frames("dev"), sizes.frames("test")
    tuned = decode.tuning_seconds * 1000 / shift
    effort = costs.searched_frames(dev, test, tuned, decode.beams, len(decode.acoustic_scales))
    utterances = sizes.parts["dev"].utterances + sizes.parts["test"].utterances
    for name in systems(scene):
        waiting = [lm for lm in config.lms if scene.lacks(scene.work / "decode" / lm / name)]
        if waiting:
            works.append(_acoustic(scene, plan, name, dev + test))
        for lm in waiting:
            works += [_search(scene, plan, lm, effort), {DECODING: 1.0}]
            size = costs.TEXTS_BYTES + costs.BYTES_AN_UTTERANCE * utterances
            plan.write("decode", scene.work / "decode" / lm / name, size)
    if works:
        graphs = sum(sizes.ngrams.values()) * costs.ARCS_AN_NGRAM * costs.BYTES_AN_ARC
        longest = max(sizes.parts[part].longest for part in ("dev", "test"))
        private = costs.search_memory(graphs) + costs.scoring_memory(longest, sizes.senones, 0)
        slots = scene.processes(private)
        data = private - costs.KALDI_PROCESS - costs.TORCH_PROCESS
        plan.steps.append(Step("decode", "decodings", divided(total(works), slots), slots, EVERYTHING, data))
        plan.need_scratch("decode", costs.SCORE_BYTES * sizes.senones * (dev + test))


def plan_bench(scene: Scene, plan: Plan) -> None:
    """Real-time factors in torch, and of exported systems."""
    if given_frames.is_given(scene.config):
        return
    # Networks are exported by the main process, which keeps what that took.
    exported = export_data(scene, [*scene.config.distill.students, *scene.config.compress.pruned])
    for folder, measured, data in (("bench", _in_torch, 0), ("bench-deployed", _deployed, exported)):
        if scene.lacks(scene.work / folder):
            work = measured(scene, plan)
            plan.steps.append(Step("bench", folder, (work,), 1, EVERYTHING, data))
            plan.write("bench", scene.work / folder, _RESULT_BYTES)


def _benched(scene: Scene) -> tuple[float, float]:
    """Seconds and frames of audio that are recognised in a pass."""
    bench, shift = scene.config.bench, scene.config.features.frame_shift_milliseconds
    seconds = min(bench.seconds_of_audio, scene.sizes.parts["test"].seconds)
    return seconds, seconds * 1000 / shift


def _recognition(scene: Scene, plan: Plan, name: str, features: float, network: float) -> list[Amounts]:
    """The work of recognising the audio of a pass once; features and network take so much more of theirs."""
    seconds, frames = _benched(scene)
    need_features(scene, plan)
    searched = frames * costs.usual_effort(scene.config.decode.beams)
    return [
        {FEATURES: features * seconds},
        _acoustic(scene, plan, name, network * frames),
        _search(scene, plan, headline_lm(scene.config), searched),
    ]


def _in_torch(scene: Scene, plan: Plan) -> Amounts:
    """Of members one an architecture."""
    config, works, known = scene.config, list[Amounts](), set[str]()
    models = member_models(scene)
    for name, kind in systems(scene).items():
        if config.bench.systems and name not in config.bench.systems:
            continue
        if kind == "member" and not config.bench.systems:
            if models[name] in known:
                continue
            known.add(models[name])
        works += _recognition(scene, plan, name, 1.0, 1.0)
    return _times(total(works), config.bench.passes + 1)


def _deployed(scene: Scene, plan: Plan) -> Amounts:
    """Of students and compressed networks, with the threads of the setting and with all cores."""
    config, works, count = scene.config, list[Amounts](), 0
    for name, kind in systems(scene).items():
        if kind in ("student", "pruned", "int8") and name in (config.bench.systems or [name]):
            works += _recognition(scene, plan, name, _STREAMED_FEATURES, _EXPORTED_NETWORK)
            count += 1
    threads = len({config.bench.threads, available_cores()})
    recognising = _times(total(works), threads * (config.bench.passes + 1 + _LATENCY_PASSES))
    others: dict[str, float] = {EXPORT: count, FRESH: count * threads}
    if config.bench.peers and find_spec("pocketsphinx"):
        others[PEER] = _benched(scene)[0] * (config.bench.passes + 1)
    return total([recognising, others])


def _times(work: Amounts, factor: float) -> Amounts:
    return {unit: amount * factor for unit, amount in work.items()}
