"""Numbers and entries as a caption says them."""


def name_entry(name: str, unit: str) -> str:
    """The name of an entry of the state, with its unit if it has one."""
    return f"{name}, {unit}" if unit else name


def show_percent(share: float) -> str:
    """A share from 0 to 1 in whole per cent."""
    return f"{round(100 * float(share))} %"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def show_number(value: float) -> str:
    """Three significant digits, with a real minus."""
    text = f"{value:.3g}" if 1e-3 <= abs(value) < 999.5 or value == 0 else f"{value:.1e}"
    if 999.5 <= abs(value) < 1e5:
        text = f"{round(value):,}"
    elif "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}10{str(int(exponent)).translate(_RAISED)}"
    return text.replace("-", "−")


def show_amount(value: float, name: str) -> str:
    """A number with the unit that stands behind the comma of an entry's name."""
    return f"{show_number(float(value))} {name.rpartition(', ')[2] if ', ' in name else ''}".strip()
