"""Students that differ in their seed alone, told once."""

from dataclasses import replace

from asr_kd.config.schema import Config, StudentConfig


def with_seeds(config: Config) -> Config:
    """The configuration with `seeds` of a student written out: NAME, NAME-1, NAME-2, each of one seed.

    Raises:
        ValueError: `seeds` below 1, or a further name is already a student of its own; names the setting.
    """
    students: dict[str, StudentConfig] = {}
    for name, student in config.distill.students.items():
        if student.seeds < 1:
            raise ValueError(f"distill.students.{name}.seeds={student.seeds}: give one or more")
        for number in range(student.seeds):
            further = f"{name}-{number}" if number else name
            if number and further in config.distill.students:
                raise ValueError(
                    f"distill.students.{name}.seeds={student.seeds} makes {further}, which is there already: "
                    f"rename it, or leave seeds of {name} at {number}"
                )
            students[further] = replace(student, seed=student.seed + number, seeds=1)
    return replace(config, distill=replace(config.distill, students=students))
