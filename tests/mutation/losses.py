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
USUAL = ("test_loops", "test_weighted_kl", "test_terms", "test_laws")


class Mutation(NamedTuple):
    """Replace a text, which the file holds exactly once, by another."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...] = USUAL


SCHEDULES, BATCH, PROCESSES, CALLS = ("test_schedules",), ("test_info_nce",), ("test_processes",), ("test_calls",)
REGULAR, MEASURED, FINITE = ("test_regularisers",), ("test_diagnostics",), ("test_finite",)

MUTATIONS = [
    # Lists.
    Mutation("lists", "at_least_float32(scores) / temperature, fill)", "at_least_float32(scores) * temperature, fill)"),
    Mutation("lists", "    return torch.where(mask, at_least_float32(scores) / temperature, fill)",
             "    return at_least_float32(scores) / temperature"),
    Mutation("lists", "torch.log_softmax(masked(scores, mask, temperature, FLOOR), dim=-1)",
             "torch.log_softmax(masked(scores, mask, temperature, FLOOR), dim=0)"),
    Mutation("lists", "masked(scores, mask, temperature, FLOOR), dim=-1), 0.0)",
             "masked(scores, mask, temperature), dim=-1), 0.0)"),
    Mutation("lists", "    return log_p.exp() * (log_p - log_q)", "    return log_q.exp() * (log_p - log_q)"),
    Mutation("lists", "1 + torch.finfo(q.dtype).eps - q", "1 - q", ("test_weighted_kl",)),
    Mutation("lists", "1 + torch.finfo(q.dtype).eps - q", "2 - q"),
    Mutation("lists", "    return mask & relevant, mask & ~relevant", "    return mask & relevant, ~relevant"),
    Mutation("lists", "    relevant = labels > 0", "    relevant = labels > 1"),
    Mutation("lists", "chosen.sum(dim).clamp(min=1)", "chosen.sum(dim)"),
    Mutation("lists", "scores if scores.dtype == torch.float64 else scores.float()", "scores"),
    # What all losses on scores share.
    Mutation("on_scores", "inputs[name].detach().to(student.dtype)", "inputs[name].to(student.dtype)"),
    Mutation("on_scores", "inputs[name].detach().to(student.dtype)", "inputs[name].detach()"),
    Mutation("on_scores", 'student = at_least_float32(inputs["student"])', 'student = inputs["student"]'),
    Mutation("on_scores", "        with torch.autocast(inputs[\"mask\"].device.type, enabled=False):", "        if True:"),
    Mutation("on_scores", "        return factor * (values if", "        return (values if", FINITE),
    Mutation("on_scores", "        what.check_options(options)\n", ""),
    Mutation("on_scores", "value.shape != mask.shape or mask.dim() == 0", "mask.dim() == 0", CALLS),
    Mutation("on_scores", "        if mask.dtype != torch.bool:", "        if False:"),
    Mutation("on_scores", "value.shape != mask.shape or", "value.dim() != mask.dim() or", CALLS),
    Mutation("on_scores", 'function(**{name: inputs.get(name) for name in what.inputs}, **options)',
             'function(**{name: given.get(name) for name in what.inputs}, **options)'),
    Mutation("on_scores", "        self.check(**{name: options[name] for name in self.checked})", "        pass"),
    Mutation("on_scores", 'return "unread" in self.marks[name] or any(', "return any("),
    Mutation("on_scores", "key in options and options[key] == value for", "key in options and options[key] != value for"),
    Mutation("on_scores", '"teacher_order" if "order" in self.marks[name] else', '"teacher_order" if False else'),
    Mutation("on_scores", "if unknown or len(tensors) > len(what.inputs)", "if len(tensors) > len(what.inputs)"),
    Mutation("on_scores", "values.shape not in (inputs[\"mask\"].shape, inputs[\"mask\"].shape[:-1])", "False"),
    Mutation("ranges", "self.low < value < self.high", "self.low <= value < self.high"),
    Mutation("ranges", "self.low < value < self.high", "self.low < value"),
    Mutation("ranges", "self.low < value < self.high or (self.closed and value == self.low)", "self.low < value < self.high"),
    Mutation("ranges", "        if value not in self.choices:", "        if False:"),
    Mutation("base", "return self.per_query(output, batch).mean()", "return self.per_query(output, batch).sum()"),
    Mutation("base", "                allowed.check(name, getattr(self, name))", "                pass"),
    Mutation("term", "return self.function(**self._columns(output, batch), **self.options)", "return self.function(**self._columns(output, batch))"),
    Mutation("term", "for name, value in self.options.items() if name not in self._scheduled.names", "for name, value in self.options.items()"),
    Mutation("term", "        self._try()\n", ""),
    Mutation("term", '            raise ValueError(f"{name} is no option of', '            print(f"{name} is no option of'),
    # The general form.
    Mutation("weighted_kl", "torch.where(is_positive, positive_weight(q), negative_weight(q))",
             "torch.where(is_positive, negative_weight(q), positive_weight(q))"),
    Mutation("weighted_kl", "weight = weight.detach() if detach_weights else weight", "pass"),
    Mutation("weighted_kl", "weight = weight.detach() if detach_weights else weight", "weight = weight.detach()"),
    Mutation("weighted_kl", "q.clamp(min=torch.finfo(q.dtype).tiny) ** exponent", "q ** exponent"),
    Mutation("weighted_kl", "complement(q) ** exponent", "(1 - q) ** exponent"),
    Mutation("weighted_kl", "mask, teacher_temperature)", "mask, student_temperature)"),
    Mutation("weighted_kl", "(log_p - log_q), 0.0)", "log_p, 0.0)"),
    # CKL.
    Mutation("ckl", "shared_ranks(student, mask) if", "shared_ranks(teacher, mask) if"),
    Mutation("ckl", "1 / torch.where(mask, ranks, 1.0)", "1 / ranks"),
    Mutation("ckl", 'if rank_source == "student" else ranks', 'if rank_source == "teacher" else ranks'),
    Mutation("ckl", "gamma - beta\n", "gamma + beta\n"),
    Mutation("ckl", "else alpha * above_positive(", "else above_positive("),
    Mutation("ckl", "k if positive_exponent", "k if not positive_exponent"),
    Mutation("ckl", "complement(q) ** (k", "q ** (k"),
    Mutation("ckl", "ratio = log_p - log_q\n", "ratio = log_q - log_p\n"),
    Mutation("ckl", "weight * p * ratio", "p * ratio"),
    Mutation("ckl", "weight = weight.detach() if detach_weights else weight", "pass"),
    Mutation("ckl", 'if reduction == "mean" else terms', 'if reduction == "max" else terms'),
    Mutation("ckl", 'is_positive if anchor == "best" else', 'is_positive if anchor != "best" else'),
    Mutation("ckl", "candidates, reciprocal, 0.0).amax(-1, keepdim=True)", "candidates, reciprocal, 0.0).sum(-1, keepdim=True)"),
    Mutation("ckl", "(is_positive.cumsum(-1) == 1)", "(is_positive.cumsum(-1) == 2)"),
    Mutation("ckl", "average(reciprocal, is_positive)", "average(reciprocal, mask)"),
    Mutation("ckl", "if not (gamma > alpha or", "if not (gamma >= alpha or"),
    Mutation("ckl", 'Unless(alpha=0, rank_source="student")', "Unless(alpha=0)"),
    Mutation("ckl", 'Unless(alpha=0, rank_source="student")', 'Unless(rank_source="student")'),
    Mutation("ckl", 'negative_log == "complement"', 'negative_log == "probability"'),
    Mutation("ckl", "complement(p).log() - complement(q).log()", "complement(q).log() - complement(p).log()"),
    Mutation("projected_kl", "mass / (1 - mass)", "mass"),
    Mutation("projected_kl", "- odds(t)).clamp(min=0)", "- odds(t))"),
    Mutation("projected_kl", "(1 - above.sign()) / 2", "(1 - above.sign()) / 3"),
    Mutation("projected_kl", "mass * _wrong", "_wrong"),
    Mutation("projected_kl", "log_q.detach()", "log_q"),
    Mutation("projected_kl", "torch.minimum(target, odds(log_q.detach()))", "odds(log_q.detach())"),
    Mutation("projected_kl", "lift * is_positive", "lift * is_negative"),
    Mutation("projected_kl", 'best=against == "best"', 'best=against != "best"'),
    Mutation("diagnostics", "terms.abs()", "terms", MEASURED),
    Mutation("focal_kl", "(gamma * log_q).exp()", "log_q.exp()"),
    Mutation("focal_kl", "complement(log_q.exp()) ** gamma", "complement(log_q.exp())"),
    # Ranks and pairs.
    Mutation("ranks", "torch.arange(1, scores.shape[-1] + 1", "torch.arange(0, scores.shape[-1] + 0"),
    Mutation("ranks", "torch.where(mask, scores.detach(), -torch.inf).argsort", "scores.detach().argsort", MEASURED),
    Mutation("ranks", "descending=True, stable=True", "descending=True, stable=False"),
    Mutation("ranks", "descending=True, stable=True", "descending=False, stable=True"),
    Mutation("ranks", "order, scores.contiguous(), right=True", "order, scores.contiguous()"),
    Mutation("ranks", "(below + not_above - 1)", "(below + not_above)"),
    Mutation("ranks", "masked(scores.detach(), mask, fill=-torch.inf)", "masked(scores.detach(), mask)"),
    Mutation("ranks", "scores.unsqueeze(-2) - scores.unsqueeze(-1))", "scores.unsqueeze(-1) - scores.unsqueeze(-2))"),
    Mutation("ranks", "    return 0.5 + torch.where", "    return 1 + torch.where"),
    Mutation("ranks", "torch.where(mask.unsqueeze(-2), wins, 0.0).sum(-1)", "wins.sum(-1)"),
    Mutation("ranks", "pairs_by(scores, mask).sum(-2)", "pairs_by(scores, mask).sum(-1)"),
    Mutation("ranks", "(place < first + size)", "(place <= first + size)"),
    Mutation("ranks", "torch.where(place.unsqueeze(-1) == place, 0.0, weight)", "weight"),
    Mutation("ranks", "mean * size / (size - 1).clamp(min=1), mean)", "mean, mean)"),
    Mutation("ranks", "(key.unsqueeze(-1) > key.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)",
             "(key.unsqueeze(-1) > key.unsqueeze(-2))"),
    Mutation("ranks", "(key.unsqueeze(-1) > key.unsqueeze(-2))", "(key.unsqueeze(-1) >= key.unsqueeze(-2))"),
    Mutation("ranks", "    return -logsigmoid(margins)", "    return (1 + (-margins).exp()).log()"),
    Mutation("ranks", "torch.log2(places + 2)", "torch.log2(places + 1.5)"),
    # One by one.
    Mutation("reverse_kl", "divergence(log_q, log_p)", "divergence(log_p, log_q)"),
    Mutation("js", "math.log1p(-beta)", "math.log(beta)"),
    Mutation("js", "(1 - beta) * divergence(log_q, log_m)", "beta * divergence(log_q, log_m)"),
    Mutation("js", "return beta * divergence(", "return divergence("),
    Mutation("bkl", "q / math.log(2), 0.0)", "q, 0.0)"),
    Mutation("bkl", "torch.where(is_positive, q * log_q, 0.0)", "torch.where(is_positive, log_q, 0.0)"),
    Mutation("kl_ll", "- beta * torch", "+ beta * torch"),
    Mutation("margin_mse", "masked(student - teacher, mask)", "masked(student + teacher, mask)"),
    Mutation("margin_mse", "masked(student - teacher, mask)", "student - teacher"),
    Mutation("margin_mse", "(d - means[1]).square(), negative)", "(d - means[0]).square(), negative)"),
    Mutation("margin_mse", "(means[0] - means[1])", "(means[0] + means[1])"),
    Mutation("margin_mse", "positive.any(-1) & negative.any(-1)", "positive.any(-1)"),
    Mutation("mse", "masked(student - teacher, mask).square()", "masked(student - teacher, mask).abs()"),
    Mutation("mse", "masked(student - teacher, mask)", "(student - teacher)"),
    Mutation("bce", "(1 - y) * logistic(-s)", "(1 - y) * logistic(s)"),
    Mutation("bce", "mask, teacher_temperature).sigmoid()", "mask, student_temperature).sigmoid()"),
    Mutation("list_net", 'labels if target == "labels" else teacher', 'labels if target != "labels" else teacher'),
    Mutation("ranknet", "sigma * differences(student, mask)", "differences(student, mask)"),
    Mutation("ranknet", "pairs_by(teacher, mask)", "pairs_by(-teacher, mask)"),
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
    # What is not finite.
    Mutation("finite", "_refusing.set(False)", "_refusing.set(True)", FINITE),
    Mutation("finite", "        _refusing.reset(token)", "        pass", FINITE),
    Mutation("finite", 'values.device.type != "cpu" or ', "", FINITE),
    Mutation("finite", "torch.compiler.is_compiling() or ", "", ("test_laws",)),
    Mutation("finite", "    except RuntimeError:", "    except KeyError:", ("test_laws",)),
    Mutation("finite", "| (values < 1) if", "if"),
    Mutation("finite", "torch.where(spoiled, torch.nan, 1.0)", "torch.where(spoiled, 1.0, 1.0)", FINITE),
    Mutation("finite", "torch.stack([(mask & _wrong", "torch.stack([(_wrong", FINITE),
    Mutation("finite", "in inputs.items()]).any(0)", "in inputs.items()]).all(0)", FINITE),
    Mutation("finite", "mask is None else mask & _wrong", "mask is None else _wrong", FINITE),
    Mutation("info_nce", "sound(others_mask, others=others) * ", "", FINITE),
    Mutation("list_net", 'Unless(target="teacher")', 'Unless(target="none")', FINITE),
    Mutation("approx_ndcg", "labels: Tensor,", "labels: Unread,", FINITE),
    Mutation("regulariser", "    refuse(", "    (", FINITE),
    Mutation("diagnostics", "with answering_nan():", "if True:", FINITE),
    # Contrast and the batch.
    Mutation("info_nce", "logsigmoid(own - further)", "logsigmoid(further - own)", BATCH),
    Mutation("info_nce", " * is_positive.any(-1)", "", BATCH),
    Mutation("info_nce", "masked(others, others_mask, temperature, FLOOR)", "masked(others, others_mask, 1.0, FLOOR)", BATCH),
    Mutation("info_nce", "if self.gather and not self.in_batch:", "if False:", ("test_terms",)),
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
    Mutation("diagnostics", 'total[name] / total["queries"]', 'total[name]', MEASURED),
    Mutation("diagnostics", "above / torch.where(below > 0, below, 1.0)", "below / torch.where(below > 0, below, 1.0)", MEASURED),
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
    survivors = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for mutation, dead in zip(chosen, pool.map(killed, chosen), strict=True):
            bug = f"{mutation.file}: {mutation.old.strip()!r} -> {mutation.new.strip()!r}"
            print(f"{'killed  ' if dead else 'SURVIVED'} {bug}", flush=True)
            survivors += not dead
    print(f"{len(chosen)} mutations, {len(chosen) - survivors} killed, {survivors} survived")
    if survivors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
