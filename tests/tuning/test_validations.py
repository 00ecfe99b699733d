from limbeck.training.validations import FILE, Validated, append, read


def test_what_is_written_is_read_and_a_step_counts_once(tmp_path):
    assert read(tmp_path) == []
    lines = [Validated(10, 30, 0.25), Validated(20, 30, 0.5), Validated(20, 30, 0.5), Validated(30, 30, 0.125)]
    for line in lines:
        append(tmp_path, line)
    assert read(tmp_path) == [lines[0], lines[1], lines[3]]
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 3
    append(tmp_path, Validated(20, 30, 0.75))  # another value, on another device: both stay, the last counts
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 4
    assert read(tmp_path)[1].value == 0.75


def test_a_line_cut_short_costs_itself_alone(tmp_path):
    append(tmp_path, Validated(10, 30, 0.25))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"step": 20, "of": 3')
    assert read(tmp_path) == [Validated(10, 30, 0.25)]
    append(tmp_path, Validated(20, 30, 0.5))
    assert read(tmp_path) == [Validated(10, 30, 0.25), Validated(20, 30, 0.5)]


def test_a_line_that_lacks_its_end_alone_is_not_written_again(tmp_path):
    append(tmp_path, Validated(10, 30, 0.25))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-1])
    append(tmp_path, Validated(10, 30, 0.25))
    assert (tmp_path / FILE).read_bytes() == whole
