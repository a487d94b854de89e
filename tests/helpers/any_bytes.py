"""Bytes as a damaged file has them."""

from hypothesis import strategies as st


def changed(whole: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that differ from a whole file's: cut short, with some replaced, or any."""
    place = st.integers(0, max(len(whole) - 1, 0))
    cut = place.map(lambda end: whole[:end])
    other = st.tuples(place, st.binary(min_size=1, max_size=9)).map(
        lambda found: whole[: found[0]] + found[1] + whole[found[0] + len(found[1]) :]
    )
    return cut | other | st.binary(max_size=200)
