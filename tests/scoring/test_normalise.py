import pytest

from asr_kd.errors import AsrKdError
from asr_kd.scoring.normalise import Normalisation


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        ("none", "Hello,  World", ["Hello,", "World"]),
        ("lower", "Straße ÉTÉ", ["strasse", "été"]),
        ("punctuation", "«Yes» - it's a so-called 'test'...", ["Yes", "it's", "a", "so-called", "test"]),
        ("lower,punctuation", "OH! 3.5 %", ["oh", "3", "5"]),
        ("", "e\u0301te\u0301", ["été"]),
    ],
)
def test_steps(steps: str, text: str, expected: list[str]) -> None:
    assert Normalisation.parse(steps).words(text.split()) == expected


def test_it_says_what_it_does() -> None:
    assert "case counts" in Normalisation().describe()
    assert "case folded" in Normalisation.parse("lower").describe()
    assert "punctuation removed" in Normalisation.parse("punctuation").describe()


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(AsrKdError, match="'stem'"):
        Normalisation.parse("lower,stem")
