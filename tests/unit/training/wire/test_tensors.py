"""Tensors on the wire: what arrives is what was agreed, and all else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("grpc")
torch = pytest.importorskip("torch")

from streams import ADAPTERS

from card.training.wire import tensors as payload
from card.training.wire.tensors import TensorSpec


class TestTensors:
    def test_come_back_bit_for_bit(self):
        back = payload.decode(payload.encode(ADAPTERS), payload.specs(ADAPTERS))
        assert back.keys() == ADAPTERS.keys()
        for name, value in ADAPTERS.items():
            assert back[name].dtype == value.dtype
            assert torch.equal(back[name], value)

    def test_may_be_none_or_empty(self):
        assert payload.decode(payload.encode({}), {}) == {}
        empty = {"adapter": torch.empty(0, 8)}
        assert payload.decode(payload.encode(empty), payload.specs(empty))["adapter"].shape == (
            0,
            8,
        )

    def test_may_lie_in_memory_in_any_order_and_need_gradients(self):
        turned = torch.arange(6.0).reshape(2, 3).t().requires_grad_()
        (back,) = payload.decode(
            payload.encode({"x": turned}), {"x": specification(turned)}
        ).values()
        assert torch.equal(back, turned)
        assert not back.requires_grad

    def test_payload_is_that_of_the_elements(self):
        # 24 elements of 4 byte, 24 of 2, 2 of 4
        assert payload.payload_bit(ADAPTERS) == 8 * (96 + 48 + 8)
        assert payload.payload_bit({}) == 0

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"labels": None}, "'labels' is missing"),
            ({"more": torch.ones(1)}, "'more' is not agreed"),
            ({"labels": torch.tensor([[1, 2]])}, "is int64 .1, 2., but int32 .1, 2. was agreed"),
            ({"labels": torch.ones(2, 1, dtype=torch.int32)}, "is int32 .2, 1., but int32 .1, 2."),
            ({"labels": torch.ones(2, dtype=torch.int32)}, "is int32 .2., but int32 .1, 2."),
        ],
        ids=["missing", "additional", "number format", "transposed", "rank"],
    )
    def test_that_differ_are_refused_by_name(self, change, said):
        sent = {k: v for k, v in (ADAPTERS | change).items() if v is not None}
        with pytest.raises(payload.WireError, match=said):
            payload.decode(payload.encode(sent), payload.specs(ADAPTERS))

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"[]",
            b"nonsense",
            b"[" * 300,
            b'{"x": {"dtype": "F32"}}',
            b'{"x": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
            b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}',
            b'{"x": {"dtype": "F32", "shape": [2]}, "x": {"dtype": "F32", "shape": [2]}}',
            b'{"__metadata__": {"a": "b"}, "x": {"dtype": "F32", "shape": [2]}}',
            b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}' + b" " * 400,
        ],
        ids=range(14),
    )
    def test_with_a_forged_header_are_refused(self, header):
        data = len(header).to_bytes(8, "little") + header + bytes(8)
        with pytest.raises(payload.WireError):
            payload.decode(data, {"x": TensorSpec(torch.float32, (2,))})

    def test_that_claim_a_huge_header_are_refused_before_it_is_read(self):
        with pytest.raises(payload.WireError, match="no header of an agreed size"):
            payload.decode((2**63).to_bytes(8, "little") + b"{}", {})

    @pytest.mark.parametrize("data", [b"", b"\0" * 7])
    def test_that_are_hardly_any_bytes_are_refused(self, data):
        with pytest.raises(payload.WireError, match="no header"):
            payload.decode(data, {})

    @pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"\0"])
    def test_of_another_size_are_refused(self, change):
        with pytest.raises(payload.WireError, match="bytes, but 152 were agreed"):
            payload.decode(change(payload.encode(ADAPTERS)), payload.specs(ADAPTERS))

    @given(st.data())
    def test_with_any_flipped_byte_are_refused_or_still_as_agreed(self, data):
        sent = bytearray(payload.encode(ADAPTERS))
        sent[data.draw(st.integers(0, len(sent) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            back = payload.decode(bytes(sent), payload.specs(ADAPTERS))
        except payload.WireError:
            return
        assert payload.specs(back) == payload.specs(ADAPTERS)

    @given(
        st.dictionaries(
            st.text(max_size=20), st.lists(st.integers(0, 3), max_size=4).map(tuple), max_size=6
        )
    )
    def test_header_limit_holds_whatever_the_names(self, shapes):
        tensors = {name: torch.ones(shape) for name, shape in shapes.items()}
        tensors.pop("__metadata__", None)  # safetensors' own word
        payload.decode(payload.encode(tensors), payload.specs(tensors))


def specification(tensor):
    return payload.specs({"x": tensor})["x"]
