"""What networks take on GPUs that are not here: from their operations, the bytes they move, given speeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from asr_kd import costs
from asr_kd.errors import AsrKdError
from asr_kd.preflight.measure_networks import Network, Stored, Training
from asr_kd.preflight.trainings import count_parameters

# Bytes that a GPU's memory reads and writes: of a parameter and update (weight, gradient, two moments, the
# weight in bf16); of an output and frame of a pass; of a posterior of each teacher, and of their mean, that
# become soft targets.
_UPDATE_BYTES, _SCORE_BYTES, _TEACHER_BYTES, _MEAN_BYTES = 40, 16, 28, 60
_SCORED_FRAMES = 4096  # of a pass
_GRADIENT_BYTES = 4


@dataclass(frozen=True)
class Cluster:
    """What there is to compute with.

    Attributes:
        gpus: in all.
        gpus_a_machine: at most; one training uses one machine.
        cores: of processors, for each GPU.
        teraflops: that a GPU reaches in a bf16 matrix product.
        share: of these that the products of a network reach, 0 to 1.
        terabytes: a second, that a GPU's memory reads and writes.
        link: gigabytes a second from a GPU to another of its machine.
        network: gigabytes a second between a machine and the disks.
    """

    gpus: int
    gpus_a_machine: int
    cores: int
    teraflops: float
    share: float
    terabytes: float
    link: float
    network: float

    @property
    def gpus_here(self) -> int:
        """Of one machine."""
        return min(self.gpus, self.gpus_a_machine)

    @property
    def machines(self) -> int:
        """As many as these GPUs need."""
        return -(-self.gpus // self.gpus_a_machine)

    def computing(self, operations: float, moved: float) -> float:
        """Seconds of a GPU for so many operations of matrix products, and bytes beside them."""
        return operations / (self.share * self.teraflops * 1e12) + moved / (self.terabytes * 1e12)


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


def clusters(given: Mapping[str, str]) -> list[Cluster]:
    """The clusters that the verb's arguments describe, one for each number of GPUs.

    Raises:
        AsrKdError: a value that is no number above 0.
    """
    number = partial(given_number, given)
    counts = [given_number({"gpus": one}, "gpus", 1) for one in given.get("gpus", "1,8,64").split(",")]
    return [
        Cluster(
            int(count), int(number("gpus_a_machine", 8)), int(number("cores", 8)), number("teraflops"),
            number("share", 0.5), number("terabytes"), number("link", 200), number("network", 2),
        )
        for count in counts
    ]  # fmt: skip


def given_number(given: Mapping[str, str], name: str, default: float = 0.0) -> float:
    """A number above 0 among the verb's arguments.

    Raises:
        AsrKdError: it is none.
    """
    try:
        value = float(given.get(name, default))
    except ValueError as error:
        raise AsrKdError(f"{name}={given[name]}: give a number") from error
    if value <= 0:
        hint = "; `make bench-gpu` measures it" if name in ("teraflops", "terabytes") else ""
        raise AsrKdError(f"{name}={given.get(name, '')}: give a number above 0{hint}")
    return value
