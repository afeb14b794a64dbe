import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from asr_kd.specialists.inference import Opinion, active_specialists, combine, combine_plain

SENONES = 9
# Sizes of sets, and how far logits spread: from mild to posteriors beyond what float32 holds.
CASES = [([3], 1.0), ([3, 4], 2.0), ([2, 3, 4, 5], 3.0), ([9, 4, 4], 2.0), ([8, 7, 1], 4.0)]


def random_case(
    sizes: list[int], spread: float, frames: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, list[Opinion]]:
    """A generalist and specialists with random sets; each is active on all frames but one of its own."""
    random = torch.Generator().manual_seed(seed)

    def posteriors(rows: int, columns: int) -> Tensor:
        return (spread * torch.randn(rows, columns, generator=random, dtype=dtype)).log_softmax(1)

    opinions = []
    for place, size in enumerate(sizes):
        active = torch.tensor([frame for frame in range(frames) if frame != place])
        classes = torch.randperm(SENONES, generator=random)[:size]
        opinions.append(Opinion(active, classes, posteriors(len(active), size + 1)))
    return posteriors(frames, SENONES), opinions


def terms(frame: int, opinions: list[Opinion]) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """By specialist active on a frame: its classes, its posteriors of them, and that of the dustbin."""
    found = []
    for active, classes, log_posteriors in opinions:
        if frame in active.tolist():
            p = log_posteriors[active.tolist().index(frame)].exp().numpy()
            if len(classes) == SENONES:
                p = np.append(p[:-1] / p[:-1].sum(), 0.0)
            found.append((classes.numpy(), p[:-1], float(p[-1])))
    return found


def reference(p: np.ndarray, others: list[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """The q of least summed divergence, by a general solver over its logits.

    The problem is convex in q, and q > 0 at its solution: a point without slope is the solution.
    """

    def loss(z: np.ndarray) -> tuple[float, np.ndarray]:
        q = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        value, pulled = p @ np.log(q), p.copy()
        for classes, known, dustbin in others:
            value += known @ np.log(q[classes])
            pulled[classes] += known
            if dustbin:
                outside = np.setdiff1d(np.arange(len(q)), classes)
                value += dustbin * np.log(q[outside].sum())
                pulled[outside] += dustbin * q[outside] / q[outside].sum()
        return -float(value), pulled.sum() * q - pulled

    found = minimize(loss, np.log(p), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    q: np.ndarray = np.exp(found.x - found.x.max())
    return q / q.sum()


@pytest.mark.parametrize(("sizes", "spread"), CASES)
def test_both_forms_give_what_a_convex_solver_gives(sizes: list[int], spread: float) -> None:
    log_p, opinions = random_case(sizes, spread)
    fast, plain = combine(log_p, opinions).exp(), combine_plain(log_p, opinions, 1e-9).exp()
    for frame in range(len(log_p)):
        wanted = reference(log_p[frame].exp().numpy(), terms(frame, opinions))
        np.testing.assert_allclose(fast[frame], wanted, atol=1e-5)
        np.testing.assert_allclose(plain[frame], wanted, atol=1e-5)


@pytest.mark.parametrize("spread", [1.0, 8.0, 20.0, 60.0])
def test_conditions_of_the_maximum_hold_however_sharp_the_posteriors(spread: float) -> None:
    log_p, opinions = random_case([3, 4, 5, 6], spread, frames=30)
    q = combine(log_p, opinions).exp()
    torch.testing.assert_close(q.sum(1), torch.ones(30, dtype=q.dtype))
    for frame in range(30):
        others = terms(frame, opinions)
        weights = log_p[frame].exp().numpy()
        pulled = np.zeros(SENONES)
        for classes, known, dustbin in others:
            weights[classes] += known
            outside = np.setdiff1d(np.arange(SENONES), classes)
            pulled[outside] += dustbin * q[frame].numpy()[outside] / q[frame].numpy()[outside].sum()
        # q times the derivative of the objective is q W everywhere.
        np.testing.assert_allclose(weights + pulled, (1 + len(others)) * q[frame].numpy(), atol=1e-7)


def test_without_specialists_the_generalist_stays() -> None:
    log_p, _ = random_case([3], 5.0)
    assert torch.equal(combine(log_p, []), log_p)
    nobody = Opinion(torch.empty(0, dtype=torch.int64), torch.arange(3), torch.empty(0, 4))
    assert torch.equal(combine(log_p, [nobody]), log_p)
    torch.testing.assert_close(combine_plain(log_p, []), log_p)


def test_of_one_specialist_the_answer_is_an_average() -> None:
    """Half of everything in its set; the rest shares (p_g + dustbin) / 2 as the generalist has it."""
    log_p, (opinion,) = random_case([4], 3.0)
    q, p, m = combine(log_p, [opinion]).exp(), log_p.exp()[opinion.frames], opinion.log_posteriors.exp()
    inside = opinion.classes
    torch.testing.assert_close(q[opinion.frames][:, inside], (p[:, inside] + m[:, :-1]) / 2)
    outside = [senone for senone in range(SENONES) if senone not in inside.tolist()]
    rest = p[:, outside].sum(1, keepdim=True)
    torch.testing.assert_close(q[opinion.frames][:, outside], p[:, outside] / rest * (rest + m[:, -1:]) / 2)
    torch.testing.assert_close(q[0], log_p[0].exp())  # it is not active there


def test_one_that_knows_everything_is_averaged_with_the_generalist() -> None:
    log_p, (opinion,) = random_case([SENONES], 2.0)
    q = combine(log_p, [opinion]).exp()[opinion.frames]
    own = opinion.log_posteriors[:, :-1].softmax(1)
    wanted = log_p.exp()[opinion.frames]
    wanted[:, opinion.classes] += own
    torch.testing.assert_close(q, wanted / 2)


def test_disjoint_sets_solve_a_quadratic_each() -> None:
    """With ``c = W - sum t`` each set has mass s of ``c s^2 - (c + d + a) s + a = 0``; the whole gives c."""
    log_p, _ = random_case([3], 1.5, frames=1)
    random = np.random.default_rng(3)
    sets, frame = [np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6])], torch.zeros(1, dtype=torch.int64)
    known = [random.dirichlet(np.ones(len(one) + 1)) for one in sets]
    opinions = [
        Opinion(frame, torch.from_numpy(one), torch.from_numpy(np.log(p))[None])
        for one, p in zip(sets, known, strict=True)
    ]
    p = log_p[0].exp().numpy()
    a = np.array([p[one].sum() + m[:-1].sum() for one, m in zip(sets, known, strict=True)])
    d, rest = np.array([m[-1] for m in known]), p[7:].sum()

    def masses(c: float) -> np.ndarray:
        b = c + d + a
        return 2 * a / (b + np.sqrt(b * b - 4 * c * a))  # the root below 1, without cancellation

    low, high = 1e-9, 4.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if masses(middle).sum() + rest / middle > 1 else (low, middle)
    q = combine(log_p, opinions)[0].exp().numpy()
    np.testing.assert_allclose([q[one].sum() for one in sets], masses(low), atol=1e-8)


def test_frames_do_not_touch_each_other_and_float32_is_close() -> None:
    log_p, opinions = random_case([3, 4, 5], 3.0, frames=700)
    together = combine(log_p, opinions)
    for frame in (0, 2, 600):
        own = [
            Opinion(torch.tensor([0]), one.classes, one.log_posteriors[one.frames == frame])
            for one in opinions
            if frame in one.frames.tolist()
        ]
        torch.testing.assert_close(combine(log_p[[frame]], own)[0], together[frame], atol=1e-8, rtol=1e-8)
    single = combine(
        log_p.float(), [one._replace(log_posteriors=one.log_posteriors.float()) for one in opinions]
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.exp().double(), together.exp(), atol=1e-5, rtol=0)


def test_the_generalists_best_senones_choose_the_specialists() -> None:
    log_p = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.1, 0.7]]).log()
    members = torch.tensor([[True, False, False], [False, True, False]])
    assert active_specialists(log_p, members, 1).tolist() == [[True, False], [False, False]]
    assert active_specialists(log_p, members, 2).tolist() == [[True, True], [True, False]]
    assert active_specialists(log_p, members, 9).all()
