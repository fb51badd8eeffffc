"""Labels and their formulas in LaTeX, of the commands of SYMBOLS and FONTS alone: checked, and as plain text."""

from __future__ import annotations

import re

# Commands and what they look like.
SYMBOLS: dict[str, str] = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ",
    "Psi": "Ψ", "Omega": "Ω", "ell": "ℓ", "infty": "∞", "times": "×", "cdot": "·", "pm": "±", "le": "≤", "leq": "≤",
    "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "sim": "~", "to": "→", "rightarrow": "→", "ast": "*",
    "circ": "∘", "prime": "′", "top": "⊤", "log": "log", "exp": "exp", "max": "max", "min": "min",
}  # fmt: skip
# Commands that say how a group in braces is set.
FONTS = ("mathrm", "mathbf", "mathit", "mathsf", "mathcal", "text", "textbf", "textsc")

LONGEST = 60  # letters of a label as plain text
FORMULA = re.compile(r"\$([^$]*)\$")  # in a label

_LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))
_RAISED = dict(zip("0123456789+-=()in⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿᵀ", strict=True))
_TOKEN = re.compile(r"\\([A-Za-z]+) ?|([_^])|([{}])|([A-Za-z0-9 +\-=(),./*|<>'!:])")


def plain_label(label: str) -> str:
    """A label as text without markup. Raises ValueError, which says why, of one that can't be shown."""
    if label.count("$") % 2:
        raise ValueError(f"{label!r} has a '$' without a second one; a formula stands between two")
    if "\\" in (outside := FORMULA.sub("", label)) or not outside.isprintable():
        raise ValueError(f"{label!r}: outside of $...$ a label is plain text, without '\\' and without line breaks")
    plain = " ".join(FORMULA.sub(lambda match: plain_formula(match[1]), label).split())
    if not 0 < len(plain) <= LONGEST:
        raise ValueError(f"{label!r}: required 1 to {LONGEST} letters, got {len(plain)}")
    return plain


def plain_formula(formula: str) -> str:
    r"""What stands between two $, as text without markup: `\sigma_1^2` is σ₁².

    Raises ValueError, whose message says what is not known or missing, of anything but letters, digits, signs, indices,
    braces, and the commands of SYMBOLS and FONTS and `\sqrt`.
    """
    text, rest = _run(formula, formula)
    if rest:
        raise ValueError(f"${formula}$: '}}' without a '{{' before it")
    return text


def _run(rest: str, formula: str) -> tuple[str, str]:
    """Text up to the end, or the brace that ends a group, and what is left from there."""
    parts: list[str] = []
    while rest and rest[0] != "}":
        part, rest = _unit(rest, formula)
        parts.append(part)
    return "".join(parts), rest


def _unit(rest: str, formula: str) -> tuple[str, str]:
    """Text of the first sign, command, index or group, and what is left behind it."""
    token = _TOKEN.match(rest)
    if token is None:
        raise ValueError(
            f"${formula}$: {rest[:1]!r} can't stand in a formula" if rest else f"${formula}$ ends too soon"
        )
    command, index, brace, letter = token.groups()
    rest = rest[token.end() :]
    if letter is not None:
        return letter, rest
    if brace is not None:
        text, rest = _run(rest, formula)
        if not rest:
            raise ValueError(f"${formula}$: '{{' without a '}}' behind it")
        return text, rest[1:]
    if command in SYMBOLS:
        is_sign = token[0].endswith(" ") and (not SYMBOLS[command].isalnum() or rest[:1] in tuple("=<>+-"))
        return f"{SYMBOLS[command]} " if is_sign else SYMBOLS[command], rest
    if index is None and command not in (*FONTS, "sqrt"):
        known = ", ".join(f"\\{name}" for name in (*SYMBOLS, *FONTS, "sqrt"))
        raise ValueError(f"${formula}$: \\{command} is no command that plain text can be made of; these are: {known}")
    text, rest = _unit(rest, formula)
    if command == "sqrt":
        return f"√{text}" if len(text) == 1 else f"√({text})", rest
    return (text if index is None else _index(index, text)), rest


def _index(sign: str, text: str) -> str:
    """A small number or letter where there is one, else the text behind its sign."""
    small = _LOWERED if sign == "_" else _RAISED
    if all(letter in small for letter in text):
        return "".join(small[letter] for letter in text)
    return f"{sign}{text}" if len(text) == 1 or text.isalnum() else f"{sign}({text})"
