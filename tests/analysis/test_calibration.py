"""Vectorised divergences against plain loops with math and scipy."""

import doctest
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import special, stats

import limbeck.analysis.calibration as module
from limbeck.analysis.calibration import QUANTITIES, Calibration, measure, over_seeds, summarise
from limbeck.losses.kl import kl

LENGTHS = [1, 2, 7, 30, 1, 5, 64, 3, 12, 9]


@pytest.fixture
def ragged():
    """Return teacher, student, positive, offsets; lists without positives and without negatives are among them."""
    generator = np.random.default_rng(11)
    rows = sum(LENGTHS)
    positive = generator.random(rows) < 0.3
    offsets = np.concatenate(([0], np.cumsum(LENGTHS)))
    positive[offsets[5] : offsets[6]] = False
    positive[offsets[7] : offsets[8]] = True
    return generator.normal(0, 4, rows), generator.normal(0, 4, rows), positive, offsets


def softmax(scores, temperature):
    exponents = [math.exp(score / temperature) for score in scores]
    return [each / math.fsum(exponents) for each in exponents]


@pytest.mark.parametrize(("student_temperature", "teacher_temperature"), [(1.0, 1.0), (0.5, 3.0), (20.0, 0.7)])
def test_every_quantity_is_that_of_loops(ragged, student_temperature, teacher_temperature):
    teacher, student, positive, offsets = ragged
    found = measure(*ragged, student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        p = softmax(teacher[start:stop], teacher_temperature)
        q = softmax(student[start:stop], student_temperature)
        chosen = positive[start:stop]
        best = max((a for a, c in zip(p, chosen, strict=True) if c), default=-1.0)
        expected = {
            "kl": math.fsum(special.rel_entr(p, q)),
            "kl_positives": math.fsum(a * math.log(a / b) for a, b, c in zip(p, q, chosen, strict=True) if c),
            "kl_negatives": math.fsum(a * math.log(a / b) for a, b, c in zip(p, q, chosen, strict=True) if not c),
            "teacher_mass": math.fsum(a for a, c in zip(p, chosen, strict=True) if c),
            "student_mass": math.fsum(b for b, c in zip(q, chosen, strict=True) if c),
            "teacher_entropy": stats.entropy(p),
            "student_entropy": stats.entropy(q),
            "size": stop - start,
            "positives": sum(chosen),
            "teacher_right": all(a < best for a, c in zip(p, chosen, strict=True) if not c) and best > 0,
        }
        for name, value in expected.items():
            assert getattr(found, name)[i] == pytest.approx(value, rel=1e-10, abs=1e-12), (name, i)
    np.testing.assert_array_equal(found.kl_positives + found.kl_negatives, found.kl)
    assert (found.kl > -1e-12).all()


def test_the_divergence_is_the_one_that_students_learn_by(ragged):
    teacher, student, positive, offsets = ragged
    found = measure(*ragged, student_temperature=0.8, teacher_temperature=2.0)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        lists = [torch.from_numpy(each[start:stop]).unsqueeze(0) for each in (student, teacher, positive)]
        loss = kl(*lists, torch.ones_like(lists[2]), student_temperature=0.8, teacher_temperature=2.0)
        assert found.kl[i] == pytest.approx(loss.item(), abs=1e-9)


def test_a_perfect_student(ragged):
    teacher, _, positive, offsets = ragged
    same = measure(teacher, teacher, positive, offsets)
    assert not same.kl.any()
    assert not same.kl_positives.any()
    assert not same.kl_negatives.any()
    np.testing.assert_array_equal(same.teacher_mass, same.student_mass)
    scaled = measure(teacher, 3 * teacher, positive, offsets, student_temperature=3.0)
    np.testing.assert_allclose(scaled.kl, 0, atol=1e-12)


def test_only_differences_within_a_list_matter(ragged):
    teacher, student, positive, offsets = ragged
    shift = np.repeat(np.random.default_rng(0).normal(0, 1000, len(LENGTHS)), LENGTHS)
    before, after = measure(*ragged), measure(teacher - shift, student + shift, positive, offsets)
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-9, err_msg=name)


def test_temperature_divides_the_scores(ragged):
    teacher, student, positive, offsets = ragged
    warm = measure(*ragged, student_temperature=4.0, teacher_temperature=0.5)
    np.testing.assert_allclose(warm.kl, measure(teacher / 0.5, student / 4.0, positive, offsets).kl)
    assert not np.allclose(warm.kl, measure(*ragged).kl)


def test_extreme_scores_stay_finite():
    found = measure(
        np.array([1e4, -1e4, 0.0]), np.array([-1e4, 1e4, 0.0]), np.array([True, False, False]), np.array([0, 3])
    )
    assert found.kl[0] == pytest.approx(2e4)
    assert found.teacher_mass[0] == 1
    assert found.student_mass[0] == 0


def test_a_part_is_negative_where_the_student_gives_more():
    # p = (3/4, 1/4), q = (1/4, 3/4); the positive is the second
    found = measure(np.log([3.0, 1.0]), np.log([1.0, 3.0]), np.array([False, True]), np.array([0, 2]))
    assert found.kl_positives[0] == pytest.approx(-0.25 * math.log(3))
    assert found.kl_negatives[0] == pytest.approx(0.75 * math.log(3))
    assert (found.teacher_mass[0], found.student_mass[0]) == pytest.approx((0.25, 0.75))
    assert not found.teacher_right[0]


def test_lists_without_documents_are_nan():
    found = measure(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([True, False]), np.array([0, 0, 2, 2]))
    np.testing.assert_array_equal(np.isnan(found.kl), [True, False, True])
    np.testing.assert_array_equal(np.isnan(found.student_entropy), [True, False, True])
    assert found.size.tolist() == [0, 2, 0]
    assert not found.teacher_right.any()


def test_a_tie_does_not_make_the_teacher_right():
    scores = np.array([1.0, 1.0, 2.0, 1.0])
    found = measure(scores, scores, np.array([True, False, True, False]), np.array([0, 2, 4]))
    assert found.teacher_right.tolist() == [False, True]


def test_what_cannot_be_measured(ragged):
    teacher, student, positive, offsets = ragged
    teacher[3] = np.nan
    with pytest.raises(ValueError, match=r"the teacher's score in row 3 \(list 2\) is nan"):
        measure(teacher, student, positive, offsets)
    with pytest.raises(ValueError, match="student_temperature must be > 0, got 0"):
        measure(student, student, positive, offsets, student_temperature=0.0)


def test_the_summary_is_that_of_loops(ragged):
    teacher, student, positive, offsets = ragged
    seeds = [measure(teacher, student + noise, positive, offsets) for noise in (0.0, np.sin(np.arange(len(student))))]
    found = {one.subset: one for one in summarise({("ckl", "train"): seeds})}
    subsets = {"all": [], "teacher right": [], "teacher wrong": []}
    left_out = 0
    for i, (start, stop) in enumerate(pairwise(offsets)):
        chosen, scores = positive[start:stop], teacher[start:stop]
        if chosen.all() or not chosen.any():
            left_out += 1
            continue
        subsets["all"].append(i)
        subsets["teacher right" if chosen[scores.argmax()] else "teacher wrong"].append(i)
    assert left_out > 2
    assert set(found) == set(subsets)
    for subset, lists in subsets.items():
        one = found[subset]
        assert (one.system, one.split, one.lists, one.left_out) == ("ckl", "train", len(lists), left_out)
        assert set(one.means) == set(QUANTITIES)
        for name, value in one.means.items():
            sample = [(getattr(seeds[0], name)[i] + getattr(seeds[1], name)[i]) / 2 for i in lists]
            assert value.value == pytest.approx(np.mean(sample)), name
            assert value.count == len(lists)
            if len(lists) > 1:
                expected = stats.sem(sample) * stats.t.ppf(0.975, len(lists) - 1)
                assert value.half_width == pytest.approx(expected), name


def test_parts_add_up_in_the_means_too(ragged):
    for one in summarise({("a", "test"): [measure(*ragged)]}):
        assert one.means["kl"].value == pytest.approx(one.means["kl_positives"].value + one.means["kl_negatives"].value)


def test_a_student_that_learnt_its_lists_by_heart_is_closer_on_them():
    """Over-calibration as it shows: small divergence on train, also where the teacher is wrong, and large on test."""
    generator = np.random.default_rng(1)

    def lists(count, noise):
        teacher = generator.normal(0, 2, (count, 8))
        positive = np.zeros((count, 8), dtype=bool)
        positive[:, 0] = True
        student = teacher + generator.normal(0, noise, (count, 8))
        return [measure(teacher.ravel(), student.ravel(), positive.ravel(), np.arange(count + 1) * 8)]

    found = summarise({("kl", "train"): lists(200, 0.1), ("kl", "test"): lists(100, 1.0)})
    by = {(one.split, one.subset): one.means["kl"] for one in found}
    for subset in ("all", "teacher wrong"):
        train, test = by["train", subset], by["test", subset]
        assert train.value + train.half_width < test.value - test.half_width


def test_subsets_without_a_list_are_left_out():
    right = measure(np.array([2.0, 1.0]), np.zeros(2), np.array([True, False]), np.array([0, 2]))
    nothing = measure(np.array([2.0, 1.0]), np.zeros(2), np.array([False, False]), np.array([0, 2]))
    found = summarise({("a", "train"): [right], ("a", "test"): [nothing]})
    assert [(one.split, one.subset) for one in found] == [("train", "all"), ("train", "teacher right")]


def test_seeds_of_other_lists_are_refused(ragged):
    teacher, student, positive, offsets = ragged
    other = measure(teacher, student, ~positive, offsets)
    with pytest.raises(ValueError, match="only over the same lists"):
        over_seeds([measure(*ragged), other])
    with pytest.raises(ValueError, match="only over the same lists"):
        over_seeds([measure(*ragged), measure(teacher * 2, student, positive, offsets)])
    assert isinstance(over_seeds([other]), Calibration)


def test_the_example_in_the_docstring():
    assert doctest.testmod(module, extraglobs={"np": np}) == (0, 2)
