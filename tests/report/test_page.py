"""The pages as text; `test_browser` looks at them as a reader does."""

import re
from html.parser import HTMLParser

from matplotlib.figure import Figure

from asr_kd.report.page import changed_utterances, render
from asr_kd.report.theme import DARK, LIGHT, inline_svg
from asr_kd.scoring.wer import align_words

HOSTILE = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Collects the tags and ids of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def compare_page(name: str) -> str:
    references = {"u": [name, "B"], "v": ["A"]}
    hypotheses = {"base": {"u": [name, "C"], "v": ["A"]}, name: {"u": ["A", "B"], "v": ["A", "A"]}}
    alignments = {system: align_words(references, own) for system, own in hypotheses.items()}
    difference = {"value": 0.1, "low": -0.1, "high": 0.3}
    system = {"wer": 0.5, "by_utterance": {"low": 0.1, "high": 0.9}, "by_speaker": None, "errors": 2}
    kinds = {"substitutions": 1, "deletions": 1, "insertions": 0}
    content = {
        "words": 3,
        "utterances": 2,
        "speakers": None,
        "normalisation": "none",
        "by": "utterance",
        "cautions": [],
        "systems": [{"name": own, **system, **kinds} for own in hypotheses],
        "comparisons": [
            {
                "system": name,
                "baseline": "base",
                "by": "utterance",
                "errors": 2,
                "baseline_errors": 1,
                "difference": difference,
                "by_utterance": difference,
                "by_speaker": None,
                "improvement": 0.3,
                "p": 0.5,
                "p_holm": 0.5,
                "detectable": 0.4,
                "distinguishable": False,
            }
        ],
    }
    return render(
        "compare.html",
        {"base": "ensemble", name: "student"},
        content=content,
        names=list(hypotheses),
        outside=False,
        utterances=changed_utterances(alignments, {}),
    )


def test_names_and_words_are_escaped() -> None:
    page = compare_page(HOSTILE)
    assert HOSTILE not in page
    scripts = [attributes for tag, attributes in Tags(page).found if tag == "script"]
    assert scripts == [{}]  # our own


def test_nothing_is_fetched() -> None:
    page = compare_page("mine")
    for tag, attributes in Tags(page).found:
        for key in ("src", "href", "action"):
            value = attributes.get(key) or ""
            assert value.startswith(("#", "data:")) or not value, f"<{tag} {key}={value}>"
    assert not re.findall(r"url\((?!#)|@import", page)


def test_a_comparison_has_its_errors_in_one_cell() -> None:
    page = compare_page("mine")
    assert '<td data-value="2">2 : 1</td>' in page
    assert '<td data-value="0.5">0.500 (0.500)</td>' in page


def test_both_schemes_have_every_colour() -> None:
    assert LIGHT.keys() == DARK.keys()
    # Each is told from the others in a figure by its value alone.
    assert len(set(LIGHT.values())) == len(LIGHT)
    page = compare_page("mine")
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", page)) - {"share", "width"}
    assert used <= LIGHT.keys()


def test_figures_follow_the_scheme_and_are_the_same_twice() -> None:
    def draw() -> str:
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        axes.plot([1, 2], [3, 5], color=LIGHT["student"])
        axes.set_title("50 % & more")
        return inline_svg(figure, "one", 'a "label"')

    svg = draw()
    assert svg == draw()
    assert "var(--student)" in svg
    assert LIGHT["student"] not in svg
    assert 'aria-label="a &quot;label&quot;"' in svg
    assert ">50 % &amp; more<" in svg
    assert "font-family" not in svg
    assert all(name.startswith("one-") for name in re.findall(r'\bid="([^"]*)"', svg))


def test_most_changed_utterances_come_first_and_right_ones_never() -> None:
    references = {name: ["A", "B", "C"] for name in ("right", "same", "changed", "worse")}
    base = references | {"same": ["A"], "worse": ["A", "B"]}
    new = references | {"same": ["A"], "changed": ["A", "B"], "worse": []}
    alignments = {"base": align_words(references, base), "new": align_words(references, new)}
    found = changed_utterances(alignments, {"worse": "ann"}, picture=lambda name: None)
    assert [item["id"] for item in found] == ["worse", "changed", "same"]
    assert found[0]["counts"] == {"base": 1, "new": 3}
    assert found[0]["errors"] == {"base": ["deletion"], "new": ["deletion"]}
    assert [name for name, _ in found[0]["rows"]] == ["reference", "base", "new"]
    assert (found[0]["speaker"], found[1]["speaker"]) == ("ann", "")
    assert len(changed_utterances(alignments, {}, most=1)) == 1
