"""One job of a run by itself: what launchers that submit commands have run elsewhere."""

from pathlib import Path

from asr_kd import memory, pipeline, sweep
from asr_kd.errors import AsrKdError
from asr_kd.jobs import explained
from asr_kd.launching.order import Order, answer, reason
from asr_kd.stages.order import find_stage


def carry_out(file: Path) -> None:
    """Do what the order in a file says, and answer beside it, unless it was asked to stop.

    Raises:
        AsrKdError: the order cannot be read, or what the job failed with.
    """
    order = Order.read(file)
    try:
        _carry_out(order)
    except Exception as error:
        why = reason(error)
        answer(file, why or f"{error!r}, see {file.with_suffix('.log')}")
        raise
    answer(file, "")


def _carry_out(order: Order) -> None:
    work = Path(order.config.work)
    sweep.link_all(order.links, work)
    if order.artifact is None:
        pipeline.run(order.config)
        return
    path = work / order.artifact
    stage = find_stage(Path(order.artifact).parts[0], "artefact")
    with memory.budgeted(order.config.memory_budget):
        for wanted in stage.plan(order.config, work):
            if wanted.path == path and wanted.job is not None:
                job = wanted.job()
                with explained(job.name, job.cost.lower):
                    job.run()
                return
    raise AsrKdError(f"{path}: stage {stage.name} has no job that makes this with these settings")
