"""One distribution over all senones from a generalist and the specialists that have a say on a frame.

Hinton, Vinyals and Dean (2015), section 5.4: the q of least ``KL(p_g, q) + sum_m KL(p_m, q)``, m over the
active specialists. Specialist m knows the senones of its set S_m and one dustbin for all others, so q is
compared with ``p_m`` after its mass outside S_m is added up. Up to a constant, q maximises

    sum_j w_j log q_j + sum_m d_m log D_m,    D_m = sum of q_j over j outside S_m,                      (1)

where ``w_j`` is what the generalist and the active specialists give to senone j itself and ``d_m`` is the
mass of the dustbin of m; all of it sums to W = 1 + the number of active specialists. (1) is strictly concave
in q (not in the logits of q: there the dustbins are differences of two log-sum-exps), so there is one
solution, and two roads lead there:

- `combine_plain`: the EM algorithm for (1), the likelihood of counts some of which are known by group only
  (Dempster, Laird and Rubin 1977). Each step costs frames x specialists x senones, and there are many.
- `combine`: the same answer from an unknown for each active specialist in place of one for each senone.

**Why they agree.** At the maximum of (1) on the simplex the derivatives by all q_j are equal; multiplied by
q_j and summed they give W. With ``t_m = d_m / D_m`` that reads

    q_j = w_j / (W - sum of t_m over the m without j in their sets).                                    (2)

Because (1) is concave and the simplex convex, these conditions (Karush, Kuhn and Tucker) also suffice:
whoever finds positive q and t that satisfy them has found the maximum. Senones in the same sets (an *atom*)
have the same denominator s, so that within an atom q is proportional to w, and only the mass a_g of w in each
atom g is needed. What is left is, with B_gm = 1 where atom g lies outside S_m,

    q_g s_g = a_g,    t_m D_m = d_m,    s = W - B t,    D = B' q,                                       (3)

all of them positive. Linearised and with q, s and D eliminated, this has one unknown for each active
specialist and a symmetric positive definite matrix. It is the weighted centre that interior point methods
follow, and `_solve` does as they do: it begins with a and d raised to some mu, where Newton's method
converges well, and lets mu go to zero. With one active specialist one step of EM from ``q ~ w`` solves (3).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_STEPS = 80
_FIRST, _LAST = 1e-2, 1e-18  # mu; probability masses below the last are taken for it
_FALL = 0.1  # of mu in a step
_CLOSE = 1e-11  # largest error of (3) that is left
_TO_BOUNDARY = 0.95  # how far towards the boundary of the positive numbers a step may go
_RIDGE = 1e-14  # beside the 1 of a scaled diagonal
_LEAST_LOG = -600.0  # float64 holds its exponential
_FRAMES = 512  # at a time: bounds memory, which grows with frames x active specialists x atoms


class Opinion(NamedTuple):
    """What a specialist says of the frames that it is active on.

    Attributes:
        frames: which, ``(active,)`` int64.
        classes: its set, ``(size,)`` int64 senones, each once.
        log_posteriors: of its classes and, last, of the dustbin, ``(active, size + 1)``.
    """

    frames: Tensor
    classes: Tensor
    log_posteriors: Tensor


class _Evidence(NamedTuple):
    """The terms of (1), float64.

    Attributes:
        weights: w, ``(frames, senones)``.
        dustbins: d, ``(frames, specialists)``; 0 where one is not active.
        total: W, ``(frames, 1)``.
        outside: ``(specialists, senones)``, 1 where a senone is not in the set.
    """

    weights: Tensor
    dustbins: Tensor
    total: Tensor
    outside: Tensor


def combine(log_generalist: Tensor, opinions: Sequence[Opinion]) -> Tensor:
    """The q of equation (1) by way of (3); see the module.

    Args:
        log_generalist: log posteriors ``(frames, senones)``, float32 or float64.
        opinions: one a specialist. Of one that knows all senones the dustbin is left out.

    Returns:
        log q ``(frames, senones)`` of the same type; the generalist's own where no specialist is active.
    """
    log_q = log_generalist.clone()
    if not any(len(opinion.frames) for opinion in opinions):
        return log_q
    evidence = _gather(log_generalist, opinions)
    # (specialists, atoms), and the atom of every senone
    outside, atom_of = evidence.outside.unique(dim=1, return_inverse=True)
    count = (evidence.dustbins > 0).sum(1)
    for some in (evidence.total[:, 0] > 1).nonzero()[:, 0].split(_FRAMES):
        weights = evidence.weights[some]
        atoms = weights.new_zeros(len(some), outside.size(1)).index_add_(1, atom_of, weights)
        system = _System.of(atoms, evidence.dustbins[some], evidence.total[some], outside)
        q = system.em_step()
        several = count[some] > 1
        if several.any():
            q[several] = _solve(system.rows(several))
        log_q[some] = (weights.log() + (q / atoms).log()[:, atom_of]).log_softmax(-1).to(log_q.dtype)
    return log_q


def combine_plain(
    log_generalist: Tensor, opinions: Sequence[Opinion], tolerance: float = 1e-8, steps: int = 100_000
) -> Tensor:
    """The q of equation (1) by the EM algorithm over all senones: short, slow, and never worse by a step.

    Args:
        log_generalist: as of `combine`.
        opinions: as of `combine`.
        tolerance: stop when no probability moves by more.
        steps: at most.
    """
    weights, dustbins, total, outside = _gather(log_generalist, opinions)
    q = weights / weights.sum(1, keepdim=True)
    for _ in range(steps):
        masses = (q @ outside.T).clamp(min=torch.finfo(q.dtype).tiny)
        # Each dustbin's mass is shared out among the senones in it, as q has them.
        moved = (weights + q * ((dustbins / masses) @ outside)) / total
        change, q = (moved - q).abs().max(), moved
        if change < tolerance:
            break
    return q.log().log_softmax(-1).to(log_generalist.dtype)


def active_specialists(log_generalist: Tensor, members: Tensor, top: int) -> Tensor:
    """Which specialists have a say: those whose sets hold one of the generalist's `top` senones.

    Args:
        log_generalist: ``(frames, senones)``.
        members: ``(specialists, senones)`` bool.
        top: how many of its most probable senones count.

    Returns:
        ``(frames, specialists)`` bool.
    """
    best = log_generalist.topk(min(top, log_generalist.size(1)), dim=1).indices
    return members.T[best].any(1)


def _gather(log_generalist: Tensor, opinions: Sequence[Opinion]) -> _Evidence:
    weights = log_generalist.double().clamp(min=_LEAST_LOG).exp()
    frames, senones = weights.shape
    dustbins = weights.new_zeros(frames, len(opinions))
    total = weights.new_ones(frames, 1)
    outside = weights.new_ones(len(opinions), senones)
    for place, (active, classes, log_posteriors) in enumerate(opinions):
        scores = log_posteriors.double()
        if len(classes) == senones:
            scores = scores[:, :-1].log_softmax(1)
        else:
            dustbins[active, place] = scores[:, -1].exp()
            scores = scores[:, :-1]
        weights[active[:, None], classes] += scores.exp()
        total[active] += 1.0
        outside[place, classes] = 0.0
    return _Evidence(weights, dustbins, total, outside)


class _System(NamedTuple):
    """What is known of (3), for many frames.

    Attributes:
        a: ``(frames, atoms)``.
        d: ``(frames, most)``: of the active specialists of a frame, then zeros.
        b: B transposed, ``(frames, most, atoms)``; zeros where d is.
        total: W, ``(frames, 1)``.
    """

    a: Tensor
    d: Tensor
    b: Tensor
    total: Tensor

    @classmethod
    def of(cls, atoms: Tensor, dustbins: Tensor, total: Tensor, outside: Tensor) -> "_System":
        """From the dustbins of all specialists ``(frames, specialists)`` and ``(specialists, atoms)``."""
        active = dustbins > 0
        chosen = active.int().argsort(dim=1, descending=True, stable=True)[:, : int(active.sum(1).max())]
        d = dustbins.gather(1, chosen)
        return cls(atoms, d, outside[chosen] * (d > 0)[..., None], total)

    def rows(self, frames: Tensor) -> "_System":
        """Of some frames."""
        return _System(*(one[frames] for one in self))

    def raised(self, mu: float) -> "_System":
        """With masses of at least mu."""
        return self._replace(a=self.a.clamp(min=mu), d=self.d.clamp(min=mu).where(self.d > 0, 0.0))

    def outside_of(self, q: Tensor) -> Tensor:
        """D, ``(frames, most)``; 1 where there is no specialist."""
        return torch.einsum("tmg,tg->tm", self.b, q).where(self.d > 0, 1.0)

    def em_step(self) -> Tensor:
        """One step of the EM algorithm from ``q ~ w``, ``(frames, atoms)``."""
        shares = torch.einsum("tm,tmg->tg", self.d / self.outside_of(self.a), self.b)
        return self.a * (1.0 + shares) / self.total


def _solve(system: _System) -> Tensor:
    """Q of equations (3), ``(frames, atoms)``, by Newton steps on its four unknowns at once."""
    raised = system.raised(_FIRST)
    q = raised.em_step()
    state = _State(q, raised.a / q, raised.d / raised.outside_of(q), raised.outside_of(q))
    solved, waiting, mu = torch.empty_like(q), torch.arange(len(q), device=q.device), _FIRST
    for _ in range(_STEPS):
        mu = max(mu * _FALL, _LAST)
        state, error = state.newton(system.raised(mu))
        solved[waiting] = state.q
        left = (error > _CLOSE) | (_lightest(system) < mu)
        if mu == _LAST:
            left = error > _CLOSE
        if not left.any():
            break
        state, system, waiting = _State(*(one[left] for one in state)), system.rows(left), waiting[left]
    return solved


def _lightest(system: _System) -> Tensor:
    """The least mass of each frame, ``(frames,)``."""
    return torch.minimum(system.a.amin(1), system.d.where(system.d > 0, 1.0).amin(1))


class _State(NamedTuple):
    """The unknowns of (3): q and s ``(frames, atoms)``, t and D ``(frames, most)``."""

    q: Tensor
    s: Tensor
    t: Tensor
    masses: Tensor

    def newton(self, system: _System) -> "tuple[_State, Tensor]":
        """A step, kept within the positive numbers, and how much of (3) is wrong after it, ``(frames,)``."""
        (q, s, t, masses), b, real = self, system.b, system.d > 0
        weight = q / s
        dual_gap = system.total - torch.einsum("tm,tmg->tg", t, b) - s
        ahead = system.a / s - weight * dual_gap  # q after the step, were t to stay
        wanted = (system.d / t.where(real, 1.0) - torch.einsum("tmg,tg->tm", b, ahead)).where(real, 0.0)
        matrix = torch.bmm(b * weight[:, None], b.transpose(1, 2))
        matrix = matrix + torch.diag_embed((masses / t.where(real, 1.0)).where(real, 1.0))
        step_t = _solve_scaled(matrix, wanted)
        step_s = dual_gap - torch.einsum("tm,tmg->tg", step_t, b)
        step_q = system.a / s - q - weight * step_s
        step_masses = (torch.einsum("tmg,tg->tm", b, q + step_q) - masses).where(real, 0.0)
        steps = _State(step_q, step_s, step_t, step_masses)
        size = torch.stack([_room(*pair) for pair in zip(self, steps, strict=True)]).amin(0)[:, None]
        moved = _State(*(one + size * step for one, step in zip(self, steps, strict=True)))
        return moved, moved.error(system)

    def error(self, system: _System) -> Tensor:
        """The largest difference between the two sides of (3), ``(frames,)``."""
        sides = (
            self.q * self.s - system.a,
            (self.t * self.masses - system.d).where(system.d > 0, 0.0),
            system.total - torch.einsum("tm,tmg->tg", self.t, system.b) - self.s,
            system.outside_of(self.q) - self.masses,
        )
        return torch.cat(sides, 1).abs().amax(1)


def _solve_scaled(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve for symmetric positive definite matrices ``(frames, n, n)`` whose rows differ much in size."""
    scale = matrix.diagonal(dim1=1, dim2=2).rsqrt()
    # Specialists whose sets complement each other may agree to the last bit.
    even = matrix * scale[:, :, None] * scale[:, None, :] + _RIDGE * torch.eye(scale.size(1)).to(matrix)
    solved: Tensor = torch.linalg.solve(even, right * scale) * scale
    return solved


def _room(value: Tensor, step: Tensor) -> Tensor:
    """The largest size up to 1 of a step that leaves `value` positive, with some distance, ``(frames,)``."""
    falling = -step / value.where(value > 0, 1.0)
    return _TO_BOUNDARY / falling.amax(1).clamp(min=_TO_BOUNDARY)
