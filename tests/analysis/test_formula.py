"""Formulas of a line as plain text."""

import pytest

from analysis.formula import plain_formula


@pytest.mark.parametrize(
    ("formula", "plain"),
    [
        (r"\sigma", "σ"),
        (r"\sigma_1^2", "σ₁²"),
        (r"W_q W_k^\top", "W_q Wₖᵀ"),
        (r"\sqrt{N}", "√N"),
        (r"\sqrt{d_k}/2", "√(dₖ)/2"),
        (r"\ell_\mathrm{max}", "ℓₘₐₓ"),
        (r"\mathbf{P} \times 10^{-3}", "P × 10⁻³"),
        (r"x^{a b}", "x^(a b)"),
        (r"\alpha\beta x", "αβx"),
        (r"\tau = 1", "τ = 1"),
    ],
)
def test_a_formula_without_markup(formula, plain):
    assert plain_formula(formula) == plain


@pytest.mark.parametrize(
    "formula", [r"\input{/etc/passwd}", r"\frac{a}{b}", "a}b", "{a", "x_", "a%b", "a&b", r"\sqrt", "σ"]
)
def test_what_is_no_formula_of_a_line_is_refused(formula):
    with pytest.raises(ValueError, match=r"^\$"):
        plain_formula(formula)
