"""What tests spare Lightning and torch changes nothing that is logged or loaded."""

import torch
from lightning.pytorch.core import module
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
from transformers import BertConfig, BertForMaskedLM, BertModel

import loading
from sparing import as_ever, spare_lightning

REDUCED = {
    "each": {"on_step": True, "on_epoch": False},
    "both": {"on_step": True, "on_epoch": True},
    "most": {"on_step": False, "on_epoch": True, "reduce_fx": torch.max},
}


def logged():
    """Log as a training does, over two epochs; returns all that is logged, and what is kept of each value."""
    results, logged = _ResultCollection(training=True), []
    for step in range(6):
        results.batch = torch.zeros(3)
        for name, options in REDUCED.items():
            results.log("training_step", name, torch.tensor(step / 7), batch_size=step + 1, prog_bar=True, **options)
        logged.append(results.metrics(on_step=True))
        if step % 3 == 2:
            results.cpu()
            logged.append(results.metrics(on_step=False))
            results.reset(metrics=True)
    return logged, [{**each.state_dict(), **vars(each.meta)} for each in results.values()]


def test_what_is_logged_is_the_same():
    spare_lightning()
    spared = logged()
    with as_ever():
        ever = logged()
    assert repr(spared) == repr(ever)
    assert spared[0][3]["log"]["both_epoch"] == torch.tensor((0 * 1 + 1 * 2 + 2 * 3) / 6 / 7)


def test_a_method_has_the_same_parameters():
    class Batches:
        def training_step(self, batch): ...

    class Iterators:
        def training_step(self, dataloader_iter): ...

    def asked():
        steps = [kind().training_step for kind in (Batches, Iterators, Batches, Iterators)]
        return [module.is_param_in_hook_signature(step, "dataloader_iter", explicit=True) for step in steps]

    spare_lightning()
    assert asked() == [False, True, False, True]
    with as_ever():
        assert asked() == [False, True, False, True]


def test_a_loaded_model_is_the_same(tmp_path):
    """So are the weights that its folder lacks, here those of the head."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path)

    def loaded():
        torch.manual_seed(3)
        made = [torch.nn.Linear(2, 3), torch.nn.Embedding(3, 2, padding_idx=0), torch.nn.LayerNorm(2)]
        return [each.state_dict() for each in (*made, BertForMaskedLM.from_pretrained(tmp_path))], torch.rand(4)

    spared = loaded()
    with loading.as_ever():
        ever = loaded()
    assert repr(spared) == repr(ever)
    torch.testing.assert_close(spared, ever, rtol=0, atol=0)
