"""Altered files, whatever parses them: an `AsrKdError` or a result, nothing else."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr_kd.errors import AsrKdError
from tests.parsers import PARSERS

EXAMPLES = 25
# What is worth a try at any place of any file.
WORDS = "nan inf 1e999 1_0 -1 -0.5 99999999999999999999 null {} ../ <eps> </s> \\end\\ \ud800"
TOKENS = (
    *(word.encode(errors="surrogatepass") for word in WORDS.split()),
    *(b"", b"\0", b"\n", b" ", b"[" * 2000, b"\xff\xfe", b"\x80\x02.", b"\xff" * 4, b"\xff" * 8, b"\0" * 8),
    *((1 << power).to_bytes(8, "little") for power in (16, 31, 40, 62)),
)
Edit = tuple[float, int, bytes]


def altered(content: bytes, edits: Sequence[Edit]) -> bytes:
    """Each edit replaces so many bytes, from a place between 0 and 1 on, by others."""
    for where, removed, put in edits:
        place = int(where * len(content))
        content = content[:place] + put + content[place + removed :]
    return content


edits = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.one_of(st.integers(0, 8), st.integers(0, 10**6)),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_named_errors(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    parser, folder = PARSERS[name], tmp_path_factory.mktemp("parser")
    parser.write(folder)
    parser.parse(folder)  # what is right is read
    content = (folder / parser.file).read_bytes()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(edits)
    def parse(changes: list[Edit]) -> None:
        (folder / parser.file).write_bytes(altered(content, changes))
        try:
            parser.parse(folder)
        except AsrKdError as error:
            assert str(folder) in str(error) or "search lost every path" in str(error), "names no file"

    parse()
