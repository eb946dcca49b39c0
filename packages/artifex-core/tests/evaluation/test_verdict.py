import numpy as np
import pytest

from artifex.core.evaluation.verdict import Measured, judge, judge_history

NOISE = 0.02  # standard deviation of a run's value


def measured(value, half=1.96 * NOISE):
    return Measured(value, value - half, value + half)


def verdicts(drop, trials=400):
    """Of runs whose value fell by `drop`, after five runs at 1."""
    rng = np.random.default_rng(0)
    histories = rng.normal(1, NOISE, size=(trials, 5))
    news = rng.normal(1 - drop, NOISE, size=trials)
    return [
        judge_history([measured(v) for v in history], measured(new), higher_is_better=True)
        for history, new in zip(histories, news, strict=True)
    ]


def test_a_drop_of_ten_percent_at_two_percent_noise_is_found_95_times_in_100():
    assert np.mean([verdict == "regressed" for verdict in verdicts(0.1)]) >= 0.95


def test_false_alarms_are_at_most_5_in_100():
    assert np.mean([verdict == "regressed" for verdict in verdicts(0.0)]) <= 0.05


@pytest.mark.parametrize(
    ("new", "higher", "verdict"),
    [(1.2, True, "improved"), (1.2, False, "regressed"), (0.8, True, "regressed"), (0.8, False, "improved")],
)
def test_the_direction_of_a_change_decides(new, higher, verdict):
    assert judge(measured(1.0), measured(new), higher_is_better=higher) == verdict


def test_a_change_counts_beyond_the_root_of_the_sum_of_squares_of_the_half_widths():
    old = measured(0, 3)
    assert judge(old, measured(4.9, 4), higher_is_better=True) == "same"
    assert judge(old, measured(5.1, 4), higher_is_better=True) == "improved"
    assert judge(old, measured(5.1, 4), higher_is_better=True, smallest=6) == "same"


def test_the_same_value_is_the_same_even_without_noise():
    assert judge(measured(1.0, 0), measured(1.0, 0), higher_is_better=True) == "same"


def test_too_little_to_judge_by_is_said_to_be_insufficient():
    assert judge(measured(1.0), Measured(0.5, -np.inf, np.inf), higher_is_better=True) == "insufficient"
    assert judge_history([measured(1.0)] * 2, measured(0.5), higher_is_better=True) == "insufficient"


def test_only_the_last_five_runs_count():
    history = [measured(0.0)] * 9 + [measured(1.0)] * 5
    assert judge_history(history, measured(1.0), higher_is_better=True) == "same"
