"""The packaged studies keep what their comments promise."""

from bench.records import Cell
from bench.study.study import load_study
from bench.training.learning_rates import learning_rates
from tasks.data.embedded import TEST_PIXELS

EPOCH = 3000  # steps


def cells(study: str) -> list[Cell]:
    return load_study(study, data="embedded").cells()


def test_table1_paper_has_the_schedule_of_the_paper():
    cell = cells("table1_paper")[0]
    recipe = cell.effective_recipe
    assert (recipe.patch, recipe.batch, recipe.max_gradient_norm) == (256, 32, 0)
    assert (recipe.pretrain_steps, recipe.adapt_steps, recipe.finetune_steps) == (
        80 * EPOCH,
        10 * EPOCH,
        20 * EPOCH,
    )
    assert cell.task_options["symmetries"] == 4 and not cell.task_options["hold_out"]
    pretraining = learning_rates(recipe, "pretrain", 0, 80 * EPOCH)
    assert pretraining[:: 20 * EPOCH] == [1e-4, 5e-5, 2.5e-5, 1.25e-5]
    assert learning_rates(recipe, "finetune", 0, 20 * EPOCH)[:: 10 * EPOCH] == [1e-4, 5e-5]
    assert set(learning_rates(recipe, "search", 0, EPOCH)) == {1e-4}


def test_table1_paper_has_the_published_forms_of_the_methods():
    options = {cell.label: cell.method_options for cell in cells("table1_paper")}
    assert options["global L2"]["importance"] == "l2"
    assert options["DHP"]["pace"] == 1 and options["DHP"]["start"] == "scratch"
    assert not options["ASSL"]["decoupled"] and not options["ASSL"]["centred"]


def test_tiles_or_pruning_cuts_test_photographs_and_the_tables_have_the_neutral_rows():
    rows = {cell.label: cell for cell in cells("tiles_or_pruning")}
    assert max(rows["tiled, halo 8"].measured_at) == TEST_PIXELS
    assert rows["uniform, gradient, tiled"].pruning_ratio == 0.6
    for study in ("table1", "table1_embedded"):
        options = [row.run_options for row in load_study(study).rows if row.run_options]
        assert options == [{"tiles": True}, {"precision": "bf16"}]
