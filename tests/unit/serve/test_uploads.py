"""Multipart bodies, as they come in."""

import pytest

from perenne.errors import InvalidRequest
from serve.uploads import PartReader

KIND = "multipart/form-data; boundary=edge"
BODY = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nall of it\r\n--edge--'


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\nan epilogue"])
def test_a_whole_body_is_read_however_it_is_cut_and_ended(step: int, end: bytes) -> None:
    reader, body = PartReader(KIND), BODY + end
    pieces = [piece for at in range(0, len(body), step) for piece in reader.feed(body[at : at + step])]
    reader.close()
    assert b"".join(data for _, data in pieces) == b"all of it"
    assert {part.filename for part, _ in pieces} == {"a.txt"}


@pytest.mark.parametrize("length", [60, 78, len(BODY) - 9, len(BODY) - 2])
def test_a_body_that_breaks_off_is_no_file(length: int) -> None:
    """A body whose sender gave up in its midst, and ended it well for HTTP, was acknowledged as if it were the whole file."""
    reader = PartReader(KIND)
    reader.feed(BODY[:length])
    with pytest.raises(InvalidRequest, match="before its last boundary"):
        reader.close()
