"""Networks by name: what each takes and gives, and which weights files it accepts."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from ml import architectures
from ml.architectures import NETWORKS, build
from ml.findings import InputRejected
from ml.fit_config import CONFIGS, FitConfig, read_config
from ml.networks import folded
from ml.weights_files import read_weights

TINY_VIT = "vit_tiny_patch16_224"
SMALL = FitConfig(side=32, backbone=TINY_VIT, dropout=0.0)


def saved(path, state):
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def vit_state():
    """A ViT as for 64 pixels: 16 patches and the class token."""
    torch.manual_seed(2)
    return timm.create_model(TINY_VIT, num_classes=0, img_size=64).state_dict()


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"vit_file"}))
def test_every_network_gives_one_row_of_logits_an_image_and_learns(name):
    config = SMALL.but(side=75) if name == "inception_v3" else SMALL
    network, whence = build(name, 3, config)
    shape = (2, 2, 3, 32, 32) if name == "cnn_lstm" else (2, 3, config.side, config.side)
    out = network(torch.rand(shape))
    out.sum().backward()
    assert out.shape == (2, 3)
    assert whence == "from scratch"
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_order_of_a_series_matters():
    torch.manual_seed(0)
    network, _ = build("cnn_lstm", 3, SMALL)
    x = torch.rand(1, 3, 3, 32, 32)
    network.eval()
    assert not torch.allclose(network(x), network(x.flip(1)))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torchvisions_weights_are_loaded_and_the_classifier_is_left_out(tmp_path, suffix):
    torch.manual_seed(1)
    theirs = models.mobilenet_v2(weights=None, num_classes=7)
    path = saved(tmp_path / f"w{suffix}", theirs.state_dict())
    network, said = build("mobilenet_v2", 3, SMALL, path)
    assert torch.equal(network.body.features[0][0].weight, theirs.features[0][0].weight)
    assert said == f"w{suffix}; left out of it: classifier.1.bias, classifier.1.weight"


def test_with_pretrained_weights_batchnorm_keeps_its_statistics(tmp_path):
    path = saved(tmp_path / "w.safetensors", models.mobilenet_v2(weights=None).state_dict())
    for config, moves in ((SMALL, False), (SMALL.but(batchnorm="learned"), True)):
        network, _ = build("mobilenet_v2", 3, config, path)
        before = network.body.features[0][1].running_mean.clone()
        network.train()(torch.rand(4, 3, 32, 32))
        assert torch.equal(network.body.features[0][1].running_mean, before) != moves


@pytest.mark.parametrize("name", ["custom_cnn", "resnet50", "efficientnet_b0", "inception_v3", "mobilenet_v2"])
def test_folding_batchnorm_changes_no_answer(name):
    torch.manual_seed(3)
    network, _ = build(name, 3, SMALL.but(side=75))
    x = torch.rand(4, 3, 75, 75)
    with torch.no_grad():
        network.train()(x)  # so that there are statistics to fold
        before = network.eval()(x)
        folded(network)
        after = network.eval()(x)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert torch.allclose(before, after, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("batchnorm", ["auto", "folded"])
def test_a_file_of_fit_is_loaded_whole_or_without_its_head(tmp_path, batchnorm):
    config = SMALL.but(batchnorm=batchnorm)
    first, _ = build("custom_cnn", 3, config)
    path = saved(tmp_path / "model.safetensors", first.state_dict())
    same, said = build("custom_cnn", 3, config, path)
    assert torch.equal(same.head.weight, first.head.weight)
    assert said == "model.safetensors"
    other, said = build("custom_cnn", 5, config, path)
    assert other.head.weight.shape == (5, 256)
    assert said == "model.safetensors; left out of it: head.bias, head.weight"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_vision_transformer_takes_another_input_size(tmp_path, vit_state, suffix):
    network, _ = build("vit_file", 3, SMALL, saved(tmp_path / f"vit{suffix}", vit_state))
    assert network.body.pos_embed.shape == (1, 1 + 4, 192)
    assert torch.equal(network.body.blocks[0].norm1.weight, vit_state["blocks.0.norm1.weight"])
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_a_dinobloom_checkpoint_is_unwrapped(tmp_path, vit_state):
    teacher = {f"backbone.{key}": value for key, value in vit_state.items()}
    teacher |= {"dino_head.mlp.0.weight": torch.zeros(2), "backbone.mask_token": torch.zeros(1, 192)}
    path = saved(tmp_path / "bloom.pth", {"teacher": teacher})
    network, _ = build("vit_file", 3, SMALL.but(side=64), path)
    assert torch.equal(network.body.pos_embed, vit_state["pos_embed"])


def test_a_frozen_backbone_stays_as_it_is(tmp_path, vit_state):
    path = saved(tmp_path / "vit.safetensors", vit_state)
    network, _ = build("vit_file", 3, SMALL.but(freeze="backbone"), path)
    network.train()(torch.rand(2, 3, 32, 32)).sum().backward()
    assert not network.body.training
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert network.head.weight.grad is not None


class Unsafe:
    def __reduce__(self):
        return print, ("code from a weights file",)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("w.bin", b"x", "no weights file"),
        ("w.safetensors", b"x", "no safetensors file"),
        ("w.pth", b"x", "damaged"),
        ("w.pth", {"state_dict": {"a": 1}}, "no plain table of tensors"),
        ("w.pth", Unsafe(), "other things than tensors"),
        ("w.pth", torch.zeros(3), "no plain table of tensors"),
        ("absent.pth", None, "no such file"),
    ],
)
def test_what_is_no_table_of_tensors_is_refused(tmp_path, capsys, file, content, sentence):
    path = tmp_path / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputRejected, match=sentence) as caught:
        read_weights(path)
    assert caught.value.code == "bad_weights"
    assert str(path) in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "state", "sentence"),
    [
        ("resnet50", lambda: models.mobilenet_v2(weights=None).state_dict(), "another network: .* lacking"),
        ("mobilenet_v2", lambda: models.mobilenet_v2(width_mult=0.5).state_dict(), "of another size"),
        ("vit_file", lambda: {"pos_embed": torch.zeros(1, 5, 192)}, "lacking"),
        ("custom_cnn", lambda: {"unknown.weight": torch.zeros(1)}, "unknown"),
    ],
)
def test_weights_of_another_network_are_refused_and_say_why(tmp_path, name, state, sentence):
    with pytest.raises(InputRejected, match=sentence):
        build(name, 3, SMALL, saved(tmp_path / "w.safetensors", state()))


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        ("alexnet", SMALL, "The networks are custom_cnn"),
        ("inception_v3", SMALL, "Set side to 75"),
        ("vit_file", SMALL, "Name it: --weights"),
        ("vit_file", SMALL.but(side=40), "no multiple of 16"),
        ("vit_file", SMALL.but(backbone="resnet50"), "no vision transformer"),
    ],
)
def test_what_cannot_be_built_is_refused(name, config, sentence):
    with pytest.raises(InputRejected, match=re.escape(sentence)):
        build(name, 3, config)


def test_a_download_is_kept_and_its_failure_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = []

    def fetch(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        if "resnet" in url:
            raise OSError("no network")
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"x")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    first = architectures.download("mobilenet_v2")
    assert architectures.download("mobilenet_v2") == first
    assert len(asked) == 1
    assert asked[0][1] in asked[0][0]
    with pytest.raises(InputRejected, match="Fetch it elsewhere"):
        architectures.download("resnet50")
    with pytest.raises(InputRejected, match="no ImageNet weights"):
        architectures.download("custom_cnn")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_configuration(name):
    assert read_config(CONFIGS / f"{name}.toml").side >= NETWORKS[name].least


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "Unknown keys: epoch. The keys are side, "),
        ('epochs = "3"', "not of type int"),
        ("augment = 1", "not of type bool"),
        ('stain = "vahadane"', "one of none, two-point, reinhard, macenko"),
        ("dropout = 1.5", "a share"),
        ("epochs = 0", "greater than 0"),
        ("epochs =", "not TOML"),
        (None, "no such configuration"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(tmp_path, text, sentence):
    path = tmp_path / "c.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputRejected, match=re.escape(sentence)) as caught:
        read_config(path)
    assert caught.value.code == "bad_config"


def test_a_whole_number_is_a_number(tmp_path):
    (tmp_path / "c.toml").write_text("learning_rate = 1\nepochs = 3")
    config = read_config(tmp_path / "c.toml")
    assert (config.learning_rate, config.epochs, config.batch) == (1.0, 3, FitConfig().batch)
