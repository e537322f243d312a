"""What is changed in the toolkit, one theme a file.

MMSA 2.2.1 has no plugin hook. Each patch says what it does and which lines of the toolkit it
answers; ``docs/toolkit-repairs.md`` lists them with the defects.
"""

from __future__ import annotations

from mmsa_suparc.toolkit.patches import data, libraries, maps, results, settings, trainers
from mmsa_suparc.toolkit.patching import Patch


def every(run_seed: results.RunSeed) -> tuple[Patch, ...]:
    """All of them, in the order in which they are applied.

    Args:
        run_seed: what ``MMSA_run`` calls for each seed.
    """
    return (
        maps.registries,
        settings.configuration,
        data.data_sets,
        data.metrics,
        data.one_read,
        data.batches,
        libraries.no_gpu,
        libraries.scheduler_keyword,
        libraries.text_encoder,
        libraries.bert_mag,
        libraries.misa_width,
        libraries.mctn_device,
        results.one_seed(run_seed),
        results.whole_checkpoints,
        results.results_table,
        results.log_handlers,
        libraries.progress_bars,
        trainers.log_after_measuring,
    )
