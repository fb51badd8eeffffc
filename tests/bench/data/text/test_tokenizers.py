"""Tokenizers give back what they were given, and the same ids however the text comes in pieces."""

import itertools

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.text.pieces import SEPARATOR, gpt2_pieces, up_to
from bench.data.text.tokenizers import GPT2_IDS, MAX_CHARACTERS, TOKENIZERS, Bpe, Bytes, Characters, Gpt2
from bench.errors import UsageError

DOCUMENTS = st.lists(st.lists(st.text(max_size=20), max_size=4), max_size=4)
WORDS = st.lists(st.sampled_from(["ab", " ", "\n", "\t", "12", "'s", ".", "é", "\x1c", "\u2003", "\u00a0", "中"]))


def encoded(kind, documents, *, is_separated=False):
    tokenizer = kind.learn(documents, is_separated=is_separated, max_tokens=None)
    pieces = list(tokenizer.encode(documents, is_separated=is_separated))
    return tokenizer, numpy.concatenate([numpy.zeros(0, dtype=numpy.int64), *pieces])


@pytest.mark.parametrize("kind", [Bytes, Characters, Bpe])
@given(documents=DOCUMENTS)
@settings(deadline=None)
def test_decoding_gives_back_the_text(kind, documents):
    tokenizer, ids = encoded(kind, documents)
    assert tokenizer.decode(ids) == "".join(text for document in documents for text in document)


@pytest.mark.parametrize("kind", [Bytes, Characters, Bpe])
@given(documents=DOCUMENTS)
@settings(deadline=None)
def test_a_separator_goes_before_each_document(kind, documents):
    tokenizer, ids = encoded(kind, documents, is_separated=True)
    assert tokenizer.decode(ids) == "".join(SEPARATOR + "".join(document) for document in documents)


@pytest.mark.parametrize("kind", [Bytes, Characters, Bpe])
@given(text=st.text(), cut=st.integers(0, 50))
@settings(deadline=None)
def test_ids_do_not_depend_on_the_pieces(kind, text, cut):
    _, whole = encoded(kind, [[text]])
    _, pieces = encoded(kind, [[text[:cut], text[cut:]]])
    assert whole.tolist() == pieces.tolist()


@given(text=st.text(min_size=1))
def test_characters_are_numbered_in_their_order(text):
    tokenizer, ids = encoded(Characters, [[text]])
    assert tokenizer.vocabulary == "".join(sorted(set(text)))
    assert ids.tolist() == [sorted(set(text)).index(character) for character in text]


def test_characters_learns_from_the_tokens_that_are_kept():
    tokenizer = Characters.learn([["ab"], ["cd", "e"]], is_separated=True, max_tokens=5)
    assert tokenizer.vocabulary == SEPARATOR + "abc"


def test_the_most_characters_are_admitted_and_one_more_is_not():
    characters = [chr(code) for code in range(0x10000, 0x10000 + MAX_CHARACTERS + 1)]
    tokenizer, ids = encoded(Characters, [["".join(characters[:-1])]])
    assert tokenizer.vocabulary_size == MAX_CHARACTERS == ids.max() + 1
    with pytest.raises(UsageError, match="more than 65,535 different characters"):
        encoded(Characters, [["".join(characters)]])


def test_an_unknown_character_gets_an_id_beyond_the_vocabulary():
    tokenizer = Characters.learn([["abc"]], is_separated=False, max_tokens=None)
    (ids,) = tokenizer.encode([["abcd"]], is_separated=False)
    assert ids[:3].tolist() == [0, 1, 2]
    assert ids[3] >= MAX_CHARACTERS


def test_every_tokenizer_is_named():
    assert [TOKENIZERS[name] for name in ("bytes", "characters", "gpt2", "bpe")] == [Bytes, Characters, Gpt2, Bpe]
    assert Gpt2().vocabulary_size == GPT2_IDS


@given(words=WORDS, num_characters=st.integers(1, 6), cuts=st.lists(st.integers(0, 60)))
@settings(deadline=None)
def test_pieces_for_gpt2_are_the_text(words, num_characters, cuts):
    text = "".join(words)
    bounds = [0, *sorted(cuts), len(text)]
    chunks = [text[start:end] for start, end in itertools.pairwise(bounds)]
    assert "".join(gpt2_pieces(chunks, num_characters=num_characters)) == "".join(chunks)


@given(words=WORDS, num_characters=st.integers(1, 6))
@settings(deadline=None)
def test_pieces_have_the_ids_of_the_whole_under_the_pattern_of_gpt2(words, num_characters):
    tiktoken = pytest.importorskip("tiktoken", reason="needs the extra 'text'")
    from tiktoken_ext.openai_public import r50k_pat_str

    merged = [b" a", b"ab", b" ab", b"  ", b"\n\n", b" \n", b"12", b"'s", b"..", b"\xc3\xa9", b" 1", b"   "]
    ranks = {bytes([byte]): byte for byte in range(256)} | {token: 256 + rank for rank, token in enumerate(merged)}
    encoding = tiktoken.Encoding("small", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={})
    text = "".join(words)
    pieces = list(gpt2_pieces(iter(text), num_characters=num_characters))
    assert [id for piece in pieces for id in encoding.encode(piece)] == encoding.encode(text)


TEXT = "the cat sees the cat.\nle café, le thé: 中中 the end\n" * 40


def learned(text=TEXT, *, vocabulary_size=300, max_tokens=None):
    return Bpe.learn([[text]], is_separated=False, max_tokens=max_tokens, vocabulary_size=vocabulary_size)


def test_byte_pairs_are_merged_in_words_alone_and_shorten_the_text():
    tokenizer = learned()
    (ids,) = (ids for ids in tokenizer.encode([[TEXT]], is_separated=False) if len(ids))
    assert 256 < tokenizer.vocabulary_size <= 300
    assert len(ids) < len(TEXT.encode()) / 2
    tokens = [tokenizer.decode(ids[place : place + 1]) for place in range(len(ids))]
    assert " cat" in tokens
    assert not any(" " in token[1:] for token in tokens)


def test_byte_pairs_are_those_of_the_library_on_the_whole_text():
    """However the text came in pieces; learned twice they are the same to the byte."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = learned()
    assert learned().vocabulary == tokenizer.vocabulary
    whole = tokenizers.Tokenizer.from_str(tokenizer.vocabulary).encode(TEXT).ids
    pieces = [TEXT[start : start + 7] for start in range(0, len(TEXT), 7)]
    assert numpy.concatenate(list(tokenizer.encode([pieces], is_separated=False))).tolist() == whole


def test_byte_pairs_of_unseen_text_are_its_bytes():
    tokenizer = learned()
    strange = "Ж\x00\U0001f600"
    assert tokenizer.decode(numpy.concatenate(list(tokenizer.encode([[strange]], is_separated=False)))) == strange


def test_byte_pairs_are_learned_of_what_is_kept():
    assert list(map("".join, up_to([["ab", "cd"], ["ef"], ["gh"]], 5))) == ["abcd", "e"]
    assert list(map("".join, up_to([["ab"], ["cd"]], None))) == ["ab", "cd"]
    assert learned("ab" * 50 + "xy" * 500, max_tokens=100).vocabulary == learned("ab" * 50).vocabulary


@pytest.mark.parametrize("size", [0, 255])
def test_a_vocabulary_of_byte_pairs_has_all_bytes(size):
    with pytest.raises(UsageError, match=f"vocabulary_size of bpe must be at least 256, the bytes; got {size}"):
        learned(vocabulary_size=size)


@pytest.mark.parametrize("kind", [Bytes, Characters, Bpe])
def test_bytes_of_all_ids_are_those_of_the_text(kind):
    tokenizer, ids = encoded(kind, [[TEXT], ["é"]], is_separated=True)
    assert tokenizer.num_bytes().shape == (tokenizer.vocabulary_size,)
    assert tokenizer.num_bytes()[ids.astype(numpy.int64)].sum() == len((TEXT + "é").encode()) + 2
