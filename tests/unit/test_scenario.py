"""Scenarios: loading, overriding, studies, and the origin of every number."""

import json
import pickle
from itertools import product

import pytest
from machines import study
from own_llms import own_llm_study

import card
from card.base.data_files import DATA, scenario_names
from card.base.errors import ScenarioError
from card.base.yaml_files import read_yaml
from card.costs import checked
from card.hardware import catalogue
from card.scenario import Scenario, read_scenario


def numbers(node, path=""):
    """Dotted path of every leaf but text that names or describes."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for item in node:
            yield from numbers(
                {k: v for k, v in item.items() if k != "name"}, f"{path}.{item['name']}"
            )
    else:
        yield path


class TestProvenance:
    @pytest.mark.parametrize("name", scenario_names())
    def test_every_value_of_a_shipped_scenario_has_a_source(self, name):
        scenario = card.load_scenario(name)
        whole = scenario.model_dump(mode="json", exclude={"sources", "title", "policies"})
        paths = list(numbers(whole))
        assert "devices.device-1.distance_m" in paths
        assert [path for path in paths if scenario.source_of(path) is None] == []

    @pytest.mark.parametrize("name", scenario_names())
    def test_every_source_of_a_shipped_scenario_is_of_a_value(self, name):
        scenario = card.load_scenario(name)
        names = {device.name for device in scenario.devices} | set(scenario.channel_states)
        whole = scenario.model_dump(mode="json", exclude={"sources", "title", "policies"})
        known = {".".join(p for p in path.split(".") if p not in names) for path in numbers(whole)}
        assert set(scenario.sources) <= known | set(numbers(whole))

    def test_nominal_claims_nothing_but_assumptions_and_public_facts(self):
        kinds = {source.kind for source in card.load_scenario("nominal").sources.values()}
        assert kinds == {"assumed", "config"}

    @pytest.mark.parametrize("name", catalogue())
    def test_every_hardware_number_has_a_source(self, name):
        entry = catalogue()[name]
        fields = set(type(entry).model_fields) - {"title", "role", "sources"}
        assert set(entry.sources) == fields
        kinds = {source.kind for source in entry.sources.values()}
        assert kinds <= {"datasheet", "derived"}
        for key, source in entry.sources.items():
            assert source.url, key
            assert source.confirmed or source.note, key

    @pytest.mark.parametrize("path", sorted((DATA / "llms").glob("*.json")), ids=lambda p: p.stem)
    def test_every_llm_configuration_has_a_source(self, path):
        about = json.loads(path.read_text())["_card"]
        assert set(about) == {"title", "source", "licence", "parameters", "confirmed", "note"}
        if path.stem.startswith("tiny-"):
            assert about["source"] is None, "this project's own"
        else:
            assert about["source"].startswith("https://")

    def test_source_is_the_values_own_or_its_groups(self):
        scenario = card.load_scenario("nominal", **{"devices.device-2.distance_m": 61})
        assert scenario.source_of("devices.device-2.distance_m").source == "set by the user"
        general = scenario.sources["devices.distance_m"]
        assert scenario.source_of("devices.device-3.distance_m") == general
        exponent = scenario.sources["channel_states.path_loss_exponent"]
        assert scenario.source_of("channel_states.poor.path_loss_exponent") == exponent
        assert scenario.source_of("title") is None

    def test_source_of_a_part_covers_what_is_in_it(self):
        source = {"kind": "measured", "source": "a link measured at noon"}
        changes = {"sources": {"link": source}, "link.fading_draws": 4}
        raw = card.load_scenario("nominal").model_dump(mode="json")
        raw["sources"] = changes["sources"]
        scenario = Scenario.model_validate(raw)
        assert scenario.source_of("link.bandwidth_hz").kind == "measured"
        assert scenario.source_of("lora.rank") is None


class TestOverrides:
    def test_dotted_nested_and_updated_agree(self):
        dotted = card.load_scenario("nominal", **{"objective.delay_weight": 0.8})
        assert dotted == card.load_scenario("nominal", objective={"delay_weight": 0.8})
        assert dotted == card.load_scenario("nominal").updated({"objective.delay_weight": 0.8})
        assert dotted.objective.delay_weight == 0.8

    @pytest.mark.parametrize("key", ["device-1", "0"])
    def test_device_by_name_or_position(self, key):
        scenario = card.load_scenario("nominal", **{f"devices.{key}.distance_m": 50})
        assert [device.distance_m for device in scenario.devices] == [50, 60, 140, 100, 180]

    def test_null_removes_a_device_and_a_channel_state(self):
        scenario = card.load_scenario(
            "nominal", **{"devices.device-1": None, "channel_states.good": None}
        )
        assert [d.name for d in scenario.devices] == [f"device-{n}" for n in (2, 3, 4, 5)]
        assert list(scenario.channel_states) == ["normal", "poor"]

    def test_null_restores_a_default(self):
        scenario = card.load_scenario("nominal", **{"devices.device-1.memory_share": 0.5})
        again = scenario.updated({"devices.device-1.memory_share": None})
        assert again.devices[0].memory_share == 0.75

    def test_channel_state_can_be_added(self):
        scenario = card.load_scenario(
            "nominal", **{"channel_states.clear": {"path_loss_exponent": 2}}
        )
        assert list(scenario.channel_states) == ["good", "normal", "poor", "clear"]

    def test_update_leaves_the_original(self):
        scenario = card.load_scenario("nominal")
        scenario.updated({"lora.rank": 4}, reason="tried")
        assert scenario.lora.rank == 8

    def test_update_notes_its_reason(self):
        scenario = card.load_scenario("nominal").updated({"lora.rank": 4}, reason="tried")
        assert scenario.source_of("lora.rank").source == "tried"

    def test_scenario_survives_a_round_trip(self):
        scenario = card.load_scenario("nominal")
        assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


class TestStudies:
    def test_study_overrides_its_base_and_says_so(self, tmp_path):
        study = tmp_path / "wide.yml"
        study.write_text("base: nominal\ntitle: Wide\nlink: {bandwidth_hz: 20e6}\n")
        scenario = card.load_scenario(study)
        assert (scenario.title, scenario.link.bandwidth_hz) == ("Wide", 2e7)
        assert scenario.link.uplink_power_dbm == 23
        assert scenario.source_of("link.bandwidth_hz").source == "set by wide.yml"
        untouched = card.load_scenario("nominal").source_of("link.uplink_power_dbm")
        assert untouched is not None
        assert scenario.source_of("link.uplink_power_dbm") == untouched

    def test_base_may_be_a_file_beside_the_study(self, tmp_path, monkeypatch):
        (tmp_path / "bases").mkdir()
        (tmp_path / "studies").mkdir()
        (tmp_path / "bases" / "a.yml").write_text("base: nominal\nlora: {rank: 4}\n")
        (tmp_path / "bases" / "b.yml").write_text("base: a.yml\nlora.adapter_bits: 32\n")
        study = tmp_path / "studies" / "c.yml"
        study.write_text("base: ../bases/b.yml\ntraining.batch_size: 2\n")
        monkeypatch.chdir("/")
        scenario = card.load_scenario(study)
        found = (scenario.lora.rank, scenario.lora.adapter_bits, scenario.training.batch_size)
        assert found == (4, 32, 2)
        assert scenario.source_of("lora.rank").source == "set by a.yml"

    def test_caller_overrides_the_study(self, tmp_path):
        study = tmp_path / "s.yml"
        study.write_text("base: nominal\nlora: {rank: 4}\n")
        assert card.load_scenario(study, **{"lora.rank": 2}).lora.rank == 2

    def test_whole_scenario_file_needs_no_base(self, tmp_path):
        copy = tmp_path / "mine.yml"
        copy.write_text((DATA / "scenarios" / "nominal.yml").read_text())
        assert card.load_scenario(str(copy)) == card.load_scenario("nominal")


class TestNominal:
    """The numbers that the design page and the book print."""

    def test_devices(self):
        devices = card.load_scenario("nominal").devices
        assert [device.hardware for device in devices] == [
            "jetson-agx-orin-64gb",
            "jetson-agx-orin-32gb",
            "jetson-orin-nx-16gb",
            "jetson-orin-nano-8gb",
            "jetson-xavier-nx-16gb",
        ]
        assert [device.distance_m for device in devices] == [200, 60, 140, 100, 180]

    def test_server(self):
        gpu = catalogue()[card.load_scenario("nominal").server.hardware]
        assert (gpu.cores, gpu.clock_hz, gpu.max_power_w) == (4352, 2.535e9, 160)

    def test_link(self):
        scenario = card.load_scenario("nominal")
        exponents = [s.path_loss_exponent for s in scenario.channel_states.values()]
        assert exponents == [3.0, 3.5, 4.0]
        assert scenario.link.model_dump() == {
            "bandwidth_hz": 1e7,
            "uplink_power_dbm": 23,
            "downlink_power_dbm": 30,
            "noise_dbm_per_hz": -174,
            "reference_loss_db": 30,
            "shadowing_db": 6,
            "shadowing_coherence_rounds": 0,
            "fading": "ergodic",
            "fading_draws": 1,
            "noise_figure_db": 0,
            "gap_db": 0,
            "spectral_efficiency_max": None,
            "overhead_share": 0,
            "round_trip_s": 0,
            "trace": (),
        }

    def test_training(self):
        scenario = card.load_scenario("nominal")
        shape = (scenario.training.batch_size, scenario.training.sequence_length)
        assert (scenario.llm, *shape, scenario.training.local_iterations) == (
            "llama-3.2-1b",
            1,
            512,
            20,
        )
        assert (scenario.lora.rank, scenario.lora.targets) == (8, ("q_proj", "v_proj"))
        assert scenario.objective.delay_weight == 0.5

    def test_whole_llm_fits_an_8_gb_board(self):
        assert card.system(card.load_scenario("nominal")).feasible.all()


@pytest.mark.parametrize(("device", "index"), [("device-4", 3), (3, 3), (-1, 4)])
def test_device_index(device, index):
    assert card.load_scenario("nominal").device_index(device) == index


def test_shipped_files_are_scenarios_or_studies():
    for name in scenario_names():
        raw = read_yaml(DATA / "scenarios" / f"{name}.yml")
        assert {"title", "sources"} <= set(raw), name


class TestFilesOfHardware:
    """A file is what it says, wherever it lies and whatever it is called."""

    def test_folder_and_name_make_no_difference(self, tmp_path):
        here, there = (card.load_scenario(study(tmp_path / name)) for name in ("a", "b"))
        assert here.devices[0].hardware != there.devices[0].hardware
        assert here.content == there.content

    def test_content_does(self, tmp_path):
        before = card.load_scenario(study(tmp_path))
        after = card.load_scenario(study(tmp_path, slower=2.0))
        assert before.devices[0].hardware == after.devices[0].hardware
        assert before.content != after.content
        assert before != after

    def test_scenario_stays_what_it_was_loaded_as(self, tmp_path):
        loaded = card.load_scenario(study(tmp_path))
        before = card.system(loaded).throughput_flops.tolist()
        study(tmp_path, slower=2.0)
        changed = loaded.updated({"lora.rank": 4})
        assert card.system(loaded).throughput_flops.tolist() == before
        assert card.system(changed).throughput_flops.tolist() == before

    def test_file_that_a_value_names_is_read_anew(self, tmp_path):
        loaded = card.load_scenario(study(tmp_path))
        study(tmp_path, slower=2.0)
        again = loaded.updated({"devices.device-1.hardware": loaded.devices[0].hardware})
        assert again.content != loaded.content

    @pytest.mark.parametrize(
        "text",
        [
            "devices.device-1: {hardware: mine.json, utilisation: 1.0}",
            "devices.device-1.utilisation: 1.0\ndevices.device-1.hardware: mine.json",
            "devices: {device-1.hardware: mine.json}",
            "devices: {0: {hardware: mine.json}}",
            "base: below.yml",
        ],
    )
    def test_every_way_to_name_a_file_looks_beside_the_study(self, tmp_path, monkeypatch, text):
        folder = tmp_path / "studies"
        path = study(folder, text=text)
        if "below" in text:
            path.rename(folder / "top.yml")
            study(folder).rename(folder / "below.yml")
            path = folder / "top.yml"
            path.write_text("base: below.yml\ntitle: t\n", "utf-8")
        monkeypatch.chdir(tmp_path)
        assert card.load_scenario(path).devices[0].hardware == str(folder / "mine.json")

    def test_titles_and_sources_are_no_content(self):
        nominal = card.load_scenario("nominal")
        source = {"kind": "assumed", "source": "another reason"}
        other = nominal.updated({"title": "t", "sources": {"lora.rank": source}})
        assert other.content == nominal.content

    def test_llm_is_what_its_configuration_says(self):
        assert card.load_scenario("nominal").content["llm"]["num_hidden_layers"] == 16


class TestFilesOfLlms:
    """The same of an LLM's configuration."""

    def test_folder_and_name_make_no_difference(self, tmp_path):
        here, there = (card.load_scenario(own_llm_study(tmp_path / name)) for name in ("a", "b"))
        assert here.llm != there.llm
        assert here.content == there.content == card.load_scenario("nominal").content

    def test_content_does(self, tmp_path):
        before = card.load_scenario(own_llm_study(tmp_path))
        after = card.load_scenario(own_llm_study(tmp_path, num_hidden_layers=12))
        assert before.llm == after.llm
        assert before.content != after.content
        assert before != after
        assert len(card.cut_profile(before).cut) == len(card.cut_profile(after).cut) + 4

    def test_scenario_stays_what_it_was_loaded_as(self, tmp_path):
        loaded = card.load_scenario(own_llm_study(tmp_path))
        own_llm_study(tmp_path, num_hidden_layers=12)
        changed = loaded.updated({"lora.rank": 4})
        copied = pickle.loads(pickle.dumps(loaded))
        assert [len(card.cut_profile(s).cut) for s in (loaded, changed, copied)] == [17] * 3
        again = loaded.updated({"llm": loaded.llm})
        assert len(card.cut_profile(again).cut) == 13

    @pytest.mark.parametrize("name", ["mine", "./mine", "mine/", "mine/config.json"])
    def test_every_way_to_name_a_file_looks_beside_the_study(self, tmp_path, monkeypatch, name):
        study = own_llm_study(tmp_path / "studies")
        study.write_text(f"base: nominal\ntitle: t\nllm: {name}\n", "utf-8")
        (tmp_path / "studies/top.yml").write_text("base: study.yml\ntitle: u\n", "utf-8")
        monkeypatch.chdir(tmp_path)
        for file in ("studies/study.yml", "studies/top.yml"):
            assert card.load_scenario(file).llm_config["num_hidden_layers"] == 16

    def test_an_llm_and_a_processor_may_share_a_name(self, tmp_path, monkeypatch):
        own_llm_study(tmp_path)
        (tmp_path / "mine").rename(tmp_path / "rtx-4060-ti")
        monkeypatch.chdir(tmp_path)
        found = card.load_scenario("nominal", llm="rtx-4060-ti")
        assert found.content == found.updated({"title": "t"}).content
        assert found.content == card.load_scenario("nominal").content


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"server.clock_step_hz": 10}, "= 10 is not allowed; give at least 253500 Hz, which"),
        ({"simulation.seed": 10**400}, " is not allowed; give a whole number from 0 to 922"),
        (
            {"training.local_iterations": 2**63},
            "= 9223372036854775808 is not allowed; give a whole",
        ),
        (
            {"link.uplink_power_dbm": -300, "link.reference_loss_db": 300},
            "devices.device-1: its link has a rate of",
        ),
        (
            {"sources": {"llm": {"kind": "assumed", "source": "s", "confirmed": "yes"}}},
            "= 'yes' is",
        ),
    ],
)
def test_value_that_no_command_could_use_is_refused_at_loading(values, message):
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario("nominal", **values)
    assert message in str(refusal.value)


class TestOrigins:
    ORIGIN = '{kind: assumed, source: "a test"}'

    @pytest.mark.parametrize(
        ("path", "close"),
        [
            ("link.bandwith_hz", "link.bandwidth_hz"),
            ("devices.device-9.distance_m", "devices.device-1.distance_m"),
            ("devices.0.distance_m", "devices.distance_m"),
        ],
    )
    def test_origin_of_no_value_is_refused(self, tmp_path, path, close):
        study = tmp_path / "a.yml"
        study.write_text(f"base: nominal\nsources: {{{path}: {self.ORIGIN}}}\n", "utf-8")
        with pytest.raises(ScenarioError, match=f"sources.{path} is of no value; did you mean"):
            read_scenario(study)

    @pytest.mark.parametrize(
        "path", ["devices", "devices.device-2", "channel_states.path_loss_exponent", "link.gap_db"]
    )
    def test_origin_of_a_part_or_of_all_items_is_one(self, tmp_path, path):
        study = tmp_path / "a.yml"
        study.write_text(f"base: nominal\nsources: {{{path}: {self.ORIGIN}}}\n", "utf-8")
        assert read_scenario(study).sources[path].source == "a test"

    @pytest.mark.parametrize(
        ("sources", "said"),
        [
            ("{link.bandwith_hz: {kind: assumed, source: s}}", "link.bandwith_hz is of no value"),
            ("{link: {kind: guess, source: s}}", "link.kind = 'guess' is not allowed"),
            ("{link: {kind: assumed, sauce: s}}", "link.sauce is not a key"),
            ("[1]", " = [1] is not allowed"),
        ],
    )
    @pytest.mark.parametrize("below", ["base: nominal\n", "base: study-0.yml\n"])
    def test_bad_origin_of_a_base_is_refused_with_its_file(self, tmp_path, sources, said, below):
        (tmp_path / "study-0.yml").write_text("base: nominal\nlora: {rank: 4}\n", "utf-8")
        middle = tmp_path / "middle.yml"
        middle.write_text(f"{below}sources: {sources}\n", "utf-8")
        hidden = "sources: {link: {kind: assumed, source: s}}"
        (tmp_path / "top.yml").write_text(f"base: middle.yml\n{hidden}\n", "utf-8")
        with pytest.raises(ScenarioError) as refusal:
            read_scenario(tmp_path / "top.yml")
        assert str(refusal.value).startswith(f"{middle}: sources")
        assert said in str(refusal.value)

    @pytest.mark.parametrize("spelling", ["nested", "dotted", "field"])
    def test_bad_origin_that_is_set_is_refused(self, spelling):
        origin = {"kind": "assumed", "source": "s"}
        changes = {
            "nested": {"sources": {"link.bandwith_hz": origin}},
            "dotted": {"sources.link.bandwith_hz": origin},
            "field": {"sources.link.bandwith_hz.kind": "assumed"},
        }[spelling]
        message = "sources.link.bandwith_hz"
        with pytest.raises(ScenarioError, match=message):
            read_scenario("nominal", **changes)
        with pytest.raises(ScenarioError, match=message):
            read_scenario("nominal").updated(changes)

    def test_an_origin_is_set_by_a_dotted_path(self):
        origin = {"kind": "measured", "source": "s"}
        for changes in (
            {"sources.link.bandwidth_hz": origin},
            {"sources.link.bandwidth_hz.kind": "measured", "sources.link.bandwidth_hz.source": "s"},
        ):
            for changed in (
                read_scenario("nominal", **changes),
                read_scenario("nominal").updated(changes),
            ):
                assert changed.source_of("link.bandwidth_hz").kind == "measured"
                assert changed.source_of("link.bandwidth_hz").source == "s"

    @pytest.mark.parametrize(
        "change",
        [
            "channel_states: {good: null}",
            "devices: {device-5: null}",
            "devices: {4: null}",
            "devices: {0: {distance_m: 5.0}}",
            "channel_states: {poor: null}\n"
            "sources: {channel_states.poor: {kind: assumed, source: s}}",
        ],
    )
    def test_a_scenario_that_is_written_out_is_read_again(self, tmp_path, change):
        (tmp_path / "a.yml").write_text(f"base: nominal\n{change}\n", "utf-8")
        whole = read_scenario(tmp_path / "a.yml")
        (tmp_path / "b.yml").write_text(whole.model_dump_json(), "utf-8")
        assert read_scenario(tmp_path / "b.yml") == whole

    def test_a_value_that_is_changed_by_position_has_its_own_origin(self):
        changed = read_scenario("nominal", **{"devices.0.distance_m": 5.0})
        assert changed.source_of("devices.device-1.distance_m").source == "set by the user"

    def test_origin_of_a_default_of_an_item_that_is_removed_is_no_fault(self, tmp_path):
        path = "devices.device-5.memory_share"
        (tmp_path / "a.yml").write_text(
            f"base: nominal\nsources: {{{path}: {self.ORIGIN}}}\n", "utf-8"
        )
        (tmp_path / "b.yml").write_text("base: a.yml\ndevices: {device-5: null}\n", "utf-8")
        assert len(read_scenario(tmp_path / "b.yml").devices) == 4

    def test_origins_of_what_a_change_removes_are_no_fault(self, tmp_path):
        base, study = tmp_path / "a.yml", tmp_path / "b.yml"
        path = "channel_states.poor.path_loss_exponent"
        base.write_text(f"base: nominal\nsources: {{{path}: {self.ORIGIN}}}\n", "utf-8")
        study.write_text("base: a.yml\nchannel_states: {poor: null}\n", "utf-8")
        assert "poor" not in read_scenario(study).channel_states
        read_scenario(base, **{"channel_states.poor": None})


@pytest.mark.parametrize("sweep", ["3", "{over: {}}", "{ovr: {lora.rank: [4]}}", "{over: 3}"])
def test_broken_sweep_is_refused_by_whoever_reads_the_study(tmp_path, sweep):
    study = tmp_path / "a.yml"
    study.write_text(f"base: nominal\nsweep: {sweep}\n", "utf-8")
    with pytest.raises(ScenarioError, match=r"^sweep"):
        read_scenario(study)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("0.5", True), ("2026-11-28", False), ("\u0662\u0660", False), ("-", False)],
)
def test_only_a_number_is_to_lose_its_quotes(value, quoted):
    with pytest.raises(ScenarioError) as refusal:
        read_scenario("nominal", **{"objective.delay_weight": value})
    assert ("without quotes" in str(refusal.value)) is quoted


ABSURD = (5e-324, 1e-300, 1e-30, 1e9, 1e30, 1e300, 1.7e308)


def reals(node, path=""):
    for key, value in node.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from reals(value, below)
        elif isinstance(value, float) or value is None:
            yield below


@pytest.mark.parametrize("name", ["nominal", "realistic"])
def test_one_absurd_number_is_refused_by_its_own_name_if_at_all(name):
    """A message about what follows from a number would leave the reader to guess which it was."""
    scenario = card.load_scenario(name)
    raw = scenario.model_dump(mode="json", exclude={"sources", "training", "devices"})
    device = scenario.devices[0].model_dump(mode="json", exclude={"memory_share"})
    paths = [*reals(raw), *(f"devices.device-1.{key}" for key in reals(device))]
    assert {"server.power_cap_w", "link.round_trip_s", "server.block_overhead_s"} <= set(paths)
    for path, value in product(paths, ABSURD):
        absurd = [value] if path == "server.clocks_hz" else value
        said = refused(scenario, {path: absurd})
        assert said is None or path in said, f"{path} = {value}"


def refused(scenario, values):
    try:
        checked(scenario.updated(values))
    except ScenarioError as error:
        return str(error)
    return None


class TestEveryDevice:
    def test_a_star_sets_a_value_of_every_device(self):
        scenario = card.load_scenario("nominal", **{"devices.*.hardware": "jetson-nano"})
        assert {device.hardware for device in scenario.devices} == {"jetson-nano"}
        assert scenario.source_of("devices.device-3.hardware").source == "set by the user"

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (
                "devices.*.distance",
                "devices.device-1.distance is not a key of a scenario; did you mean "
                "'devices.device-1.distance_m'? The same holds for 4 more.",
            ),
            (
                "devices.*.hardware",
                "devices.device-1.hardware = 5 is not allowed; give a text that is not blank or a "
                "mapping of keys to values. Entry of the hardware catalogue, a measured profile, "
                "a file of one, or what a file says. The same holds for 4 more.",
            ),
            (
                "channel_states.*",
                "channel_states.good = 5 is not allowed; give a mapping of keys to values. A "
                "propagation condition. The same holds for 2 more.",
            ),
        ],
    )
    def test_what_is_wrong_of_every_item_is_one_line(self, path, message):
        with pytest.raises(ScenarioError) as refusal:
            card.load_scenario("nominal", **{path: 5})
        assert str(refusal.value) == message
