import pytest

from shoal.formats.text import flops_text, number_text, score_decimals, seconds_text


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (None, "-"),
        (0, "0 FLOP"),
        (12, "12 FLOP"),
        (999.6, "1.00 kFLOP"),
        (1_234_567_890, "1.23 GFLOP"),
        (21_912, "21.9 kFLOP"),
        (2.1e11, "210 GFLOP"),
        (9.996e11, "1.00 TFLOP"),
    ],
)
def test_flops_have_three_digits_and_a_prefix(flops, text):
    """Rounding up to a thousand moves on to the next prefix."""
    assert flops_text(flops) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (4.21, "4.2 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_never_show_sixty_of_a_unit(seconds, text):
    """Rounding carries over to the larger unit."""
    assert seconds_text(seconds) == text


def test_a_number_rounded_to_zero_has_no_sign():
    """A sign is shown only where the digits support it."""
    assert number_text(-0.0001, 3, sign=True) == "0.000"
    assert number_text(-0.0006, 3, sign=True) == "-0.001"
    assert number_text(0.02, 3, sign=True) == "+0.020"
    assert number_text(None, 3) == "-"


def test_decimals_follow_the_size_of_an_rmse():
    """An accuracy has three decimals; an RMSE four significant digits, whatever its unit."""
    assert score_decimals("accuracy", [0.9]) == 3
    assert score_decimals("rmse", [0.0512]) == 5
    assert score_decimals("rmse", [0.512]) == 4
    assert score_decimals("rmse", [48210.0]) == 0
    assert score_decimals("rmse", [0.0]) == 3


def test_an_end_that_decides_is_not_rounded_to_zero():
    """Decimals are added until it shows, three at most."""
    assert score_decimals("accuracy", [0.9], [0.00006, 0.01]) == 5
    assert score_decimals("accuracy", [0.9], [1e-12, 0.0]) == 6
