"""
Agents' addresses, as Wazuh writes them.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

#: The address of an agent that may call from anywhere.
ANY = "any"


def normalAddress(text: str) -> str:
    """
    An address as it stands in C{client.keys}: C{any}, or IPv4 as it is, or IPv6
    as eight groups of four upper-case hexadecimal digits; with C{/prefix} where
    it came with one.

    @raise ValueError: if it is not an address.
    """
    if text == ANY:
        return text
    address, slash, prefix = text.partition("/")
    try:
        if ":" in address:
            if "%" in address:
                raise ValueError(f"{text!r} has a zone")
            normal, longest = IPv6Address(address).exploded.upper(), 128
        else:
            normal, longest = str(IPv4Address(address)), 32
    except AddressValueError as error:
        raise ValueError(str(error)) from None
    if not slash:
        return normal
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= longest):
        raise ValueError(f"{text!r} does not end in a prefix of 0 to {longest}")
    return f"{normal}/{int(prefix)}"
