"""Clusters that are planned with, as the command line describes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from asr_kd.errors import AsrKdError


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
