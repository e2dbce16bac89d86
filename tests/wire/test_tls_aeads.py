"""wire.tls.aeads: columns and single records are sealed and opened alike, whichever library does it."""

from random import Random

import pytest

from floodtest.wire.tls.aeads import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, Aead
from floodtest.wire.tls.tls_records import HEADER, TAG

AEADS = [pytest.param(AES_128_GCM, 16, id="AES-128"), pytest.param(AES_256_GCM, 32, id="AES-256")]
AEADS += [pytest.param(CHACHA20_POLY1305, 32, id="ChaCha20")]
SIZES = (1, 2, 105, 105, 105, 16_385)


class Column:
    """Rows of all sizes, with a key each."""

    def __init__(self, key_size: int) -> None:
        random = Random(key_size)
        self.keys, self.nonces, self.heads, self.texts = (
            [random.randbytes(size) for size in sizes]
            for sizes in ([key_size] * len(SIZES), [12] * len(SIZES), [HEADER] * len(SIZES), SIZES)
        )


@pytest.mark.parametrize(("aead", "key_size"), AEADS)
def test_a_column_has_what_single_calls_give(aead: Aead, key_size: int) -> None:
    column = Column(key_size)
    rows = zip(column.keys, column.nonces, column.texts, column.heads, strict=True)
    records = aead.seal(column.keys, column.nonces, column.texts, column.heads)
    assert records == [aead.seal_one(*row) for row in rows]
    assert aead.open(column.keys, column.nonces, records) == column.texts


@pytest.mark.parametrize(("aead", "key_size"), AEADS)
def test_of_rows_that_do_not_open_nothing_is_returned_and_all_others_open(aead: Aead, key_size: int) -> None:
    column = Column(key_size)
    good = aead.seal(column.keys, column.nonces, column.texts, column.heads)
    for row in range(len(SIZES)):
        head, body = good[row][:HEADER], good[row][HEADER:]
        other_head, other_tag, other_text = bytes(HEADER), bytes(TAG), bytes([body[0] ^ 1])
        for bad in (other_head + body, head + body[:-TAG] + other_tag, head + other_text + body[1:]):
            _only_one_fails(aead, column, [*good[:row], bad, *good[row + 1 :]], row)
        for size in range(TAG + 1):
            _only_one_fails(aead, column, [*good[:row], head + body[:size], *good[row + 1 :]], row)


def _only_one_fails(aead: Aead, column: Column, records: list[bytes], row: int) -> None:
    texts = [*column.texts[:row], None, *column.texts[row + 1 :]]
    assert aead.open(column.keys, column.nonces, records) == texts
    assert aead.open_one(column.keys[row], column.nonces[row], records[row]) is None


def test_a_text_of_nothing_is_not_a_failure() -> None:
    key, nonce, head = bytes(32), bytes(12), bytes(HEADER)
    (record,) = AES_256_GCM.seal([key], [nonce], [b""], [head])
    assert len(record) == HEADER + TAG
    assert AES_256_GCM.open([key], [nonce], [record]) == [b""]
