"""A retailer's file becomes sales, each due when the file has it."""

from datetime import date
from pathlib import Path

import pytest

from db.seed.retail_file import UnusableFileError
from tests.load.replay import Line, as_plan, main, read, stood_for, timed, units, users

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
INVOICES = """\
536365,85123A,HEART,6,2010-12-01 08:26,2.55,17850,United Kingdom
536365,71053,LANTERN,6,2010-12-01 08:26,3.39,17850,United Kingdom
536365,POST,POSTAGE,1,2010-12-01 08:26,18.00,17850,United Kingdom
536366,71053,LANTERN,2,2010-12-01 08:28,3.39,17850,United Kingdom
C536379,71053,LANTERN,-1,2010-12-01 09:41,3.39,17850,United Kingdom
536370,POST,POSTAGE,3,2010-12-01 08:45,18.00,12583,France
536367,85123A,HEART,25000,2010-12-01 08:28,2.55,13047,United Kingdom
536400,71053,LANTERN,1,2010-12-02 10:26,3.39,17850,United Kingdom
"""


def file_of(tmp_path: Path, invoices: str = INVOICES) -> Path:
    path = tmp_path / "retail.csv"
    path.write_text(f"{HEADER}\n{invoices}")
    return path


def test_each_invoice_that_sells_goods_is_a_sale_of_its_size(tmp_path):
    sales = read(file_of(tmp_path))
    assert [sale.document for sale in sales] == ["536365", "536366", "536367", "536400"]
    assert sales[0].lines == (Line("85123A", 6), Line("71053", 6)), "postage is no line"
    assert [line.quantity for line in sales[2].lines] == [10_000, 10_000, 5_000], "as much as a line takes"


def test_sales_are_due_when_they_were_in_a_day_that_runs_faster(tmp_path):
    due = [sale.at for sale in timed(read(file_of(tmp_path)), speed=60)]
    assert due == [0, 2, 2, 60 * 26], "two minutes in two seconds; two at once stay two at once"


def test_day_can_be_chosen(tmp_path):
    assert [sale.document for sale in read(file_of(tmp_path), date(2010, 12, 2))] == ["536400"]


def test_long_invoice_is_several_sales_at_once(tmp_path):
    lines = "".join(f"536365,{code},THING,1,2010-12-01 08:26,1.00,,X\n" for code in range(10_000, 10_450))
    sales = timed(read(file_of(tmp_path, lines)), speed=1)
    assert [(sale.at, len(sale.lines)) for sale in sales] == [(0, 200), (0, 200), (0, 50)]


def test_what_the_shop_does_not_sell_is_stood_for_and_what_it_sells_is_not(tmp_path):
    sales = read(file_of(tmp_path))
    ready = stood_for(sales, {"71053"}, ["MAG-00001"])
    assert ready[0].lines == (Line("MAG-00001", 6), Line("71053", 6))
    assert units(ready) == {"MAG-00001": 25_006, "71053": 9}
    assert stood_for(sales, {"71053", "85123A"}, ["MAG-00001"]) == sales


def test_there_are_users_for_the_busiest_moment():
    assert users([0.0, 10.0, 10.0, 12.0, 14.0]) == 3 + 5


def test_plan_says_when_each_sale_is_due(tmp_path):
    plan = as_plan(timed(read(file_of(tmp_path)), speed=600)[:2], late_ms=50)
    assert plan["sales"] == [
        {"at": 0.0, "lines": [{"sku": "85123A", "quantity": 6}, {"sku": "71053", "quantity": 6}]},
        {"at": 0.2, "lines": [{"sku": "71053", "quantity": 2}]},
    ]


def test_file_without_sales_is_said_to_have_none(tmp_path, capsys):
    path = file_of(tmp_path, "C536379,71053,LANTERN,-1,2010-12-01 09:41,3.39,17850,United Kingdom\n")
    assert main([str(path), "--dry-run"]) == 1
    assert "sells nothing" in capsys.readouterr().err


def test_file_without_times_is_refused(tmp_path):
    path = tmp_path / "catalogue.csv"
    path.write_text("StockCode,Description,UnitPrice\n71053,LANTERN,3.39\n")
    with pytest.raises(UnusableFileError, match="InvoiceDate"):
        read(path)


def test_dry_run_says_what_would_be_sent(tmp_path, capsys):
    assert main([str(file_of(tmp_path)), "--dry-run", "--day", "2010-12-01", "--speed", "60"]) == 0
    assert capsys.readouterr().out == "3 sales of 6 lines within 2 s\n"


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "inf"])
def test_speed_is_above_zero(tmp_path, speed, capsys):
    with pytest.raises(SystemExit):
        main([str(file_of(tmp_path)), "--dry-run", f"--speed={speed}"])
    assert "--speed" in capsys.readouterr().err
