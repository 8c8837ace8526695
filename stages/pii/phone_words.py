"""The words around digits: what announces a telephone number, and what says that digits are something else.

All patterns are bounded, end where the digits begin (``\\Z``) or start where they end, and are tried on some 50
characters at most.
"""

from __future__ import annotations

import re
from typing import Final

_LABELS: Final = (
    r"answering|messages? to|reach(?:ed)?|text|call|dial|hotline|helpline|infoline|freephone|toll[- ]free|landline"
    r"|pager|switchboard|voice|whats ?app|sms|tele?phon[eo]?s?|phones?|ph|tel(?:ephone)?s?|fax(?:nummer)?|mob|mobiles?"
    r"|cell|cell(?:ular|phone)|gsm"
    r"|tele[fp]on[eo]?|telefo(?:on|onnummer|nnummer|nisch|nicznie)|telefa(?:x|ks)|mobil(?:telefon|nummer)?|mobiel|handy"
    r"|handynummer|rufnummer|durchwahl|tél(?:éphone)?|tlf|tfno?|teléfonos?|móvil|celular|cellulare|centralino|puh|puhelin"
    r"|komórka|тел(?:ефон)?|факс|моб|τηλ"
)
# Short words that stand between the label and the number: "call us now at", "Tel. unter", "phone (office):".
_BETWEEN: Final = (
    r"us|me|him|her|now|today|at|on|is|was|no|nr|num|number|office|home|work|desk|direct|mobile|and|or|the|my|our|your|new"
    r"|phone|line|toll|free|fax|unter|nummer|n[uú]mero|numéro|au|al|op|via"
)
ANNOUNCEMENT: Final = re.compile(
    rf"(?i)(?:(?<![<\[{{/])\b(?:{_LABELS})\b|\b[tpmf](?=:)|[\u260e\u260f\u2706]|电话|電話|手机|传真|傳真|热线|전화|팩스|هاتف|تلفن)"
    rf"(?:\W?:[ \u00a0]?\n)?(?:[^\w\n!?<]|\b(?:{_BETWEEN})\b){{0,16}}\Z"
)
"""Stands in front of a telephone number. A word right behind ``<``, ``[``, ``{`` or
``/`` is a placeholder or part of an address, not a label."""

LABEL_BEHIND: Final = re.compile(
    r"(?i)[ \u00a0]?[-(,]?[ \u00a0]?(?:office|mobile|mobil|cell|tel|phone|voice|fax|home|work|direct|landline)\b"
    r"(?![ \u00a0]{0,2}[:.#]|[ \u00a0]{1,3}[+(\d_<])"
)
"""Stands behind a telephone number, ``555 0123 (home)``, and is not the label of the next one."""

_NUMBER: Final = r"[ \u00a0](?:numbers?|no|nr|num|id|code)"
OTHER_NUMBER: Final = re.compile(
    r"(?i)(?:(?:\b(?:isbn|issn|doi|orders?|ref|reference|items?|models?|sku|parts?|serial|version|build|id|nos?|nr|art|case"
    r"|patent|pmid|upc|ean|gtin|vin|lot|batch|barcode|pages?|pp?|vols?|ticket|invoice|account|acct|tracking|docket"
    r"|ein|duns|cik|imei|oclc|cas|siret|siren|kvk|btw|hrb|blz|plz|nip|regon|krs|nif|cif|iva|dfars|far|cfr|rfc|iso"
    r"|(?:vat|tva)(?:[ -]?(?:be|nl|de|fr|gb|at|it|es|pl))?|rs|inr|usd|eur|gbp|chf|[a-zäöü]+(?:nummer|nr))"
    rf"(?:{_NUMBER})?|\b(?:company|charity|registration|customer|member|claim|policy|permit|licen[cs]e|tax){_NUMBER})\b"
    r"[\s.:#/-]*|10\.\d{4,9}/\S*|[#§$\u20ac\u00a3\u00a5] ?)\Z"
)
"""Stands in front of a number of another kind: orders, laws, tax and company registers, prices."""

DATE_OR_TIME: Final = re.compile(
    r"[0-3]?\d([./-])[0-3]?\d\1\d{2,4}(?!\d)|(?:18|19|20)\d\d([./-])\d{1,2}\2\d{1,2}(?!\d)"
    r"|(?:18|19|20)\d\d ?[-\u2010-\u2013/] ?(?:18|19|20)?\d\d(?!\d)|(?:[01]?\d|2[0-3])\.[0-5]\d ?[-\u2010-\u2013]"
)
"""Digits that start like a date, a span of years or opening hours."""

EXTENSION: Final = re.compile(
    r"(?i)[ \u00a0\u202f,;]{0,2}(?:\(?ext(?:ension|n)?\.?|x|#|durchwahl|poste|doorkiesnummer)[ \u00a0\u202f:.]{0,2}"
    r"\d{1,5}(?!\d)\)?"
)
"""Extension of a telephone number: ``ext. 12``, ``x12``, ``poste 12``."""
