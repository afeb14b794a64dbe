"""What work takes in memory, time and on disk: pure functions of sizes and of constants.

The first ones, of private memory, decide how many worker processes a memory budget has room for, and are
upper estimates. The others are what the preflight estimate is made of: a stage is some `Step`s, whose work is
counted in units (frames through a network, seconds of audio, ...); what a unit takes on a machine are its
`Constants`. All is linear in the units.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MEGABYTE = 1_000_000

# A worker process with its libraries, before it has any data.
NUMPY_PROCESS = 60 * MEGABYTE
KALDI_PROCESS = 120 * MEGABYTE
TORCH_PROCESS = 400 * MEGABYTE
EVERY_PROCESS = (NUMPY_PROCESS, KALDI_PROCESS, TORCH_PROCESS)

# Feature extraction, of a second of audio at 16 kHz: samples, padded samples, energies and features. At most,
# and as it was measured where nothing is converted or perturbed.
BYTES_A_SECOND = 600_000
USUAL_BYTES_A_SECOND = 200_000
# Gathering of GMM statistics, of a frame: transformed features, sorted copies, float64.
BYTES_A_STATISTICS_FRAME = 1_200
# Tree statistics, of a triphone state that was seen: its name and place (its sums are in a file). And those
# of a few pieces of the corpus, on their way from the workers.
BYTES_A_TRIPHONE_STATE = 100
TREE_PIECES = 50 * MEGABYTE
# Training, of a parameter: weight, gradient, two moments, the best weights, and a checkpoint on its way.
BYTES_A_PARAMETER = 28
# Training, of a logit of a batch: logits, log posteriors, soft targets, gradients.
BYTES_A_TRAINED_LOGIT = 40
# Scoring, of a posterior of a block of frames and a teacher: logits and log posteriors.
BYTES_A_SCORE = 12
# Writing of a network as ONNX, and in 8-bit integers: the libraries, and copies of every parameter. Measured
# with networks of 1.4 to 28 million parameters.
EXPORT_LIBRARIES, BYTES_AN_EXPORTED_PARAMETER = 60 * MEGABYTE, 42
# Learning of temperatures and weights on a sample of scores of dev, in float64 and some copies.
BYTES_A_SAMPLED_SCORE = 40
# A decoding graph, of a byte on disk: what is read, and laid out flat for the search.
BYTES_A_GRAPH_BYTE = 2.5


def features_memory(seconds: float) -> int:
    """Of a worker that computes features of so many seconds of audio at once."""
    return NUMPY_PROCESS + int(BYTES_A_SECOND * seconds)


def alignment_memory(statistics_frames: int) -> int:
    """Of a worker that aligns, and gathers statistics of so many frames at once."""
    return KALDI_PROCESS + BYTES_A_STATISTICS_FRAME * statistics_frames


def tree_memory(frames: int, phones: int) -> int:
    """Of the main process that adds up tree statistics of so many frames of speech with so many phones."""
    return TREE_PIECES + BYTES_A_TRIPHONE_STATE * min(frames, 3 * phones**3)


def training_memory(shard_bytes: int, parameters: int, batch_frames: int, senones: int) -> int:
    """Of a process that trains a network.

    Args:
        shard_bytes: of training data that are held at once.
        parameters: of the network.
        batch_frames: of an update.
        senones: classes.
    """
    logits = batch_frames * senones * BYTES_A_TRAINED_LOGIT
    return TORCH_PROCESS + shard_bytes + parameters * BYTES_A_PARAMETER + logits


def scoring_memory(frames: int, senones: int, model_bytes: int, models: int = 1) -> int:
    """Of a process that scores with some models together.

    Args:
        frames: at once.
        senones: classes.
        model_bytes: of all models on disk.
        models: how many.
    """
    return TORCH_PROCESS + 2 * model_bytes + (models + 2) * frames * senones * BYTES_A_SCORE


def export_memory(frames: int, senones: int, parameters: int) -> int:
    """Of a process that writes a network as ONNX, and compares both on utterances of at most `frames`."""
    network = BYTES_AN_EXPORTED_PARAMETER * parameters
    return scoring_memory(frames, senones, 0) + EXPORT_LIBRARIES + network


def search_memory(graph_bytes: int) -> int:
    """Of a process that searches decoding graphs of so many bytes on disk."""
    return KALDI_PROCESS + int(BYTES_A_GRAPH_BYTE * graph_bytes)


@dataclass(frozen=True)
class Constants:
    """What a machine takes.

    Attributes:
        seconds: that a process takes for a unit of work, by unit; all others work as they do in a run.
        bytes: of private memory: of a process with some libraries, by `Step.libraries`; beside that, what a
            unit of work needs however much there is to do, by unit.
    """

    seconds: Mapping[str, float]
    bytes: Mapping[str, int]


Amounts = Mapping[str, float]


@dataclass(frozen=True)
class Step:
    """Work of a stage that is done side by side.

    Attributes:
        stage: its name.
        what: is made, in words.
        jobs: how much work each is, in units; each is done by one process.
        processes: that work at a time.
        libraries: that these load when they start; none: the main process does it.
        data_bytes: private memory of a process for its data.
    """

    stage: str
    what: str
    jobs: tuple[Amounts, ...]
    processes: int = 1
    libraries: str = ""
    data_bytes: int = 0


def divided(amounts: Amounts, pieces: int) -> tuple[Amounts, ...]:
    """Work in equal jobs."""
    return ({unit: amount / pieces for unit, amount in amounts.items()},) * pieces


def step_seconds(step: Step, constants: Constants) -> float:
    """How long a step takes, processes that start included."""
    start = constants.seconds[step.libraries] if step.libraries and step.jobs else 0.0
    lengths = [sum(amount * constants.seconds[unit] for unit, amount in job.items()) for job in step.jobs]
    return start + makespan(lengths, step.processes)


def makespan(lengths: Sequence[float], processes: int) -> float:
    """When the last job is done, if each goes, in this order, to the first process that is free."""
    free = [0.0] * max(1, processes)
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def process_bytes(step: Step, constants: Constants) -> int:
    """Private memory of one process of a step."""
    units = {unit for job in step.jobs for unit in job}
    working = max((constants.bytes.get(unit, 0) for unit in units), default=0)
    return constants.bytes.get(step.libraries, 0) + working + step.data_bytes


def step_bytes(step: Step, constants: Constants) -> int:
    """Private memory of all processes of a step together, without the main process."""
    return min(step.processes, len(step.jobs)) * process_bytes(step, constants) if step.libraries else 0


# --- how much work there is ---------------------------------------------------------------------------------

# Tuning on dev: so many trials at the largest beam (the walk down the valley, and its bottom), and at smaller
# ones. What was counted in runs on three corpora: 3 to 6, and 1 to 2.
TRIALS, SMALLER_TRIALS = 4.5, 1.4
# A search takes so much less time for every unit of beam less (natural logarithm), measured on two corpora.
BEAM_RATE = 0.19
# Before there is a graph: how much more a search takes than one with a hundred words and beam 12. So it is
# between the recipes an4, speechocean762 and librispeech_small, within a fifth.
SEARCHED_WORDS, SEARCHED_BEAM, SEARCH_GROWTH = 100, 12.0, 0.72
# Active states for every word of a vocabulary; what is beyond `max_active` is cut off.
ACTIVE_A_WORD = 0.77
# Arcs of HCLG for an n-gram of the language model, at most (11 to 22 in three recipes), and bytes of an arc.
ARCS_AN_NGRAM, BYTES_AN_ARC = 20, 21


def searched_frames(dev: int, test: int, tuned: float, beams: Sequence[float], scales: int) -> float:
    """The frames that a system's decoding with one language model goes through, as at the largest beam.

    Args:
        dev: frames of dev.
        test: frames of test.
        tuned: frames of dev that are tuned on, at most.
        beams: to choose from.
        scales: of the grid; a single one is not tuned.
    """
    tuning = dev / max(1, math.ceil(dev / tuned))
    ordered = sorted(beams)
    trials = TRIALS if scales > 1 else 1.0
    smaller = min(SMALLER_TRIALS, len(ordered) - 1)
    tuned_with = trials + smaller * beam_effort(ordered[0], ordered[-1])
    return tuning * tuned_with + (dev + test) * usual_effort(beams)


def usual_effort(beams: Sequence[float]) -> float:
    """What a search takes with the beam that is chosen from some, against one with the largest."""
    ordered = sorted(beams)
    return beam_effort(ordered[(len(ordered) - 1) // 2], ordered[-1])


def beam_effort(beam: float, largest: float) -> float:
    """What a search takes with a beam, against one with a larger beam."""
    return math.exp(-BEAM_RATE * (largest - beam))


def search_effort(words: int, max_active: int, beam: float) -> float:
    """How much more a frame takes than one with `SEARCHED_WORDS` and `SEARCHED_BEAM`; a rough guess."""
    limited = min(max(1, words), max_active / ACTIVE_A_WORD)
    growth: float = (limited / SEARCHED_WORDS) ** SEARCH_GROWTH
    return growth * beam_effort(beam, SEARCHED_BEAM)


# --- what is written ----------------------------------------------------------------------------------------

# Of a checkpoint: weights, two moments and the best weights. Of a training there are two and a new one.
CHECKPOINT_BYTES = 16
CHECKPOINT_BYTES_A_PARAMETER = 3 * CHECKPOINT_BYTES
SCORE_BYTES = 2  # of a senone and frame, while a system is decoded
TEXTS_BYTES, BYTES_AN_UTTERANCE = 40_000, 150  # of a decoding, of an index: tables and names
LOG_BYTES = 60_000  # of a training: log and curve


def features_bytes(frames: int, utterances: int, mel_bins: int, cepstra: int) -> int:
    """Of the features of a part."""
    return frames * (2 * mel_bins + 4 * cepstra) + BYTES_AN_UTTERANCE * utterances // 4


def network_bytes(parameters: float) -> int:
    """Of a network with its log."""
    return int(4 * parameters) + LOG_BYTES


def targets_bytes(frames: int, kept: int, stored_at: int, temperatures: int, rank: int) -> int:
    """Of soft targets: `kept` ids, their levels at some temperatures, the mass of the rest and its shape."""
    return frames * (2 * kept + kept * stored_at + 2 * temperatures + rank)


def shard_bytes(frames: int, dims: int, kept: int = 0, rank: int = 0) -> int:
    """Of training data in memory: features, label and place of every frame; soft targets if any are kept."""
    soft = 5 * kept + 2 + rank if kept else 0
    return frames * (2 * dims + 4 + 24 + soft)


@dataclass(frozen=True)
class Disk:
    """What a stage does to a disk, in bytes.

    Attributes:
        written: that stays.
        freed: of what is there already and is replaced.
        scratch: that is needed meanwhile.
    """

    written: int = 0
    freed: int = 0
    scratch: int = 0


def peak_disk(stages: Sequence[Disk]) -> int:
    """The room that stages need one after the other, beside what is there already."""
    peak = held = 0
    for stage in stages:
        # What is replaced goes when what replaces it is there.
        peak = max(peak, held + stage.written + stage.scratch)
        held += stage.written - stage.freed
    return peak
