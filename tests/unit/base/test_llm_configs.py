"""`card.base.llm_configs`: a shipped name, a `config.json`, or a folder with one."""

import pytest
from own_llms import own_llm

from card.base.errors import ScenarioError
from card.base.llm_configs import is_llm_file, llm_title, public_config, said


def test_file_and_folder_say_what_the_shipped_name_says(tmp_path):
    file = own_llm(tmp_path / "config.json")
    expected = said(public_config("llama-3.2-1b"))
    assert public_config(str(file)) == public_config(str(tmp_path)) == expected


def test_a_shipped_name_is_no_file_though_a_folder_is_called_so(tmp_path, monkeypatch):
    own_llm(tmp_path / "gpt-2" / "config.json")
    monkeypatch.chdir(tmp_path)
    assert not is_llm_file("gpt-2")
    assert public_config("gpt-2")["model_type"] == "gpt2"
    assert public_config("./gpt-2")["model_type"] == "llama"


def test_a_plain_word_is_a_folder_where_there_is_one(tmp_path):
    assert not is_llm_file("mine", tmp_path)
    own_llm(tmp_path / "mine" / "config.json")
    assert is_llm_file("mine", tmp_path)


@pytest.mark.parametrize("name", ["none.json", "some/where", "empty", "empty/", "a\0.json"])
def test_what_is_not_there_is_refused_in_one_line(tmp_path, monkeypatch, name):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ScenarioError, match=r"there is no file .* give a config.json, a folder"
    ) as e:
        public_config(name)
    assert "\n" not in str(e.value)


def test_unknown_word_is_refused_as_a_name():
    with pytest.raises(ScenarioError, match="llm = 'gpt2' is unknown; did you mean 'gpt-2'"):
        public_config("gpt2")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not a whole JSON document"), ("[1]", "not a mapping")]
)
def test_file_that_is_no_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(ScenarioError, match=f"config.json .*{message}.*get it again"):
        public_config(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "title"),
    [
        ({"_card": {"title": "Mine"}, "_name_or_path": "a/b"}, "Mine"),
        ({"_card": None, "_name_or_path": "mistralai/Mistral-7B-v0.1"}, "Mistral-7B-v0.1"),
        ({"_name_or_path": "models/checkpoint/"}, "checkpoint"),
        ({"_name_or_path": ""}, "folder"),
        ({}, "folder"),
    ],
)
def test_title_is_the_best_name_there_is(config, title):
    assert llm_title("/some/folder/config.json", config) == title


def test_title_keeps_the_dots_of_a_version():
    assert llm_title("models/Mistral-7B-v0.1", {}) == "Mistral-7B-v0.1"
    assert llm_title("models/Mistral-7B-v0.1.json", {}) == "Mistral-7B-v0.1"


@pytest.mark.parametrize("name", ["x/mine.json", "x/mine", "x/mine/", "mine", "mine/config.json"])
def test_title_of_a_nameless_one_is_that_of_its_file_or_folder(name):
    assert llm_title(name, {}) == "mine"


def test_title_and_origin_are_not_what_is_said_of_an_llm():
    config = {"_card": {"title": "t"}, "_name_or_path": "a/b", "hidden_size": 4}
    assert said(config) == {"hidden_size": 4}
