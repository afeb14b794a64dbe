"""From what a run has to do, and what work takes on this machine, to time, disk and memory of its stages."""

import errno
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from asr_kd import costs, disk, memory
from asr_kd.config import Config
from asr_kd.costs import Constants, Disk
from asr_kd.jobs import resolve_workers
from asr_kd.models.devices import resolve_device
from asr_kd.preflight import decoding, networks, speech
from asr_kd.preflight.calibration import calibrate
from asr_kd.preflight.measure import EVERYTHING, NUMPY
from asr_kd.preflight.plan import Plan, Scene
from asr_kd.preflight.sizes import read_sizes
from asr_kd.preflight.table import Estimate, StageEstimate
from asr_kd.stages.order import STAGES
from asr_kd.status import states

# A disk has to have so much more room than is estimated.
MARGIN = 0.1
PLANNERS: dict[str, Callable[[Scene, Plan], None]] = {
    "features": speech.plan_features,
    "align": speech.plan_align,
    "train": networks.plan_train,
    "distill": networks.plan_distill,
    "compress": networks.plan_compress,
    "decode": decoding.plan_decode,
    "bench": decoding.plan_bench,
}


def estimate(config: Config, stages: Sequence[str], seconds: float) -> Estimate:
    """What some stages will take.

    Args:
        config: of a recipe whose stage data is done.
        stages: their names, in their order.
        seconds: to measure the speed of every network for.
    """
    work = Path(config.work)
    found = states(config, work, [stage for stage in STAGES if stage.name in stages], hashes=False)
    missing = frozenset(state.path for state in found if state.condition != "done")
    done = frozenset(state.path for state in found) - missing
    if not missing:
        return Estimate({}, 0, guessed=False)
    with memory.budgeted(config.memory_budget):
        workers, device = resolve_workers(config.workers), str(resolve_device(config.device))
        scene = Scene(config, work, read_sizes(config, work), missing, workers, device, seconds, done)
        plan = Plan()
        for name in stages:
            if name in PLANNERS:
                PLANNERS[name](scene, plan)
        needed = {name: disk_of(name, plan) for name in stages}
        refuse_full_disk(work, needed)
        together = min(workers, scene.processes(sum(costs.EVERY_PROCESS)))
        constants = calibrate(plan.needs.values(), work, together)
    taking = assemble(plan, constants, stages, work)
    guessed = decoding.is_guessed(scene) and bool({"decode", "bench"} & taking.keys())
    return Estimate(taking, costs.peak_disk(list(needed.values())), guessed)


def disk_of(stage: str, plan: Plan) -> Disk:
    """What a stage does to the disk."""
    files = {path: size for path, (by, size) in plan.files.items() if by == stage}
    return Disk(sum(files.values()), sum(map(_stored, files)), plan.scratch.get(stage, 0))


def refuse_full_disk(work: Path, stages: Mapping[str, Disk]) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        work: folder that is written to.
        stages: what each needs, in their order.

    Raises:
        NoRoomError: there is less room than that and a margin.
    """
    needed, free = costs.peak_disk(list(stages.values())), shutil.disk_usage(work).free
    if needed * (1 + MARGIN) > free:
        parts = ", ".join(f"{name} {memory.in_words(one.written)}" for name, one in stages.items())
        raise disk.NoRoomError(
            f"{work}: {memory.in_words(free)} of the disk are free, and the run needs about "
            f"{memory.in_words(needed)} ({parts}); {disk.ADVICE[errno.ENOSPC]}, or without this estimate "
            "(preflight=false)"
        )


def assemble(plan: Plan, constants: Constants, stages: Sequence[str], work: Path) -> dict[str, StageEstimate]:
    """What stages take, by name; those with nothing to do are left out.

    Args:
        plan: of the run.
        constants: of the machine.
        stages: their names, in their order.
        work: folder of the recipe.
    """
    found: dict[str, StageEstimate] = {}
    for name in stages:
        steps = {step.what: step for step in plan.steps if step.stage == name}
        files = {path: size for path, (stage, size) in plan.files.items() if stage == name}
        if not steps and not files:
            continue
        times = {what: costs.step_seconds(step, constants) for what, step in steps.items()}
        # The main process loads networks and Kaldi when the first stage needs them.
        loads = name != "features" and not found.keys() - {"features"}
        times |= {"libraries": constants.seconds[EVERYTHING]} if loads else {}
        main = constants.bytes[NUMPY if name == "features" else EVERYTHING]
        found[name] = StageEstimate(
            sum(times.values()),
            sum(files.values()),
            max((costs.process_bytes(step, constants) for step in steps.values()), default=main),
            main + max((costs.step_bytes(step, constants) for step in steps.values()), default=0),
            times,
            {path.relative_to(work).as_posix(): size for path, size in files.items()},
        )
    return found


def _stored(path: Path) -> int:
    """Bytes of what an artefact replaces: an older one, or what there is of it already."""
    folders = (path, path.with_name(f".{path.name}.partial"))
    files = (file for folder in folders if folder.is_dir() for file in folder.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())
