"""Heat maps of ratios over units and sequences, with the numbers in the cells, at the width of a column."""

import _study as study
import numpy as np
from matplotlib import colors, pyplot

WIDTH = 3.4  # inches: a column
MOST = 4.0  # ratios from here on, and below its inverse, have the last colour
RATIO = colors.LogNorm(1 / MOST, MOST)
RATIO_MAP = "PuOr"  # diverging around 1, also for those who cannot tell red from green; numbers tell it in grey
SHARE_MAP = "Greys"


def number(value):
    """Two or three digits: 0.93, 1.4, 12."""
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def percent(value):
    return f"{100 * value:.0f}"


def panel(ax, rows, key, **look):
    """rows: {"N", "B", key}; of several at one place the smallest."""
    units, batches = (sorted({row[name] for row in rows}) for name in ("N", "B"))
    values = np.full((len(units), len(batches)), np.nan)
    for row in rows:
        if row.get(key) is not None:
            place = units.index(row["N"]), batches.index(row["B"])
            values[place] = np.fmin(values[place], row[key])
    image = matrix(ax, values, units, batches, **look)
    ax.set_xlabel("sequences $B$", fontsize=6, labelpad=1)
    ax.set_ylabel("units $N$", fontsize=6, labelpad=1)
    return image


def matrix(ax, values, rows, columns, *, norm=RATIO, cmap=RATIO_MAP, text=number, least=1.0):
    """The numbers in coloured cells, NaN left free. least: a number below it is bold, or an array of such."""
    image = ax.imshow(values, cmap=cmap, norm=norm, aspect="auto", interpolation="nearest")
    colour, least = pyplot.get_cmap(cmap), np.broadcast_to(least, values.shape)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            r, g, b, _ = colour(norm(value))
            dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.5
            low = value < 0.995 * least[i, j]  # what is written as 1.0 is not below it
            look = {"fontsize": 5.5 if low else 6, "weight": "bold" if low else "normal"}
            ax.text(j, i, text(value), ha="center", va="center", color="white" if dark else "black", **look)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labelsize=6, pad=1.5)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def ratio_bar(fig, image, axes):
    bar = fig.colorbar(image, ax=axes, location="bottom", aspect=45, pad=0.01, shrink=0.9)
    bar.ax.tick_params(labelsize=6, length=2)
    bar.set_ticks([1 / 4, 1 / 2, 1, 2, 4], labels=["≤ ¼", "½", "1", "2", "≥ 4"])
    bar.minorticks_off()


def maps(panels, key, title, **look):
    """Panels [(title, rows), ...] two by two, a letter before each title, `title` above all of them."""
    panels = [(name, rows) for name, rows in panels if rows]
    lines = [len({row["N"] for row in rows}) for _, rows in panels]
    rows = -(-len(panels) // 2)
    height = 0.7 + sum(0.36 + 0.115 * max(lines[2 * k : 2 * k + 2]) for k in range(rows))
    ratios = [0.36 + 0.115 * max(lines[2 * k : 2 * k + 2]) for k in range(rows)]
    fig, axes = study.figure(rows, 2, width=WIDTH, height=height, squeeze=False, height_ratios=ratios)
    for k, ax in enumerate(axes.ravel()):
        if k >= len(panels):
            ax.set_visible(False)
            continue
        name, own = panels[k]
        image = panel(ax, own, key, **look)
        ax.set_title(f"({chr(ord('a') + k)}) {name}", fontsize=6, pad=2)
    fig.suptitle(title, fontsize=7)
    if look.get("norm", RATIO) is RATIO:
        ratio_bar(fig, image, axes)
    return fig
