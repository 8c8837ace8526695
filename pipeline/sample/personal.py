"""Personal data to be masked: well-formed, and nobody's.

All values come from ranges that are reserved for documentation or withdrawn: example.com (RFC 2606), 192.0.2.0/24 and
its siblings (RFC 5737), 2001:db8::/32 (RFC 3849), 555-01xx and the numbers that Ofcom keeps for drama, the card numbers
that payment services publish for tests, the sample IBANs of the registry, and two social security numbers that were
printed in advertisements and withdrawn.
"""

from __future__ import annotations

import random

KINDS = ("email", "phone", "ip_address", "payment_card", "iban", "us_ssn")

_ROLES = ("garden.desk", "info", "press-office", "night.shift", "workshop", "archive_room", "tickets", "front.desk")
_DOMAINS = ("example.com", "example.org", "mail.example.net")
_CARDS = ("4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005", "6011111111111117", "4012888888881881")
_IBANS = (
    "GB82 WEST 1234 5698 7654 32",
    "DE89370400440532013000",
    "FR14 2004 1010 0505 0001 3M02 606",
    "NL91ABNA0417164300",
    "ES91 2100 0418 4502 0005 1332",
)
_NUMBERS = ("078-05-1120", "219-09-9999")

_CARRIERS = {
    "email": (
        "Questions may be sent to {value} at any time.",
        "Write to {value} if you would like to take part.",
        "Corrections are welcome at {value}, preferably before the weekend.",
    ),
    "phone": (
        "The office can be reached at {value} in the morning.",
        "Please call {value} to reserve a place.",
        "For urgent matters the number is {value}.",
    ),
    "ip_address": (
        "The old server answered at {value} until it was switched off.",
        "The log shows a visitor from {value} shortly after midnight.",
    ),
    "payment_card": (
        "The test order was paid with card number {value} and refunded the same day.",
        "Somebody had left the card {value} on the form.",
    ),
    "iban": (
        "Donations go to the account {value} of the society.",
        "The fee is paid to IBAN {value} before the course begins.",
    ),
    "us_ssn": (
        "The sample form carried the social security number {value} in its first line.",
        "On the old card the SSN {value} could still be read.",
    ),
}


def make_value(rng: random.Random, kind: str) -> str:
    """One value of a kind named in ``KINDS``."""
    if kind == "email":
        return f"{rng.choice(_ROLES)}{rng.choice(('', '', str(rng.randrange(2, 99))))}@{rng.choice(_DOMAINS)}"
    if kind == "phone":
        line = f"{rng.randrange(100, 200):04d}"
        area = rng.choice((202, 303, 415, 512, 617))
        british = f"020 7946 0{rng.randrange(1000):03d}"
        return rng.choice((f"({area}) 555-{line}", f"+1-{area}-555-{line}", f"{area}-555-{line}", british))
    if kind == "ip_address":
        block = rng.choice(("192.0.2.", "198.51.100.", "203.0.113."))
        return rng.choice((f"{block}{rng.randrange(1, 255)}", f"2001:db8::{rng.randrange(1, 65535):x}"))
    return rng.choice({"payment_card": _CARDS, "iban": _IBANS, "us_ssn": _NUMBERS}[kind])


def personal_lines(rng: random.Random, count: int) -> tuple[list[tuple[str, str]], list[str]]:
    """``count`` values of different kinds (kind, value), and one sentence around each."""
    kinds = rng.sample(KINDS, count)
    planted = [(kind, make_value(rng, kind)) for kind in kinds]
    return planted, [rng.choice(_CARRIERS[kind]).format(value=value) for kind, value in planted]
