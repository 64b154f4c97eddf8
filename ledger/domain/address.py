"""Which addresses are of the house: nothing that a stranger names may be sent to one of them.

Invariant: what is public here is global unicast of the IANA registries, in no other notation.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_IPV4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by carriers",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's own",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "a relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
# Loopback, link-local, unique local, mapped IPv4 and multicast are no global unicast.
_IPV6_PUBLIC = IPv6Network("2000::/3")
_IPV6 = {
    "2001::/23": "reserved",
    "2001:db8::/32": "for documentation",
    "2002::/16": "a relay",
    "3fff::/20": "for documentation",
}
_V4 = [(IPv4Network(network), what) for network, what in _IPV4.items()]
_V6 = [(IPv6Network(network), what) for network, what in _IPV6.items()]
# Names that lead into the house wherever they are looked up.
_INSIDE = ("localhost", "local", "internal", "localdomain", "lan", "home", "corp", "intranet")


def inside(text: str) -> str | None:
    """What an address of the house is, or None where it is public; ValueError where it is none.

    >>> inside("169.254.169.254"), inside("::ffff:8.8.8.8"), inside("8.8.8.8")
    ('link-local', 'not global unicast', None)
    """
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return next((what for network, what in _V4 if address in network), None)
    return _inside_v6(address)


def _inside_v6(address: IPv6Address) -> str | None:
    if address not in _IPV6_PUBLIC or address.scope_id is not None:
        return "not global unicast"
    return next((what for network, what in _V6 if address in network), None)


def inside_by_name(host: str) -> str | None:
    """What is wrong with a host as it is written; None where its addresses are to be looked up.

    A name whose last label is a number is an address in a notation of its own, like 0x7f.1.

    >>> inside_by_name("0x7f.1"), inside_by_name("db.internal"), inside_by_name("example.com")
    ('an address in an odd notation', 'a name of the house', None)
    """
    name = host.rstrip(".").lower()
    try:
        return inside(name)
    except ValueError:
        last = name.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        return "an address in an odd notation"
    if last in _INSIDE or "." not in name:
        return "a name of the house"
    return None
