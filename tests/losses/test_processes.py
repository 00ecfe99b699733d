"""Two real processes against one with the whole batch: gathered InfoNCE, FLOPS and L1, in loss and gradient."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from limbeck.losses.distributed import rows_of_all, sum_over_processes
from limbeck.losses.flops import FLOPS
from limbeck.losses.in_batch import other_documents
from limbeck.losses.info_nce import InfoNCE
from limbeck.losses.l1 import L1
from limbeck.scores.keys import signed_keys
from limbeck.text.columns import relevant_keys
from limbeck.types import Batch, StudentOutput, Tokens

IDS = [["a", "b", "c"], ["d", "b"], ["a", "e", "f"], ["g", "c"]]
"""Candidates of four queries: b is shared within a process, a and c are listed in both."""

LABELS = [[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]

QUERIES = ["x", "y", "x", "z"]
"""The first and the third are the same query, one in each process; the positives of the third are e and f."""

RELEVANT = [["a", "e", "f", "elsewhere"], ["d", "f", "g"], ["a", "e", "f", "elsewhere"], []]
"""What the judgments know: f and g are relevant to the second query and come from the other process."""

LOSSES = {
    "info_nce": InfoNCE(in_batch=True, gather=True, temperature=0.7),
    "unmasked": InfoNCE(in_batch=True, gather=True, mask_positives=False),
    "judged": InfoNCE(in_batch=True, gather=True),
    "flops": FLOPS(gather=True, query_weight=0.5),
    "l1": L1(gather=True, document_weight=0.3),
}


class Encoder(nn.Module):
    """One linear map of one-hot texts."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(2)
        self.queries = nn.Parameter(torch.randn(4, 5, generator=draw, dtype=torch.float64))
        self.documents = nn.Parameter(torch.randn(7, 5, generator=draw, dtype=torch.float64))

    def forward(self, rows, known_ids=True, judged=False):
        """Encode some of the queries, with the distinct documents that they list, in order of appearance."""
        seen = list(dict.fromkeys(name for row in rows for name in IDS[row]))
        index, mask = torch.zeros(len(rows), 3, dtype=torch.long), torch.zeros(len(rows), 3, dtype=torch.bool)
        for place, row in enumerate(rows):
            for column, name in enumerate(IDS[row]):
                index[place, column], mask[place, column] = seen.index(name), True
        queries = self.queries[rows]
        documents = self.documents[["abcdefg".index(name) for name in seen]]
        output = StudentOutput((queries @ documents.T).gather(1, index), queries, documents)
        none = torch.zeros(1, 1, dtype=torch.long)
        labels = torch.tensor(LABELS, dtype=torch.float64)[rows]
        ids = [IDS[row] for row in rows] if known_ids else []
        batch = Batch(
            Tokens(none, none), Tokens(none, none), index, mask, labels,
            query_ids=[QUERIES[row] for row in rows] if known_ids else [], document_ids=ids,
        )  # fmt: skip
        if judged:
            batch.document_keys = torch.from_numpy(signed_keys(seen))
            batch.positives = relevant_keys([signed_keys(RELEVANT[row]) for row in rows])
        return output, batch


def whole(name):
    model = Encoder()
    value = LOSSES[name](*model([0, 1, 2, 3], judged=name == "judged"))
    value.backward()
    return value.detach(), {key: parameter.grad for key, parameter in model.named_parameters()}


def work(rank, port, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        found = {}
        for name, loss in LOSSES.items():
            model = nn.parallel.DistributedDataParallel(Encoder())
            value = loss(*model([0, 1] if rank == 0 else [2, 3], judged=name == "judged"))
            value.backward()
            gradients = {key: parameter.grad.numpy() for key, parameter in model.module.named_parameters()}
            found[name] = (value.item(), gradients)
        model = Encoder()
        found["without ids"] = InfoNCE(in_batch=True, gather=True)(*model([[0, 1], [2, 3]][rank], False)).item()
        rows, valid = rows_of_all(torch.full((rank + 1, 2), float(rank)))
        found["rows"] = (rows.tolist(), valid.tolist())
        found["sum"] = sum_over_processes(torch.tensor([rank + 1.0])).item()
        queue.put((rank, found))
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("fork")  # each would import torch anew
    queue = context.Queue()
    workers = [context.Process(target=work, args=(rank, port, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    try:
        results = dict(queue.get(timeout=120) for _ in workers)
    finally:
        for worker in workers:
            worker.join(timeout=30)
            worker.kill()
    return results


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_those_of_the_whole_batch(found, name):
    value, gradients = whole(name)
    shares = [found[rank][name][0] for rank in range(2)]
    assert sum(shares) / 2 == pytest.approx(value.item(), rel=1e-12)
    for rank in range(2):
        for key, gradient in gradients.items():
            torch.testing.assert_close(torch.from_numpy(found[rank][name][1][key]), gradient)
    if name in ("flops", "l1"):  # a regulariser's value is the same on every process
        assert shares[0] == pytest.approx(shares[1], rel=1e-12)


def test_positives_that_another_process_knows_are_no_negatives():
    """The whole batch, against which processes are held: what is masked there, counted by hand."""
    expected = {  # by query, documents that are neither among its candidates nor known to be relevant
        "info_nce": ["dg", "aefgc", "dbgc", "abdef"],
        "judged": ["dg", "aec", "dbgc", "abdef"],
        "unmasked": ["defg", "aefgc", "dbgc", "abdef"],
    }
    for name, wanted in expected.items():
        output, batch = Encoder()([0, 1, 2, 3], judged=name == "judged")
        counts = other_documents(output, batch, gather=False, mask_positives=name != "unmasked")[1]
        found = [{"abcdefg"[list_of(row)] for row in counts[b].nonzero().flatten().tolist()} for b in range(4)]
        assert found == [set(names) for names in wanted], name


def list_of(row):
    """Return which of the documents a row of the whole batch is."""
    return "abcdefg".index(list(dict.fromkeys(name for ids in IDS for name in ids))[row])


@pytest.mark.parametrize("name", ["flops", "l1"])
def test_a_document_of_two_processes_counts_once(found, name):
    """If it counted twice, the mean would be that of nine documents."""
    output, batch = Encoder()([0, 1, 2, 3])
    twice = torch.cat([Encoder()(rows)[0].documents for rows in ([0, 1], [2, 3])])
    assert len(twice) == len(output.documents) + 2
    other = LOSSES[name](StudentOutput(output.scores, output.queries, twice), batch)
    assert abs(found[0][name][0] - other.item()) > 1e-2


def test_without_ids_every_row_counts(found):
    """Nothing says that both processes list a and c: each then counts twice, once as a negative of its own query."""
    model = Encoder()
    together = []
    for rank, rows in enumerate(([0, 1], [2, 3])):
        output, batch = model(rows)
        others = model([[2, 3], [0, 1]][rank])[0].documents
        joined = StudentOutput(output.scores, output.queries, torch.cat([output.documents, others]))
        together.append(InfoNCE(in_batch=True)(joined, batch).item())
    assert [found[rank]["without ids"] for rank in range(2)] == pytest.approx(together)


def test_rows_of_unequal_number_are_padded(found):
    for rank in range(2):
        rows, valid = found[rank]["rows"]
        assert valid == [True, False, True, True]
        assert [row for row, counts in zip(rows, valid, strict=True) if counts] == [[0, 0], [1, 1], [1, 1]]
        assert found[rank]["sum"] == 3.0
