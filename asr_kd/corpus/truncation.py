"""Audio files that end before their own headers say they should.

libsndfile reads what is left of a truncated WAV, SPHERE or Ogg file without a word, so their lengths are
compared here; FLAC and MP3 files show it when they are decoded.
"""

from pathlib import Path

RIFF_HEADER_BYTES = 12
# What writers that cannot go back to the header leave there.
UNKNOWN_SIZES = (0, 0xFFFFFFFF)
OGG_PAGE_BYTES = 65307  # the longest page there can be
OGG_HEADER_BYTES = 27
OGG_LAST_PAGE = 4  # flag in the header of the last page


def truncation(path: Path) -> str | None:
    """How a file is shorter than its header says; None if it is not, or the format cannot tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1024)
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return _wav(path, size)
    if start.startswith(b"NIST_1A"):
        return _sphere(start, size)
    if start.startswith(b"OggS"):
        return _ogg(path, size)
    if path.suffix.lower() == ".raw" and size % 2:
        return "an odd number of bytes for 16-bit samples"
    return None


def _wav(path: Path, size: int) -> str | None:
    with path.open("rb") as file:
        place = RIFF_HEADER_BYTES
        while place + 8 <= size:
            file.seek(place)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            if name == b"data":
                missing = place + 8 + length - size
                if length not in UNKNOWN_SIZES and missing > 0:
                    return f"{missing} of {length} bytes of samples are missing"
                return None
            place += 8 + length + length % 2
    return "it has no samples"


def _sphere(header: bytes, size: int) -> str | None:
    """NIST SPHERE: lines ``name -type value`` up to ``end_head``."""
    lines = header.split(b"end_head")[0].decode("ascii", errors="replace").splitlines()
    fields = {parts[0]: parts[2] for parts in (line.split(maxsplit=2) for line in lines) if len(parts) == 3}
    try:
        header_bytes = int(lines[1])
        samples = int(fields["sample_count"]) * int(fields.get("channel_count", 1))
        expected = header_bytes + samples * int(fields.get("sample_n_bytes", 2))
    except (KeyError, ValueError, IndexError):
        return None
    if "embedded" in fields.get("sample_coding", "") or expected <= size:
        return None
    return f"{expected - size} of {expected} bytes are missing"


def _ogg(path: Path, size: int) -> str | None:
    """RFC 3533: the last page is marked, and a page's length follows from its segment table."""
    with path.open("rb") as file:
        file.seek(max(0, size - OGG_PAGE_BYTES))
        end = file.read()
    place = end.rfind(b"OggS")
    if place < 0 or len(end) < place + OGG_HEADER_BYTES:
        return "its last page is incomplete"
    page = end[place:]
    table = page[OGG_HEADER_BYTES : OGG_HEADER_BYTES + page[26]]
    if len(page) < OGG_HEADER_BYTES + page[26] + sum(table):
        return "its last page is incomplete"
    return None if page[5] & OGG_LAST_PAGE else "its last page is missing"
