"""JSON of somebody else is read, or is one kind of error."""

import pytest

from sadstream.base.json_text import parsed


def test_what_is_json_is_read() -> None:
    assert parsed(b'{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize("text", ["{", "", b"\xff", "[" * 100_000, '{"a":' * 100_000])
def test_what_is_none_or_nests_without_end_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parsed(text)
