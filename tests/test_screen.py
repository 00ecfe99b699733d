"""What is shown is written, or kept as it would have been written."""

from rich.table import Table

from limbeck.screen import console, recorded


def show():
    table = Table("loss", "ndcg@10")
    table.add_row("ckl", "[bold]0.5[/bold]")
    console().print(table)
    console(soft_wrap=True).print("a command of a row " * 20)


def test_what_is_kept_is_what_is_written(capsys):
    show()
    written = capsys.readouterr().out
    with recorded() as shown:
        show()
    assert capsys.readouterr().out == ""
    assert shown.text() == written.strip("\n")
    assert "a command of a row " * 20 in written
    html = shown.html()
    assert html.startswith("<pre")
    assert '<span style="font-weight: bold">0.5</span>' in html
