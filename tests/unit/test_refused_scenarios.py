"""What a researcher reads after a mistake: the key, the value, what is allowed, what to do.

Every message is asserted whole, as it is the interface. Paths are what `--set` takes.
"""

import re

import pytest

import card
from card.studies.scenario_values import parameters

NAN, INFINITY = float("nan"), float("inf")
GPU = "NVIDIA GeForce RTX 4060 Ti 8 GB"
LLMS = (
    "gemma-2-2b, gemma-3-1b, gpt-2, llama-3.1-8b, llama-3.2-1b, llama-3.2-3b, mistral-7b-v0.1, "
    "olmo-2-1b, phi-3-mini-4k, qwen2.5-0.5b, qwen3-0.6b, smollm2-135m, tiny-llama-0.5m, "
    "tiny-llama-8m"
)
NAMES = "device-1, device-2, device-3, device-4, device-5"
TOP_KEYS = (
    "title, llm, training, wire, privacy, lora, server, devices, link, channel_states, objective, "
    "simulation, policies, sources"
)
NEEDED = TOP_KEYS.replace("policies, ", "").replace("wire, privacy, ", "")
PROJECTIONS = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
BATCH = "give a whole number from 1 to 1000000000. Sequences per mini-batch (B)."
BANDWIDTH = "from 1000 to 1e+15. Bandwidth of each direction [Hz] (W)."
WEIGHT = "Weight of normalised delay (w); normalised server energy has 1 - w."
DEVICES = (
    "give a list of at least 1, each a mapping of keys to values. "
    "The mobile devices, in the order they take turns."
)
DEVICE_NAME = (
    "give a text that is not blank. "
    "Unique name of the device, without dots or blanks, and not of digits or * alone."
)
TARGETS = (
    "give all-linear or a list of at least 1, each a text that is not blank. "
    "Projections that carry an adapter, named as in the architecture."
)
CUT_RANGE = (
    "give a list of 2: a whole number from 0 to 9223372036854775807, then null or a whole number "
    "from 0 to 9223372036854775807. "
    "First and last cut allowed; null means all blocks on the device."
)
CLOCKS = (
    "give null or a list of at least 1, each a number from 1e+06 to 1e+15. "
    "The clocks the GPU really offers [Hz]; null for a continuous clock."
)
CUTS = "give two cuts in order between 0 and 16, the number of blocks of llama-3.2-1b."
DOTTED = (
    "channel_states: the name 'a.b' is not allowed; give one without dots, which divide paths, "
    "e.g. 'a-b'."
)

VALUES = [
    # a whole number
    ("training.batch_size", "two", f"training.batch_size = 'two' is not allowed; {BATCH}"),
    ("training.batch_size", True, f"training.batch_size = True is not allowed; {BATCH}"),
    ("training.batch_size", 1.5, f"training.batch_size = 1.5 is not allowed; {BATCH}"),
    ("training.batch_size", 0, f"training.batch_size = 0 is not allowed; {BATCH}"),
    ("training.batch_size", [1], f"training.batch_size = [1] is not allowed; {BATCH}"),
    ("training.batch_size", None, f"training.batch_size has no value; {BATCH}"),
    (
        "simulation.seed",
        -1,
        "simulation.seed = -1 is not allowed; give a whole number from 0 to 9223372036854775807. "
        "Seed of every random draw.",
    ),
    # a number
    (
        "link.bandwidth_hz",
        0,
        f"link.bandwidth_hz = 0 is not allowed; give a number {BANDWIDTH}",
    ),
    (
        "link.bandwidth_hz",
        -1e6,
        f"link.bandwidth_hz = -1000000.0 is not allowed; give a number {BANDWIDTH}",
    ),
    (
        "link.bandwidth_hz",
        NAN,
        f"link.bandwidth_hz = nan is not allowed; give a finite number {BANDWIDTH}",
    ),
    (
        "link.bandwidth_hz",
        INFINITY,
        f"link.bandwidth_hz = inf is not allowed; give a finite number {BANDWIDTH}",
    ),
    (
        "link.bandwidth_hz",
        "10 MHz",
        f"link.bandwidth_hz = '10 MHz' is not allowed; give a number {BANDWIDTH}",
    ),
    (
        "link.bandwidth_hz",
        "10e6",
        "link.bandwidth_hz = '10e6' is not allowed; give a number from 1000 to 1e+15, without "
        "quotes. Bandwidth of each direction [Hz] (W).",
    ),
    (
        "link.bandwidth_hz",
        False,
        f"link.bandwidth_hz = False is not allowed; give a number {BANDWIDTH}",
    ),
    # a number in another unit
    (
        "link.bandwidth_hz",
        20,
        f"link.bandwidth_hz = 20 is not allowed; give a number {BANDWIDTH}",
    ),
    *(
        (
            "link.noise_dbm_per_hz",
            value,
            f"link.noise_dbm_per_hz = {value} is not allowed; give a number from -200 to -50. "
            "Noise power density [dBm/Hz] (N_0).",
        )
        for value in (174, 0, -49.9, -204)
    ),
    *(
        (
            "server.clocks_hz",
            [value],
            f"server.clocks_hz.0 = {value} is not allowed; give a number from 1e+06 to 1e+15.",
        )
        for value in (1740, 1.74)
    ),
    (
        "link.bandwidth_hz.low",
        1e6,
        "link.bandwidth_hz = {'low': 1000000.0} is not allowed; give a number from 1000 to 1e+15. "
        "Bandwidth of each direction [Hz] (W).",
    ),
    (
        "link.uplink_power_dbm",
        1e6,
        "link.uplink_power_dbm = 1000000.0 is not allowed; give a number from -300 to 300. "
        "Transmit power of a device [dBm].",
    ),
    (
        "objective.delay_weight",
        1.5,
        f"objective.delay_weight = 1.5 is not allowed; give a number from 0 to 1. {WEIGHT}",
    ),
    (
        "objective.delay_weight",
        -0.1,
        f"objective.delay_weight = -0.1 is not allowed; give a number from 0 to 1. {WEIGHT}",
    ),
    (
        "objective.queue_weight",
        1e300,
        "objective.queue_weight = 1e+300 is not allowed; give a number from 1e-100 to 1e+100. "
        "What delay counts against a full queue in `budget_online` [J²/s] (V).",
    ),
    (
        "channel_states.poor.path_loss_exponent",
        9,
        "channel_states.poor.path_loss_exponent = 9 is not allowed; give a number from 1 to 8. "
        "Path-loss exponent (γ).",
    ),
    # a choice
    (
        "link.fading",
        "rayleigh",
        "link.fading = 'rayleigh' is not allowed; give one of ergodic, none, block. "
        "How fast fading enters a round's rate.",
    ),
    (
        "training.activation_bits",
        17,
        "training.activation_bits = 17 is not allowed; give one of 8, 16, 32, 64. "
        "Bits per element of activations in memory, and on the wire if `wire` says nothing else.",
    ),
    (
        "training.topology",
        "ushaped",
        "training.topology = 'ushaped' is not allowed; give one of vanilla, u-shaped. Where the "
        "head and the loss live; on the device (`u-shaped`) labels never leave.",
    ),
    # a name
    ("llm", "llama-3.2-1B", "llm = 'llama-3.2-1B' is unknown; did you mean 'llama-3.2-1b'?"),
    ("llm", "falcon", f"llm = 'falcon' is unknown; choose one of {LLMS}."),
    (
        "llm",
        "my-llm/config.json",
        f"llm = 'my-llm/config.json': there is no file 'my-llm/config.json'; give a config.json, "
        f"a folder with one, or one of {LLMS}.",
    ),
    (
        "llm",
        3,
        "llm = 3 is not allowed; give a text that is not blank, in quotes. Entry of `data/llms`, "
        "a `config.json` as its publisher wrote it, or a folder with one.",
    ),
    (
        "server.hardware",
        "rtx4090",
        "server.hardware = 'rtx4090' is unknown; did you mean 'rtx-4090'?",
    ),
    (
        "devices.device-1.hardware",
        "jetson-nanoo",
        "devices.device-1.hardware = 'jetson-nanoo' is unknown; did you mean 'jetson-nano'?",
    ),
    # a key
    (
        "link.bandwidht_hz",
        1e6,
        "link.bandwidht_hz is not a key of a scenario; did you mean 'link.bandwidth_hz'?",
    ),
    (
        "objectiv.delay_weight",
        0.2,
        "objectiv is not a key of a scenario; did you mean 'objective'?",
    ),
    ("foo", 1, f"foo is not a key of a scenario; choose one of {TOP_KEYS}."),
    (
        "devices.device-1.color",
        "red",
        "devices.device-1.color is not a key of a scenario; choose one of hardware, "
        "number_format, utilisation, block_overhead_s, head_overhead_s, name, distance_m, "
        "memory_share, waiting_power_w, link.",
    ),
    (
        "devices.device-5.number_format",
        "bf16",
        "devices.device-5.number_format = 'bf16' is not allowed; give null or one of fp32, fp16, "
        "int8, which NVIDIA Jetson Xavier NX 16 GB has.",
    ),
    (
        "server",
        {"hardware": "cpu-epyc-2-cores", "number_format": "bf16"},
        "server.number_format = bf16 is not allowed with a measured profile, whose rate is the "
        "one reached; give null.",
    ),
    # devices and states
    ("devices", [], f"devices = [] is not allowed; {DEVICES}"),
    ("devices", "device-1", f"devices = 'device-1' is not allowed; {DEVICES}"),
    (
        "devices.device-9.distance_m",
        5,
        f"devices.device-9 is not in the list; choose one of {NAMES}.",
    ),
    ("devices.5.distance_m", 5, f"devices.5 is not in the list; choose one of {NAMES}."),
    (
        "devices.device-1.name",
        "device-2",
        "devices: the name 'device-2' is used twice; give each its own.",
    ),
    ("devices.device-1.name", "a b", f"devices.0.name = 'a b' is not allowed; {DEVICE_NAME}"),
    ("devices.device-1.name", "*", f"devices.*.name = '*' is not allowed; {DEVICE_NAME}"),
    ("devices.device-1.name", "1", f"devices.1.name = '1' is not allowed; {DEVICE_NAME}"),
    (
        "devices.device-1.distance_m",
        0.5,
        "devices.device-1.distance_m = 0.5 is not allowed; give a number from 1 to 1e+06. "
        "Distance to the base station [m]; the path-loss law starts at 1 m.",
    ),
    (
        "devices.device-1.utilisation",
        1.2,
        "devices.device-1.utilisation = 1.2 is not allowed; give a number from 1e-09 to 1. "
        "Share of the peak rate in that format that training reaches (u).",
    ),
    (
        "channel_states",
        dict.fromkeys(("good", "normal", "poor")),
        "channel_states = {} is not allowed; give a mapping of keys to values, at least 1. "
        "Named propagation conditions; every device meets each.",
    ),
    (
        "channel_states.good",
        3,
        "channel_states.good = 3 is not allowed; give a mapping of keys to values. "
        "A propagation condition.",
    ),
    (
        "channel_states.awful",
        {},
        "channel_states.awful.path_loss_exponent is missing; give a number from 1 to 8. "
        "Path-loss exponent (γ).",
    ),
    ("channel_states.a.b.path_loss_exponent", 3, DOTTED),
    ("channel_states", {"a.b": {"path_loss_exponent": 3}}, DOTTED),
    (
        "training.accumulation",
        2,
        "training.accumulation = 2 does not divide training.batch_size = 1; give a divisor of 1.",
    ),
    (
        "training.schedule",
        "parallel",
        "training.schedule = 'parallel' is not allowed; give one of alternate, pipelined. "
        "Whether micro-batches follow one another, or all are in flight at once (`pipelined`).",
    ),
    (
        "training",
        {"base_weights": "nf4", "weight_bits": 8},
        "training.base_weights = 'nf4' is not allowed with training.weight_bits = 8, which all "
        "but matrices of blocks keep; give 16 or more, or set training.base_weights to null.",
    ),
    (
        "training.base_weights",
        "fp4",
        "training.base_weights = 'fp4' is not allowed; give null or nf4. "
        "Format of the frozen matrices of blocks, `nf4` as in QLoRA; null for `weight_bits`.",
    ),
    # what is sent
    (
        "wire.uplink_bits",
        [12],
        "wire.uplink_bits.0 = 12 is not allowed; give one of 32, 16, 8, 4.",
    ),
    (
        "wire.downlink_bits",
        [],
        "wire.downlink_bits = [] is not allowed; give null or a list of at least 1, each one of "
        "32, 16, 8, 4. Bits per element down, likewise.",
    ),
    ("wire.uplink_bits", [8, 16, 8], "wire.uplink_bits = [8, 16, 8] is not allowed; give 8 once."),
    (
        "wire.downlink_bits",
        [16, 32],
        "wire.downlink_bits = [16, 32] is not allowed with training.activation_bits = 16; give "
        "numbers of 16 bits at most.",
    ),
    (
        "wire.group",
        0,
        "wire.group = 0 is not allowed; give a whole number from 1 to 1000000000. "
        "Values of a token that share one scale, where integers are sent.",
    ),
    # adapters
    ("lora.targets", [], f"lora.targets = [] is not allowed; {TARGETS}"),
    ("lora.targets", "q_proj", f"lora.targets = 'q_proj' is not allowed; {TARGETS}"),
    (
        "lora.targets",
        [1],
        "lora.targets.0 = 1 is not allowed; give a text that is not blank, in quotes.",
    ),
    (
        "lora.targets",
        ["q"],
        f"lora.targets = 'q' is no projection of llama-3.2-1b; choose from {PROJECTIONS}.",
    ),
    (
        "lora.targets",
        ["all-linear", "q_proj"],
        f"lora.targets = 'all-linear' is no projection of llama-3.2-1b; choose from {PROJECTIONS}.",
    ),
    (
        "lora.dora",
        "yes",
        "lora.dora = 'yes' is not allowed; give true or false. "
        "Whether each adapted weight has a trained magnitude beside its direction (DoRA).",
    ),
    # cuts
    (
        "training.cut_range",
        [5, 3],
        "training.cut_range = [5, 3] is not allowed; give two cuts in order, e.g. [3, 5].",
    ),
    ("training.cut_range", [0, 17], f"training.cut_range = [0, 17] is not allowed; {CUTS}"),
    ("training.cut_range", [17, None], f"training.cut_range = [17, 16] is not allowed; {CUTS}"),
    ("training.cut_range", 3, f"training.cut_range = 3 is not allowed; {CUT_RANGE}"),
    (
        "training.cut_range",
        [0, 1, 2],
        f"training.cut_range = [0, 1, 2] is not allowed; {CUT_RANGE}",
    ),
    (
        "training.cut_range",
        [0, 1.5],
        "training.cut_range.1 = 1.5 is not allowed; give null or a whole number from 0 to "
        "9223372036854775807.",
    ),
    # clocks and power
    (
        "server.minimum_frequency_hz",
        3e9,
        f"server.minimum_frequency_hz = 3e+09 is not allowed; give at most 2.535e+09 Hz, the "
        f"highest clock of {GPU}.",
    ),
    (
        "server.clocks_hz",
        [1e9, 3e9],
        "server.clocks_hz ends at 3e+09, which is not allowed; give a highest clock from 0 to "
        f"2.535e+09 Hz, the range of {GPU}.",
    ),
    ("server.clocks_hz", [], f"server.clocks_hz = [] is not allowed; {CLOCKS}"),
    ("server.clocks_hz", 1e9, f"server.clocks_hz = 1000000000.0 is not allowed; {CLOCKS}"),
    (
        "server.clocks_hz",
        [1e9, -1],
        "server.clocks_hz.1 = -1 is not allowed; give a number from 1e+06 to 1e+15.",
    ),
    (
        "server.clock_step_hz",
        5e9,
        f"server.clock_step_hz = 5e+09 is not allowed; give at most 2.535e+09 Hz, the highest "
        f"clock of {GPU}.",
    ),
    (
        "server.static_power_w",
        160,
        f"server.static_power_w = 160 is not allowed; give a number below 160 W, which {GPU} "
        "draws at most.",
    ),
    # sizes
    (
        "training.sequence_length",
        200000,
        "training.sequence_length = 200000 exceeds the 131072 positions of llama-3.2-1b; "
        "give at most 131072.",
    ),
    (
        "devices.device-4.memory_share",
        1e-3,
        "devices.device-4: no cut fits its memory; the smallest need is 0.525 GB, usable are "
        "0.001 x 8 GB. Choose a smaller llm or mini-batch, or a device with more memory.",
    ),
    (
        "training.batch_size",
        10**9,
        "training.batch_size = 1000000000, training.sequence_length = 512 and lora.rank = "
        "8 make counts beyond 64 bits; give smaller ones, or a smaller llm.",
    ),
    # provenance
    (
        "sources",
        [1],
        "sources = [1] is not allowed; give a mapping of keys to values. "
        "Provenance per key; `devices.distance_m` covers every device.",
    ),
    (
        "sources",
        {"link": {"kind": "guess", "source": "folklore"}},
        "sources.link.kind = 'guess' is not allowed; give one of published, datasheet, config, "
        "derived, assumed, measured, calibrated. Provenance kind.",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), VALUES)
def test_value(path, value, message):
    with pytest.raises(card.ScenarioError) as refusal:
        card.system(card.load_scenario("nominal", **{path: value}))
    assert str(refusal.value) == message


def test_value_is_refused_alike_by_an_update():
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario("nominal").updated({"link.bandwidth_hz": 0})
    message = f"link.bandwidth_hz = 0 is not allowed; give a number {BANDWIDTH}"
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("path", "value"), [("training.cut_range", [5, 3]), ("policies", ["cards"])]
)
def test_what_is_wrong_of_a_scenario_alone_is_refused_alike_by_an_update(path, value):
    with pytest.raises(card.ScenarioError) as loading:
        card.load_scenario("nominal", **{path: value})
    with pytest.raises(card.ScenarioError) as updating:
        card.load_scenario("nominal").updated({path: value})
    assert str(updating.value) == str(loading.value)


WITH_BITS = card.load_scenario("nominal").updated(
    {"wire": {"uplink_bits": [16], "downlink_bits": [16, 8]}, "training.cut_range": [1, 16]}
)
NUMBERS = {
    item.path: [*map(float, item.value)] if isinstance(item.value, tuple) else float(item.value)
    for item in parameters(WITH_BITS)
    if re.fullmatch(r"[0-9., ()]+", str(item.value))
}


def _as_given(path, value):
    """What a scenario holds at a path that is given a value, as a list where it is one."""
    changed = WITH_BITS.updated({path: value})
    held = next(item.value for item in parameters(changed) if item.path == path)
    return list(held) if isinstance(held, tuple) else held


@pytest.mark.parametrize("path", NUMBERS)
def test_no_float_is_taken_for_a_whole_number(path):
    whole = path.startswith(("training", "wire", "lora", "simulation")) or path.endswith("draws")
    if whole:
        with pytest.raises(card.ScenarioError, match=r"whole number|one of [0-9]"):
            _as_given(path, NUMBERS[path])
    else:
        assert repr(_as_given(path, NUMBERS[path])) == repr(NUMBERS[path])


COMBINATIONS = [
    (
        {"server.minimum_frequency_hz": 2.5350001e9},
        "server.minimum_frequency_hz = 2.5350001e+09 is not allowed; give at most 2.535e+09 Hz, "
        f"the highest clock of {GPU}.",
    ),
    (
        {"server.clocks_hz": [1e9], "server.clock_step_hz": 1e8},
        "server.clocks_hz and server.clock_step_hz exclude each other; set one of them to null.",
    ),
    (
        {"server.clocks_hz": [1e9], "server.minimum_frequency_hz": 2e9},
        "server.clocks_hz ends at 1e+09, which is not allowed; give a highest clock from 2e+09 to "
        f"2.535e+09 Hz, the range of {GPU}.",
    ),
    (
        {"llm": "gpt-2"},
        "lora.targets = 'q_proj' is no projection of gpt-2 (query, key and value are fused in "
        "c_attn); choose from c_attn, c_proj, c_fc.",
    ),
    (
        {"lora.rank": 0, "link.shadowing_db": -1},
        "lora.rank = 0 is not allowed; give a whole number from 1 to 1000000000. "
        "Rank of each adapter (r).\n"
        "link.shadowing_db = -1 is not allowed; give a number from 0 to 100. "
        "Standard deviation of log-normal shadowing [dB] (σ_X).",
    ),
]


@pytest.mark.parametrize(("values", "message"), COMBINATIONS)
def test_combination(values, message):
    with pytest.raises(card.ScenarioError) as refusal:
        card.system(card.load_scenario("nominal", **values))
    assert str(refusal.value) == message


NO_FILE = (
    "give a file or one of calibrated, measured-server, nominal, realistic, realistic-8b, "
    "test-bed, battery-server, bigger-llm, congested-campus, datacentre-server, "
    "labels-kept, limited-leakage, pipelined-turns, priced-devices, quantised-wire, "
    "uneven-bed."
)
FILES = [
    (
        b"title: a\n\tllm: b\n",
        "{0}, line 2 is not valid YAML: found character '\\t' that cannot start any token.",
    ),
    (
        b"base: nominal\nlora: {rank: 8\n",
        "{0}, line 3 is not valid YAML: expected ',' or '}}', but got '<stream end>'.",
    ),
    (
        b"base: nominal\nlink: {fading: none, fading: block}\n",
        "{0}, line 2 is not valid YAML: the key 'fading' is written twice.",
    ),
    (b"a: 1\n---\nb: 2\n", "{0}, line 2 is not valid YAML: but found another document."),
    (
        b"a: \x00\n",
        "{0} is not valid YAML: unacceptable character #x0000: special characters are not allowed.",
    ),
    (
        b"base: !!python/object:os.system x\n",
        "{0}, line 1 is not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object:os.system'.",
    ),
    (b"title: caf\xe9\n", "{0} is not UTF-8 text (byte 11); save it as UTF-8."),
    (b"", "{0} is empty; write a mapping of keys to values, e.g. base: nominal."),
    (
        b"- a\n- b\n",
        "{0} holds ['a', 'b']; write a mapping of keys to values, e.g. base: nominal.",
    ),
    (b"nominal", "{0} holds 'nominal'; write a mapping of keys to values, e.g. base: nominal."),
    (
        b"base: study.yml\n",
        "{0}: `base` leads back to the file itself; name another base.",
    ),
    (
        b"base: nominol\n",
        "base = 'nominol' is neither shipped nor the name of a .yml file in "
        "the folder of its study; did you mean 'nominal'?",
    ),
    (
        b"base: '" + b"9" * 999 + b"'\n",
        f"base = '{'9' * 17}...{'9' * 18}' is neither shipped nor the name of a .yml file in "
        "the folder of its study; choose one of " + NO_FILE.removeprefix("give a file or one of "),
    ),
    (b"base: other.yml\n", "base {1}/other.yml does not exist; " + NO_FILE),
    (b"base: 3\n", "base = 3 of {0} is not allowed; give the name or the file of a scenario."),
    (
        b"title: Everything else is missing\n",
        f"{NEEDED.removeprefix('title, ')} are missing; "
        "name a scenario that has them, e.g. base: nominal.",
    ),
    (b"base: nominal\nlinks: {}\n", "links is not a key of a scenario; did you mean 'link'?"),
    (
        b"base: nominal\nserver:\n",
        "server has no value; give a mapping of keys to values. The edge server.",
    ),
    (
        b"base: nominal\ntraining:\n  batch_size:\n",
        "training.batch_size has no value; give a whole number from 1 to 1000000000. "
        "Sequences per mini-batch (B).",
    ),
    (
        b"base: nominal\ndevices: {0: {distance_m: }}\n",
        "devices.device-1.distance_m has no value; give a number from 1 to 1e+06. "
        "Distance to the base station [m]; the path-loss law starts at 1 m.",
    ),
    (
        b"base: nominal\nchannel_states: {' ': {path_loss_exponent: 2}}\n",
        "channel_states.  is not a key of a scenario; give a text that is not blank, as the "
        "others are.",
    ),
    (b"base: nominal\n3: x\n", f"3 is not a key of a scenario; choose one of {TOP_KEYS}."),
]


@pytest.mark.parametrize(("content", "message"), FILES)
def test_file(tmp_path, content, message):
    study = tmp_path / "study.yml"
    study.write_bytes(content)
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(study)
    assert str(refusal.value) == message.format(study, tmp_path)


def test_cycle_of_bases(tmp_path):
    first, second = tmp_path / "first.yml", tmp_path / "second.yml"
    first.write_text("base: second.yml")
    second.write_text("base: first.yml")
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(first)
    assert str(refusal.value) == (
        f"{first}: `base` leads back to the file itself; name another base."
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nominl",
            "scenario = 'nominl' is neither shipped nor the name of a .yml file in "
            "this folder; did you mean 'nominal'?",
        ),
        ("study.yml", f"scenario study.yml does not exist; {NO_FILE}"),
        ("my/study", f"scenario my/study does not exist; {NO_FILE}"),
    ],
)
def test_missing_scenario(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(name)
    assert str(refusal.value) == message


def test_directory_for_a_file(tmp_path):
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(tmp_path)
    assert str(refusal.value) == f"scenario {tmp_path} is a directory; {NO_FILE}"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("phone", f"device = 'phone' is unknown; choose one of {NAMES}."),
        (7, f"device = 7 is unknown; choose one of {NAMES}."),
    ],
)
def test_device_of_a_scenario(device, message):
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario("nominal").device_index(device)
    assert str(refusal.value) == message


@pytest.mark.parametrize("path", [item.path for item in parameters(card.load_scenario("nominal"))])
def test_every_line_of_a_refusal_begins_with_what_is_refused(path):
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario("nominal", **{path: {"no such": "thing"}})
    assert [line for line in str(refusal.value).splitlines() if not line.startswith(path)] == []


@pytest.mark.parametrize("wrong", ["servr: {power_cap_w: 100}", "server: {power_cap_w: 0}"])
def test_what_is_wrong_in_a_base_names_that_file(wrong, tmp_path):
    base, study = tmp_path / "lab.yml", tmp_path / "study.yml"
    base.write_text(f"base: nominal\n{wrong}\n")
    study.write_text("base: lab.yml\ntitle: mine\n")
    with pytest.raises(card.ScenarioError, match=f"^{re.escape(str(base))}: serv"):
        card.load_scenario(study)
    base.write_text("base: nominal\n")
    study.write_text(f"base: lab.yml\n{wrong}\n")
    with pytest.raises(card.ScenarioError, match=r"^serv"):
        card.load_scenario(study)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("link: {bandwith_hz: 1e6}", ["link.bandwith_hz is not a key of a scenario"]),
        ("devices: {device-9: {distance_m: 3}}", ["devices.device-9 is not in the list"]),
        (
            "devices.device-1.distance_m: 3\ndevices: {0: {distance_m: 4}}",
            ["devices.device-1 and devices.0 name one item"],
        ),
        ("llm: null\nfoo: 3", ["llm has no value", "foo is not a key of a scenario"]),
        (
            "channel_states: {good: {path_loss_exponent: 0}}",
            ["channel_states.good.path_loss_expon"],
        ),
        ("sweep: 5", ["sweep = 5 is not allowed"]),
        ("sources: 5", ["sources = 5 is not allowed"]),
        ("devices.phone: 5", ["devices.phone is not in the list"]),
        ("llm: gpt-2", ["lora.targets = 'q_proj' is no projection of gpt-2"]),
        ("llm: llama-3.1-8b", ["server.hardware = 'rtx-4060-ti': what a cut leaves"]),
    ],
)
@pytest.mark.parametrize(
    "above",
    ["", "objective: {delay_weight: 7}", "devices: {device-8: null}", "policies: [none.py:f]"],
)
@pytest.mark.parametrize("between", ["", "base: low\n", "base: low\nserver: {power_cap_w: 0}\n"])
def test_a_base_that_is_wrong_is_named_whatever_else_is_wrong(
    wrong, said, above, between, tmp_path
):
    low, top = tmp_path / "low.yml", tmp_path / "top.yml"
    low.write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "mid.yml").write_text(between)
    top.write_text(f"base: {'mid' if between else 'low'}\n{above}\n")
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(top)
    lines = str(refusal.value).split("\n")
    for line, expected in zip(lines, said, strict=True):
        assert line.startswith(f"{low}: {expected.format(tmp_path)}")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("base: nominl", "base = 'nominl' is neither"), ("base: no.yml", "base {0}/no.yml does not")],
)
def test_a_base_whose_own_base_is_missing_is_named(wrong, said, tmp_path):
    low, top = tmp_path / "low.yml", tmp_path / "top.yml"
    low.write_text(f"{wrong}\n")
    top.write_text("base: low\n")
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(top)
    assert str(refusal.value).startswith(f"{low}: {said.format(tmp_path)}")


@pytest.mark.parametrize("wrong", ["objective: {delay_weight: 7}", "policies: [no.py:f]"])
def test_what_is_wrong_above_a_base_that_is_sound_is_laid_to_no_other_file(wrong, tmp_path):
    (tmp_path / "low.yml").write_text("base: nominal\nlora: {rank: 4}\n")
    top = tmp_path / "top.yml"
    top.write_text(f"base: low\n{wrong}\n")
    with pytest.raises(card.ScenarioError, match=r"^(objective.delay_weight =|policies: )"):
        card.load_scenario(top)


@pytest.mark.parametrize(
    ("wrong", "above", "said"),
    [
        ("llm: llama-3.1-8b", "server: {hardware: rtx4090}", "server.hardware = 'rtx4090' is"),
        (
            "llm: llama-3.1-8b",
            "server: {hardware: h200-sxm}\nlink: {bandwidth_hz: 20}",
            "link.bandwidth_hz = 20",
        ),
        ("objective: {delay_weight: 7}", "objective.delay_weight: 9", "objective.delay_weight = 9"),
        ("policies: [crad]", "policies: [no.py:f]", "policies: {0}/no.py is no file"),
        ("policies: [no.py:f]", "policies: [crad]", "policies = 'crad' is unknown"),
        (
            "devices: {device-1: {distance_m: 0}}",
            "devices: {0: {distance_m: 5}}\nllm: gtp-2",
            "llm = 'gtp-2' is unknown",
        ),
        (
            "server: {static_power_w: 500}",
            "server: {hardware: h200-sxm}\nlink: {fading_draws: 0}",
            "link.fading_draws = 0",
        ),
        (
            "llm: llama-3.1-8b",
            "server: {hardware: h200-sxm}\npolicies: [no.py:f]",
            "policies: {0}/no.py is no file",
        ),
        (
            "devices: {device-1: {memory_share: 3}}",
            "devices: {device-1: {memory_share: 0.5}, device-2: {memory_share: 3}}",
            "devices.device-2.memory_share = 3",
        ),
    ],
)
@pytest.mark.parametrize("between", ["", "base: low\n"])
def test_what_is_wrong_above_a_base_is_told_where_the_base_is_mended(
    wrong, above, said, between, tmp_path
):
    top = tmp_path / "top.yml"
    (tmp_path / "low.yml").write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "mid.yml").write_text(between)
    top.write_text(f"base: {'mid' if between else 'low'}\n{above}\n")
    with pytest.raises(card.ScenarioError) as refusal:
        card.load_scenario(top)
    assert str(refusal.value).startswith(said.format(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "above", "said"),
    [
        (
            "devices: {'*': {memory_share: 3}}",
            "devices: {device-1: {memory_share: 0.5}}",
            "devices.device-2.memory_share = 3 .* The same holds for 3 more.",
        ),
        (
            "devices: {'*': {memory_share: 3}}",
            "devices: {device-1: {memory_share: 0.5}, device-2: {memory_share: 7}}",
            "devices.device-3.memory_share = 3 .* The same holds for 2 more.",
        ),
        (
            "devices: [{name: phone, count: 3, hardware: jetson-orin-nx-8gb, distance_m: 0}]",
            "devices: {phone-2: {distance_m: 30}}",
            "devices.phone-1.distance_m = 0 .* The same holds for 1 more.",
        ),
        ("lora: {rank: 0}\nlink: {gap_db: -4}", "link: {gap_db: 4}", "lora.rank = 0 is [^\n]*"),
    ],
)
@pytest.mark.parametrize("between", ["", "base: low\n"])
def test_a_base_that_a_study_mends_in_part_is_named(wrong, above, said, between, tmp_path):
    low, top = tmp_path / "low.yml", tmp_path / "top.yml"
    low.write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "mid.yml").write_text(between)
    top.write_text(f"base: {'mid' if between else 'low'}\n{above}\n")
    with pytest.raises(card.ScenarioError, match=f"^{low}: {said}$"):
        card.load_scenario(top)


@pytest.mark.parametrize(
    ("wrong", "above", "said"),
    [
        ("link:", "link: {bandwidth_hz: 5.0e+6}", "link has no value; "),
        ("link:", "link: {bandwidth_hz: -1}", "link has no value; "),
        ("lora: 8", "lora: {rank: 4}", "lora = 8 is not allowed; "),
        ("devices:", "devices: {device-1: {distance_m: 5}}", "devices has no value; "),
        ("server: fast", "server: {utilisation: 0.5}\nlora: {rank: 0}", "server = 'fast' is not "),
    ],
)
@pytest.mark.parametrize("between", ["title: t", "lora: {rank: 2}"])
def test_a_base_without_a_section_is_named_where_a_study_gives_a_part_of_it(
    wrong, above, said, between, tmp_path
):
    low = tmp_path / "low.yml"
    low.write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "mid.yml").write_text(f"base: low\n{between}\n")
    (tmp_path / "top.yml").write_text(f"base: mid\n{above}\n")
    with pytest.raises(card.ScenarioError, match=f"^{low}: {said}[^\n]*$"):
        card.load_scenario(tmp_path / "top.yml")


@pytest.mark.parametrize(
    ("wrong", "above", "said"),
    [
        (
            "server: fast",
            "server: {hardware: rtx-4060-ti, static_power_w: 1, minimum_frequency_hz: 0, "
            "utilisation: 7}",
            "server.utilisation = 7",
        ),
        ("devices:", "devices: [{name: a, distance_m: 5}]", "devices.a.hardware is missing"),
        ("server: {hardware: rtx}", "server: {hardware: {title: h}}", "server.hardware.cores is m"),
    ],
)
def test_what_is_wrong_in_a_section_that_a_study_gives_anew_is_its_own(
    wrong, above, said, tmp_path
):
    (tmp_path / "low.yml").write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "top.yml").write_text(f"base: low\n{above}\n")
    with pytest.raises(card.ScenarioError, match=f"^{said}"):
        card.load_scenario(tmp_path / "top.yml")


@pytest.mark.parametrize(
    ("bandwidths", "overrides", "at_fault"),
    [
        ([-1, 5e6], {"link.bandwidth_hz": -1}, ""),
        ([-1, 5e6, -1], {}, ""),
        ([-1, 5e6, -1, -1], {}, "{0}/study-2.yml: "),
        ([5e6, -1, -1], {"lora.rank": 0}, "{0}/study-1.yml: "),
    ],
)
def test_a_wrong_value_is_laid_to_who_gave_it_after_it_was_mended(
    bandwidths, overrides, at_fault, tmp_path
):
    base = "nominal"
    for number, value in enumerate(bandwidths):
        study = tmp_path / f"study-{number}.yml"
        study.write_text(f"base: {base}\nlink: {{bandwidth_hz: {value}}}\n")
        base = study.stem
    said = re.escape(f"{at_fault.format(tmp_path)}link.bandwidth_hz = -1 is not allowed; ")
    with pytest.raises(card.ScenarioError, match=f"^{said}[^\n]*$"):
        card.load_scenario(study, **overrides)


@pytest.mark.parametrize(
    ("below", "above", "said"),
    [
        ("wire: {uplink_bits: [5]}", "wire: {uplink_bits: [6]}", "wire.uplink_bits.0 = 6"),
        ("wire: {uplink_bits: [8, 3]}", "wire: {uplink_bits: [3]}", "wire.uplink_bits.0 = 3"),
        (
            "training: {cut_range: [5, 99]}",
            "training: {cut_range: [6, 99]}",
            "training.cut_range = [6, 99]",
        ),
        ("server: {clocks_hz: [0]}", "server: {clocks_hz: [1.0e+9, 0]}", "server.clocks_hz.1 = 0"),
    ],
)
def test_a_wrong_list_is_laid_to_who_gave_it(below, above, said, tmp_path):
    low, top = tmp_path / "low.yml", tmp_path / "top.yml"
    low.write_text(f"base: nominal\n{below}\n")
    top.write_text(f"base: low\n{above}\n")
    with pytest.raises(card.ScenarioError, match=f"^{re.escape(said)}[^\n]*$"):
        card.load_scenario(top)
    top.write_text("base: low\ntitle: t\n")
    with pytest.raises(card.ScenarioError, match=f"^{low}: {re.escape(said.split(' ')[0][:-2])}"):
        card.load_scenario(top)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("server: {hardware: board.yml}", "{0}/board.yml: cores = -1 "),
        ("link: {trace: rates.csv}", "{0}/rates.csv, row 1: "),
        ("server: {hardware: idle.yml}", "server.hardware.max_power_w is missing in {0}/idle.yml"),
        (
            "devices: [{name: a, count: 2, hardware: {choice: []}, distance_m: 9}]",
            "devices.a.hardware.choice = [] ",
        ),
        (
            "devices: [{name: a, count: 2, hardware: jetson-orin-nx-16gb, "
            "distance_m: {uniform: [9, 0]}}]",
            "devices.a.distance_m.uniform = [9, 0] ",
        ),
    ],
)
def test_what_is_wrong_in_a_base_takes_one_line(wrong, said, tmp_path):
    """Also where no value of the scenario can be put aside for it, but a file or a draw."""
    board = "title: b\ncores: -1\nmemory_gb: 24\nclock_hz: 2.0e+9\nmax_power_w: 200\n"
    (tmp_path / "board.yml").write_text(board)
    (tmp_path / "idle.yml").write_text(board.replace("-1", "9").rpartition("max_")[0])
    (tmp_path / "rates.csv").write_text("a,b\n1,2\n")
    (tmp_path / "low.yml").write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "top.yml").write_text("base: low\ntitle: t\n")
    said = re.escape(f"{tmp_path}/low.yml: {said.format(tmp_path)}")
    with pytest.raises(card.ScenarioError, match=f"^{said}[^\n]*$"):
        card.load_scenario(tmp_path / "top.yml")


def test_a_base_that_a_study_mends_is_read(tmp_path):
    low, top = tmp_path / "low.yml", tmp_path / "top.yml"
    low.write_text("base: nominal\nobjective: {delay_weight: 7}\npolicies: [no.py:f]\n")
    top.write_text("base: low\nobjective: {delay_weight: 0.5}\npolicies: []\n")
    assert card.load_scenario(top).objective.delay_weight == 0.5
