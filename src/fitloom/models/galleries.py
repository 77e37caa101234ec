# SPDX-License-Identifier: Apache-2.0
"""`tf.keras.visualization`: images side by side, with labels, boxes or masks drawn on them."""
import math

import numpy as np

from fitloom import engine
from fitloom.base import config
from fitloom.ops.bounding_boxes import convert_format


def _library(name, package, function):
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"The `{function}` function requires the `{package}` package. Please install it with "
                          f"`pip install {package}`.") from error


def _images(images, data_format):
    """Return a batch of images as an array, channels last."""
    images = np.asarray(engine.convert_to_tensor(images).numpy())
    if images.ndim != 4:
        raise ValueError(f"`images` must be batched 4D tensor. Received: images.shape={images.shape}")
    first = (data_format or config.image_data_format()) == "channels_first"
    return images.transpose(0, 2, 3, 1) if first else images


def _bytes(images):
    """Return images as uint8; floats up to 1 are parts of 255."""
    if images.dtype.kind == "f":
        images = np.clip(images, 0, 1) * 255 if images.size and images.max() <= 1.0 else np.clip(images, 0, 255)
    return images.astype("uint8")


def plot_image_gallery(images, y_true=None, y_pred=None, label_map=None, rows=None, cols=None, value_range=(0, 255),
                       scale=2, path=None, show=None, transparent=True, dpi=60, legend_handles=None, data_format=None):
    """Show or save images in rows and columns.

    Args:
        images: (batch, height, width, channels).
        y_true, y_pred: class numbers (batch,), written above the images by `label_map`, a dict of names.
        rows, cols: of the gallery; by default as near to a square as holds all images.
        value_range: lowest and highest value of the images.
        scale: inches an image.
        path: file to save to; else the gallery is shown, unless `show` is False.
        transparent, dpi: of the file.
        legend_handles: matplotlib's, for a legend below.
        data_format: of the images.

    Raises:
        ValueError: images that are no batch, a path and `show`, or classes without `label_map`.
        ImportError: matplotlib is not installed.
    """
    if path is not None and show:
        raise ValueError("plot_image_gallery() expects either `path` to be set, or `show` to be true.")
    if (y_true is not None or y_pred is not None) and label_map is None:
        raise ValueError("If `y_true` or `y_pred` are provided, a `label_map` must also be provided.")
    images = _images(images, data_format)
    plt = _library("matplotlib.pyplot", "matplotlib", "plot_image_gallery")
    if rows is None:
        rows = math.ceil(len(images) / cols) if cols else math.ceil(math.sqrt(len(images)))
    cols = cols or math.ceil(len(images) / rows)
    low, high = value_range
    images = np.clip((images.astype("float32") - low) * (255.0 / (high - low)), 0, 255).astype("uint8")
    figure, axes = plt.subplots(rows, cols, figsize=(cols * scale, rows * scale), frameon=False, layout="tight",
                                squeeze=False, sharex="row", sharey="col")
    if legend_handles is not None:
        figure.legend(handles=legend_handles, loc="lower center")
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i >= len(images):
            continue
        axis.imshow(images[i] if images.shape[-1] != 1 else images[i, ..., 0], cmap="gray")
        axis.margins(x=0, y=0)
        said = [f"{word}: {label_map.get(int(classes[i]), 'Unknown')}"
                for word, classes in (("Label", y_true), ("Pred", y_pred)) if classes is not None and i < len(classes)]
        if said:
            axis.set_title("  ".join(said), fontsize=8)
    if path is not None:
        figure.savefig(path, pad_inches=0, bbox_inches="tight", transparent=transparent, dpi=dpi)
    elif show is None or show:
        plt.show()
    plt.close(figure)


def draw_bounding_boxes(images, bounding_boxes, bounding_box_format, class_mapping=None, color=(128, 128, 128),
                        line_thickness=2, text_thickness=1, font_scale=1.0, data_format=None):
    """Return the images as uint8 with the boxes drawn on them.

    Args:
        images: (batch, height, width, 3); floats up to 1, or numbers up to 255.
        bounding_boxes: dict of 'boxes' (batch, n, 4), 'labels' (batch, n), and perhaps 'confidences' (batch, n). A box
            with the label -1 is not drawn.
        bounding_box_format: of the boxes.
        class_mapping: dict of names, written at the boxes.
        color: red, green, blue up to 255.
        line_thickness, text_thickness: of lines and letters in pixels.
        font_scale: size of the letters; 1 is 12 pixels.
        data_format: of the images; the result has the channels last.

    Raises:
        ValueError: images that are no batch, or a dict without boxes and labels.
        TypeError: boxes that are no dict.
        ImportError: Pillow is not installed.
    """
    images = _bytes(_images(images, data_format))
    if not isinstance(bounding_boxes, dict):
        raise TypeError(f"`bounding_boxes` should be a dict. Received: bounding_boxes={bounding_boxes} of type "
                        f"{type(bounding_boxes)}")
    if "boxes" not in bounding_boxes or "labels" not in bounding_boxes:
        raise ValueError("`bounding_boxes` should be a dict containing 'boxes' and 'labels' keys. Received: "
                         f"keys {list(bounding_boxes)}")
    pillow = _library("PIL.Image", "pillow", "draw_bounding_boxes")
    draws, fonts = (_library(f"PIL.{name}", "pillow", "draw_bounding_boxes") for name in ("ImageDraw", "ImageFont"))
    boxes = convert_format(bounding_boxes["boxes"], bounding_box_format, "xyxy", *images.shape[1:3]).numpy()
    labels = np.asarray(bounding_boxes["labels"]).astype(int)
    confidences, names, color = bounding_boxes.get("confidences"), class_mapping or {}, tuple(int(c) for c in color)
    font = fonts.load_default(size=max(12 * font_scale, 1))
    drawn = []
    for i, image in enumerate(images):
        picture = pillow.fromarray(image)
        pen = draws.Draw(picture)
        for k, (x1, y1, x2, y2) in enumerate(boxes[i].astype(int).tolist()):
            label = int(labels[i, k])
            if label == -1:
                continue
            pen.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), outline=color, width=line_thickness)
            if label in names:
                text = names[label] if confidences is None else f"{names[label]} | {float(confidences[i][k]):.2f}"
                above = y1 - 4 - int(12 * font_scale)
                pen.text((x1 + 3, above if above > 0 else y1 + 3), text, fill=color, font=font,
                         stroke_width=max((text_thickness or line_thickness) - 1, 0))
        drawn.append(np.asarray(picture))
    return np.stack(drawn)


def plot_bounding_box_gallery(images, bounding_box_format, y_true=None, y_pred=None, value_range=(0, 255),
                              true_color=(0, 188, 212), pred_color=(255, 235, 59), line_thickness=2, font_scale=1.0,
                              text_thickness=None, class_mapping=None, ground_truth_mapping=None,
                              prediction_mapping=None, legend=False, legend_handles=None, rows=None, cols=None,
                              data_format=None, **kwargs):
    """Show or save images with the true and the predicted boxes.

    Args:
        images, bounding_box_format, line_thickness, font_scale, text_thickness: as in `draw_bounding_boxes`.
        y_true, y_pred: dicts of boxes.
        value_range: lowest and highest value of the images.
        true_color, pred_color: red, green, blue up to 255.
        class_mapping: names; ground_truth_mapping and prediction_mapping for one kind of boxes.
        legend: whether the two colours are named below; or legend_handles of your own.
        rows, cols, **kwargs: of `plot_image_gallery`.
    """
    images = _images(images, data_format)
    low, high = value_range
    images = np.clip((images.astype("float32") - low) * (255.0 / (high - low)), 0, 255).astype("uint8")
    for boxes, color, names in ((y_true, true_color, ground_truth_mapping), (y_pred, pred_color, prediction_mapping)):
        if boxes is not None:
            images = draw_bounding_boxes(images, boxes, bounding_box_format, names or class_mapping, color,
                                         line_thickness, text_thickness, font_scale, "channels_last")
    if legend:
        if legend_handles:
            raise ValueError("Only pass `legend` OR `legend_handles` to plot_bounding_box_gallery().")
        patches = _library("matplotlib.patches", "matplotlib", "plot_bounding_box_gallery")
        legend_handles = [patches.Patch(color=np.array(color) / 255.0, label=label)
                          for color, label in ((true_color, "Ground Truth"), (pred_color, "Prediction"))]
    return plot_image_gallery(images, legend_handles=legend_handles, rows=rows, cols=cols, data_format="channels_last",
                              **kwargs)


def draw_segmentation_masks(images, segmentation_masks, num_classes=None, color_mapping=None, alpha=0.8, blend=True,
                            ignore_index=-1, data_format=None):
    """Return the images as uint8 with every class's pixels in its colour.

    Args:
        images: (batch, height, width, channels), numbers up to 255.
        segmentation_masks: whole numbers (batch, height, width) or with a last axis of 1: classes from 1; 0 is the
            background, which is coloured only if `color_mapping` has it.
        num_classes: the highest class; found in the masks if None.
        color_mapping: dict of class -> (red, green, blue).
        alpha: how much of the colour is seen.
        blend: False for the colours alone.
        ignore_index: a class that is not drawn.
        data_format: of images and masks; the result has the channels last.

    Raises:
        TypeError: masks that are not whole numbers.
    """
    images = _images(images, data_format).astype("float32")
    masks = np.asarray(engine.convert_to_tensor(segmentation_masks).numpy())
    if masks.dtype.kind not in "iu":
        raise TypeError("`segmentation_masks` must be in integer dtype. Received: "
                        f"segmentation_masks.dtype={masks.dtype}")
    if masks.ndim == 4:
        masks = masks[:, 0] if masks.shape[1] == 1 and masks.shape[1:3] != images.shape[1:3] else masks[..., 0]
    most = int(masks.max()) if num_classes is None else int(num_classes)
    colors = color_mapping or {i: (i * np.array([2 ** 25 - 1, 2 ** 15 - 1, 2 ** 21 - 1])) % 255
                               for i in range(1, most + 1)}
    drawn = images.copy()
    for label, color in colors.items():
        if label == ignore_index or label > most:
            continue
        seen = masks == label
        color = np.asarray(color, "float32")
        drawn[seen] = images[seen] * (1 - alpha) + color * alpha if blend else color
    return np.clip(drawn, 0, 255).astype("uint8")


def plot_segmentation_mask_gallery(images, num_classes, value_range=(0, 255), y_true=None, y_pred=None,
                                   color_mapping=None, blend=True, alpha=0.8, ignore_index=-1, data_format=None,
                                   **kwargs):
    """Show or save images, each beside its true and its predicted mask; arguments as `draw_segmentation_masks`.

    Args:
        value_range: lowest and highest value of the images.
        y_true, y_pred: masks; numbers that are no whole ones are cut.
        **kwargs: of `plot_image_gallery`.
    """
    images = _images(images, data_format)
    low, high = value_range
    images = np.clip((images.astype("float32") - low) * (255.0 / (high - low)), 0, 255).astype("uint8")
    columns = [images]
    for masks in (y_true, y_pred):
        if masks is not None:
            masks = np.asarray(engine.convert_to_tensor(masks).numpy()).astype("int32")
            columns.append(draw_segmentation_masks(images, masks, num_classes, color_mapping, alpha, blend,
                                                   ignore_index, "channels_last"))
    together = np.stack(columns, axis=1).reshape(-1, *images.shape[1:])
    return plot_image_gallery(together, rows=len(images), cols=len(columns), data_format="channels_last", **kwargs)
