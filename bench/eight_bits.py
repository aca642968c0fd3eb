"""A network in eight-bit integers without a quantiser's help: ranges from images, FakeQuantize before each convolution.

Measured by bench.imaging to say why the product does not use it.
"""

import numpy as np

from ml.engine import openvino

CONVOLUTIONS = {"Convolution": 1, "GroupConvolution": 2}  # how many axes of the weights are output channels
BATCH = 4


def quantised(model, images):
    """OpenVINO's ``model`` (n, 3, h, w) with its convolutions in eight bits, calibrated on ``images`` (n, h, w, 3)."""
    low, high = ranges(model, images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    made = model.clone()
    for node, least, most in zip(convolutions(made), low, high, strict=True):
        bounds = (-most * 128 / 127, most) if least < 0 else (0.0, most)
        node.input(0).replace_source_output(rounded(node.input_value(0), *map(np.float32, bounds), 256))
        weights = value_of(node.input_value(1))
        axes = tuple(range(CONVOLUTIONS[node.get_type_name()], weights.ndim))
        reach = np.maximum(np.abs(weights).max(axis=axes, keepdims=True), 1e-8)
        constant = openvino().opset13.constant(weights)
        node.input(1).replace_source_output(rounded(constant, -reach, reach, 255))
    made.validate_nodes_and_infer_types()
    return made


def convolutions(model):
    return [node for node in model.get_ordered_ops() if node.get_type_name() in CONVOLUTIONS]


def rounded(source, low, high, levels):
    op = openvino().opset13
    bounds = [op.constant(np.asarray(bound, dtype=np.float32)) for bound in (low, high, low, high)]
    return op.fake_quantize(source, *bounds, levels).output(0)


def value_of(output):
    """A constant, folded: (out, …) float32."""
    library = openvino()
    made = library.Model([library.opset13.result(output)], [])
    return np.asarray(library.Core().compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([])[0])


def ranges(model, images):
    """Least and largest input of every convolution over ``images``; where it goes below 0, symmetric."""
    library = openvino()
    op, copy = library.opset13, model.clone()
    axes = op.constant(np.arange(4))
    results = []
    for node in convolutions(copy):
        seen = node.input_value(0)
        results += [op.result(op.reduce_min(seen, axes, True)), op.result(op.reduce_max(seen, axes, True))]
    run = library.Core().compile_model(library.Model(results, copy.get_parameters()), "CPU")
    batches = range(0, len(images), BATCH)
    found = np.array([[np.asarray(v).item() for v in run(images[k : k + BATCH]).values()] for k in batches])
    low, high = found[:, 0::2].min(axis=0), np.maximum(found[:, 1::2].max(axis=0), 1e-6)
    return low, np.where(low < 0, np.maximum(-low, high), high)
