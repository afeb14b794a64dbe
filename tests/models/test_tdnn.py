import torch
from torch import Tensor
from torch.nn import functional

from asr_kd.models import build
from asr_kd.models.tdnn import DilatedConvolution, FrameNorm

SMALL = {"kind": "tdnn", "channels": 6, "kernel_sizes": [3, 3], "dilations": [1, 2], "chunk_frames": 4}


def test_layer_equals_torchs_dilated_convolution() -> None:
    torch.manual_seed(0)
    layer = DilatedConvolution(5, 7, kernel_size=3, dilation=2, bias=True)
    frames = torch.randn(2, 11, 5)
    kernel = layer.linear.weight.view(7, 3, 5).permute(0, 2, 1)
    expected = functional.conv1d(frames.transpose(1, 2), kernel, layer.linear.bias, dilation=2)
    torch.testing.assert_close(layer(frames), expected.transpose(1, 2))


def test_norm_is_over_frames_of_each_channel() -> None:
    frames = torch.randn(3, 8, 5) * torch.arange(1.0, 6.0) + 4
    normalised = FrameNorm(5)(frames)
    torch.testing.assert_close(normalised.mean((0, 1)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std((0, 1), correction=0), torch.ones(5), atol=1e-3, rtol=0)


def test_each_output_sees_exactly_its_context() -> None:
    torch.manual_seed(0)
    model = build(SMALL, 5, 4).eval()
    assert model.left_context == model.right_context == 3
    frames = torch.randn(1, 3 + 4 + 3, 5, requires_grad=True)
    logits = model(frames)
    assert logits.shape == (1, 4, 4)
    for output in range(4):
        (gradient,) = torch.autograd.grad(logits[0, output].sum(), frames, retain_graph=True)
        reached: Tensor = gradient[0].abs().sum(1).nonzero().flatten()
        assert reached.min() >= output and reached.max() <= output + 6
