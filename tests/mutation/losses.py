# ruff: noqa: E501 - the mutations are a table
"""Plants small bugs in the losses, one at a time, and sees whether the tests notice.

``python tests/mutation/losses.py`` plants every mutation below in a copy of the package, runs the tests that should
kill it and prints what survived; it ends with an error if anything did. ``--only ckl`` runs those of one file. A
mutation whose text the file no longer holds exactly once is an error too: mend the list when the code changes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests" / "losses"
LOSSES = ROOT / "src" / "limbeck" / "losses"
USUAL = ("test_loops", "test_weighted_kl", "test_laws", "test_modules")


class Mutation(NamedTuple):
    """Replace a text, which the file holds exactly once, by another."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...] = USUAL


SCHEDULES, BATCH, PROCESSES = ("test_schedules",), ("test_info_nce",), ("test_processes",)
REGULAR, MEASURED, FINITE = ("test_regularisers",), ("test_diagnostics",), ("test_finite",)

MUTATIONS = [
    # What all share.
    Mutation("base", "        lifted = lifted / temperature\n", "        lifted = lifted * temperature\n"),
    Mutation("base", "    return torch.where(mask, lifted, fill)", "    return lifted"),
    Mutation("base", "torch.log_softmax(masked(scores, mask, temperature, FLOOR), dim=-1)",
             "torch.log_softmax(masked(scores, mask, temperature, FLOOR), dim=0)"),
    Mutation("base", "masked(scores, mask, temperature, FLOOR), dim=-1), 0.0)",
             "masked(scores, mask, temperature), dim=-1), 0.0)"),
    Mutation("base", "    log_p = log_softmax(teacher.detach(), mask, temperature)",
             "    log_p = log_softmax(teacher.detach(), mask, 1.0)"),
    Mutation("base", "    return student, teacher.detach().to(student.dtype)", "    return student, teacher.to(student.dtype)"),
    Mutation("base", "    return mask & relevant, mask & ~relevant", "    return mask & relevant, ~relevant"),
    Mutation("base", "    relevant = labels > 0", "    relevant = labels > 1"),
    Mutation("base", "chosen.sum(dim).clamp(min=1)", "chosen.sum(dim)"),
    Mutation("base", "scores if scores.dtype == torch.float64 else scores.float()", "scores"),
    Mutation("base", "return self.per_query(output, batch).mean()", "return self.per_query(output, batch).sum()"),
    Mutation("base", "if not 0 < value < math.inf:", "if not 0 <= value < math.inf:"),
    # The general form.
    Mutation("weighted_kl", "(q / rest).mul_(-exponent)", "(q / rest).mul_(exponent)"),
    Mutation("weighted_kl", "1 + torch.finfo(q.dtype).eps)", "1)"),
    Mutation("weighted_kl", "1 + torch.finfo(q.dtype).eps)", "2)"),
    Mutation("weighted_kl", "        return k * lb_q, k\n", "        return k * lb_q, k + 1\n"),
    Mutation("weighted_kl", "_log_softmax(student, valid, padding, temperatures[0])", "_log_softmax(student, valid, padding, 1.0)"),
    Mutation("weighted_kl", "valid, padding, temperatures[1])", "valid, padding, temperatures[0])"),
    Mutation("weighted_kl", "scores if temperature == 1.0 else scores / temperature", "scores"),
    Mutation("weighted_kl", "scores.add_(padding, alpha=FLOOR)", "scores"),
    Mutation("weighted_kl", "scores.add_(padding, alpha=FLOOR), dim=-1)", "scores.add_(padding, alpha=FLOOR), dim=0)"),
    Mutation("weighted_kl", "return _select(values, condition, 0)", "return values * condition.sign()"),
    Mutation("weighted_kl", "return _select(values, condition, 0)", "return _select(values, condition, 1)"),
    Mutation("weighted_kl", "mass = mass.exp2_().mul_(valid)", "mass = mass.exp2_()"),
    Mutation("weighted_kl", "padding, temperatures[0]).mul_(_LB_E)", "padding, temperatures[0])"),
    Mutation("weighted_kl", "lb_w.add_(ln_p, alpha=_LB_E)", "lb_w.add_(ln_p)"),
    Mutation("weighted_kl", "mass = ln_p * _LB_E if", "mass = ln_p.clone() if"),
    Mutation("weighted_kl", "ln_p.sub_(lb_q, alpha=_LN_2)", "ln_p.sub_(lb_q)"),
    Mutation("weighted_kl", "slope is None or detach", "slope is None"),
    Mutation("weighted_kl", "slope, terms, value=-1)", "slope, terms)"),
    Mutation("weighted_kl", "a.sum(-1, keepdim=True), value=-1)", "a.sum(-1, keepdim=True), value=1)"),
    Mutation("weighted_kl", "a.addcmul_(q, a.sum(-1, keepdim=True)", "a.addcmul_(q, a.sum(0, keepdim=True)"),
    Mutation("weighted_kl", "ctx.scale = -1 / temperatures[0]", "ctx.scale = -1"),
    Mutation("weighted_kl", "(grad * ctx.scale).unsqueeze(-1)", "ctx.scale"),
    Mutation("weighted_kl", "torch.lerp(lb_negative, lb_positive, side)", "torch.lerp(lb_positive, lb_negative, side)"),
    Mutation("weighted_kl", "torch.lerp(negative_slope, positive_slope, side)",
             "torch.lerp(positive_slope, negative_slope, side)"),
    Mutation("weighted_kl", "where_positive(labels.to(student.dtype), valid)",
             "where_positive(labels.to(student.dtype).abs(), valid)", ("test_weighted_kl", "test_laws")),
    Mutation("weighted_kl", "where_positive(labels.to(student.dtype), valid)", "labels.to(student.dtype).sign()"),
    Mutation("weighted_kl", "mask.sum(-1).clamp(min=1)", "mask.shape[-1]"),
    Mutation("weighted_kl", "        if torch.is_grad_enabled():", "        if False:"),
    Mutation("weighted_kl", "return value.detach() * _LB_E, slope", "return value.detach(), slope"),
    Mutation("weighted_kl", "return value.detach() * _LB_E, slope", "return value.detach() * _LB_E, -slope"),
    Mutation("weighted_kl", "at = (lb_q * _LN_2)", "at = (lb_q * 1.0)"),
    # CKL.
    Mutation("ckl", "ranks = shared_ranks(student, mask)", "ranks = shared_ranks(teacher, mask)"),
    Mutation("ckl", "ranks = torch.where(mask, ranks, 1)", "pass"),
    Mutation("ckl", 'if rank_source == "student":', 'if rank_source == "teacher":'),
    Mutation("ckl", "gamma, alpha=alpha)  # γ", "gamma, alpha=-alpha)  # γ"),
    Mutation("ckl", "gamma, alpha=alpha)  # γ", "gamma)  # γ"),
    Mutation("ckl", "difference.addcmul_(difference, side, value=-1)", "difference"),
    Mutation("ckl", "exponent, side, rest, value=-gamma)", "exponent, side, rest, value=gamma)"),
    Mutation("ckl", "exponent, side, rest, value=-gamma)", "exponent, q, rest, value=-gamma)"),
    Mutation("ckl", "torch.lerp(lb_q, rest.log2_(), side", "torch.lerp(lb_q, rest.log_(), side"),
    Mutation("ckl", "anchor_rank(reciprocal * side, side, anchor)", "anchor_rank(reciprocal, side, anchor)"),
    Mutation("ckl", "return reciprocal.amax(-1, keepdim=True)", "return reciprocal.amin(-1, keepdim=True)"),
    Mutation("ckl", "(side.cumsum(-1) == 1)", "(side.cumsum(-1) == 2)"),
    Mutation("ckl", "/ side.sum(-1, keepdim=True).clamp(min=1)", "/ side.shape[-1]"),
    Mutation("ckl", "detach_weights=self.detach_weights", "detach_weights=False"),
    Mutation("ckl", "rank_anchor=self.rank_anchor", 'rank_anchor="best"'),
    Mutation("ckl", "if not (self.gamma > self.alpha or", "if not (self.gamma >= self.alpha or"),
    # Ranks and pairs.
    Mutation("ranking", "torch.arange(1, scores.shape[-1] + 1", "torch.arange(0, scores.shape[-1] + 0"),
    Mutation("ranking", "torch.where(mask, scores.detach(), -torch.inf).argsort", "scores.detach().argsort", MEASURED),
    Mutation("ranking", "descending=True, stable=True", "descending=True, stable=False"),
    Mutation("ranking", "descending=True, stable=True", "descending=False, stable=True"),
    Mutation("ranking", "order, scores.contiguous(), right=True", "order, scores.contiguous()"),
    Mutation("ranking", "(below + not_above - 1)", "(below + not_above)"),
    Mutation("ranking", "masked(scores.detach(), mask, 1.0, -torch.inf)", "masked(scores.detach(), mask, 1.0)"),
    Mutation("ranking", "scores.unsqueeze(-2) - scores.unsqueeze(-1))", "scores.unsqueeze(-1) - scores.unsqueeze(-2))"),
    Mutation("ranking", "    return 0.5 + torch.where", "    return 1 + torch.where"),
    Mutation("ranking", "torch.where(mask.unsqueeze(-2), wins, 0.0).sum(-1)", "wins.sum(-1)"),
    Mutation("ranking", "torch.where(mask.unsqueeze(-2), wins, 0.0).sum(-1)",
             "(wins @ mask.to(wins.dtype).unsqueeze(-1)).squeeze(-1)", ("test_laws",)),
    Mutation("ranking", "torch.autocast(scores.device.type, enabled=False)", "torch.enable_grad()", ("test_laws",)),
    Mutation("ranking", "pairs_by(scores, mask).sum(-2)", "pairs_by(scores, mask).sum(-1)"),
    Mutation("ranking", "(place < first + size)", "(place <= first + size)"),
    Mutation("ranking", "torch.where(place.unsqueeze(-1) == place, 0.0, weight)", "weight"),
    Mutation("ranking", "mean * size / (size - 1).clamp(min=1), mean)", "mean, mean)"),
    Mutation("ranking", "(key.unsqueeze(-1) > key.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)",
             "(key.unsqueeze(-1) > key.unsqueeze(-2))"),
    Mutation("ranking", "(key.unsqueeze(-1) > key.unsqueeze(-2))", "(key.unsqueeze(-1) >= key.unsqueeze(-2))"),
    Mutation("ranking", "    return -logsigmoid(margins)", "    return (1 + (-margins).exp()).log()"),
    Mutation("ranking", "torch.log2(places + 2)", "torch.log2(places + 1.5)"),
    # One by one.
    Mutation("reverse_kl", "log_q.exp() * (log_q - log_p)", "log_p.exp() * (log_q - log_p)"),
    Mutation("js", "math.log1p(-beta)", "math.log(beta)"),
    Mutation("js", "(1 - beta) * log_q.exp()", "beta * log_q.exp()"),
    Mutation("js", "beta * p * (log_p - log_m)", "p * (log_p - log_m)"),
    Mutation("bkl", "q / math.log(2)", "q"),
    Mutation("bkl", "q * log_q, 0.0)", "log_q, 0.0)"),
    Mutation("kl_ll", "(divergence - beta * likelihood)", "(divergence + beta * likelihood)"),
    Mutation("margin_mse", "torch.where(mask, student - teacher, 0.0)", "torch.where(mask, student + teacher, 0.0)"),
    Mutation("margin_mse", "torch.where(mask, student - teacher, 0.0)", "student - teacher"),
    Mutation("margin_mse", "torch.where(sides[0], *means)", "torch.where(sides[1], *means)"),
    Mutation("margin_mse", "(means[0] - means[1])", "(means[0] + means[1])"),
    Mutation("margin_mse", "sides[0].any(-1) & sides[1].any(-1)", "sides[0].any(-1)"),
    Mutation("mse", "torch.where(mask, student - teacher, 0.0).square(), mask)",
             "torch.where(mask, student - teacher, 0.0).abs(), mask)"),
    Mutation("bce", "(1 - soft) * logistic(-student)", "(1 - soft) * logistic(student)"),
    Mutation("bce", "mask, teacher_temperature).sigmoid()", "mask, student_temperature).sigmoid()"),
    Mutation("list_net", 'aim = labels if target == "labels" else teacher', "aim = teacher"),
    Mutation("ranknet", "differences(sigma * student, mask)", "differences(student, mask)"),
    Mutation("ranknet", "pairs_by(teacher, mask)", "pairs_by(labels, mask)"),
    Mutation("hinge", "(margin - differences(student, mask)).relu()", "(margin - differences(student, mask))"),
    Mutation("rank_mse", "soft_ranks(student, mask, temperature)", "soft_ranks(student, mask, 1.0)"),
    Mutation("adr_mse", "torch.log2(ranks + 1)", "torch.log2(ranks + 2)"),
    Mutation("adr_mse", 'if discount == "log2" else 1 / ranks', 'if discount == "log2" else 1 / ranks.square()'),
    Mutation("approx_ndcg", "torch.log2(1 + ranks)", "torch.log2(2 + ranks)"),
    Mutation("approx_ndcg", 'grades if gain == "linear" else torch.exp2(grades) - 1', "torch.exp2(grades) - 1"),
    Mutation("lambda_loss", "rho + mu * delta, student", "rho * mu + delta, student"),
    Mutation("lambda_loss", "torch.log2(2 + distance)", "torch.log2(3 + distance)"),
    Mutation("lambda_loss", "/ math.log(2)", ""),
    Mutation("lambda_loss", "pairs_by(grades, mask), losses", "pairs_by(-grades, mask), losses"),
    Mutation("cl_drd", "rank = 1 + pairs_by", "rank = pairs_by"),
    Mutation("cl_drd", "rank <= border, top + 1, top + 2)", "rank <= border, top + 1, top + 1)"),
    Mutation("cl_drd", "- top).div(2", "- top + 1).div(2"),
    Mutation("cl_drd", "pairs_by(-group, mask)", "pairs_by(group, mask)"),
    Mutation("cl_drd", "for start in self.starts) - 1", "for start in self.starts[1:])\n        self.stage = 0", SCHEDULES),
    Mutation("cl_drd", "step >= start", "step > start", SCHEDULES),
    # What is not finite.
    Mutation("finite", "_refusing.set(False)", "_refusing.set(True)", FINITE),
    Mutation("finite", "        _refusing.reset(token)", "        pass", FINITE),
    Mutation("finite", 'values.device.type != "cpu" or ', "", FINITE),
    Mutation("finite", "torch.where(spoiled, torch.nan, 1.0)", "torch.where(spoiled, 1.0, 1.0)", FINITE),
    Mutation("finite", "torch.stack([(mask & ~", "torch.stack([(~", FINITE),
    Mutation("finite", "for values in read.values()]).any(0)", "for values in read.values()]).all(0)", FINITE),
    Mutation("finite", "mask is None else mask & ~", "mask is None else ~", FINITE),
    Mutation("ranknet", "sound(mask, student=student, teacher=teacher) * values", "values", FINITE),
    Mutation("approx_ndcg", "student=student, labels=labels)", "student=student)", FINITE),
    Mutation("ckl", "factor = sound(mask, ranks=ranks)", "pass", FINITE),
    Mutation("weighted_kl", "labels=None if weights is None else labels)", "labels=None)", FINITE),
    Mutation("info_nce", "sound(others_mask, others=others) * ", "", FINITE),
    Mutation("list_net", "**{target: aim}", "teacher=teacher", FINITE),
    Mutation("regulariser", "    refuse(", "    (", FINITE),
    Mutation("diagnostics", "with answering_nan():", "if True:", FINITE),
    # Contrast and the batch.
    Mutation("info_nce", "logsigmoid(own - further)", "logsigmoid(further - own)", BATCH),
    Mutation("info_nce", " * is_positive.any(-1)", "", BATCH),
    Mutation("info_nce", "masked(others, others_mask, temperature, FLOOR)", "masked(others, others_mask, 1.0, FLOOR)", BATCH),
    Mutation("info_nce", "if self.gather and not self.in_batch:", "if False:", ("test_modules",)),
    Mutation("in_batch", "output.similarity or _dot", "_dot", BATCH),
    Mutation("in_batch", "valid & ~_among(keys, wanted, there)", "valid.expand(len(own), -1)", BATCH),
    Mutation("in_batch", "there & (ordered[place] == wanted)", "ordered[place] == wanted", BATCH),
    Mutation("in_batch", "there & (ordered[place] == wanted)", "there", BATCH),
    Mutation("in_batch", "if mask_positives else []", "", BATCH),
    Mutation("in_batch", "(batch.mask & (batch.labels > 0))", "batch.mask", BATCH),
    Mutation("in_batch", "labelled & (asking == queries.unsqueeze(1))", "labelled.expand(len(own), -1)", BATCH),
    Mutation("in_batch", "    if gather:\n        asking, valid", "    if False:\n        asking, valid", PROCESSES),
    Mutation("in_batch", "return (hits > 0) | again", "return hits > 0", PROCESSES),
    Mutation("document_keys", "torch.distributed.get_rank() * 2**40", "0", PROCESSES),
    Mutation("document_keys", "torch.where(batch.mask, batch.index, rows)", "batch.index", BATCH),
    Mutation("document_keys", "everywhere, keys, right=True)", "everywhere, keys, right=True) * 0 + 1", PROCESSES),
    Mutation("distributed", "start = dist.get_rank() * ctx.size", "start = 0", PROCESSES),
    Mutation("distributed", "        dist.all_reduce(total)\n        start", "        start", PROCESSES),
    Mutation("distributed", "        del ctx\n        total = grad.contiguous().clone()\n        dist.all_reduce(total)\n",
             "        del ctx\n        total = grad.contiguous().clone()\n", PROCESSES),
    Mutation("distributed", "torch.arange(most, device=rows.device) < numbers", "torch.arange(most, device=rows.device) <= numbers",
             PROCESSES),
    # Regularisers.
    Mutation("flops", "weights).square().sum()", "weights).sum()", REGULAR),
    Mutation("regulariser", ".abs()", "", REGULAR),
    Mutation("regulariser", "(step + 1) / self.warmup_steps) ** 2", "(step + 1) / self.warmup_steps)", REGULAR),
    Mutation("regulariser", "min(1.0, (step + 1)", "min(1.0, step", REGULAR),
    Mutation("regulariser", "self.document_weight * of_documents", "self.query_weight * of_documents", REGULAR),
    Mutation("regulariser", "return total / count", "return total", REGULAR),
    Mutation("regulariser", "total, count = sum_over_processes(total), sum_over_processes(count)",
             "total = sum_over_processes(total)", PROCESSES),
    # Schedules.
    Mutation("schedules", "self.values[sum(step >= border for border in self.at)]",
             "self.values[sum(step > border for border in self.at)]", SCHEDULES),
    Mutation("schedules", "return start + (end - start) * share", "return end + (start - end) * share", SCHEDULES),
    Mutation("schedules", "(1 - math.cos(math.pi * share)) / 2", "1 - math.cos(math.pi * share)", SCHEDULES),
    Mutation("schedules", "default=-1) + 1):", "default=-1)):", SCHEDULES),
    Mutation("schedules", "            loss.check()\n", "            pass\n", SCHEDULES),
    Mutation("base", "        self.at(0)\n", "", SCHEDULES),
    # Diagnostics.
    Mutation("diagnostics", "torch.where(chosen, size, 0.0).sum()", "size.sum()", MEASURED),
    Mutation("diagnostics", "(gradient).abs()", "(gradient)", MEASURED),
    Mutation("diagnostics", "torch.arange(1, depth + 1", "torch.arange(0, depth", MEASURED),
    Mutation("diagnostics", "higher = best < ", "higher = best <= ", MEASURED),
    Mutation("diagnostics", 'total["with_positives"].clamp(min=1)', 'total["queries"]', MEASURED),
    Mutation("diagnostics", ".abs() * len(scores)", ".abs()", MEASURED),
    Mutation("diagnostics", 'total[f"{side}_contribution"] / total["queries"]', 'total[f"{side}_contribution"]', MEASURED),
    Mutation("diagnostics", "push / torch.where(pull > 0, pull, 1.0)", "pull / torch.where(pull > 0, pull, 1.0)", MEASURED),
]  # fmt: skip


def mutated(mutation: Mutation) -> str:
    """Return the text of the file with the bug in it."""
    text = (LOSSES / f"{mutation.file}.py").read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file}.py holds this {text.count(mutation.old)} times, not once: {mutation.old!r}")
    return text.replace(mutation.old, mutation.new)


def planted(mutation: Mutation, folder: Path) -> Path:
    """Copy the package with one bug in it, beside the configuration and the docs it looks for."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conf", "docs"):
        (folder / name).symlink_to(ROOT / name)
    path = folder / "src" / "limbeck" / "losses" / f"{mutation.file}.py"
    path.write_text(mutated(mutation), encoding="utf-8")
    return folder / "src"


def tests_pass(source: Path, tests: tuple[str, ...]) -> bool:
    """Run some of the tests against a package folder; raise if it is not that one they import."""
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    check = "import limbeck, sys; sys.exit(not limbeck.__file__.startswith(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", check, str(source)], env=environment, check=True)
    files = [str(TESTS / f"{name}.py") for name in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 2: not even collected, which proves nothing
        raise SystemExit(f"pytest could not run:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def killed(mutation: Mutation) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return not tests_pass(planted(mutation, Path(folder)), mutation.tests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the mutations of one file, for example ckl")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if asked.only in (None, mutation.file)]
    for mutation in MUTATIONS:
        mutated(mutation)
    tests = tuple(sorted({name for mutation in chosen for name in mutation.tests}))
    if not tests_pass(ROOT / "src", tests):
        raise SystemExit("the tests fail without any mutation: mend that first")
    with ThreadPoolExecutor(asked.jobs) as pool:
        results = list(zip(chosen, pool.map(killed, chosen), strict=True))
    for mutation, dead in results:
        print(
            f"{'killed  ' if dead else 'SURVIVED'} {mutation.file}: {mutation.old.strip()!r} -> {mutation.new.strip()!r}"
        )
    survivors = sum(not dead for _, dead in results)
    print(f"{len(results)} mutations, {len(results) - survivors} killed, {survivors} survived")
    if survivors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
