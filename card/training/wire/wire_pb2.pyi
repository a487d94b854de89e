from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("hello", "welcome", "refusal", "assignment", "tensors", "report", "probe", "finished", "beat", "spent")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    refusal: Refusal
    assignment: Assignment
    tensors: Tensors
    report: Report
    probe: Probe
    finished: Finished
    beat: Beat
    spent: Spent
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., tensors: _Optional[_Union[Tensors, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., beat: _Optional[_Union[Beat, _Mapping]] = ..., spent: _Optional[_Union[Spent, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version", "device", "scenario_hash", "llm_fingerprint", "lora_rank", "lora_targets", "activation_dtype", "tokenizer_hash", "weight_dtype", "attention")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_HASH_FIELD_NUMBER: _ClassVar[int]
    LLM_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    LORA_RANK_FIELD_NUMBER: _ClassVar[int]
    LORA_TARGETS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_DTYPE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_HASH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DTYPE_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    version: int
    device: str
    scenario_hash: str
    llm_fingerprint: str
    lora_rank: int
    lora_targets: _containers.RepeatedScalarFieldContainer[str]
    activation_dtype: str
    tokenizer_hash: str
    weight_dtype: str
    attention: str
    def __init__(self, version: _Optional[int] = ..., device: _Optional[str] = ..., scenario_hash: _Optional[str] = ..., llm_fingerprint: _Optional[str] = ..., lora_rank: _Optional[int] = ..., lora_targets: _Optional[_Iterable[str]] = ..., activation_dtype: _Optional[str] = ..., tokenizer_hash: _Optional[str] = ..., weight_dtype: _Optional[str] = ..., attention: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("timeout_s",)
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    timeout_s: float
    def __init__(self, timeout_s: _Optional[float] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("round", "cut", "frequency_hz", "iterations", "learning_rate", "seed", "uplink_bits", "downlink_bits")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_HZ_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    UPLINK_BITS_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_BITS_FIELD_NUMBER: _ClassVar[int]
    round: int
    cut: int
    frequency_hz: float
    iterations: int
    learning_rate: float
    seed: int
    uplink_bits: int
    downlink_bits: int
    def __init__(self, round: _Optional[int] = ..., cut: _Optional[int] = ..., frequency_hz: _Optional[float] = ..., iterations: _Optional[int] = ..., learning_rate: _Optional[float] = ..., seed: _Optional[int] = ..., uplink_bits: _Optional[int] = ..., downlink_bits: _Optional[int] = ...) -> None: ...

class Tensors(_message.Message):
    __slots__ = ("kind", "round", "iteration", "safetensors", "compute_s")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[Tensors.Kind]
        SMASHED: _ClassVar[Tensors.Kind]
        GRADIENT: _ClassVar[Tensors.Kind]
        HIDDEN: _ClassVar[Tensors.Kind]
        HIDDEN_GRADIENT: _ClassVar[Tensors.Kind]
        ADAPTERS: _ClassVar[Tensors.Kind]
    UNSPECIFIED: Tensors.Kind
    SMASHED: Tensors.Kind
    GRADIENT: Tensors.Kind
    HIDDEN: Tensors.Kind
    HIDDEN_GRADIENT: Tensors.Kind
    ADAPTERS: Tensors.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    SAFETENSORS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    kind: Tensors.Kind
    round: int
    iteration: int
    safetensors: bytes
    compute_s: float
    def __init__(self, kind: _Optional[_Union[Tensors.Kind, str]] = ..., round: _Optional[int] = ..., iteration: _Optional[int] = ..., safetensors: _Optional[bytes] = ..., compute_s: _Optional[float] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("round", "iteration", "loss", "compute_s", "validates")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    VALIDATES_FIELD_NUMBER: _ClassVar[int]
    round: int
    iteration: int
    loss: float
    compute_s: float
    validates: bool
    def __init__(self, round: _Optional[int] = ..., iteration: _Optional[int] = ..., loss: _Optional[float] = ..., compute_s: _Optional[float] = ..., validates: _Optional[bool] = ...) -> None: ...

class Spent(_message.Message):
    __slots__ = ("round", "busy_j", "waiting_j")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BUSY_J_FIELD_NUMBER: _ClassVar[int]
    WAITING_J_FIELD_NUMBER: _ClassVar[int]
    round: int
    busy_j: float
    waiting_j: float
    def __init__(self, round: _Optional[int] = ..., busy_j: _Optional[float] = ..., waiting_j: _Optional[float] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("sequence", "padding", "answer_bytes")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    ANSWER_BYTES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    padding: bytes
    answer_bytes: int
    def __init__(self, sequence: _Optional[int] = ..., padding: _Optional[bytes] = ..., answer_bytes: _Optional[int] = ...) -> None: ...

class Beat(_message.Message):
    __slots__ = ("sign",)
    class Sign(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[Beat.Sign]
        WORKING: _ClassVar[Beat.Sign]
        ASKED: _ClassVar[Beat.Sign]
        ANSWERED: _ClassVar[Beat.Sign]
    UNKNOWN: Beat.Sign
    WORKING: Beat.Sign
    ASKED: Beat.Sign
    ANSWERED: Beat.Sign
    SIGN_FIELD_NUMBER: _ClassVar[int]
    sign: Beat.Sign
    def __init__(self, sign: _Optional[_Union[Beat.Sign, str]] = ...) -> None: ...
