import base64
import re

import numpy as np
import pytest

from artifex.core.evaluation.report import curve, html_page, markdown, report_pictures, write_report
from artifex.core.evaluation.result import EvaluationResult, Result

ABOUT = {"model": "VAE<b>", "data": "digits@abc", "n": 360, "config": {"beta": 1.0}}
RNG = np.random.default_rng(0)


@pytest.fixture
def found():
    rows = (
        Result("elbo", -21.51234, -22.0, -21.0, 360, "digits@abc", None, True, 1),
        Result("FD[pixels]", 3.25, 3.0, 3.5, 360, "digits@abc", "pixels", False, 1, ("rank deficient",)),
    )
    x = RNG.uniform(size=(3, 8, 8, 1))
    return EvaluationResult(rows, (("nll", "VAE has no exact likelihood"),), ABOUT, x, (x, 1 - x))


def test_the_markdown_table_is_this(found):
    assert markdown(found).splitlines()[:8] == [
        "# VAE<b> on digits@abc",
        "",
        "| metric | value | 95 % interval | n | better |",
        "|---|---|---|---|---|",
        "| elbo | -21.5123 | -22.0000 to -21.0000 | 360 | higher |",
        "| FD[pixels] (rank deficient) | 3.2500 | 3.0000 to 3.5000 | 360 | lower |",
        "",
        "- left out: nll (VAE has no exact likelihood)",
    ]


def test_equal_results_give_equal_bytes(found):
    again = found._replace(provenance=dict(reversed(ABOUT.items())))
    assert markdown(again) == markdown(found)
    assert html_page(again, {}, ()) == html_page(found, {}, ())


def test_the_page_needs_nothing_but_itself(tmp_path, found):
    history = [{"step": 1.0, "loss": 3.0}, {"step": 2.0, "loss": 2.0}, {"step": 3.0, "held_out/loss": 1.0}]
    page = write_report(found, tmp_path, history).read_text(encoding="utf-8")
    assert re.findall(r"(?:href|src)=['\"](?!data:)", page) == []
    assert page.count("<svg") == 1  # one point is no curve
    pictures = [base64.b64decode(code) for code in re.findall(r"base64,([^']+)'", page)]
    assert pictures == [(tmp_path / f"{name}.png").read_bytes() for name in ("samples", "reconstructions")]
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == markdown(found)


def test_the_page_holds_values_reasons_and_provenance_with_marks_escaped(found):
    page = html_page(found, {}, ())
    assert "<td>-21.5123<td>-22.0000 to -21.0000<td>360<td>higher" in page
    assert "<li>nll: VAE has no exact likelihood" in page
    assert "&quot;beta&quot;: 1.0" in page
    assert "<h1>VAE&lt;b&gt;</h1>" in page
    assert "prefers-color-scheme: dark" in page


def test_data_that_are_no_pictures_have_none(found):
    table = found._replace(samples=np.zeros((5, 3)), reconstructions=(np.zeros((5, 3)),) * 2)
    assert report_pictures(table) == {}


def test_a_curve_goes_from_corner_to_corner():
    path = re.search(r"d='M([\d.]+),([\d.]+) .*L([\d.]+),([\d.]+)'", curve([(0, 2.0), (5, 1.5), (10, 1.0)]))
    assert path is not None
    assert [float(part) for part in path.groups()] == [44.0, 44.0, 596.0, 176.0]


def test_a_constant_curve_is_a_line():
    assert "nan" not in curve([(0, 1.0), (1, 1.0)])
