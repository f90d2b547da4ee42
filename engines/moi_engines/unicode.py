"""Text that is no Unicode: half a surrogate pair, or bytes of the command line that are not UTF-8."""


def check_unicode(name: str, text: str) -> str:
    """`text`; ValueError that names it and its first character that no encoding can hold."""
    at = next((i for i, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
    if at is None:
        return text
    byte = ord(text[at]) - 0xDC00  # as Python spells bytes of the command line that are not UTF-8
    found = f"the byte 0x{byte:02x}, no UTF-8," if 0x80 <= byte <= 0xFF else f"half a surrogate, {text[at]!a},"
    raise ValueError(f"{name} is not Unicode text: it holds {found} at position {at}")
