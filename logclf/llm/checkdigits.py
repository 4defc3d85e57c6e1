"""Numbers of cards and bank accounts, told from others by their issuers, lengths and check digits."""

from __future__ import annotations

# First digits of the large networks' cards, as ranges over as many digits, and the lengths in use.
NETWORKS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (4, 4, frozenset({13, 16, 19})),  # Visa
    (51, 55, frozenset({16})),  # Mastercard
    (2221, 2720, frozenset({16})),
    (34, 34, frozenset({15})),  # American Express
    (37, 37, frozenset({15})),
    (6011, 6011, frozenset({16, 19})),  # Discover
    (644, 659, frozenset({16, 19})),
    (300, 305, frozenset({14, 16})),  # Diners Club
    (36, 36, frozenset({14, 16})),
    (38, 39, frozenset({14, 16})),
    (3528, 3589, frozenset({16, 19})),  # JCB
    (62, 62, frozenset({16, 17, 18, 19})),  # UnionPay
    (5018, 5038, frozenset({16, 18, 19})),  # Maestro
    (56, 58, frozenset({16, 18, 19})),
    (6304, 6304, frozenset({16, 18, 19})),
    (6759, 6763, frozenset({16, 18, 19})),
    (2200, 2204, frozenset({16, 19})),  # Mir
)

# Characters of an IBAN, by country (the registry of SWIFT, where length and country say nearly all).
LENGTHS = dict(
    part.split(":")
    for part in (
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 "
        "DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 "
        "IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 "
        "MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 "
        "SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
    ).split()
)


def is_card(digits: str) -> bool:
    """Whether these digits are a card's number: a network's, of its length, with Luhn's check digit."""
    fits = any(
        len(digits) in lengths and low <= int(digits[: len(str(low))]) <= high for low, high, lengths in NETWORKS
    )
    return fits and luhn(digits)


def luhn(digits: str) -> bool:
    """Luhn's sum (ISO/IEC 7812-1): every second digit from the right doubled, all of them a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def account_length(text: str) -> int:
    """How many characters of the text, blanks left out, are an IBAN; 0 where it does not begin with one.

    text: upper-case letters and digits. The check is ISO 7064's, modulo 97.
    """
    length = int(LENGTHS.get(text[:2], 0))
    if not length or len(text) < length:
        return 0
    turned = text[4:length] + text[:4]
    return length if int("".join(str(int(char, 36)) for char in turned)) % 97 == 1 else 0
