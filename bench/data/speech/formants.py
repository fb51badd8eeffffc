"""What synthetic speech is made of: formants of vowels as measured, of consonants as set here, and words of phones."""

from __future__ import annotations

from dataclasses import dataclass

# Means over 33 men, 28 women and 15 children: fundamental (Hz), three formants (Hz). Source: Peterson & Barney 1952,
# Table II; ARPABET names of the vowels of heed, hid, head, had, hod, hawed, hood, who'd, hud, heard.
Voice = tuple[int, int, int, int]
VOWELS: dict[str, tuple[Voice, Voice, Voice]] = {
    "IY": ((136, 270, 2290, 3010), (235, 310, 2790, 3310), (272, 370, 3200, 3730)),
    "IH": ((135, 390, 1990, 2550), (232, 430, 2480, 3070), (269, 530, 2730, 3600)),
    "EH": ((130, 530, 1840, 2480), (223, 610, 2330, 2990), (260, 690, 2610, 3570)),
    "AE": ((127, 660, 1720, 2410), (210, 860, 2050, 2850), (251, 1010, 2320, 3320)),
    "AA": ((124, 730, 1090, 2440), (212, 850, 1220, 2810), (256, 1030, 1370, 3170)),
    "AO": ((129, 570, 840, 2410), (216, 590, 920, 2710), (263, 680, 1060, 3180)),
    "UH": ((137, 440, 1020, 2240), (232, 470, 1160, 2680), (276, 560, 1410, 3310)),
    "UW": ((141, 300, 870, 2240), (231, 370, 950, 2670), (274, 430, 1170, 3260)),
    "AH": ((130, 640, 1190, 2390), (221, 760, 1400, 2780), (261, 850, 1590, 3360)),
    "ER": ((133, 490, 1350, 1690), (218, 500, 1640, 1960), (261, 560, 1820, 2160)),
}
# Levels of the three formants in dB, relative to the first of AA; the same table.
LEVELS: dict[str, tuple[int, int, int]] = {
    "IY": (-4, -24, -28),
    "IH": (-3, -23, -27),
    "EH": (-2, -17, -24),
    "AE": (-1, -12, -22),
    "AA": (-1, -5, -28),
    "AO": (0, -7, -34),
    "UH": (-1, -12, -34),
    "UW": (-3, -19, -43),
    "AH": (-1, -10, -27),
    "ER": (-5, -15, -20),
}


@dataclass(frozen=True, kw_only=True)
class Consonant:
    """Round numbers of this project, of a man: formants (Hz), loudness of voice and noise in [0, 1], noise's centre."""

    formants: tuple[int, int, int]
    voiced: float = 0.0
    noise: float = 0.0
    noise_hz: int = 2000
    frames: int


SILENCE = "SIL"
CONSONANTS: dict[str, Consonant] = {
    SILENCE: Consonant(formants=(500, 1500, 2500), frames=6),
    "F": Consonant(formants=(300, 1100, 2300), noise=0.2, noise_hz=2800, frames=8),
    "K": Consonant(formants=(350, 1900, 2500), noise=0.5, noise_hz=2000, frames=5),
    "N": Consonant(formants=(250, 1200, 2700), voiced=0.45, frames=7),
    "R": Consonant(formants=(310, 1060, 1380), voiced=0.7, frames=6),
    "S": Consonant(formants=(320, 1600, 2600), noise=0.8, noise_hz=3700, frames=10),
    "T": Consonant(formants=(350, 1800, 2700), noise=0.6, noise_hz=3600, frames=5),
    "TH": Consonant(formants=(300, 1300, 2700), noise=0.15, noise_hz=3300, frames=7),
    "V": Consonant(formants=(300, 1100, 2300), voiced=0.4, noise=0.15, noise_hz=2800, frames=5),
    "W": Consonant(formants=(290, 610, 2150), voiced=0.6, frames=6),
    "Z": Consonant(formants=(300, 1600, 2600), voiced=0.4, noise=0.6, noise_hz=3700, frames=8),
}
VOWEL_FRAMES = 9  # of 10 ms
PHONES: tuple[str, ...] = (*CONSONANTS, *VOWELS)

# Diphthongs are two vowels: eight EH IH, five and nine AA IH, zero AO UH.
DIGITS: dict[str, tuple[str, ...]] = {
    "zero": ("Z", "IH", "R", "AO", "UH"),
    "one": ("W", "AH", "N"),
    "two": ("T", "UW"),
    "three": ("TH", "R", "IY"),
    "four": ("F", "AO", "R"),
    "five": ("F", "AA", "IH", "V"),
    "six": ("S", "IH", "K", "S"),
    "seven": ("S", "EH", "V", "AH", "N"),
    "eight": ("EH", "IH", "T"),
    "nine": ("N", "AA", "IH", "N"),
}


@dataclass(frozen=True, kw_only=True)
class Phone:
    """Fundamental and formants (Hz) of a man, a woman and a child; the fundamental is 0 where there is none.

    amplitudes: of the three formants. voiced, noise: loudness of voice and of noise, whose centre is noise_hz.
    """

    voices: tuple[Voice, Voice, Voice]
    amplitudes: tuple[float, float, float]
    voiced: float
    noise: float
    noise_hz: int
    frames: int


# Longer and shorter vocal tracts: ratios of women's and children's formants to men's, means over the vowels.
TRACTS = tuple(
    sum(sum(voices[who][1:]) / sum(voices[0][1:]) for voices in VOWELS.values()) / len(VOWELS) for who in range(3)
)


def phone(name: str) -> Phone:
    """What a phone of PHONES sounds like; a consonant's formants scale with the vocal tract."""
    if name in VOWELS:
        first, second, third = (10 ** (level / 20) for level in LEVELS[name])
        return Phone(
            voices=VOWELS[name],
            amplitudes=(first, second, third),
            voiced=1.0,
            noise=0.0,
            noise_hz=2000,
            frames=VOWEL_FRAMES,
        )
    one = CONSONANTS[name]
    return Phone(
        voices=(_voice(one, TRACTS[0]), _voice(one, TRACTS[1]), _voice(one, TRACTS[2])),
        amplitudes=(1.0, 0.3, 0.05),
        voiced=one.voiced,
        noise=one.noise,
        noise_hz=one.noise_hz,
        frames=one.frames,
    )


def _voice(consonant: Consonant, tract: float) -> Voice:
    first, second, third = (round(hz * tract) for hz in consonant.formants)
    return 0, first, second, third
