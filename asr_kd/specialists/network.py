"""A specialist's network: the generalist's, with one output a class of its set and one for all others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel, build


def specialist_from(
    generalist: AcousticModel, classes: Sequence[int], counts: Sequence[float], seed: int
) -> AcousticModel:
    """The network that a specialist's training begins with: the generalist's weights.

    The dustbin stands for all senones r outside the set, and the logarithm of their summed exponentials has
    the bound ``sum_r pi_r z_r + entropy(pi)`` for every distribution pi (Jensen); with pi in proportion to
    `counts` it is linear in the last hidden layer: one row of weights and a bias.

    Args:
        generalist: of any kind with one linear layer on top.
        classes: its set.
        counts: frames of every senone in training, ``(senones,)``.
        seed: of weights that are then replaced.

    Raises:
        AsrKdError: the outputs are not those of one linear layer.
    """
    description = generalist.description()
    settings = {"kind": description["kind"], **description["settings"]}
    own = build(settings, generalist.input_dims, len(classes) + 1, seed)
    weights, outputs = generalist.state_dict(), _output_names(generalist)
    rest = torch.ones(generalist.senones, dtype=torch.bool)
    rest[list(classes)] = False
    shares = torch.tensor(counts, dtype=torch.float64)[rest] + 1e-3  # of senones never seen too
    shares = shares / shares.sum()
    for name in outputs:
        dustbin = torch.tensordot(shares, weights[name][rest].double(), 1)
        if weights[name].dim() == 1:
            dustbin = dustbin + torch.special.entr(shares).sum()
        rows = [weights[name][list(classes)], dustbin.to(weights[name])[None]]
        weights[name] = torch.cat(rows)
    own.load_state_dict(weights)
    return own


def _output_names(model: AcousticModel) -> list[str]:
    """The weights that have one row a senone: those whose shape another number of senones would change."""
    description = model.description()
    settings = {"kind": description["kind"], **description["settings"]}
    with torch.device("meta"):
        other: dict[str, Tensor] = build(settings, model.input_dims, model.senones + 1).state_dict()
    found = {name: weight for name, weight in model.state_dict().items() if other[name].shape != weight.shape}
    shapes = {weight.shape[1:] for weight in found.values()}
    if len(found) != 2 or torch.Size([]) not in shapes:
        raise AsrKdError(
            f"a {description['kind']} cannot be the generalist: its outputs are not one linear layer; "
            "give train.specialists.generalist: another member"
        )
    return sorted(found)
