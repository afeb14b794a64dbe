from dataclasses import replace
from pathlib import Path

import pytest

from asr_kd import cli
from asr_kd.config import LauncherConfig, SlurmConfig
from asr_kd.errors import AsrKdError
from asr_kd.launching.order import Order, answer, read_answer, write_json


def test_an_order_is_read_as_it_was_given_but_for_the_launcher(tmp_path: Path) -> None:
    config = cli.load(["recipe=mini", "launcher=slurm", "workers=0", f"work={tmp_path}", "train.views=[a]"])
    assert isinstance(config.launcher, SlurmConfig)
    order = Order.of(config, tmp_path / "train" / "member-1")
    write_json(tmp_path / "order.json", order.to_json(workers=3))
    read = Order.read(tmp_path / "order.json")
    assert read.artifact == "train/member-1"
    assert read.config == replace(config, launcher=LauncherConfig(), workers=3)


def test_workers_that_were_given_stay(tmp_path: Path) -> None:
    order = Order(cli.load(["recipe=mini", "workers=7"]), links=("a", "b"))
    write_json(tmp_path / "order.json", order.to_json(workers=3))
    read = Order.read(tmp_path / "order.json")
    assert read.config.workers == 7 and read.artifact is None and read.links == ("a", "b")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"config": {"nothing": 1}, "artifact": null, "links": []}']
)
def test_what_is_no_order_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "order.json").write_text(text)
    with pytest.raises(AsrKdError, match=r"order\.json is no job that can be read"):
        Order.read(tmp_path / "order.json")


def test_answers(tmp_path: Path) -> None:
    order = tmp_path / "order.json"
    assert read_answer(order) is None
    answer(order, "why")
    assert read_answer(order) == "why"
    answer(order, "")
    assert read_answer(order) == ""
