import pytest
import torch

from asr_kd.models import build


@pytest.mark.parametrize("batch_norm", [True, False])
def test_output_equals_a_plain_product_over_each_window(batch_norm: bool) -> None:
    torch.manual_seed(0)
    model = build(
        {"kind": "dnn", "hidden_layers": 1, "hidden_units": 7, "left_context": 3, "right_context": 2,
         "batch_norm": batch_norm}, 5, 4,
    ).eval()  # fmt: skip
    frames = torch.randn(2, 9, 5)
    logits = model(frames)
    assert logits.shape == (2, 9 - 5, 4)
    weights = model.state_dict()
    for utterance in range(2):
        for output in range(4):
            window = torch.cat([frames[utterance, output + place] for place in range(6)])
            hidden = weights["layers.linear0.weight"] @ window
            bias = 0.0 if batch_norm else weights["layers.linear0.bias"]
            scale = (1 + 1e-5) ** 0.5 if batch_norm else 1.0  # running mean 0 and variance 1
            hidden = hidden / scale + bias
            expected = weights["layers.output.weight"] @ hidden.relu() + weights["layers.output.bias"]
            torch.testing.assert_close(logits[utterance, output], expected)


def test_paper_net_has_the_papers_size() -> None:
    # 8 x 2,560 on 26 frames of 40 coefficients, 14,000 classes: "about 85 M parameters" in the paper.
    with torch.device("meta"):
        model = build({"preset": "hinton2015"}, 40, 14000)
    assert 80e6 < model.parameter_count < 90e6
