"""What networks take on GPUs that are not here: from their operations, the bytes they move, given speeds."""

from asr_kd import costs
from asr_kd.preflight.cluster import Cluster
from asr_kd.preflight.measure_networks import Network, Stored, Training
from asr_kd.preflight.trainings import count_parameters

# Bytes that a GPU's memory reads and writes: of a parameter and update (weight, gradient, two moments, the
# weight in bf16); of an output and frame of a pass; of a posterior of each teacher, and of their mean, that
# become soft targets.
_UPDATE_BYTES, _SCORE_BYTES, _TEACHER_BYTES, _MEAN_BYTES = 40, 16, 28, 60
_SCORED_FRAMES = 4096  # of a pass
_GRADIENT_BYTES = 4


def parameters(network: Network) -> int:
    """Of a network that is planned."""
    return count_parameters(network.model, network.dims, network.senones)


def scored(network: Network, cluster: Cluster) -> float:
    """Seconds of a GPU to score a frame: a multiplication and an addition a parameter."""
    moved = network.senones * _SCORE_BYTES + 4 * parameters(network) / _SCORED_FRAMES
    return cluster.computing(2 * parameters(network), moved)


def stored(store: Stored, cluster: Cluster) -> float:
    """Seconds of a GPU to make soft targets of a frame of all teachers' posteriors."""
    return cluster.computing(0, store.senones * (_TEACHER_BYTES * store.teachers + _MEAN_BYTES))


def learnt(training: Training, cluster: Cluster, processes: int) -> float:
    """Seconds that a frame of a training takes, by several GPUs together.

    Forward and back are three passes, of which each GPU does its share of every batch; each updates all
    parameters; then gradients are exchanged, here as if nothing else were done meanwhile.

    Args:
        training: what is trained, and on batches of how many frames.
        cluster: the GPUs.
        processes: that train together.
    """
    network, batch = training.network, training.optimiser.batch_frames
    logits = network.senones * costs.BYTES_A_TRAINED_LOGIT
    share = cluster.computing(6 * parameters(network), logits) / processes
    update = cluster.computing(0, _UPDATE_BYTES * parameters(network)) / batch
    return share + update + exchanged(training, processes) / (cluster.link * 1e9)


def exchanged(training: Training, processes: int) -> float:
    """Bytes that each process of a training sends to others for a frame: two ways round the ring."""
    gradient = _GRADIENT_BYTES * parameters(training.network)
    return 2 * (processes - 1) / processes * gradient / training.optimiser.batch_frames
