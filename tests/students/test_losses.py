"""Every student learns with every loss that applies to it; what makes no sense is refused with the reason."""

import functools
import os

import hydra
import lightning
import pytest
import torch
from omegaconf import OmegaConf

from limbeck.artefacts import Artefacts
from limbeck.config import build, entries, home
from limbeck.data.datamodule import TrainingData
from limbeck.data.sampling import Lists
from limbeck.experiment import assemble
from limbeck.experiment.stages import Stages
from limbeck.schemas import store_schemas
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.training.module import Distillation, active_terms
from limbeck.training.objective import Objective
from limbeck.types import StudentOutput

STUDENTS = sorted(name for kind, name in entries() if kind == "student" and name != "saved")
LOSSES = sorted(name for kind, name in entries() if kind == "loss")
WEIGHTS_ONLY = {"flops", "l1"}
VECTORS_ONLY = {"embedding_mse", "embedding_cosine"}
PAIRS = [*((student, "ckl") for student in STUDENTS), ("dense", "info_nce")]
PAIRS += [("splade", loss) for loss in sorted(WEIGHTS_ONLY)]
"""A loss on scores does not know whose they are: each student learns with one, and each loss moves one student."""
STEPS = 6


@pytest.fixture(scope="module")
def nodes(small):
    """Compose a configuration; each combination once."""
    store_schemas()
    os.environ["LIMBECK_HOME"] = str(home())

    @functools.cache
    def compose(*overrides):
        with hydra.initialize_config_dir(str(home() / "conf"), version_base="1.3"):
            return OmegaConf.to_container(hydra.compose("train", [*small, *overrides]), resolve=True)

    return compose


@pytest.fixture(scope="module")
def world(tmp_path_factory, nodes):
    config = nodes()
    artefacts = Artefacts(tmp_path_factory.mktemp("cache"))
    collection = assemble.collection(config["data"], artefacts)
    stages = Stages(
        collection, artefacts, assemble.candidates(config["candidates"], "cpu"), build(config["pool"], key="pool")
    )
    teaching = assemble.teaching(config["teacher"], collection, artefacts, torch.device("cpu"))
    return artefacts, collection, stages.pool(teaching)


def objective(nodes, *losses):
    every = nodes(f"loss=[{','.join(LOSSES)}]")["loss"]
    return Objective({name: build(every[name], key=f"loss.{name}") for name in losses})


@pytest.mark.parametrize(("student", "loss"), PAIRS)
def test_every_student_learns_with_every_loss(student, loss, world, nodes, tmp_path):
    artefacts, collection, pool = world
    config = nodes(f"student={student}")
    lightning.seed_everything(1, verbose=False)
    model, collator = assemble.ranker(config["student"], config["backbone"], collection, artefacts)
    terms = objective(nodes, *(["kl"] if loss in WEIGHTS_ONLY else []), loss)
    terms.check(GIVEN | model.fields)
    data = TrainingData(pool, build(config["sampler"], key="sampler"), collator, 1, STEPS, {})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module = Distillation(model, terms, build({**config["optim"], "lr": 1e-3}, key="optim"), STEPS, 1)
    training = build({**config["trainer"], "validate_every": 0}, key="trainer")
    training.make(STEPS, tmp_path, [], [], validate=False).fit(module, datamodule=data)
    first = next(iter(data.train_dataloader()))
    after = value(module, first)
    same = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert same == [], "parameters without a gradient"
    model.load_state_dict(before)
    assert after < value(module, first)


def test_token_vectors_learn_with_every_loss(world, nodes):
    """A step against the gradient of one batch makes every loss smaller."""
    artefacts, collection, pool = world
    config = nodes()
    torch.manual_seed(1)
    static = {"_target_": "backbone/static", "width": 16}
    model, collator = assemble.ranker(config["student"], static, collection, artefacts, anew=True)
    first = collator(Lists(pool, build(config["sampler"], key="sampler"), 1).__getitems__([(0, 0), (0, 1), (0, 2)]))
    table = model.backbone.embedding.weight
    for loss in sorted(set(LOSSES) - WEIGHTS_ONLY - VECTORS_ONLY):
        terms = objective(nodes, loss)
        before, _ = terms(model(first), first)
        (slope,) = torch.autograd.grad(before, table)
        with torch.no_grad():
            step = slope / slope.norm() * 1e-2
            table -= step
            assert terms(model(first), first)[0] < before, loss
            table += step


GIVEN = {"labels", "ranks", "teacher_scores", "teacher_order", "teacher_vectors"}


@pytest.mark.parametrize("student", STUDENTS)
def test_losses_on_weights_need_a_student_that_has_them(student, nodes, world):
    artefacts, collection, _ = world
    config = nodes(f"student={student}")
    model, _ = assemble.ranker(config["student"], config["backbone"], collection, artefacts)
    for loss in LOSSES:
        terms = objective(nodes, loss)
        if loss in WEIGHTS_ONLY and student != "splade":
            with pytest.raises(ValueError, match=rf"loss\.{loss} needs term_weights.*student=splade"):
                terms.check(GIVEN | model.fields)
        elif loss in VECTORS_ONLY and student != "dense":
            with pytest.raises(ValueError, match=rf"loss\.{loss} needs vectors.*student=dense"):
                terms.check(GIVEN | model.fields)
        else:
            terms.check(GIVEN | model.fields)


def value(module, batch):
    """Return the objective on a batch, without dropout."""
    module.eval()
    with torch.no_grad():
        total, _ = module.objective(module.student(batch), batch)
    module.train()
    assert torch.isfinite(total)
    return float(total)


def test_in_batch_negatives_need_a_student_that_encodes_apart(nodes):
    chosen = nodes("loss=[info_nce]", "loss.info_nce.in_batch=true")["loss"]
    terms = Objective({"info_nce": build(chosen["info_nce"], key="loss.info_nce")})
    with pytest.raises(ValueError, match=r"info_nce needs embeddings.*student=dense"):
        terms.check(GIVEN)


def test_active_terms_are_counted():
    weights = torch.tensor([[0.0, 2.0, 0.1, 0.0], [0.0, 0.0, 0.0, 1.0]])
    output = StudentOutput(torch.zeros(1, 2), weights[:1], weights)
    student = Splade.__new__(Splade)
    found = {name: float(value) for name, value in active_terms(output, student).items()}
    assert found == {"active_query_terms": 2.0, "active_document_terms": 1.5}
    assert active_terms(output, Dense.__new__(Dense)) == {}
