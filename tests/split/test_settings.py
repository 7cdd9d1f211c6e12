"""Settings of the splits that have their own."""

import pytest

from shoal.errors import SettingsError

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.5}


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("k_fold", {"fold": 5}, r"^split: fold 5 is not among the 5 folds, 0 to 4$"),
        ("k_fold", {"fold": -1}, r"^split\.fold: Input should be greater than or equal to 0"),
        ("k_fold", {"folds": 2}, r"^split\.folds: Input should be greater than or equal to 3"),
        ("k_fold", {"fractions": SHARES}, r"^split\.fractions: unknown setting"),
        ("similarity", {"similarity": 0.2}, "greater than or equal to 0.5, not 0.2"),
        ("similarity", {"digits": 0}, r"^split\.digits: Input should be greater than 0"),
        ("similarity", {"character": 3}, "did you mean 'characters'"),
        ("similarity", {"fractions": SHARES}, r"^split: fractions sum to 1\.35, not 1$"),
        ("hash", {"fold": 1}, r"^split\.fold: unknown setting"),
        ("kfold", {}, r"^split: .*'kfold' found .* does not match any of .*'k_fold'"),
    ],
)
def test_a_wrong_setting_is_one_line(split_settings, method, given, message):
    """Each method has its own settings, and refuses others and values out of range."""
    with pytest.raises(SettingsError, match=message) as caught:
        split_settings(method, **given)

    assert "\n" not in str(caught.value)
