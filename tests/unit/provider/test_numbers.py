"""Numbers go through the provider as Terraform sent them: another digit would be a plan that Terraform refuses."""

import pytest

from pymigrate.provider.sdk.values import number, to_number


@pytest.mark.parametrize("digits", ["1" + "0" * zeros for zeros in (15, 18, 19, 20, 299, 300, 308, 400)])
def test_a_whole_number_of_many_digits_keeps_each_of_them(digits: str) -> None:
    assert str(to_number(number(digits))) == digits


@pytest.mark.parametrize("digits", ["0.1", "-0.0000001", "123456789.123456789123456789", "0." + "0" * 399 + "1"])
def test_a_fraction_keeps_its_digits(digits: str) -> None:
    assert to_number(number(digits)) == digits
