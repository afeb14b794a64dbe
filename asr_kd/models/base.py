"""What every acoustic model offers, and how its settings are checked."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from asr_kd.errors import AsrKdError

# A network is built before its weights are looked at: what a description may claim has bounds.
MOST_LAYERS = 200
MOST_CONTEXT = 10_000  # frames to one side of the one that is classified


@dataclass(frozen=True)
class ModelSettings:
    """The settings of one kind of model; each kind has a subclass beside it."""

    kind: ClassVar[str]

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Self:
        """Settings from plain data such as YAML.

        Raises:
            AsrKdError: a key is not a setting of this kind (the known ones are listed), or has a wrong type.
        """
        known = {field.name for field in fields(cls)}
        for name in given:
            if name not in known:
                raise AsrKdError(
                    f"models of kind {cls.kind!r} have no setting {name!r}; "
                    f"known are: {', '.join(sorted(known))}"
                )
        hints = get_type_hints(cls)
        return cls(**{name: _checked(cls.kind, name, value, hints[name]) for name, value in given.items()})

    def require(self, name: str, valid: bool, what: str) -> None:
        """Refuse the value of setting `name` unless it is `valid`; `what` says which values are."""
        if not valid:
            raise AsrKdError(f"models of kind {self.kind!r}: {name}={getattr(self, name)!r} is not {what}")

    def require_range(self, name: str, lowest: int, highest: int) -> None:
        """Refuse the value of setting `name` unless it is in this range, both ends included."""
        self.require(name, lowest <= getattr(self, name) <= highest, f"from {lowest} to {highest}")


class AcousticModel(nn.Module, ABC):
    """Frames in, senone logits out, without padding of its own.

    Attributes:
        settings: what it was built from.
        input_dims: features of one frame.
        senones: classes.
        left_context: frames that an output frame sees before itself.
        right_context: frames that it sees after itself.
        chunk_frames: output frames that training computes from one piece of speech; 1 means single windows.
    """

    left_context: int
    right_context: int
    chunk_frames: int = 1

    def __init__(self, settings: ModelSettings, input_dims: int, senones: int) -> None:
        super().__init__()
        self.settings, self.input_dims, self.senones = settings, input_dims, senones

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """``(batch, left_context + n + right_context, input_dims)`` -> logits ``(batch, n, senones)``."""

    def description(self) -> dict[str, Any]:
        """What `build` needs to make this architecture again, as plain data."""
        return {
            "kind": self.settings.kind,
            "settings": asdict(self.settings),
            "input_dims": self.input_dims,
            "senones": self.senones,
        }

    @property
    def parameter_count(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


def _checked(kind: str, name: str, value: Any, hint: Any) -> Any:
    """`value` as the type of the setting's annotation; integers pass as floats, lists as tuples."""
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_checked(kind, name, item, get_args(hint)[0]) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_boolean = isinstance(value, bool)
    if get_origin(hint) is None and isinstance(value, hint) and is_boolean == (hint is bool):
        return value
    wanted = getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else "a list of integers"
    raise AsrKdError(f"models of kind {kind!r}: setting {name} must be {wanted}, not {value!r}")
