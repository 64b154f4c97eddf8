"""The verifier that PostgreSQL keeps in place of a password: made here, so that none is sent."""

import base64
import hashlib
import hmac
import secrets
import stringprep
import unicodedata

ITERATIONS = 4096
SALT_BYTES = 16


def scram_verifier(password: str, *, salt: bytes | None = None) -> str:
    """SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, of RFC 5803 as PostgreSQL writes it."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password).encode(), salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    said, stored, server = (base64.b64encode(x).decode() for x in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${ITERATIONS}:{said}${stored}:{server}"


def _prepared(password: str) -> str:
    """By SASLprep (RFC 4013); what it prohibits is taken as it is, as PostgreSQL does."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each
        for each in password
        if stringprep.in_table_c12(each) or not stringprep.in_table_b1(each)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    return normal if normal and not _prohibited(normal) else password


def _prohibited(text: str) -> bool:
    tables = (
        *(stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22),
        *(stringprep.in_table_c3, stringprep.in_table_c4, stringprep.in_table_c5),
        *(stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8),
        stringprep.in_table_c9,
    )
    if any(table(each) for each in text for table in tables):
        return True
    right = [stringprep.in_table_d1(each) for each in text]
    mixed = any(right) and any(stringprep.in_table_d2(each) for each in text)
    return any(right) and (mixed or not (right[0] and right[-1]))
