"""The numbering plans of the world in brief: how many digits follow each country calling code (ITU-T E.164).

Lengths are those of the national significant number, without the trunk zero. They are written down from general
knowledge and on the generous side where a plan is open (Germany, Austria, Italy, Finland, Indonesia) or was changed
in the last decades; special services may be shorter. Enough to tell a telephone number from coordinates and sums.
"""

from __future__ import annotations

import re
from typing import Final

_PLANS: Final = """
4-5 247 290 683 690
5-6 500 672 682 688
5-7 676 677 678 685
5-10 352
5-8 686
6 298 299 508 681 687
6-7 597
6-8 689
6-9 376
6-11 49 358
6-12 43
7 220 238 239 246 248 269 291 297 354 501 592 673 674 679 680 691 692 960
7-8 230 241 267 372 507 599 670 675 961
7-9 46 231 245 252 265 359 423 967
7-10 90 95 353
7-12 882 883
8 45 47 53 65 216 222 223 226 227 228 232 235 236 253 257 266 268 350 356 357 370 371 373 374 382 383 386 389 502 503
8 504 505 506 509 591 598 808 852 853 965 968 973 974 975 976 993
8-9 27 32 33 36 800 51 56 61 66 213 224 237 258 264 355 377 385 387 593 595 855 881 886 962 963 966 970 971 972
8-10 20 31 57 60 63 64 82 218 225 229 234 263 378 381 850 856 880 964 977
8-11 39
8-12 62
9 34 40 41 48 93 94 211 212 221 233 240 242 243 244 249 250 251 255 256 260 261 262 351 375 380 420 421
9 590 594 596 870 979 992 994 995 996 998
9-10 44 81 84 92 254
10 1 7 30 52 58 91 98
10-11 54 55
9-11 86
"""
_LENGTHS: Final = {
    code: (int(span.split("-")[0]), int(span.split("-")[-1]))
    for span, *codes in map(str.split, _PLANS.strip().splitlines())
    for code in codes
}
"""Calling code -> fewest and most digits behind it."""
_NORTH_AMERICA: Final = re.compile(r"1[2-9]\d{9}")


def fits_plan(digits: str) -> bool:
    """Whether ``digits``, calling code first, could be a subscriber's number: the code exists and the length is right.

    A trunk zero between code and number, as in +44 (0)20, may be there or not. North American areas start with 2
    to 9.
    """
    code = next((digits[:size] for size in (1, 2, 3) if digits[:size] in _LENGTHS), None)
    if code is None:
        return False
    if code == "1":
        return _NORTH_AMERICA.fullmatch(digits) is not None
    fewest, most = _LENGTHS[code]
    size = len(digits) - len(code)
    return fewest <= size <= most or (digits.startswith("0", len(code)) and fewest <= size - 1 <= most)
