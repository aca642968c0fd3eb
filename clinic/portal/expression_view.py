"""What the expression finding says beside its steps: the markers that one looks for, and the case on its maps."""

from clinic.portal.charts import WIDTH

SIDE, EDGE = 400.0, 16.0
MOST_POINTS = 400  # of one class; beyond, evenly chosen
SHAPES = ("circle", "square", "triangle", "diamond")


def of(body):
    explanation = body.get("explanation") or {}
    return {
        "markers": [_marker(one) for one in explanation.get("markers", [])],
        "maps": [drawn(one) for one in explanation.get("maps", [])],
        "answer": explanation.get("answer"),
        "scale": explanation.get("scale"),
    }


def _marker(said):
    """A marker on a line from the lowest rank of a sample to its highest."""
    return {**said, "x": said["rank"] * WIDTH, "usual_x": said["usual_rank"] * WIDTH}


def drawn(said):
    """A map as points of a square drawing, one colour and shape a class, and as a table of where the classes lie."""
    points = [(name, x, y) for name, of_class in said["cohort"].items() for x, y in thinned(of_class)]
    xs, ys = [x for _, x, _ in points] + [said["x"]], [y for *_, y in points] + [said["y"]]
    place = _scale(min(xs), max(xs)), _scale(min(ys), max(ys))
    classes = []
    for k, (name, of_class) in enumerate(said["cohort"].items()):
        if not of_class:
            continue
        centre = [sum(column) / len(of_class) for column in zip(*of_class, strict=True)]
        away = ((centre[0] - said["x"]) ** 2 + (centre[1] - said["y"]) ** 2) ** 0.5
        dots = [(place[0](x), SIDE - place[1](y)) for x, y in thinned(of_class)]
        classes.append(
            {
                "name": name,
                "hue": k % 8,
                "shape": SHAPES[k // 8 % len(SHAPES)],
                "path": " ".join(_mark(x, y, SHAPES[k // 8 % len(SHAPES)]) for x, y in dots),
                "count": len(of_class),
                "centre": centre,
                "away": away,
            }
        )
    return {
        "title": said.get("title", said["head"]),
        "axes": said.get("axes", []),
        "classes": sorted(classes, key=lambda one: one["away"]),
        "case": {"x": place[0](said["x"]), "y": SIDE - place[1](said["y"])},
        "x": said["x"],
        "y": said["y"],
        "side": SIDE,
    }


def thinned(points):
    step = max(1, -(-len(points) // MOST_POINTS))
    return points[::step]


def _scale(low, high):
    span = (high - low) or 1.0
    return lambda value: EDGE + (value - low) / span * (SIDE - 2 * EDGE)


def _mark(x, y, shape):
    """One point as a part of a path: a class is one element, however many its samples."""
    if shape == "square":
        return f"M{x - 2:.1f} {y - 2:.1f}h4v4h-4z"
    if shape == "triangle":
        return f"M{x:.1f} {y - 2.5:.1f}l2.5 4.5h-5z"
    if shape == "diamond":
        return f"M{x:.1f} {y - 3:.1f}l2.5 3l-2.5 3l-2.5-3z"
    return f"M{x - 2:.1f} {y:.1f}a2 2 0 1 0 4 0a2 2 0 1 0-4 0"
