"""Texts, tokenizer and mini-batches: made here, the same ones on every machine."""

import runpy

import numpy as np
import pytest
import torch

from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.costs import load_scenario
from card.llm import public_config
from card.training.llm.split import AdaptedLlm, DeviceSide, optimiser
from card.training.llm.text import TOKENIZER, mini_batch, read_tokenizer, read_tokens

TEXTS = sorted((DATA / "text").glob("*.txt"))
TOKENS = np.arange(1000)
STARTS = [817, 651, 106, 495]


@pytest.fixture(scope="module")
def tokenizer():
    return read_tokenizer()[0]


class TestShippedTexts:
    def test_are_what_their_grammars_make(self, tmp_path):
        """Tokenizer included, which is trained anew."""
        runpy.run_path(str(DATA / "text" / "make.py"))["main"](tmp_path)
        made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert made.keys() == {path.name for path in [*TEXTS, TOKENIZER]}
        for name, content in made.items():
            assert content == (DATA / "text" / name).read_bytes(), name

    def test_are_five_of_the_size_of_a_diary(self):
        assert len(TEXTS) == 5
        assert all(30_000 <= path.stat().st_size <= 60_000 for path in TEXTS)

    @pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
    def test_tokens_are_the_whole_text(self, path, tokenizer):
        tokens = read_tokens(path, tokenizer)
        assert tokenizer.decode(tokens.tolist()) == path.read_text("utf-8")
        # the tokenizer knows these texts: over one and a half characters per token
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


class TestFineTuning:
    @pytest.fixture
    def scenario(self):
        return load_scenario("test-bed")

    def test_checkpoint_is_of_the_configuration(self, scenario):
        """Only what the frozen weights are tells the two apart."""
        lora, path = scenario.lora, DATA / "checkpoints" / scenario.llm
        loaded = AdaptedLlm.load(path, lora, torch.float32)
        built = AdaptedLlm.build(public_config(scenario.llm), lora, torch.float32)
        shapes = [
            {name: weight.shape for name, weight in llm.model.named_parameters()}
            for llm in (loaded, built)
        ]
        assert shapes[0] == shapes[1]

    @pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
    def test_loss_falls_by_a_third_in_ten_turns(self, path, scenario, tokenizer):
        """The whole LLM on the device, as split training gives the same; AdamW anew every turn."""
        shape, lora = scenario.training, scenario.lora
        llm = AdaptedLlm.load(DATA / "checkpoints" / scenario.llm, lora, torch.float32)
        tokens = read_tokens(path, tokenizer, shape.sequence_length)
        device, means = DeviceSide(llm, llm.num_blocks, "u-shaped"), []
        for turn in range(10):
            steps, losses = optimiser(llm.trained(0, llm.num_blocks), 1e-2), []
            for iteration in range(shape.local_iterations):
                steps.zero_grad()
                key = (0, path.stem, turn, iteration)
                device.forward(mini_batch(tokens, shape.batch_size, shape.sequence_length, *key))
                losses.append(device.finish())
                steps.step()
            means.append(np.mean(losses))
        print(f"\n{path.stem}:", *(f"{mean:.2f}" for mean in means))
        # about half of it, measured; a third leaves room for other arithmetic
        assert means[-1] < means[0] * 2 / 3
