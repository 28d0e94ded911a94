"""What every kind of projection keeps; one file per kind has the rest."""

import io
import math
import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError, InputError
from variegate.keys import CopyKey
from variegate.projections import (
    AUTO_DENSE_ELEMENTS,
    PROJECTIONS,
    DenseSigns,
    Projection,
    RandomizedHadamard,
    SparseSigns,
    build_projection,
)

KINDS = sorted(PROJECTIONS)
KEY = CopyKey.from_bytes(bytes(range(32)))

keys = st.binary(min_size=32, max_size=32).map(CopyKey.from_bytes)


@st.composite
def projections(draw, max_dim=70):
    zero_mean = draw(st.booleans())
    dim = draw(st.integers(2 if zero_mean else 1, max_dim))
    rows = draw(st.integers(1, dim))
    return build_projection(draw(st.sampled_from(KINDS)), draw(keys), rows=rows, dim=dim, zero_mean=zero_mean)


def inputs(projection, count, seed=0):
    return torch.rand(count, projection.dim, generator=torch.Generator().manual_seed(seed))


@given(projection=projections())
def test_rows_have_norm_one(projection):
    matrix = projection.matrix()
    assert matrix.shape == (projection.rows, projection.dim)
    assert matrix.dtype == torch.float32
    assert (matrix.double().norm(dim=1) - 1).abs().max() < 1e-6


@given(projection=projections())
def test_rows_sum_to_zero_if_asked(projection):
    sums = projection.matrix().double().sum(dim=1).abs()
    assert not projection.zero_mean or sums.max() < 1e-6 * math.sqrt(projection.dim)


@given(projection=projections(), count=st.integers(0, 5))
def test_forward_is_the_product_with_the_matrix(projection, count):
    x = inputs(projection, count)
    y = projection(x)
    assert y.shape == (count, projection.rows)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), x.double() @ projection.matrix().double().T, rtol=0, atol=2e-5)


@given(projection=projections(), a=st.floats(-3, 3, width=32), b=st.floats(-3, 3, width=32))
def test_forward_is_linear(projection, a, b):
    x, z = inputs(projection, 3), inputs(projection, 3, seed=1)
    torch.testing.assert_close(projection(a * x + b * z), a * projection(x) + b * projection(z), rtol=0, atol=1e-4)


@given(projection=projections(), brightness=st.floats(-1, 1, width=32))
def test_brightness_does_not_move_zero_mean_messages(projection, brightness):
    x = inputs(projection, 2)
    moved = (projection(x + brightness) - projection(x)).abs().max()
    assert not projection.zero_mean or moved < 3e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero_mean", [True, False])
class TestEveryKind:
    def build(self, kind, zero_mean, key=KEY, rows=40, dim=192):
        return build_projection(kind, key, rows=rows, dim=dim, zero_mean=zero_mean)

    def test_the_key_decides(self, kind, zero_mean):
        one, same = self.build(kind, zero_mean), self.build(kind, zero_mean)
        other = self.build(kind, zero_mean, key=KEY.subkey("other"))
        assert torch.equal(one.matrix(), same.matrix())
        cosines = (one.matrix() * other.matrix()).sum(dim=1)
        assert cosines.abs().max() < 0.5
        assert cosines.abs().mean() < 2 / math.sqrt(192)

    def test_rows_are_nearly_orthogonal(self, kind, zero_mean):
        matrix = self.build(kind, zero_mean).matrix().double()
        cosines = (matrix @ matrix.T).fill_diagonal_(0)
        assert cosines.abs().max() < 0.5
        assert cosines.square().sum() / (40 * 39) < 2 / 192

    def test_messages_see_all_of_the_input(self, kind, zero_mean):
        # Energy in the first half of the input is about half of it all.
        matrix = self.build(kind, zero_mean).matrix()
        assert 0.4 < matrix[:, :96].square().sum() / 40 < 0.6

    def test_fewer_rows_are_the_first_of_more(self, kind, zero_mean):
        few, many = (self.build(kind, zero_mean, rows=rows).matrix() for rows in (10, 40))
        assert torch.equal(few, many[:10])

    def test_gradients_are_the_messages(self, kind, zero_mean):
        projection = self.build(kind, zero_mean, rows=5)
        x = inputs(projection, 2).requires_grad_()
        for row in range(5):
            (gradient,) = torch.autograd.grad(projection(x)[1, row], x)
            torch.testing.assert_close(gradient[1], projection.matrix()[row], rtol=0, atol=1e-5)
            assert gradient[0].abs().max() == 0

    def test_a_batch_does_not_mix_its_inputs(self, kind, zero_mean):
        projection = self.build(kind, zero_mean)
        x = inputs(projection, 9)
        alone = torch.cat([projection(row[None]) for row in x])
        torch.testing.assert_close(projection(x), alone, rtol=0, atol=1e-5)

    def test_tensors_are_buffers_that_are_not_saved(self, kind, zero_mean):
        projection = self.build(kind, zero_mean)
        assert projection.state_dict() == {}
        assert list(projection.parameters()) == []
        buffers = list(projection.buffers())
        assert projection.nbytes == sum(b.numel() * b.element_size() for b in buffers) > 0
        assert {b.device.type for b in projection.to("meta").buffers()} == {"meta"}

    def test_double_precision_works_too(self, kind, zero_mean):
        projection = self.build(kind, zero_mean).double()
        x = inputs(projection, 2).double()
        torch.testing.assert_close(projection(x), x @ projection.matrix().double().T, rtol=0, atol=1e-6)

    def test_repr_tells_the_sizes_only(self, kind, zero_mean):
        text = repr(self.build(kind, zero_mean))
        assert text.endswith(f"(rows=40, dim=192, zero_mean={zero_mean})")

    def test_the_global_generator_is_not_touched(self, kind, zero_mean):
        before = torch.get_rng_state()
        self.build(kind, zero_mean)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("x", "got"),
        [
            (torch.zeros(2, 191), r"got shape \(2, 191\)"),
            (torch.zeros(192), r"got shape \(192,\)"),
            (torch.zeros(2, 3, 64), r"got shape \(2, 3, 64\)"),
            (torch.zeros(2, 192, dtype=torch.float64), r"dtype torch\.float64"),
            (torch.zeros(2, 192, dtype=torch.uint8), r"dtype torch\.uint8"),
        ],
    )
    def test_other_inputs_are_refused(self, kind, zero_mean, x, got):
        with pytest.raises(InputError, match=rf"must have shape \(N, 192\) and dtype torch\.float32; .*{got}"):
            self.build(kind, zero_mean)(x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"rows": 0, "dim": 4}, "rows must be a whole number from 1 up; got 0"),
        ({"rows": 1, "dim": -1}, "dim must be a whole number from 1 up; got -1"),
        ({"rows": 1.5, "dim": 4}, "rows must be a whole number from 1 up; got 1.5"),
        ({"rows": True, "dim": 4}, "rows must be a whole number from 1 up; got True"),
        ({"rows": 1, "dim": 1}, "rows that sum to 0 need a dim of 2 or more; got 1: set zero_mean to False"),
    ],
)
def test_bad_sizes_are_refused(kind, sizes, message):
    with pytest.raises(ConfigurationError, match=message):
        build_projection(kind, KEY, **sizes)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigurationError, match="kind must be auto, dense, hadamard, sparse; got 'gauss'"):
        build_projection("gauss", KEY, rows=1, dim=4)


@pytest.mark.parametrize("kind", ["hadamard", "sparse"])
def test_a_matrix_that_is_too_large_is_refused(kind):
    projection = build_projection(kind, KEY, rows=1025, dim=2**18)
    with pytest.raises(ConfigurationError, match="at most 268435456 elements; this one has 1025 rows of 262144"):
        projection.matrix()


def test_the_catalog_builds_its_classes():
    assert {kind: type(build_projection(kind, KEY, rows=2, dim=4)) for kind in KINDS} == {
        "dense": DenseSigns,
        "hadamard": RandomizedHadamard,
        "sparse": SparseSigns,
    }
    assert issubclass(DenseSigns, Projection)


def test_auto_is_dense_up_to_its_limit():
    dim = 1 << 17
    assert AUTO_DENSE_ELEMENTS // dim == 128
    small = build_projection("auto", KEY, rows=16, dim=3072)
    assert isinstance(small, DenseSigns)
    assert torch.equal(small.matrix(), DenseSigns(KEY, rows=16, dim=3072).matrix())
    assert not build_projection("auto", KEY, rows=16, dim=3072, zero_mean=False).zero_mean
    assert isinstance(build_projection("auto", KEY, rows=128, dim=dim), DenseSigns)
    assert isinstance(build_projection("auto", KEY, rows=129, dim=dim), RandomizedHadamard)


@pytest.mark.parametrize("kind", KINDS)
def test_export_to_onnx(kind):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    projection = build_projection(kind, KEY, rows=6, dim=12).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            projection,
            (inputs(projection, 2),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        x = inputs(projection, count, seed=count)
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(y), projection(x), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_on_a_gpu(kind):
    projection = build_projection(kind, KEY, rows=160, dim=3072)
    x = inputs(projection, 4)
    y = projection(x)
    torch.testing.assert_close(projection.to("cuda")(x.cuda()).cpu(), y, rtol=0, atol=1e-4)


def test_another_process_draws_the_same():
    code = (
        "import hashlib; from variegate.keys import CopyKey; from variegate.projections import build_projection\n"
        "key = CopyKey.from_bytes(bytes(range(32)))\n"
        "for kind in ('dense', 'hadamard', 'sparse'):\n"
        "    matrix = build_projection(kind, key, rows=7, dim=100).matrix()\n"
        "    print(hashlib.sha256(matrix.numpy().tobytes()).hexdigest()[:16])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # Frozen: copies that were issued depend on these bytes.
    assert found == ["3c481d88d7b911f2", "af86252bac113a65", "7251f83d0721609c"]
