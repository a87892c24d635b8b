"""What was typed for `luthier export` about several adapters, as the workflow takes it."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.errors import InputError
from luthier.export.combine import METHODS, Combination
from luthier.runs.find import find_run
from luthier.workflows.export_subject import OtherRun


def combination_of(
    others: Sequence[str], weight: float, method: str, density: float, rank: int, seed: int
) -> tuple[list[OtherRun], Combination | None]:
    """Runs and weights of ``RUN`` or ``RUN=WEIGHT``, and how they are combined; None where there is one adapter only.

    Raises:
        InputError: A weight is no number, or settings were given that would be without effect.
        RunError: There is no such run.
    """
    settings = {
        "--density": (density != 0.5, ("ties", "dare")),
        "--rank": (rank != 16, ("svd",)),
        "--seed": (seed != 0, ("dare",)),
    }
    given = [name for name, (is_set, _) in settings.items() if is_set]
    if not others:
        if weight != 1.0 or method != "linear" or given:
            names = ", ".join(["--weight, --combine", *given])
            raise InputError(f"{names}: for several adapters. Add --with RUN or --with RUN=WEIGHT.")
        return [], None
    if method not in METHODS:
        raise InputError(f"There is no method '{method}' to combine adapters. There are: {', '.join(METHODS)}.")
    for name in given:
        if method not in settings[name][1]:
            raise InputError(
                f"{name} has no effect with --combine {method}; it is for {' and '.join(settings[name][1])}."
            )
    runs: list[OtherRun] = []
    for each in others:
        name, equals, number = each.rpartition("=")
        try:
            own = float(number) if equals else 1.0
        except ValueError as error:
            raise InputError(f"--with {each}: '{number}' is no number. Give RUN=WEIGHT, such as {name}=0.5.") from error
        runs.append(OtherRun(str(find_run(name if equals else each)), own))
    weights = (weight, *(run.weight for run in runs))
    return runs, Combination(method, weights, density, rank, seed)  # type: ignore[arg-type]  # tested above
