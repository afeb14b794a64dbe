"""What `+` means on the command line: a further student, language model, model or view, and nothing else.

Hydra itself adds any key after a `+`, even one that no dataclass has, and cannot add an entry to a mapping of
dataclasses by a path that leads into the entry.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import get_args, get_origin, get_type_hints

from asr_kd.config.schema import Config


def entry_mappings(schema: type = Config, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """The dotted names of all settings whose entries users name, and whether the entries are dataclasses."""
    hints = get_type_hints(schema)
    for name in (field.name for field in fields(schema)):
        hint = hints[name]
        if isinstance(hint, type) and is_dataclass(hint):
            yield from entry_mappings(hint, f"{prefix}{name}.")
        elif get_origin(hint) is dict:
            yield f"{prefix}{name}", is_dataclass(get_args(hint)[1])


def allow_new_entries(overrides: Sequence[str]) -> list[str]:
    """The overrides with `+` and `++` put so that Hydra adds entries to mappings, and refuses all other keys.

    ``+distill.students.b.temperature=4`` becomes ``+distill.students={b: {}}``, which makes an entry of
    defaults or leaves one as it is, and ``distill.students.b.temperature=4``.

    Raises:
        hydra.errors.HydraException: an override cannot be parsed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    mappings = dict(entry_mappings())
    allowed: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        line = override.input_line or ""
        key = override.key_or_group
        mapping = next((name for name in mappings if f"{key}.".startswith(f"{name}.")), None)
        if not (override.is_add() or override.is_force_add()) or key == mapping:
            allowed.append(line)
        elif mapping is None:
            allowed.append(line.lstrip("+"))
        elif not mappings[mapping]:
            allowed.append(f"++{line.lstrip('+')}")
        else:
            entry = key.removeprefix(f"{mapping}.").split(".")[0]
            allowed += [f"+{mapping}={{{entry}: {{}}}}", line.lstrip("+")]
    return allowed
