"""Number words of two languages: values from grammars and from num2words 0.5.14, by hand."""

import pytest

from bench.data.pairs.number_words import ENGLISH, GERMAN

WORDS = {
    0: ("zero", "null"),
    1: ("one", "eins"),
    16: ("sixteen", "sechzehn"),
    17: ("seventeen", "siebzehn"),
    21: ("twenty-one", "einundzwanzig"),
    30: ("thirty", "dreißig"),
    100: ("one hundred", "einhundert"),
    101: ("one hundred and one", "einhunderteins"),
    312: ("three hundred and twelve", "dreihundertzwölf"),
    1_000: ("one thousand", "eintausend"),
    1_001: ("one thousand and one", "eintausendeins"),
    1_100: ("one thousand, one hundred", "eintausendeinhundert"),
    21_021: ("twenty-one thousand and twenty-one", "einundzwanzigtausendeinundzwanzig"),
    1_000_000: ("one million", "eine Million"),
    1_000_001: ("one million and one", "eine Million eins"),
    1_001_000: ("one million, one thousand", "eine Million eintausend"),
    2_000_016: ("two million and sixteen", "zwei Millionen sechzehn"),
    21_000_000: ("twenty-one million", "einundzwanzig Millionen"),
    987_654_321: (
        "nine hundred and eighty-seven million, six hundred and fifty-four thousand, three hundred and twenty-one",
        "neunhundertsiebenundachtzig Millionen sechshundertvierundfünfzigtausenddreihunderteinundzwanzig",
    ),
}


@pytest.mark.parametrize("number", WORDS)
def test_words_are_those_of_both_languages(number):
    assert (ENGLISH.words(number), GERMAN.words(number)) == WORDS[number]


def test_one_agrees_with_what_follows_it():
    """num2words 0.5.14 has einhunderteinstausend and zweihunderteins Millionen, which is no German."""
    assert GERMAN.words(101_000) == "einhunderteintausend"
    assert GERMAN.words(201_000_101) == "zweihunderteine Millionen einhunderteins"


@pytest.mark.parametrize("language", [ENGLISH, GERMAN])
def test_no_number_of_its_digits_is_longer_than_the_longest(language):
    lengths = [len(language.words(number)) for number in range(100_000)]
    assert language.longest(5) == max(lengths)
    assert language.longest(4) == max(lengths[:10_000])


def test_words_are_distinct():
    numbers = [*range(20_000), *range(10**6, 10**9, 99_991)]
    for language in (ENGLISH, GERMAN):
        assert len({language.words(number) for number in numbers}) == len(numbers)
