# SPDX-License-Identifier: Apache-2.0
"""What the kernels compute, written with NumPy loops in float64: slow, short, obvious."""

import itertools
import math

import numpy as np


def conv(x, w, strides, pads, dilation, groups=1):
    """y[o, c] = sum over places k and inputs i of x[o * stride + k * dilation - low, i] w[k, i, c]."""
    spatial = w.shape[:-2]
    padded = padded_images(x, pads)
    counts = conv_counts(x.shape[1:-1], spatial, strides, pads, dilation)
    y = np.zeros((x.shape[0], *counts, w.shape[-1]))
    each_in, each_out = x.shape[-1] // groups, w.shape[-1] // groups
    for place in itertools.product(*map(range, spatial)):
        view = padded[conv_window(place, counts, strides, dilation)]
        for g in range(groups):
            outs = slice(g * each_out, (g + 1) * each_out)
            y[..., outs] += view[..., g * each_in : (g + 1) * each_in] @ w[place][:, outs].astype("float64")
    return y


def conv_counts(sizes, kernel, strides, pads, dilation):
    """The number of outputs in each dimension."""
    return [
        (n + low + high - (k - 1) * d - 1) // s + 1
        for n, (low, high), k, s, d in zip(sizes, pads, kernel, strides, dilation)
    ]


def conv_window(place, counts, strides, dilation):
    """What one place of the kernel sees of the padded images."""
    return (
        slice(None),
        *(slice(p * d, p * d + (m - 1) * s + 1, s) for p, m, s, d in zip(place, counts, strides, dilation)),
    )


def conv_gradients(x, w, dy, strides, pads, dilation, groups=1):
    """The gradients of sum(dy * conv(x, w)) with respect to x and w."""
    spatial, counts = w.shape[:-2], dy.shape[1:-1]
    padded = padded_images(x, pads)
    dx, dw = np.zeros_like(padded), np.zeros(w.shape)
    each_in, each_out = x.shape[-1] // groups, w.shape[-1] // groups
    for place in itertools.product(*map(range, spatial)):
        window = conv_window(place, counts, strides, dilation)
        for g in range(groups):
            ins, outs = slice(g * each_in, (g + 1) * each_in), slice(g * each_out, (g + 1) * each_out)
            d = dy[..., outs].astype("float64")
            dx[window][..., ins] += d @ w[place][:, outs].T.astype("float64")
            flat = padded[window][..., ins].reshape(-1, each_in)
            dw[place][:, outs] += flat.T @ d.reshape(-1, each_out)
    # Positions that a negative padding cuts off get nothing.
    dx = np.pad(dx, [(0, 0), *((max(-low, 0), max(-high, 0)) for low, high in pads), (0, 0)])
    inside = tuple(slice(max(low, 0), max(low, 0) + n) for (low, _), n in zip(pads, x.shape[1:-1]))
    return dx[(slice(None), *inside)], dw


def padded_images(x, pads):
    """x in float64 with zeros around it; negative padding cuts off."""
    x = np.pad(x.astype("float64"), [(0, 0), *((max(low, 0), max(high, 0)) for low, high in pads), (0, 0)])
    kept = tuple(slice(max(-low, 0), n - max(-high, 0)) for (low, high), n in zip(pads, x.shape[1:-1]))
    return x[(slice(None), *kept)]


def same_pads(sizes, kernel, strides, dilation):
    """Keras's 'same': ceil(size / stride) outputs, the odd place at the end."""
    pads = []
    for n, k, s, d in zip(sizes, kernel, strides, dilation):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def pool(x, window, strides, pads, reduce):
    """`reduce` (np.max, np.mean) of the real places of each window."""
    counts = conv_counts(x.shape[1:-1], window, strides, pads, (1,) * len(window))
    y = np.zeros((x.shape[0], *counts, x.shape[-1]))
    for o in itertools.product(*map(range, counts)):
        inside = tuple(
            slice(max(i * s - low, 0), min(i * s - low + w, n))
            for i, s, (low, _), w, n in zip(o, strides, pads, window, x.shape[1:-1])
        )
        y[(slice(None), *o)] = reduce(x[(slice(None), *inside)], axis=tuple(range(1, x.ndim - 1)))
    return y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, h, c, kernel, recurrent_kernel, bias, mask=None):
    """Return (outputs, last h, last c); gates in the order i, f, g, o."""
    outputs, output = [], np.zeros_like(h)
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        valid = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        h, c, output = np.where(valid, new_h, h), np.where(valid, new_c, c), np.where(valid, new_h, output)
        outputs.append(output)
    return np.stack(outputs, 1), h, c


def gru(x, h, kernel, recurrent_kernel, bias, mask=None, reset_after=True):
    """Return (outputs, last h); gates in the order z, r, g."""
    units = h.shape[1]
    outputs, output = [], np.zeros_like(h)
    for t in range(x.shape[1]):
        px = x[:, t] @ kernel + (bias[0] if reset_after else bias)
        if reset_after:
            ph = h @ recurrent_kernel + bias[1]
            z = sigmoid(px[:, :units] + ph[:, :units])
            r = sigmoid(px[:, units : 2 * units] + ph[:, units : 2 * units])
            g = np.tanh(px[:, 2 * units :] + r * ph[:, 2 * units :])
        else:
            ph = h @ recurrent_kernel[:, : 2 * units]
            z, r = np.split(sigmoid(px[:, : 2 * units] + ph), 2, axis=-1)
            g = np.tanh(px[:, 2 * units :] + (r * h) @ recurrent_kernel[:, 2 * units :])
        new_h = z * h + (1 - z) * g
        valid = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        h, output = np.where(valid, new_h, h), np.where(valid, new_h, output)
        outputs.append(output)
    return np.stack(outputs, 1), h


def simple_rnn(x, h, kernel, recurrent_kernel, bias):
    """Return (outputs, last h)."""
    outputs = []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ kernel + h @ recurrent_kernel + bias)
        outputs.append(h)
    return np.stack(outputs, 1), h


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def attention(q, k, v, mask=None, bias=0.0):
    """(batch, tokens, heads, head size); return values and scores."""
    q, k, v = (a.transpose(0, 2, 1, 3) for a in (q, k, v))
    logits = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]) + bias
    if mask is not None:
        logits = np.where(mask, logits, -1e30)
    scores = softmax(logits)
    return (scores @ v).transpose(0, 2, 1, 3), scores


def normalize(x, axes, epsilon, shift=True):
    """(x - mean) / sqrt(variance + epsilon), or x / root mean square without the shift."""
    centered = x - x.mean(axis=axes, keepdims=True) if shift else x
    return centered / np.sqrt((centered**2).mean(axis=axes, keepdims=True) + epsilon)


def gelu(x, approximate=False):
    """Return x * Phi(x), or its tanh form, and the derivative."""
    if approximate:
        inside = np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)
        share, slope = (1 + np.tanh(inside)) / 2, np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x ** 2)
        return x * share, share + x * slope * (1 - np.tanh(inside) ** 2) / 2
    share = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.ravel()]).reshape(x.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return x * share, share + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def attention_gradients(q, k, v, dy, mask, causal, scale):
    """Return the result of attention, (batch, positions, heads, size), and the gradients of q, k and v."""
    group = q.shape[2] // k.shape[2]
    y, dq, dk, dv = np.zeros(dy.shape), np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            logits = scale * q[b, :, h] @ k[b, :, h // group].T
            visible = np.ones(logits.shape, bool)
            if causal:
                visible &= np.tril(visible)
            if mask is not None:
                visible &= np.broadcast_to(mask, (q.shape[0], q.shape[2], *logits.shape))[b, h]
            logits = np.where(visible, logits, -2.3e38)
            p = softmax(logits)
            y[b, :, h] = p @ v[b, :, h // group]
            dp = dy[b, :, h] @ v[b, :, h // group].T
            ds = np.where(visible, p * (dp - (p * dp).sum(-1, keepdims=True)), 0) * scale
            dq[b, :, h] = ds @ k[b, :, h // group]
            dk[b, :, h // group] += ds.T @ q[b, :, h]
            dv[b, :, h // group] += p.T @ dy[b, :, h]
    return y, dq, dk, dv
