"""The paper's figures in numbers, as plain rows: what a curve alone hides, and rates by the number of colluders."""

from collections.abc import Iterator

from variegate.records.collusion import Coalition, Setting
from variegate.records.reproduction import BindingResults, CollusionResults, CosineResults, Curve, Gap
from variegate.report.blocks import Table
from variegate.report.formatting import NOTHING, count, group_title, norm, percent
from variegate.report.labels import VARIANT_TITLES, estimate, setting_title
from variegate.report.views.paper.tables import ends


def cosine_curves(results: CosineResults) -> Iterator[tuple[str, str, str, Curve]]:
    """(place, H1 to H3, rewriter or "", curve), H1 once for each place."""
    for place in results.places:
        yield place.title, "H1", "", place.H1
        for rewriter, pair in place.rewriters.items():
            yield place.title, "H2", rewriter, pair.H2
            yield place.title, "H3", rewriter, pair.H3


def cosine_table(study: str, results: CosineResults) -> Table:
    """Figure 3 in numbers: a row for each place and curve."""
    rows = [
        (
            place,
            f"{name} {group_title(rewriter)}".strip(),
            count(curve.n),
            estimate(curve.mean, curve.mean_low, curve.mean_high),
            norm(curve.sd),
            norm(curve.peak),
            percent(curve.shares.get("share_small")),
            percent(curve.shares.get("share_large")),
            count(curve.zero_gradients),
        )
        for place, name, rewriter, curve in cosine_curves(results)
    ]
    left = [f"{place.title}: {count(place.without_boundary)}" for place in results.places if place.without_boundary]
    return Table(
        title=f"Cosines between input gradients, {study}",
        columns=("where", "curve", "n", "mean (95 % interval)", "sd", "peak", "small (%)", "large (%)", "zero"),
        rows=tuple(rows),
        labels=2,
        grouped=True,
        note=f"Loss: {results.loss}. Small: |cosine| below 0.1; large: cosine above 0.9; zero: left out, because a "
        "gradient is 0." + (f" Images left out without a boundary: {', '.join(left)}." if left else ""),
    )


def binding_curves(results: BindingResults) -> Iterator[tuple[str, str, str, Curve | Gap]]:
    """(values, reading or "", F1 to G3 or "G2 - G1", curve or difference)."""
    for values in results.ordered:
        yield values.name, "", "F1", values.original.F1
        yield values.name, "", "F2", values.original.F2
        if values.permutation is not None:
            yield values.name, "", "G1", values.permutation.G1
        for name, reading in values.readings.items():
            yield values.name, name, "G2", reading.G2
            yield values.name, name, "G3", reading.G3
            yield values.name, name, "G2 - G1", reading.G2_minus_G1


def binding_table(study: str, results: BindingResults) -> Table:
    """Figure 4 in numbers: a row for each kind of values and curve."""
    rows = []
    for values, reading, name, curve in binding_curves(results):
        shown = f"{name}, {reading}" if reading else name
        mean = estimate(curve.mean, *curve.ends)
        if isinstance(curve, Gap):
            rows.append((_words(values), shown, count(curve.n), mean, *[NOTHING] * 4))
            continue
        negative = percent(curve.shares.get("share_negative"))
        rows.append(
            (
                _words(values),
                shown,
                count(curve.n),
                mean,
                norm(curve.sd),
                norm(curve.median),
                norm(curve.peak),
                negative,
            )
        )
    nearest = results.nearest_to_the_paper
    found = "; ".join(
        f"{one.name}: {count(one.succeeded)} of {count(one.attempted)} attacks succeeded, "
        f"median norm {norm(one.distance_median)}"
        for one in results.attacks.values()
    )
    return Table(
        title=f"Change of output values under GeoDA, {study}",
        columns=("values", "curve", "n", "mean (95 % interval)", "sd", "median", "peak", "negative (%)"),
        rows=tuple(rows),
        labels=2,
        grouped=True,
        note=f"Nearest to the paper: {_words(nearest.measure)}, partner {nearest.reading}. {found}.",
    )


def collusion_table(study: str, setting: Setting) -> Table:
    """Replication by the number of colluders: rows by curve, intervals below."""
    numbers = sorted({point.r for point in setting.points})
    rows: list[tuple[str, ...]] = []
    for letter in setting.letters:
        for variant in setting.variants:
            found = {
                point.r: point.outputs[letter].replication_rate
                for point in setting.of(variant)
                if letter in point.outputs
            }
            rates = [found.get(r) for r in numbers]
            title = VARIANT_TITLES.get(variant, variant)
            rows.append(
                (
                    f"{letter}{setting.setting}",
                    title,
                    *(NOTHING if rate is None else percent(rate.rate) for rate in rates),
                )
            )
            rows.append(("", "", *("" if rate is None else ends(rate.low, rate.high) for rate in rates)))
    return Table(
        title=f"Replication (%) by r colluders, {study}, {setting_title(setting)}; below: 95 % interval",
        columns=("curve", "attack on", *(f"r={r}" for r in numbers)),
        rows=tuple(rows),
        labels=2,
        paired=True,
        note="B: all outputs. C: those that fool every colluder's copy."
        + (" V: lengthened until they do." if "V" in setting.letters else ""),
    )


def coalition_table(study: str, results: CollusionResults) -> Table:
    """What stands behind the curves, at the smallest and the largest r of each setting and variant."""
    rows: list[tuple[str, ...]] = []
    for setting in results.settings:
        for variant in setting.variants:
            points = setting.of(variant)
            for point in points if len(points) < 2 else (points[0], points[-1]):
                kept = point.outputs["C"]
                rows.append(
                    (
                        setting.name,
                        VARIANT_TITLES.get(variant, variant),
                        str(point.r),
                        count(point.attempted),
                        percent(point.attack_success_rate.rate),
                        percent(point.kept.rate),
                        norm(kept.median_norm),
                        percent(kept.replication_rate_conditioned.rate),
                        NOTHING if kept.noise is None else percent(kept.noise.rate),
                        _identical(setting, point),
                    )
                )
    return Table(
        title=f"Behind the curves, {study}: % of the attacked images, % of victims for kept outputs",
        columns=("setting", "attack on", "r", "images", "success", "kept", "norm", "conditioned", "noise", "same copy"),
        rows=tuple(rows),
        labels=2,
        grouped=True,
        note="Kept: fools every colluder's copy, too. Same copy: kept outputs on the colluder's own copy (r = 1).",
    )


def norms_table(study: str, results: CollusionResults) -> Table:
    """Each curve's median norm, and what noise of equal norms does, at the smallest and the largest r with outputs."""
    rows: list[tuple[str, ...]] = []
    for setting in results.settings:
        for variant in setting.variants:
            for letter in setting.letters:
                found = [point for point in setting.of(variant) if letter in point.outputs]
                points = [point for point in found if point.outputs[letter].median_norm is not None]
                for point in points if len(points) < 2 else (points[0], points[-1]):
                    outputs = point.outputs[letter]
                    rows.append(
                        (
                            f"{letter}{setting.name}",
                            VARIANT_TITLES.get(variant, variant),
                            str(point.r),
                            norm(outputs.median_norm),
                            percent(outputs.replication_rate.rate),
                            NOTHING if outputs.noise is None else percent(outputs.noise.rate),
                        )
                    )
    return Table(
        title=f"Norms of the outputs behind each curve, {study}: medians; replication and noise in %",
        columns=("curve", "attack on", "r", "norm", "replication", "noise"),
        rows=tuple(rows),
        labels=2,
        grouped=True,
        note="Noise: how often random noise of the same norms misleads the victims. Lengthened outputs (V) have none.",
    )


def _identical(setting: Setting, point: Coalition) -> str:
    own = [one for one in setting.identical if (one.variant, one.r) == (point.variant, point.r)]
    return percent(own[0].outputs["C"].replication_rate.rate) if own else NOTHING


def _words(measure: str) -> str:
    return measure.replace("_", " ")
