"""Colours of the report, light and dark, and figures that follow the reader's choice.

matplotlib draws with the light colours; in the page's inline SVG each of them is replaced by the CSS variable
of its name, which the style sheet sets for both schemes. Text stays text: small, searchable, in the page's
own font.
"""

import io
import re
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

LIGHT = {
    "ink": "#1c2128",
    "muted": "#59636d",
    "line": "#d0d7dd",
    "paper": "#fffffe",
    "panel": "#f5f7f9",
    "accent": "#0b57c2",
    "gmm": "#6e7780",
    "member": "#0a69da",
    "ensemble": "#1a7f36",
    "specialists": "#1b7c83",
    "student": "#cf222d",
    "student-2": "#bc4c01",
    "student-3": "#8250de",
    "student-4": "#9a6701",
    "student-5": "#bf3988",
    "student-6": "#7d5a50",
    "student-7": "#4b4fc4",
    "substitution": "#ffe3b0",
    "deletion": "#ffd3d0",
    "insertion": "#d3e7ff",
}
DARK = {
    "ink": "#e6edf2",
    "muted": "#9aa4ad",
    "line": "#3a424a",
    "paper": "#0e1216",
    "panel": "#171c22",
    "accent": "#79b8fe",
    "gmm": "#98a2ab",
    "member": "#58a6fe",
    "ensemble": "#40b950",
    "specialists": "#39c5cf",
    "student": "#ff7b71",
    "student-2": "#f0883d",
    "student-3": "#bc8cfe",
    "student-4": "#d2a021",
    "student-5": "#f778b9",
    "student-6": "#c8a69b",
    "student-7": "#9da2ff",
    "substitution": "#5c4309",
    "deletion": "#67221f",
    "insertion": "#143d6b",
}
STUDENTS = ("student", *(f"student-{number}" for number in range(2, 8)))
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "asr_kd",  # the same figure: the same bytes
}
_IDS = re.compile(r'(\bid="|url\(#|href="#)')
_FONT = re.compile(r"font-family: [^;\"]*; ?")  # the page's own is taken instead


def system_colours(kinds: Mapping[str, str]) -> dict[str, str]:
    """The name of every system's colour: one for each kind, but students and what was made of them apart.

    Args:
        kinds: of the systems by name, in the order of the report.
    """
    students = cycle(STUDENTS)
    apart = {"student", "pruned", "int8"}
    return {name: next(students) if kind in apart else kind for name, kind in kinds.items()}


def variables(palette: dict[str, str]) -> str:
    """CSS variables of a palette."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """A figure as SVG to be put into a page.

    Args:
        figure: drawn with colours of `LIGHT`, within ``matplotlib.rc_context(STYLE)``.
        name: unique in the page; ids inside the figure begin with it.
        label: read out by screen readers.
    """
    file = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = _IDS.sub(rf"\g<1>{name}-", svg)
    svg = _FONT.sub("", svg)
    for colour_name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{colour_name})")
    width = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    assert width is not None
    # The style sheet makes it no larger than drawn: lettering stays as large as the text around it.
    head = f'<svg class="figure" role="img" aria-label="{_escape(label)}" style="--width: {width[1]}pt"'
    return re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", rf"{head} \g<1>>", svg, count=1)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
