"""What tests spare Lightning changes nothing that is logged."""

import torch
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection

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
