import json
import logging
import random

import pytest
import tokenizers

from arsbench.data.tokenizer import Tokenizer, load_or_train
from arsbench.errors import UserError

TEXTS = ["The cat sat on the mat . ", " It was warm , and the cat slept .", "The mat was warm ."] * 3
SIZE = 270  # fewer entries than TEXTS could fill


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some" / "tokenizer.json"


def refused(path, texts=TEXTS, vocabulary_size=SIZE, **more):
    with pytest.raises(UserError) as caught:
        load_or_train(path, texts, vocabulary_size, **more)
    return str(caught.value)


def random_text(generator, length=40):
    """Any characters but surrogates, mostly from the lower planes."""
    points = (generator.choice((0x80, 0x800, 0x10000, 0x110000)) for _ in range(length))
    text = "".join(chr(generator.randrange(limit)) for limit in points)
    return text.encode(errors="ignore").decode()


def test_special_tokens_come_first_and_the_alphabet_is_whole(path):
    tokenizer = load_or_train(path, TEXTS, SIZE)
    assert (tokenizer.eos_id, tokenizer.pad_id) == (0, 1)
    assert tokenizer.vocabulary_size == SIZE
    assert load_or_train(path.with_name("b.json"), ["a"], SIZE).vocabulary_size == 258


def test_a_single_occurrence_is_enough_for_a_merge(path):
    assert load_or_train(path, ["abc"], 300).encode_batch(["abc"]) == [[259]]


def test_any_text_survives_a_round_trip(path):
    tokenizer = load_or_train(path, TEXTS, SIZE)
    generator = random.Random(0)
    texts = [random_text(generator) for _ in range(300)]
    texts += ["", " ", " leading", "e\u0301 is not \u00e9", "👩‍👩‍👧", "<|endoftext|><pad>"]
    texts += ["\0\x01\t\r\n"]
    encoded = tokenizer.encode_batch(texts)
    assert [tokenizer.decode(ids) for ids in encoded] == texts
    sizes = [int(tokenizer.token_byte_lengths[ids].sum()) for ids in encoded]
    assert sizes == [len(text.encode()) for text in texts]


def test_text_is_never_taken_for_a_special_token(path):
    tokenizer = load_or_train(path, TEXTS, SIZE)
    (ids,) = tokenizer.encode_batch(["a<pad>b<|endoftext|>"])
    assert not {tokenizer.eos_id, tokenizer.pad_id} & set(ids)


def test_special_tokens_stand_for_no_bytes_and_are_shown_on_request(path):
    tokenizer = load_or_train(path, TEXTS, SIZE)
    assert tokenizer.token_byte_lengths[[0, 1]].tolist() == [0, 0]
    ids = [*tokenizer.encode_batch(["cat"])[0], 0, 1]
    assert tokenizer.decode(ids) == "cat"
    assert tokenizer.decode(ids, keep_special=True) == "cat<|endoftext|><pad>"


def test_training_twice_gives_the_same_file(path):
    other = path.with_name("again.json")
    assert load_or_train(path, TEXTS, SIZE).sha256 == load_or_train(other, TEXTS, SIZE).sha256


def test_file_is_reused(path):
    load_or_train(path, TEXTS, SIZE)
    before = path.stat().st_mtime_ns
    assert load_or_train(path, TEXTS, SIZE).vocabulary_size == SIZE
    assert path.stat().st_mtime_ns == before


def test_other_text_is_refused_unless_asked_for(path):
    load_or_train(path, TEXTS, SIZE)
    assert "another text" in refused(path, [*TEXTS, "more"])
    path.with_name(path.name + ".text.json").unlink()
    assert load_or_train(path, [*TEXTS, "more"], SIZE).vocabulary_size == SIZE


def test_a_copy_keeps_what_is_known_of_the_text(path, tmp_path):
    copy = tmp_path / "elsewhere" / "copy.json"
    load_or_train(path, TEXTS, SIZE).save_copy(copy)
    assert copy.read_bytes() == path.read_bytes()
    assert load_or_train(copy, TEXTS, SIZE).vocabulary_size == SIZE
    assert "another text" in refused(copy, [*TEXTS, "more"])


def test_larger_vocabulary_than_the_model_takes_is_refused(path):
    load_or_train(path, TEXTS, SIZE)
    assert "different vocabulary" in refused(path, vocabulary_size=SIZE - 1)


def test_vocabulary_that_would_have_grown_is_refused(path):
    load_or_train(path, TEXTS, SIZE)
    assert "different vocabulary" in refused(path, vocabulary_size=SIZE + 1)


def test_vocabulary_that_could_not_grow_is_reused(path):
    size = load_or_train(path, TEXTS, 5000).vocabulary_size
    assert size < 5000
    assert load_or_train(path, TEXTS, 6000).vocabulary_size == size
    assert load_or_train(path, TEXTS, size).vocabulary_size == size


def test_too_small_a_vocabulary_is_refused(path):
    assert "at least 258" in refused(path, vocabulary_size=257)
    assert not path.exists()


def test_damaged_file_is_refused(path):
    load_or_train(path, TEXTS, SIZE)
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in refused(path)


def test_file_changed_behind_its_record_is_refused(path):
    load_or_train(path, TEXTS, SIZE)
    load_or_train(path.with_name("b.json"), ["quite another text"], SIZE)
    path.with_name("b.json").replace(path)
    assert "replaced" in refused(path)


@pytest.mark.parametrize("record", ["", "{}", "[]", "\xff"])
def test_damaged_record_is_refused(path, record):
    load_or_train(path, TEXTS, SIZE)
    beside = path.with_name("tokenizer.json.text.json")
    beside.write_bytes(record.encode("latin-1"))
    assert "tokenizer.json.text.json is damaged" in refused(path)


def test_tokenizer_without_a_record_is_used_with_a_warning(path, caplog):
    load_or_train(path, TEXTS, SIZE)
    path.with_name("tokenizer.json.text.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert load_or_train(path, ["quite another text"], 400).vocabulary_size == SIZE
    assert "unknown" in caplog.text


def test_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(tmp_path / "file" / "tokenizer.json")


def test_path_that_is_a_directory(tmp_path):
    assert "cannot read" in refused(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        Tokenizer(tmp_path / "none.json")


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def rename(vocabulary, old, new):
    vocabulary[new] = vocabulary.pop(old)


def rename_special(content, place, name):
    del content["added_tokens"][place]
    rename(content["model"]["vocab"], name, "other")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda c: rename_special(c, 0, "<|endoftext|>"), "has no <|endoftext|>"),
        (lambda c: rename_special(c, 1, "<pad>"), "has no <pad>"),
        (lambda c: rename(c["model"]["vocab"], "ÿ", "none"), "1 of the 256 bytes"),
        (lambda c: c["model"]["vocab"].update({"ÿ": 2**32 - 1}), "its largest id is 4294967295"),
        (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), "decoding does not return"),
        (lambda c: c.update(normalizer={"type": "NFKC"}), "decoding does not return"),
    ],
)
def test_incompatible_tokenizers_are_refused(path, edit, reason):
    load_or_train(path, TEXTS, SIZE)
    path.with_name("tokenizer.json.text.json").unlink()
    change(path, edit)
    message = refused(path)
    assert "different vocabulary" in message
    assert reason in message


def test_settings_kept_in_a_file_do_not_reach_the_ids(path):
    load_or_train(path, TEXTS, SIZE)
    foreign = tokenizers.Tokenizer.from_file(str(path))
    foreign.enable_truncation(3)
    foreign.enable_padding(length=50)
    foreign.save(str(path))
    long, short = Tokenizer(path).encode_batch(["The cat sat on the mat", "x"])
    assert Tokenizer(path).decode(long) == "The cat sat on the mat"
    assert len(short) == 1
