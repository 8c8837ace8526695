"""What makes a run of characters an e-mail address, IP address, payment card, IBAN or US social security number.

Each function gets a short piece of text that the scanner (``stages.pii.kernel``) or a bounded pattern has found and
says yes or no. They check what a check digit or a registry can tell (Luhn, mod 97, country lengths, issuer prefixes,
areas that were never given out), because digits alone occur everywhere: versions, prices, ISBNs, DOIs.
"""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from typing import Literal, get_args

Kind = Literal["email", "phone", "ip", "payment_card", "iban", "ssn"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TOP_LEVEL = re.compile(r"\.([A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})$")
_GLUED = re.compile(r"\.[a-z]{2,24}(?=(?:[A-Z][a-z]+|-[^.]*|\.[A-Z0-9].*)$)")  # example.com + Phone, -tel, .Please
_FILE_ENDINGS = frozenset({"zip", "mov"})  # top-level domains that name files far more often than hosts
_OLD_NETWORKS = frozenset({"bitnet", "uucp"})  # in archives
# No digits between the word and the number: they would be the number that the word is about.
_CARD_WORD = re.compile(
    r"(?i)\b(?:card|visa|master ?card|amex|american express|maestro|diners|discover|credit|debit|cc)[^\d_]*\Z"
)
_SSN_WORD = re.compile(r"(?i)\b(?:ssn|social[ -]security)\b[^\d_]*\Z")
_VERSION_WORD = re.compile(
    r"(?i)(?:\b(?:v|ver|version|release|rev|revision|build|update|firmware|driver|patch|section|sec|chapter|clause|rule"
    r"|article|table|figure|fig|item|kernel|oid)s?[\s.:#=(]*|[§¶]\s*|[a-z][/_-])\Z"
)
_GIVEN_OUT = re.compile(r"(?i)(?:200[1-3]|2[4-9acd][0-9a-f]{2}|3fff):")  # IANA's unicast assignments, and two examples
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_EXAMPLES = tuple(map(ipaddress.IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))  # RFC 5737
_ZONE = re.compile(r"%[A-Za-z0-9_-]{1,15}")
# Length of an IBAN by country: the registry of ISO 13616 as published by SWIFT.
_IBAN_LENGTH = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL FK SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG DZ",
        25: "AO CV GW LY MZ PT ST", 26: "IS TR", 27: "BF BI BJ CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM SN TD TG",
        28: "AL AZ BY CI CY DO GT HN HU LB ML NE NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU", 31: "MT SC",
        32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def email_length(address: str) -> int:
    """How many characters of an address-shaped string are an e-mail address; 0 where it is none.

    File names (``icon@2x.png``), code (``w@x.flatten``) and names of repositories (``git@host``) are none. Text that
    extraction has glued to the end is left out: ``jo@example.comPhone``.
    """
    if _is_email(address):
        return len(address)
    glued = _GLUED.search(address, address.index("@"))
    return glued.end() if glued and _is_email(address[: glued.end()]) else 0


@cache
def _top_level_domains() -> frozenset[str]:
    from tldextract import TLDExtract

    listed = TLDExtract(suffix_list_urls=(), cache_dir=None).tlds  # the list that comes with the package
    return frozenset(suffix.rpartition(".")[2] for suffix in listed) - _FILE_ENDINGS | _OLD_NETWORKS


def is_top_level(name: str) -> bool:
    """Whether ``name`` is a top-level domain by the public suffix list, and not mostly the ending of files."""
    name = name.lower()
    return name.startswith("xn--") or name in _top_level_domains()


def _is_email(address: str) -> bool:
    match = _TOP_LEVEL.search(address)
    mailbox, _, host = address.partition("@")
    if match is None or ".." in mailbox or not is_top_level(match.group(1)):
        return False
    return not (mailbox == "git" or host.startswith("-"))  # git@host:owner/name


def is_ipv4(text: str, *, before: str, private: bool) -> bool:
    """Whether four dotted numbers are the address of a host; ``before`` is the text in front of them.

    Versions and section numbers are told apart by the word in front, by leading zeros, and by four small numbers
    (all below 32: one address in 4,096 is lost to that). Addresses reserved for documentation (203.0.113.7) count,
    as do example.org and 555-0123: they stand for somebody's.
    """
    octets = text.split(".")
    if len(octets) != 4 or any(len(octet) > 1 and octet[0] == "0" for octet in octets):
        return False
    values = [int(octet) for octet in octets]
    if max(values) > 255 or max(values) < 32 or _VERSION_WORD.search(before):
        return False
    address = ipaddress.IPv4Address(text)
    if address.is_loopback or address.is_multicast:
        return False
    return private or address.is_global or any(address in network for network in _EXAMPLES)


def ipv6_length(text: str, size: int, before: str, *, private: bool) -> int:
    """How many characters of ``text`` are an IPv6 address; 0 where the first ``size``, which look like one, are none.

    A zone (``%eth0``) is part of it; a port, a prefix length (``/48``) and brackets are not. Counts are addresses of
    the blocks given out so far and those that hold an IPv4 address that counts, with ``private`` local ones too.
    ``a::b`` is C++, ``x[2001::2]`` Python, told by the two characters ``before`` it.
    """
    address = _parsed(text[:size])
    if address is None and "." in text[:size]:  # 2001:db8::7.443: a port, as tcpdump writes it
        size = text.index(".")
        address = _parsed(text[:size])
    sliced = before.endswith("[") and (before[:-1].isalnum() or before[:-1] in ("_", ")", "]"))
    if sliced or address is None or not _counts(address, text, private=private):
        return 0
    zone = _ZONE.match(text, size)
    size = zone.end() if zone else size
    return 0 if text[size : size + 1] == "_" else size


def _parsed(text: str) -> ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(text)
    except ValueError:
        return None


def _counts(address: ipaddress.IPv6Address, text: str, *, private: bool) -> bool:
    held = address.ipv4_mapped or (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
    if held is not None:
        return is_ipv4(str(held), before="", private=private)
    local = address in _UNIQUE_LOCAL or address.is_link_local
    return (private and local) or _GIVEN_OUT.match(text) is not None  # written with four digits: 2::3 is a ratio


def passes_luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    odd = sum(int(d) for d in digits[-1::-2])
    even = sum((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[int(d)] for d in digits[-2::-2])
    return (odd + even) % 10 == 0


def is_payment_card(digits: str, *, before: str, grouped: bool) -> bool:
    """Whether 12 to 19 digits are a card number: Luhn, and the prefix and length of a large issuer.

    Diners and Maestro prefixes count when the digits are ``grouped`` as on a card, all others (old 13-digit Visa,
    12 to 19 digits of Maestro) behind a word like "card" in ``before``: one in ten identifiers passes Luhn.
    """
    if len(set(digits)) == 1 or not passes_luhn(digits):
        return False
    size, head2, head3, head4 = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    usual = (
        (size == 16 and (digits[0] == "4" or 51 <= head2 <= 55 or 2221 <= head4 <= 2720))
        or (size == 15 and head2 in (34, 37))
        or (size == 16 and (head4 == 6011 or 644 <= head3 <= 649 or head2 == 65 or 3528 <= head4 <= 3589))
    )
    rare = (size == 14 and (300 <= head3 <= 305 or head2 in (36, 38, 39))) or (size == 16 and 56 <= head2 <= 69)
    return usual or (rare and grouped) or _CARD_WORD.search(before) is not None


def is_iban(text: str) -> bool:
    """Whether ``text`` (blanks allowed) is an IBAN: country, its length, and mod 97 (ISO 13616)."""
    account = text.replace(" ", "").upper()
    if _IBAN_LENGTH.get(account[:2]) != len(account) or not (account.isascii() and account.isalnum()):
        return False
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def iban_length(text: str) -> int:
    """How many characters of ``text``, blanks included, the IBAN that it starts with takes; 0 where there is none."""
    wanted = _IBAN_LENGTH.get(text[:2].upper(), 0)
    if not wanted:
        return 0
    signs = 0
    for at, sign in enumerate(text):
        if sign != " " and not sign.isalnum():
            return 0
        signs += sign != " "
        if signs == wanted:
            ends = at + 1 == len(text) or not text[at + 1].isalnum()
            return at + 1 if ends and is_iban(text[: at + 1]) else 0
    return 0


def is_ssn(text: str, *, before: str) -> bool:
    """Whether 123-45-6789 could have been given out (SSA rules since 2011); without hyphens a word must announce it."""
    area, group, serial = re.sub(r"\D", "", text)[:3], re.sub(r"\D", "", text)[3:5], re.sub(r"\D", "", text)[5:]
    if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return text.count("-") == 2 or _SSN_WORD.search(before) is not None
