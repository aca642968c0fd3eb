"""Images: how long decoding, preparing and the network take, each beside a named alternative in the same run.

python -m bench.imaging --data DIR        DIR holds smear_fields and smear_cells; without it images are drawn

Writes ``docs/measured/imaging.json``. Times are the least of several rounds in which the rivals take turns, so that
whatever else the machine does slows all of them.
"""

import argparse
import io
import json
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid
from skimage.transform import resize
from torchvision import models

from bench.eight_bits import quantised
from ml import quality, synthetic
from ml.bundle import find_bundle, load_bundle
from ml.calibration import apply_temperature
from ml.cards import table
from ml.dicom import opened, read
from ml.dicom_pixels import LOOKS, MAX_FRAMES, decoded, evenly
from ml.engine import Engine, Plan, check, converted, cores, openvino
from ml.images import MAX_PIXELS, MIN_SIDE
from ml.smear import load_model, prepare
from ml.smear_data import first_frame
from ml.stain import normalise

TARGET = Path(__file__).resolve().parents[1] / "docs" / "measured" / "imaging.json"
NETWORKS = {"mobilenet_v3_large": 32, "efficientnet_b0": 16, "resnet50": 16, "vgg16": 4}  # images a batch
PRECISIONS = ("f32", "bf16")
SIDE = 224
REAL = {"smear-field": "smear_fields/*/*.jpg", "smear-cell": "smear_cells/images/*/*"}
SLIDE_FRAMES = 2000


def arguments():
    parser = argparse.ArgumentParser(prog="python -m bench.imaging", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with smear_fields and smear_cells")
    parser.add_argument("--bundles", nargs="*", choices=list(REAL), default=list(REAL))
    parser.add_argument("--images", type=int, default=64, help="real images a bundle is checked on")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=TARGET)
    return parser


def rivals(rounds, **ways):
    """Least seconds of each way; they take turns, and the first turn does not count."""
    took = {name: [] for name in ways}
    for k in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            took[name] += [time.perf_counter() - began] if k else []
    return {name: min(times) for name, times in took.items()}


def row(what, times, images=1, **more):
    """``times``: {way: seconds}, ours first, as ``rivals`` gives them."""
    (ours, mine), *others = times.items()
    said = {"what": what, "way": ours, "ms": 1000 * mine / images} | more
    if others:
        ((name, theirs),) = others
        said |= {"against": name, "against_ms": 1000 * theirs / images, "ratio": theirs / mine}
    return said


def smears(data, kind, count):
    """Real images (h, w, 3) evenly taken from the folder, or drawn ones."""
    paths = sorted(data.glob(REAL[kind])) if data else []
    if paths:
        return [first_frame(path) for path in paths[:: max(1, len(paths) // count)][:count]]
    draw = {"smear-field": ("Pre-B", synthetic.draw_field), "smear-cell": ("Blast", synthetic.draw_cell)}[kind]
    return [draw[1](draw[0], seed) for seed in range(count)]


def coded(image, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format=kind, **options)
    return stream.getvalue()


def slide(folder, frames, side, syntax=JPEGBaseline8Bit, photometric="YBR_FULL_422"):
    """One level of a slide, with the table of its frames, as a file."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = VLWholeSlideMicroscopyImageStorage, generate_uid(), "SM"
    ds.Rows = ds.Columns = side
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation = len(frames), 3, photometric
    ds.PlanarConfiguration, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 0, 8, 8, 7, 0
    if len(frames) > 1:
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    path = folder / f"{syntax.name.split()[1]}-{len(frames)}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def decoding(fields, rounds):
    jpegs = [coded(image, "JPEG", quality=90) for image in fields]
    by_pillow = lambda: [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs]  # noqa: E731
    by_opencv = lambda: [cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1) for jpeg in jpegs]  # noqa: E731
    yield row(
        "JPEG, 224 × 224", rivals(rounds, **{"Pillow": by_pillow, "OpenCV, unconverted BGR": by_opencv}), len(jpegs)
    )
    with tempfile.TemporaryDirectory() as name:
        folder, tile = Path(name), np.asarray(Image.fromarray(fields[0]).resize((256, 256)))
        for what, picture, syntax, colours in (
            ("DICOM frame, JPEG, 256 × 256", coded(tile, "JPEG"), JPEGBaseline8Bit, "YBR_FULL_422"),
            ("DICOM frame, JPEG 2000, 256 × 256", coded(tile, "JPEG2000", no_jp2=True, mct=1), JPEG2000, "YBR_RCT"),
        ):
            yield row(what, _frame(slide(folder, [picture], 256, syntax, colours), rounds))
        yield row(f"whole slide, {SLIDE_FRAMES:,} frames", _slide(folder, tile, rounds))


def _frame(path, rounds):
    pixels, dataset = opened(path, path.name), dcmread(path)
    ways = {"direct": lambda: decoded(pixels, 0), "pydicom's default": lambda: pixel_array(dataset, index=0)}
    return rivals(4 * rounds, **ways)


def _slide(folder, tile, rounds):
    """Opening, looking for frames that show cells, decoding those; against the same looks at whole frames."""
    glass, cells = coded(np.full_like(tile, 240), "JPEG"), coded(tile, "JPEG")
    path = slide(folder, [cells if k % 3 else glass for k in range(SLIDE_FRAMES)], 256)

    def theirs():
        dataset = dcmread(path)
        for index in evenly(SLIDE_FRAMES, LOOKS * MAX_FRAMES):
            pixel_array(dataset, index=index).std()

    ours = {f"{MAX_FRAMES} of them, after a glance at {LOOKS * MAX_FRAMES}": lambda: list(_read(path))}
    return rivals(max(1, rounds // 2), **ours, **{f"pydicom decodes the {LOOKS * MAX_FRAMES}": theirs})


def _read(path):
    return read(path, path.name, MAX_PIXELS, MIN_SIDE)[0]


def preparing(fields, cells, rounds):
    how = {"side": SIDE, "masked_corner": 0.15, "view": "field"}
    large = [np.asarray(Image.fromarray(image).resize((2560, 1920))) for image in fields[:2]]

    def by_skimage(image):
        small = resize(image, (SIDE, SIDE), anti_aliasing=image.shape[0] > SIDE, preserve_range=True)
        return normalise(np.round(small).astype(np.uint8))

    for what, images in (("field, 224 × 224", fields), ("field, 2560 × 1920", large)):
        ways = {
            "OpenCV's shrinking": lambda images=images: [prepare(image, how) for image in images],
            "scikit-image's": lambda images=images: [by_skimage(image) for image in images],
        }
        yield row(f"prepare a {what}", rivals(rounds, **ways), len(images))
    found = {"finding the nucleus": lambda: [prepare(image, {"side": SIDE, "view": "cell"}) for image in cells[:8]]}
    yield row("prepare a cell, 360 × 363", rivals(rounds, **found), len(cells[:8]))
    for what, images in (("field, 224 × 224", fields), ("cell, 360 × 363", cells[:8]), ("field, 2560 × 1920", large)):
        judged = {"as it is": lambda images=images: [quality.measure(image) for image in images]}
        yield row(f"judge the quality of a {what}", rivals(rounds, **judged), len(images))


def networks(trunk, threads, rounds):
    """Images a second of one network after the other, by torch and by OpenVINO."""
    named = {"trunk": (trunk, 32)} | {
        name: (getattr(models, name)(weights=None), batch) for name, batch in NETWORKS.items()
    }
    for name, (module, batch) in named.items():
        images = np.random.default_rng(0).integers(0, 255, (batch, SIDE, SIDE, 3)).astype(np.uint8)
        made = engines(module.eval().to(memory_format=torch.channels_last), SIDE, threads)
        ways = {way: lambda engine=engine: engine.run(images) for way, engine in made.items()}  # noqa: B023
        times = rivals(rounds, **ways)
        yield {"network": name, "batch": batch, "images_per_second": {way: batch / t for way, t in times.items()}}
        print(name, {way: round(batch / t, 1) for way, t in times.items()}, flush=True)


def engines(module, side, threads):
    model, plan = converted(module, side), Plan(side=side)
    made = {"torch": Engine(module, plan)}
    return made | {said: Engine(module, plan, said, threads=threads, model=model) for said in PRECISIONS}


def bundle_checks(name, images, threads, rounds):
    """What the shipped bundle answers through OpenVINO, against torch, on prepared images."""
    model = load_model(load_bundle(find_bundle(name)))
    temperature = float(model.bundle.manifest["calibration"]["image_temperature"])
    pictures = np.stack([prepare(image, model.bundle.manifest["preprocessing"])[0] for image in images])

    def answer(features):
        return apply_temperature(model.heads["image"].logits(features), temperature)

    def scope(features):
        score = model.scope.score(model.projection.distance(features))
        return np.column_stack([score, 1 - score])

    made = engines(model.trunk, pictures.shape[1], threads)
    whole = made["f32"].model
    made["int8"] = Engine(model.trunk, Plan(), "f32", threads=threads, model=quantised(whole, pictures[::4]))
    speeds = rivals(3 * rounds, **{way: lambda e=engine: e.run(pictures[:32]) for way, engine in made.items()})
    for precision, engine in made.items():
        if precision == "torch":
            continue
        said = check(engine, model.trunk, pictures, answer)
        more = {"in_scope": check(engine, model.trunk, pictures, scope)["probability"]}
        more |= {"ratio": speeds["torch"] / speeds[precision]}
        yield {"bundle": model.bundle.reference, "precision": precision} | said | more


def machine(threads):
    core = openvino().Core()
    return {
        "processor": core.get_property("CPU", "FULL_DEVICE_NAME"),
        "capabilities": sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        "cores": cores(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
        "openvino": openvino().get_version(),
        "torch": torch.__version__,
    }


def run(said):
    torch.set_num_threads(said.threads)
    cv2.setNumThreads(1)
    fields, cells = (smears(said.data, kind, 16) for kind in REAL)
    report = {"machine": machine(said.threads), "drawn": said.data is None}
    report["stages"] = [*decoding(fields, said.rounds), *preparing(fields, cells, said.rounds)]
    trunk = load_model(load_bundle(find_bundle("smear-field"))).trunk
    report["networks"] = list(networks(trunk, said.threads, said.rounds))
    report["bundles"] = [
        found
        for name in said.bundles
        for found in bundle_checks(name, smears(said.data, name, said.images), said.threads, said.rounds)
    ]
    said.out.parent.mkdir(parents=True, exist_ok=True)
    said.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return report


HEAD = """\
On {processor}, {threads} threads, OpenVINO {openvino}, torch {torch}; the machine's load was {load} on {cores} cores \
when it began. Images were {images}. A ratio above 1 means: quicker than what it stands against.\
"""
SPEED = "Images a second at 224 × 224, and the ratio to torch; random weights but for the trunk."
SAME = """\
The same answers? Largest differences to torch on images of each bundle. bf16 is used where the processor multiplies \
matrices in it (AMX) and only within the tolerance of `ml/engine.py`; int8, with ranges learned from a quarter of the \
images and nothing corrected, is measured and not used.\
"""


def section(report):
    """Markdown of ``imaging.json``."""
    on = report["machine"] | {"images": "drawn" if report["drawn"] else "real"}
    apart = ("probability", "in-scope score", "labels changed", "ratio to torch")
    return [
        "## How fast, and the same answers",
        "",
        HEAD.format(**on | {"openvino": on["openvino"].split("-")[0]}),
        "",
        *table(("stage", "", "ms", "against", "ms", "ratio"), map(_stage, report["stages"])),
        "",
        SPEED,
        "",
        *table(("network", "torch", *(f"OpenVINO {p}" for p in PRECISIONS)), map(_network, report["networks"])),
        "",
        SAME,
        "",
        *table(("bundle", "OpenVINO", "images", *apart), map(_check, report["bundles"])),
    ]


def _stage(said):
    ours = [said["what"], said["way"], f"{said['ms']:.2f}"]
    if "against" not in said:
        return [*ours, "–", "–", "–"]
    return [*ours, said["against"], f"{said['against_ms']:.2f}", f"{said['ratio']:.1f}"]


def _network(said):
    speed = said["images_per_second"]
    shown = [f"{speed[p]:.1f} ({speed[p] / speed['torch']:.2f})" for p in PRECISIONS]
    return [said["network"], f"{speed['torch']:.1f}", *shown]


def _check(said):
    apart = [f"{said[key]:.1e}" if said[key] < 1e-3 else f"{said[key]:.3f}" for key in ("probability", "in_scope")]
    return [said["bundle"], said["precision"], said["n"], *apart, said["changed"], f"{said['ratio']:.2f}"]


if __name__ == "__main__":
    print("\n".join(section(run(arguments().parse_args()))))
