"""Books, tokenizer and mini-batches, the same ones on every machine, and what is learned."""

import re
import runpy

import numpy as np
import pytest
import torch

from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.costs import load_scenario
from card.llm import public_config
from card.training.llm.split import AdaptedLlm, DeviceSide, optimiser
from card.training.llm.text import (
    TOKENIZER,
    held_out,
    mini_batch,
    read_tokenizer,
    read_tokens,
)
from card.training.rehearsal import TEXTS

BOOKS = DATA / "books"
BASE = BOOKS / "congress.txt"
TOKENS = np.arange(1000)
STARTS = [817, 651, 106, 495]


@pytest.fixture(scope="module")
def tokenizer():
    return read_tokenizer()[0]


class TestShippedBooks:
    def test_tokenizer_is_what_nobody_s_book_makes(self, tmp_path):
        """Trained anew; the devices' books and the end of that one have no part in it."""
        made = runpy.run_path(str(BOOKS / "make.py"))["tokenizer"](BASE.read_text("utf-8"))
        made.save(str(tmp_path / "tokenizer.json"))
        assert (tmp_path / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()

    def test_no_device_has_the_book_of_the_base(self):
        assert {*TEXTS.values(), BASE} == {*BOOKS.glob("*.txt")}
        assert BASE not in TEXTS.values()

    @pytest.mark.parametrize("path", sorted(BOOKS.glob("*.txt")), ids=lambda path: path.stem)
    def test_tokens_are_the_whole_book(self, path, tokenizer):
        tokens = read_tokens(path, tokenizer)
        assert tokenizer.decode(tokens.tolist()) == path.read_text("utf-8")
        # the tokenizer knows English: over one and a half characters per token
        assert len(tokens) < path.stat().st_size / 1.5
        assert 0 <= tokens.min() <= tokens.max() < tokenizer.get_vocab_size() == 512

    def test_every_character_has_tokens(self, tokenizer):
        strange = "Grüße, 你好 \u0000\t🙂"
        assert tokenizer.decode(tokenizer.encode(strange).ids) == strange


class TestReading:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "cannot be read: No such file"),
            (b"", "has no text in it"),
            (b" \n\n", "has no text in it"),
            (b"caf\xe9", r"not UTF-8 text \(byte 3 is 0xe9\)"),
            (b"too short", r"has \d tokens; give at least 64"),
        ],
        ids=["missing", "empty", "blank", "latin-1", "short"],
    )
    def test_text_that_cannot_be_used_is_refused(self, content, message, tmp_path, tokenizer):
        path = tmp_path / "diary.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ScenarioError, match=message):
            read_tokens(path, tokenizer, 64)

    def test_folder_is_refused(self, tmp_path, tokenizer):
        with pytest.raises(ScenarioError, match="cannot be read: Is a directory"):
            read_tokens(tmp_path, tokenizer)

    def test_tokenizer_has_the_hash_of_its_file(self, tmp_path):
        changed = tmp_path / "tokenizer.json"
        changed.write_bytes(TOKENIZER.read_bytes() + b"\n")
        assert read_tokenizer(changed)[1] != read_tokenizer()[1]
        assert len(read_tokenizer()[1]) == 64

    def test_what_is_no_tokenizer_is_refused(self, tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read: No such file"):
            read_tokenizer(tmp_path / "none.json")
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(ScenarioError, match=r"other.json is not a tokenizer"):
            read_tokenizer(tmp_path / "other.json")


class TestMiniBatch:
    def test_is_made_of_sequences_of_the_text(self):
        batch = mini_batch(TOKENS, 50, 7, 0)
        assert batch.ids.shape == (50, 7)
        assert batch.lengths is None
        assert (batch.ids.diff(dim=1) == 1).all()
        assert torch.equal(batch.labels, batch.ids)

    def test_follows_from_its_key_alone(self):
        key = (0, "device-1", 3, 7)
        first = mini_batch(TOKENS, 4, 8, *key).ids
        mini_batch(TOKENS, 4, 8, 1)
        assert torch.equal(mini_batch(TOKENS, 4, 8, *key).ids, first)
        # drawn once: the same numbers are due on any machine
        assert first[:, 0].tolist() == STARTS

    @pytest.mark.parametrize("place", range(4))
    def test_differs_where_any_part_of_the_key_does(self, place):
        key = [0, "device-1", 3, 7]
        other = [*key]
        other[place] = "device-2" if place == 1 else other[place] + 1
        ids = [mini_batch(TOKENS, 4, 8, *k).ids for k in (key, other)]
        assert not torch.equal(*ids)

    def test_reaches_first_and_last_token(self):
        # 200 draws from 3 places miss one with probability below 1e-34
        ids = mini_batch(TOKENS[:10], 200, 8, 0).ids
        assert {ids.min().item(), ids.max().item()} == {0, 9}
        assert (mini_batch(TOKENS[:8], 3, 8, 0).ids == torch.arange(8)).all()

    def test_longer_than_the_text_is_refused(self):
        with pytest.raises(ScenarioError, match="sequence_length = 8 exceeds the 7 tokens"):
            mini_batch(TOKENS[:7], 1, 8, 0)


class TestShippedBase:
    @pytest.fixture
    def scenario(self):
        return load_scenario("test-bed")

    @pytest.fixture
    def base(self, scenario):
        return AdaptedLlm.load(DATA / "checkpoints" / scenario.llm, scenario.lora, torch.float32)

    def test_checkpoint_is_of_the_configuration(self, scenario, base):
        """Only what the frozen weights are tells the two apart."""
        built = AdaptedLlm.build(public_config(scenario.llm), scenario.lora, torch.float32)
        shapes = [
            {name: weight.shape for name, weight in llm.model.named_parameters()}
            for llm in (base, built)
        ]
        assert shapes[0] == shapes[1]

    @torch.no_grad()
    def test_it_predicts_its_book_s_unseen_end_far_better_than_counts_do(self, base, tokenizer):
        """And `data/README.md` says how much."""
        made = runpy.run_path(str(DATA / "checkpoints" / "make.py"))
        unseen = read_tokens(BASE, tokenizer)[made["BEGINNING"] :]
        assert len(unseen) > 10_000
        shares = np.bincount(unseen) / len(unseen)
        entropy = -sum(share * np.log(share) for share in shares if share)
        length = load_scenario("test-bed").training.sequence_length
        whole = unseen[: len(unseen) // length * length].reshape(-1, length)
        ids = torch.from_numpy(whole)
        loss = base.model(input_ids=ids, labels=ids).loss.item()
        print(f"\n{loss:.3f} nat per token; unigram entropy {entropy:.3f}")
        assert loss < entropy
        said = (DATA / "README.md").read_text("utf-8")
        (row,) = [line for line in said.splitlines() if line.startswith("| `checkpoints/")]
        numbers = map(float, re.findall(r"(\d\.\d\d) nat", row))
        # both to two digits, and another machine's sums may round the other way
        assert list(numbers) == pytest.approx([loss, entropy], abs=0.011)

    @pytest.mark.parametrize("path", TEXTS.values(), ids=lambda path: path.stem)
    def test_ten_turns_on_a_book_help_with_what_was_held_out_of_it(
        self, path, scenario, base, tokenizer
    ):
        """The whole LLM on the device, as split training gives the same; AdamW anew every turn."""
        shape = scenario.training
        own, unseen = held_out(read_tokens(path, tokenizer, shape.sequence_length))
        judged = mini_batch(unseen, 32, shape.sequence_length, "held out").ids
        device, losses = DeviceSide(base, base.num_blocks, "u-shaped"), []
        for turn in range(11):
            with torch.no_grad():
                losses.append(base.model(input_ids=judged, labels=judged).loss.item())
            steps = optimiser(base.trained(0, base.num_blocks), 1e-2)
            for iteration in range(shape.local_iterations):
                steps.zero_grad()
                key = (0, path.stem, turn, iteration)
                device.forward(mini_batch(own, shape.batch_size, shape.sequence_length, *key))
                device.finish()
                steps.step()
        print(f"\n{path.stem}:", *(f"{loss:.2f}" for loss in losses))
        # by 0.6, measured; the rest is room for other arithmetic
        assert losses[-1] < losses[0] - 0.4
