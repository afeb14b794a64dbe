"""The command line: `asr-kd run recipe=NAME [setting=value ...]` and the small verbs."""

import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from asr_kd import disk, memory, stopping
from asr_kd.config import LAUNCHERS, Config, with_seeds
from asr_kd.config.overrides import allow_new_entries
from asr_kd.errors import AsrKdError

HELP = """\
asr-kd VERB [recipe=NAME] [setting=value ...]

  run        run a recipe's stages, from audio to the report (stage=, stop_stage= by number or name);
             with --multirun as sweep
  sweep [name=NAME]
             run every combination of settings with several values (setting=1,2,4), to one table and picture
  preflight  estimate time, disk and memory of what a run would do, from a calibration of seconds; makes stage
             data where it is missing, and nothing else; after a run: the estimate beside what was measured
  plan hours=H [gpus=1,8,64] [gpus_a_machine=8] [cores=8] teraflops=T terabytes=B [share=0.5] [link=200]
       [network=2]
             what a recipe would take with H hours to learn from: time, GPU and core hours, disk and traffic
             of each stage on so many GPUs, with so many cores each; speeds of a GPU as `make bench-gpu`
             prints them, of links between GPUs, and of machines to disks, in GB a second (docs/scale.md)
  status     show of every artefact of a recipe whether it is done, stale (and what changed), begun, missing
             or damaged; changes nothing
  validate   check a recipe's corpus and name everything that is wrong with it
  export-data to=FOLDER
             write a recipe's parts as Kaldi data directories: text, utt2spk, spk2utt, wav.scp
  export-labels to=FOLDER [format=ark]
             write a recipe's senone labels for Kaldi, one <part>.txt (or .ark) a part
  compare A B [C ...] [reference=FILE] [speakers=FILE] [vocabulary=FILE] [normalise=lower,punctuation]
          [format=markdown|json|html] [to=FILE] [seed=0]
             compare systems with the first one: reports (exp/an4/report, or one system of it:
             exp/an4/report:student) or hypotheses (Kaldi text, .ctm, .jsonl), perhaps named: mine=hyp.ctm
  export-model system=NAME to=FOLDER [lm=NAME]
             write a decoded system as a folder that recognises speech without torch, and measure it
  transcribe [--model FOLDER] FILE...
             speech to words with such a folder; transcribe --help
  job FILE   do one job of a run: what launchers submit (docs/scale.md)
  settings   print every setting of a recipe with its value

A recipe is a folder of recipes/ or the path of a folder with a recipe.yaml. Every setting that
`settings` prints can be given on the command line, e.g. `train.members=10 data.source=/data/an4`.
A + adds a student, a language model, a model or a view: `+distill.students.hot.temperature=8`,
`+lms.trigram.order=3`, `+models.wide={kind: dnn, hidden_units: 1024}`, `+views.slow.speed=0.9`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 0, 1 (a user's error, named), 130 (Ctrl-C) or 143 (SIGTERM)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"help", "-h", "--help"}:
        print(HELP, end="")
        return 0
    verb, *settings = given
    if verb not in VERBS:
        print(f"asr-kd: there is no verb {verb!r}\n\n{HELP}", file=sys.stderr, end="")
        return 1
    try:
        with stopping.heeded():
            VERBS[verb](settings)
    except (AsrKdError, OSError) as error:
        message = disk.advice(error) if isinstance(error, OSError) else str(error)
        if message is None:
            raise
        print(f"asr-kd: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, stopping.Terminated)
        how = "terminated" if terminated else "interrupted"
        print(f"asr-kd: {how}; the same command goes on from here", file=sys.stderr)
        return stopping.STATUS if terminated else 128 + signal.SIGINT
    except (MemoryError, RuntimeError) as error:
        if not memory.is_shortage(error):
            raise
        traceback.print_exc()
        print(
            "asr-kd: out of memory; lower `workers` or `memory_budget` and run the same command again",
            file=sys.stderr,
        )
        return 1
    return 0


def _run(settings: Sequence[str]) -> None:
    from asr_kd import pipeline

    if "--multirun" in settings:
        _sweep([setting for setting in settings if setting != "--multirun"])
    else:
        pipeline.run(load(settings))


def _job(arguments: Sequence[str]) -> None:
    from asr_kd import orders

    if len(arguments) != 1:
        raise AsrKdError("job needs the file of a job, as a launcher writes it")
    orders.carry_out(Path(arguments[0]))


def _preflight(settings: Sequence[str]) -> None:
    from asr_kd import pipeline

    pipeline.estimate(load(settings))


def _plan(settings: Sequence[str]) -> None:
    from asr_kd.preflight import cluster, scale

    names = ("hours", "gpus", "gpus_a_machine", "cores", "teraflops", "share", "terabytes", "link", "network")
    own, config = _load_with(settings, *names)
    hours, clusters = cluster.given_number(own, "hours"), cluster.clusters(own)
    print(scale.render(scale.plan(config, hours, clusters)))


def _sweep(settings: Sequence[str]) -> None:
    from asr_kd import sweep

    sweep.run(settings, load)


def _status(settings: Sequence[str]) -> None:
    from asr_kd import lock, status

    config = load(settings)
    work = Path(config.work)
    print(status.render(work, status.states(config, work)))
    if runs := lock.holder(work):
        print(f"\n{work} is in use by {runs}")


def _validate(settings: Sequence[str]) -> None:
    from asr_kd.stages import data

    data.validate(load(settings))


def _export_data(settings: Sequence[str]) -> None:
    from asr_kd.stages import data

    own, config = _load_with(settings, "to")
    if "to" not in own:
        raise AsrKdError("export-data needs to=FOLDER")
    data.export_data(Path(config.work), Path(own["to"]))


def _export_labels(settings: Sequence[str]) -> None:
    from asr_kd.stages import align

    own, config = _load_with(settings, "to", "format")
    if "to" not in own or own.get("format", "txt") not in {"txt", "ark"}:
        raise AsrKdError("export-labels needs to=FOLDER, and knows format=txt and format=ark")
    align.export_labels(Path(config.work), Path(own["to"]), f".{own.get('format', 'txt')}")


def _export_model(settings: Sequence[str]) -> None:
    from asr_kd.stages import package

    own, config = _load_with(settings, "system", "to", "lm")
    if not own.keys() >= {"system", "to"}:
        raise AsrKdError("export-model needs system=NAME and to=FOLDER")
    package.export_model(config, Path(config.work), own["system"], Path(own["to"]), own.get("lm"))


def _transcribe(arguments: Sequence[str]) -> None:
    from asr_kd.jobs import one_thread_each

    with one_thread_each():  # as they load, numeric libraries choose: threads do not pay for small matrices
        from asr_kd.runtime import transcribe
    transcribe.run(arguments)


def _compare(arguments: Sequence[str]) -> None:
    from asr_kd.report import compare, compare_page, compare_text
    from asr_kd.scoring.normalise import Normalisation

    own, systems = _split(
        arguments, "reference", "speakers", "vocabulary", "normalise", "format", "to", "seed"
    )
    renderers: dict[str, Callable[[compare.Compared], str]] = {
        "markdown": compare_text.render,
        "json": lambda found: json.dumps(found.content, indent=1, allow_nan=False) + "\n",
        "html": compare_page.render,
    }
    form, seed = own.get("format", "markdown"), own.get("seed", "0")
    if form not in renderers or not seed.isdigit():
        raise AsrKdError(f"compare knows format={', format='.join(renderers)}, and seed=NUMBER")
    to = Path(own["to"]) if "to" in own else None
    if to is not None and (to.is_dir() or not to.parent.is_dir()):
        raise AsrKdError(f"to={to}: give the name of a file in a folder that exists")
    files = {name: Path(own[name]) for name in ("reference", "speakers", "vocabulary") if name in own}
    found = compare.compare_systems(
        systems,
        files.get("reference"),
        files.get("speakers"),
        files.get("vocabulary"),
        Normalisation.parse(own.get("normalise", "none")),
        int(seed),
    )
    text = renderers[form](found)
    if to is not None:
        to.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _load_with(settings: Sequence[str], *names: str) -> tuple[dict[str, str], Config]:
    """A verb's own arguments by name, and the configuration of all others."""
    own, others = _split(settings, *names)
    return own, load(others)


def _split(arguments: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """A verb's own arguments ``name=value`` by name, and all others."""
    own = [argument for argument in arguments if argument.partition("=")[0] in names and "=" in argument]
    others = [argument for argument in arguments if argument not in own]
    return dict(argument.split("=", 1) for argument in own), others


def _settings(settings: Sequence[str]) -> None:
    from omegaconf import OmegaConf

    print(OmegaConf.to_yaml(OmegaConf.structured(load(settings))), end="")


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "run": _run,
    "preflight": _preflight,
    "plan": _plan,
    "sweep": _sweep,
    "job": _job,
    "status": _status,
    "validate": _validate,
    "export-data": _export_data,
    "export-labels": _export_labels,
    "compare": _compare,
    "export-model": _export_model,
    "transcribe": _transcribe,
    "settings": _settings,
}


def load(settings: Sequence[str]) -> Config:
    """The configuration of ``recipe=NAME`` with overrides, checked by Hydra against the dataclasses.

    Raises:
        AsrKdError: no such recipe, an unknown setting, a value of the wrong type.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    names = [setting.removeprefix("recipe=") for setting in settings if setting.startswith("recipe=")]
    folder = recipe_folder(names[-1] if names else "mini")
    overrides = [setting for setting in settings if not setting.startswith("recipe=")]
    try:
        overrides = allow_new_entries(overrides)
    except HydraException as error:
        raise AsrKdError(
            f"{_reason(error)}; settings are given as name=value, and values with commas, brackets or equal "
            "signs in quotes inside quotes: 'data.source=\"/data/a=b\"'"
        ) from error
    # base: what a recipe.yaml builds on (`defaults: [base, _self_]`).
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for launcher, launcher_settings in LAUNCHERS.items():
        store.store(group="launcher", name=launcher, node=launcher_settings)
    store.store(name="base", node={"defaults": ["schema", {"launcher": "local"}, "_self_"]})
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            composed = compose("recipe", overrides)
        config = OmegaConf.to_object(composed)
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        lines = " ".join(str(error).split())
        raise AsrKdError(f"{folder / 'recipe.yaml'} is no YAML that can be read: {lines}") from error
    except (HydraException, OmegaConfBaseException) as error:
        reason = _reason(error)
        # Else the command line is at fault, and the reason quotes it.
        of_file = "overrid" not in reason and not reason.startswith("launcher")
        raise AsrKdError(f"{folder / 'recipe.yaml'}: " * of_file + reason) from error
    assert isinstance(config, Config)
    try:
        return with_seeds(config)
    except ValueError as error:
        raise AsrKdError(str(error)) from error


def recipe_folder(name: str) -> Path:
    """The folder of a recipe, by name or path.

    Raises:
        AsrKdError: there is none; lists those there are.
    """
    recipes = Path(__file__).parents[1] / "recipes"
    for folder in (recipes / name, Path(name)):
        if (folder / "recipe.yaml").is_file():
            return folder.resolve()
    known = ", ".join(sorted(path.parent.name for path in recipes.glob("*/recipe.yaml")))
    raise AsrKdError(f"recipe={name}: no such recipe, and no folder with a recipe.yaml; there are {known}")


def _reason(error: Exception) -> str:
    # Hydra wraps what it was told by OmegaConf: the innermost message is the one that names the setting.
    if "Could not find 'launcher/" in str(error):
        return f"launcher: choose one of {', '.join(LAUNCHERS)}"
    messages = [str(error)]
    cause = error.__cause__
    while cause is not None:
        messages.append(str(cause))
        cause = cause.__cause__
    reason = " / ".join(dict.fromkeys(message.splitlines()[0] for message in messages if message))
    if any(message.startswith("Key ") and " not in " in message for message in messages):
        reason += "; `asr-kd settings recipe=NAME` lists every setting, "
        reason += "and a + in front adds a student, a language model, a model or a view"
    return reason


if __name__ == "__main__":
    sys.exit(main())
