"""Names for services that want one chosen."""

import hashlib


def physical_name(whole: str, limit: int) -> str:
    """``whole`` as letters, digits and hyphens, a letter first, at most ``limit`` of them.

    It is the same at every run, and another one for another ``whole``.
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in whole.lower())
    if plain == whole and len(plain) <= limit and plain[0].isalpha():
        return plain
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"s{plain}"[: limit - 9].rstrip("-") + f"-{digest}"
