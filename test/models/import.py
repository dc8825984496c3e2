#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small networks as exporters write them, with the scores PyTorch computes: test/models/import/NAME.{onnx,npy}.

Some come from this machine's PyTorch (1.13), with dynamic batch and so with its Shape/Gather/Concat debris; the others are put together
node by node in the manner of PyTorch 2.x (both exporters), of old opset 7 files and of TensorFlow's converter, and PyTorch
evaluates the same function. test/nn/onnx_test.c imports all of them. Weights are rounded so that the files stay small and exact.
"""
import os
import sys
import warnings

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper as h, numpy_helper
from torch import nn

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "import")
IMAGES = 3


def pixels(shape):
    """The same stream as test/nn/onnx_test.c: a linear congruential generator seeded with the image's number."""
    out = np.zeros((IMAGES, int(np.prod(shape))), np.uint8)
    for n in range(IMAGES):
        x = n + 1
        for j in range(out.shape[1]):
            x = (x * 1103515245 + 12345) % 2**31
            out[n, j] = x >> 16 & 255
    return torch.from_numpy(out).float().reshape(IMAGES, *shape) / 255


def settle(model):
    """Weights with few bits, BatchNormalization statistics that are not trivial."""
    for p in list(model.parameters()) + [b for b in model.buffers() if b.dtype == torch.float32]:
        p.data = (p.data * 64).round() / 64
    for m in model.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            n = m.num_features
            m.running_mean = torch.arange(n) / 16.0 - 0.25
            m.running_var = 1 + torch.arange(n) / 8.0
            m.weight.data = 1 - torch.arange(n) / 4.0 * (1 if n < 8 else 0.5)
            m.bias.data = torch.arange(n) / 8.0 - 0.25
    return model.eval()


def save_scores(name, out):
    np.save(os.path.join(OUT, name + ".npy"), out.detach().numpy().astype(np.float32).reshape(IMAGES, -1))


def exported(name, model, shape, opset, fold=True, dynamic=True):
    model = settle(model)
    x = pixels(shape)
    axes = {"x": {0: "batch"}, "y": {0: "batch"}} if dynamic else None
    mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, x[:1], os.path.join(OUT, name + ".onnx"), opset_version=opset, input_names=["x"], output_names=["y"],
                          dynamic_axes=axes, training=mode, do_constant_folding=fold)
    save_scores(name, torch.cat([model(x[i:i + 1]) for i in range(IMAGES)]))


class Fn(nn.Module):
    """A function of the input with named layers."""

    def __init__(self, fn, **layers):
        super().__init__()
        self.fn = fn
        for k, v in layers.items():
            setattr(self, k, v)

    def forward(self, x):
        return self.fn(self, x)


def torch_cases():
    torch.manual_seed(3)
    head = lambda n: nn.Linear(n, 5)
    for opset in (7, 9, 11, 13, 16):
        exported("view_opset%d" % opset,
                 Fn(lambda m, x: m.f(torch.relu(m.c(x)).view(x.size(0), -1)), c=nn.Conv2d(1, 3, 3), f=head(48)), (1, 6, 6), opset)
    for opset in (9, 11, 14):
        exported("pad_opset%d" % opset,
                 Fn(lambda m, x: m.f(m.c(F.pad(torch.relu(m.b(x)), (1, 2, 0, 1))).flatten(1)), b=nn.Conv2d(2, 3, 3), c=nn.Conv2d(3, 2, 3), f=head(30)),
                 (2, 6, 6), opset)
    exported("pad_pools", Fn(lambda m, x: m.f(torch.cat([F.max_pool2d(F.pad(torch.relu(m.c(x)), (1, 1, 1, 1)), 3, 2),
                                                         F.max_pool2d(F.pad(m.c(x), (0, 1, 0, 1)), 3, 2),
                                                         F.avg_pool2d(F.pad(m.c(x), (1, 1, 1, 1)), 3, 2)], 1).flatten(1)),
                             c=nn.Conv2d(1, 2, 3), f=head(54)), (1, 8, 8), 11)
    exported("conv_shapes", nn.Sequential(nn.Conv2d(4, 8, (3, 2), (1, 2), (1, 0), (1, 2), groups=2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 2, 2, groups=8),
                                          nn.ReLU(), nn.Conv2d(8, 6, 1, bias=False), nn.Flatten(), head(48)), (4, 7, 8), 13)
    exported("pools",
             Fn(lambda m, x: m.f(torch.cat([m.a(x), m.b(x), m.d(x)], 1).flatten(1)),
                a=nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(3, 2, 1, True, True)),
                b=nn.Sequential(nn.Conv2d(1, 2, 1), nn.AvgPool2d(3, 2, 1, True, False)),
                d=nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2, 1, 1, False, True)), f=head(100)), (1, 8, 8), 12)
    exported("maxpool_dilated", nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, 2, 0, 2), nn.Flatten(), head(18)), (1, 9, 9), 11)
    exported("residual_bn", Fn(lambda m, x: m.f(F.adaptive_avg_pool2d(torch.relu(m.b2(m.c2(torch.relu(m.b1(m.c1(x))))) + m.s(x)), 1).flatten(1)),
                               c1=nn.Conv2d(2, 4, 3, 1, 1, bias=False), b1=nn.BatchNorm2d(4), c2=nn.Conv2d(4, 4, 3, 1, 1), b2=nn.BatchNorm2d(4),
                               s=nn.Conv2d(2, 4, 1), f=head(4)), (2, 6, 6), 13, fold=False)
    exported("bn_first", nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), head(144)), (3, 6, 6), 13, fold=False)
    exported("bn_negative", nn.Sequential(nn.Conv2d(1, 6, 1), nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3, padding=1), nn.Flatten(), head(72)), (1, 6, 6), 12, fold=False)
    exported("bn_after_pools", nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 9, 3), nn.AvgPool2d(2), nn.BatchNorm2d(9),
                                             nn.ReLU(), nn.BatchNorm2d(9), nn.Dropout(), nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(),
                                             nn.BatchNorm1d(8), head(8)), (1, 10, 10), 13, fold=False)
    exported("bn_preactivation", Fn(lambda m, x: m.f(torch.relu(m.b(torch.cat([m.c(x), m.d(x)], 1))).mean(dim=(2, 3))), c=nn.Conv2d(1, 2, 3), d=nn.Conv2d(1, 3, 3),
                                    b=nn.BatchNorm2d(5), f=head(5)), (1, 6, 6), 13, fold=False)
    exported("squares", Fn(lambda m, x: m.f((m.c(x) ** 2 + m.d(x) * m.d(x)).flatten(1)), c=nn.Conv2d(1, 2, 3), d=nn.Conv2d(1, 2, 3), f=head(32)),
             (1, 6, 6), 13)
    exported("shared_square", Fn(lambda m, x: (lambda z: m.f((z * z - 0.5 * z).flatten(1)))(m.c(x)), c=nn.Conv2d(1, 2, 3), f=head(32)), (1, 6, 6), 13)
    exported("normalise_valid", Fn(lambda m, x: m.f(torch.relu(m.c((x - 0.25) / 0.5)).flatten(1)), c=nn.Conv2d(1, 2, 3), f=head(32)), (1, 6, 6), 13)
    exported("normalise_padded", Fn(lambda m, x: m.f(torch.relu(m.c((x - torch.tensor([.5, .25]).view(1, 2, 1, 1)) / torch.tensor([.5, 2.]).view(1, 2, 1, 1))).flatten(1)),
                                    c=nn.Conv2d(2, 2, 3, 1, 1), f=head(72)), (2, 6, 6), 13)
    exported("normalise_negative", Fn(lambda m, x: m.f(torch.relu(m.c(1 - 2 * x)).flatten(1)), c=nn.Conv2d(1, 2, 3, 1, 1), f=head(72)), (1, 6, 6), 13)
    exported("scalings", Fn(lambda m, x: -(m.f(torch.relu(m.c(2 * x - 1) * 0.5 + 0.125).flatten(1) / 4 - 0.5) * 3 + torch.arange(5) / 8.0),
                            c=nn.Conv2d(1, 2, 3), f=head(32)), (1, 6, 6), 11)
    for opset in (9, 12):
        exported("clips_opset%d" % opset,
                 Fn(lambda m, x: m.f(torch.cat([F.relu6(8 * m.c(x)), F.hardtanh(m.c(x), -0.25, 0.5), m.c(x).clamp(min=-0.25), m.c(x).clamp(max=0.125),
                                                F.leaky_relu(m.c(x), 0.25)], 1).flatten(1)), c=nn.Conv2d(1, 2, 3), f=head(160)), (1, 6, 6), opset)
    exported("leaky", Fn(lambda m, x: m.f(F.leaky_relu(m.c(x), 0.25).flatten(1)), c=nn.Conv2d(1, 2, 3), f=head(32)), (1, 6, 6), 13)
    exported("matmul_tokens", Fn(lambda m, x: m.f(m.g(x.reshape(-1, 1, 36)).relu()).squeeze(1), g=nn.Linear(36, 7), f=head(7)), (1, 6, 6), 13)
    for opset in (11, 13):
        exported("squeeze_opset%d" % opset,
                 Fn(lambda m, x: m.f(F.adaptive_avg_pool2d(m.c(x), 1).squeeze(3).squeeze(2).unsqueeze(1).squeeze(1)), c=nn.Conv2d(1, 4, 3), f=head(4)),
                 (1, 6, 6), opset)
    exported("permuted", Fn(lambda m, x: m.f(torch.relu(m.c(x)).permute(0, 2, 3, 1).reshape(x.shape[0], -1)), c=nn.Conv2d(1, 3, 3), f=head(48)), (1, 6, 6), 13)
    exported("many_inputs", Fn(lambda m, x: m.f(torch.cat([m.c(x) * k for k in range(1, 12)], 1).mean((2, 3), keepdim=True).flatten(1)), c=nn.Conv2d(1, 2, 3), f=head(22)),
             (1, 6, 6), 13)
    exported("flat_input", nn.Sequential(nn.Linear(49, 6), nn.ReLU(), head(6)), (49,), 13)
    exported("flat_to_image", Fn(lambda m, x: m.f(torch.relu(m.c(x.view(-1, 2, 5, 4))).flatten(1)), c=nn.Conv2d(2, 2, 2), f=head(24)), (40,), 13)
    exported("fixed_batch", nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), head(32)), (1, 6, 6), 13, dynamic=False)
    for opset in (11, 13):
        exported("softmax_opset%d" % opset, nn.Sequential(nn.Flatten(), head(36), nn.Softmax(1)), (1, 6, 6), opset)
    exported("logsoftmax", nn.Sequential(nn.Flatten(), head(36), nn.LogSoftmax(-1)), (1, 6, 6), 13)
    exported("sigmoid", nn.Sequential(nn.Flatten(), head(36), nn.Sigmoid()), (1, 6, 6), 13)
    # an ArgMax leaves the scores themselves to the client: the file holds what stands before it
    argmax = Fn(lambda m, x: (lambda z: z.argmax(1) if m.top else z)(m.f(x.flatten(1))), f=head(36))
    argmax.top = True
    exported("argmax", argmax, (1, 6, 6), 13)
    argmax.top = False
    save_scores("argmax", argmax(pixels((1, 6, 6))))


class Build:
    """A graph node by node."""

    def __init__(self, opset, ir, dims, out="scores", typed=False, listed=False):
        self.opset, self.ir, self.dims, self.out, self.typed, self.listed = opset, ir, dims, out, typed, listed
        self.nodes, self.init = [], []

    def const(self, name, value):
        a = np.array(value)
        a = a.astype(np.float32) if a.dtype.kind == "f" else a.astype(np.int64)
        if self.typed:
            kind = TensorProto.FLOAT if a.dtype == np.float32 else TensorProto.INT64
            self.init.append(h.make_tensor(name, kind, a.shape, a.flatten().tolist()))
        else:
            self.init.append(numpy_helper.from_array(a, name))
        return name

    def node(self, op, inputs, out, **attrs):
        self.nodes.append(h.make_node(op, inputs, out if isinstance(out, list) else [out], name="/" + (out if isinstance(out, str) else out[0]) + "/" + op, **attrs))
        return out if isinstance(out, str) else out[0]

    def save(self, name, scores, elem=TensorProto.FLOAT):
        inputs = [h.make_tensor_value_info("x", elem, self.dims)]
        if self.listed:
            inputs += [h.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in self.init]
        g = h.make_graph(self.nodes, "main_graph", inputs, [h.make_tensor_value_info(self.out, TensorProto.FLOAT, None)], self.init)
        m = h.make_model(g, opset_imports=[h.make_opsetid("", self.opset)], producer_name="pytorch", producer_version="2.5.1")
        m.ir_version = self.ir
        onnx.save(m, os.path.join(OUT, name + ".onnx"))
        save_scores(name, scores)


def weights(seed, *shape):
    return torch.from_numpy(np.random.RandomState(seed).randint(-32, 33, shape).astype(np.float32) / 64)


def torchscript2(opset, ir):
    """PyTorch 2.x, default exporter: view(x.size(0), -1) with a symbolic batch, mean over axes as an input from opset 18."""
    x = pixels((1, 8, 8))
    w, b, w2, b2 = weights(1, 4, 1, 3, 3), weights(2, 4), weights(3, 5, 36), weights(4, 5)
    g = Build(opset, ir, ["batch", 1, 8, 8])
    g.const("conv.weight", w.numpy()), g.const("conv.bias", b.numpy()), g.const("fc.weight", w2.numpy()), g.const("fc.bias", b2.numpy())
    g.node("Conv", ["x", "conv.weight", "conv.bias"], "c", dilations=[1, 1], group=1, kernel_shape=[3, 3], pads=[0, 0, 0, 0], strides=[1, 1])
    g.node("Relu", ["c"], "r")
    g.node("MaxPool", ["r"], "p", ceil_mode=0, dilations=[1, 1], kernel_shape=[2, 2], pads=[0, 0, 0, 0], strides=[2, 2])
    g.node("Shape", ["p"], "s")
    g.node("Constant", [], "zero", value=numpy_helper.from_array(np.array(0, np.int64)))
    g.node("Gather", ["s", "zero"], "n", axis=0)
    g.node("Constant", [], "axes", value=numpy_helper.from_array(np.array([0], np.int64)))
    g.node("Unsqueeze", ["n", "axes"], "n1")
    g.node("Constant", [], "rest", value=numpy_helper.from_array(np.array([-1], np.int64)))
    g.node("Concat", ["n1", "rest"], "shape", axis=0)
    g.node("Reshape", ["p", "shape"], "v", allowzero=0)
    g.node("Gemm", ["v", "fc.weight", "fc.bias"], "scores", alpha=1.0, beta=1.0, transB=1)
    g.save("torch2_view_opset%d" % opset, F.linear(F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2).flatten(1), w2, b2))


def dynamo():
    """PyTorch 2.x, torch.export-based exporter: opset 18, BatchNormalization kept, weights transposed by a node, Shape with start and end."""
    x = pixels((3, 7, 7))
    w, s, t, mean, var = weights(5, 4, 3, 3, 3), weights(6, 4) + 1, weights(7, 4), weights(8, 4), weights(9, 4) ** 2 + 0.5
    w2, b2, w3, b3 = weights(10, 6, 4), weights(11, 6), weights(12, 5, 6), weights(13, 5)
    g = Build(18, 10, ["s0", 3, 7, 7])
    for k, v in (("conv.weight", w), ("bn.weight", s), ("bn.bias", t), ("bn.running_mean", mean), ("bn.running_var", var), ("fc1.weight", w2),
                 ("fc1.bias", b2), ("fc2.weight", w3), ("fc2.bias", b3)):
        g.const(k, v.numpy())
    g.const("val_axes", [-1, -2])
    g.const("val_minus", [-1])
    g.node("Conv", ["x", "conv.weight"], "conv2d", group=1, pads=[1, 1, 1, 1], auto_pad="NOTSET", strides=[2, 2], dilations=[1, 1])
    g.node("BatchNormalization", ["conv2d", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], "getitem", epsilon=1e-5, momentum=0.9, training_mode=0)
    g.node("Relu", ["getitem"], "relu")
    g.node("ReduceMean", ["relu", "val_axes"], "mean", keepdims=0, noop_with_empty_axes=0)
    g.node("Shape", ["x"], "sym_size", start=0, end=1)
    g.node("Concat", ["sym_size", "val_minus"], "val_shape", axis=0)
    g.node("Reshape", ["mean", "val_shape"], "view", allowzero=1)
    g.node("Transpose", ["fc1.weight"], "t", perm=[1, 0])
    g.node("MatMul", ["view", "t"], "mm")
    g.node("Add", ["mm", "fc1.bias"], "linear")
    g.node("Relu", ["linear"], "relu_1")
    g.node("Gemm", ["relu_1", "fc2.weight", "fc2.bias"], "scores", beta=1.0, transB=1, alpha=1.0, transA=0)
    y = F.relu(F.batch_norm(F.conv2d(x, w, None, 2, 1), mean, var, s, t)).mean((2, 3))
    g.save("torch2_dynamo", F.linear(F.relu(F.linear(y, w2, b2)), w3, b3))


def pad_debris():
    """F.pad with a symbolic batch as the TorchScript exporter writes it, and Pad of opset 18 with axes."""
    x = pixels((2, 5, 6))
    w, b, w2 = weights(14, 2, 2, 3, 3), weights(15, 2), weights(16, 5, 2 * 6 * 6)
    g = Build(18, 8, ["N", 2, 5, 6])
    g.const("w", w.numpy()), g.const("b", b.numpy()), g.const("w2", w2.numpy())
    c = lambda name, value: g.node("Constant", [], name, value=numpy_helper.from_array(np.array(value, np.int64)))
    c("four", [4])
    g.node("ConstantOfShape", ["four"], "fill", value=numpy_helper.from_array(np.array([0], np.int64)))
    c("lr", [1, 0, 2, 1])
    g.node("Concat", ["lr", "fill"], "all", axis=0)
    c("two", [-1, 2])
    g.node("Reshape", ["all", "two"], "pairs", allowzero=0)
    c("zero", [0]), c("last", [-1]), c("first", [-2**63 + 1])
    g.node("Slice", ["pairs", "last", "first", "zero", "last"], "turned")
    g.node("Transpose", ["turned"], "columns", perm=[1, 0])
    c("flat", [-1])
    g.node("Reshape", ["columns", "flat"], "pads0", allowzero=0)
    g.node("Cast", ["pads0"], "pads", to=7)
    g.node("Pad", ["x", "pads", ""], "padded", mode="constant")
    g.node("Conv", ["padded", "w", "b"], "c", kernel_shape=[3, 3])
    g.node("Relu", ["c"], "r")
    c("one", [0, 1]), c("axis", [3])
    g.node("Pad", ["r", "one", "", "axis"], "wider", mode="constant")
    c("dims", [0, -1])
    g.node("Reshape", ["wider", "dims"], "v")
    g.node("Gemm", ["v", "w2"], "scores", transB=1)
    y = F.pad(F.relu(F.conv2d(F.pad(x, (1, 0, 2, 1)), w, b)), (0, 1))
    g.save("torch2_pad_debris", F.linear(y.flatten(1), w2))


def old():
    """Opset 7, IR 3: initialisers listed among the inputs, typed data, spatial attribute, second outputs, attribute forms."""
    x = pixels((1, 6, 6))
    w, s, t, mean, var = weights(17, 3, 1, 3, 3), weights(18, 3) + 1, weights(19, 3), weights(20, 3), weights(21, 3) ** 2 + 0.5
    w2, b2 = weights(22, 12, 5), weights(23, 5)
    g = Build(7, 3, [1, 1, 6, 6], typed=True, listed=True)
    for k, v in (("w", w), ("s", s), ("t", t), ("mean", mean), ("var", var), ("w2", w2), ("b2", b2)):
        g.const(k, v.numpy())
    g.const("shape", [1, 12])
    g.node("Conv", ["x", "w"], "c", kernel_shape=[3, 3], auto_pad="VALID")
    g.node("BatchNormalization", ["c", "s", "t", "mean", "var"], ["bn"], epsilon=0.001, spatial=1, momentum=0.9)
    g.node("Relu", ["bn"], "r")
    g.node("AveragePool", ["r"], "a", kernel_shape=[2, 2], strides=[2, 2])
    g.node("Dropout", ["a"], ["d", "mask"], ratio=0.5)
    g.node("Reshape", ["d", "shape"], "v")
    g.node("MatMul", ["v", "w2"], "mm")
    g.node("Add", ["mm", "b2"], "sum")
    g.node("Softmax", ["sum"], "scores", axis=1)
    y = F.relu(F.batch_norm(F.conv2d(x, w), mean, var, s, t, eps=0.001))
    g.save("old_opset7", F.softmax(F.avg_pool2d(y, 2).flatten(1) @ w2 + b2, 1))


def keras():
    """As TensorFlow's converter writes: channels last, transposed in and out, SAME padding, biases apart."""
    x = pixels((3, 7, 7))
    w, b, w2, b2 = weights(24, 4, 3, 3, 3), weights(25, 1, 4, 1, 1), weights(26, 64, 5), weights(27, 5)
    g = Build(15, 8, ["unk__6", 7, 7, 3])
    for k, v in (("w", w), ("b", b), ("w2", w2), ("b2", b2)):
        g.const(k, v.numpy())
    g.const("shape", [-1, 64])
    g.node("Transpose", ["x"], "nchw", perm=[0, 3, 1, 2])
    g.node("Conv", ["nchw", "w"], "c", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2], dilations=[1, 1], group=1)
    g.node("Add", ["c", "b"], "cb")
    g.node("Relu", ["cb"], "r")
    g.node("Transpose", ["r"], "nhwc", perm=[0, 2, 3, 1])
    g.node("Reshape", ["nhwc", "shape"], "v")
    g.node("MatMul", ["v", "w2"], "mm")
    g.node("Add", ["mm", "b2"], "scores")
    y = F.relu(F.conv2d(x, w, None, 2, 1) + b)  # 7 → 4: SAME pads one row on either side
    g.save("keras_nhwc", y.permute(0, 2, 3, 1).flatten(1) @ w2 + b2)


def same_lower():
    """SAME_UPPER and SAME_LOWER put an odd pad on different sides."""
    x = pixels((1, 6, 6))
    w, v, w2 = weights(28, 2, 1, 2, 2), weights(29, 2, 1, 2, 2), weights(30, 5, 144)
    g = Build(21, 10, ["b", 1, 6, 6])
    g.const("w", w.numpy()), g.const("v", v.numpy()), g.const("w2", w2.numpy())
    g.node("Conv", ["x", "w"], "up", auto_pad="SAME_UPPER")
    g.node("Conv", ["x", "v"], "low", auto_pad="SAME_LOWER")
    g.node("Concat", ["up", "low"], "both", axis=-3)
    g.node("Flatten", ["both"], "flat")
    g.node("Gemm", ["flat", "w2"], "scores", transB=1)
    y = torch.cat([F.conv2d(F.pad(x, (0, 1, 0, 1)), w), F.conv2d(F.pad(x, (1, 0, 1, 0)), v)], 1)
    g.save("auto_pad_opset21", F.linear(y.flatten(1), w2))


def gemm():
    """alpha, beta, transA, transB, the vector at either side, scalar biases, Sum, Neg, Identity, a dead branch that cannot be imported."""
    x = pixels((1, 4, 4))
    w, b, w2, b2, w3 = weights(31, 16, 6), weights(32, 6), weights(33, 6, 7), weights(34, 7, 1), weights(35, 5, 7)
    g = Build(13, 7, [1, 1, 4, 4])
    for k, v in (("w", w), ("b", b), ("w2", w2), ("b2", b2), ("w3", w3)):
        g.const(k, v.numpy())
    g.const("half", 0.5), g.const("column", [16, 1])
    g.node("Reshape", ["x", "column"], "xc")
    g.node("Gemm", ["xc", "w", "b"], "y1", transA=1, alpha=0.5, beta=2.0)
    g.node("Relu", ["y1"], "r1")
    g.node("Erf", ["r1"], "unused")
    g.node("Gemm", ["w2", "r1", "b2"], "y2", transA=1, transB=1, alpha=2.0)
    g.node("Neg", ["y2"], "n2")
    g.node("Sum", ["n2", "y2", "y2"], "s2")
    g.node("MatMul", ["w3", "s2"], "y3")
    g.node("Transpose", ["y3"], "row")
    g.node("Sub", ["half", "row"], "sub")
    g.node("Identity", ["sub"], "scores")
    y = F.relu(0.5 * (x.flatten(1) @ w) + 2 * b)
    y = 2 * (y @ w2) + b2.T
    g.save("gemm_forms", 0.5 - y @ w3.T)


def bytes_input():
    """8-bit input and a Cast, as quantisation-minded exporters write."""
    x = pixels((1, 5, 5))
    w = weights(36, 5, 25)
    g = Build(13, 7, ["n", 1, 5, 5])
    g.const("w", w.numpy()), g.const("scale", 255.0)
    g.node("Cast", ["x"], "f", to=1)
    g.node("Div", ["f", "scale"], "n")
    g.node("Flatten", ["n"], "v")
    g.node("Gemm", ["v", "w"], "scores", transB=1)
    g.save("bytes_input", F.linear(x.flatten(1), w), elem=TensorProto.UINT8)


def bad():
    """test/models/bad: what every command must refuse, with exit code 3 and one line."""
    def dense(name, w, middle):
        g = Build(13, 7, [1, 1, 4, 4])
        g.const("w", w)
        g.node("Flatten", ["x"], "v")
        g.node("MatMul", ["v", "w"], "mm")
        g.node(middle, ["mm"], "scores")
        m = h.make_model(h.make_graph(g.nodes, "main_graph", [h.make_tensor_value_info("x", TensorProto.FLOAT, g.dims)],
                                      [h.make_tensor_value_info("scores", TensorProto.FLOAT, None)], g.init), opset_imports=[h.make_opsetid("", 13)])
        m.ir_version = 7
        onnx.save(m, os.path.join(OUT, "..", "bad", name + ".onnx"))

    os.makedirs(os.path.join(OUT, "..", "bad"), exist_ok=True)
    w = weights(37, 16, 5).numpy()
    dense("unsupported", w, "Erf")
    dense("overflow", w * 1e30, "Relu")  # finite, but no interval of it fits 62 bits
    w[3, 2] = np.nan
    dense("nan", w, "Relu")


def main():
    os.makedirs(OUT, exist_ok=True)
    bad()
    torch_cases()
    for opset, ir in ((14, 7), (17, 8), (18, 8), (20, 9)):
        torchscript2(opset, ir)
    dynamo(), pad_debris(), old(), keras(), same_lower(), gemm(), bytes_input()


if __name__ == "__main__":
    sys.exit(main())
