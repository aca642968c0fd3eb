"""Grad-CAM points at what the answer rests on, and depends on what was learned."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter

from ml import synthetic
from ml.bundle import find_bundle, load_bundle
from ml.explain import Whole, cam_of, grad_cam, overlay_png
from ml.networks import to_tensor
from ml.smear import load_model, prepare, read_images

BUNDLE = load_bundle(find_bundle("smear-field"))
MODEL = load_model(BUNDLE)
PREPROCESSING = BUNDLE.manifest["preprocessing"]
PICTURES = [synthetic.draw_field(kind, seed) for kind in ("Pre-B", "Pro-B", "Early Pre-B") for seed in range(4)]
SIDE = PREPROCESSING["side"]
HIDDEN = SIDE * 80 // 224  # pixels: the side of the square that is painted over


def top_label(image):
    p = read_images([("image", image)], MODEL)[0].probabilities
    return max(p, key=p.__getitem__)


def hide(square, place):
    hidden, half = square.copy(), HIDDEN // 2
    y, x = (int(np.clip(at, half, SIDE - half)) for at in place)
    hidden[y - half : y + half, x - half : x + half] = np.median(square, axis=(0, 1))
    return hidden


def test_the_whole_network_answers_as_the_bundle_does():
    squares = np.stack([prepare(image, PREPROCESSING)[0] for image in PICTURES[:3]])
    with torch.inference_mode():
        logits = Whole(MODEL)(to_tensor(squares)).numpy()
    answers = [MODEL.image_labels[k] for k in logits.argmax(axis=1)]
    assert answers == [top_label(image) for image in PICTURES[:3]]


def test_hiding_the_hot_place_costs_more_than_hiding_the_cold_one():
    network, losses = Whole(MODEL), []
    for image in PICTURES:
        square, _ = prepare(image, PREPROCESSING)
        target = MODEL.image_labels.index(top_label(image))
        heat = uniform_filter(cam_of(network, square, target, (SIDE, SIDE)), HIDDEN)
        views = [square, *(hide(square, np.unravel_index(at, heat.shape)) for at in (heat.argmax(), heat.argmin()))]
        with torch.inference_mode():
            before, hot, cold = network(to_tensor(np.stack(views)))[:, target].tolist()
        losses.append((before - hot) - (before - cold))
    assert np.mean(losses) > 0
    assert np.mean(np.array(losses) > 0) > 0.6


def test_other_weights_make_another_map():
    square, target = prepare(PICTURES[0], PREPROCESSING)[0], MODEL.image_labels.index(top_label(PICTURES[0]))
    learned = cam_of(Whole(MODEL), square, target, (14, 14))
    network = copy.deepcopy(Whole(MODEL))
    torch.manual_seed(0)
    for layer in network.modules():
        if hasattr(layer, "reset_parameters") and not isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_parameters()
    random = cam_of(network, square, target, (14, 14))
    assert learned.max() == pytest.approx(1)
    assert random.std() == 0 or abs(np.corrcoef(learned.ravel(), random.ravel())[0, 1]) < 0.6


def test_labels_have_maps_of_their_own():
    maps = [grad_cam(PICTURES[0], BUNDLE, label) for label in BUNDLE.labels]
    assert all(heat.shape == PICTURES[0].shape[:2] for heat in maps)
    assert all(heat.min() >= 0 and heat.max() <= 1 + 1e-9 for heat in maps)
    assert len({heat.tobytes() for heat in maps}) > 1


def test_an_unknown_label_is_our_own_error():
    with pytest.raises(KeyError):
        grad_cam(PICTURES[0], BUNDLE, "nonsense")


def test_an_overlay_is_a_picture_of_bounded_size():
    wide = np.asarray(Image.fromarray(PICTURES[0]).resize((1300, 900)))
    picture = Image.open(io.BytesIO(overlay_png(wide, BUNDLE, "Pre-B")))
    assert picture.format == "PNG"
    assert max(picture.size) == 640
    assert picture.width / picture.height == pytest.approx(1300 / 900, rel=0.01)
