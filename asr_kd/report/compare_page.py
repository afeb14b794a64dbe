"""`asr-kd compare` as a page."""

from asr_kd.report.compare import Compared
from asr_kd.report.page import changed_utterances
from asr_kd.report.page import render as render_page


def render(found: Compared) -> str:
    """One self-contained HTML file."""
    names = list(found.alignments)
    # Nothing is known of what the systems are: the baseline has a colour of its own.
    kinds = {name: "student" if place else "ensemble" for place, name in enumerate(names)}
    return render_page(
        "compare.html",
        kinds,
        content=found.content,
        names=names,
        outside="out_of_vocabulary" in found.content["systems"][0],
        utterances=changed_utterances(found.alignments, found.reference.speakers),
    )
